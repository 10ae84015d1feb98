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
	"slices"
)

// Role is what a child does. It returns once it serves, and goes on serving until ctx ends.
type Role func(ctx context.Context, settings json.RawMessage) (Serving, error)

// Serving is a role that runs.
type Serving struct {
	Addr   string // host:port
	Detail any    // told to the parent as JSON
	Stop   func() error

	// A child that nobody can call from outside is told to call: Probe once and to be sure, Call as the load. Call is used
	// by several goroutines at once.
	Probe func(context.Context) error
	Call  func(context.Context) error
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
		err = (&desk{serving: s}).obey(ctx, in, say)
	}
	stop()
	if s.Stop != nil {
		err = errors.Join(err, s.Stop())
	}
	return err
}

// desk is where a child takes its orders.
type desk struct {
	serving Serving
	callers *callers // of the last load
}

// obey answers orders until the parent closes the pipe or is gone.
func (k *desk) obey(ctx context.Context, in io.Reader, say *json.Encoder) error {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		var o order
		var a reply
		err := json.Unmarshal(lines.Bytes(), &o)
		if err == nil {
			err = k.execute(ctx, o, &a)
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

func (k *desk) execute(ctx context.Context, o order, a *reply) (err error) {
	switch o.Do {
	case "usage":
		a.Usage, err = usage()
		return err
	case "rest":
		a.Rest, err = rest()
		return err
	case "probe":
		return k.probe(ctx)
	case "load":
		return k.load(ctx, o)
	case "result":
		if k.callers == nil {
			return errors.New("no load was run")
		}
		a.Result = k.callers.result()
		return nil
	case "profile":
		f, err := os.Create(o.Path)
		if err != nil {
			return err
		}
		return pprof.StartCPUProfile(f) // the file stays open until the process ends
	case "stop-profile":
		pprof.StopCPUProfile()
		return writeAllocs(o.Path)
	}
	return fmt.Errorf("no order %q", o.Do)
}

func (k *desk) probe(ctx context.Context) error {
	if k.serving.Probe == nil {
		return errors.New("this child has no probe of its own")
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	return k.serving.Probe(ctx)
}

func (k *desk) load(ctx context.Context, o order) error {
	if k.serving.Call == nil {
		return errors.New("this child makes no calls of its own")
	}
	if k.callers == nil || len(k.callers.all) != o.Calls {
		k.callers = newCallers(o.Calls)
	}
	ctx, cancel := context.WithTimeout(ctx, o.Time+answerTimeout)
	defer cancel()
	k.callers.run(ctx, o.Time, func(int) error { return k.serving.Call(ctx) })
	return nil
}

func usage() (Usage, error) {
	cpu, err := processCPU()
	if err != nil {
		return Usage{}, err
	}
	all, err := family()
	if err != nil {
		return Usage{}, err
	}
	slices.Sort(all)
	for _, pid := range all {
		more, err := cpuOf(pid)
		if err != nil {
			return Usage{}, err
		}
		cpu += more
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return Usage{CPU: cpu, Family: all, Mallocs: m.Mallocs, Bytes: m.TotalAlloc}, nil
}

func writeAllocs(path string) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return pprof.Lookup("allocs").WriteTo(f, 0)
}
