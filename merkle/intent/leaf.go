package intent

import (
	"encoding/base64"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/canon"
)

// Bounds of an explicit proof on the wire. Both travel in headers, which servers bound near 16 KiB.
const (
	maxLeafText = 16 << 10
	maxProof    = 16 // hashes: the depth of a tree of MaxSteps leaves
)

// Leaf is one step as its plan's tree holds it, parsed and compiled. It proves nothing until
// Verifier.GrantLeaf has followed its proof to a token's root. It is immutable.
type Leaf struct {
	step  step
	count int
	nonce string
	hash  merkle.Hash
	text  []byte // what it was read from, key of the leaf cache; nil when built here
	held  bool   // stands in the leaf cache already

	// What proved a held leaf: the same root and the same hashes prove it again.
	root  merkle.Hash
	proof []merkle.Hash
}

// Index returns the step's index in its plan, as the leaf claims it.
func (l *Leaf) Index() int { return l.step.index }

// Hash returns the RFC 6962 leaf hash.
func (l *Leaf) Hash() merkle.Hash { return l.hash }

// step is a compiled Step: what every check and every Grant works on. It is immutable, so that
// nothing a caller does to its Plan later changes what was proved.
type step struct {
	op, server, tool string
	schema           merkle.Hash
	args             matcher
	index            int
	uses             uint32
	after            []int
	local            bool
}

func compileStep(s *Step, index int, at string, pats *patterns) (step, error) {
	args, err := compileArgs(&s.Args, at, pats)
	if err != nil {
		return step{}, err
	}
	return step{
		op: s.Op, server: s.Server, tool: s.Tool, schema: s.Schema, args: args, index: index,
		uses: s.Uses, after: append([]int(nil), s.After...), local: s.Local,
	}, nil
}

// ParseLeaf reads the JSON of a leaf, which must be in canonical form with exactly the members of
// intent-step/v1: a leaf that would be written differently has another hash.
func ParseLeaf(b []byte) (s Step, index, count int, nonce string, err error) {
	malformed := func(msg string) (Step, int, int, string, error) {
		return Step{}, 0, 0, "", refuse(LeafMalformed, msg, "send the leaf exactly as the plan's capture returned it")
	}
	if err := canon.Check(b, canon.Limits{Bytes: maxLeafText, Depth: 32, Values: 10_000}); err != nil {
		return malformed("leaf is not strict JSON: " + err.Error())
	}
	typ := ""
	err = members(b, "", func(key string, v []byte, at string) (err error) {
		switch key {
		case "args":
			s.Args, err = parseArgs(v, at, DefaultLimits())
		case "count":
			count, err = readIndex(v, at, MaxSteps)
		case "index":
			index, err = readIndex(v, at, MaxSteps-1)
		case "plan":
			err = readText(&nonce, v, at, maxName)
		case "typ":
			err = readText(&typ, v, at, maxName)
		case "op", "server", "tool", "uses", "after", "salt", "schema":
			err = s.readShared(key, v, at)
		default:
			err = invalid(at, "unknown member", "")
		}
		return err
	})
	if err == nil {
		err = s.check(index, newPatterns())
	}
	if err != nil {
		return malformed(err.Error())
	}
	if typ != leafType || index >= count {
		return malformed("leaf is not of " + leafType + ", or its index is not below its count")
	}
	again, err := s.appendLeaf(nil, nonce, index, count)
	if err != nil || string(again) != string(b) {
		return malformed("leaf is not in canonical form")
	}
	return s, index, count, nonce, nil
}

func readIndex(v []byte, at string, limit int64) (int, error) {
	n, err := readInt(v, at, limit)
	return int(n), err
}

// parseLeafText reads the base64url text of a Gatewright-Step header.
func parseLeafText(text []byte) (*Leaf, error) {
	if len(text) > maxLeafText {
		return nil, refuse(LeafMalformed, "leaf is longer than 16 KiB", "leave the proof out; the gateway holds the plan")
	}
	raw, ok := decodeBase64(nil, text)
	if !ok {
		return nil, refuse(LeafMalformed, "leaf is not base64url without padding", "")
	}
	s, index, count, nonce, err := ParseLeaf(raw)
	if err != nil {
		return nil, err
	}
	compiled, err := compileStep(&s, index, "", newPatterns())
	if err != nil {
		return nil, refuse(LeafMalformed, err.Error(), "")
	}
	return &Leaf{step: compiled, count: count, nonce: nonce, hash: merkle.LeafHash(raw), text: append([]byte(nil), text...)}, nil
}

// EncodeLeaf returns the Gatewright-Step header value for a leaf's JSON.
func EncodeLeaf(leaf []byte) string { return base64.RawURLEncoding.EncodeToString(leaf) }

// EncodeProof returns the Gatewright-Proof header value: base64url of the hashes, siblings from the
// leaf upwards. The proof of a plan of one step is empty.
func EncodeProof(proof []merkle.Hash) string {
	raw := make([]byte, 0, len(proof)*merkle.HashSize)
	for i := range proof {
		raw = append(raw, proof[i][:]...)
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

// AppendProof appends the hashes of a Gatewright-Proof header to dst. Whether their number is the
// right one only the token's size tells.
func AppendProof(dst []merkle.Hash, text []byte) ([]merkle.Hash, error) {
	var buf [maxProof*merkle.HashSize + 3]byte
	if len(text) > base64.RawURLEncoding.EncodedLen(maxProof*merkle.HashSize) {
		return dst, refuse(ProofLength, "proof has more than 16 hashes", "")
	}
	raw, ok := decodeBase64(buf[:0], text)
	if !ok {
		return dst, refuse(ProofMismatch, "proof is not base64url without padding", "")
	}
	if len(raw)%merkle.HashSize != 0 {
		return dst, refuse(ProofLength, "proof is not a whole number of hashes", "")
	}
	for len(raw) > 0 {
		dst = append(dst, merkle.Hash(raw))
		raw = raw[merkle.HashSize:]
	}
	return dst, nil
}

// decodeBase64 appends what unpadded base64url text stands for. Unlike encoding/base64 it refuses
// line breaks; stray bits after the last byte are refused as well, so a value has one spelling.
func decodeBase64(dst, text []byte) ([]byte, bool) {
	for _, c := range text {
		if c == '\n' || c == '\r' {
			return dst, false
		}
	}
	out, err := base64.RawURLEncoding.Strict().AppendDecode(dst, text)
	if err != nil {
		return dst, false
	}
	return out, true
}
