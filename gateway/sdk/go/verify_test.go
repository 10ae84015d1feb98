package gatewright_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"go/parser"
	gotoken "go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/mldsa"
)

const module = "github.com/gatewright/gatewright/"

// TestVerifyingNeedsOnlyTheStandardLibrary follows verify.go's imports through this module. Who verifies must not have to
// trust more: beside the standard library only package canon's JSON reader is met, by which records are read.
func TestVerifyingNeedsOnlyTheStandardLibrary(t *testing.T) {
	const jsonReader = "github.com/go-json-experiment/json"
	top, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	var queue []string
	seen := map[string]bool{}
	follow := func(file string) {
		f, err := parser.ParseFile(gotoken.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		pkg := filepath.Dir(file)
		for _, i := range f.Imports {
			path := strings.Trim(i.Path.Value, `"`)
			ours, isOurs := strings.CutPrefix(path, module)
			switch {
			case isOurs && (ours == "merkle" || strings.HasPrefix(ours, "merkle/")):
				if !seen[ours] {
					seen[ours] = true
					queue = append(queue, ours)
				}
			case isOurs, strings.Contains(strings.Split(path, "/")[0], "."):
				if pkg != filepath.Join(top, "merkle", "canon") || !strings.HasPrefix(path, jsonReader) {
					t.Errorf("%s imports %s", strings.TrimPrefix(file, top+"/"), path)
				}
			case slices.Contains([]string{"net", "net/http", "os", "os/exec", "database/sql"}, path):
				t.Errorf("%s imports %s: verifying is offline", strings.TrimPrefix(file, top+"/"), path)
			}
		}
	}
	follow(filepath.Join(top, "gateway", "sdk", "go", "verify.go"))
	for len(queue) > 0 {
		dir := filepath.Join(top, filepath.FromSlash(queue[0]))
		queue = queue[1:]
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if n := e.Name(); strings.HasSuffix(n, ".go") && !strings.HasSuffix(n, "_test.go") {
				follow(filepath.Join(dir, n))
			}
		}
	}
	if !seen["merkle"] || !seen["merkle/ledger"] || !seen["merkle/canon"] {
		t.Errorf("followed only %v", seen)
	}
}

// book is a tenant's log of some records, the log of checkpoints over it, and two witnesses.
type book struct {
	t       *testing.T
	records [][]byte
	signer  ledger.Signer
	one     ledger.Cosigner
	two     mldsa.Cosigner
}

const host = "gate.example"

func newBook(t *testing.T) *book {
	t.Helper()
	key := func(n byte) ed25519.PrivateKey { return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, 32)) }
	b := &book{t: t}
	var err error
	if b.signer, err = ledger.NewSigner(ledger.Origin(host, ledger.InstanceTenant, "gw-1"), key(1)); err != nil {
		t.Fatal(err)
	}
	if b.one, err = ledger.NewCosigner("w.example/one", key(2)); err != nil {
		t.Fatal(err)
	}
	if b.two, err = mldsa.NewCosigner("w.example/two", bytes.Repeat([]byte{3}, 32)); err != nil {
		t.Fatal(err)
	}
	for i := range 9 {
		// Bytes that no canonical form would have: what counts is what was signed.
		b.records = append(b.records, fmt.Appendf(nil, `{"z": %d,  "a":1.0}`, i))
	}
	return b
}

func (b *book) keys() gatewright.Keys { return gatewright.Keys{b.signer.Public} }

func (b *book) witnesses(need int) gatewright.WitnessPolicy {
	b.t.Helper()
	file := "# witnesses\n" + b.one.Public().String() + "\n\n" + b.two.Public().String()
	p, err := gatewright.ParseWitnesses([]byte(file), need, mldsa.Scheme{})
	if err != nil {
		b.t.Fatal(err)
	}
	return p
}

