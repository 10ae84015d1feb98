package plugins

import (
	"context"
	"log/slog"
	"time"
)

// supervisor is the one goroutine that decides over a connector's processes.
// At any time at most one takes calls, one is being started, one that crashed
// is being cleaned up, and maxOld that were replaced finish their calls.
type supervisor struct {
	*Connector
	breaker breaker
	attempt *attempt       // the process being started
	burying chan ended     // of the one that crashed; nil when there is none
	waiting []chan<- error // restarts to be done after the attempt
	retry   *time.Timer    // nil when no try is waited for
	old     int            // how many finish their calls
	retired chan struct{}  // one has
}

// maxOld is how many replaced processes may finish their calls at once; another
// restart waits for the first of them.
const maxOld = 3

// attempt is a start under way.
type attempt struct {
	began   time.Time
	cancel  context.CancelFunc
	result  chan outcome
	askedBy []chan<- error
}

type outcome struct {
	serving serving
	err     error
}

// ended is the end of a process that took calls.
type ended struct {
	began time.Time
	err   error
}

func (c *Connector) supervise() {
	s := &supervisor{Connector: c, breaker: breaker{config: c.options.Config}, retired: make(chan struct{})}
	defer close(c.done)
	defer c.hurry()
	s.begin(nil)
	for s.step() {
	}
	s.windUp()
}

// step waits for one event and handles it. It returns false at Stop.
func (s *supervisor) step() bool {
	var (
		gone    <-chan struct{}
		started <-chan outcome
		retry   <-chan time.Time
	)
	if l := s.current.Load(); l != nil {
		gone = l.gone()
	}
	if s.attempt != nil {
		started = s.attempt.result
	}
	if s.retry != nil {
		retry = s.retry.C
	}
	select {
	case <-s.stop:
		return false
	case r := <-s.restarts:
		s.asked(r)
	case o := <-started:
		s.started(o)
	case <-gone:
		s.lost()
	case e := <-s.burying:
		s.burying = nil
		s.crashed(e)
	case <-s.retired:
		s.old--
		s.next()
	case <-retry:
		s.begin(nil)
	}
	return true
}

// begin starts a process, which nobody may ask for while another is being
// started or cleaned up.
func (s *supervisor) begin(askedBy []chan<- error) {
	if s.retry != nil {
		s.retry.Stop()
		s.retry = nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	a := &attempt{began: s.options.Now(), cancel: cancel, result: make(chan outcome, 1), askedBy: askedBy}
	s.attempt = a
	s.set(func(t *Stats) { t.Starts++; t.Next = time.Time{} })
	go func() {
		in, err := s.start(ctx)
		a.result <- outcome{in, err}
	}()
}

func (s *supervisor) asked(r chan<- error) {
	s.waiting = append(s.waiting, r)
	s.next()
}

// next does the restarts that were asked for, all at once, when it is their
// turn.
func (s *supervisor) next() {
	if len(s.waiting) > 0 && s.attempt == nil && s.burying == nil && s.old < maxOld {
		askedBy := s.waiting
		s.waiting = nil
		s.begin(askedBy)
	}
}

// started handles the end of an attempt.
func (s *supervisor) started(o outcome) {
	a := s.attempt
	s.attempt = nil
	a.cancel()
	if o.err != nil {
		s.failed(a, o.err)
	} else {
		s.takeOver(a, o.serving)
	}
	answer(a.askedBy, o.err)
	s.next()
}

// takeOver lets a new process take calls before the old one ceases to.
func (s *supervisor) takeOver(a *attempt, in serving) {
	old := s.current.Swap(&live{in, a.began})
	if len(a.askedBy) > 0 {
		s.breaker.forgive()
	}
	if old != nil {
		s.retire(old)
	}
	var stats Stats
	in.describe(&stats)
	level := slog.LevelDebug // a first start that goes well is no news
	if s.Stats().Starts > 1 {
		level = slog.LevelInfo
	}
	s.log.Log(context.Background(), level, "connector runs", slog.Int("pid", stats.PID), slog.String("name", stats.Info.Name), slog.String("version", stats.Info.Version))
	s.enter(Running, 0, nil)
}

func (s *supervisor) retire(l *live) {
	s.old++
	go func() {
		l.retire(s.patience)
		s.retired <- struct{}{}
	}()
}

// failed handles a start that came to nothing.
func (s *supervisor) failed(a *attempt, err error) {
	if s.current.Load() == nil && s.burying == nil {
		s.crashed(ended{a.began, err})
		return
	}
	s.log.Warn("connector was not restarted", slog.Any("error", err))
	s.set(func(t *Stats) { t.Err = err })
}

// lost handles the end of the process that took calls.
func (s *supervisor) lost() {
	l := s.current.Swap(nil)
	s.enter(Starting, 0, nil)
	burying := make(chan ended, 1)
	s.burying = burying
	go func() { burying <- ended{l.began, l.bury()} }()
}

// crashed counts a crash and sets when to try again, unless that is being done.
func (s *supervisor) crashed(e ended) {
	pause, broken := s.breaker.crashed(e.began, s.options.Now())
	s.set(func(t *Stats) { t.Crashes++; t.Err = e.err })
	if s.attempt != nil || s.current.Load() != nil {
		s.log.Warn("connector ended", slog.Any("error", e.err))
		return
	}
	if broken {
		s.log.Error("connector is broken", slog.Any("error", e.err), slog.Duration("pause", pause))
		s.enter(Broken, pause, e.err)
	} else {
		s.log.Warn("connector ended, restarting", slog.Any("error", e.err), slog.Duration("pause", pause))
		s.enter(Starting, pause, e.err)
	}
	s.retry = time.NewTimer(pause)
	s.next()
}

// windUp ends everything. Calls under way may end first.
func (s *supervisor) windUp() {
	if s.retry != nil {
		s.retry.Stop()
	}
	if l := s.current.Swap(nil); l != nil {
		s.retire(l)
	}
	s.enter(Stopped, 0, nil)
	if s.attempt != nil {
		s.attempt.cancel()
		if o := <-s.attempt.result; o.err == nil {
			o.serving.retire(s.patience)
		}
		answer(s.attempt.askedBy, errStopped)
	}
	if s.burying != nil {
		<-s.burying
	}
	for ; s.old > 0; s.old-- {
		<-s.retired
	}
	answer(s.waiting, errStopped)
}

func answer(askedBy []chan<- error, err error) {
	for _, r := range askedBy {
		r <- err // holds one
	}
}

func (c *Connector) set(change func(*Stats)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.stats)
}

// enter changes the state and tells. A pause says when the next try is due.
func (c *Connector) enter(to State, pause time.Duration, err error) {
	now := c.options.Now()
	c.mu.Lock()
	was := c.stats.State
	if was != to || to == Running {
		c.stats.State, c.stats.Since = to, now
	}
	c.stats.Next = time.Time{}
	if pause > 0 {
		c.stats.Next = now.Add(pause)
	}
	c.served = c.served || to == Running
	close(c.changed)
	c.changed = make(chan struct{})
	c.mu.Unlock()
	if (was != to || to == Running) && c.options.OnChange != nil {
		c.options.OnChange(to)
	}
}
