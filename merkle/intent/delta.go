package intent

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/canon"
)

// A delta is a compact JWS like a token, of another typ, so that neither passes for the other. It says
// how authority that was given out changed, and gives none by itself.
const (
	deltaType  = "trust-delta+jwt"
	maxDelta   = 256 << 10 // bytes
	maxRevoked = 4096      // tokens one delta says are revoked
	maxWhy     = 2048      // bytes of a reason
)

// The kinds of deltas.
const (
	DeltaReanchor = "reanchor" // plan From grew into plan To
	DeltaDelegate = "delegate" // token Child was derived from Token for the holder of a key
	DeltaRevoke   = "revoke"   // Token was revoked, and Revoked with it
)

// PlanRef names a plan as tokens do.
type PlanRef struct {
	ID, Nonce  string
	Hash, Root merkle.Hash
	Size       uint32
	Expires    int64 // unix seconds
}

// DeltaClaims is what a delta says. What its kind has no use for must be zero, and is absent.
type DeltaClaims struct {
	Issuer     string // iss; the signer's own
	ID         string // jti
	Kind       string // kind: reanchor, delegate or revoke
	Tenant     string // tenant
	IssuedAt   int64  // iat, unix seconds
	From       PlanRef
	To         PlanRef  // reanchor only
	Token      string   // token: jti of the parent (delegate) or of the token revoked (revoke)
	Child      string   // child: jti of the derived token, delegate only
	Thumbprint string   // jkt: whose holder the child was issued to, delegate only
	Steps      []uint32 // steps the child covers, nil = all; delegate only
	Revoked    []string // revoked: further tokens that fell with Token, revoke only
	Reason     string   // reason, for people; may be empty
}

func (c *DeltaClaims) clone() DeltaClaims {
	out := *c
	out.Steps, out.Revoked = slices.Clone(c.Steps), slices.Clone(c.Revoked)
	return out
}

// Delta is a delta whose signature and issuer were verified by the Verifier that made it. It is immutable.
type Delta struct {
	claims DeltaClaims
	by     *Verifier
	key    pinnedKey
	raw    string
}

// Claims returns a copy of what the delta says.
func (d *Delta) Claims() DeltaClaims { return d.claims.clone() }

// Raw returns the compact JWS.
func (d *Delta) Raw() string { return d.raw }

// MintDelta returns the compact JWS of c. The issuer is the signer's own, whatever c says.
func (s Signer) MintDelta(c DeltaClaims) (string, error) {
	c.Issuer = s.Issuer
	if err := s.check(); err != nil {
		return "", fmt.Errorf("mint delta: %w", err)
	}
	if err := c.check(); err != nil {
		return "", err
	}
	out := s.sign(nil, deltaType, c.appendJSON(nil))
	if len(out) > maxDelta {
		return "", refuse(TokenMalformed, "delta would be longer than 256 KiB", "")
	}
	return string(out), nil
}

