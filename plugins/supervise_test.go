package plugins

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/plugins/connector"
)

func TestTheBreakerDoublesPausesAndOpens(t *testing.T) {
	b := breaker{config: Config{BackoffMin: 1, BackoffMax: 5, MaxCrashes: 6, CrashWindow: 100, BreakFor: 1000}}
	at := func(n int64) time.Time { return time.Unix(0, n) }
	for _, step := range []struct {
		began, now int64
		pause      time.Duration
		broken     bool
		what       string
	}{
		{0, 0, 1, false, "the first"},
		{1, 1, 2, false, "doubled"},
		{3, 3, 4, false, "doubled again"},
		{7, 7, 5, false, "the longest"},
		{10, 10, 5, false, "the longest again"},
		{15, 16, 1000, true, "six within the window"},
		{1016, 1017, 1000, true, "one try is enough when it was broken, though the window is empty"},
		{2017, 2118, 1, false, "a long run is forgiven"},
		{2119, 2120, 2, false, "and doubles anew"},
	} {
		if pause, broken := b.crashed(at(step.began), at(step.now)); pause != step.pause || broken != step.broken {
			t.Errorf("%s: got %d, %v", step.what, pause, broken)
		}
	}
	b.forgive()
	if pause, broken := b.crashed(at(3000), at(3000)); pause != 1 || broken {
		t.Errorf("forgiven: got %d, %v", pause, broken)
	}
}

func TestTheLongestPauseIsReachedWithoutRunningOver(t *testing.T) {
	b := breaker{config: Config{BackoffMin: 1, BackoffMax: 1 << 62, MaxCrashes: 1000, CrashWindow: time.Hour, BreakFor: 1}}
	last := time.Duration(0)
	for range 100 {
		pause, _ := b.crashed(time.Unix(0, 0), time.Unix(0, 0))
		if pause < last || pause <= 0 {
			t.Fatalf("%d after %d", pause, last)
		}
		last = pause
	}
}

// fake is a process that takes calls, without the process.
type fake struct {
	connector string
	ended     chan struct{}
	err       error
	slow      time.Duration // to retire
	retired   atomic.Bool
}

func (f *fake) Call(_ context.Context, _ *connector.Request, reply *connector.Reply) error {
	reply.Result = []byte(f.connector)
	return nil
}
func (f *fake) gone() <-chan struct{} { return f.ended }
func (f *fake) bury() error           { time.Sleep(f.slow); return f.err }
func (f *fake) describe(s *Stats)     { s.PID = 1 }
func (f *fake) retire(ctx context.Context) {
	select {
	case <-time.After(f.slow):
	case <-ctx.Done():
	}
	f.retired.Store(true)
}

// crash ends it.
func (f *fake) crash(why string) {
	f.err = errors.New(why)
	close(f.ended)
}

// stage supervises what start returns, under a clock of the test's own.
type stage struct {
	*Connector
	mu     sync.Mutex
	states []State
	times  []time.Duration // of starts
}

// next is one start: how long it takes, and what comes of it.
type next struct {
	takes time.Duration
	is    *fake
	err   error
}

func newStage(t *testing.T, starts func(n int) next) *stage {
	t.Helper()
	config := DefaultConfig()
	config.BackoffMin, config.BackoffMax = time.Second, 8*time.Second
	config.MaxCrashes, config.CrashWindow, config.BreakFor = 5, time.Minute, 10*time.Minute
	s, begin := &stage{}, time.Now()
	s.Connector = newConnector(Options{
		Config: config, Command: Command{Name: "fake"}, Now: time.Now, Logger: slog.New(slog.DiscardHandler),
		OnChange: func(to State) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.states = append(s.states, to)
		},
	})
	s.start = func(ctx context.Context) (serving, error) {
		s.mu.Lock()
		n := len(s.times)
		s.times = append(s.times, time.Since(begin))
		s.mu.Unlock()
		made := starts(n)
		select {
		case <-time.After(made.takes):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if made.is != nil {
			return made.is, nil
		}
		return nil, made.err
	}
	go s.supervise()
	t.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// seen returns the states entered and the times of starts so far.
func (s *stage) seen() ([]State, []time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.states), slices.Clone(s.times)
}

// entered fails the test unless these were the states.
func (s *stage) entered(t *testing.T, want ...State) {
	t.Helper()
	if got, _ := s.seen(); !slices.Equal(got, want) {
		t.Errorf("states %v, want %v", got, want)
	}
}

// startedAt fails the test unless these were the starts, in seconds.
func (s *stage) startedAt(t *testing.T, seconds ...float64) {
	t.Helper()
	var want []time.Duration
	for _, n := range seconds {
		want = append(want, time.Duration(n*float64(time.Second)))
	}
	if _, got := s.seen(); !slices.Equal(got, want) {
		t.Errorf("started at %v, want %v", got, want)
	}
}

