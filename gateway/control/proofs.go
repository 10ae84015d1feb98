package control

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/publish"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// Proofs proves what is published of the ledger; publish.Publisher is one.
type Proofs interface {
	Prove(ctx context.Context, tenant string, index uint64) ([]byte, error)
	Consistency(ctx context.Context, tenant string, from, to uint64) (publish.Consistency, error)
}

// noProofs is a gateway that publishes nothing.
type noProofs struct{}

func (noProofs) Prove(context.Context, string, uint64) ([]byte, error) {
	return nil, publish.ErrNotYet
}

func (noProofs) Consistency(context.Context, string, uint64, uint64) (publish.Consistency, error) {
	return publish.Consistency{}, publish.ErrNotYet
}

// proofSoon is when a record that no checkpoint covers is worth asking for again: checkpoints are a second apart unless
// the configuration says otherwise.
const proofSoon = time.Second

type proofOut struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

type consistencyIn struct {
	From uint64 `query:"from" minimum:"1" maximum:"9007199254740991" doc:"the smaller size; absent: 1"`
	To   uint64 `query:"to" maximum:"9007199254740991" doc:"the larger size; absent: that of the published checkpoint"`
}

type consistencyOut struct {
	Body struct {
		From     uint64   `json:"from"`
		To       uint64   `json:"to"`
		FromRoot string   `json:"from_root" doc:"root of the smaller tree, base64"`
		ToRoot   string   `json:"to_root" doc:"root of the larger tree, base64"`
		Hashes   []string `json:"hashes" nullable:"false" doc:"RFC 9162 consistency proof, base64"`
	}
}

func (m *mounting) proofs() {
	handle(m, "get-proof", func(ctx context.Context, c *call, in *recordIn) (*proofOut, error) {
		text, err := m.api.prove(ctx, c.caller.Tenant(), in.Record)
		return &proofOut{"text/plain; charset=utf-8", text}, proved(err)
	})
	handle(m, "get-consistency", func(ctx context.Context, c *call, in *consistencyIn) (*consistencyOut, error) {
		p, err := m.api.deps.Proofs.Consistency(ctx, c.caller.Tenant(), max(in.From, 1), in.To)
		if err != nil {
			return nil, proved(err)
		}
		text := func(h merkle.Hash) string { return base64.StdEncoding.EncodeToString(h[:]) }
		out := &consistencyOut{}
		b := &out.Body
		b.From, b.To, b.FromRoot, b.ToRoot, b.Hashes = p.From, p.To, text(p.FromRoot), text(p.ToRoot), []string{}
		for _, h := range p.Hashes {
			b.Hashes = append(b.Hashes, text(h))
		}
		return out, nil
	})
}

// prove proves a record by its index or its id, in one organisation's ledger.
func (a *API) prove(ctx context.Context, tenant, name string) ([]byte, error) {
	if !ledger.ValidID(name) {
		index, err := strconv.ParseUint(name, 10, 64)
		if err != nil || index >= a.deps.Ledger.Size(tenant) {
			return nil, notFound()
		}
		return a.deps.Proofs.Prove(ctx, tenant, index)
	}
	e, err := a.lookUp(ctx, tenant, name)
	if err != nil {
		return nil, err
	}
	return a.deps.Proofs.Prove(ctx, tenant, e.Index)
}

// proved gives what proofs say its codes.
func proved(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, publish.ErrNotYet), errors.Is(err, wal.ErrTenant):
		p := refuse(http.StatusConflict, "not_yet", "no published checkpoint covers this yet", "ask again after Retry-After seconds")
		p.after = proofSoon
		return p
	case errors.Is(err, merkle.ErrSizes):
		return refuse(http.StatusUnprocessableEntity, "request_invalid", "these sizes prove nothing: from is 1 to to", "compare the request with /openapi.json")
	}
	return fmt.Errorf("prove: %w", err)
}
