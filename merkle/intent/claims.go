package intent

import (
	"bytes"
	"math"
	"slices"
	"strconv"
	"sync"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/canon"
)

// maxParents bounds how often a token may be derived from another.
const maxParents = 8

// Claims is what a token says. All are required but those said to be optional; times are unix seconds.
type Claims struct {
	Issuer       string      // iss
	Subject      string      // sub, the user
	Audience     string      // aud, one string
	ID           string      // jti
	Tenant       string      // tenant
	Agent        string      // agent
	KeyID        string      // cnf.kid, the credential that asked for the token and alone may show it
	Thumbprint   string      // cnf.jkt in its place: the Ed25519 key whose holder may show it, see KeyThumbprint
	PlanID       string      // plan_id
	PlanNonce    string      // plan_nonce, ties leaves shown with a proof to the plan
	PlanHash     merkle.Hash // plan_hash
	PlanRoot     merkle.Hash // plan_root
	PolicyDigest merkle.Hash // policy, the bundle in force at issue; recorded, never enforced here
	PlanSize     uint32      // plan_size
	IssuedAt     int64       // iat
	NotBefore    int64       // nbf
	Expires      int64       // exp
	PlanExpires  int64       // plan_exp

	Steps   []uint32 // steps, optional: the only steps the token covers, ascending; nil covers all
	Parents []string // parents, optional: ids of the tokens it was derived from, eldest first, at most 8; each one's revocation revokes it
	Alone   bool     // alone, optional: it may be shown as the only credential
}

// clone returns a copy that shares no memory that can be changed.
func (c *Claims) clone() Claims {
	out := *c
	out.Steps, out.Parents = slices.Clone(c.Steps), slices.Clone(c.Parents)
	return out
}

// covers tells whether the token is good for the step at index, which is one of the plan's.
func (c *Claims) covers(index int) bool { return c.Steps == nil || coversStep(c.Steps, index) }

func coversStep(steps []uint32, index int) bool {
	_, ok := slices.BinarySearch(steps, uint32(index)) //nolint:gosec // an index of a plan, below MaxSteps
	return ok
}

// appendJSON writes the claims in canonical order.
func (c *Claims) appendJSON(dst []byte) []byte {
	number := func(key string, n int64) {
		dst = strconv.AppendInt(append(dst, key...), n, 10)
	}
	dst = appendField(append(dst, '{'), "agent", c.Agent)
	if c.Alone {
		dst = append(dst, `,"alone":true`...)
	}
	dst = appendField(dst, ",aud", c.Audience)
	dst = append(dst, `,"cnf":{`...)
	if c.Thumbprint != "" {
		dst = append(appendField(dst, "jkt", c.Thumbprint), '}')
	} else {
		dst = append(appendField(dst, "kid", c.KeyID), '}')
	}
	number(`,"exp":`, c.Expires)
	number(`,"iat":`, c.IssuedAt)
	dst = appendField(dst, ",iss", c.Issuer)
	dst = appendField(dst, ",jti", c.ID)
	number(`,"nbf":`, c.NotBefore)
	if c.Parents != nil {
		dst = appendTexts(append(dst, `,"parents":`...), c.Parents)
	}
	number(`,"plan_exp":`, c.PlanExpires)
	dst = appendField(dst, ",plan_hash", c.PlanHash.String())
	dst = appendField(dst, ",plan_id", c.PlanID)
	dst = appendField(dst, ",plan_nonce", c.PlanNonce)
	dst = appendField(dst, ",plan_root", c.PlanRoot.String())
	number(`,"plan_size":`, int64(c.PlanSize))
	dst = appendField(dst, ",policy", c.PolicyDigest.String())
	if c.Steps != nil {
		dst = appendSteps(append(dst, `,"steps":`...), c.Steps)
	}
	dst = appendField(dst, ",sub", c.Subject)
	return append(appendField(dst, ",tenant", c.Tenant), '}')
}

func appendTexts(dst []byte, list []string) []byte {
	dst = append(dst, '[')
	for i, s := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = canon.AppendString(dst, s)
	}
	return append(dst, ']')
}

func appendSteps(dst []byte, steps []uint32) []byte {
	dst = append(dst, '[')
	for i, n := range steps {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendUint(dst, uint64(n), 10)
	}
	return append(dst, ']')
}

