package ledger_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
)

const host = "gate.example/ledger/_instance/gw-1"

func key(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func signer(t testing.TB, name string, k ed25519.PrivateKey) ledger.Signer {
	t.Helper()
	s, err := ledger.NewSigner(name, k)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func leafOf(i int) []byte {
	r := sample()
	r.Status = 200 + i
	return r.AppendJSON(nil)
}

// receipt is the receipt of record i in a batch of n.
func receipt(t testing.TB, i, n int) *ledger.Receipt {
	t.Helper()
	s := signer(t, host, key("a"))
	var leaves []merkle.Hash
	for j := range n {
		leaves = append(leaves, merkle.LeafHash(leafOf(j)))
	}
	tree := merkle.NewTree(leaves)
	r := &ledger.Receipt{Origin: host, KeyHash: s.Public.Hash, Index: uint32(i), Size: uint32(n), Leaf: leafOf(i)}
	r.Proof = tree.AppendInclusion(nil, uint64(i))
	msg := ledger.AppendReceiptMessage(nil, host, r.Size, tree.Root())
	copy(r.Signature[:], ed25519.Sign(s.Private, msg))
	return r
}

func keys(t testing.TB) ledger.VerifierKeys {
	return ledger.VerifierKeys{signer(t, host, key("a")).Public}
}

func check(text []byte, ks ledger.VerifierKeys) error {
	r, err := ledger.ParseReceipt(text)
	if err != nil {
		return err
	}
	return r.Verify(ks)
}

func TestAReceiptFailsAfterAnyChangeOfOneByte(t *testing.T) {
	for _, at := range [][2]int{{0, 1}, {40, 64}} {
		r, ks := receipt(t, at[0], at[1]), keys(t)
		text := r.AppendText(nil)
		if err := check(text, ks); err != nil {
			t.Fatal(at, err)
		}
		raw, err := r.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range raw {
			flip := byte(1) << (i % 8)
			raw[i] ^= flip
			if check(ledger.AppendReceiptText(nil, raw), ks) == nil {
				t.Fatalf("%v: byte %d of %d is not covered", at, i, len(raw))
			}
			raw[i] ^= flip
		}
		for i := range raw {
			if check(ledger.AppendReceiptText(nil, raw[:i]), ks) == nil {
				t.Fatal("cut at", i)
			}
		}
		for i := range text {
			old := text[i]
			text[i] = "A_\n="[i%4]
			if text[i] != old && check(text, ks) == nil {
				t.Fatalf("%v: character %d may be %q", at, i, text[i])
			}
			text[i] = old
		}
	}
}

func TestAReceiptHasOneTextOnly(t *testing.T) {
	r, ks := receipt(t, 2, 5), keys(t)
	for cut := range 3 { // so that the last character carries 6, 4 and 2 bits
		r.Leaf = r.Leaf[:len(r.Leaf)-min(cut, 1)]
		text := r.AppendText(nil)
		if _, err := ledger.ParseReceipt(text); err != nil {
			t.Fatal(err)
		}
		for i := range len(text) + 1 {
			for _, c := range "\r\n= " {
				longer := string(text[:i]) + string(c) + string(text[i:])
				if _, err := ledger.ParseReceipt([]byte(longer)); err == nil {
					t.Fatalf("%q may be put in at %d", c, i)
				}
			}
		}
		last := len(text) - 1
		for c := range 256 {
			other := append(text[:last:last], byte(c))
			if got, err := ledger.ParseReceipt(other); err == nil && byte(c) != text[last] {
				if again := got.AppendText(nil); !bytes.Equal(again, other) || got.Verify(ks) == nil {
					t.Fatalf("it may end in %#x", c)
				}
			}
		}
	}
}

func TestAReceiptOfAnotherSizeOrPlaceIsRefused(t *testing.T) {
	ks := keys(t)
	for n := 1; n <= 9; n++ {
		for i := range n {
			r := receipt(t, i, n)
			for size := range uint32(20) {
				for index := range uint32(20) {
					r.Index, r.Size = index, size
					if got, want := r.Verify(ks) == nil, int(index) == i && int(size) == n; got != want {
						t.Fatalf("record %d of %d verifies as %d of %d", i, n, index, size)
					}
				}
			}
		}
	}
}

func TestAReceiptOfAKeyThatIsNotPinnedIsRefused(t *testing.T) {
	r := receipt(t, 1, 5)
	for name, ks := range map[string]ledger.VerifierKeys{
		"no key":      nil,
		"zero key":    {{}},
		"another key": {signer(t, host, key("b")).Public},
		"other name":  {signer(t, "other.example/ledger/_instance/gw-1", key("a")).Public},
		"hash forged": {{Name: host, Hash: keys(t)[0].Hash, Key: signer(t, host, key("b")).Public.Key}},
	} {
		if err := r.Verify(ks); !errors.Is(err, ledger.ErrReceipt) {
			t.Error(name, err)
		}
	}
	if err := new(ledger.Receipt).Verify(keys(t)); err == nil {
		t.Error("the zero receipt verifies")
	}
}

func TestAnInnerNodeIsNoRecord(t *testing.T) {
	// Two records' hashes, put together as the tree does, must not pass as a record of their own.
	r := receipt(t, 0, 4)
	a, b := merkle.LeafHash(leafOf(0)), merkle.LeafHash(leafOf(1))
	r.Leaf = append(append([]byte{1}, a[:]...), b[:]...)
	r.Proof = r.Proof[1:]
	for size := range uint32(8) {
		r.Size, r.Index = size, 0
		if r.Verify(keys(t)) == nil {
			t.Fatal("size", size)
		}
	}
}

func TestHugeReceiptsAreRefused(t *testing.T) {
	if _, err := ledger.ParseReceipt(bytes.Repeat([]byte("A"), 1<<20)); !errors.Is(err, ledger.ErrReceipt) {
		t.Fatal(err)
	}
	r := receipt(t, 0, 1)
	r.Leaf = make([]byte, ledger.MaxLeaf+1)
	if _, err := r.AppendBinary(nil); !errors.Is(err, ledger.ErrReceipt) {
		t.Fatal(err)
	}
}

func TestAReceiptCarriesItsRecord(t *testing.T) {
	parsed, err := ledger.ParseReceipt(receipt(t, 2, 5).AppendText(nil))
	if err != nil {
		t.Fatal(err)
	}
	rec, err := parsed.Record()
	if err != nil || rec.Status != 202 || rec.Tenant != "acme" {
		t.Fatalf("%+v %v", rec, err)
	}
}

func TestKeyTextsAgreeWithTheNotePackage(t *testing.T) {
	s := signer(t, host, key("a"))
	want, err := note.NewEd25519VerifierKey(host, s.Public.Key)
	if err != nil || s.Public.String() != want {
		t.Fatal(s.Public.String(), want, err)
	}
	got, err := ledger.ParseVerifierKeys([]byte("# ours\n\n  " + want + "  \n"))
	if err != nil || len(got) != 1 || got[0].String() != want {
		t.Fatal(got, err)
	}
}

func TestSpoiledKeyFilesAreRefused(t *testing.T) {
	good := signer(t, host, key("a")).Public.String()
	for name, text := range map[string]string{
		"empty":          "",
		"comments only":  "# nothing\n",
		"no hash":        strings.ReplaceAll(good, "+", ""),
		"wrong hash":     strings.Replace(good, good[len(host)+1:len(host)+9], "00000000", 1),
		"another name":   "x" + good,
		"trailing":       good + "AAAA",
		"two on a line":  good + " " + good,
		"space in name":  "a b" + good[len(host):],
		"short key":      host + "+00000000+AQ==",
		"other key type": host + "+00000000+" + base64.StdEncoding.EncodeToString(make([]byte, 33)),
	} {
		if _, err := ledger.ParseVerifierKeys([]byte(text)); !errors.Is(err, ledger.ErrKey) {
			t.Error(name, err)
		}
	}
}

func TestCheckpointsAgreeWithTheNotePackage(t *testing.T) {
	a := signer(t, host, key("a"))
	cp := ledger.Checkpoint{Origin: ledger.Origin("gate.example", "acme", "gw-1"), Size: 7, Root: merkle.LeafHash(nil)}
	signed := sign(t, cp, a, signer(t, "witness.example", key("w")))
	v, err := note.NewVerifier(a.Public.String())
	if err != nil {
		t.Fatal(err)
	}
	n, err := note.Open(signed, note.VerifierList(v))
	if err != nil || n.Text != string(cp.Body()) || len(n.Sigs) != 1 || len(n.UnverifiedSigs) != 1 {
		t.Fatal(n, err)
	}
	got, err := ledger.OpenCheckpoint(signed, keys(t))
	if err != nil || got != cp {
		t.Fatal(got, err)
	}
}

func TestACheckpointFailsAfterAnyChangeOfOneByte(t *testing.T) {
	cp := ledger.Checkpoint{Origin: ledger.Origin("gate.example", "acme", "gw-1"), Size: 700, Root: merkle.LeafHash(nil)}
	signed := sign(t, cp, signer(t, host, key("a")))
	for i := range signed {
		for _, b := range []byte("A\r\n 1\x00\xe2") {
			if old := signed[i]; b != old {
				signed[i] = b
				if _, err := ledger.OpenCheckpoint(signed, keys(t)); err == nil {
					t.Fatalf("byte %d may be %#x", i, b)
				}
				signed[i] = old
			}
		}
	}
	for i := range signed {
		if _, err := ledger.OpenCheckpoint(signed[:i], keys(t)); err == nil {
			t.Fatal("cut at", i)
		}
		for _, c := range "\r\n A" {
			longer := string(signed[:i]) + string(c) + string(signed[i:])
			if _, err := ledger.OpenCheckpoint([]byte(longer), keys(t)); err == nil {
				t.Fatalf("%q may be put in at %d", c, i)
			}
		}
	}
	if _, err := ledger.OpenCheckpoint(signed, nil); !errors.Is(err, ledger.ErrCheckpoint) {
		t.Fatal("no key is pinned:", err)
	}
}

func FuzzReceipt(f *testing.F) {
	f.Add(receipt(f, 2, 5).AppendText(nil))
	f.Add(receipt(f, 0, 1).AppendText(nil))
	f.Add([]byte("R1dSAQ"))
	good := receipt(f, 2, 5).AppendText(nil)
	ks := keys(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := ledger.ParseReceipt(text)
		if err != nil {
			return
		}
		if again := r.AppendText(nil); !bytes.Equal(again, text) {
			t.Fatalf("two texts of one receipt:\n%q\n%q", text, again)
		}
		if r.Verify(ks) == nil && !bytes.Equal(text, good) && r.Size != 1 {
			t.Fatal("a forgery verifies")
		}
	})
}

func ExampleParseVerifierKeys() {
	_, err := ledger.ParseVerifierKeys([]byte("# pinned keys, one per line\n"))
	fmt.Println(err)
	// Output: verifier key is not valid: no key in file
}
