// Package intent is what an agent declared it would do, and the proof that a request is part of it.
//
// A Plan is a list of steps: an operation on a tool of a server, with a constraint on its arguments.
// Each step is a leaf of an RFC 6962 tree; a signed Token carries the tree's root and size. Verifier
// turns a token, the caller it was issued to and a request into a Grant, either with an explicit
// inclusion proof (Grant, GrantLeaf) or against a plan the gateway holds (GrantHeld, GrantStep).
// A Grant's zero value refuses; nothing outside this package can make another.
//
// The package is pure: no clock, no disk, no network. Time and randomness come in by argument.
package intent

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/canon"
)

// MaxSteps is the hard bound of a plan's size: its proofs then have at most 16 hashes, which fit a header.
const MaxSteps = 65_536

// Hard bounds of what a plan may hold, whatever the configuration says. Names end up in ledger
// records and headers; the rest bounds what one held plan costs in memory.
const (
	maxName     = 128  // bytes of a server name or an id
	maxTool     = 1024 // bytes of a tool name; resources are named by URI
	maxOp       = 64
	maxAfter    = 256 // predecessors of one step
	maxPointers = 32  // redactable pointers of one step
)

const (
	leafType  = "intent-step/v1"
	planType  = "intent-plan/v1"
	defaultOp = "tools/call"
)

// wholePlan bounds canonicalization of what this package built itself: large enough for MaxSteps
// steps, so that only ParseDraft's own, smaller limits decide what is accepted from outside.
func wholePlan() canon.Limits {
	return canon.Limits{Bytes: 64 << 20, Depth: 64, Values: 16 << 20}
}

// Limits bound a draft before anything is built from it.
type Limits struct {
	Bytes    int // whole draft, bytes
	Depth    int // nesting of JSON
	Values   int // JSON values in the draft
	Steps    int // steps of a plan, at most MaxSteps
	Params   int // constrained parameters of one step
	Enum     int // values of one enum
	Goal     int // bytes of the goal
	Metadata int // bytes of the metadata object
}

// DefaultLimits fit plans an agent really writes, with an order of magnitude to spare.
func DefaultLimits() Limits {
	return Limits{Bytes: 1 << 20, Depth: 32, Values: 100_000, Steps: 1024, Params: 256, Enum: 256, Goal: 8 << 10, Metadata: 64 << 10}
}

// hardLimits are those ParsePlan holds a stored plan to.
func hardLimits() Limits {
	w := wholePlan()
	return Limits{Bytes: w.Bytes, Depth: w.Depth, Values: w.Values, Steps: MaxSteps, Params: 1 << 12, Enum: 1 << 12, Goal: 1 << 20, Metadata: 1 << 20}
}

// Plan is what an agent declared. ParseDraft leaves Tenant, User and Agent empty (they come from the
// caller's credential alone) and every Step's Schema zero (it comes from the catalogue); Seal closes it.
type Plan struct {
	Nonce               string // 16 random bytes, base64url; ties every leaf to this plan
	Tenant, User, Agent string
	Goal                string
	Metadata            json.RawMessage // JSON object or nil
	Steps               []Step
}

// Step is one call the plan allows.
type Step struct {
	Op, Server, Tool string
	Schema           merkle.Hash // SHA-256(JCS(inputSchema)) at capture; zero where no schema is known
	Args             Args
	Uses             uint32 // how often it may be taken; 0 = without limit
	After            []int  // indices of steps that must be done before, ascending, each smaller than its own
	Salt             string // 16 random bytes, base64url: a hidden sibling cannot be guessed from its hash
	Local            bool   // enforceable but never forwarded; in the plan's hash, not in the leaf
}

// Same tells whether two steps allow the same calls as often, wherever they stand in their plans.
func (s *Step) Same(o *Step) bool {
	return s.Op == o.Op && s.Server == o.Server && s.Tool == o.Tool && s.Schema == o.Schema && s.Uses == o.Uses && s.Local == o.Local &&
		bytes.Equal(s.Args.appendJSON(nil), o.Args.appendJSON(nil))
}