// check refuses claims that no token may carry, whoever signs it.
func (c *Claims) check() error {
	for _, s := range [...]string{c.Issuer, c.Subject, c.Audience, c.ID, c.Tenant, c.Agent, c.confirmed(), c.PlanID, c.PlanNonce} {
		if !validName(s, maxText) {
			return refuse(TokenMalformed, "a text claim is empty, longer than 512 bytes or holds control characters", "")
		}
	}
	switch {
	case c.PlanSize == 0 || c.PlanSize > MaxSteps:
		return refuse(TokenMalformed, "plan_size is not 1 to 65536", "")
	case c.PlanRoot.IsZero() || c.PlanHash.IsZero():
		return refuse(TokenMalformed, "plan_root or plan_hash is zero", "")
	case c.IssuedAt <= 0 || c.NotBefore <= 0 || c.Expires > 1<<40:
		return refuse(TokenMalformed, "a time is out of range", "")
	case c.Expires <= c.IssuedAt || c.Expires <= c.NotBefore:
		return refuse(TokenLifetime, "token expires before it is valid", "")
	case c.Expires > c.PlanExpires:
		return refuse(TokenLifetime, "token outlives its plan", "")
	}
	return c.checkOptional()
}

// confirmed returns the one way in which the bearer proves to be the bearer, and "" for none or two.
func (c *Claims) confirmed() string {
	switch {
	case c.Thumbprint == "":
		return c.KeyID
	case c.KeyID == "":
		return c.Thumbprint
	}
	return ""
}

// checkOptional looks at the claims a token may do without.
func (c *Claims) checkOptional() error {
	switch {
	case c.Thumbprint != "" && !validThumbprint(c.Thumbprint):
		return refuse(TokenMalformed, "jkt is not the base64url text of a SHA-256", "")
	case c.Steps != nil && !validSteps(c.Steps, c.PlanSize):
		return refuse(TokenMalformed, "steps are not ascending numbers of steps of the plan, or none", "leave them out to cover all")
	case c.Parents != nil && !c.validParents():
		return refuse(TokenMalformed, "parents are not 1 to 8 different ids of other tokens", "")
	}
	return nil
}

// validSteps: at least one, ascending, below size.
func validSteps(steps []uint32, size uint32) bool {
	for i, n := range steps {
		if n >= size || i > 0 && n <= steps[i-1] {
			return false
		}
	}
	return len(steps) > 0
}

func (c *Claims) validParents() bool {
	for i, p := range c.Parents {
		if !validName(p, maxText) || p == c.ID || slices.Contains(c.Parents[:i], p) {
			return false
		}
	}
	return 0 < len(c.Parents) && len(c.Parents) <= maxParents
}

// claimReader collects the texts of a token in one buffer, so that they cost one allocation.
type claimReader struct {
	claims Claims
	seen   uint32
	buf    [maxToken]byte
	used   int
	texts  [9 + maxParents]struct {
		dst      *string
		from, to int
	}
	count int
}

var claimPool = sync.Pool{New: func() any { return new(claimReader) }}

// The 17 claims that claim lists must stand exactly once; parentsClaim is the bit of texts that need not.
const (
	requiredClaims = 1<<parentsClaim - 1
	parentsClaim   = 17
)

// readClaims reads checked JSON. It believes nothing yet: the signature comes after, because the
// issuer among the claims says which key to ask.
func readClaims(body []byte) (Claims, error) {
	r := claimPool.Get().(*claimReader)
	defer claimPool.Put(r)
	r.claims, r.seen, r.used, r.count = Claims{}, 0, 0, 0
	if canon.KindOf(body) != '{' || canon.Each(body, r.claim) != nil || r.seen&requiredClaims != requiredClaims {
		return Claims{}, refuse(TokenMalformed, "a claim is missing, unknown or of the wrong type", "")
	}
	all := string(r.buf[:r.used])
	for _, t := range r.texts[:r.count] {
		*t.dst = all[t.from:t.to]
	}
	return r.claims, nil
}

var errClaim = refuse(TokenMalformed, "claim is unknown or of the wrong type", "")

