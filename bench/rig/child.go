// Package rig is what every bench command stands on: child processes whose CPU time can be told apart, a load
// generator, a server to stand behind what is measured, and a look at how quiet the machine is.
//
// Everything that is measured runs as a child of the bench process, by re-executing the same binary under a hidden
// verb. Parent and child speak JSON lines over the child's standard input and output; a child whose input ends stops,
// so that none outlives a parent that was killed.
package rig

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"time"
)

// Verb is the hidden first argument that makes the binary a child. After it come the role and its settings as JSON.
const Verb = "bench-child"

const (
	startWithin  = 60 * time.Second // a gateway that writes its first ledger segments on a busy disk
	answerWithin = 30 * time.Second
)

// Child is a process under the parent's control. Its methods are for one goroutine.
type Child struct {
	Addr   string          // host:port where it serves
	Detail json.RawMessage // what its role says of itself

	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan reply
}

// order is what the parent asks of a child.
type order struct {
	Do    string        `json:"do"` // usage, rest, probe, load, result, profile, stop-profile
	Path  string        `json:"path,omitempty"`
	Time  time.Duration `json:"time,omitempty"`
	Calls int           `json:"calls,omitempty"` // in flight
}

// reply is what a child answers: first where it serves, then once for each order.
type reply struct {
	Addr   string          `json:"addr,omitempty"`
	Detail json.RawMessage `json:"detail,omitempty"`
	Usage  Usage           `json:"usage"`
	Rest   Rest            `json:"rest"`
	Result Result          `json:"result"`
	Error  string          `json:"error,omitempty"`
}

// Usage is what a process and all that it started have used since they started.
type Usage struct {
	CPU     time.Duration `json:"cpu"`              // user and system time of all of them
	Family  []int         `json:"family,omitempty"` // the processes that it started, by id
	Mallocs uint64        `json:"mallocs"`          // heap objects of its own
	Bytes   uint64        `json:"bytes"`            // of heap objects
}

// Rest is what a process holds when nothing is to be done, its garbage given back.
type Rest struct {
	Resident    int64 `json:"resident"` // bytes of memory
	Goroutines  int   `json:"goroutines"`
	Descriptors int   `json:"descriptors"`
}

// Since is what was used after the earlier look. It is an error when a process came or went in between, for its time is
// in only one of the looks.
func (u Usage) Since(earlier Usage) (Usage, error) {
	if !slices.Equal(u.Family, earlier.Family) {
		return Usage{}, fmt.Errorf("processes came or went: there were %v, and now %v", earlier.Family, u.Family)
	}
	return Usage{CPU: u.CPU - earlier.CPU, Family: u.Family, Mallocs: u.Mallocs - earlier.Mallocs, Bytes: u.Bytes - earlier.Bytes}, nil
}

// Start starts a child in a role and waits until it serves. self is the command that starts this binary.
func Start(ctx context.Context, self []string, role string, settings any) (*Child, error) {
	text, err := json.Marshal(settings)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	args := append(append([]string(nil), self[1:]...), Verb, role, string(text))
	cmd := exec.CommandContext(ctx, self[0], args...) //nolint:gosec // our own binary
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	c := &Child{cmd: cmd, in: in, lines: make(chan reply, 1)}
	go c.listen(out)
	first, err := c.next(startWithin)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", role, err), c.Stop())
	}
	c.Addr, c.Detail = first.Addr, first.Detail
	return c, nil
}

func (c *Child) listen(out io.Reader) {
	defer close(c.lines)
	r := bufio.NewReader(out)
	for {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return
		}
		var a reply
		if err := json.Unmarshal(line, &a); err != nil {
			a.Error = fmt.Sprintf("child said %.80q", line)
		}
		c.lines <- a
	}
}

func (c *Child) next(within time.Duration) (reply, error) {
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case a, ok := <-c.lines:
		switch {
		case !ok:
			return a, errors.New("child ended")
		case a.Error != "":
			return a, errors.New(a.Error)
		}
		return a, nil
	case <-timer.C:
		return reply{}, fmt.Errorf("child was silent for %s", within)
	}
}

// ask gives an order and waits for what comes of it, at most the time that it takes by itself and some more.
func (c *Child) ask(o order) (reply, error) {
	text, err := json.Marshal(o)
	if err != nil {
		return reply{}, err
	}
	if _, err := c.in.Write(append(text, '\n')); err != nil {
		return reply{}, fmt.Errorf("ask child: %w", err)
	}
	return c.next(o.Time + answerWithin)
}

// Usage asks what the child has used so far.
func (c *Child) Usage() (Usage, error) {
	a, err := c.ask(order{Do: "usage"})
	return a.Usage, err
}

// Probe has a child that cannot be asked from outside show that it does its task.
func (c *Child) Probe(context.Context) error {
	_, err := c.ask(order{Do: "probe"})
	return err
}

// Loader is the load of a child that calls by itself, with so many calls in flight.
func (c *Child) Loader(calls int) Loader { return ownLoad{c, calls} }

type ownLoad struct {
	child *Child
	calls int
}

func (l ownLoad) Run(ctx context.Context, d time.Duration) error {
	_, err := l.child.ask(order{Do: "load", Time: d, Calls: l.calls})
	return errors.Join(err, ctx.Err())
}

func (l ownLoad) Result() (Result, error) {
	a, err := l.child.ask(order{Do: "result"})
	return a.Result, err
}

func (ownLoad) Close() error { return nil }

// Profile starts a CPU profile into a file; StopProfile ends it.
func (c *Child) Profile(path string) error {
	_, err := c.ask(order{Do: "profile", Path: path})
	return err
}

// Rest says what the child holds, once it has given its garbage back.
func (c *Child) Rest() (Rest, error) {
	a, err := c.ask(order{Do: "rest"})
	return a.Rest, err
}

// StopProfile ends the CPU profile and writes where memory was allocated since the child started.
func (c *Child) StopProfile(allocs string) error {
	_, err := c.ask(order{Do: "stop-profile", Path: allocs})
	return err
}

// Stop ends the child and waits for it. One that does not end by itself within some seconds is killed.
func (c *Child) Stop() error {
	_ = c.in.Close() // a child that ended closed it already
	kill := time.AfterFunc(20*time.Second, func() { _ = c.cmd.Process.Kill() })
	defer kill.Stop()
	go func() { // whatever it still says
		for range c.lines {
		}
	}()
	if err := c.cmd.Wait(); err != nil {
		return fmt.Errorf("child ended: %w", err)
	}
	return nil
}