// Seal fills the nonce and the salts from random, checks the whole plan and freezes its canonical
// form. A sealed plan is not sealed again: its hashes may already be signed.
func (p *Plan) Seal(random io.Reader) error {
	if p.Nonce != "" {
		return invalid("/nonce", "plan is sealed already", "")
	}
	nonce, err := randomText(random)
	if err != nil {
		return fmt.Errorf("seal plan: %w", err)
	}
	for i := range p.Steps {
		if p.Steps[i].Salt, err = randomText(random); err != nil {
			return fmt.Errorf("seal plan: %w", err)
		}
	}
	p.Nonce = nonce
	if err := p.check(); err != nil {
		p.Nonce = ""
		return err
	}
	return nil
}

func randomText(random io.Reader) (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", fmt.Errorf("read randomness: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(b[:]), nil
}

// LeafData returns the canonical bytes of step i's leaf, or nil when the plan has no such step or
// holds what cannot be written as canonical JSON.
func (p *Plan) LeafData(i int) []byte {
	if i < 0 || i >= len(p.Steps) {
		return nil
	}
	leaf, err := p.Steps[i].appendLeaf(nil, p.Nonce, i, len(p.Steps))
	if err != nil {
		return nil
	}
	return leaf
}

// Tree returns the plan's RFC 6962 tree over LeafData of every step.
func (p *Plan) Tree() *merkle.Tree {
	leaves := make([]merkle.Hash, len(p.Steps))
	for i := range p.Steps {
		leaves[i] = merkle.LeafHash(p.LeafData(i))
	}
	return merkle.NewTree(leaves)
}

// Hash is the plan_hash of a token: SHA-256 of AppendJSON. It is zero for a plan that has no canonical form.
func (p *Plan) Hash() merkle.Hash {
	b := p.AppendJSON(nil)
	if len(b) == 0 {
		return merkle.Hash{}
	}
	return sha256.Sum256(b)
}

// AppendJSON appends the whole plan in canonical form (RFC 8785), or nothing when it has none.
func (p *Plan) AppendJSON(dst []byte) []byte {
	raw := append(make([]byte, 0, 512+256*len(p.Steps)), '{')
	raw = appendField(raw, "agent", p.Agent)
	raw = appendField(raw, ",goal", p.Goal)
	if p.Metadata != nil {
		raw = append(append(raw, `,"metadata":`...), p.Metadata...)
	}
	raw = appendField(raw, ",nonce", p.Nonce)
	raw = append(raw, `,"steps":[`...)
	for i := range p.Steps {
		if i > 0 {
			raw = append(raw, ',')
		}
		raw = append(p.Steps[i].appendFields(append(raw, '{')), '}')
	}
	raw = appendField(append(raw, ']'), ",tenant", p.Tenant)
	raw = appendField(raw, ",typ", planType)
	raw = append(appendField(raw, ",user", p.User), '}')
	out, err := canon.AppendCanonical(dst, raw, wholePlan())
	if err != nil {
		return dst
	}
	return out
}

// appendField appends `"key":"value"`, with a comma before it when the key is given with one.
func appendField(dst []byte, key, value string) []byte {
	if key[0] == ',' {
		dst, key = append(dst, ','), key[1:]
	}
	dst = append(append(append(dst, '"'), key...), '"', ':')
	return canon.AppendString(dst, value)
}

// appendFields appends the step's members as they stand in the stored plan, canonical or not.
func (s *Step) appendFields(dst []byte) []byte {
	dst = s.appendShared(dst)
	if s.Local {
		dst = append(dst, `,"local":true`...)
	}
	return dst
}