// over is a checkpoint of a tenant's log over leaves, signed by us and by witnesses.
func (b *book) over(tenant string, leaves [][]byte, by ...ledger.NoteSigner) []byte {
	b.t.Helper()
	var hashes []merkle.Hash
	for _, l := range leaves {
		hashes = append(hashes, merkle.LeafHash(l))
	}
	tree := merkle.NewTree(hashes)
	note, err := ledger.Checkpoint{Origin: ledger.Origin(host, tenant, "gw-1"), Size: tree.Size(), Root: tree.Root()}.
		SignAt(time.Unix(1_700_000_000, 0), append([]ledger.NoteSigner{b.signer}, by...)...)
	if err != nil {
		b.t.Fatal(err)
	}
	return note
}

func (b *book) prove(tenant string, leaves [][]byte, i uint64, by ...ledger.NoteSigner) *ledger.Proof {
	b.t.Helper()
	var hashes []merkle.Hash
	for _, l := range leaves {
		hashes = append(hashes, merkle.LeafHash(l))
	}
	return &ledger.Proof{Index: i, Hashes: merkle.NewTree(hashes).AppendInclusion(nil, i), Checkpoint: b.over(tenant, leaves, by...)}
}

// cosigned is the proof of record i that leads on to the log of checkpoints.
func (b *book) cosigned(i uint64, by ...ledger.NoteSigner) []byte {
	b.t.Helper()
	p := b.prove("demo", b.records, i)
	body, _, err := ledger.ReadNote(p.Checkpoint)
	if err != nil {
		b.t.Fatal(err)
	}
	salt := bytes.Repeat([]byte{7}, ledger.SaltSize)
	leaves := [][]byte{[]byte("another tenant's"), append(bytes.Clone(salt), body...), []byte("a third's")}
	if err := p.Cosign(salt, b.prove(ledger.CheckpointsLog, leaves, 1, by...)); err != nil {
		b.t.Fatal(err)
	}
	return p.Text()
}

func TestALogProofProvesTheBytesOfARecord(t *testing.T) {
	b := newBook(t)
	proof := b.prove("demo", b.records, 4).Text()
	got, err := gatewright.VerifyProof(proof, b.records[4], b.keys())
	if err != nil || got.Index != 4 || got.Size != 9 || got.Origin != "gate.example/ledger/demo/gw-1" || len(got.Witnesses) > 0 {
		t.Fatal(got, err)
	}
	stranger := gatewright.Keys{newStranger(t, b.signer.Public.Name)}
	for name, c := range map[string]struct {
		proof, record []byte
		keys          gatewright.Keys
	}{
		"another record":       {proof, b.records[3], b.keys()},
		"a canonical spelling": {proof, []byte(`{"a":1,"z":4}`), b.keys()},
		"a blank more":         {proof, append(bytes.Clone(b.records[4]), ' '), b.keys()},
		"no record":            {proof, nil, b.keys()},
		"another's key":        {proof, b.records[4], stranger},
		"no key":               {proof, b.records[4], nil},
		"a witness's key":      {proof, b.records[4], gatewright.Keys{b.one.Public()}},
		"no proof":             {nil, b.records[4], b.keys()},
		"another index":        {bytes.Replace(proof, []byte("index 4"), []byte("index 5"), 1), b.records[4], b.keys()},
		"another origin":       {bytes.Replace(proof, []byte("/demo/"), []byte("/omed/"), 1), b.records[4], b.keys()},
	} {
		if got, err := gatewright.VerifyProof(c.proof, c.record, c.keys); !errors.Is(err, gatewright.ErrProof) || got != nil {
			t.Errorf("%s: %+v %v", name, got, err)
		}
	}
	for i := range proof {
		bad := bytes.Clone(proof)
		bad[i] ^= 1
		if _, err := gatewright.VerifyProof(bad, b.records[4], b.keys()); err == nil {
			t.Fatal("a bit of byte", i)
		}
	}
}

