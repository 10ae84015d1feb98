package absence_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/absence"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// restored is a ledger that goes on after a restore: its origins have a generation, its key and records have none.
type restored struct {
	*world
	generation string
}

func (r restored) Checkpoint(string) ([]byte, error) {
	return r.note(r.signs, origin+r.generation), nil
}

func TestAProofOfARestoredLedgerVerifies(t *testing.T) {
	w := newWorld(t, 20, nil)
	for generation, good := range map[string]bool{".2": true, ".31": true, ".0x": false, "2": false} {
		p, err := absence.Prepare(restored{w, generation}, absence.Options{
			Tenant: "acme", Now: now, Question: absence.Question{Agent: "agt_9", From: 7}, Since: w.note(7, origin+generation),
		})
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := p.Write(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
		res, err := w.verify(t, b.Bytes())
		if good && (err != nil || res.Records != 13 || !res.SinceSigned) || !good && !errors.Is(err, absence.ErrProof) {
			t.Errorf("%q: %+v, %v", generation, res, err)
		}
	}
}

func TestANameThatCannotOccurIsNoQuestion(t *testing.T) {
	w := newWorld(t, 20, nil)
	good := w.prove(t, absence.Options{Question: absence.Question{Agent: "agt_9", Server: "shop", Tool: "buy"}})
	for _, q := range []absence.Question{
		{Agent: "agt_1", Tool: "shop/buy"}, {Agent: "agt_1", Server: "shop/buy"}, {Agent: "shop/agt_1"}, {Agent: "agt_1", Tool: "buy "},
		{Agent: "agt_1", Tool: "b\u200buy"}, {Agent: " agt_1"}, {Agent: "agt_1", Server: "shop\n"},
	} {
		if _, err := absence.Prepare(w, absence.Options{Tenant: "acme", Now: now, Question: q}); !errors.Is(err, absence.ErrQuestion) {
			t.Errorf("%+v: %v", q, err)
		}
	}
	// A proof that a gateway made all the same, of before, is none.
	for _, with := range []string{`"tool":"shop/buy"`, `"tool":"buy "`} {
		if _, err := w.verify(t, bytes.Replace(good, []byte(`"tool":"buy"`), []byte(with), 1)); !errors.Is(err, absence.ErrProof) {
			t.Errorf("%s: %v", with, err)
		}
	}
}

func TestAResultSaysHowOftenTheAgentAndTheToolOccur(t *testing.T) {
	w := newWorld(t, 20, func(i int, r *ledger.Record) {
		if i == 4 {
			r.Tool = "sell"
		}
	})
	for name, c := range map[string]struct {
		q           absence.Question
		agent, tool uint64
		claim       string
		spelling    int
	}{
		"another tool":  {absence.Question{Agent: "agt_2", Tool: "sell"}, 6, 1, "the agent occurs in 6 of the 20 records, the tool in 1", 0},
		"no such tool":  {absence.Question{Agent: "agt_2", Server: "shop", Tool: "clculate"}, 6, 0, "the agent occurs in 6 of the 20 records, the tool in 0", 1},
		"no such agent": {absence.Question{Agent: "agt_nope", Tool: "buy"}, 0, 19, "the agent occurs in 0 of the 20 records, the tool in 19", 1},
		"neither":       {absence.Question{Agent: "agt_nope", Server: "shap"}, 0, 0, "the agent occurs in 0 of the 20 records, the server in 0", 2},
		"any tool":      {absence.Question{Agent: "agt_nope"}, 0, 0, "the agent occurs in 0 of the 20 records", 1},
	} {
		res, err := w.verify(t, w.prove(t, absence.Options{Question: c.q}))
		if err != nil || res.AgentRecords != c.agent || res.ToolRecords != c.tool || !strings.Contains(res.Claim(), c.claim) {
			t.Errorf("%s: %+v %s, %v", name, res, res.Claim(), err)
		}
		if n := strings.Count(strings.Join(res.Limits(), "\n"), "check the spelling"); n != c.spelling {
			t.Errorf("%s: %d doubts in %q", name, n, res.Limits())
		}
	}
}

// pruned keeps records from an index on.
type pruned struct {
	*world
	first uint64
}

func (p pruned) First(context.Context, string) (uint64, error) { return p.first, nil }

func TestWhatWasPrunedIsToldBeforeAByteIsSent(t *testing.T) {
	w := newWorld(t, 20, nil)
	src := pruned{w, 8}
	p, err := absence.Prepare(src, absence.Options{Tenant: "acme", Now: now, Question: absence.Question{Agent: "agt_9"}})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := p.Write(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	if res, err := w.verify(t, b.Bytes()); err != nil || res.From != 8 || res.Records != 12 {
		t.Errorf("%+v, %v", res, err)
	}
	for _, q := range []absence.Question{{Agent: "agt_9", From: 3}, {Agent: "agt_9", To: 8}, {Agent: "agt_9", From: 7, To: 20}} {
		if _, err := absence.Prepare(src, absence.Options{Tenant: "acme", Now: now, Question: q}); !errors.Is(err, wal.ErrPruned) {
			t.Errorf("%+v: %v", q, err)
		}
	}
}
