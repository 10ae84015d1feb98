package connectortest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// uncalled counts the listed tools that neither the example nor a call is about.
func (x *exam) uncalled() (n int) {
	for _, t := range x.tools {
		about := func(e Example) bool { return e.Tool == t.name }
		if !about(x.candidate.Example) && !slices.ContainsFunc(x.candidate.Calls, about) {
			n++
		}
	}
	return n
}

// settled is how long a process that has answered is watched: what it does in the background may still end it.
const settled = 200 * time.Millisecond

// callOnce makes a call that must be answered, by a process that lives on.
func (x *exam) callOnce(ctx context.Context, e Example) error {
	if !slices.ContainsFunc(x.tools, func(t tool) bool { return t.name == e.Tool }) {
		return fmt.Errorf("it lists no tool %q", e.Tool)
	}
	crashes := x.connector.Stats().Crashes
	reply, err := x.ask(ctx, e.request())
	if err == nil {
		err = e.judge(reply)
	}
	watch, cancel := context.WithTimeout(ctx, settled)
	defer cancel()
	if poll(watch, "", func() bool { return x.connector.Stats().Crashes > crashes }) != nil && ctx.Err() == nil {
		return err
	}
	if s := x.connector.Stats(); s.Crashes > crashes {
		err = errors.Join(err, fmt.Errorf("the process did not live on: %w", s.Err))
	}
	return errors.Join(err, poll(ctx, "it did not come back", func() bool { return x.connector.Stats().PID != 0 }))
}
