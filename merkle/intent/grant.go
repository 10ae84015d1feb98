package intent

import (
	"hash/maphash"
	"slices"
	"strconv"
	"time"

	"github.com/gatewright/gatewright/merkle"
)

// Bearer is who shows a token, as the credential proved it. Tenant, User, Agent and KeyID must equal the
// token's. A token issued to the holder of a key is borne by whoever has the token's Tenant and proved to
// hold that key; the other fields are not compared then.
type Bearer struct {
	Tenant, User, Agent, KeyID string
	Thumbprint                 string // KeyThumbprint of a key the caller proved to hold; "" = none
}

// Request is what is about to be done: the operation, the tool with the schema it has now, and the
// very arguments that will be forwarded, already through the strict gate. nil stands for {}.
type Request struct {
	Op, Server, Tool string
	Schema           merkle.Hash
	Args             []byte
}

// Grant is the proof that a request is a step of a signed plan, made for its bearer. Only this package
// makes one. It says nothing about uses left: the ledger counts those when the call is admitted.
type Grant struct {
	token *Token
	step  *step
	print uint64 // keyed hash of the arguments it was made for
}

// Valid tells whether the grant was made by a Verifier; the zero value was not.
func (g Grant) Valid() bool { return g.token != nil && g.step != nil }

// Step returns the step's index in the plan, -1 for the zero Grant.
func (g Grant) Step() int {
	if !g.Valid() {
		return -1
	}
	return g.step.index
}

// claims returns the token's claims, and zero ones for the zero Grant.
func (g Grant) claims() *Claims {
	if !g.Valid() {
		return new(Claims)
	}
	return &g.token.claims
}

// PlanRoot returns the root the step was proved under, which is the key uses are counted by.
func (g Grant) PlanRoot() merkle.Hash { return g.claims().PlanRoot }

// PlanID returns the plan's id.
func (g Grant) PlanID() string { return g.claims().PlanID }

// PlanSize returns the number of steps of the plan.
func (g Grant) PlanSize() int { return int(g.claims().PlanSize) }

// PlanExpires returns when the plan ends, unix seconds.
func (g Grant) PlanExpires() int64 { return g.claims().PlanExpires }

// TokenID returns the jti of the token shown.
func (g Grant) TokenID() string { return g.claims().ID }

// Expires returns when the token ends, unix seconds.
func (g Grant) Expires() int64 { return g.claims().Expires }

// IssuedUnder returns the digest, in hex, of the policy bundle in force when the token was issued.
func (g Grant) IssuedUnder() string {
	if !g.Valid() {
		return ""
	}
	return g.token.policy
}

// Uses returns how often the step may be taken, 0 = without limit. The zero Grant's answer means
// nothing: ask Valid first.
func (g Grant) Uses() uint32 {
	if !g.Valid() {
		return 0
	}
	return g.step.uses
}

// After returns the steps that must be done before; it must not be changed.
func (g Grant) After() []int {
	if !g.Valid() {
		return nil
	}
	return g.step.after
}

// Local tells whether the plan, held here, marks the step as enforceable but never to be forwarded.
func (g Grant) Local() bool { return g.Valid() && g.step.local }

// Covers tells whether the grant also holds for arguments a filter has rewritten: they must satisfy
// the step's constraint everywhere but at the pointers the plan marks redactable. args has passed the
// strict gate; nil stands for {}.
func (g Grant) Covers(args []byte) error {
	if !g.Valid() {
		return refuse(GrantInvalid, "no grant was made", "")
	}
	if g.token.by.print(args) == g.print {
		return nil // the very bytes that were granted
	}
	a := takeArguments(args)
	defer a.release()
	if m := g.step.args.match(a, true); !m.fits() {
		return m.refusal()
	}
	return nil
}

func (v *Verifier) print(args []byte) uint64 { return maphash.Bytes(v.seed, args) }

// Bears returns nil when the token holds now and who is its bearer. It grants nothing.
func (v *Verifier) Bears(t *Token, who Bearer, now time.Time) error { return v.admit(t, &who, now) }

// admit checks all that does not depend on the step.
func (v *Verifier) admit(t *Token, who *Bearer, now time.Time) error {
	if t == nil || t.by != v {
		return refuse(TokenMalformed, "token was not verified here", "")
	}
	if err := t.current(now.Unix()); err != nil {
		return err
	}
	c := &t.claims
	switch {
	case c.Tenant != who.Tenant:
		return refuse(BearerMismatch, "token belongs to another tenant", "")
	case c.Thumbprint != "":
		if c.Thumbprint != who.Thumbprint {
			return refuse(BearerMismatch, "token was issued to the holder of another key", "prove possession of the key it names")
		}
	case c.Agent != who.Agent:
		return refuse(BearerMismatch, "token was issued to another agent", "")
	case c.Subject != who.User:
		return refuse(BearerMismatch, "token was issued for another user", "")
	case c.KeyID != who.KeyID:
		return refuse(BearerMismatch, "token was issued to another key", "ask for a token with the key that will show it")
	}
	return nil
}

// GrantHeld grants the lowest step of a plan the gateway holds that fits the request and has uses
// left. used says how often a step was taken already; nil counts none, and leaves it to the ledger.
func (v *Verifier) GrantHeld(t *Token, who Bearer, req Request, h *Held, used func(index int) uint32, now time.Time) (Grant, error) {
	if err := v.admitHeld(t, &who, h, now); err != nil {
		return Grant{}, err
	}
	s, err := h.find(&req, t.claims.Steps, used)
	if err != nil {
		return Grant{}, err
	}
	return Grant{token: t, step: s, print: v.print(req.Args)}, nil
}

