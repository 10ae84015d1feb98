package plugins

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"syscall"
	"time"
)

// child is one run of a Command.
type child struct {
	cmd      *exec.Cmd
	announce *announcement
	stderr   *lineLog
	exited   chan struct{} // closed after exitErr is set
	exitErr  error
}

// launch starts the command. The caller's goroutine must be locked to its
// thread (see supervise).
func launch(opts Options) (*child, error) {
	log := opts.Logger.With(slog.String("child", opts.Command.Name))
	c := &child{
		announce: &announcement{result: make(chan ready, 1)},
		stderr:   newLineLog(log, opts.Config.LinesPerSecond, opts.Now),
		exited:   make(chan struct{}),
	}
	c.cmd = exec.Command(opts.Command.Path, opts.Command.Args...)
	c.cmd.Env, c.cmd.Dir = opts.Command.environment(), opts.Command.Dir
	c.cmd.Stdout, c.cmd.Stderr = c.announce, c.stderr
	c.cmd.SysProcAttr = isolate()
	// A grandchild that keeps the pipes open may delay us this long, no longer.
	c.cmd.WaitDelay = time.Second
	if err := sealDescriptors(); err != nil {
		return nil, fmt.Errorf("launch: %w", err)
	}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("launch: %w", err)
	}
	go func() {
		c.exitErr = c.cmd.Wait()
		close(c.exited)
	}()
	return c, nil
}

// awaitReady returns the URL of the ready line, or why there is none.
func (c *child) awaitReady(ctx context.Context, timeout time.Duration, stop <-chan struct{}) (string, error) {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case r := <-c.announce.result:
		return r.url, r.err
	case <-c.exited:
		return "", c.exitReason()
	case <-timer.C:
		return "", fmt.Errorf("no ready line within %s", timeout)
	case <-ctx.Done():
		return "", ctx.Err()
	case <-stop:
		return "", errStopped
	}
}

// awaitExit returns why the child ended, or errStopped.
func (c *child) awaitExit(stop <-chan struct{}) error {
	select {
	case <-c.exited:
		return c.exitReason()
	case <-stop:
		return errStopped
	}
}

func (c *child) exitReason() error {
	if c.exitErr == nil {
		return errors.New("exited with status 0")
	}
	return fmt.Errorf("exited: %w", c.exitErr)
}

// end stops the child if it still runs, kills what it left behind and returns
// when it is gone.
func (c *child) end(timeout time.Duration) {
	pid := c.cmd.Process.Pid
	select {
	case <-c.exited:
	default:
		_ = c.cmd.Process.Signal(syscall.SIGTERM) // gone already is as good
		timer := time.NewTimer(timeout)
		defer timer.Stop()
		select {
		case <-c.exited:
		case <-timer.C:
			killGroup(pid)
			_ = c.cmd.Process.Kill()
		}
	}
	killGroup(pid) // also frees pipes that a grandchild holds
	<-c.exited
	c.stderr.flush()
}
