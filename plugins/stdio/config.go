package stdio

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gatewright/gatewright/merkle/canon"
)

// The eras of MCP that a Config may ask for.
const (
	Auto   = "auto"   // ask the server
	Legacy = "legacy" // with initialize; 2025-11-25 and before
	Modern = "modern" // 2026-07-28
)

// Config says what to run and bounds what it may cost. In JSON a field that is
// zero is left out, and one that is left out has its default; durations are
// whole nanoseconds.
type Config struct {
	// Path is the program, absolute; Args are its arguments without the program
	// itself. No shell is involved.
	Path string   `json:"path,omitzero"`
	Args []string `json:"args,omitempty"`
	// Env is what the program sees, as NAME=value, and PassEnv names variables
	// copied from our own environment. It sees nothing else but the mark by which
	// the gateway finds what a connector left behind. Danger: it reads every
	// secret named here.
	Env     []string `json:"env,omitempty"`
	PassEnv []string `json:"pass_env,omitempty"`
	// Dir is the program's working directory; empty means our own.
	Dir string `json:"dir,omitzero"`
	// SHA256 pins the program's file; nil means not pinned. Danger: an
	// interpreter's file says nothing about the script it runs.
	SHA256 []byte `json:"sha256,omitempty"`
	// Era is Auto (default), Legacy or Modern.
	Era string `json:"era,omitzero"`

	// StartTimeout bounds the time from the start of the program to its first
	// answers (default 25s: packages may have to be fetched, and the gateway waits
	// 30s for a connector).
	StartTimeout time.Duration `json:"start_timeout,omitzero"`
	// ProbeTimeout is how long a server of unknown era may leave the modern
	// question unanswered before it is asked the older way (default 3s).
	ProbeTimeout time.Duration `json:"probe_timeout,omitzero"`
	// StopTimeout is how long the program may take to end: half of it after its
	// input is closed, half after SIGTERM; then it is killed (default 2s, well
	// below what a connector is given).
	StopTimeout time.Duration `json:"stop_timeout,omitzero"`
	// Silence ends a server that owes answers and says nothing for so long, not
	// even to a ping sent at half that time (default 5m). Danger: a tool that
	// keeps its server from reading for longer is cut off.
	Silence time.Duration `json:"silence,omitzero"`

	// MaxMessage is the longest line in bytes, either way (default 4 MiB).
	// Danger: each call in flight may hold this much memory.
	MaxMessage int `json:"max_message,omitzero"`
	// JSONDepth and JSONValues bound the JSON of a line (default 64 levels and
	// 400,000 values).
	JSONDepth  int `json:"json_depth,omitzero"`
	JSONValues int `json:"json_values,omitzero"`
	// InFlight is how many calls may be under way at once (default 256); more
	// wait.
	InFlight int `json:"in_flight,omitzero"`
	// MaxNoise is how many lines that are no message of MCP the server may write
	// in a minute (default 100); one more ends it.
	MaxNoise int `json:"max_noise,omitzero"`
	// MaxUnasked is how many proper messages that answer no call it may write in
	// a minute (default 60,000): notifications, requests, late answers.
	MaxUnasked int `json:"max_unasked,omitzero"`
}

// DefaultConfig returns the documented defaults. Path is still to be set.
func DefaultConfig() Config {
	return Config{
		Era: Auto, StartTimeout: 25 * time.Second, ProbeTimeout: 3 * time.Second, StopTimeout: 2 * time.Second,
		Silence: 5 * time.Minute, MaxMessage: 4 << 20, JSONDepth: 64, JSONValues: 400_000,
		InFlight: 256, MaxNoise: 100, MaxUnasked: 60_000,
	}
}

// Validate refuses a Config that would leave something without a bound.
func (c Config) Validate() error {
	for _, d := range []time.Duration{c.StartTimeout, c.ProbeTimeout, c.StopTimeout, c.Silence} {
		if d <= 0 {
			return errors.New("stdio: every duration must be positive")
		}
	}
	for _, n := range []int{c.MaxMessage, c.JSONDepth, c.JSONValues, c.InFlight, c.MaxNoise, c.MaxUnasked} {
		if n < 1 {
			return errors.New("stdio: every bound must be at least 1")
		}
	}
	if c.Path == "" {
		return errors.New("stdio: path is not set")
	}
	switch c.Era {
	case Auto, Legacy, Modern:
	default:
		return fmt.Errorf("stdio: era %q is not one of auto, legacy, modern", c.Era)
	}
	if len(c.SHA256) != 0 && len(c.SHA256) != 32 {
		return fmt.Errorf("stdio: sha256 has %d bytes, not 32", len(c.SHA256))
	}
	for _, v := range c.Env {
		if name, _, ok := strings.Cut(v, "="); !ok || name == "" {
			return errors.New("stdio: an entry of env is not NAME=value")
		}
	}
	return nil
}

// maxConfig bounds a configuration in bytes; Linux passes at most 128 KiB in
// one variable of the environment.
const maxConfig = 128 << 10

// ParseConfig reads a Config as json.Marshal writes it, over the defaults. A
// member it does not know, or that differs in case, is an error.
func ParseConfig(text []byte) (Config, error) {
	c := DefaultConfig()
	if err := canon.Check(text, canon.Limits{Bytes: maxConfig, Depth: 4, Values: 10_000}); err != nil {
		return c, fmt.Errorf("read the configuration: %w", err)
	}
	exact := true
	err := canon.Each(text, func(key, _ []byte) error {
		for _, b := range key {
			exact = exact && (b < 0x80 && (b < 'A' || b > 'Z')) // encoding/json would fold these
		}
		return nil
	})
	if err != nil || !exact {
		return c, errors.New("read the configuration: it is not an object of lower-case members")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return c, fmt.Errorf("read the configuration: %w", err)
	}
	return c, c.Validate()
}
