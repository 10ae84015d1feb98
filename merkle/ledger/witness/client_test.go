package witness_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/witness"
)

func TestAClientFollowsTheSizeThatTheWitnessNames(t *testing.T) {
	w, h := newWorld(t, nil), newHistory(t, 20)
	c := client(t, serve(t, w), "w.example/one")
	for i, n := range []uint64{5, 5, 9, 20} { // the client always believes that the witness holds nothing
		got, err := c.Submit(t.Context(), h.note(n), 0, h.prover(n))
		if err != nil || got.Size != n || !got.At.Equal(noon) {
			t.Fatal(i, got, err)
		}
		if seen, err := (ledger.WitnessPolicy{Keys: []ledger.VerifierKey{c.Key}, Need: 1}).Check(append(h.note(n), got.Line...)); err != nil || len(seen) != 1 {
			t.Fatal(seen, err)
		}
		if bytes.Count(got.Line, []byte("\n")) != 1 {
			t.Fatalf("%q", got.Line)
		}
	}
	if _, err := c.Submit(t.Context(), h.note(9), 0, h.prover(9)); !errors.Is(err, witness.ErrBehind) || !strings.Contains(err.Error(), "20") || !strings.Contains(err.Error(), "9") {
		t.Fatal("an older checkpoint:", err)
	}
	seen, err := c.Latest(t.Context(), origin)
	if err != nil || seen.Checkpoint != h.checkpoint(20) || !seen.At.Equal(noon) {
		t.Fatal(seen, err)
	}
	if _, err := c.Latest(t.Context(), "never.example"); !errors.Is(err, witness.ErrUnseen) {
		t.Fatal("a log it does not know:", err)
	}
}

// TestAClientBelievesNothingButItsKey: whatever a witness answers, a line comes back only when the pinned key made it.
func TestAClientBelievesNothingButItsKey(t *testing.T) {
	h := newHistory(t, 20)
	mine, stranger := cosigner(t, "w.example/one"), cosigner(t, "w.example/two")
	line := func(c ledger.Cosigner, n uint64) string {
		sig, err := c.SignNote(h.checkpoint(n).Body(), noon)
		if err != nil {
			t.Fatal(err)
		}
		return string(ledger.AppendSignature(nil, c.KeyName(), c.KeyHash(), sig))
	}
	forged := string(ledger.AppendSignature(nil, mine.KeyName(), mine.KeyHash(), make([]byte, 72)))
	for name, c := range map[string]struct {
		status int
		kind   string
		text   string
		want   error
	}{
		"nothing":                 {200, "", "", witness.ErrAnswer},
		"prose":                   {200, "", "ok\n", witness.ErrAnswer},
		"a stranger's":            {200, "", line(stranger, 20), witness.ErrAnswer},
		"of another checkpoint":   {200, "", line(mine, 19), witness.ErrAnswer},
		"a forged one":            {200, "", forged, witness.ErrAnswer},
		"a right and a forged":    {200, "", forged + line(mine, 20), witness.ErrAnswer},
		"without its line end":    {200, "", strings.TrimSuffix(line(mine, 20), "\n"), witness.ErrAnswer},
		"text around":             {200, "", "hello\n" + line(mine, 20), witness.ErrAnswer},
		"a checkpoint instead":    {200, "", string(h.note(20)), witness.ErrAnswer},
		"endless":                 {200, "", strings.Repeat(line(stranger, 20), 2000), witness.ErrAnswer},
		"201":                     {201, "", line(mine, 20), witness.ErrRefused},
		"403":                     {403, "", "no", witness.ErrRefused},
		"404":                     {404, "", "no", witness.ErrRefused},
		"500 with control bytes":  {500, "", "no\x1b[31m", witness.ErrRefused},
		"conflict for ever":       {409, "text/x.tlog.size", "7\n", witness.ErrRefused},
		"conflict of other type":  {409, "text/plain", "7\n", witness.ErrRefused},
		"conflict without a size": {409, "text/x.tlog.size", "seven\n", witness.ErrAnswer},
		"conflict, leading zero":  {409, "text/x.tlog.size", "07\n", witness.ErrAnswer},
		"conflict, beyond":        {409, "text/x.tlog.size", "21\n", witness.ErrBehind},
	} {
		cl := client(t, serve(t, answering(c.status, c.kind, c.text)), "w.example/one")
		got, err := cl.Submit(t.Context(), h.note(20), 5, h.prover(20))
		if !errors.Is(err, c.want) || got.Line != nil {
			t.Errorf("%s: %q %v", name, got.Line, err)
		}
		if err != nil && strings.ContainsAny(err.Error(), "\n\x1b") {
			t.Errorf("%s: not one clean line: %q", name, err)
		}
	}
	cl := client(t, serve(t, answering(200, "", line(stranger, 20)+line(mine, 20))), "w.example/one")
	if got, err := cl.Submit(t.Context(), h.note(20), 5, h.prover(20)); err != nil || string(got.Line) != line(mine, 20) {
		t.Errorf("among others': %q %v", got.Line, err)
	}
}

