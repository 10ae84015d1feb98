package server

import (
	"io"
	"log/slog"

	"github.com/gatewright/gatewright/gateway/config"
)

// Load reads the configuration: embedded defaults, then the file, then GATEWRIGHT_CFG_* variables, then flags. file
// empty means gateway.hcl in the working directory, where it may be missing.
func Load(file, data, listen, control string, environ []string) (config.Config, error) {
	src := config.Source{File: file, Environ: environ}
	if file == "" {
		src.File, src.Optional = config.DefaultFile, true
	}
	for _, f := range []config.Flag{
		{Name: "--data", Path: "data.dir", Value: data}, {Name: "--listen", Path: "proxy.listen", Value: listen},
		{Name: "--control", Path: "control.listen", Value: control},
	} {
		if f.Value != "" {
			src.Flags = append(src.Flags, f)
		}
	}
	c, err := config.Load(src)
	if err != nil {
		return c, &configError{err}
	}
	return c, nil
}

// configError is a mistake in the configuration: wrong usage, and not a gateway that failed.
type configError struct{ error }

// ExitCode is that of wrong usage.
func (configError) ExitCode() int { return 2 }

func (e *configError) Unwrap() error { return e.error }

// Logger writes the gateway's own messages as the configuration says.
func Logger(c config.Log, w io.Writer) *slog.Logger {
	var level slog.Level
	switch c.Level {
	case "debug":
		level = slog.LevelDebug
	case "warn":
		level = slog.LevelWarn
	case "error":
		level = slog.LevelError
	}
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
