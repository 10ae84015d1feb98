package gatewright

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// notYet is the code of a record that no checkpoint covers yet, and maxAwait how long one is waited for at a time.
const (
	notYet   = "not_yet"
	maxAwait = 5 * time.Second
)

// Proof fetches the log proof (C2SP tlog-proof) of one of the agent's own records by its id, which turns that record's
// receipt into evidence that stands by itself; VerifyProof, or Verified.InLog, checks it. A record that no checkpoint
// covers yet is waited for until ctx ends.
func (c *Client) Proof(ctx context.Context, recordID string) ([]byte, error) {
	return c.end.proof(ctx, recordID)
}

// Proof fetches the log proof of a record of the organisation by its index in decimals or its id, and waits as
// Client.Proof does.
func (a *Admin) Proof(ctx context.Context, name string) ([]byte, error) {
	return a.end.proof(ctx, name)
}

func (e *endpoint) proof(ctx context.Context, name string) ([]byte, error) {
	for {
		text, err := e.proofNow(ctx, name)
		refused, ok := errors.AsType[*Error](err)
		if !ok || refused.Code != notYet {
			return text, err
		}
		wait := time.NewTimer(min(max(refused.RetryAfter, 100*time.Millisecond), maxAwait))
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return nil, fmt.Errorf("%w: %w", err, context.Cause(ctx))
		}
	}
}

func (e *endpoint) proofNow(ctx context.Context, name string) ([]byte, error) {
	r, err := e.send(ctx, http.MethodGet, "/api/v1/ledger/records/"+url.PathEscape(name)+"/proof", nil, func(h http.Header) {
		h.Set("Accept", "text/plain, application/json")
	})
	if err != nil {
		return nil, err
	}
	if r.status != http.StatusOK {
		return nil, e.refusal(r)
	}
	if _, err := ledger.ParseProof(r.body); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	return r.body, nil
}

// Checkpoint fetches the signed checkpoint of the organisation's ledger, a C2SP signed note. Who signed it,
// ledger.OpenCheckpoint says.
func (a *Admin) Checkpoint(ctx context.Context) ([]byte, error) {
	var in struct {
		Note string `json:"note"`
	}
	if err := a.get(ctx, "/api/v1/ledger/checkpoint", &in); err != nil {
		return nil, err
	}
	if _, err := ledger.ReadCheckpoint([]byte(in.Note)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	return []byte(in.Note), nil
}

// Consistency is the proof that a ledger of one size is the beginning of that of another (RFC 9162).
type Consistency struct {
	From, To         uint64
	FromRoot, ToRoot merkle.Hash
	Hashes           []merkle.Hash
}

// Verify checks the proof by itself. Whether its roots are those of the ledger, checkpoints of these sizes say.
func (c *Consistency) Verify() error {
	return merkle.VerifyConsistency(c.From, c.To, c.Hashes, c.FromRoot, c.ToRoot)
}

// Consistency fetches that proof for the organisation's ledger, and checks it; to is 0 for the published checkpoint.
func (a *Admin) Consistency(ctx context.Context, from, to uint64) (*Consistency, error) {
	q := url.Values{"from": {strconv.FormatUint(from, 10)}}
	if to > 0 {
		q.Set("to", strconv.FormatUint(to, 10))
	}
	var in struct {
		From     uint64   `json:"from"`
		To       uint64   `json:"to"`
		FromRoot string   `json:"from_root"`
		ToRoot   string   `json:"to_root"`
		Hashes   []string `json:"hashes"`
	}
	if err := a.get(ctx, "/api/v1/ledger/consistency?"+q.Encode(), &in); err != nil {
		return nil, err
	}
	out := &Consistency{From: in.From, To: in.To}
	hashes, err := hashesOf(append([]string{in.FromRoot, in.ToRoot}, in.Hashes...))
	if err != nil {
		return nil, err
	}
	out.FromRoot, out.ToRoot, out.Hashes = hashes[0], hashes[1], hashes[2:]
	if in.From != from || to > 0 && in.To != to || out.Verify() != nil {
		return nil, fmt.Errorf("%w: it does not prove what was asked for", ErrAnswer)
	}
	return out, nil
}

func hashesOf(texts []string) ([]merkle.Hash, error) {
	out := make([]merkle.Hash, len(texts))
	for i, text := range texts {
		b, err := base64.StdEncoding.Strict().DecodeString(text)
		if err != nil || len(b) != merkle.HashSize {
			return nil, fmt.Errorf("%w: a malformed hash", ErrAnswer)
		}
		out[i] = merkle.Hash(b)
	}
	return out, nil
}