func (s *stage) is(t *testing.T, want State) Stats {
	t.Helper()
	got := s.Stats()
	if got.State != want {
		t.Errorf("the state is %s, want %s: %+v", got.State, want, got)
	}
	return got
}

func newFake(name string) *fake { return &fake{connector: name, ended: make(chan struct{})} }

func TestStartsThatFailAreTriedEverMoreRarelyAndThenNotForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		boom := errors.New("boom")
		s := newStage(t, func(int) next { return next{err: boom} })
		time.Sleep(7 * time.Second)
		synctest.Wait()
		got := s.is(t, Starting)
		if want := 15*time.Second - 7*time.Second; time.Until(got.Next) != want || !errors.Is(got.Err, boom) || got.Crashes != 4 {
			t.Errorf("next in %s: %+v", time.Until(got.Next), got)
		}
		time.Sleep(9 * time.Second)
		synctest.Wait()
		if got := s.is(t, Broken); time.Until(got.Next) != 10*time.Minute-time.Second || got.Crashes != 5 {
			t.Errorf("next in %s: %+v", time.Until(got.Next), got)
		}
		if err := s.Ready(t.Context()); !errors.Is(err, ErrBroken) || !errors.Is(err, boom) {
			t.Errorf("ready: %v", err)
		}
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		s.startedAt(t, 0, 1, 3, 7, 15, 615, 1215)
		s.entered(t, Broken)
	})
}

func TestAProcessThatEndsIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := []*fake{newFake("a"), newFake("b"), newFake("c")}
		s := newStage(t, func(n int) next { return next{takes: time.Second, is: all[n]} })
		if err := s.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		all[0].slow = 100 * time.Millisecond // to clean up
		all[0].crash("first")
		synctest.Wait()
		if err := s.Call(t.Context(), &connector.Request{}, &connector.Reply{}); err == nil || err.Error() != "unreachable: the connector is starting" {
			t.Errorf("a call while it is down: %v", err)
		}
		s.is(t, Starting)
		time.Sleep(3 * time.Second) // 0.1 to clean up, 1 of pause, 1 to start
		if got := s.is(t, Running); got.Starts != 2 || got.Crashes != 1 || got.Err.Error() != "first" {
			t.Errorf("got %+v", got)
		}
		time.Sleep(time.Hour)
		all[1].crash("after a long run")
		time.Sleep(2500 * time.Millisecond)
		s.is(t, Running)
		s.startedAt(t, 0, 2.1, 3605)
		s.entered(t, Running, Starting, Running, Starting, Running)
	})
}

func TestARestartReplacesTheProcessWithoutAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newFake("a"), newFake("b")
		a.slow = 30 * time.Second // calls under way
		s := newStage(t, func(n int) next { return next{takes: time.Second, is: []*fake{a, b}[n]} })
		if err := s.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		restarted := make(chan error, 1)
		go func() { restarted <- s.Restart(t.Context()) }()
		for range 10 {
			var r connector.Reply
			if err := s.Call(t.Context(), &connector.Request{}, &r); err != nil || string(r.Result) != "a" {
				t.Errorf("while it restarts: %q, %v", r.Result, err)
			}
			time.Sleep(50 * time.Millisecond)
		}
		if err := <-restarted; err != nil {
			t.Error(err)
		}
		var r connector.Reply
		if err := s.Call(t.Context(), &connector.Request{}, &r); err != nil || string(r.Result) != "b" || a.retired.Load() {
			t.Errorf("after it: %q, %v; the old one is retired: %v", r.Result, err, a.retired.Load())
		}
		time.Sleep(31 * time.Second)
		if !a.retired.Load() {
			t.Error("the old process is still there")
		}
		s.entered(t, Running, Running)
		if got := s.is(t, Running); got.Crashes != 0 {
			t.Errorf("got %+v", got)
		}
	})
}

func TestARestartThatFailsLeavesTheOldProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		boom := errors.New("boom")
		a := newFake("a")
		s := newStage(t, func(n int) next {
			if n == 0 {
				return next{is: a}
			}
			return next{takes: time.Second, err: boom}
		})
		for range 20 {
			if err := s.Restart(t.Context()); !errors.Is(err, boom) {
				t.Errorf("got %v", err)
			}
		}
		if got := s.is(t, Running); got.Crashes != 0 || !errors.Is(got.Err, boom) {
			t.Errorf("got %+v", got)
		}
		go func() {
			time.Sleep(500 * time.Millisecond)
			a.crash("died meanwhile")
		}()
		if err := s.Restart(t.Context()); !errors.Is(err, boom) {
			t.Errorf("got %v", err)
		}
		time.Sleep(100 * time.Millisecond)
		if got := s.is(t, Starting); got.Crashes != 2 || got.Next.IsZero() { // its own end and the failed start
			t.Errorf("got %+v", got)
		}
	})
}

func TestTheOldProcessMayEndDuringARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newFake("a"), newFake("b")
		a.slow = 5 * time.Second // to clean up
		s := newStage(t, func(n int) next { return next{takes: time.Second, is: []*fake{a, b}[n]} })
		if err := s.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(500*time.Millisecond, func() { a.crash("died meanwhile") })
		if err := s.Restart(t.Context()); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		if got := s.is(t, Running); got.Crashes != 1 || got.Starts != 2 {
			t.Errorf("got %+v", got)
		}
	})
}

func TestARestartWaitsUntilTheOldProcessIsCleanedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newFake("a")
		a.slow = 5 * time.Second
		s := newStage(t, func(n int) next { return next{is: []*fake{a, newFake("b")}[n]} })
		if err := s.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		a.crash("x")
		synctest.Wait()
		if err := s.Restart(t.Context()); err != nil {
			t.Error(err)
		}
		s.startedAt(t, 0, 5)
	})
}

func TestOnlySoManyReplacedProcessesLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(int) next {
			f := newFake("x")
			f.slow = time.Minute
			return next{is: f}
		})
		if err := s.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range maxOld + 2 {
			if err := s.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		s.startedAt(t, 0, 0, 1, 2, 60, 61)
	})
}

func TestARestartIsATryAheadOfTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newFake("a")
		s := newStage(t, func(n int) next {
			if n == 7 {
				return next{is: a}
			}
			return next{err: errors.New("boom")}
		})
		time.Sleep(8 * time.Second) // four have failed
		synctest.Wait()
		if err := s.Restart(t.Context()); err == nil {
			t.Error("the fifth did not fail")
		}
		s.is(t, Broken)
		if err := s.Restart(t.Context()); err == nil {
			t.Error("the sixth did not fail")
		}
		s.is(t, Broken)
		time.Sleep(601 * time.Second) // one of its own
		synctest.Wait()
		s.is(t, Broken)
		if err := s.Restart(t.Context()); err != nil {
			t.Errorf("the eighth failed: %v", err)
		}
		s.is(t, Running)
		a.crash("is forgiven")
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		s.startedAt(t, 0, 1, 3, 7, 8, 8, 608, 609, 610)
		s.is(t, Starting)
	})
}

func TestRestartsThatComeTogetherAreOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(int) next { return next{takes: time.Second, is: newFake("x")} })
		if err := s.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if err := s.Restart(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		// The first began at once; what it started may be older than the others' reason to ask.
		if got := s.Stats().Starts; got != 3 {
			t.Errorf("%d starts", got)
		}
	})
}

func TestStopEndsEverythingUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newFake("a")
		a.slow = time.Hour
		s := newStage(t, func(n int) next {
			if n == 0 {
				return next{is: a}
			}
			return next{takes: time.Hour, is: newFake("b")}
		})
		if err := s.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		restarted := make(chan error, 2)
		for range 2 {
			go func() { restarted <- s.Restart(context.Background()) }()
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		begin := time.Now()
		if err := s.Stop(ctx); err != nil || time.Since(begin) != time.Minute || !a.retired.Load() {
			t.Errorf("%v after %s, retired: %v", err, time.Since(begin), a.retired.Load())
		}
		for range 2 {
			if err := <-restarted; !errors.Is(err, errStopped) {
				t.Errorf("a restart: %v", err)
			}
		}
		s.is(t, Stopped)
		if err := s.Restart(t.Context()); !errors.Is(err, errStopped) {
			t.Errorf("a restart afterwards: %v", err)
		}
		if err := s.Stop(t.Context()); err != nil {
			t.Errorf("again: %v", err)
		}
		if err := s.Call(t.Context(), &connector.Request{}, &connector.Reply{}); err == nil || err.Error() != "unreachable: the connector is stopped" {
			t.Errorf("a call: %v", err)
		}
	})
}

func TestReadyEndsWithItsContextAndSaysWhatWentWrong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		boom := errors.New("boom")
		s := newStage(t, func(int) next { return next{err: boom} })
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if err := s.Ready(ctx); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, boom) {
			t.Errorf("got %v", err)
		}
		if err := s.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if err := s.Ready(t.Context()); !errors.Is(err, errStopped) {
			t.Errorf("after the end: %v", err)
		}
	})
}

func TestARestartsContextBoundsOnlyTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(int) next { return next{takes: time.Minute, is: newFake("x")} })
		if err := s.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Restart(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		time.Sleep(time.Hour)
		if got := s.is(t, Running); got.Starts != 2 {
			t.Errorf("got %+v", got)
		}
	})
}