// appendShared appends the members that plan and leaf have in common.
func (s *Step) appendShared(dst []byte) []byte {
	dst = append(dst, `"after":[`...)
	for i, a := range s.After {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendInt(dst, int64(a), 10)
	}
	dst = append(dst, `],"args":`...)
	dst = s.Args.appendJSON(dst)
	dst = appendField(dst, ",op", s.Op)
	dst = appendField(dst, ",salt", s.Salt)
	dst = appendField(dst, ",schema", s.Schema.String())
	dst = appendField(dst, ",server", s.Server)
	dst = appendField(dst, ",tool", s.Tool)
	dst = append(dst, `,"uses":`...)
	return strconv.AppendUint(dst, uint64(s.Uses), 10)
}

// appendLeaf appends the canonical leaf of the step at index of count under the plan's nonce.
func (s *Step) appendLeaf(dst []byte, nonce string, index, count int) ([]byte, error) {
	raw := s.appendShared(append(make([]byte, 0, 512), '{'))
	raw = append(raw, `,"count":`...)
	raw = strconv.AppendInt(raw, int64(count), 10)
	raw = append(raw, `,"index":`...)
	raw = strconv.AppendInt(raw, int64(index), 10)
	raw = appendField(raw, ",plan", nonce)
	raw = append(appendField(raw, ",typ", leafType), '}')
	out, err := canon.AppendCanonical(dst, raw, wholePlan())
	if err != nil {
		return dst, fmt.Errorf("write leaf %d: %w", index, err)
	}
	return out, nil
}

// check refuses a plan that breaks a rule every plan obeys, whoever built it.
func (p *Plan) check() error {
	if len(p.Steps) == 0 {
		return invalid("/steps", "a plan needs at least one step", "")
	}
	if len(p.Steps) > MaxSteps {
		return invalid("/steps", "more than 65536 steps", "split the plan")
	}
	if p.Metadata != nil && canon.KindOf(p.Metadata) != '{' {
		return invalid("/metadata", "must be an object", "")
	}
	if !validText(p.Goal) {
		return invalid("/goal", "is not valid UTF-8", "")
	}
	pats := newPatterns()
	for i := range p.Steps {
		if err := p.Steps[i].check(i, pats); err != nil {
			return err
		}
	}
	if len(p.AppendJSON(nil)) == 0 {
		return invalid("", "plan has no canonical form", "every constant must be strict I-JSON")
	}
	return nil
}

func (s *Step) check(i int, pats *patterns) error {
	at := "/steps/" + strconv.Itoa(i)
	switch {
	case !validOp(s.Op):
		return invalid(at+"/op", "is not an operation name", `for example "tools/call"`)
	case !validName(s.Server, maxName):
		return invalid(at+"/server", "must be 1 to 128 bytes without control characters", "")
	case !validName(s.Tool, maxTool):
		return invalid(at+"/tool", "must be 1 to 1024 bytes without control characters", "")
	case len(s.After) > maxAfter:
		return invalid(at+"/after", "more than 256 steps", "")
	}
	for k, a := range s.After {
		if a < 0 || a >= i {
			return invalid(at+"/after/"+strconv.Itoa(k), "must be the index of an earlier step", "steps count from 0; order the plan so that what comes first stands first")
		}
		if k > 0 && a <= s.After[k-1] {
			return invalid(at+"/after/"+strconv.Itoa(k), "must ascend without repetition", "")
		}
	}
	return s.Args.check(at, pats)
}

func validOp(op string) bool {
	if op == "" || len(op) > maxOp {
		return false
	}
	for i := range len(op) {
		c := op[i]
		if (c < 'a' || c > 'z') && (i == 0 || (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '/' && c != '_' && c != '.' && c != '-') {
			return false
		}
	}
	return true
}

func validName(s string, limit int) bool {
	if s == "" || len(s) > limit || !utf8.ValidString(s) {
		return false
	}
	for i := range len(s) {
		if s[i] < 0x20 || s[i] == 0x7f {
			return false
		}
	}
	return true
}

func validText(s string) bool { return utf8.ValidString(s) }
