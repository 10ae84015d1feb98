// Package canon decides which JSON Gatewright reads at all, and gives every accepted document one canonical form.
//
// Two parties that read the same bytes differently are the root of most gateway bypasses: one keeps the first of two
// equal keys and the other the last, one rounds a number the other keeps exactly, one repairs what the other refuses.
// Check therefore accepts only documents that every conforming reader understands alike: RFC 8259 exactly, narrowed by
// I-JSON (RFC 7493):
//
//   - UTF-8 without a byte order mark; no lone surrogates, escaped or raw;
//   - no object with two equal keys, compared after decoding, byte by byte: "a" and "\u0061" are equal, "k" and "K" and
//     U+212A (the Kelvin sign, which some readers fold to k) are three keys;
//   - no number that a reader of IEEE 754 doubles would change: see number.go for the exact rule;
//   - bounded size, depth and number of values.
//
// Noncharacters such as U+FFFF are accepted although RFC 7493 would refuse them: readers do not disagree about them.
//
// AppendCanonical writes the form of RFC 8785. The form of a checked document passes Check again and is its own canonical
// form. Each, EachElement, Get, Unquote and KindOf read documents that Check has accepted, without building a tree.
package canon

import (
	"crypto/sha256"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
)

// Limits bounds a document. A zero or negative limit admits nothing, so that a forgotten one refuses.
type Limits struct {
	// Bytes is the length of the whole text, blanks included; default 1 MiB. At most 1 GiB counts.
	Bytes int
	// Depth is how many objects and arrays may enclose each other; default 32. At most 1000 counts, which keeps the
	// recursion below 1 MiB of stack. A scalar needs depth 0.
	Depth int
	// Values is the number of values of any kind, nested ones included; default 100,000. It bounds what readers that build
	// trees have to allocate, and the memory that finding duplicate keys takes (about 40 bytes a key).
	Values int
}

// Hard bounds on Limits: offsets fit 30 bits, and recursion stays far from the stack's end.
const (
	maxBytes = 1 << 30
	maxDepth = 1000
)

// DefaultLimits returns 1 MiB, depth 32, 100,000 values: far above any tool call seen, far below what hurts.
func DefaultLimits() Limits { return Limits{Bytes: 1 << 20, Depth: 32, Values: 100_000} }

// Kind says why a document was refused. The list is closed.
type Kind string

// The kinds of refusal.
const (
	KindSyntax    Kind = "syntax"    // not RFC 8259, or cut short
	KindUTF8      Kind = "utf8"      // bytes that are not UTF-8
	KindSurrogate Kind = "surrogate" // an escaped surrogate without its partner
	KindDuplicate Kind = "duplicate" // an object with two equal keys
	KindNumber    Kind = "number"    // a number that a double does not keep
	KindDepth     Kind = "depth"     // nested deeper than Limits.Depth
	KindSize      Kind = "size"      // longer than Limits.Bytes
	KindValues    Kind = "values"    // more values than Limits.Values
	KindTrailing  Kind = "trailing"  // something follows the document
)

// SyntaxError is what Check returns for a document it refuses. It never quotes the document, which may be secret.
type SyntaxError struct {
	Offset int    // where, in bytes from the start
	Kind   Kind   // why, for programs
	Msg    string // why, for people
}

// Error describes the refusal in one line.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("json: %s at byte %d (%s)", e.Msg, e.Offset, e.Kind)
}

// Check returns nil when b is one document that satisfies the package's rules within l, and a *SyntaxError otherwise. It
// does not allocate unless more than 64 keys are open at once or an object has more than 24.
func Check(b []byte, l Limits) error {
	if len(b) > min(l.Bytes, maxBytes) {
		return &SyntaxError{Offset: len(b), Kind: KindSize, Msg: "document is too long"}
	}
	var inline [inlineKeys]key
	s := scanner{b: b, values: l.Values, depth: min(l.Depth, maxDepth)}
	if !s.document(inline[:0]) {
		e := s.err
		return &e
	}
	return nil
}

// canonical is RFC 8785 in jsontext's words. Duplicate keys need no second search, Check has refused them.
var canonical = []jsontext.Options{
	jsontext.CanonicalizeRawInts(true),
	jsontext.CanonicalizeRawFloats(true),
	jsontext.ReorderRawObjects(true),
	jsontext.AllowDuplicateNames(true),
}

// AppendCanonical checks b and appends its RFC 8785 form to dst. On error dst comes back unchanged. dst and b must not
// overlap.
func AppendCanonical(dst, b []byte, l Limits) ([]byte, error) {
	if err := Check(b, l); err != nil {
		return dst, err
	}
	out, err := jsontext.AppendFormat(dst, b, canonical...)
	if err != nil {
		return dst, fmt.Errorf("canonicalize: %w", err)
	}
	return out, nil
}

// Digest returns the SHA-256 of b's canonical form.
func Digest(b []byte, l Limits) ([32]byte, error) {
	out, err := AppendCanonical(nil, b, l)
	if err != nil {
		return [32]byte{}, err
	}
	return sha256.Sum256(out), nil
}