// Delta verifies a compact JWS as Token does: strict form, fixed algorithm, pinned issuer and key,
// signature, exact members. A delta has no end of its own. raw is not kept.
func (v *Verifier) Delta(raw []byte) (*Delta, error) {
	b := new(tokenBuffers)
	signed, err := b.open(raw, maxDelta)
	if err != nil {
		return nil, err
	}
	kid, err := readHeader(b.head, deltaType)
	if err != nil {
		return nil, err
	}
	c, err := readDelta(b.body)
	if err != nil {
		return nil, err
	}
	key, err := v.keys.snapshot.Load().find(c.Issuer, kid)
	if err != nil {
		return nil, err
	}
	if !verifySignature(key.key, signed, b.sig) {
		return nil, errSignature()
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	return &Delta{claims: c, by: v, key: key, raw: string(raw)}, nil
}

// appendJSON writes the claims in canonical order.
func (c *DeltaClaims) appendJSON(dst []byte) []byte {
	dst = append(dst, '{')
	if c.Child != "" {
		dst = append(appendField(dst, "child", c.Child), ',')
	}
	dst = c.From.appendJSON(append(dst, `"from":`...))
	dst = strconv.AppendInt(append(dst, `,"iat":`...), c.IssuedAt, 10)
	dst = appendField(dst, ",iss", c.Issuer)
	if c.Thumbprint != "" {
		dst = appendField(dst, ",jkt", c.Thumbprint)
	}
	dst = appendField(dst, ",jti", c.ID)
	dst = appendField(dst, ",kind", c.Kind)
	if c.Reason != "" {
		dst = appendField(dst, ",reason", c.Reason)
	}
	if c.Revoked != nil {
		dst = appendTexts(append(dst, `,"revoked":`...), c.Revoked)
	}
	if c.Steps != nil {
		dst = appendSteps(append(dst, `,"steps":`...), c.Steps)
	}
	dst = appendField(dst, ",tenant", c.Tenant)
	if c.To != (PlanRef{}) {
		dst = c.To.appendJSON(append(dst, `,"to":`...))
	}
	if c.Token != "" {
		dst = appendField(dst, ",token", c.Token)
	}
	return append(dst, '}')
}

func (p *PlanRef) appendJSON(dst []byte) []byte {
	dst = strconv.AppendInt(append(dst, `{"exp":`...), p.Expires, 10)
	dst = appendField(dst, ",hash", p.Hash.String())
	dst = appendField(dst, ",id", p.ID)
	dst = appendField(dst, ",nonce", p.Nonce)
	dst = appendField(dst, ",root", p.Root.String())
	dst = strconv.AppendUint(append(dst, `,"size":`...), uint64(p.Size), 10)
	return append(dst, '}')
}

// check refuses claims that no delta may carry, whoever signs it.
func (c *DeltaClaims) check() error {
	for _, s := range [...]string{c.Issuer, c.ID, c.Tenant} {
		if !validName(s, maxText) {
			return errDelta("iss, jti or tenant is empty, longer than 512 bytes or holds control characters")
		}
	}
	switch {
	case c.IssuedAt <= 0 || c.IssuedAt > 1<<40:
		return errDelta("iat is out of range")
	case len(c.Reason) > maxWhy || !validText(c.Reason):
		return errDelta("reason is longer than 2048 bytes or not UTF-8")
	case !c.From.valid():
		return errDelta("from names no plan")
	}
	return c.checkKind()
}

// checkKind refuses what the delta's kind lacks or has no use for.
func (c *DeltaClaims) checkKind() error {
	token, child := validName(c.Token, maxText), validName(c.Child, maxText)
	bare := c.Child == "" && c.Thumbprint == "" && c.Steps == nil
	switch c.Kind {
	case DeltaReanchor:
		if !bare || c.Token != "" || c.Revoked != nil || !c.To.valid() || c.To.Root == c.From.Root {
			return errDelta("a re-anchoring names the plans it leads from and to, which are two, and no tokens")
		}
	case DeltaDelegate:
		if !token || !child || c.Token == c.Child || !validThumbprint(c.Thumbprint) || c.Revoked != nil || c.To != (PlanRef{}) {
			return errDelta("a delegation names a token, another derived from it, and the key of its holder")
		}
		if c.Steps != nil && !validSteps(c.Steps, c.From.Size) {
			return errDelta("steps are not ascending numbers of steps of the plan, or none")
		}
	case DeltaRevoke:
		if !bare || !token || c.To != (PlanRef{}) || c.Revoked != nil && !validRevoked(c.Revoked) {
			return errDelta("a revocation names the token and those that fell with it")
		}
	default:
		return errDelta("kind is not reanchor, delegate or revoke")
	}
	return nil
}

func (p *PlanRef) valid() bool {
	return validName(p.ID, maxText) && validName(p.Nonce, maxText) && !p.Hash.IsZero() && !p.Root.IsZero() &&
		0 < p.Size && p.Size <= MaxSteps && 0 < p.Expires && p.Expires <= 1<<40
}

func validRevoked(ids []string) bool {
	for _, id := range ids {
		if !validName(id, maxText) {
			return false
		}
	}
	return 0 < len(ids) && len(ids) <= maxRevoked
}

func errDelta(msg string) error { return refuse(TokenMalformed, msg, "") }

// readDelta reads checked JSON, of which nothing is believed yet. Only a canonical delta is read: it has
// one spelling, and what is absent cannot also be empty.
func readDelta(body []byte) (DeltaClaims, error) {
	var c DeltaClaims
	err := canon.Each(body, func(key, v []byte) error {
		if !c.read(string(key), v) {
			return errClaim
		}
		return nil
	})
	if err != nil || !bytes.Equal(c.appendJSON(nil), body) {
		return DeltaClaims{}, errDelta("a member of the delta is unknown, of the wrong type or not in canonical form")
	}
	return c, nil
}

func (c *DeltaClaims) read(key string, v []byte) (ok bool) {
	switch key {
	case "child":
		return textMember(&c.Child, v)
	case "from":
		return c.From.read(v)
	case "iat":
		c.IssuedAt, ok = plainInt(v)
		return ok
	case "iss":
		return textMember(&c.Issuer, v)
	case "jkt":
		return textMember(&c.Thumbprint, v)
	case "jti":
		return textMember(&c.ID, v)
	case "kind":
		return textMember(&c.Kind, v)
	case "reason":
		return textMember(&c.Reason, v)
	case "revoked":
		return readElements(v, func(v []byte) bool {
			var s string
			ok := len(c.Revoked) < maxRevoked && textMember(&s, v)
			c.Revoked = append(c.Revoked, s)
			return ok
		}) == nil
	case "steps":
		c.Steps, ok = readSteps(v)
		return ok
	case "tenant":
		return textMember(&c.Tenant, v)
	case "to":
		return c.To.read(v)
	case "token":
		return textMember(&c.Token, v)
	}
	return false
}

func textMember(dst *string, raw []byte) bool {
	if canon.KindOf(raw) != '"' {
		return false
	}
	s, err := canon.Unquote(raw)
	*dst = s
	return err == nil
}

// read reads a plan's members; valid finds out what is absent.
func (p *PlanRef) read(raw []byte) bool {
	return canon.KindOf(raw) == '{' && canon.Each(raw, func(key, v []byte) error {
		ok := false
		switch string(key) {
		case "exp":
			p.Expires, ok = plainInt(v)
		case "hash":
			ok = readHash(&p.Hash, v)
		case "id":
			ok = textMember(&p.ID, v)
		case "nonce":
			ok = textMember(&p.Nonce, v)
		case "root":
			ok = readHash(&p.Root, v)
		case "size":
			var n int64
			n, ok = plainInt(v)
			ok = ok && n <= math.MaxUint32
			p.Size = uint32(n) //nolint:gosec // bounded by the line before
		}
		if !ok {
			return errClaim
		}
		return nil
	}) == nil
}

func readHash(dst *merkle.Hash, raw []byte) bool {
	return canon.KindOf(raw) == '"' && dst.UnmarshalText(raw[1:len(raw)-1]) == nil
}

// good refuses a delta whose key is not the pinned one any more, and returns the last day of its key.
func (d *Delta) good(pinned *keySet) (notAfter int64, err error) {
	key, err := pinned.find(d.key.issuer, d.key.id)
	if err != nil {
		return 0, err
	}
	if !bytes.Equal(key.key, d.key.key) {
		return 0, errSignature()
	}
	return key.notAfter, nil
}
