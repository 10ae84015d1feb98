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
	"github.com/gatewright/gatewright/merkle/ledger/index"
	"github.com/gatewright/gatewright/merkle/ledger/publish"
	"github.com/gatewright/gatewright/merkle/ledger/tile"
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
	From uint64 `query:"from" minimum:"1" maximum:"9007199254740991" doc:"the smaller size; absent: 1, or as many records as were pruned"`
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
		return &proofOut{"text/plain; charset=utf-8", text}, m.api.proved(ctx, c.caller.Tenant(), err)
	})
	handle(m, "get-consistency", func(ctx context.Context, c *call, in *consistencyIn) (*consistencyOut, error) {
		if size := m.api.deps.Ledger.Size(c.caller.Tenant()); max(in.From, in.To) > size {
			return nil, refuse(http.StatusUnprocessableEntity, "request_invalid", fmt.Sprintf("the ledger has %d records, and %d were asked for", size, max(in.From, in.To)), "ask for sizes that the ledger has had")
		}
		from := in.From
		if from == 0 {
			from = max(m.api.firstKept(ctx, c.caller.Tenant()), 1)
		}
		p, err := m.api.deps.Proofs.Consistency(ctx, c.caller.Tenant(), from, in.To)
		if err != nil {
			return nil, m.api.proved(ctx, c.caller.Tenant(), err)
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
		at, err := strconv.ParseUint(name, 10, 64)
		if err != nil || at >= a.deps.Ledger.Size(tenant) {
			return nil, notFound()
		}
		if at < a.firstKept(ctx, tenant) { // its hash may lie in a tile that others need
			return nil, wal.ErrPruned
		}
		return a.deps.Proofs.Prove(ctx, tenant, at)
	}
	e, err := a.lookUp(ctx, tenant, name)
	if err != nil {
		return nil, err
	}
	return a.deps.Proofs.Prove(ctx, tenant, e.Index)
}

// proved gives what proofs say its codes.
func (a *API) proved(ctx context.Context, tenant string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, publish.ErrNotYet), errors.Is(err, wal.ErrTenant):
		return refuse(http.StatusConflict, "not_yet", "no published checkpoint covers this yet", "ask again after Retry-After seconds").later(proofSoon)
	case errors.Is(err, merkle.ErrSizes):
		return refuse(http.StatusUnprocessableEntity, "request_invalid", "these sizes prove nothing: from is 1 to to", "compare the request with /openapi.json")
	}
	return a.pruned(ctx, tenant, fmt.Errorf("prove: %w", err))
}

// pruned answers for what was given up on purpose with the index of what was not, and returns every other error as it is.
func (a *API) pruned(ctx context.Context, tenant string, err error) error {
	if !errors.Is(err, wal.ErrPruned) && !errors.Is(err, tile.ErrPruned) {
		return err
	}
	first := a.firstKept(ctx, tenant)
	return refuse(http.StatusGone, "pruned", fmt.Sprintf("this is kept no more: the first record that is kept has index %d", first),
		fmt.Sprintf("ask from %d on; the ledger's prune records say since when and why, and proofs that were given still verify", first))
}

// firstKept is the index of the first record of an organisation that is kept, 0 when all are, or where it cannot be found out:
// what was pruned is then told by what is asked for.
func (a *API) firstKept(ctx context.Context, tenant string) uint64 {
	page, err := a.deps.Ledger.Query(ctx, tenant, index.Query{Limit: 1})
	if err != nil {
		return 0
	}
	return page.First
}
