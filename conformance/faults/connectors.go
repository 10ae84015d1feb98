package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gatewright/gatewright/gateway/upstream"
	"github.com/gatewright/gatewright/plugins"
	"github.com/gatewright/gatewright/plugins/connector"
)

// carrier brings calls to a connector's process, as the gateway's wiring does, past the witness.
type carrier struct {
	w *world
	c *plugins.Connector
}

func (k carrier) Carry(ctx context.Context, t *upstream.Target, r *upstream.Request, reply *upstream.Reply) error {
	k.w.witness.see(r.Arguments)
	req := connector.Request{Method: r.Method, Name: r.Name, Principal: r.Principal, Params: r.Params, Arguments: r.Arguments, Meta: r.Meta}
	t.Headers(func(name, value string) { req.Headers = append(req.Headers, [2]string{name, value}) })
	if r.Peer != nil {
		req.Notify = r.Peer.Notify
	}
	var out connector.Reply
	if err := k.c.Call(ctx, &req, &out); err != nil {
		f, ok := errors.AsType[*connector.Failure](err)
		if !ok {
			return err
		}
		return &upstream.Error{Kind: failureKinds[f.Kind], Detail: "the connector failed", Sent: f.Sent}
	}
	reply.Result, reply.Error = out.Result, out.Error
	return nil
}

var failureKinds = map[connector.Kind]upstream.Kind{
	connector.Unreachable: upstream.Unreachable, connector.Timeout: upstream.Timeout, connector.Malformed: upstream.Malformed,
	connector.TooLarge: upstream.TooLarge, connector.Refused: upstream.Status, connector.Canceled: upstream.Canceled,
	connector.Busy: upstream.Busy, connector.Internal: upstream.Unreachable,
}

// launch starts this program again in a part of play.
func (w *world) launch(part string, startTimeout time.Duration) (*plugins.Connector, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := plugins.DefaultConfig()
	c.StartTimeout, c.StopTimeout, c.DrainTimeout = startTimeout, 300*time.Millisecond, 300*time.Millisecond
	c.BackoffMin, c.BackoffMax, c.MaxCrashes, c.BreakFor = time.Millisecond, 2*time.Millisecond, 1000, time.Hour
	c.PingEvery, c.PingTimeout, c.MaxMessage = 100*time.Millisecond, time.Second, 64<<10
	if startTimeout < patient {
		c.MaxCrashes = 1
	}
	return plugins.New(plugins.Options{
		Config: c, Tenant: tenant, Logger: w.log, Now: time.Now, SocketDir: w.dir,
		Command: plugins.Command{Name: serverName, Path: self, Env: []string{partVariable + "=" + part, seenVariable + "=" + w.seenFile()}},
	})
}

// patient is the time that a connector which is to serve may take to start.
const patient = 20 * time.Second

func (w *world) seenFile() string { return filepath.Join(w.dir, "seen") }

// connectorFaults run connectors in processes of their own: those that never become one, those that break the wire, and one
// that does on each call what the call's path says.
func connectorFaults(ctx context.Context, w *world) (all []*fault, err error) {
	good, err := w.launch(obedient, patient)
	if err != nil {
		return nil, err
	}
	inProcess := w.upward.Load()
	w.atEnd(func(ctx context.Context) error { return good.Stop(ctx) })
	w.atGroupEnd(func() { w.upward.Store(inProcess) })
	ready, cancel := context.WithTimeout(ctx, patient)
	defer cancel()
	if err := good.Ready(ready); err != nil {
		return nil, err
	}
	w.upward.Store(&upstream.Target{Carrier: carrier{w, good}})
	for _, part := range slices.Sorted(maps.Keys(startParts())) {
		all = append(all, w.child(good, "start", part, 500*time.Millisecond))
	}
	for _, part := range slices.Sorted(maps.Keys(wireParts())) {
		all = append(all, w.child(good, "wire", part, patient))
	}
	for _, part := range slices.Sorted(maps.Keys(callParts())) {
		f := &fault{point: "call", kind: part, silent: true, struck: true, prefix: part}
		all = append(all, f)
	}
	for _, k := range slices.Sorted(maps.Keys(failureKinds)) {
		for _, sent := range []string{"sent", "unsent"} {
			part := fmt.Sprintf("failure-%d-%s", k, sent)
			all = append(all, &fault{point: "call", kind: "failure: " + k.String() + ", " + sent, silent: true, struck: true, prefix: part})
		}
	}
	all[len(all)-1].end = func(w *world) error { return w.onlyOnce() }
	return all, nil
}

// child is a fault of a connector that is of no use, and is replaced afterwards.
func (w *world) child(good *plugins.Connector, point, part string, startTimeout time.Duration) *fault {
	f := &fault{point: point, kind: part, silent: true}
	var c *plugins.Connector
	f.before = func(w *world) (err error) {
		if c, err = w.launch(part, startTimeout); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), patient)
		defer cancel()
		err = c.Ready(ctx)
		f.struck = (err == nil) == (point == "wire")
		w.upward.Store(&upstream.Target{Carrier: carrier{w, c}})
		return nil
	}
	f.after = func(w *world) error {
		w.upward.Store(&upstream.Target{Carrier: carrier{w, good}})
		ctx, cancel := context.WithTimeout(context.Background(), patient)
		defer cancel()
		return c.Stop(ctx)
	}
	return f
}

// onlyOnce looks at what the connectors' server noted: no call may have come to it twice.
func (w *world) onlyOnce() error {
	b, err := os.ReadFile(w.seenFile())
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for line := range strings.Lines(string(b)) {
		if seen[line] {
			return fmt.Errorf("%q had its effect twice", line)
		}
		seen[line] = true
	}
	return nil
}
