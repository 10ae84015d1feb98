package upstream

import (
	"errors"
	"time"
)

// Config bounds what any one upstream may cost.
type Config struct {
	// ConnectTimeout covers name resolution, connecting and the TLS handshake
	// (default 5s).
	ConnectTimeout time.Duration `koanf:"connect_timeout"`
	// Timeout covers one exchange from the first byte sent to the last byte
	// read (default 60s). It is enforced to within 20 ms. Danger: a tool that
	// works longer than this is cut off, though it may still take effect.
	Timeout time.Duration `koanf:"timeout"`
	// QueueTimeout is how long a call waits for a free connection before it
	// fails as busy (default 2s).
	QueueTimeout time.Duration `koanf:"queue_timeout"`
	// MaxConnections per upstream (default 128).
	MaxConnections int `koanf:"max_connections"`
	// IdleTimeout closes a connection nobody used for so long (default 30s;
	// below the keep-alive of the usual servers, so that they rarely close first).
	IdleTimeout time.Duration `koanf:"idle_timeout"`
	// MaxResponse is the largest answer in bytes, head excluded (default 4 MiB).
	// Danger: each call in flight may hold this much memory.
	MaxResponse int `koanf:"max_response"`
	// MaxDepth and MaxValues bound the JSON of an answer (default 64 levels and
	// 400,000 values).
	MaxDepth  int `koanf:"max_depth"`
	MaxValues int `koanf:"max_values"`
	// MaxEvents bounds the server-sent events read while waiting for one answer
	// (default 10,000).
	MaxEvents int `koanf:"max_events"`
	// MaxInterim and MaxInterimBytes bound what a server may say before one
	// answer when somebody listens (default 1,000 messages and 1 MiB: progress
	// ten times a second for a minute and a half, and log lines of 1 KiB).
	// Beyond, the call fails.
	MaxInterim      int `koanf:"max_interim"`
	MaxInterimBytes int `koanf:"max_interim_bytes"`
	// MaxAsks bounds the questions of a server that are open at once within one
	// call (default 8: a person sees one at a time). Further ones are refused.
	MaxAsks int `koanf:"max_asks"`
	// AnswerTimeout is how long Timeout stands still within one call while people
	// answer a server's questions (default 5m). Danger: so long a call may hold
	// its connection beside Timeout.
	AnswerTimeout time.Duration `koanf:"answer_timeout"`
	// MaxStreams bounds the streams on which one upstream is listened to (default
	// 1,024; each holds a connection and its buffers).
	MaxStreams int `koanf:"max_streams"`
	// MaxTools, MaxPages bound a listing (default 1,000 tools on 100 pages).
	MaxTools int `koanf:"max_tools"`
	MaxPages int `koanf:"max_pages"`
	// MaxSessions bounds the sessions held with one upstream of the older era,
	// one for each principal (default 4,096). The least recently used goes first.
	MaxSessions int `koanf:"max_sessions"`
	// SessionIdle drops a session nobody used for so long (default 10m).
	SessionIdle time.Duration `koanf:"session_idle"`
	// MaxUpstreams bounds how many upstreams are known at once (default 4,096).
	MaxUpstreams int `koanf:"max_upstreams"`
	// Failures in a row open an upstream's circuit (default 5).
	Failures int `koanf:"failures"`
	// OpenFor is how long an open circuit refuses before it lets one probe
	// through (default 5s).
	OpenFor time.Duration `koanf:"open_for"`
	// RootCAFile names a PEM file of certificate authorities trusted besides the
	// system's (default none). Danger: they are trusted for every upstream.
	RootCAFile string `koanf:"root_ca_file"`
}

// DefaultConfig returns the documented defaults.
func DefaultConfig() Config {
	return Config{
		ConnectTimeout: 5 * time.Second, Timeout: 60 * time.Second, QueueTimeout: 2 * time.Second,
		MaxConnections: 128, IdleTimeout: 30 * time.Second,
		MaxResponse: 4 << 20, MaxDepth: 64, MaxValues: 400_000, MaxEvents: 10_000,
		MaxInterim: 1000, MaxInterimBytes: 1 << 20, MaxAsks: 8, AnswerTimeout: 5 * time.Minute, MaxStreams: 1024,
		MaxTools: 1000, MaxPages: 100, MaxSessions: 4096, SessionIdle: 10 * time.Minute,
		MaxUpstreams: 4096, Failures: 5, OpenFor: 5 * time.Second,
	}
}

// Validate refuses values that would leave something without a bound.
func (c Config) Validate() error {
	for _, d := range []time.Duration{c.ConnectTimeout, c.Timeout, c.QueueTimeout, c.IdleTimeout, c.SessionIdle, c.OpenFor, c.AnswerTimeout} {
		if d <= 0 {
			return errors.New("upstream: every duration must be positive")
		}
	}
	for _, n := range []int{
		c.MaxConnections, c.MaxResponse, c.MaxDepth, c.MaxValues, c.MaxEvents, c.MaxTools,
		c.MaxPages, c.MaxSessions, c.MaxUpstreams, c.Failures, c.MaxInterim, c.MaxInterimBytes, c.MaxAsks,
		c.MaxStreams,
	} {
		if n < 1 {
			return errors.New("upstream: every bound must be at least 1")
		}
	}
	return nil
}
