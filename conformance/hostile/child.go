package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"github.com/gatewright/gatewright/conformance/hostile/corpus"
	"github.com/gatewright/gatewright/wasm/build"
)

// verb is the hidden first argument that makes this binary the child in which cases are played. It reads an order a line
// and answers each with a line.
const verb = "hostile-child"

// order is what the child is to do with a case.
type order struct {
	Case   string
	Beside int // runaways to be at work while others are measured; 0: play the case
	Times  int // collections, and a fifth of the timers, that are measured
}

// answer is what came of it.
type answer struct {
	Finding  Finding
	Beside   Beside
	Compiler int64 // the largest resident memory of a process that compiled, in bytes
	Error    string
}

// serve is the child. dir is a folder for what it compiles; where it is empty it compiles in its own process.
func serve(ctx context.Context, dir string, in io.Reader, out io.Writer) error {
	s := &stage{}
	if dir != "" && runtime.GOOS == "linux" {
		var err error
		if s.compiler, err = build.New(build.Options{Dir: dir, Key: make([]byte, 32)}); err != nil {
			return err
		}
		defer s.compiler.Close()
	}
	lines, answers := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var o order
		if err := lines.Decode(&o); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := answers.Encode(s.obey(ctx, o)); err != nil {
			return err
		}
	}
}

func (s *stage) obey(ctx context.Context, o order) (a answer) {
	c, err := find(o.Case)
	if err != nil {
		return answer{Error: err.Error()}
	}
	debug.FreeOSMemory()
	resetPeak()
	if o.Beside > 0 {
		a.Beside, err = s.beside(ctx, c, o.Beside, o.Times)
	} else {
		a.Finding, err = s.play(ctx, c)
	}
	a.Finding.Peak, a.Compiler = peak(), childPeak()
	if err != nil {
		a.Error = err.Error()
	}
	return a
}

// Names that are no cases, for tests of what sees a death and a hang.
const (
	dies  = "dies"
	hangs = "hangs"
)

// quiet is the name under which nothing runs beside what is measured.
const quiet = "(nobody)"

func find(name string) (corpus.Case, error) {
	switch name {
	case dies:
		os.Exit(3)
	case hangs:
		select {}
	case quiet:
		return corpus.Case{Name: quiet}, nil
	}
	all := corpus.All()
	i := slices.IndexFunc(all, func(c corpus.Case) bool { return c.Name == name })
	if i < 0 {
		return corpus.Case{}, fmt.Errorf("no case %q", name)
	}
	return all[i], nil
}

// runner keeps a child and counts how it ends.
type runner struct {
	self          []string
	dir           string        // where the child keeps what it compiles
	deadline      time.Duration // of one order
	deaths, hangs int

	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan []byte
}

// Why an order has no answer.
var (
	errDied = errors.New("the process died")
	errHung = errors.New("no answer within the deadline; the process was killed")
)

// do has the child obey, starting one when there is none.
func (r *runner) do(ctx context.Context, o order) (a answer, err error) {
	if r.cmd == nil {
		if err := r.start(ctx); err != nil {
			return a, err
		}
	}
	text, err := json.Marshal(o)
	if err != nil {
		return a, err
	}
	if _, err := r.in.Write(append(text, '\n')); err != nil {
		return a, errors.Join(r.died(), err)
	}
	timer := time.NewTimer(r.deadline)
	defer timer.Stop()
	select {
	case line, ok := <-r.lines:
		if !ok {
			return a, r.died()
		}
		if err := json.Unmarshal(line, &a); err != nil {
			return a, fmt.Errorf("the child said %.80q: %w", line, err)
		}
		if a.Error != "" {
			return a, errors.New(a.Error)
		}
		return a, nil
	case <-timer.C:
		r.hangs++
		return a, errors.Join(errHung, r.kill())
	}
}

func (r *runner) died() error {
	r.deaths++
	return errors.Join(errDied, r.kill())
}

func (r *runner) start(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, r.self[0], append(slices.Clone(r.self[1:]), verb, r.dir)...) //nolint:gosec // our own binary
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the child: %w", err)
	}
	r.cmd, r.in, r.lines = cmd, in, make(chan []byte, 1)
	go listen(out, r.lines)
	return nil
}

func listen(out io.Reader, lines chan<- []byte) {
	defer close(lines)
	for r := bufio.NewReader(out); ; {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return
		}
		lines <- line
	}
}

// kill ends the child whatever it does. How it ended is told by died and do.
func (r *runner) kill() error {
	_ = r.cmd.Process.Kill() // it may be gone
	return r.reap()
}

// close lets the child end by itself.
func (r *runner) close() error {
	if r.cmd == nil {
		return nil
	}
	return errors.Join(r.in.Close(), r.reap())
}

func (r *runner) reap() error {
	for range r.lines { // until its output is closed
	}
	err := r.cmd.Wait()
	r.cmd = nil
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return fmt.Errorf("child: %w", exit)
	}
	return err
}
