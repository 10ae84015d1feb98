package server

import (
	"context"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/export"
	"github.com/gatewright/gatewright/merkle/ledger/index"
	"github.com/gatewright/gatewright/merkle/ledger/publish"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// exports is the ledger as exports read it: what is published, the log's records, and its indexes to find them.
type exports struct {
	log       *wal.Log
	published *publish.Publisher
	signer    ledger.Signer
}

var (
	_ export.Source = exports{}
	_ export.Finder = exports{}
	_ export.Keeper = exports{}
)

// Signers are the keys that sign checkpoints.
func (e exports) Signers() []ledger.NoteSigner { return []ledger.NoteSigner{e.signer} }

// Checkpoint is the tenant's published checkpoint.
func (e exports) Checkpoint(tenant string) ([]byte, error) { return e.published.Checkpoint(tenant) }

// Scan reads records of the log.
func (e exports) Scan(ctx context.Context, tenant string, from uint64, n int) ([]wal.Entry, error) {
	return e.log.Scan(ctx, tenant, from, n)
}

// First is the index of the first record that is kept.
func (e exports) First(ctx context.Context, tenant string) (uint64, error) {
	p, err := e.log.Query(ctx, tenant, index.Query{Limit: 1})
	return p.First, err
}

// Find asks the indexes. What they do not know of, a subject, is looked for in the records they give.
func (e exports) Find(ctx context.Context, tenant string, f *export.Filter, from, to uint64, n int) ([]wal.Entry, uint64, error) {
	q := index.Query{
		Agent: f.Agent, User: f.User, Server: f.Server, Tool: f.Tool, Code: f.Code, Outcome: f.Outcome, Verdict: f.Verdict, Kind: f.Kind,
		Oldest: true, Limit: n, Cursor: index.Cursor{Oldest: true, Next: from, End: to},
	}
	if f.Since != nil {
		q.From = f.Since.UnixMicro()
	}
	if f.Until != nil {
		q.To = f.Until.UnixMicro()
	}
	p, err := e.log.Query(ctx, tenant, q)
	if err != nil {
		return nil, 0, err
	}
	found := p.Entries[:0]
	for i := range p.Entries {
		r, err := p.Entries[i].Record()
		if err != nil {
			return nil, 0, err
		}
		if f.Matches(&r) {
			found = append(found, p.Entries[i])
		}
	}
	if p.Next == (index.Cursor{}) {
		return found, to, nil
	}
	return found, p.Next.Next, nil
}

// Subtrees are those of the published tiles.
func (e exports) Subtrees(tenant string) (merkle.Subtree, error) {
	_, subtree, err := e.published.Subtrees(tenant)
	return subtree, err
}
