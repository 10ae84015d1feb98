package plans

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/merkle/intent"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// reaching are the operations whose target is looked up: what a plan may do with a server. The value is how a list of such
// targets is asked for.
var reaching = map[string]string{"tools/call": "tools/list", "prompts/get": "prompts/list", "resources/read": "resources/list"}

// Owner is the agent that asks, as its credential proved it.
type Owner struct {
	Tenant, User, Agent, KeyID string
}

func (o Owner) check() error {
	if o.User == "" || o.Agent == "" || o.KeyID == "" || !ledger.ValidTenant(o.Tenant) || o.Tenant == ledger.InstanceTenant {
		return fmt.Errorf("%w: plans belong to an agent of an organisation", ErrForbidden)
	}
	return nil
}

// Captured is a plan as its agent sees it. Plan is the sealed plan: with it a client checks what was
// captured, and makes its own proofs.
type Captured struct {
	ID      string          `json:"id"`
	Root    merkle.Hash     `json:"root"`
	Hash    merkle.Hash     `json:"hash"`
	Size    int             `json:"size"`
	State   State           `json:"state"`
	Expires time.Time       `json:"expires"`
	Steps   []Step          `json:"steps"`
	Plan    json.RawMessage `json:"plan"`
}

// Step is one step of a plan and how far it has come.
type Step struct {
	Index  int         `json:"index"`
	Op     string      `json:"op"`
	Server string      `json:"server"`
	Tool   string      `json:"tool"`
	Args   intent.Args `json:"args"`
	Uses   uint32      `json:"uses"`
	After  []int       `json:"after"`
	Used   uint32      `json:"used"`
	Done   bool        `json:"done"`
}

// Capture checks a draft against the tenant's tools, seals it, records it and keeps it. Faults of the
// draft are *intent.Error with the place as a JSON pointer.
func (r *Register) Capture(ctx context.Context, who Owner, draft []byte) (Captured, error) {
	if err := who.check(); err != nil {
		return Captured{}, fmt.Errorf("capture plan: %w", err)
	}
	p, err := r.parse(who, draft)
	if err != nil {
		return Captured{}, fmt.Errorf("capture plan: %w", err)
	}
	s, err := r.seal(p)
	if err != nil {
		return Captured{}, fmt.Errorf("capture plan: %w", err)
	}
	return r.capture(ctx, who, s, r.cfg.PlanTTL)
}

// sealed is a plan that can be captured, and its canonical JSON.
type sealed struct {
	held *intent.Held
	body []byte
}

func (r *Register) seal(p *intent.Plan) (sealed, error) {
	if err := p.Seal(r.deps.Rand); err != nil {
		return sealed{}, err
	}
	h, err := intent.NewHeld(p)
	if err != nil {
		return sealed{}, err
	}
	return sealed{h, p.AppendJSON(nil)}, nil
}

// capture records a sealed plan, keeps it and puts it in force, as a chain of its own.
func (r *Register) capture(ctx context.Context, who Owner, s sealed, ttl time.Duration) (Captured, error) {
	e, err := r.reserve(ctx, who, s.held, &chain{}, ttl)
	if err != nil {
		return Captured{}, fmt.Errorf("capture plan: %w", err)
	}
	if err := r.commit(ctx, e, s.body); err != nil {
		r.forget(e)
		return Captured{}, fmt.Errorf("capture plan: %w", err)
	}
	r.mu.Lock()
	e.held = s.held
	e.chain.add(e, nil)
	r.insert(e)
	r.order(e.chain)
	row := e.row
	r.mu.Unlock()
	return r.view(row, s.held.Plan(), s.body), nil
}

// parse makes a plan of a draft, bound to its owner and the tenant's tools, ready to be sealed.
func (r *Register) parse(who Owner, draft []byte) (*intent.Plan, error) {
	lim := intent.DefaultLimits()
	lim.Bytes, lim.Steps = r.cfg.DraftBytes, r.cfg.Steps
	p, err := intent.ParseDraft(draft, lim)
	if err != nil {
		return nil, err
	}
	return &p, r.bind(who, &p, false)
}

// bind gives a plan its owner and each step the tool it calls.
func (r *Register) bind(who Owner, p *intent.Plan, allowLocal bool) error {
	for i := range p.Steps {
		if err := r.resolve(who.Tenant, &p.Steps[i], "/steps/"+strconv.Itoa(i), allowLocal); err != nil {
			return err
		}
	}
	p.Tenant, p.User, p.Agent = who.Tenant, who.User, who.Agent
	return nil
}

