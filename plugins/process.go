package plugins

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"time"
)

// ProcessStats is a snapshot of a Process.
type ProcessStats struct {
	Name   string
	State  State
	URL    string // while Running
	PID    int    // of the latest child
	Starts int
	Err    error // why the latest child ended, or why the process is Broken
}

// Process is one supervised child. Its methods may be called concurrently.
type Process struct {
	opts Options
	stop chan struct{} // closed by Stop
	once sync.Once
	done chan struct{} // closed when the supervisor has ended

	mu    sync.Mutex // guards stats
	stats ProcessStats
}

// Start launches the child and returns once it is ready. When the first launch
// fails the error is returned and nothing is left running; later crashes are
// met with restarts.
func Start(ctx context.Context, opts Options) (*Process, error) {
	if err := opts.Config.Validate(); err != nil {
		return nil, err
	}
	p := &Process{opts: opts, stop: make(chan struct{}), done: make(chan struct{})}
	p.stats = ProcessStats{Name: opts.Command.Name, State: Starting}
	first := make(chan error, 1)
	go p.supervise(ctx, first)
	select {
	case err := <-first:
		if err != nil {
			<-p.done
			return nil, fmt.Errorf("start %s: %w", opts.Command.Name, err)
		}
		return p, nil
	case <-ctx.Done():
		return nil, errors.Join(fmt.Errorf("start %s: %w", opts.Command.Name, ctx.Err()), p.Stop())
	}
}

// URL returns where the child serves; ok is false unless it is Running.
func (p *Process) URL() (url string, ok bool) {
	s := p.Stats()
	return s.URL, s.State == Running
}

// Stats returns a snapshot.
func (p *Process) Stats() ProcessStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats
}

// Done is closed when the process is Broken or Stopped.
func (p *Process) Done() <-chan struct{} { return p.done }

// Stop ends the child: SIGTERM, and SIGKILL to its whole group after
// StopTimeout. It returns when the child is gone and is safe to call again.
func (p *Process) Stop() error {
	p.once.Do(func() { close(p.stop) })
	<-p.done
	return nil
}

func (p *Process) set(change func(*ProcessStats)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.stats)
}

// supervise runs children one after another. It keeps its OS thread: the
// kernel sends Pdeathsig when the thread that forked ends, not the process.
// The context given to Start bounds only the first launch.
func (p *Process) supervise(ctx context.Context, first chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(p.done)
	crashes := crashCounter{config: p.opts.Config}
	for {
		started := p.opts.Now()
		ready, err := p.runOnce(ctx, first)
		if p.stopped() {
			p.set(func(s *ProcessStats) { s.State, s.URL = Stopped, "" })
			return
		}
		if first != nil && !ready {
			p.set(func(s *ProcessStats) { s.State, s.Err = Broken, err })
			first <- err
			return
		}
		first, ctx = nil, context.Background()
		pause, ok := crashes.add(started, p.opts.Now())
		if !ok {
			p.set(func(s *ProcessStats) { s.State, s.URL, s.Err = Broken, "", fmt.Errorf("%w: %w", ErrBroken, err) })
			p.opts.Logger.Error("child given up", slog.String("child", p.opts.Command.Name), slog.Any("error", err))
			return
		}
		p.set(func(s *ProcessStats) { s.State, s.URL, s.Err = Starting, "", err })
		p.opts.Logger.Warn("child ended, restarting", slog.String("child", p.opts.Command.Name), slog.Any("error", err), slog.Duration("pause", pause))
		p.sleep(pause)
	}
}

func (p *Process) stopped() bool {
	select {
	case <-p.stop:
		return true
	default:
		return false
	}
}

// sleep waits for d or until Stop.
func (p *Process) sleep(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.stop:
	}
}

// runOnce runs one child to its end and says whether it ever was ready. The
// error always says why it ended.
func (p *Process) runOnce(ctx context.Context, first chan<- error) (ready bool, err error) {
	if p.stopped() {
		return false, errStopped
	}
	c, err := launch(p.opts)
	if err != nil {
		return false, err
	}
	defer c.end(p.opts.Config.StopTimeout)
	p.set(func(s *ProcessStats) { s.PID = c.cmd.Process.Pid; s.Starts++ })
	url, err := c.awaitReady(ctx, p.opts.Config.ReadyTimeout, p.stop)
	if err != nil {
		return false, err
	}
	p.set(func(s *ProcessStats) { s.State, s.URL = Running, url })
	if p.opts.OnReady != nil {
		p.opts.OnReady(url)
	}
	if first != nil {
		first <- nil
	}
	return true, c.awaitExit(p.stop)
}

// crashCounter decides how long to pause before a restart, and when to give up.
type crashCounter struct {
	config Config
	times  []time.Time // of crashes within the window
	row    int         // crashes in a row without a long run between
}

// add counts a child that ran from started to now.
func (c *crashCounter) add(started, now time.Time) (pause time.Duration, ok bool) {
	c.times = append(slices.DeleteFunc(c.times, func(t time.Time) bool { return now.Sub(t) > c.config.CrashWindow }), now)
	if len(c.times) >= c.config.MaxCrashes {
		return 0, false
	}
	if now.Sub(started) > c.config.CrashWindow {
		c.row = 0
	}
	pause = c.config.BackoffMin << min(c.row, 20) // beyond 2^20 the maximum has long been reached
	c.row++
	return min(pause, c.config.BackoffMax), true
}
