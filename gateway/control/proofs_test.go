package control_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/gateway/control"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/publish"
	"github.com/gatewright/gatewright/merkle/ledger/tile"
)

// prover proves all but the last records of a ledger.
type prover struct {
	log  *memoryLog
	late uint64 // how many are not published yet
	err  error
}

func (p *prover) tree(tenant string) *merkle.Tree {
	all := p.log.of(tenant)
	leaves := make([]merkle.Hash, len(all))
	for i := range all {
		leaves[i] = merkle.LeafHash(all[i].AppendJSON(nil))
	}
	return merkle.NewTree(leaves[:max(uint64(len(leaves)), p.late)-p.late])
}

func (p *prover) Prove(_ context.Context, tenant string, index uint64) ([]byte, error) {
	tree := p.tree(tenant)
	if p.err != nil || index >= tree.Size() {
		return nil, fmt.Errorf("prove: %w", firstOf(p.err, publish.ErrNotYet))
	}
	cp := ledger.Checkpoint{Origin: ledger.Origin("gate.example", tenant, "gw-1"), Size: tree.Size(), Root: tree.Root()}
	note := append(cp.Body(), "\n\u2014 gate.example/ledger/_instance/gw-1 AAAAAAAAAAAA\n"...)
	return (&ledger.Proof{Index: index, Hashes: tree.AppendInclusion(nil, index), Checkpoint: note}).Text(), nil
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *prover) Consistency(_ context.Context, tenant string, from, to uint64) (publish.Consistency, error) {
	tree := p.tree(tenant)
	if to == 0 {
		to = tree.Size()
	}
	switch {
	case p.err != nil:
		return publish.Consistency{}, p.err
	case max(from, to) > tree.Size():
		return publish.Consistency{}, publish.ErrNotYet
	case from > to:
		return publish.Consistency{}, merkle.ErrSizes
	}
	return publish.Consistency{From: from, To: to, ToRoot: tree.Root(), Hashes: tree.AppendConsistency(nil, from)}, nil
}

var _ control.Proofs = (*prover)(nil)

func TestARecordIsProvedByIndexAndByID(t *testing.T) {
	w := newWorld(t)
	w.call("GET", "/api/v1/users", w.admin, "")
	r := w.log.last(demo)
	index := len(w.log.of(demo)) - 1
	for _, name := range []string{fmt.Sprint(index), r.ID} {
		a := w.call("GET", "/api/v1/ledger/records/"+name+"/proof", w.admin, "")
		if a.status != http.StatusOK || a.header.Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Fatal(a.status, a.header.Get("Content-Type"), a.body)
		}
		p, err := ledger.ParseProof([]byte(a.body))
		if err != nil || p.Index != uint64(index) {
			t.Fatal(err, a.body)
		}
		cp, err := ledger.ReadCheckpoint(p.Checkpoint)
		if err != nil {
			t.Fatal(err)
		}
		if err := merkle.VerifyInclusion(merkle.LeafHash(r.AppendJSON(nil)), p.Index, cp.Size, p.Hashes, cp.Root); err != nil {
			t.Error(name, err)
		}
	}
}

func TestARecordThatIsNotPublishedIsWorthAskingForAgain(t *testing.T) {
	w := newWorld(t)
	w.proofs = &prover{log: w.log, late: 1 << 20}
	w.rebuild(w.log)
	w.call("GET", "/api/v1/users", w.admin, "")
	for _, path := range []string{"records/0/proof", "records/" + w.log.last(demo).ID + "/proof", "consistency?from=1&to=1"} {
		a := w.call("GET", "/api/v1/ledger/"+path, w.admin, "")
		if a.status != http.StatusConflict || a.code() != "not_yet" || a.header.Get("Retry-After") != "1" {
			t.Errorf("%s: %d %s %q", path, a.status, a.body, a.header.Get("Retry-After"))
		}
	}
	for _, path := range []string{"records/9000000/proof", "records/rec_00000000000000000000000000/proof"} {
		if a := w.call("GET", "/api/v1/ledger/"+path, w.admin, ""); a.status != http.StatusNotFound || a.header.Get("Retry-After") != "" {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	w.proofs = &prover{log: w.log, err: fmt.Errorf("disk: secret place")}
	w.rebuild(w.log)
	if a := w.call("GET", "/api/v1/ledger/records/0/proof", w.admin, ""); a.status != http.StatusInternalServerError || strings.Contains(a.body, "secret") {
		t.Error(a.status, a.body)
	}
}

func TestConsistencyIsShown(t *testing.T) {
	w := newWorld(t)
	for range 5 {
		w.call("GET", "/api/v1/users", w.admin, "")
	}
	a := w.call("GET", "/api/v1/ledger/consistency?from=3&to=5", w.admin, "")
	if a.status != http.StatusOK || !strings.Contains(a.body, `"from":3,"to":5,`) || !strings.Contains(a.body, base64.StdEncoding.EncodeToString(make([]byte, 32))) {
		t.Error(a.status, a.body)
	}
	for query, code := range map[string]string{"from=5&to=3": "request_invalid", "from=0": "request_invalid", "from=x": "request_invalid", "to=-1": "request_invalid"} {
		if a := w.call("GET", "/api/v1/ledger/consistency?"+query, w.admin, ""); a.status != http.StatusUnprocessableEntity || a.code() != code {
			t.Errorf("%s: %d %s", query, a.status, a.body)
		}
	}
}

func TestAPrunedRecordIsGoneAndNoFault(t *testing.T) {
	w := newWorld(t)
	w.call("GET", "/api/v1/users", w.admin, "")
	w.proofs = &prover{log: w.log, err: fmt.Errorf("tile/0/000: %w", tile.ErrPruned)}
	w.rebuild(w.log)
	for _, path := range []string{"records/0/proof", "records/" + w.log.last(demo).ID + "/proof", "consistency?from=1"} {
		w.call("GET", "/api/v1/ledger/"+path, w.admin, "").refused(t, http.StatusGone, "pruned")
	}
}

func TestASizeThatTheLedgerNeverHadIsNotWorthAskingForAgain(t *testing.T) {
	w := newWorld(t)
	w.call("GET", "/api/v1/users", w.admin, "")
	for _, query := range []string{"from=99999", "from=1&to=99999"} {
		a := w.call("GET", "/api/v1/ledger/consistency?"+query, w.admin, "")
		if a.status != http.StatusUnprocessableEntity || a.header.Get("Retry-After") != "" || !strings.Contains(a.body, "99999 were asked for") {
			t.Error(query, a.status, a.body)
		}
	}
}
