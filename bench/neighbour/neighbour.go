// Package neighbour measures what a tenant notices of another one in the same gateway that takes all it can get: the p99
// of its calls, beside what it is when the other makes as many calls and its filters are harmless.
//
// The neighbour calls a whole gateway, at four tenths of what that takes at most; the other tenant's calls, one tenth as
// many, go to its filters in the same process, under the default quota. A round measures three times: beside the
// hostile tenant, beside the harmless one, and beside the harmless one again. The ratio is of the first to the second,
// the control of the third to the second, so that what the machine does by itself shows.
package neighbour

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/gatewright/gatewright/bench/rig"
	"github.com/gatewright/gatewright/bench/task"
)

// Options say how to measure.
type Options struct {
	Self   []string      // the command that starts this binary, for the children
	Rounds int           // rounds that count
	Time   time.Duration // of each of a round's three measurements
	Conns  int           // connections of the neighbour; the other tenant has half as many
	Log    io.Writer     // progress
}

// Shares of what the gateway takes at most.
const (
	ownShare   = 0.4
	rivalShare = 0.1
)

// stand is what is measured.
type stand struct {
	Options
	dir   string
	up    *rig.Child
	both  *rig.Child
	rival string // host:port
	own   *rig.Load
	other map[string]*rig.Load // by tenant
	rate  float64              // what the gateway takes at most, in calls a second
}

// Run measures.
func Run(ctx context.Context, o Options) (_ *Report, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("neighbour: %w", err)
		}
	}()
	if o.Rounds < 1 || o.Time <= 0 || o.Conns < 2 {
		return nil, errors.New("rounds and time must be positive, and connections two or more")
	}
	s := &stand{Options: o, other: map[string]*rig.Load{}}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.build(ctx); err != nil {
		return nil, err
	}
	return s.measure(ctx)
}

// build starts the upstream and the process of both tenants, and connects the loads.
func (s *stand) build(ctx context.Context) (err error) {
	if s.dir, err = os.MkdirTemp("", "gatewright-neighbour-"); err != nil {
		return err
	}
	if s.up, err = rig.Start(ctx, s.Self, rig.StubRole, task.Stub()); err != nil {
		return err
	}
	s.both, err = rig.Start(ctx, s.Self, role, task.Gateway{Upstream: s.up.Addr, Dir: s.dir, Receipts: true, Filters: []string{harmlessFilter}})
	if err != nil {
		return err
	}
	var d detail
	if err := json.Unmarshal(s.both.Detail, &d); err != nil {
		return fmt.Errorf("the child says of itself: %w", err)
	}
	s.rival = d.Rival
	if s.own, err = rig.Dial(ctx, s.both.Addr, s.Conns, d.Pass.Requests(s.both.Addr)); err != nil {
		return err
	}
	for _, name := range []string{hostile, harmless} {
		if s.other[name], err = rig.Dial(ctx, d.Rival, s.Conns/2, []rig.Request{rivalRequest(d.Rival, name)}); err != nil {
			return err
		}
	}
	return nil
}

// rivalRequest is a call of the other tenant's, as long as the neighbour's.
func rivalRequest(host, name string) rig.Request {
	body := `{"note":"` + strings.Repeat("nothing to see here. ", 70) + `"}`
	return rig.Request{Wire: []byte("POST /" + name + " HTTP/1.1\r\nHost: " + host + "\r\nContent-Type: application/json\r\nContent-Length: " +
		strconv.Itoa(len(body)) + "\r\n\r\n" + body)}
}

func (s *stand) close() error {
	var errs []error
	if s.own != nil {
		errs = append(errs, s.own.Close())
	}
	for _, l := range s.other {
		if l != nil {
			errs = append(errs, l.Close())
		}
	}
	for _, c := range []*rig.Child{s.both, s.up} {
		if c != nil {
			errs = append(errs, c.Stop())
		}
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}

// measure finds how much the gateway takes, and makes the rounds.
func (s *stand) measure(ctx context.Context) (*Report, error) {
	for range 2 { // the first warms up
		if err := s.own.Run(ctx, s.Time); err != nil {
			return nil, err
		}
	}
	full, err := result(s.own)
	if err != nil {
		return nil, err
	}
	s.rate = float64(full.Calls) / full.Elapsed.Seconds()
	r := &Report{Saturation: s.rate, Conns: s.Conns, Time: s.Time.String()}
	fmt.Fprintf(s.Log, "the gateway takes %.0f calls a second; the neighbour makes %.0f, the other tenant %.0f\n", s.rate, s.rate*ownShare, s.rate*rivalShare)
	if r.Rounds, err = rig.Repeat(s.Rounds, s.Log, func(n int, r *Round) error { return s.round(ctx, n, r) }, (*Round).line); err != nil {
		return nil, err
	}
	r.summarize()
	return r, nil
}

// orders are those in which a round measures: hostile, harmless, control.
var orders = [...][3]int{{0, 1, 2}, {2, 0, 1}, {1, 2, 0}, {2, 1, 0}, {0, 2, 1}, {1, 0, 2}}

func (s *stand) round(ctx context.Context, n int, r *Round) (err error) {
	parts := []struct {
		tenant string
		to     *Part
	}{{hostile, &r.Hostile}, {harmless, &r.Harmless}, {harmless, &r.Control}}
	for _, i := range orders[n%len(orders)] {
		if *parts[i].to, err = s.beside(ctx, parts[i].tenant); err != nil {
			return err
		}
	}
	return nil
}

// beside measures the neighbour beside a tenant.
func (s *stand) beside(ctx context.Context, tenant string) (p Part, err error) {
	before, err := s.stats(ctx, tenant)
	if err != nil {
		return p, err
	}
	used, err := s.both.Usage()
	if err != nil {
		return p, err
	}
	done := make(chan error, 1)
	go func() { done <- s.other[tenant].Pace(ctx, s.Time, s.rate*rivalShare) }()
	err = errors.Join(s.own.Pace(ctx, s.Time, s.rate*ownShare), <-done)
	if err != nil {
		return p, err
	}
	now, err := s.both.Usage()
	if err != nil {
		return p, err
	}
	own, err := result(s.own)
	if err != nil {
		return p, err
	}
	if _, err := result(s.other[tenant]); err != nil {
		return p, fmt.Errorf("the %s tenant: %w", tenant, err)
	}
	after, err := s.stats(ctx, tenant)
	if err != nil {
		return p, err
	}
	p = Part{Calls: own.Calls, P50: micros(own.P50), P99: micros(own.P99), Rival: after.since(before)}
	p.Rate, p.CPU = float64(own.Calls)/own.Elapsed.Seconds(), (now.CPU-used.CPU).Seconds()/own.Elapsed.Seconds()
	return p, nil
}

// result is that of a load none of whose callers failed.
func result(l *rig.Load) (rig.Result, error) {
	r, err := l.Result()
	if err == nil && r.Failed > 0 {
		err = fmt.Errorf("%d callers failed: %s", r.Failed, r.Failure)
	}
	return r, err
}

// stats asks what the other tenant did so far.
func (s *stand) stats(ctx context.Context, tenant string) (r Rival, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.rival+"/"+tenant, nil)
	if err != nil {
		return r, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return r, fmt.Errorf("ask about the %s tenant: %w", tenant, err)
	}
	defer resp.Body.Close()
	return r, json.NewDecoder(resp.Body).Decode(&r)
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
