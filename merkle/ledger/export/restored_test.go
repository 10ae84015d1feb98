package export_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/export"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// restoredWorld is a ledger that was restored: its logs have a generation in their origin, its key and records have none.
type restoredWorld struct {
	*world
	generation string
}

func (w restoredWorld) Checkpoint(tenant string) ([]byte, error) {
	tree := w.trees[tenant]
	return w.key.note(ledger.Checkpoint{Origin: ledger.Origin(host, tenant, instance+w.generation), Size: tree.Size(), Root: tree.Root()}.Body()), nil
}

func TestAnExportOfARestoredLedgerVerifies(t *testing.T) {
	for generation, good := range map[string]bool{"": true, ".2": true, ".17": true, ".x": false, ".02": false, "2": false} {
		w := newWorld(t)
		w.fill(t, "acme", 20, nil)
		for _, format := range []export.Format{export.JSONL, export.CSV} {
			e, err := export.Prepare(t.Context(), restoredWorld{w, generation}, w.options(format, export.Filter{}))
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			if _, err := e.Write(t.Context(), &out); err != nil {
				t.Fatal(err)
			}
			rep, err := w.verify(t, out.Bytes())
			if good && (err != nil || rep.Records != 20 || !rep.Complete || rep.SignedBy != w.key.name) {
				t.Errorf("%q: %+v, %v", generation, rep, err)
			}
			if !good && !errors.Is(err, export.ErrExport) {
				t.Errorf("%q was believed: %v", generation, err)
			}
		}
	}
}

// prunedWorld keeps records from an index on.
type prunedWorld struct {
	*world
	first uint64
}

func (w prunedWorld) First(context.Context, string) (uint64, error) { return w.first, nil }

func TestWhatWasPrunedIsNotCalledComplete(t *testing.T) {
	w := newWorld(t)
	w.fill(t, "acme", 20, nil)
	for name, c := range map[string]struct {
		f                  export.Filter
		complete, unbroken bool
	}{
		"all":          {export.Filter{}, false, true},
		"from before":  {export.Filter{From: 5}, false, true},
		"what is kept": {export.Filter{From: 8}, true, true},
		"one agent's":  {export.Filter{Agent: "agt_1"}, false, false},
	} {
		e, err := export.Prepare(t.Context(), prunedWorld{w, 8}, w.options(export.JSONL, c.f))
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if _, err := e.Write(t.Context(), &out); err != nil {
			t.Fatal(err)
		}
		rep, err := w.verify(t, out.Bytes())
		if err != nil || rep.Complete != c.complete || rep.Unbroken != c.unbroken || (rep.Pruned > 0) != (c.f.From < 8) {
			t.Errorf("%s: %+v, %v", name, rep, err)
		}
	}
	for _, f := range []export.Filter{{To: 5}, {From: 2, To: 8}} {
		if _, err := export.Prepare(t.Context(), prunedWorld{w, 8}, w.options(export.JSONL, f)); !errors.Is(err, wal.ErrPruned) {
			t.Errorf("%+v, of which nothing is kept: %v", f, err)
		}
	}
}

func TestARangeBehindTheCheckpointIsRefused(t *testing.T) {
	w := newWorld(t)
	w.fill(t, "acme", 20, nil)
	for _, f := range []export.Filter{{To: 21}, {From: 20}, {From: 5, To: 9999}} {
		if _, err := export.Prepare(t.Context(), w, w.options(export.JSONL, f)); !errors.Is(err, export.ErrOptions) || !strings.Contains(err.Error(), "20") {
			t.Errorf("%+v: %v", f, err)
		}
	}
}

func TestClosedSetsOfAFilterAreChecked(t *testing.T) {
	for _, f := range []export.Filter{{Verdict: "permit"}, {Outcome: "success"}, {Kind: "read"}} {
		if err := f.Check(); !errors.Is(err, export.ErrOptions) {
			t.Errorf("%+v: %v", f, err)
		}
	}
	for _, f := range []export.Filter{{Verdict: "deny"}, {Outcome: "tool_error"}, {Kind: "settled"}} {
		if err := f.Check(); err != nil {
			t.Errorf("%+v: %v", f, err)
		}
	}
}

func TestEveryArchiveSaysWhatItIs(t *testing.T) {
	w := newWorld(t)
	w.fill(t, "acme", 20, nil)
	for _, format := range []export.Format{export.JSONL, export.CSV, export.PDF} {
		archive, _ := w.export(t, w.options(format, export.Filter{}))
		text := string(file(t, unpack(t, archive), "readme.txt").body)
		for _, want := range []string{"20 records", "gw.example/ledger/acme/one", "gatewright verify", fmt.Sprintf("checkpoint of %d", 20)} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %q is not in\n%s", format, want, text)
			}
		}
		if _, err := w.verify(t, archive); err != nil {
			t.Errorf("%s: %v", format, err)
		}
	}
	// Archives of before have none, and verify.
	archive, _ := w.export(t, w.options(export.JSONL, export.Filter{}))
	var old []part
	for _, p := range unpack(t, archive) {
		if p.name != "readme.txt" {
			old = append(old, p)
		}
	}
	if _, err := w.verify(t, pack(t, w.resign(t, old, nil))); err != nil {
		t.Error(err)
	}
}
