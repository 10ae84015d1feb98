package ladder

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

// gate is how much of its task a rung does, and so what the probe demands of it.
type gate int

const (
	gateNone    gate = iota // forwards everything
	gateKey                 // refuses a wrong key
	gateStep                // also refuses an argument that the plan does not allow
	gateRecord              // also names a record for each answer, refusals too
	gateReceipt             // also gives receipts that verify
)

// probe checks that a rung does its task: a quick proxy that lets everything through would win every race.
func probe(ctx context.Context, r *runner) error {
	allowed, err := ask(ctx, r.child.Addr, r.pass.request(r.child.Addr, 3, -1))
	if err != nil {
		return err
	}
	if !allowed.good() {
		return fmt.Errorf("an allowed call is answered %s", allowed)
	}
	if r.gate >= gateReceipt {
		if err := r.verify(allowed, ledger.Settled); err != nil {
			return fmt.Errorf("an allowed call: %w", err)
		}
	}
	if r.gate >= gateKey {
		if err := r.refuses(ctx, r.wrongKey(), "", 401); err != nil {
			return fmt.Errorf("a wrong key: %w", err)
		}
	}
	if r.gate >= gateStep {
		if err := r.refuses(ctx, r.pass.request(r.child.Addr, 3, 4711), "args_mismatch", 200); err != nil {
			return fmt.Errorf("a changed argument: %w", err)
		}
	}
	return nil
}

func (r *runner) wrongKey() rig.Request {
	p := *r.pass
	last := p.Key[len(p.Key)-1]
	p.Key = p.Key[:len(p.Key)-1] + string(last^1)
	return p.request(r.child.Addr, 3, -1)
}

// refuses holds a rung to its refusal. Rungs made of parts refuse everything with 403.
func (r *runner) refuses(ctx context.Context, call rig.Request, reason string, status int) error {
	a, err := ask(ctx, r.child.Addr, call)
	if err != nil {
		return err
	}
	if r.gate < gateRecord {
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
	if r.gate >= gateReceipt {
		return r.verify(a, ledger.Refused)
	}
	return nil
}

// verify checks the receipt of an answer offline, and that it speaks of this very answer's record.
func (r *runner) verify(a *answer, kind ledger.Kind) error {
	keys, err := gatewright.ParseKeys([]byte(r.key))
	if err != nil {
		return err
	}
	v, err := gatewright.VerifyReceipt(a.head.Get("Gatewright-Receipt"), keys)
	if err != nil {
		return err
	}
	if v.Record.Kind != kind || v.Record.ID != a.head.Get("Gatewright-Record") || v.Record.Tool != toolName {
		return fmt.Errorf("the receipt is of another record (%s %s)", v.Record.Kind, v.Record.ID)
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