func (r *claimReader) claim(key, v []byte) error {
	c := &r.claims
	ok := false
	switch string(key) {
	case "agent":
		ok = r.text(&c.Agent, v, 0)
	case "aud":
		ok = r.text(&c.Audience, v, 1)
	case "cnf":
		ok = r.confirmation(v)
	case "exp":
		ok = r.number(&c.Expires, v, 3)
	case "iat":
		ok = r.number(&c.IssuedAt, v, 4)
	case "iss":
		ok = r.text(&c.Issuer, v, 5)
	case "jti":
		ok = r.text(&c.ID, v, 6)
	case "nbf":
		ok = r.number(&c.NotBefore, v, 7)
	case "plan_exp":
		ok = r.number(&c.PlanExpires, v, 8)
	case "plan_hash":
		ok = r.hash(&c.PlanHash, v, 9)
	case "plan_id":
		ok = r.text(&c.PlanID, v, 10)
	case "plan_nonce":
		ok = r.text(&c.PlanNonce, v, 11)
	case "plan_root":
		ok = r.hash(&c.PlanRoot, v, 12)
	case "plan_size":
		var n int64
		ok = r.number(&n, v, 13) && n <= math.MaxUint32
		c.PlanSize = uint32(n) //nolint:gosec // bounded by the line before
	case "policy":
		ok = r.hash(&c.PolicyDigest, v, 14)
	case "sub":
		ok = r.text(&c.Subject, v, 15)
	case "tenant":
		ok = r.text(&c.Tenant, v, 16)
	default:
		ok = r.optional(string(key), v)
	}
	if !ok {
		return errClaim
	}
	return nil
}

// text notes a string claim; its bytes are decoded when they hold escapes.
func (r *claimReader) text(dst *string, raw []byte, bit int) bool {
	if canon.KindOf(raw) != '"' || r.count == len(r.texts) {
		return false
	}
	n := 0
	if s := raw[1 : len(raw)-1]; bytes.IndexByte(s, '\\') < 0 {
		n = copy(r.buf[r.used:], s)
	} else if decoded, err := canon.Unquote(raw); err == nil {
		n = copy(r.buf[r.used:], decoded)
	}
	t := &r.texts[r.count]
	t.dst, t.from, t.to = dst, r.used, r.used+n
	r.used += n
	r.count++
	r.seen |= 1 << bit
	return true
}

func (r *claimReader) number(dst *int64, raw []byte, bit int) bool {
	n, ok := plainInt(raw)
	*dst = n
	r.seen |= 1 << bit
	return ok
}

func (r *claimReader) hash(dst *merkle.Hash, raw []byte, bit int) bool {
	r.seen |= 1 << bit
	return canon.KindOf(raw) == '"' && dst.UnmarshalText(raw[1:len(raw)-1]) == nil
}

// optional reads a claim that may be absent. An empty one is refused: absence has one spelling, and no
// steps at all must not turn into all steps.
func (r *claimReader) optional(key string, v []byte) bool {
	c := &r.claims
	switch key {
	case "alone":
		c.Alone = string(v) == "true"
		return c.Alone
	case "parents":
		return r.parents(v)
	case "steps":
		var ok bool
		c.Steps, ok = readSteps(v)
		return ok
	}
	return false
}

func (r *claimReader) parents(raw []byte) bool {
	list := make([]string, 0, maxParents) // texts keeps pointers into it
	err := readElements(raw, func(v []byte) bool {
		if len(list) == maxParents {
			return false
		}
		list = list[:len(list)+1]
		return r.text(&list[len(list)-1], v, parentsClaim)
	})
	r.claims.Parents = list
	return err == nil && len(list) > 0
}

// readSteps reads the numbers of a steps claim, which checkOptional puts in relation to the plan.
func readSteps(raw []byte) ([]uint32, bool) {
	var steps []uint32
	err := readElements(raw, func(v []byte) bool {
		n, ok := plainInt(v)
		steps = append(steps, uint32(min(n, math.MaxUint32))) //nolint:gosec // bounded on this line; below MaxSteps later
		return ok && len(steps) <= MaxSteps
	})
	return steps, err == nil && len(steps) > 0
}

// readElements calls fn for each element of an array until it returns false.
func readElements(raw []byte, fn func(v []byte) bool) error {
	return canon.EachElement(raw, func(_ int, v []byte) error {
		if !fn(v) {
			return errClaim
		}
		return nil
	})
}

// confirmation reads {"kid": ...} or {"jkt": ...}, one of the two (RFC 7800, RFC 9449).
func (r *claimReader) confirmation(raw []byte) bool {
	n, dst, text := 0, (*string)(nil), []byte(nil)
	if canon.KindOf(raw) != '{' {
		return false
	}
	err := canon.Each(raw, func(key, v []byte) error {
		n, text = n+1, v
		switch string(key) {
		case "kid":
			dst = &r.claims.KeyID
		case "jkt":
			dst = &r.claims.Thumbprint
		}
		return nil
	})
	return err == nil && n == 1 && dst != nil && r.text(dst, text, 2)
}
