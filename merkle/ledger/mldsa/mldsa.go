// Package mldsa makes and checks cosignatures of type 0x06: ML-DSA-44 (FIPS 204), as C2SP tlog-cosignature defines them.
// It is the only door to filippo.io/mldsa; package merkle/ledger is handed Scheme and stays on the standard library.
package mldsa

import (
	"encoding/binary"
	"fmt"
	"time"

	"filippo.io/mldsa"

	"github.com/gatewright/gatewright/merkle/ledger"
)

// SeedSize is the length of a private key in bytes: the seed it is made from.
const SeedSize = mldsa.PrivateKeySize

// Scheme checks ML-DSA-44 signatures with an empty context.
type Scheme struct{}

var _ ledger.Scheme = Scheme{}

// KeyType is 0x06.
func (Scheme) KeyType() ledger.KeyType { return ledger.KeyMLDSA44 }

// Verify reports whether key made sig over message.
func (Scheme) Verify(key, message, sig []byte) bool {
	pub, err := mldsa.NewPublicKey(mldsa.MLDSA44(), key)
	return err == nil && mldsa.Verify(pub, message, sig, nil) == nil
}

// ParseWitnessKey reads the key text of a witness of either type, 0x04 or 0x06.
func ParseWitnessKey(text string) (ledger.VerifierKey, error) {
	return ledger.ParseWitnessKey(text, Scheme{})
}

// Cosigner is a witness's, or a log's, ML-DSA-44 key. The zero value signs nothing.
type Cosigner struct {
	public  ledger.VerifierKey
	private *mldsa.PrivateKey
}

// NewCosigner makes the key of a seed of SeedSize bytes, under a name.
func NewCosigner(name string, seed []byte) (Cosigner, error) {
	private, err := mldsa.NewPrivateKey(mldsa.MLDSA44(), seed)
	if err != nil {
		return Cosigner{}, fmt.Errorf("%w: ML-DSA-44 seed: %w", ledger.ErrKey, err)
	}
	public, err := ledger.NewWitnessKey(name, ledger.KeyMLDSA44, private.PublicKey().Bytes(), Scheme{})
	return Cosigner{public: public, private: private}, err
}

// Public is the key under which the cosignatures verify.
func (c Cosigner) Public() ledger.VerifierKey { return c.public }

// KeyName is the name in the signature line.
func (c Cosigner) KeyName() string { return c.public.Name }

// KeyHash is the key hash in the signature line.
func (c Cosigner) KeyHash() uint32 { return c.public.Hash }

// SignNote signs the tree of a checkpoint's text at a time, in whole seconds after 1970, and returns the bytes after the
// key hash. Extension lines of the checkpoint are not covered.
func (c Cosigner) SignNote(body []byte, at time.Time) ([]byte, error) {
	if c.private == nil || at.Unix() <= 0 {
		return nil, fmt.Errorf("%w: no key or no time to sign with", ledger.ErrWitness)
	}
	sec := uint64(at.Unix()) //nolint:gosec // positive
	message, err := ledger.CosignedMessage(ledger.KeyMLDSA44, c.public.Name, body, sec)
	if err != nil {
		return nil, err
	}
	sig, err := c.private.SignDeterministic(message, nil)
	if err != nil {
		return nil, fmt.Errorf("sign with ML-DSA-44: %w", err)
	}
	return append(binary.BigEndian.AppendUint64(nil, sec), sig...), nil
}
