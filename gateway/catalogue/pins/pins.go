// Package pins holds tool definitions to what people approved. A definition is what an agent's model reads and believes: one
// that a server swaps after it was looked at (a rug pull) steers agents without touching a byte of any call.
//
// This package says what a definition's pin is, what in a definition hides from a reader, which names look alike, how two
// definitions differ, and keeps the decisions about them. Who may decide and what a quarantined tool means is its users'.
package pins

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/canon"
)

// Members are what of a definition is pinned, in the order of the canonical form: all that a model is shown and all that
// judges a call. Icons and _meta are not among them.
func Members() []string {
	return []string{"annotations", "description", "inputSchema", "name", "outputSchema", "title"}
}

// domain keeps a pin from being the digest of anything else. It is part of the file format.
const domain = "gatewright tool-pin/v1\n"

// Canonical is the RFC 8785 form of a definition's pinned members. Absent members stay absent: null is another definition.
func Canonical(definition []byte, l canon.Limits) ([]byte, error) {
	if err := canon.Check(definition, l); err != nil {
		return nil, fmt.Errorf("read definition: %w", err)
	}
	if canon.KindOf(definition) != '{' {
		return nil, errNotObject
	}
	b := []byte{'{'}
	for _, name := range Members() {
		v, ok := canon.Get(definition, name)
		if !ok {
			continue
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(canon.AppendString(b, name), ':')
		b = append(b, v...)
	}
	l.Bytes += len(b) // it is the definition without its blanks and other members, or a little more
	out, err := canon.AppendCanonical(nil, append(b, '}'), l)
	if err != nil {
		return nil, fmt.Errorf("canonical definition: %w", err)
	}
	return out, nil
}

var errNotObject = errors.New("read definition: it is not an object")

// Digest is the pin of a definition in its canonical form: SHA-256 of "gatewright tool-pin/v1", a line feed, and the form.
func Digest(canonical []byte) merkle.Hash {
	h := sha256.New()
	_, _ = h.Write([]byte(domain))
	_, _ = h.Write(canonical)
	return merkle.Hash(h.Sum(nil))
}
