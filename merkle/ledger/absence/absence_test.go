package absence_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/absence"
	"github.com/gatewright/gatewright/merkle/ledger/export"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

var now = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

// world is a tenant's ledger in memory, and the key that signs its checkpoints.
type world struct {
	private ed25519.PrivateKey
	public  ledger.VerifierKey
	entries []wal.Entry
	tree    *merkle.Tree
	signs   int // size of the published checkpoint
}

func newWorld(t testing.TB, n int, change func(i int, r *ledger.Record)) *world {
	t.Helper()
	w := &world{private: ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)), signs: n}
	var err error
	if w.public, err = ledger.NewVerifierKey("gw.example/ledger/_instance/one", w.private.Public().(ed25519.PublicKey)); err != nil {
		t.Fatal(err)
	}
	var leaves []merkle.Hash
	for i := range n {
		at := now.Add(time.Duration(i) * time.Second)
		id, err := ledger.NewID(at, strings.NewReader(fmt.Sprintf("%-16d", i)))
		if err != nil {
			t.Fatal(err)
		}
		r := ledger.Record{
			ID: id, Time: at.UnixMicro(), Tenant: "acme", Instance: "one", Kind: ledger.Admitted, Step: -1,
			Agent: fmt.Sprintf("agt_%d", i%3), Server: "shop", Tool: "buy", Op: "tools/call", Verdict: "allow",
		}
		if change != nil {
			change(i, &r)
		}
		if err := r.Normalize(); err != nil {
			t.Fatal(err)
		}
		w.add(r.AppendJSON(nil))
		leaves = append(leaves, w.entries[i].Leaf)
	}
	w.tree = merkle.NewTree(leaves)
	return w
}

func (w *world) add(leaf []byte) {
	w.entries = append(w.entries, wal.Entry{Index: uint64(len(w.entries)), Data: leaf, Leaf: merkle.LeafHash(leaf)})
}

func (w *world) note(size int, origin string) []byte {
	leaves := make([]merkle.Hash, size)
	for i := range leaves {
		leaves[i] = w.entries[i].Leaf
	}
	body := ledger.Checkpoint{Origin: origin, Size: uint64(size), Root: merkle.NewTree(leaves).Root()}.Body()
	raw := append(binary.BigEndian.AppendUint32(nil, w.public.Hash), ed25519.Sign(w.private, body)...)
	return append(append(body, '\n'), "\u2014 "+w.public.Name+" "+base64.StdEncoding.EncodeToString(raw)+"\n"...)
}

const origin = "gw.example/ledger/acme/one"

func (w *world) Checkpoint(string) ([]byte, error) { return w.note(w.signs, origin), nil }

func (w *world) Scan(ctx context.Context, _ string, from uint64, n int) ([]wal.Entry, error) {
	return slices.Clone(w.entries[from:min(from+uint64(min(n, 7)), uint64(len(w.entries)))]), ctx.Err()
}

func (w *world) Subtrees(string) (merkle.Subtree, error) { return w.tree.Subtree, nil }

