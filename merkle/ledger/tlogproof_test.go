package ledger_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
)

func sign(t testing.TB, cp ledger.Checkpoint, by ...ledger.NoteSigner) []byte {
	t.Helper()
	text, err := cp.SignAt(time.Unix(1_700_000_000, 0), by...)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// proofKit is a tenant's log of 11 records whose checkpoint is leaf 2 of 5 in the log of checkpoints.
type proofKit struct {
	leaf      merkle.Hash
	keys      ledger.VerifierKeys
	witnesses ledger.WitnessPolicy
	salt      []byte
	body      []byte
	signer    ledger.Signer
	wits      []ledger.Cosigner
}

func newProofKit(t testing.TB) *proofKit {
	k := &proofKit{signer: signer(t, host, key("a")), salt: bytes.Repeat([]byte{7}, ledger.SaltSize)}
	k.keys = ledger.VerifierKeys{k.signer.Public}
	for _, name := range []string{"w1.example", "w2.example", "w3.example"} {
		w, err := ledger.NewCosigner(name, key(name))
		if err != nil {
			t.Fatal(err)
		}
		k.wits = append(k.wits, w)
		k.witnesses.Keys = append(k.witnesses.Keys, w.Public())
	}
	return k
}

// inLog signs a tree of n leaves with the given one at i, and returns its proof.
func inLog(t testing.TB, leaf merkle.Hash, i, n uint64, origin string, by ...ledger.NoteSigner) *ledger.Proof {
	t.Helper()
	leaves := make([]merkle.Hash, n)
	for j := range leaves {
		leaves[j] = merkle.LeafHash([]byte{byte(j)})
	}
	leaves[i] = leaf
	tree := merkle.NewTree(leaves)
	cp := ledger.Checkpoint{Origin: origin, Size: n, Root: tree.Root()}
	return &ledger.Proof{Index: i, Hashes: tree.AppendInclusion(nil, i), Checkpoint: sign(t, cp, by...)}
}

func (k *proofKit) plain(t testing.TB) *ledger.Proof {
	k.leaf = merkle.LeafHash([]byte("a record"))
	p := inLog(t, k.leaf, 6, 11, ledger.Origin("gate.example", "acme", "gw-1"), k.signer)
	body, _, err := ledger.ReadNote(p.Checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	k.body = body
	return p
}

// cosigned is the plain proof with the way on to the log of checkpoints, cosigned by two of three.
func (k *proofKit) cosigned(t testing.TB) *ledger.Proof {
	p := k.plain(t)
	inner := inLog(t, ledger.CheckpointLeaf(k.salt, k.body), 2, 5, ledger.Origin("gate.example", ledger.CheckpointsLog, "gw-1"),
		k.signer, k.wits[0], k.wits[1])
	if err := p.Cosign(k.salt, inner); err != nil {
		t.Fatal(err)
	}
	return p
}

func (k *proofKit) verify(t testing.TB, p *ledger.Proof, need int) error {
	t.Helper()
	again, err := ledger.ParseProof(p.Text())
	if err != nil {
		t.Fatal(err)
	}
	k.witnesses.Need = need
	cp, err := again.Verify(k.leaf, k.keys, k.witnesses)
	if (err == nil) != (cp != ledger.Checkpoint{}) {
		t.Fatal("an error with a checkpoint, or none without", err, cp)
	}
	return err
}

func TestALogProofShowsWhatItSays(t *testing.T) {
	k := newProofKit(t)
	if err := k.verify(t, k.plain(t), 0); err != nil {
		t.Error("plain:", err)
	}
	for need := range 3 {
		if err := k.verify(t, k.cosigned(t), need); err != nil {
			t.Errorf("cosigned by two, %d wanted: %v", need, err)
		}
	}
	p := inLog(t, k.leaf, 6, 11, ledger.Origin("gate.example", "acme", "gw-1.2"), k.signer, k.wits[2])
	if err := k.verify(t, p, 1); err != nil {
		t.Error("cosigned itself, in a ledger that was restored:", err)
	}
}

func TestALogProofAgreesWithTheOtherImplementation(t *testing.T) {
	k := newProofKit(t)
	p := k.plain(t)
	v, err := note.NewVerifier(k.signer.Public.String())
	if err != nil {
		t.Fatal(err)
	}
	n, err := note.Open(p.Checkpoint, note.VerifierList(v))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(n.Text, "\n")
	root, err := tlog.ParseHash(lines[2])
	if err != nil {
		t.Fatal(err)
	}
	var hashes tlog.RecordProof
	for _, h := range p.Hashes {
		hashes = append(hashes, tlog.Hash(h))
	}
	if err := tlog.CheckRecord(hashes, 11, root, 6, tlog.Hash(k.leaf)); err != nil {
		t.Fatal(err)
	}
}

// TestALogProofThatShowsSomethingElseIsRefused: each of these is well-formed, and signed by somebody.
func TestALogProofThatShowsSomethingElseIsRefused(t *testing.T) {
	k := newProofKit(t)
	acme, log := ledger.Origin("gate.example", "acme", "gw-1"), ledger.Origin("gate.example", ledger.CheckpointsLog, "gw-1")
	k.plain(t)
	inner := func(origin string, body []byte, by ...ledger.NoteSigner) *ledger.Proof {
		p := k.plain(t)
		must(t, p.Cosign(k.salt, inLog(t, ledger.CheckpointLeaf(k.salt, body), 2, 5, origin, by...)))
		return p
	}
	other := signer(t, "gate.example/ledger/_instance/gw-2", key("b"))
	k.keys = append(k.keys, other.Public)
	for name, c := range map[string]struct {
		proof *ledger.Proof
		need  int
	}{
		"another record":                  {inLog(t, merkle.LeafHash([]byte("another")), 6, 11, acme, k.signer), 0},
		"a stranger's signature":          {inLog(t, k.leaf, 6, 11, acme, signer(t, host, key("stranger"))), 0},
		"a witness's signature alone":     {inLog(t, k.leaf, 6, 11, acme, k.wits[0]), 0},
		"another instance's signature":    {inLog(t, k.leaf, 6, 11, acme, other), 0},
		"another host":                    {inLog(t, k.leaf, 6, 11, ledger.Origin("other.example", "acme", "gw-1"), k.signer), 0},
		"an instance of a longer name":    {inLog(t, k.leaf, 6, 11, ledger.Origin("gate.example", "acme", "gw-12"), k.signer), 0},
		"a generation that is no number":  {inLog(t, k.leaf, 6, 11, ledger.Origin("gate.example", "acme", "gw-1.x"), k.signer), 0},
		"an origin of no ledger":          {inLog(t, k.leaf, 6, 11, "gate.example/acme/gw-1", k.signer), 0},
		"no witness":                      {k.plain(t), 1},
		"too few witnesses":               {k.cosigned(t), 3},
		"another log with cosignatures":   {inner(acme, k.body, k.signer, k.wits[0]), 1},
		"another instance's checkpoints":  {inner(ledger.Origin("gate.example", ledger.CheckpointsLog, "gw-2"), k.body, other, k.wits[0]), 1},
		"another checkpoint in it":        {inner(log, bytes.Replace(k.body, []byte("11"), []byte("12"), 1), k.signer, k.wits[0]), 1},
		"cosigned, and not signed":        {inner(log, k.body, k.wits[0], k.wits[1]), 1},
		"a stranger's log of checkpoints": {inner(log, k.body, signer(t, host, key("stranger")), k.wits[0]), 1},
	} {
		if err := k.verify(t, c.proof, c.need); !errors.Is(err, ledger.ErrProof) {
			t.Errorf("%s: %v", name, err)
		}
	}
	p := k.cosigned(t)
	k.witnesses.Need = 1
	for i, witnesses := range []ledger.WitnessPolicy{{Need: 1}, {Keys: k.witnesses.Keys, Need: 4}, {Keys: k.keys, Need: 1}, {Need: -1}} {
		if _, err := p.Verify(k.leaf, k.keys, witnesses); !errors.Is(err, ledger.ErrProof) {
			t.Errorf("policy %d: %v", i, err)
		}
	}
	if _, err := p.Verify(k.leaf, nil, ledger.WitnessPolicy{}); !errors.Is(err, ledger.ErrProof) {
		t.Error("no key is pinned:", err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestAnyChangeOfALogProofIsRefused changes, drops and doubles every byte, in the extra line and below it as well.
func TestAnyChangeOfALogProofIsRefused(t *testing.T) {
	k := newProofKit(t)
	k.witnesses.Need = 2
	text := k.cosigned(t).Text()
	_, inner, err := k.cosigned(t).Cosigned()
	must(t, err)
	try := func(what string, at int, text []byte) {
		p, err := ledger.ParseProof(text)
		if err == nil {
			_, err = p.Verify(k.leaf, k.keys, k.witnesses)
		}
		if !errors.Is(err, ledger.ErrProof) {
			t.Fatalf("%s at %d passes: %v", what, at, err)
		}
	}
	step := func(n int) int { return 1 + n/900 }
	for at := 0; at < len(text); at += step(len(text)) {
		for _, b := range []byte("A\r\n =+\x00\xe2") {
			if text[at] != b {
				changed := bytes.Clone(text)
				changed[at] = b
				try(fmt.Sprintf("%q", b), at, changed)
			}
		}
		try("a cut", at, text[:at])
		try("a missing byte", at, slices.Delete(bytes.Clone(text), at, at+1))
		try("a line end", at, slices.Insert(bytes.Clone(text), at, '\n'))
	}
	below := inner.Text()
	for at := 0; at < len(below); at += step(len(below)) {
		changed := bytes.Clone(below)
		if changed[at] ^= 1; changed[at] < ' ' || below[at] > 0x7f || changed[at] == '"' || changed[at] == '\\' {
			continue
		}
		p := k.plain(t)
		p.Extra = fmt.Appendf(nil, `{"checkpoints":%q,"salt":%q,"typ":"gatewright/cosigned/v1"}`, changed, base64.StdEncoding.EncodeToString(k.salt))
		try("a change below", at, p.Text())
	}
}

func TestAnExtraLineHasOneSpelling(t *testing.T) {
	k := newProofKit(t)
	good := k.cosigned(t)
	for name, extra := range map[string]string{
		"nothing":          ``,
		"no JSON":          `x`,
		"a list":           `[]`,
		"another type":     strings.Replace(string(good.Extra), "/v1", "/v2", 1),
		"a blank":          string(good.Extra) + " ",
		"one more member":  strings.Replace(string(good.Extra), "{", `{"a":1,`, 1),
		"a doubled member": strings.Replace(string(good.Extra), "{", `{"checkpoints":"",`, 1),
		"a short salt":     strings.Replace(string(good.Extra), base64.StdEncoding.EncodeToString(k.salt), "AAAA", 1),
		"an escape":        strings.Replace(string(good.Extra), "tlog-proof", `tlog\u002dproof`, 1),
	} {
		p := &ledger.Proof{Extra: []byte(extra)}
		if _, _, err := p.Cosigned(); !errors.Is(err, ledger.ErrProof) {
			t.Errorf("%s: %v", name, err)
		}
	}
	nested := *good
	if err := nested.Cosign(k.salt, good); err == nil {
		if _, _, err := nested.Cosigned(); !errors.Is(err, ledger.ErrProof) {
			t.Error("an extra line inside an extra line:", err)
		}
	}
	if err := nested.Cosign(k.salt[1:], good); err == nil {
		t.Error("a short salt is taken")
	}
}

func TestOriginsAreTakenApart(t *testing.T) {
	host, tenant, instance, ok := ledger.ParseOrigin("gate.example:8443/x/ledger/acme/gw-1.2")
	if !ok || host != "gate.example:8443/x" || tenant != "acme" || instance != "gw-1.2" {
		t.Error(host, tenant, instance, ok)
	}
	for _, bad := range []string{"", "/", "a/b", "h/ledger/acme/", "h/ledger//i", "/ledger/acme/i", "h/acme/i", "h/ledger/A/i", "h/xledger/acme/i/j"} {
		if _, _, _, ok := ledger.ParseOrigin(bad); ok {
			t.Errorf("%q is an origin", bad)
		}
	}
}

func FuzzProof(f *testing.F) {
	k := newProofKit(f)
	f.Add(k.plain(f).Text())
	f.Add(k.cosigned(f).Text())
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := ledger.ParseProof(text)
		if err != nil {
			return
		}
		if !bytes.Equal(p.Text(), text) {
			t.Fatalf("two texts of one proof:\n%q\n%q", text, p.Text())
		}
		_, _, _ = p.Cosigned()
		if _, err := p.Verify(merkle.LeafHash([]byte("never logged")), k.keys, ledger.WitnessPolicy{}); err == nil {
			t.Fatal("a forgery verifies")
		}
	})
}
