package connectortest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// restart replaces the process while calls are made.
func (x *exam) restart(ctx context.Context) error {
	old := x.connector.Stats().PID
	during, over := make(chan error, 1), make(chan struct{})
	go func() {
		var err error
		for last := false; !last && err == nil; {
			select {
			case <-over:
				last = true
			default:
			}
			err = x.try(ctx)
		}
		during <- err
	}()
	err := x.connector.Restart(ctx)
	close(over)
	if gap := <-during; gap != nil {
		err = errors.Join(err, fmt.Errorf("a call meanwhile: %w", gap))
	}
	if err == nil && x.connector.Stats().PID == old {
		err = errors.New("the process is the old one")
	}
	return errors.Join(err, x.listsAgain(ctx))
}

func (x *exam) crash(ctx context.Context) error {
	old := x.connector.Stats().PID
	p, err := os.FindProcess(old)
	if err == nil {
		err = p.Kill()
	}
	if err != nil {
		return fmt.Errorf("kill it: %w", err)
	}
	err = poll(ctx, "it did not come back", func() bool {
		s := x.connector.Stats()
		return s.PID != 0 && s.PID != old
	})
	if err != nil {
		return err
	}
	return x.try(ctx)
}

func (x *exam) stops(ctx context.Context) error {
	began := time.Now()
	if err := x.connector.Stop(ctx); err != nil {
		return err
	}
	if took := time.Since(began); took >= grace {
		return fmt.Errorf("it did not end within %v and was killed", grace)
	}
	return nil
}

// leavesNothing looks for what the candidate's processes and the connection with them could leave.
func (x *exam) leavesNothing(ctx context.Context) error {
	var left []string
	_ = poll(ctx, "", func() bool { // what is left in the end is told below
		left = append(processes(x.marker), opened(x.before)...)
		files, _ := os.ReadDir(x.sockets)
		for _, f := range files {
			left = append(left, "the file "+f.Name())
		}
		return len(left) == 0
	})
	if len(left) > 0 {
		return fmt.Errorf("it left %s", strings.Join(left, ", "))
	}
	return nil
}

// processes returns those that see the marker, where there is a /proc.
func processes(marker string) (left []string) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		env, _ := os.ReadFile("/proc/" + e.Name() + "/environ")
		if bytes.Contains(env, []byte(marker+"\x00")) {
			left = append(left, "the process "+e.Name())
		}
	}
	return left
}

// descriptors returns this process's sockets and pipes, where there is a /proc.
func descriptors() map[string]bool {
	all := map[string]bool{}
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		to, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && (strings.HasPrefix(to, "socket:") || strings.HasPrefix(to, "pipe:")) {
			all[to] = true
		}
	}
	return all
}

// opened returns the descriptors that were not there before.
func opened(before map[string]bool) (left []string) {
	for to := range descriptors() {
		if !before[to] {
			left = append(left, "the descriptor "+to)
		}
	}
	return left
}