func (w *world) prove(t testing.TB, o absence.Options) []byte {
	t.Helper()
	o.Tenant, o.Now = "acme", now
	p, err := absence.Prepare(w, o)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := p.Write(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func (w *world) verify(t testing.TB, proof []byte) (absence.Result, error) {
	t.Helper()
	return absence.Verify(t.Context(), bytes.NewReader(proof), ledger.VerifierKeys{w.public})
}

func TestEveryRangeOfEveryTreeIsProved(t *testing.T) {
	for n := 1; n <= 20; n++ {
		w := newWorld(t, n, nil)
		for from := range n {
			for to := from + 1; to <= n; to++ {
				q := absence.Question{Agent: "agt_9", From: uint64(from), To: uint64(to)}
				proof := w.prove(t, absence.Options{Question: q})
				res, err := w.verify(t, proof)
				if err != nil {
					t.Fatalf("records %d to %d of %d: %v", from, to, n, err)
				}
				if !res.Absent() || res.Records != uint64(to-from) || res.Question != q || res.Size != uint64(n) || res.Origin != origin {
					t.Fatalf("records %d to %d of %d: %+v", from, to, n, res)
				}
				if !absence.Is(proof[:20]) {
					t.Fatal("not recognized")
				}
			}
		}
	}
}

func TestACallIsFoundInWhateverKindOfRecordItIs(t *testing.T) {
	for _, c := range []struct {
		name    string
		change  func(r *ledger.Record)
		absent  bool
		refused uint64
		noted   uint64
		others  uint64
	}{
		{"admitted", func(r *ledger.Record) {}, false, 0, 0, 0},
		{"settled", func(r *ledger.Record) { r.Kind, r.Of, r.Outcome = ledger.Settled, r.ID, "ok" }, false, 0, 0, 0},
		{"on no server", func(r *ledger.Record) { r.Server = "" }, false, 0, 0, 0},
		{"refused", func(r *ledger.Record) { r.Kind, r.Verdict = ledger.Refused, "deny" }, true, 1, 0, 0},
		{"refused before the tool was known", func(r *ledger.Record) { r.Kind, r.Tool, r.Server = ledger.Refused, "", "" }, true, 0, 1, 0},
		{"held", func(r *ledger.Record) { r.Kind = ledger.Approval }, true, 0, 0, 1},
		{"another tool", func(r *ledger.Record) { r.Tool = "sell" }, true, 0, 0, 0},
		{"another server", func(r *ledger.Record) { r.Server = "bank" }, true, 0, 0, 0},
		{"another agent", func(r *ledger.Record) { r.Agent = "agt_2" }, true, 0, 0, 0},
		{"another agent's refusal", func(r *ledger.Record) { r.Kind, r.Agent, r.Tool = ledger.Refused, "agt_2", "" }, true, 0, 0, 0},
	} {
		w := newWorld(t, 11, func(i int, r *ledger.Record) {
			r.Agent = "agt_0"
			if i == 5 {
				r.Agent = "agt_1"
				c.change(r)
			}
		})
		q := absence.Question{Agent: "agt_1", Server: "shop", Tool: "buy"}
		res, err := w.verify(t, w.prove(t, absence.Options{Question: q}))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if res.Absent() != c.absent || res.Refused != c.refused || res.Nameless != c.noted || res.Mentions != c.others {
			t.Errorf("%s: %+v", c.name, res)
		}
		if said := strings.HasPrefix(res.Claim(), "PROVED"); said != c.absent {
			t.Errorf("%s: %s", c.name, res.Claim())
		}
		if !c.absent && (len(res.Hits) != 1 || res.Hits[0].Index != 5) {
			t.Errorf("%s: named %v", c.name, res.Hits)
		}
	}
}

func TestARecordOfANewerKindOrVersionLeavesItUnproved(t *testing.T) {
	for name, edit := range map[string][2]string{
		"kind":    {`"kind":"admitted"`, `"kind":"teleported"`},
		"version": {`"v":1`, `"v":2`},
	} {
		w := newWorld(t, 6, nil)
		leaf := bytes.Replace(w.entries[0].Data, []byte(edit[0]), []byte(edit[1]), 1)
		w.add(leaf)
		var leaves []merkle.Hash
		for i := range w.entries {
			leaves = append(leaves, w.entries[i].Leaf)
		}
		w.tree, w.signs = merkle.NewTree(leaves), len(leaves)
		res, err := w.verify(t, w.prove(t, absence.Options{Question: absence.Question{Agent: "agt_9"}}))
		if err != nil || res.Unknown != 1 || res.Absent() || !strings.HasPrefix(res.Claim(), "NOT PROVED") {
			t.Errorf("%s: %+v, %v", name, res, err)
		}
	}
}

func TestAChangedProofIsRefused(t *testing.T) {
	w := newWorld(t, 21, nil)
	other := newWorld(t, 21, func(_ int, r *ledger.Record) { r.Detail = "another" })
	proof := w.prove(t, absence.Options{Question: absence.Question{Agent: "agt_9", From: 5, To: 19}, Since: w.note(5, origin)})
	if res, err := w.verify(t, proof); err != nil || !res.SinceSigned {
		t.Fatalf("%+v, %v", res, err)
	}
	lines := bytes.SplitAfter(proof, []byte("\n"))
	lines = lines[:len(lines)-1]
	head := func(old, with string) [][]byte {
		out := slices.Clone(lines)
		out[0] = bytes.Replace(lines[0], []byte(old), []byte(with), 1)
		if bytes.Equal(out[0], lines[0]) {
			t.Fatalf("the head has no %q", old)
		}
		return out
	}
	swap := func(i, j int) [][]byte { out := slices.Clone(lines); out[i], out[j] = out[j], out[i]; return out }
	put := func(i int, line string) [][]byte { out := slices.Clone(lines); out[i] = []byte(line); return out }
	text := string(w.note(5, origin)) // as it stands inside the head
	quoted := strings.ReplaceAll(text, "\n", `\n`)
	for name, changed := range map[string][][]byte{
		"nothing":                      nil,
		"no head":                      lines[1:],
		"a record removed":             slices.Delete(slices.Clone(lines), 4, 5),
		"the last record removed":      lines[:len(lines)-1],
		"records exchanged":            swap(3, 4),
		"a record twice":               slices.Insert(slices.Clone(lines), 4, lines[4]),
		"a record changed":             put(6, strings.Replace(string(lines[6]), "shop", "shed", 1)),
		"a record of another ledger":   put(6, string(export.AppendLine(nil, 10, other.entries[10].Data))),
		"a record moved":               put(6, string(export.AppendLine(nil, 10, w.entries[11].Data))),
		"a record more":                append(slices.Clone(lines), export.AppendLine(nil, 19, w.entries[19].Data)),
		"a last line without end":      put(len(lines)-1, strings.TrimSuffix(string(lines[len(lines)-1]), "\n")),
		"a range that begins later":    head(`"from":5`, `"from":6`),
		"a range that ends earlier":    head(`"to":19`, `"to":18`),
		"a range that ends later":      head(`"to":19`, `"to":21`),
		"another tenant":               head(`"tenant":"acme"`, `"tenant":"other"`),
		"another version":              head(`"absence":1`, `"absence":2`),
		"a member more":                head(`"after":`, `"affix":1,"after":`),
		"a blank":                      head(`"after":`, ` "after":`),
		"a name in other letters":      head(`"tenant":`, `"Tenant":`),
		"no checkpoint":                head(`"checkpoint":"gw`, `"checkpoint":"\u0000`),
		"a checkpoint for the start":   head(quoted, strings.ReplaceAll(string(w.note(4, origin)), "\n", `\n`)),
		"another log's for the start":  head(quoted, strings.ReplaceAll(string(w.note(5, "gw.example/ledger/other/one")), "\n", `\n`)),
		"another ledger's for the end": head(strings.ReplaceAll(string(w.note(21, origin)), "\n", `\n`), strings.ReplaceAll(string(other.note(21, origin)), "\n", `\n`)),
		"an older one for the end":     head(strings.ReplaceAll(string(w.note(21, origin)), "\n", `\n`), strings.ReplaceAll(string(w.note(20, origin)), "\n", `\n`)),
	} {
		if res, err := w.verify(t, bytes.Join(changed, nil)); !errors.Is(err, absence.ErrProof) {
			t.Errorf("%s: %+v, %v", name, res, err)
		}
	}
	for i := range 3 { // hashes in the head: of what lies before, and behind
		changed := slices.Clone(lines)
		at := bytes.Index(lines[0], []byte(`["`)) + 5 + i
		changed[0] = bytes.Clone(lines[0])
		changed[0][at] = "0123456789abcdef"[(strings.IndexByte("0123456789abcdef", changed[0][at])+1)%16]
		if _, err := w.verify(t, bytes.Join(changed, nil)); !errors.Is(err, absence.ErrProof) {
			t.Errorf("a changed hash: %v", err)
		}
	}
}

func TestAnotherKeyVouchesForNothing(t *testing.T) {
	w := newWorld(t, 9, nil)
	proof := w.prove(t, absence.Options{Question: absence.Question{Agent: "agt_9"}})
	stranger, _ := ledger.NewVerifierKey(w.public.Name, ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32)).Public().(ed25519.PublicKey))
	other, _ := ledger.NewVerifierKey("gw.example/ledger/_instance/two", w.private.Public().(ed25519.PublicKey))
	for name, keys := range map[string]ledger.VerifierKeys{"none": nil, "a stranger's": {stranger}, "another instance's": {other}} {
		if _, err := absence.Verify(t.Context(), bytes.NewReader(proof), keys); !errors.Is(err, absence.ErrProof) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAPinnedKeyOfOneInstanceVouchesForNoOther(t *testing.T) {
	w := newWorld(t, 9, nil)
	one := w.public
	var err error
	w.private = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, 32))
	if w.public, err = ledger.NewVerifierKey("gw.example/ledger/_instance/two", w.private.Public().(ed25519.PublicKey)); err != nil {
		t.Fatal(err)
	}
	proof := w.prove(t, absence.Options{Question: absence.Question{Agent: "agt_9"}})
	if _, err := absence.Verify(t.Context(), bytes.NewReader(proof), ledger.VerifierKeys{one, w.public}); !errors.Is(err, absence.ErrProof) {
		t.Errorf("instance two speaks for instance one: %v", err)
	}
}