func newStranger(t *testing.T, name string) ledger.VerifierKey {
	t.Helper()
	k, err := ledger.NewVerifierKey(name, ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, 32)).Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestACosignedProofNamesItsWitnesses(t *testing.T) {
	b := newBook(t)
	both := []string{"w.example/one", "w.example/two"}
	for name, proof := range map[string][]byte{
		"through the log of checkpoints": b.cosigned(4, b.one, b.two), "on the checkpoint itself": b.prove("demo", b.records, 4, b.one, b.two).Text(),
	} {
		got, err := gatewright.VerifyCosigned(proof, b.records[4], b.keys(), b.witnesses(2))
		if err != nil || !slices.Equal(got.Witnesses, both) || got.Index != 4 || got.Origin != "gate.example/ledger/demo/gw-1" {
			t.Errorf("%s: %+v %v", name, got, err)
		}
		if _, err := gatewright.VerifyProof(proof, b.records[4], b.keys()); err != nil {
			t.Errorf("%s: without witnesses: %v", name, err)
		}
	}
	for name, c := range map[string]struct {
		proof []byte
		need  int
	}{
		"one of two": {b.cosigned(4, b.one), 2}, "nobody": {b.cosigned(4), 1}, "not cosigned at all": {b.prove("demo", b.records, 4).Text(), 1},
	} {
		if got, err := gatewright.VerifyCosigned(c.proof, b.records[4], b.keys(), b.witnesses(c.need)); !errors.Is(err, gatewright.ErrProof) || got != nil {
			t.Errorf("%s: %+v %v", name, got, err)
		}
	}
	if _, err := gatewright.VerifyCosigned(b.cosigned(4, b.one, b.two), b.records[4], b.keys(), gatewright.WitnessPolicy{}); !errors.Is(err, gatewright.ErrProof) {
		t.Error("a policy that asks for nobody:", err)
	}
	if _, err := gatewright.VerifyCosigned(b.cosigned(4, b.one, b.two), b.records[3], b.keys(), b.witnesses(1)); !errors.Is(err, gatewright.ErrProof) {
		t.Error("another record:", err)
	}
}

func TestAWitnessFileThatProvesNothingIsRefused(t *testing.T) {
	b := newBook(t)
	one, two := b.one.Public().String(), b.two.Public().String()
	for name, c := range map[string]struct {
		file string
		need int
		with []gatewright.Scheme
	}{
		"empty": {"# none\n", 1, nil}, "nobody needed": {one, 0, nil}, "below zero": {one, -1, nil}, "more than there are": {one + "\n" + one, 2, nil},
		"a log's key": {b.signer.Public.String(), 1, nil}, "damaged": {one[:len(one)-1], 1, nil}, "without its scheme": {two, 1, nil},
	} {
		if p, err := gatewright.ParseWitnesses([]byte(c.file), c.need, c.with...); err == nil {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

// TestAReceiptIsFoundInItsOwnLogOnly: the same bytes in another tenant's log, or at another gateway, prove nothing of it.
func TestAReceiptIsFoundInItsOwnLogOnly(t *testing.T) {
	b := newBook(t)
	rec := ledger.Record{ID: recordID, Time: 1, Tenant: "demo", Kind: ledger.Settled, Step: -1}
	b.records[4] = rec.AppendJSON(nil)
	v := &gatewright.Verified{Origin: b.signer.Public.Name, Leaf: b.records[4], Record: rec}
	if got, err := v.InLog(b.cosigned(4, b.one), b.keys(), b.witnesses(1)); err != nil || got.Index != 4 || !slices.Equal(got.Witnesses, []string{"w.example/one"}) {
		t.Fatal(got, err)
	}
	if _, err := v.InLog(b.prove("demo", b.records, 4).Text(), b.keys(), gatewright.WitnessPolicy{}); err != nil {
		t.Fatal(err)
	}
	if _, err := v.InLog(b.prove("other", b.records, 4).Text(), b.keys(), gatewright.WitnessPolicy{}); !errors.Is(err, gatewright.ErrProof) {
		t.Error("another tenant's log:", err)
	}
	if _, err := v.InLog(b.prove("demo", b.records, 3).Text(), b.keys(), gatewright.WitnessPolicy{}); !errors.Is(err, gatewright.ErrProof) {
		t.Error("another record's proof:", err)
	}
	v.Origin = ledger.Origin("other.example", ledger.InstanceTenant, "gw-1")
	if _, err := v.InLog(b.prove("demo", b.records, 4).Text(), b.keys(), gatewright.WitnessPolicy{}); !errors.Is(err, gatewright.ErrProof) {
		t.Error("another gateway's receipt:", err)
	}
}