// resolve binds a step to the tool it calls, as the tool is now.
func (r *Register) resolve(tenant string, s *intent.Step, at string, allowLocal bool) error {
	list, reaches := reaching[s.Op]
	if !reaches && !s.Local && !allowLocal {
		return &intent.Error{Reason: intent.PlanInvalid, Pointer: at + "/op", Msg: "no call is of this operation", Hint: "allowed: tools/call (which it is without op), resources/read, prompts/get"}
	}
	if !reaches || s.Local {
		return nil
	}
	schema, check, ok := r.deps.Tools.Lookup(tenant, s.Op, s.Server, s.Tool)
	if !ok && allowLocal {
		s.Local = true
		return nil
	}
	if !ok {
		return &intent.Error{Reason: intent.PlanInvalid, Pointer: at + "/tool", Msg: "there is no such server, it has not listed what it offers yet, or it has no such " + offered(s.Op), Hint: "list what there is (" + list + ") and use a name from there; ask who runs the gateway when the server is missing"}
	}
	s.Schema = schema
	args, literal := literals(&s.Args)
	if !literal || check == nil {
		return nil
	}
	if err := check(args); err != nil {
		return &intent.Error{Reason: intent.PlanInvalid, Pointer: at + "/args", Msg: "arguments break the tool's input schema: " + err.Error(), Hint: "the call would be refused; correct them in the draft"}
	}
	return nil
}

// offered is what an operation is about.
func offered(op string) string {
	switch op {
	case "prompts/get":
		return "prompt"
	case "resources/read":
		return "resource"
	}
	return "tool"
}

// literals returns the one arguments object a constraint allows at the least: its constants. literal is
// false when other required parameters, or any additional ones, would belong to it.
func literals(a *intent.Args) (args []byte, literal bool) {
	if a.Additional {
		return nil, false
	}
	args = []byte{'{'}
	for _, name := range slices.Sorted(maps.Keys(a.Params)) {
		c := a.Params[name]
		switch {
		case c.Optional:
			continue
		case c.Const == nil:
			return nil, false
		}
		if len(args) > 1 {
			args = append(args, ',')
		}
		args = append(append(canon.AppendString(args, name), ':'), c.Const...)
	}
	return append(args, '}'), true
}

// reserve makes an entry that counts against the bounds and takes up events, but that nobody finds yet. The change lock of
// c is held, if there are plans in it.
func (r *Register) reserve(ctx context.Context, who Owner, h *intent.Held, c *chain, ttl time.Duration) (*entry, error) {
	now := r.deps.Now()
	id, err := r.newID("pln_", now)
	if err != nil {
		return nil, err
	}
	e := &entry{tenant: who.Tenant, nonce: h.Plan().Nonce, chain: c, row: planRow{
		ID: id, User: who.User, Agent: who.Agent, Key: who.KeyID, Root: h.Root(), Hash: h.Hash(), Size: h.Size(),
		State: Active, Created: now.Unix(), Expires: now.Add(ttl).Unix(),
	}}
	e.count(h)
	if err := r.settle(ctx, e); err != nil {
		return nil, err
	}
	return e, nil
}

// forget takes back a reservation.
func (r *Register) forget(e *entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.byID, planKey{e.tenant, e.row.ID})
	r.uncount(e)
}

// commit records the capture, then keeps the plan: one that was kept without a record could be used.
func (r *Register) commit(ctx context.Context, e *entry, body []byte) error {
	if err := r.recordCapture(ctx, e, body); err != nil {
		return err
	}
	if err := r.putPlans(ctx, e.tenant, []planRow{e.row}, body); err != nil {
		return fmt.Errorf("keep plan: %w", err)
	}
	return nil
}

func (r *Register) recordCapture(ctx context.Context, e *entry, body []byte) error {
	if len(body) > maxBody {
		return limit("the sealed plan is larger than 3 MiB", "split the plan")
	}
	if err := r.note(ctx, e.tenant); err != nil {
		return err
	}
	rec := e.record(&e.row, ledger.Plan, "captured")
	rec.User, rec.Agent, rec.Key = e.row.User, e.row.Agent, e.row.Key
	rec.Body = fmt.Appendf(nil, `{"hash":%q,"size":%d}`, e.row.Hash, e.row.Size)
	if _, err := r.deps.Ledger.Append(ctx, rec); err != nil {
		return fmt.Errorf("record capture: %w", err)
	}
	return nil
}

// maxBody bounds a stored plan, in bytes, below what one row of a store may hold.
const maxBody = 3 << 20

// record starts the ledger record of something done to a plan.
func (e *entry) record(row *planRow, k ledger.Kind, act string) *ledger.Record {
	return &ledger.Record{Kind: k, Tenant: e.tenant, Plan: row.Root, PlanID: row.ID, Step: -1, PlanExpires: row.Expires, Code: act}
}

// newID makes an id that sorts by time, in the form of record ids.
func (r *Register) newID(prefix string, now time.Time) (string, error) {
	id, err := ledger.NewID(now, r.deps.Rand)
	if err != nil {
		return "", err
	}
	return prefix + id[len("rec_"):], nil
}

func unix(s int64) time.Time { return time.Unix(s, 0).UTC() }
