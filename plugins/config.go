package plugins

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/gatewright/gatewright/plugins/connector"
)

// Command is how a connector is started. It comes from configuration or a
// signed bundle, never from a request.
type Command struct {
	// Name labels the connector in logs and errors.
	Name string
	// Path is the program, absolute or found in PATH by the caller; a relative
	// one is taken from the gateway's working directory. Args are its arguments
	// without the program itself. No shell is involved.
	Path string
	Args []string
	// Env is what the connector sees besides PassEnv, as NAME=value.
	Env []string
	// PassEnv names variables copied from the gateway's own environment. Danger:
	// a connector sees every secret named here.
	PassEnv []string
	// Dir is the working directory; empty means the gateway's.
	Dir string
	// SHA256 is what the program's file must hash to; empty means not pinned. It
	// is checked at each start. Danger: of an interpreter or a script it pins
	// that one file, not what it reads.
	SHA256 []byte
}

// environment builds the process's whole environment. It is never nil, because
// os/exec reads nil as "inherit everything".
func (c Command) environment() []string {
	env := append(make([]string, 0, len(c.Env)+len(c.PassEnv)), c.Env...)
	for _, name := range c.PassEnv {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// reserved says whether a variable is one that the runtime sets itself.
func reserved(name string) bool {
	return name == markerName || name == connector.Handshake.MagicCookieKey || strings.HasPrefix(name, "PLUGIN_")
}

// checkEnvironment refuses what would be dropped, or would change how the
// runtime and the process come together.
func (c Command) checkEnvironment() error {
	names := slices.Clone(c.PassEnv)
	for _, v := range c.Env {
		name, _, ok := strings.Cut(v, "=")
		if !ok || strings.ContainsRune(v, 0) {
			return errors.New("a variable of its environment is not of the form NAME=value")
		}
		names = append(names, name)
	}
	for _, name := range names {
		switch {
		case name == "" || strings.ContainsAny(name, "=\x00"):
			return fmt.Errorf("%q is not a name of a variable", name)
		case reserved(name):
			return fmt.Errorf("the variable %s is the runtime's own", name)
		}
	}
	return nil
}

// Config bounds a connector's life. Every value must be positive.
type Config struct {
	// StartTimeout is how long a process may take from its start to the first
	// call it can take (default 30s). Danger: one that needs longer is killed and
	// tried again.
	StartTimeout time.Duration `koanf:"start_timeout"`
	// DrainTimeout is how long calls under way may take when a connector is
	// restarted or stopped, before they are cut off (default 1m).
	DrainTimeout time.Duration `koanf:"drain_timeout"`
	// StopTimeout is how long a process may take to end after SIGTERM before it
	// is killed (default 5s).
	StopTimeout time.Duration `koanf:"stop_timeout"`
	// PingEvery is the time between signs of life asked for (default 5s).
	PingEvery time.Duration `koanf:"ping_every"`
	// PingTimeout is how long one may take (default 5s). A process that is later
	// is killed and started again.
	PingTimeout time.Duration `koanf:"ping_timeout"`
	// BackoffMin is the pause before the first restart; it doubles with each
	// crash in a row (default 200ms).
	BackoffMin time.Duration `koanf:"backoff_min"`
	// BackoffMax is the longest pause between restarts (default 30s).
	BackoffMax time.Duration `koanf:"backoff_max"`
	// MaxCrashes within CrashWindow break the connector (default 10).
	MaxCrashes int `koanf:"max_crashes"`
	// CrashWindow is the span over which crashes are counted; a process that ran
	// this long starts again with the shortest pause (default 5m).
	CrashWindow time.Duration `koanf:"crash_window"`
	// BreakFor is how long a broken connector is not tried again, unless it is
	// restarted by hand (default 5m).
	BreakFor time.Duration `koanf:"break_for"`
	// InFlight is how many calls a process works on at once (default 256, at
	// most 65,536); more wait.
	InFlight int `koanf:"in_flight"`
	// MaxMessage is the largest request or reply in bytes (default 8 MiB, 4 KiB
	// to 64 MiB). A process that sends more loses its session and is restarted.
	// Danger: each call in flight may hold this much memory.
	MaxMessage int `koanf:"max_message"`
	// Memory is how many bytes a process and all that it started may hold in
	// memory together, pages they share counted for each (default 1 GiB). Beyond
	// it they are killed, WatchEvery late at most.
	Memory int64 `koanf:"memory"`
	// Files is how many open files each of them may have (default 1024).
	Files int `koanf:"files"`
	// Processes is how many they may be, finished ones that were not waited for
	// included (default 256). Beyond it they are killed.
	Processes int `koanf:"processes"`
	// WatchEvery is the time between looks at memory and processes (default
	// 250ms).
	WatchEvery time.Duration `koanf:"watch_every"`
	// LinesPerSecond bounds how many lines of a connector's stderr are logged,
	// with a burst of five times as many (default 20). The rest is counted.
	LinesPerSecond int `koanf:"lines_per_second"`
	// LogLines is how many of these lines are kept for Logs (default 200).
	LogLines int `koanf:"log_lines"`
}

// DefaultConfig returns the documented defaults.
func DefaultConfig() Config {
	return Config{
		StartTimeout: 30 * time.Second, DrainTimeout: time.Minute, StopTimeout: 5 * time.Second,
		PingEvery: 5 * time.Second, PingTimeout: 5 * time.Second,
		BackoffMin: 200 * time.Millisecond, BackoffMax: 30 * time.Second,
		MaxCrashes: 10, CrashWindow: 5 * time.Minute, BreakFor: 5 * time.Minute,
		InFlight: 256, MaxMessage: 8 << 20,
		Memory: 1 << 30, Files: 1024, Processes: 256, WatchEvery: 250 * time.Millisecond,
		LinesPerSecond: 20, LogLines: 200,
	}
}

// Validate refuses values that would leave a connector without a bound.
func (c Config) Validate() error {
	for _, d := range []time.Duration{
		c.StartTimeout, c.DrainTimeout, c.StopTimeout, c.PingEvery, c.PingTimeout, c.BackoffMin, c.CrashWindow, c.BreakFor, c.WatchEvery,
	} {
		if d <= 0 {
			return errors.New("plugins: every duration must be positive")
		}
	}
	for _, n := range []int{c.MaxCrashes, c.InFlight, c.Files, c.Processes, c.LinesPerSecond, c.LogLines} {
		if n < 1 {
			return errors.New("plugins: every bound must be at least 1")
		}
	}
	switch {
	case c.BackoffMax < c.BackoffMin:
		return errors.New("plugins: backoff_max must not be below backoff_min")
	case c.InFlight > 1<<16:
		return errors.New("plugins: in_flight must be at most 65536")
	case c.MaxMessage < 4<<10 || c.MaxMessage > 64<<20:
		return errors.New("plugins: max_message must be 4 KiB to 64 MiB")
	case c.Memory < 1:
		return errors.New("plugins: memory must be positive")
	}
	return nil
}

// Options is what New needs.
type Options struct {
	Config Config
	// Tenant is whose connector it is; it labels logs and Stats.
	Tenant  string
	Command Command
	Logger  *slog.Logger
	Now     func() time.Time
	// SocketDir is where each process gets a folder of its own for its socket,
	// removed when both sides are connected. Empty means the system's folder for
	// temporary files. It must exist, and be short: a socket's path holds 103
	// bytes.
	SocketDir string
	// OnChange, if set, is called with each new State, and with Running each time
	// another process takes over. It may be called before New returns, from one
	// goroutine at a time, and must not block.
	OnChange func(State)
}
