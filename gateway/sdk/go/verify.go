package gatewright

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// Everything in this file works offline, for people who have nothing but a file and pinned keys. It hashes the bytes that
// it is given, and never writes a record anew to compare: what was signed is what is read.

// ErrReceipt is under every error about a receipt that does not prove anything.
var ErrReceipt = errors.New("receipt is not verified")

// Keys are the pinned public keys of the gateways whose receipts are believed.
type Keys = ledger.VerifierKeys

// ParseKeys reads a key file: one key a line as name+hash+base64, # starts a comment.
func ParseKeys(file []byte) (Keys, error) {
	keys, err := ledger.ParseVerifierKeys(file)
	if err != nil {
		return nil, fmt.Errorf("read verifier keys: %w", err)
	}
	return keys, nil
}

// Verified is what a receipt proves: the gateway named by Origin signed that this record stands in its
// ledger.
type Verified struct {
	Origin string
	Leaf   []byte // the record, byte for byte as signed
	Record ledger.Record
}

// VerifyReceipt checks a receipt offline. Keys must come from where the receipt does not: pinned at
// installation, never fetched together with it.
func VerifyReceipt(receipt string, keys Keys) (*Verified, error) {
	r, err := ledger.ParseReceipt([]byte(strings.TrimSpace(receipt)))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReceipt, err)
	}
	if err := r.Verify(keys); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReceipt, err)
	}
	rec, err := r.Record()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReceipt, err)
	}
	return &Verified{Origin: r.Origin, Leaf: r.Leaf, Record: rec}, nil
}

// CoversArguments tells whether the record is about exactly these argument bytes, as
// sent (blanks around them aside). The salt is the
// Gatewright-Salt that came with the answer.
func (v *Verified) CoversArguments(salt string, args []byte) bool {
	s, err := base64.RawURLEncoding.Strict().DecodeString(salt)
	if err != nil || len(s) != 16 || v.Record.Request.IsZero() {
		return false
	}
	return merkle.Hash(sha256.Sum256(append(s, bytes.TrimSpace(args)...))) == v.Record.Request
}

// ErrProof is under every error about a log proof that does not prove what is asked.
var ErrProof = errors.New("log proof is not verified")

// Witnesses whose cosignatures a verifier counts are in a policy; package merkle/ledger/mldsa has the scheme for keys of
// type 0x06.
type (
	// WitnessPolicy is k of n witnesses by their pinned keys.
	WitnessPolicy = ledger.WitnessPolicy
	// Scheme checks the signatures of keys that the standard library cannot.
	Scheme = ledger.Scheme
)

// ParseWitnesses reads a file of witnesses' keys, of types 0x04 and 0x06: one a line as name+hash+base64, # starts a
// comment. need is how many of the witnesses must have cosigned, at least one. A key of type 0x06 is refused without its
// scheme.
func ParseWitnesses(file []byte, need int, schemes ...Scheme) (WitnessPolicy, error) {
	p := WitnessPolicy{Need: need}
	n := 0
	for line := range strings.Lines(string(file)) {
		n++
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		k, err := ledger.ParseWitnessKey(line, schemes...)
		if err != nil {
			return WitnessPolicy{}, fmt.Errorf("read witness keys: line %d: %w", n, err)
		}
		p.Keys = append(p.Keys, k)
	}
	if need < 1 {
		return WitnessPolicy{}, fmt.Errorf("read witness keys: %w: %d witnesses prove nothing", ledger.ErrWitness, need)
	}
	if err := p.Validate(); err != nil {
		return WitnessPolicy{}, fmt.Errorf("read witness keys: %w", err)
	}
	return p, nil
}

// Logged is what a log proof proves: the record's bytes stand at Index in the log of Origin, as it was with Size records.
type Logged struct {
	Origin    string // HOST/ledger/TENANT/INSTANCE: whether it is the log that was meant is for the caller to see
	Index     uint64
	Size      uint64
	Root      merkle.Hash
	Witnesses []string // names of the known witnesses that saw it; empty when none was asked for
}

// VerifyProof checks a C2SP tlog-proof offline: a pinned key signed a checkpoint of a log in which exactly these bytes of
// a record stand. It says nothing about whether others were shown another log: VerifyCosigned does.
func VerifyProof(proof, record []byte, keys Keys) (*Logged, error) {
	return verifyProof(proof, record, keys, WitnessPolicy{})
}

// VerifyCosigned checks a tlog-proof as VerifyProof does, and that as many witnesses as the policy wants saw the log, or
// the log of checkpoints that the proof's extra line leads to. A policy that asks for nobody is refused.
func VerifyCosigned(proof, record []byte, keys Keys, witnesses WitnessPolicy) (*Logged, error) {
	if witnesses.Need < 1 {
		return nil, fmt.Errorf("%w: the policy asks for no witness", ErrProof)
	}
	return verifyProof(proof, record, keys, witnesses)
}

func verifyProof(proof, record []byte, keys Keys, witnesses WitnessPolicy) (*Logged, error) {
	if len(record) == 0 {
		return nil, fmt.Errorf("%w: no record", ErrProof)
	}
	p, err := ledger.ParseProof(proof)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProof, err)
	}
	cp, err := p.Verify(merkle.LeafHash(record), keys, witnesses)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProof, err)
	}
	out := &Logged{Origin: cp.Origin, Index: p.Index, Size: cp.Size, Root: cp.Root}
	out.Witnesses, err = seenBy(p, witnesses)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProof, err)
	}
	return out, nil
}

// seenBy names the witnesses of a proof that was verified.
func seenBy(p *ledger.Proof, witnesses WitnessPolicy) ([]string, error) {
	if witnesses.Need == 0 {
		return nil, nil
	}
	if seen, err := witnesses.Check(p.Checkpoint); err == nil {
		return seen, nil
	}
	_, inner, err := p.Cosigned()
	if err != nil {
		return nil, err
	}
	return witnesses.Check(inner.Checkpoint)
}

// InLog checks that the record of a verified receipt stands in the ledger that it names: the proof is of the tenant's log
// at the instance that signed the receipt. With a policy that asks for nobody, witnesses are not looked for.
func (v *Verified) InLog(proof []byte, keys Keys, witnesses WitnessPolicy) (*Logged, error) {
	logged, err := verifyProof(proof, v.Leaf, keys, witnesses)
	if err != nil {
		return nil, err
	}
	_, tenant, _, ok := ledger.ParseOrigin(logged.Origin)
	if !ok || !ledger.SignsFor(v.Origin, logged.Origin) || tenant != v.Record.Tenant {
		return nil, fmt.Errorf("%w: %q is not the log of this receipt", ErrProof, logged.Origin)
	}
	return logged, nil
}
