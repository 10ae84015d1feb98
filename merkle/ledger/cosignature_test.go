package ledger_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/mldsa"
)

var noon = time.Unix(1_700_000_000, 0)

func cosigner(t testing.TB, name, seed string) ledger.Cosigner {
	t.Helper()
	c, err := ledger.NewCosigner(name, key(seed))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func postQuantum(t testing.TB, name string, seed byte) mldsa.Cosigner {
	t.Helper()
	c, err := mldsa.NewCosigner(name, bytes.Repeat([]byte{seed}, mldsa.SeedSize))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// noteSigner is what a cosigner of either kind can do.
type noteSigner interface {
	Public() ledger.VerifierKey
	KeyName() string
	KeyHash() uint32
	SignNote(body []byte, at time.Time) ([]byte, error)
}

func checkpoint() ledger.Checkpoint {
	return ledger.Checkpoint{Origin: ledger.Origin("gate.example", "_checkpoints", "gw-1"), Size: 7, Root: merkle.LeafHash(nil)}
}

// cosigned is a checkpoint that the log signed at least once, and these witnesses.
func cosigned(t testing.TB, by ...noteSigner) []byte {
	t.Helper()
	note := logSigned(t)
	for _, c := range by {
		sig, err := c.SignNote(checkpoint().Body(), noon)
		if err != nil {
			t.Fatal(err)
		}
		note = ledger.AppendSignature(note, c.KeyName(), c.KeyHash(), sig)
	}
	return note
}

func logSigned(t testing.TB) []byte {
	t.Helper()
	body := checkpoint().Body()
	s := signer(t, host, key("a"))
	return ledger.AppendSignature(append(body, '\n'), s.Public.Name, s.Public.Hash, ed25519.Sign(s.Private, body))
}

func TestWitnessesAreCountedByName(t *testing.T) {
	a, b, stranger := cosigner(t, "w.example/a", "wa"), cosigner(t, "w.example/b", "wb"), cosigner(t, "w.example/x", "wx")
	second := postQuantum(t, "w.example/a", 1)
	keys := []ledger.VerifierKey{a.Public(), second.Public(), b.Public()}
	for name, c := range map[string]struct {
		note []byte
		need int
		seen []string
	}{
		"both":              {cosigned(t, a, b), 2, []string{"w.example/a", "w.example/b"}},
		"a stranger too":    {cosigned(t, stranger, a, b), 2, []string{"w.example/a", "w.example/b"}},
		"none asked for":    {cosigned(t), 0, nil},
		"the other key":     {cosigned(t, second), 1, []string{"w.example/a"}},
		"two keys, one man": {cosigned(t, a, second), 1, []string{"w.example/a"}},
	} {
		seen, err := ledger.WitnessPolicy{Keys: keys, Need: c.need}.Check(c.note)
		if err != nil || !slices.Equal(seen, c.seen) {
			t.Error(name, seen, err)
		}
	}
	for name, note := range map[string][]byte{
		"one of two":                cosigned(t, a),
		"one witness with two keys": cosigned(t, a, second),
		"one witness twice":         cosigned(t, a, a),
		"a stranger for the other":  cosigned(t, a, stranger),
		"nobody":                    cosigned(t),
	} {
		if _, err := (ledger.WitnessPolicy{Keys: keys, Need: 2}).Check(note); !errors.Is(err, ledger.ErrWitness) {
			t.Error(name, err)
		}
	}
}

// Type 0x04 does not sign the cosigner's name: one key under two names would count as two witnesses.
func TestOneKeyUnderTwoNamesIsRefused(t *testing.T) {
	a, b := cosigner(t, "w.example/a", "wa"), cosigner(t, "w.example/b", "wa")
	pa, pb := postQuantum(t, "w.example/a", 1), postQuantum(t, "w.example/b", 1)
	for _, keys := range [][]ledger.VerifierKey{{a.Public(), b.Public()}, {pa.Public(), a.Public(), pb.Public()}} {
		p := ledger.WitnessPolicy{Keys: keys, Need: 2}
		if seen, err := p.Check(cosigned(t, a, b)); !errors.Is(err, ledger.ErrWitness) {
			t.Error(seen, err)
		}
		if err := p.Validate(); !errors.Is(err, ledger.ErrWitness) {
			t.Error(err)
		}
	}
	if err := (ledger.WitnessPolicy{Keys: []ledger.VerifierKey{a.Public(), a.Public(), pa.Public()}, Need: 1}).Validate(); err != nil {
		t.Error("a key given twice under its one name:", err)
	}
}

func TestAWrongSignatureUnderAKnownKeyRefusesTheNote(t *testing.T) {
	a, b := cosigner(t, "w.example/a", "wa"), postQuantum(t, "w.example/b", 2)
	for _, by := range []noteSigner{a, b} {
		good := cosigned(t, by)
		_, sigs, err := ledger.ReadNote(good)
		if err != nil {
			t.Fatal(err)
		}
		sig := sigs[1].Sig
		for _, i := range []int{0, 7, 8, len(sig) - 1} {
			bad := bytes.Clone(sig)
			bad[i] ^= 1
			note := ledger.AppendSignature(cosigned(t, a, b), by.KeyName(), by.KeyHash(), bad)
			if _, err := (ledger.WitnessPolicy{Keys: []ledger.VerifierKey{a.Public(), b.Public()}}).Check(note); !errors.Is(err, ledger.ErrWitness) {
				t.Errorf("%s: byte %d: %v", by.KeyName(), i, err)
			}
		}
		for _, cut := range []int{1, 7, 8, 9, len(sig) - 1} {
			note := ledger.AppendSignature(logSigned(t), by.KeyName(), by.KeyHash(), sig[:cut])
			if _, err := (ledger.WitnessPolicy{Keys: []ledger.VerifierKey{by.Public()}}).Check(note); !errors.Is(err, ledger.ErrWitness) {
				t.Errorf("%s: cut to %d: %v", by.KeyName(), cut, err)
			}
		}
	}
}

func TestACosignatureWithoutATimeDoesNotCount(t *testing.T) {
	pub := cosigner(t, "w.example/a", "wa").Public()
	body := checkpoint().Body()
	message, err := ledger.CosignedMessage(ledger.KeyCosignature, pub.Name, body, 0)
	if err != nil {
		t.Fatal(err)
	}
	sig := append(make([]byte, 8), ed25519.Sign(key("wa"), message)...)
	note := ledger.AppendSignature(logSigned(t), pub.Name, pub.Hash, sig)
	if seen, err := (ledger.WitnessPolicy{Keys: []ledger.VerifierKey{pub}, Need: 1}).Check(note); !errors.Is(err, ledger.ErrWitness) || len(seen) > 0 {
		t.Fatal(seen, err)
	}
	binary.BigEndian.PutUint64(sig, 1<<63)
	note = ledger.AppendSignature(logSigned(t), pub.Name, pub.Hash, sig)
	if _, err := (ledger.WitnessPolicy{Keys: []ledger.VerifierKey{pub}}).Check(note); !errors.Is(err, ledger.ErrWitness) {
		t.Fatal("a time beyond 63 bits:", err)
	}
	if _, err := cosigner(t, "w.example/a", "wa").SignNote(body, time.Unix(0, 0)); !errors.Is(err, ledger.ErrWitness) {
		t.Fatal("signed without a time:", err)
	}
	if _, err := new(ledger.Cosigner).SignNote(body, noon); !errors.Is(err, ledger.ErrWitness) {
		t.Fatal("the zero cosigner signs:", err)
	}
}

func TestAPolicyThatCannotBeMetOrCheckedIsRefused(t *testing.T) {
	a, pq := cosigner(t, "w.example/a", "wa"), postQuantum(t, "w.example/b", 1)
	blind, err := ledger.ParseWitnessKey(pq.Public().String())
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string]ledger.WitnessPolicy{
		"more than there are": {Keys: []ledger.VerifierKey{a.Public()}, Need: 2},
		"below zero":          {Need: -1},
		"two keys of one":     {Keys: []ledger.VerifierKey{a.Public(), postQuantum(t, a.KeyName(), 3).Public()}, Need: 2},
		"a log's key":         {Keys: []ledger.VerifierKey{signer(t, host, key("a")).Public}, Need: 1},
		"the zero key":        {Keys: []ledger.VerifierKey{{}}, Need: 1},
		"without its scheme":  {Keys: []ledger.VerifierKey{blind}, Need: 1},
	} {
		if _, err := p.Check(cosigned(t, a, pq)); !errors.Is(err, ledger.ErrWitness) {
			t.Error(name, err)
		}
	}
}

// TestNoReceiptIsBelievedUnderAWitnesssKey: whoever mixes the lists up gets refusals, and not new signers.
func TestNoReceiptIsBelievedUnderAWitnesssKey(t *testing.T) {
	for _, typ := range []ledger.KeyType{ledger.KeyCosignature, ledger.KeyMLDSA44} {
		raw := []byte(key("a").Public().(ed25519.PublicKey))
		if typ == ledger.KeyMLDSA44 {
			raw = postQuantum(t, host, 1).Public().Bytes()
		}
		k, err := ledger.NewWitnessKey(host, typ, raw, mldsa.Scheme{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ledger.ParseVerifierKey(k.String()); !errors.Is(err, ledger.ErrKey) {
			t.Error("read as a key for receipts:", err)
		}
		if _, err := ledger.ParseVerifierKeys([]byte(k.String() + "\n")); !errors.Is(err, ledger.ErrKey) {
			t.Error("read as a key file for receipts:", err)
		}
		r := receipt(t, 0, 4)
		r.KeyHash = k.Hash
		if err := r.Verify(ledger.VerifierKeys{k}); !errors.Is(err, ledger.ErrReceipt) {
			t.Error("a receipt verifies under it:", err)
		}
		// The log's own signature, said to be of the witness's key, and a cosignature taken for a checkpoint's.
		body := checkpoint().Body()
		note := ledger.AppendSignature(append(bytes.Clone(body), '\n'), k.Name, k.Hash, ed25519.Sign(key("a"), body))
		if _, err := ledger.OpenCheckpoint(note, ledger.VerifierKeys{k}); !errors.Is(err, ledger.ErrCheckpoint) {
			t.Error("a checkpoint opens under it:", err)
		}
	}
}

func TestKeysOfEveryTypeParseAndPrint(t *testing.T) {
	for _, k := range []ledger.VerifierKey{signer(t, host, key("a")).Public, cosigner(t, "w.example/a", "wa").Public(), postQuantum(t, "w.example/b", 1).Public()} {
		got, err := ledger.ParseKey(k.String(), mldsa.Scheme{})
		if err != nil || got.String() != k.String() || got.Type() != k.Type() || got.Hash != k.Hash {
			t.Errorf("%#02x: %v %v", byte(k.Type()), got, err)
		}
		_, err = mldsa.ParseWitnessKey(k.String())
		if witness := k.Type() != ledger.KeyEd25519; witness != (err == nil) {
			t.Errorf("%#02x as a witness: %v", byte(k.Type()), err)
		}
	}
	text := cosigner(t, "w.example/a", "wa").Public().String()
	raw := func(b ...byte) string { return "w+00000000+" + base64.StdEncoding.EncodeToString(b) }
	for name, s := range map[string]string{
		"wrong hash": strings.Replace(text, text[12:20], "00000000", 1), "another name": "x" + text, "cut": text[:len(text)-4],
		"no type": raw(), "type only": raw(4), "type 0": raw(make([]byte, 33)...), "type 2": raw(append([]byte{2}, make([]byte, 32)...)...),
		"short ML-DSA": raw(append([]byte{6}, make([]byte, 1311)...)...), "line end": text + "\n",
	} {
		if _, err := ledger.ParseWitnessKey(s, mldsa.Scheme{}); !errors.Is(err, ledger.ErrKey) {
			t.Error(name, err)
		}
	}
}

func TestMalformedNotesAreRefused(t *testing.T) {
	good := string(cosigned(t, cosigner(t, "w.example/a", "wa")))
	for name, note := range map[string]string{
		"empty": "", "no signature": string(checkpoint().Body()) + "\n", "no empty line": strings.Replace(good, "\n\n", "\n", 1),
		"cut line": good[:len(good)-1], "a carriage return": strings.Replace(good, "\n", "\r\n", 1), "a tab": strings.Replace(good, "gate", "g\tate", 1),
		"not UTF-8": "\xff" + good, "a hyphen": strings.ReplaceAll(good, "\u2014", "-"), "no base64": good + "\u2014 w !\n", "too short": good + "\u2014 w AAAA\n",
	} {
		if _, _, err := ledger.ReadNote([]byte(note)); !errors.Is(err, ledger.ErrCheckpoint) {
			t.Error(name, err)
		}
	}
}

func FuzzWitnessPolicy(f *testing.F) {
	a := cosigner(f, "w.example/a", "wa")
	f.Add(cosigned(f, a))
	p := ledger.WitnessPolicy{Keys: []ledger.VerifierKey{a.Public()}, Need: 1}
	body := checkpoint().Body()
	f.Fuzz(func(t *testing.T, note []byte) {
		if _, err := p.Check(note); err == nil && !bytes.HasPrefix(note, append(bytes.Clone(body), '\n')) {
			t.Fatalf("a forgery: %q", note)
		}
	})
}

// TestANoteTakesSixteenSignaturesOfTheLargestKind: the note format wants as many read.
func TestANoteTakesSixteenSignaturesOfTheLargestKind(t *testing.T) {
	var by []noteSigner
	var keys []ledger.VerifierKey
	for i := range byte(16) {
		c := postQuantum(t, "w.example/"+string('a'+rune(i)), i)
		by, keys = append(by, c), append(keys, c.Public())
	}
	if seen, err := (ledger.WitnessPolicy{Keys: keys, Need: 16}).Check(cosigned(t, by...)); err != nil || len(seen) != 16 {
		t.Fatal(seen, err)
	}
}
