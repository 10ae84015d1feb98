package rig

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/pprof"
)

// Role is what a child does. It returns once it serves, and goes on serving until ctx ends.
type Role func(ctx context.Context, settings json.RawMessage) (Serving, error)

// Serving is a role that runs.
type Serving struct {
	Addr   string // host:port
	Detail any    // told to the parent as JSON
	Stop   func() error
}

// IsChild says whether the arguments after the program's name ask for a child.
func IsChild(args []string) bool { return len(args) == 3 && args[0] == Verb }

// RunChild runs the role that the arguments name until standard input ends, and gives the exit code.
func RunChild(ctx context.Context, args []string, roles map[string]Role) int {
	if err := runChild(ctx, args, roles, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench child:", err)
		return 1
	}
	return 0
}

func runChild(ctx context.Context, args []string, roles map[string]Role, in io.Reader, out io.Writer) error {
	role := roles[args[1]]
	if role == nil {
		return fmt.Errorf("no role %q", args[1])
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	say := json.NewEncoder(out)
	s, err := role(ctx, json.RawMessage(args[2]))
	if err != nil {
		return errors.Join(err, say.Encode(reply{Error: err.Error()}))
	}
	detail, err := json.Marshal(s.Detail)
	if err == nil {
		err = say.Encode(reply{Addr: s.Addr, Detail: detail})
	}
	if err == nil {
		err = obey(in, say)
	}
	stop()
	if s.Stop != nil {
		err = errors.Join(err, s.Stop())
	}
	return err
}

// obey answers orders until the parent closes the pipe or is gone.
func obey(in io.Reader, say *json.Encoder) error {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		var o order
		var a reply
		err := json.Unmarshal(lines.Bytes(), &o)
		if err == nil {
			a.Usage, err = execute(o)
		}
		if err != nil {
			a.Error = err.Error()
		}
		if err := say.Encode(a); err != nil {
			return fmt.Errorf("answer the parent: %w", err)
		}
	}
	return lines.Err()
}

func execute(o order) (Usage, error) {
	switch o.Do {
	case "usage":
		return ownUsage()
	case "profile":
		f, err := os.Create(o.Path)
		if err != nil {
			return Usage{}, err
		}
		return Usage{}, pprof.StartCPUProfile(f) // the file stays open until the process ends
	case "stop-profile":
		pprof.StopCPUProfile()
		return Usage{}, writeAllocs(o.Path)
	}
	return Usage{}, fmt.Errorf("no order %q", o.Do)
}

func ownUsage() (Usage, error) {
	cpu, err := processCPU()
	if err != nil {
		return Usage{}, err
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return Usage{CPU: cpu, Mallocs: m.Mallocs, Bytes: m.TotalAlloc}, nil
}

func writeAllocs(path string) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return pprof.Lookup("allocs").WriteTo(f, 0)
}
