package gatewright

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
)

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

// About is what a gateway says of itself to anybody.
type About struct {
	Version string `json:"version"`
	// LedgerKeys sign its receipts and checkpoints. Danger: a key fetched from the gateway proves only
	// that the same gateway made both; pin keys got another way.
	LedgerKeys []string `json:"ledger_keys"`
	JWKS       string   `json:"jwks_uri"`
}

// About asks the gateway for its version and public keys.
func (c *Client) About(ctx context.Context) (*About, error) {
	a := &About{}
	if _, err := c.end.do(ctx, http.MethodGet, "/.well-known/gatewright", nil, a); err != nil {
		return nil, err
	}
	return a, nil
}
