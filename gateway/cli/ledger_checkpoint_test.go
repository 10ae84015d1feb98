package cli_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// growing is a gateway whose checkpoint is of so many records, signed by signer, over the leaves.
type growing struct {
	*house
	signer ledger.Signer
	leaves []merkle.Hash
	size   uint64
	origin string
	key    string
}

func newGrowing(t *testing.T) *growing {
	t.Helper()
	g := &growing{house: newHouse(t), size: 9, origin: ledger.Origin("gw.example", "demo", "main")}
	var err error
	if g.signer, err = ledger.NewSigner("gw.example/ledger/_instance/main", ed25519.NewKeyFromSeed(make([]byte, 32))); err != nil {
		t.Fatal(err)
	}
	for i := range byte(9) {
		g.leaves = append(g.leaves, merkle.LeafHash([]byte{i}))
	}
	g.key = g.file(t, "ledger.pub", g.signer.Public.String()+"\n")
	g.control.HandleFunc("GET /api/v1/ledger/checkpoint", func(w http.ResponseWriter, _ *http.Request) {
		note, _ := json.Marshal(string(g.note(t, g.size)))
		answer(w, 200, fmt.Sprintf(`{"note":%s}`, note))
	})
	g.control.HandleFunc("GET /api/v1/ledger/consistency", func(w http.ResponseWriter, r *http.Request) {
		var from, to uint64
		_, _ = fmt.Sscan(r.FormValue("from"), &from)
		_, _ = fmt.Sscan(r.FormValue("to"), &to)
		text := func(h merkle.Hash) string { return base64.StdEncoding.EncodeToString(h[:]) }
		hashes := []string{}
		for _, h := range g.tree(to).AppendConsistency(nil, from) {
			hashes = append(hashes, text(h))
		}
		b, _ := json.Marshal(map[string]any{"from": from, "to": to, "from_root": text(g.tree(from).Root()), "to_root": text(g.tree(to).Root()), "hashes": hashes})
		answer(w, 200, string(b))
	})
	return g
}

func (g *growing) tree(size uint64) *merkle.Tree { return merkle.NewTree(g.leaves[:size]) }

func (g *growing) note(t *testing.T, size uint64) []byte {
	note, err := ledger.Checkpoint{Origin: g.origin, Size: size, Root: g.tree(size).Root()}.Sign(g.signer)
	if err != nil {
		t.Error(err)
	}
	return note
}

func (g *growing) file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestACheckpointIsKeptAndVerified(t *testing.T) {
	g := newGrowing(t)
	out := filepath.Join(t.TempDir(), "kept")
	if o := g.run(t, "ledger", "checkpoint", "--out", out); o.code != 0 || o.out != "checkpoint of 9 records: "+out+"\n" {
		t.Fatalf("%+v", o)
	}
	g.fails(t, 2, "is there already", "ledger", "checkpoint", "--out", out)
	if o := g.run(t, "ledger", "checkpoint", "--out", out, "--force"); o.code != 0 {
		t.Errorf("%+v", o)
	}
	if o := g.run(t, "ledger", "checkpoint"); o.code != 0 || o.out != string(g.note(t, 9)) {
		t.Errorf("%+v", o)
	}
	o := g.run(t, "verify", out, "--key", g.key)
	if o.code != 0 || !strings.HasPrefix(o.out, "verified: checkpoint of "+g.origin+"\n") {
		t.Errorf("%+v", o)
	}
	if o := g.run(t, "verify", out, "--key", g.key, "--json"); o.code != 0 || !strings.Contains(o.out, `"size": 9`) {
		t.Errorf("%+v", o)
	}
	changed := g.file(t, "changed", strings.Replace(string(g.note(t, 9)), "\n9\n", "\n8\n", 1))
	g.fails(t, 1, "the signature", "verify", changed, "--key", g.key)
	g.fails(t, 2, "say nothing about a checkpoint", "verify", out, "--key", g.key, "--record", out)
	if o := g.run(t, "verify", g.file(t, "records.jsonl", `{"index":1}`+"\n"), "--key", g.key); o.code != 1 || !strings.Contains(o.errOut, "verify knows receipts, checkpoints") {
		t.Errorf("%+v", o)
	}
}

func TestAHeldCheckpointShowsWhetherTheLedgerOnlyGrew(t *testing.T) {
	g := newGrowing(t)
	held := g.file(t, "held", string(g.note(t, 5)))
	o := g.run(t, "ledger", "consistency", "--checkpoint", held, "--key", g.key)
	if o.code != 0 || !strings.HasPrefix(o.out, "verified: consistent: the first 5 of 9 records are what they were\n") {
		t.Fatalf("%+v", o)
	}
	if o := g.run(t, "ledger", "consistency", "--checkpoint", g.file(t, "same", string(g.note(t, 9))), "--key", g.key, "--json"); o.code != 0 || !strings.Contains(o.out, `"verified": true`) {
		t.Errorf("%+v", o)
	}
	g.fails(t, 2, "not both", "ledger", "consistency", "5", "--checkpoint", held, "--key", g.key)
	g.fails(t, 2, "says nothing about sizes", "ledger", "consistency", "5", "--key", g.key)
	other, err := ledger.NewSigner("gw.example/ledger/_instance/main", ed25519.NewKeyFromSeed([]byte(strings.Repeat("x", 32))))
	if err != nil {
		t.Fatal(err)
	}
	g.fails(t, 1, "no pinned key signed it", "ledger", "consistency", "--checkpoint", held, "--key", g.file(t, "other.pub", other.Public.String()+"\n"))

	signer := g.signer
	g.signer = other
	g.fails(t, 1, "the gateway's checkpoint", "ledger", "consistency", "--checkpoint", held, "--key", g.key)
	g.signer, g.size = signer, 4
	g.fails(t, 1, "signs 4 records now, and signed 5", "ledger", "consistency", "--checkpoint", held, "--key", g.key)
	g.size, g.leaves[2] = 9, merkle.LeafHash([]byte("forged")) // consistent in itself, and properly signed
	g.fails(t, 1, "NOT consistent", "ledger", "consistency", "--checkpoint", held, "--key", g.key)
	g.size = 5
	g.fails(t, 1, "NOT consistent", "ledger", "consistency", "--checkpoint", held, "--key", g.key)
	g.origin = ledger.Origin("gw.example", "other", "main")
	g.fails(t, 1, "the gateway's ledger is", "ledger", "consistency", "--checkpoint", held, "--key", g.key)
}
