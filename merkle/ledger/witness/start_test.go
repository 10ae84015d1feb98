package witness_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/witness"
)

func (h *history) held(n uint64) witness.Held {
	return witness.Held{Origin: origin, Size: n, RootAt: h.rootAt, Keys: logKeys(h.t, "log")}
}

// dead is an address where nobody listens.
func dead(t testing.TB) string {
	s := httptest.NewServer(answering(200, "", ""))
	s.Close()
	return s.URL
}

func TestAStartBehindTheWitnessIsRefused(t *testing.T) {
	w, h := newWorld(t, nil), newHistory(t, 20)
	c := client(t, serve(t, w), "w.example/one")
	w.must(h, 0, 12)
	ask := witness.Asked{Client: c}
	for name, c := range map[string]struct {
		held witness.Held
		want error
	}{
		"as cosigned":              {h.held(12), nil},
		"grown since":              {h.held(20), nil},
		"one behind":               {h.held(11), witness.ErrBehind},
		"empty":                    {h.held(0), witness.ErrBehind},
		"another history":          {h.fork(3).held(12), witness.ErrForked},
		"another, grown":           {h.fork(3).held(20), witness.ErrForked},
		"another since":            {h.fork(15).held(20), nil},
		"another, behind":          {h.fork(3).held(11), witness.ErrBehind},
		"kept says the same":       {kept(h.held(12), h.note(12)), nil},
		"kept is longer":           {kept(h.held(12), h.note(13)), witness.ErrBehind},
		"kept has another root":    {kept(h.held(12), h.fork(3).note(8)), witness.ErrForked},
		"kept is of another log":   {kept(h.held(12), elsewhere(h)), ledger.ErrCheckpoint},
		"kept is not ours":         {kept(h.held(12), (&history{t: t, leaves: h.leaves, signer: "x"}).note(12)), ledger.ErrCheckpoint},
		"kept is damaged":          {kept(h.held(12), []byte("x")), ledger.ErrCheckpoint},
		"the root cannot be known": {unknown(h.held(12)), errRoot},
	} {
		answers, err := witness.CheckStart(t.Context(), c.held, ask)
		if !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if len(answers) != 1 || answers[0].Size != 12 || answers[0].Err != nil {
			t.Errorf("%s: %+v", name, answers)
		}
		e, ok := errors.AsType[*witness.StartError](err)
		if isStart := errors.Is(c.want, witness.ErrBehind) || errors.Is(c.want, witness.ErrForked); ok != isStart {
			t.Errorf("%s: %v", name, err)
		}
		if ok && (!strings.Contains(err.Error(), "gatewright ledger restore") || e.Have != c.held.Size || e.Cosigned < 8 || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := witness.CheckStart(t.Context(), h.held(11), ask)
	for _, s := range []string{"11 leaves", "12", `"w.example/one"`} {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%q is not in %q", s, err)
		}
	}
}

var errRoot = errors.New("no tile")

func kept(h witness.Held, note []byte) witness.Held {
	h.Kept = note
	h.Consistency = func(uint64, uint64) ([]merkle.Hash, error) { return nil, nil }
	return h
}

func unknown(h witness.Held) witness.Held {
	h.RootAt = func(uint64) (merkle.Hash, error) { return merkle.Hash{}, errRoot }
	return h
}

func elsewhere(h *history) []byte {
	return h.sign(ledger.Checkpoint{Origin: "other.example/log", Size: 8, Root: h.tree(8).Root()}.Body())
}

// TestAWitnessCannotStopALogWithWhatTheLogNeverSigned, and one that does not answer stops it only where it is required.
func TestAWitnessCannotStopALogWithWhatTheLogNeverSigned(t *testing.T) {
	h := newHistory(t, 20)
	liar := newWorld(t, nil)
	liar.must(h, 0, 12)
	c := cosigner(t, "w.example/one")
	body := h.checkpoint(20).Body()
	sig, err := c.SignNote(body, noon)
	if err != nil {
		t.Fatal(err)
	}
	invented := string(ledger.AppendSignature((&history{t: t, leaves: h.leaves, signer: "x"}).sign(body), c.KeyName(), c.KeyHash(), sig))
	cosigned := append(h.note(12), sigLine(t, h, 12)...)
	for name, x := range map[string]struct {
		url  string
		kept []byte
		ok   bool // an answer
	}{
		"dead":                    {dead(t), nil, false},
		"silent":                  {hanging(t), nil, false},
		"invented":                {serve(t, answering(200, "", invented)), nil, false},
		"nonsense":                {serve(t, answering(200, "", "x")), nil, false},
		"an error":                {serve(t, answering(500, "", "x")), nil, false},
		"never saw it":            {serve(t, answering(404, "", "")), nil, true},
		"does not take it":        {serve(t, answering(404, "", "")), h.note(12), false},
		"forgot what it cosigned": {serve(t, answering(404, "", "")), cosigned, false},
	} {
		for _, required := range []bool{false, true} {
			answers, err := witness.CheckStart(limited(t, 300*time.Millisecond), kept(h.held(12), x.kept), witness.Asked{Client: client(t, x.url, "w.example/one"), Required: required})
			if len(answers) != 1 || (answers[0].Err == nil) != x.ok {
				t.Errorf("%s: %+v", name, answers)
			}
			if refused := errors.Is(err, witness.ErrSilent); refused != (required && !x.ok) || !refused && err != nil {
				t.Errorf("%s, required %v: %v", name, required, err)
			}
		}
	}
}

// sigLine is what the witness w.example/one says to a checkpoint.
func sigLine(t testing.TB, h *history, n uint64) []byte {
	t.Helper()
	c := cosigner(t, "w.example/one")
	sig, err := c.SignNote(h.checkpoint(n).Body(), noon)
	if err != nil {
		t.Fatal(err)
	}
	return ledger.AppendSignature(nil, c.KeyName(), c.KeyHash(), sig)
}

// TestOneThatKnowsBetterIsEnough: the others may be away, behind, or agree.
func TestOneThatKnowsBetterIsEnough(t *testing.T) {
	h := newHistory(t, 20)
	behind, ahead := newWorld(t, nil), newWorld(t, nil)
	behind.must(h, 0, 4)
	ahead.by = both(t, "w.example/two")
	ahead.open()
	ahead.must(h, 0, 15)
	asked := []witness.Asked{{Client: client(t, dead(t), "w.example/away"), Required: true}, {Client: client(t, serve(t, behind), "w.example/one")}, {Client: client(t, serve(t, ahead), "w.example/two")}}
	answers, err := witness.CheckStart(t.Context(), h.held(12), asked...)
	e, ok := errors.AsType[*witness.StartError](err)
	if !ok || e.Have != 12 || e.Cosigned != 15 || !strings.Contains(e.Source, "two") || !strings.Contains(e.Error(), "gatewright ledger restore --rolled-back --reason TEXT") || len(answers) != 3 || answers[1].Size != 4 {
		t.Fatal(err, answers)
	}
	if _, err := witness.CheckStart(t.Context(), h.held(15), asked[1:]...); err != nil {
		t.Fatal(err)
	}
	if _, err := witness.CheckStart(t.Context(), h.held(0)); err != nil {
		t.Fatal("a new log without witnesses:", err)
	}
}

// TestAWitnessThatServesNothingIsSentWhatIsKept: the protocol lets witnesses serve no checkpoint; they still name the size
// that they hold to whoever submits one.
func TestAWitnessThatServesNothingIsSentWhatIsKept(t *testing.T) {
	h := newHistory(t, 20)
	with := func(x witness.Held, note []byte) witness.Held {
		x.Kept = note
		x.Consistency = func(old, size uint64) ([]merkle.Hash, error) { return h.proof(old, size), nil }
		return x
	}
	bare := func(x witness.Held) witness.Held { x.Consistency = nil; return x }
	forked := h.fork(3)
	of := func(f *history, x witness.Held) witness.Held {
		x.Consistency = func(old, size uint64) ([]merkle.Hash, error) { return f.proof(old, size), nil }
		return x
	}
	for name, c := range map[string]struct {
		seen   uint64 // what the witness cosigned before
		held   witness.Held
		want   error
		answer uint64
		bad    bool // the answer has an error
	}{
		"as cosigned":                 {12, with(h.held(12), h.note(12)), nil, 12, false},
		"grown since":                 {12, with(h.held(20), h.note(20)), nil, 20, false},
		"grown, no proof to be had":   {12, bare(with(h.held(20), h.note(20))), nil, 12, false},
		"behind":                      {12, with(h.held(11), h.note(11)), witness.ErrBehind, 12, false},
		"behind, no proof to be had":  {12, bare(with(h.held(11), h.note(11))), witness.ErrBehind, 12, false},
		"signed, and cosigned before": {12, with(h.held(12), h.note(11)), nil, 12, false}, // stopped before it was published
		"another history":             {12, of(forked, with(forked.held(12), forked.note(12))), witness.ErrForked, 12, false},
		"another history, grown":      {12, of(forked, with(forked.held(20), forked.note(20))), witness.ErrForked, 12, false},
		"never seen":                  {0, with(h.held(12), h.note(12)), nil, 12, false},
		"forgot":                      {0, with(h.held(12), append(h.note(12), sigLine(t, h, 12)...)), nil, 0, true},
		"kept is not ours":            {12, with(h.held(12), (&history{t: t, leaves: h.leaves, signer: "x"}).note(12)), ledger.ErrCheckpoint, 0, false},
	} {
		w := newWorld(t, nil)
		if c.seen > 0 {
			w.must(h, 0, c.seen)
		}
		silent := serve(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				http.NotFound(rw, r)
				return
			}
			w.ServeHTTP(rw, r)
		}))
		answers, err := witness.CheckStart(t.Context(), c.held, witness.Asked{Client: client(t, silent, "w.example/one")})
		if !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if len(answers) != 1 || answers[0].Size != c.answer || (answers[0].Err != nil) != c.bad {
			t.Errorf("%s: %+v", name, answers)
		}
		if e, ok := errors.AsType[*witness.StartError](err); ok && (e.Have != c.held.Size || e.Cosigned != 12) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