// GrantStep grants the step at index of a held plan, for callers that name their step without a proof.
func (v *Verifier) GrantStep(t *Token, who Bearer, req Request, h *Held, index int, now time.Time) (Grant, error) {
	if err := v.admitHeld(t, &who, h, now); err != nil {
		return Grant{}, err
	}
	if index < 0 || index >= len(h.steps) {
		return Grant{}, errIndex(index)
	}
	if !t.claims.covers(index) {
		return Grant{}, errCover(index)
	}
	if err := h.steps[index].fits(&req); err != nil {
		return Grant{}, err
	}
	return Grant{token: t, step: &h.steps[index], print: v.print(req.Args)}, nil
}

func (v *Verifier) admitHeld(t *Token, who *Bearer, h *Held, now time.Time) error {
	if err := v.admit(t, who, now); err != nil {
		return err
	}
	c := &t.claims
	if h == nil || c.PlanRoot != h.root || c.PlanHash != h.hash || int(c.PlanSize) != len(h.steps) {
		return refuse(PlanMismatch, "token is for another plan", "")
	}
	if h.plan.Tenant != c.Tenant || h.plan.Agent != c.Agent || h.plan.User != c.Subject {
		return refuse(PlanMismatch, "plan was captured by somebody else", "")
	}
	return nil
}

// Leaf reads the base64url text of an explicit step. Leaves that were proved before come from a
// bounded cache. text is not kept.
func (v *Verifier) Leaf(text []byte) (*Leaf, error) {
	if l := v.leaves.get(text); l != nil {
		return l, nil
	}
	return parseLeafText(text)
}

// GrantLeaf grants an explicit step: its leaf must lead to the token's root by a proof of exactly the
// length the token's size demands, and the request must fit it.
func (v *Verifier) GrantLeaf(t *Token, who Bearer, req Request, l *Leaf, proof []merkle.Hash, now time.Time) (Grant, error) {
	if err := v.admit(t, &who, now); err != nil {
		return Grant{}, err
	}
	if l == nil {
		return Grant{}, refuse(StepUnknown, "no step was shown", "")
	}
	if err := t.claims.proves(l, proof); err != nil {
		return Grant{}, err
	}
	if !t.claims.covers(l.step.index) {
		return Grant{}, errCover(l.step.index)
	}
	if err := l.step.fits(&req); err != nil {
		return Grant{}, err
	}
	if !l.held && l.text != nil {
		known := *l
		known.held, known.root, known.proof = true, t.claims.PlanRoot, slices.Clone(proof)
		v.leaves.put(l.text, &known)
	}
	return Grant{token: t, step: &l.step, print: v.print(req.Args)}, nil
}

// proves follows the proof from the leaf to the token's root.
func (c *Claims) proves(l *Leaf, proof []merkle.Hash) error {
	index, size := uint64(l.step.index), uint64(c.PlanSize) //nolint:gosec // never negative
	switch {
	case l.nonce != c.PlanNonce || l.count != int(c.PlanSize):
		return refuse(PlanMismatch, "step is of another plan than the token", "")
	case index >= size:
		return errIndex(l.step.index)
	case len(proof) != merkle.InclusionLength(index, size):
		return refuse(ProofLength, "proof has "+strconv.Itoa(len(proof))+" hashes where the plan's size demands "+strconv.Itoa(merkle.InclusionLength(index, size)), "")
	case l.held && l.root == c.PlanRoot && slices.Equal(l.proof, proof): // followed before
	case merkle.VerifyInclusion(l.hash, index, size, proof, c.PlanRoot) != nil:
		return refuse(ProofMismatch, "proof does not lead to the token's plan", "")
	}
	return nil
}

func errIndex(index int) error {
	return refuse(StepUnknown, "the plan has no step "+strconv.Itoa(index), "steps count from 0")
}

func errCover(index int) error {
	return refuse(StepUnknown, "the token does not cover step "+strconv.Itoa(index), "it was derived for other steps of the plan")
}

// Grant is GrantLeaf for a step at hand: the leaf is built from the step, its index and the token's
// own nonce and size. It compiles the step anew each time; callers with a leaf's text use Leaf.
func (v *Verifier) Grant(t *Token, who Bearer, req Request, s *Step, index int, proof []merkle.Hash, now time.Time) (Grant, error) {
	if err := v.admit(t, &who, now); err != nil {
		return Grant{}, err
	}
	c := &t.claims
	if s == nil || index < 0 || index >= int(c.PlanSize) {
		return Grant{}, errIndex(index)
	}
	raw, err := s.appendLeaf(nil, c.PlanNonce, index, int(c.PlanSize))
	if err != nil {
		return Grant{}, refuse(LeafMalformed, err.Error(), "")
	}
	if err := s.check(index, newPatterns()); err != nil {
		return Grant{}, refuse(LeafMalformed, err.Error(), "")
	}
	compiled, err := compileStep(s, index, "", newPatterns())
	if err != nil {
		return Grant{}, refuse(LeafMalformed, err.Error(), "")
	}
	l := &Leaf{step: compiled, count: int(c.PlanSize), nonce: c.PlanNonce, hash: merkle.LeafHash(raw)}
	return v.GrantLeaf(t, who, req, l, proof, now)
}
