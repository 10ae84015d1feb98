package task

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/gatewright/gatewright/bench/rig"
	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// Gate is how much of the task is done, and so what the probe demands.
type Gate int

// The gates, each with all before it.
const (
	Open    Gate = iota // forwards everything
	Key                 // refuses a wrong key
	Step                // refuses an argument that the plan does not allow
	Record              // names a record for each answer, refusals too
	Receipt             // gives receipts that verify
)

// Subject is a child that is given the task.
type Subject struct {
	Child   *rig.Child
	Gate    Gate
	Filters bool // its filters take secrets out; otherwise it must have none

	pass *Pass
	key  string // receipts verify under it
}

// Start starts a subject.
func Start(ctx context.Context, self []string, role string, settings any, gate Gate) (*Subject, error) {
	child, err := rig.Start(ctx, self, role, settings)
	if err != nil {
		return nil, err
	}
	s := &Subject{Child: child, Gate: gate}
	var d Detail
	if err := json.Unmarshal(child.Detail, &d); err != nil {
		return nil, errors.Join(fmt.Errorf("%s says of itself: %w", role, err), child.Stop())
	}
	if d.Pass.Key != "" {
		s.pass, s.key = &d.Pass, d.Key
	}
	return s, nil
}

// Borrow gives a subject that makes no passes of its own the other's, so that it gets the very same bytes.
func (s *Subject) Borrow(other *Subject) {
	if s.pass == nil {
		s.pass = other.pass
	}
}

// Older is the same subject as clients of the older era call it, in a session.
func (s *Subject) Older(ctx context.Context) (*Subject, error) {
	p := *s.pass
	hello := `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"` + older +
		`","capabilities":{"elicitation":{}},"clientInfo":{"name":"bench","version":"1"}}}`
	a, err := ask(ctx, s.Child.Addr, rig.Request{Wire: wire(s.Child.Addr, []byte(hello), [][2]string{{"Authorization", "Bearer " + p.Key}})})
	if err != nil {
		return nil, err
	}
	if p.Session = a.head.Get("Mcp-Session-Id"); p.Session == "" {
		return nil, fmt.Errorf("no session was opened: %s", a)
	}
	o := *s
	o.pass = &p
	return &o, nil
}

// Row makes a row of the subject, to which rig adds what compares it.
func (s *Subject) Row(r rig.Row, conns int) *rig.Row {
	r.Child, r.Probe = s.Child, s.Probe
	r.Load = func(ctx context.Context) (rig.Loader, error) {
		return rig.Dial(ctx, s.Child.Addr, conns, s.pass.Requests(s.Child.Addr))
	}
	return &r
}

func (s *Subject) request(c Change) rig.Request { return s.pass.Request(s.Child.Addr, 3, c) }

// Probe checks that the subject does its task.
func (s *Subject) Probe(ctx context.Context) error {
	allowed, err := ask(ctx, s.Child.Addr, s.request(Change{}))
	if err != nil {
		return err
	}
	if !allowed.good() {
		return fmt.Errorf("an allowed call is answered %s", allowed)
	}
	if s.Gate >= Key {
		if err := s.refuses(ctx, s.wrongKey(), "", 401); err != nil {
			return fmt.Errorf("a wrong key: %w", err)
		}
	}
	if s.Gate >= Step {
		if err := s.refuses(ctx, s.request(Change{Amount: 4711}), "args_mismatch", 200); err != nil {
			return fmt.Errorf("a changed argument: %w", err)
		}
	}
	if s.Gate < Receipt {
		return nil
	}
	if err := s.verify(allowed, ledger.Settled, false); err != nil {
		return fmt.Errorf("an allowed call: %w", err)
	}
	return s.probeFilters(ctx)
}

// secret is a text that the filters look for.
const secret = "AKIAZQ3DRSTUVWXY2345"

// probeFilters looks at what the receipt of a call with a secret says of labels.
func (s *Subject) probeFilters(ctx context.Context) error {
	a, err := ask(ctx, s.Child.Addr, s.request(Change{Note: "The key is " + secret + ". "}))
	if err != nil {
		return err
	}
	if !a.good() {
		return fmt.Errorf("a call with a secret is answered %s", a)
	}
	if err := s.verify(a, ledger.Settled, s.Filters); err != nil {
		return fmt.Errorf("a call with a secret: %w", err)
	}
	return nil
}

func (s *Subject) wrongKey() rig.Request {
	p := *s.pass
	last := p.Key[len(p.Key)-1]
	p.Key = p.Key[:len(p.Key)-1] + string(last^1)
	return p.Request(s.Child.Addr, 3, Change{})
}

// refuses holds a subject to its refusal. Those that keep no records refuse everything with 403.
func (s *Subject) refuses(ctx context.Context, call rig.Request, reason string, status int) error {
	a, err := ask(ctx, s.Child.Addr, call)
	if err != nil {
		return err
	}
	if s.Gate < Record {
		if a.status != 403 {
			return fmt.Errorf("answered %s", a)
		}
		return nil
	}
	var body struct {
		Error *struct {
			Data struct{ Reason, Record string }
		}
	}
	if err := json.Unmarshal(a.body, &body); err != nil || body.Error == nil || a.status != status {
		return fmt.Errorf("answered %s", a)
	}
	if reason == "" {
		return nil
	}
	if body.Error.Data.Reason != reason || a.head.Get("Gatewright-Record") == "" {
		return fmt.Errorf("answered %s", a)
	}
	if s.Gate >= Receipt {
		return s.verify(a, ledger.Refused, false)
	}
	return nil
}

// verify checks the receipt of an answer offline, and that it speaks of this very answer's record, with a filter's labels
// or with none.
func (s *Subject) verify(a *answer, kind ledger.Kind, labelled bool) error {
	keys, err := gatewright.ParseKeys([]byte(s.key))
	if err != nil {
		return err
	}
	v, err := gatewright.VerifyReceipt(a.head.Get("Gatewright-Receipt"), keys)
	if err != nil {
		return err
	}
	if v.Record.Kind != kind || v.Record.ID != a.head.Get("Gatewright-Record") || v.Record.Tool != Tool {
		return fmt.Errorf("the receipt is of another record (%s %s)", v.Record.Kind, v.Record.ID)
	}
	if (len(v.Record.Labels) > 0) != labelled {
		return fmt.Errorf("filters put on the labels %q", v.Record.Labels)
	}
	return nil
}

// answer is one HTTP answer.
type answer struct {
	status int
	head   http.Header
	body   []byte
	want   []byte
}

func (a *answer) good() bool { return a.status == 200 && bytes.HasPrefix(a.body, a.want) }

func (a *answer) String() string { return fmt.Sprintf("HTTP %d: %.300s", a.status, a.body) }

// ask sends one prepared request over a connection of its own.
func ask(ctx context.Context, addr string, r rig.Request) (_ *answer, err error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("probe: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return nil, err
	}
	if _, err := conn.Write(r.Wire); err != nil {
		return nil, fmt.Errorf("probe: %w", err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: http.MethodPost})
	if err != nil {
		return nil, fmt.Errorf("probe: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("probe: %w", err)
	}
	if len(resp.TransferEncoding) > 0 {
		return nil, fmt.Errorf("probe: answered in %s", strings.Join(resp.TransferEncoding, ", "))
	}
	return &answer{resp.StatusCode, resp.Header, body, r.Want}, nil
}
