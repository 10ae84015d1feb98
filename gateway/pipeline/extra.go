package pipeline

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// extraNote names in a record what of the client's own _meta goes to the server, by its salted digest: what filters made of it,
// as one object without blanks between its members.
func (c *Call) extraNote(r *ledger.Record) {
	if c.Extra == nil || c.Answer != nil {
		return
	}
	digest := saltedDigest(&c.seal, c.Salt, c.Extra)
	text := append(make([]byte, 0, 80), "with _meta "...)
	note(r, string(hex.AppendEncode(text, digest[:])))
}

// extraDigest is over what of Extra makes two requests the same: all but the trace context, which each try has its own of.
func extraDigest(extra []byte) []byte {
	if extra == nil {
		return nil
	}
	h := sha256.New()
	_ = canon.Each(extra, func(key, value []byte) error { // checked JSON: cannot fail
		switch string(key) {
		case "traceparent", "tracestate", "baggage":
			return nil
		}
		for _, part := range [2][]byte{key, value} {
			n := sha256.Sum256(part)
			h.Write(n[:])
		}
		return nil
	})
	return h.Sum(nil)
}