func TestAMonitorsAnswerIsVerified(t *testing.T) {
	h := newHistory(t, 20)
	w := newWorld(t, nil)
	line := w.must(h, 0, 20)
	other := ledger.Checkpoint{Origin: "other.example/log", Size: 20, Root: h.tree(20).Root()}
	sig, err := cosigner(t, "w.example/one").SignNote(other.Body(), noon)
	if err != nil {
		t.Fatal(err)
	}
	c := cosigner(t, "w.example/one")
	for name, text := range map[string]string{
		"nothing": "", "not cosigned": string(h.note(20)), "another size": string(h.note(19)) + line, "prose": "hello\n\nworld\n",
		"of another log": string(ledger.AppendSignature(h.sign(other.Body()), c.KeyName(), c.KeyHash(), sig)),
	} {
		cl := client(t, serve(t, answering(200, "", text)), "w.example/one")
		if seen, err := cl.Latest(t.Context(), origin); !errors.Is(err, witness.ErrAnswer) {
			t.Errorf("%s: %+v %v", name, seen.Checkpoint, err)
		}
	}
}

func TestRedirectsStayOnTheirHost(t *testing.T) {
	w, h := newWorld(t, nil), newHistory(t, 9)
	w.must(h, 0, 9)
	there := serve(t, w)
	away := serve(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, there+r.URL.Path, http.StatusTemporaryRedirect)
	}))
	c := client(t, away, "w.example/one")
	if _, err := c.Submit(t.Context(), h.note(9), 9, h.prover(9)); !errors.Is(err, witness.ErrAnswer) {
		t.Error("followed to another host:", err)
	}
	if _, err := c.Latest(t.Context(), origin); !errors.Is(err, witness.ErrAnswer) {
		t.Error("followed to another host:", err)
	}
	here := serve(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if path, ok := strings.CutPrefix(r.URL.Path, "/old"); ok {
			http.Redirect(rw, r, path, http.StatusTemporaryRedirect)
			return
		}
		w.ServeHTTP(rw, r)
	}))
	c = client(t, here+"/old/", "w.example/one")
	if _, err := c.Submit(t.Context(), h.note(9), 9, h.prover(9)); err != nil {
		t.Error("not followed on its host:", err)
	}
	loop := serve(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, r.URL.Path, http.StatusTemporaryRedirect)
	}))
	if _, err := client(t, loop, "w.example/one").Latest(t.Context(), origin); !errors.Is(err, witness.ErrAnswer) {
		t.Error("a circle:", err)
	}
}

// hanging never answers until the test ends or the caller gives up.
func hanging(t testing.TB) string {
	stop := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-stop:
		}
	}))
	t.Cleanup(func() { close(stop); s.Close() })
	return s.URL
}

func TestAGroupTakesWhatCameInTime(t *testing.T) {
	one, two := newWorld(t, nil), newWorld(t, nil)
	two.by = both(t, "w.example/two")
	two.open()
	h := newHistory(t, 20)
	now := noon
	var posts atomic.Int32
	counted := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { posts.Add(1); one.ServeHTTP(w, r) })
	g := witness.NewGroup(300*time.Millisecond, func() time.Time { return now },
		client(t, serve(t, counted), "w.example/one"), client(t, hanging(t), "w.example/slow"), client(t, serve(t, two), "w.example/two"))
	ask := func(n uint64) (string, error) {
		t.Helper()
		began := time.Now()
		lines, err := g.Cosign(t.Context(), h.note(n), n, h.prover(n))
		if took := time.Since(began); took > 5*time.Second {
			t.Fatal("waited", took)
		}
		p := ledger.WitnessPolicy{Keys: []ledger.VerifierKey{one.Keys()[0], two.Keys()[0]}, Need: 2}
		if seen, bad := p.Check(append(h.note(n), lines...)); bad != nil || !slices.Equal(seen, []string{"w.example/one", "w.example/two"}) {
			t.Fatalf("%v %v\n%s", seen, bad, lines)
		}
		return string(lines), err
	}
	if _, err := ask(5); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "slow") {
		t.Fatal("the slow one is not named:", err)
	}
	if _, err := ask(9); err != nil {
		t.Fatal("a witness that failed is asked again at once:", err)
	}
	if posts.Load() != 2 {
		t.Fatal("the size a witness holds is not remembered:", posts.Load(), "requests for two checkpoints")
	}
	now = now.Add(time.Minute)
	if _, err := ask(12); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal("a witness that failed is never asked again:", err)
	}
	s := g.Status()
	if len(s) != 3 || s[0].Size != 12 || !s[0].At.Equal(noon) || s[0].Err != nil || s[1].Size != 0 || s[1].Err == nil || s[2].Size != 12 || s[0].Key != one.Keys()[0].String() {
		t.Fatalf("%+v", s)
	}
	if _, err := g.CosignNow(t.Context(), h.note(20), 20, h.prover(20)); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal("not asked now:", err)
	}
	if lines, err := g.Cosign(t.Context(), h.note(20), 19, h.prover(20)); err == nil || lines != nil {
		t.Fatal("a size that is not the note's:", err)
	}
}

func TestAProofThatFailsIsThatWitnesssFailure(t *testing.T) {
	w, h := newWorld(t, nil), newHistory(t, 20)
	w.must(h, 0, 5)
	g := witness.NewGroup(time.Second, clock, client(t, serve(t, w), "w.example/one"))
	boom := errors.New("boom")
	lines, err := g.Cosign(t.Context(), h.note(20), 20, func(uint64) ([]merkle.Hash, error) { return nil, boom })
	if !errors.Is(err, boom) || len(lines) > 0 {
		t.Fatal(lines, err)
	}
	if s := g.Status()[0]; !errors.Is(s.Err, boom) || s.Size != 0 {
		t.Fatalf("%+v", s)
	}
}
