package gatewright

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/intent"
)

// Client is an agent's view of a gateway.
type Client struct{ end *endpoint }

// New makes a client of the data port. It sends nothing yet.
func New(c Config) (*Client, error) {
	e, err := newEndpoint(c)
	if err != nil {
		return nil, err
	}
	return &Client{end: e}, nil
}

// Plan is a captured plan as the gateway answers it.
type Plan struct {
	ID      string      `json:"id"`
	Root    merkle.Hash `json:"root"` // of the Merkle tree over its steps
	Hash    merkle.Hash `json:"hash"` // of the whole plan in canonical form
	Size    int         `json:"size"` // number of steps
	State   string      `json:"state"`
	Expires Moment      `json:"expires"`
	Steps   []Step      `json:"steps"`
	// Document is the sealed plan in canonical form. With it a client checks what was captured and proves
	// its own steps.
	Document json.RawMessage `json:"plan"`
}

// Step is one step of a captured plan.
type Step struct {
	Index  int             `json:"index"`
	Op     string          `json:"op"`
	Server string          `json:"server"`
	Tool   string          `json:"tool"`
	Args   json.RawMessage `json:"args"` // the constraint
	Uses   uint32          `json:"uses"` // 0 is without limit
	After  []int           `json:"after"`
	Used   uint32          `json:"used"`
	Done   bool            `json:"done"`
}

// Moment is a time as the gateway writes it: RFC 3339, or whole seconds since 1970.
type Moment struct{ time.Time }

// UnmarshalJSON accepts both forms and null.
func (m *Moment) UnmarshalJSON(b []byte) error {
	if n, err := strconv.ParseInt(string(b), 10, 64); err == nil {
		m.Time = time.Unix(n, 0).UTC()
		return nil
	}
	if string(b) == "null" {
		return nil
	}
	return m.Time.UnmarshalJSON(b)
}

// Plan captures a draft: {"goal","metadata","steps":[{"server","tool","args",...}]}. A step that names an
// unknown tool, or arguments that break its schema, is refused.
func (c *Client) Plan(ctx context.Context, draft []byte) (*Plan, error) {
	p := &Plan{}
	if _, err := c.end.do(ctx, http.MethodPost, "/api/v1/plans", json.RawMessage(draft), p); err != nil {
		return nil, err
	}
	return p, p.check()
}

// GetPlan returns one of the agent's own plans.
func (c *Client) GetPlan(ctx context.Context, id string) (*Plan, error) {
	p := &Plan{}
	if _, err := c.end.do(ctx, http.MethodGet, "/api/v1/plans/"+url.PathEscape(id), nil, p); err != nil {
		return nil, err
	}
	return p, p.check()
}

func (p *Plan) check() error {
	if p.ID == "" || p.Root.IsZero() || p.Size <= 0 {
		return fmt.Errorf("%w: no plan in it", ErrAnswer)
	}
	if p.Document == nil {
		return nil
	}
	doc, err := p.parse()
	if err != nil {
		return err
	}
	if len(doc.Steps) != p.Size || doc.Hash() != p.Hash {
		return fmt.Errorf("%w: the plan does not have the hash beside it", ErrAnswer)
	}
	return nil
}

func (p *Plan) parse() (*intent.Plan, error) {
	if p.Document == nil {
		return nil, fmt.Errorf("%w: the gateway did not send the plan's document", ErrAnswer)
	}
	doc, err := intent.ParsePlan(p.Document)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	return doc, nil
}

// Proof shows one step of a plan to a gateway that does not hold the plan.
type Proof struct {
	Step string // base64url of the leaf
	Path string // base64url of the hashes up to the root
}

// Proof computes the proof of a step locally, from the plan's document.
func (p *Plan) Proof(step int) (*Proof, error) {
	doc, err := p.parse()
	if err != nil {
		return nil, err
	}
	if step < 0 || step >= len(doc.Steps) {
		return nil, fmt.Errorf("prove step %d: the plan has steps 0 to %d", step, len(doc.Steps)-1)
	}
	tree := doc.Tree()
	if tree.Root() != p.Root {
		return nil, fmt.Errorf("%w: the plan's steps do not have the root beside them", ErrAnswer)
	}
	return &Proof{
		Step: intent.EncodeLeaf(doc.LeafData(step)),
		Path: intent.EncodeProof(tree.AppendInclusion(nil, uint64(step))),
	}, nil
}

// Token stands for a plan. Whoever holds it together with the agent's key may take the plan's steps.
type Token struct {
	Token   string `json:"token"` // compact JWS, sent as Gatewright-Intent
	ID      string `json:"id"`    // tok_..., to revoke it by
	Expires Moment `json:"expires"`
}

// Format keeps the token itself out of logs: every verb prints the id.
func (t Token) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "token %s", t.ID) }

// Token takes a token for a plan. A ttl of zero asks for the gateway's default.
func (c *Client) Token(ctx context.Context, planID string, ttl time.Duration) (*Token, error) {
	in := map[string]int64{}
	if ttl < 0 || ttl%time.Second != 0 {
		return nil, fmt.Errorf("token lifetime %s: want whole seconds", ttl)
	}
	if ttl > 0 {
		in["ttl_seconds"] = int64(ttl / time.Second)
	}
	t := &Token{}
	if _, err := c.end.do(ctx, http.MethodPost, "/api/v1/plans/"+url.PathEscape(planID)+"/tokens", in, t); err != nil {
		return nil, err
	}
	if t.Token == "" || !headerSafe(t.Token) {
		return nil, fmt.Errorf("%w: no token in it", ErrAnswer)
	}
	return t, nil
}
