package vault

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/gatewright/gatewright/store"
)

// keyLen is the length of the KEK and of data keys in bytes: AES-256.
const keyLen = 32

// envelope is a sealed secret as kept. Wrapped and Sealed begin with their nonce.
type envelope struct {
	KEK        []byte // id of the key that Wrapped lies under
	Generation uint64 // grows with every replacement
	Wrapped    []byte // the data key
	Sealed     []byte // the secret
}

func envelopes(table string) store.Table[envelope] {
	return store.Table[envelope]{Name: table, Version: 1}
}

// kek is a key-encryption key ready for use. Its id tells keys apart and gives nothing away.
type kek struct {
	id   string
	aead cipher.AEAD
	key  []byte // kept to wrap it under its successor during a rotation
}

func newKEK(key []byte) (kek, error) {
	if len(key) != keyLen {
		return kek{}, fmt.Errorf("the key-encryption key has %d bytes, want %d: %w", len(key), keyLen, ErrInvalid)
	}
	h := hmac.New(sha256.New, key)
	h.Write([]byte("gatewright/vault/kek/v1"))
	aead, err := newAEAD(key)
	if err != nil {
		return kek{}, err
	}
	return kek{id: string(h.Sum(nil)[:16]), aead: aead, key: append([]byte(nil), key...)}, nil
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("make cipher: %w", err)
	}
	return cipher.NewGCM(block)
}

// seal makes an envelope under a data key of its own.
func (k kek) seal(rand io.Reader, at place, generation uint64, secret []byte) (envelope, error) {
	var data [keyLen]byte
	defer clear(data[:])
	if _, err := io.ReadFull(rand, data[:]); err != nil {
		return envelope{}, fmt.Errorf("make a data key: %w", err)
	}
	aead, err := newAEAD(data[:])
	if err != nil {
		return envelope{}, err
	}
	e := envelope{KEK: []byte(k.id), Generation: generation}
	if e.Sealed, err = sealUnder(aead, rand, secret, bound("secret", at, generation)); err != nil {
		return envelope{}, err
	}
	e.Wrapped, err = sealUnder(k.aead, rand, data[:], bound("key", at, generation))
	return e, err
}

// sealed is a secret still sealed, beside the data key that opens it.
type sealed struct {
	aead       cipher.AEAD
	bytes, aad []byte
}

// sealed unwraps the data key of an envelope.
func (k kek) sealed(at place, e envelope) (sealed, error) {
	data, err := k.unwrap(at, e)
	if err != nil {
		return sealed{}, err
	}
	defer clear(data)
	aead, err := newAEAD(data)
	return sealed{aead, e.Sealed, bound("secret", at, e.Generation)}, err
}

// open gives back the secret; the caller zeroes it.
func (k kek) open(at place, e envelope) ([]byte, error) {
	s, err := k.sealed(at, e)
	if err != nil {
		return nil, err
	}
	return openUnder(s.aead, s.bytes, s.aad)
}

func (k kek) unwrap(at place, e envelope) ([]byte, error) {
	if string(e.KEK) != k.id {
		return nil, ErrWrongKEK
	}
	data, err := openUnder(k.aead, e.Wrapped, bound("key", at, e.Generation))
	if err == nil && len(data) != keyLen {
		clear(data)
		return nil, ErrDamaged
	}
	return data, err
}

// rewrap moves the data key of an envelope under another KEK.
func (k kek) rewrap(rand io.Reader, to kek, at place, e envelope) (envelope, error) {
	data, err := k.unwrap(at, e)
	if err != nil {
		return e, err
	}
	defer clear(data)
	e.KEK = []byte(to.id)
	e.Wrapped, err = sealUnder(to.aead, rand, data, bound("key", at, e.Generation))
	return e, err
}

// sealUnder draws a random nonce of 96 bit. A data key seals once and a KEK a few thousand times, far from the 2^32 of
// NIST SP 800-38D, 8.3.
func sealUnder(aead cipher.AEAD, rand io.Reader, plain, aad []byte) ([]byte, error) {
	out := make([]byte, aead.NonceSize(), aead.NonceSize()+len(plain)+aead.Overhead())
	if _, err := io.ReadFull(rand, out); err != nil {
		return nil, fmt.Errorf("make a nonce: %w", err)
	}
	return aead.Seal(out, out, plain, aad), nil
}

func openUnder(aead cipher.AEAD, sealed, aad []byte) ([]byte, error) {
	n := aead.NonceSize()
	if len(sealed) < n {
		return nil, ErrDamaged
	}
	plain, err := aead.Open(nil, sealed[:n], sealed[n:], aad)
	if err != nil {
		return nil, ErrDamaged
	}
	return plain, nil
}

// bound is the associated data: each part with its length, so that no two places spell the same.
func bound(use string, at place, generation uint64) []byte {
	aad := []byte("gatewright/vault/v1")
	for _, part := range []string{use, at.tenant, at.table, at.name} {
		aad = binary.BigEndian.AppendUint32(aad, uint32(len(part)))
		aad = append(aad, part...)
	}
	return binary.BigEndian.AppendUint64(aad, generation)
}