func TestWhatCannotBeProvedIsSaidBeforeAnythingIsWritten(t *testing.T) {
	w := newWorld(t, 9, nil)
	w.signs = 8
	for name, o := range map[string]absence.Options{
		"no agent":                   {},
		"an empty range":             {Question: absence.Question{Agent: "a", From: 3, To: 3}},
		"a range backwards":          {Question: absence.Question{Agent: "a", From: 4, To: 3}},
		"from the end on":            {Question: absence.Question{Agent: "a", From: 8}},
		"beyond the checkpoint":      {Question: absence.Question{Agent: "a", To: 9}},
		"a long name":                {Question: absence.Question{Agent: "a", Tool: strings.Repeat("x", 257)}},
		"another beginning":          {Question: absence.Question{Agent: "a", From: 3}, Since: w.note(4, origin)},
		"a beginning of another log": {Question: absence.Question{Agent: "a", From: 4}, Since: w.note(4, "x/ledger/acme/one")},
		"no note":                    {Question: absence.Question{Agent: "a", From: 4}, Since: []byte("x")},
	} {
		o.Tenant, o.Now = "acme", now
		if _, err := absence.Prepare(w, o); !errors.Is(err, absence.ErrQuestion) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheLedgerHearsOfTheProofBeforeItIsWhole(t *testing.T) {
	w := newWorld(t, 30, nil)
	refused := errors.New("no room")
	p, err := absence.Prepare(w, absence.Options{Tenant: "acme", Now: now, Question: absence.Question{Agent: "x"}, Commit: func(context.Context, merkle.Hash) error { return refused }})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := p.Write(t.Context(), &out); !errors.Is(err, refused) {
		t.Fatal(err)
	}
	if _, err := w.verify(t, out.Bytes()); !errors.Is(err, absence.ErrProof) {
		t.Errorf("without the ledger's consent it verifies: %v", err)
	}
}

func FuzzVerify(f *testing.F) {
	w := newWorld(f, 12, nil)
	f.Add(w.prove(f, absence.Options{Question: absence.Question{Agent: "agt_9", From: 3, To: 9}}))
	f.Add(w.prove(f, absence.Options{Question: absence.Question{Agent: "agt_1"}}))
	f.Fuzz(func(t *testing.T, proof []byte) {
		res, err := w.verify(t, proof)
		if err != nil {
			return
		}
		for i := res.From; i < res.To; i++ {
			if !bytes.Contains(proof, w.entries[i].Data) {
				t.Fatalf("record %d is not there, and %s", i, res.Claim())
			}
		}
	})
}
