package control_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/merkle/ledger/index"
	"github.com/gatewright/gatewright/merkle/ledger/publish"
	"github.com/gatewright/gatewright/merkle/ledger/tile"
)

// shortened is a ledger whose first three records were pruned, and whose tiles begin before.
type shortened struct{ *memoryLog }

const firstLeft = 3

func (l shortened) Query(ctx context.Context, tenant string, q index.Query) (index.Page, error) {
	p, err := l.memoryLog.Query(ctx, tenant, q)
	p.First = firstLeft
	return p, err
}

// begun proves what its tiles begin with.
type begun struct{ *prover }

func (p begun) Prove(ctx context.Context, tenant string, at uint64) ([]byte, error) {
	if at < 2 {
		return nil, fmt.Errorf("prove record %d: tile/0/000: %w", at, tile.ErrPruned)
	}
	return p.prover.Prove(ctx, tenant, at)
}

func (p begun) Consistency(ctx context.Context, tenant string, from, to uint64) (publish.Consistency, error) {
	if from < 2 {
		return publish.Consistency{}, fmt.Errorf("tile/0/000: %w", tile.ErrPruned)
	}
	return p.prover.Consistency(ctx, tenant, from, to)
}

// What was pruned is said to be gone, with what is not, whoever meets it first: the log or its tiles.
func TestWhatWasPrunedIsToldWithTheFirstThatIsKept(t *testing.T) {
	w := newWorld(t)
	w.proofs = begun{&prover{log: w.log}}
	w.rebuild(shortened{w.log})
	for range 6 {
		w.call("GET", "/api/v1/users", w.admin, "")
	}
	for _, path := range []string{"records/0/proof", "records/1/proof", "records/2/proof", "consistency?from=1"} {
		a := w.call("GET", "/api/v1/ledger/"+path, w.admin, "")
		if a.refused(t, http.StatusGone, "pruned"); !strings.Contains(a.body, "first record that is kept has index 3") {
			t.Errorf("%s: %s", path, a.body)
		}
	}
	for _, path := range []string{"records/3/proof", "consistency?from=3", "consistency"} {
		if a := w.call("GET", "/api/v1/ledger/"+path, w.admin, ""); a.status != http.StatusOK {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
}
