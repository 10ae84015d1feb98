package intent

import (
	"bytes"
	"strconv"

	"github.com/gatewright/gatewright/merkle"
)

// Held is a plan the gateway keeps: its tree, its compiled constraints, and its steps by tool. It is
// immutable and shared by all requests.
type Held struct {
	plan   Plan
	tree   *merkle.Tree
	root   merkle.Hash
	hash   merkle.Hash
	steps  []step
	byTool map[toolKey][]int32 // ascending indices
}

type toolKey struct{ op, server, tool string }

// NewHeld checks and compiles a sealed plan. The plan must not be changed afterwards.
func NewHeld(p *Plan) (*Held, error) {
	if p.Nonce == "" {
		return nil, invalid("/nonce", "plan is not sealed", "")
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	tree := p.Tree()
	h := &Held{plan: *p, tree: tree, root: tree.Root(), hash: p.Hash(), steps: make([]step, len(p.Steps)), byTool: make(map[toolKey][]int32)}
	pats := newPatterns()
	for i := range p.Steps {
		s, err := compileStep(&p.Steps[i], i, "/steps/"+strconv.Itoa(i), pats)
		if err != nil {
			return nil, err
		}
		h.steps[i] = s
		k := toolKey{s.op, s.server, s.tool}
		h.byTool[k] = append(h.byTool[k], int32(i)) //nolint:gosec // at most MaxSteps
	}
	return h, nil
}

// Plan returns the plan, which must not be changed.
func (h *Held) Plan() *Plan { return &h.plan }

// Root returns the root of the plan's tree.
func (h *Held) Root() merkle.Hash { return h.root }

// Hash returns the plan_hash.
func (h *Held) Hash() merkle.Hash { return h.hash }

// Size returns the number of steps.
func (h *Held) Size() int { return len(h.steps) }

// Uses returns how often step i may be taken: 0 without limit, and also for a step that is not there.
func (h *Held) Uses(i int) uint32 {
	if i < 0 || i >= len(h.steps) {
		return 0
	}
	return h.steps[i].uses
}

// Step returns what step i calls; ok is false for a step that is not there.
func (h *Held) Step(i int) (op, server, tool string, local, ok bool) {
	if i < 0 || i >= len(h.steps) {
		return "", "", "", false, false
	}
	s := &h.steps[i]
	return s.op, s.server, s.tool, s.local, true
}

// AppendProof appends the inclusion proof of step i.
func (h *Held) AppendProof(dst []merkle.Hash, i int) []merkle.Hash {
	if i < 0 || i >= len(h.steps) {
		return dst
	}
	return h.tree.AppendInclusion(dst, uint64(i))
}

// find returns the lowest step that fits the request and has uses left, among those only names; nil
// names all.
func (h *Held) find(req *Request, only []uint32, used func(index int) uint32) (*step, error) {
	candidates := h.byTool[toolKey{req.Op, req.Server, req.Tool}]
	if len(candidates) == 0 {
		return nil, errTool()
	}
	a := takeArguments(req.Args)
	defer a.release()
	var miss mismatch
	var spent, changed, outside bool
	canonical := h.isExact(candidates, only, a.raw)
	for _, i := range candidates {
		s := &h.steps[i]
		if only != nil && !coversStep(only, s.index) {
			outside = true
			continue
		}
		if s.schema != req.Schema {
			changed = true
			continue
		}
		// Canonical arguments fit an exact step byte for byte or not at all.
		if canonical && s.args.exact != nil && !bytes.Equal(a.raw, s.args.exact) {
			continue
		}
		if m := s.args.match(a, false); !m.fits() {
			if miss.fits() {
				miss = m // of the lowest candidate
			}
			continue
		}
		if s.uses == 0 || used == nil || used(int(i)) < s.uses {
			return s, nil
		}
		spent = true
	}
	switch {
	case spent:
		return nil, refuse(StepUsed, "every step that fits was taken as often as the plan allows", "capture a new plan")
	case !miss.fits():
		return nil, miss.refusal()
	case changed:
		return nil, errSchemaChanged()
	case outside:
		return nil, refuse(ToolMismatch, "no step that the token covers calls this tool", "it was derived for other steps of the plan")
	}
	return nil, errTool()
}

// isExact tells whether raw is the canonical form of the only arguments one of the candidates allows.
// It saves taking the arguments apart for the other candidates, and the one it found either is
// granted or was used up, so nothing about the others' mismatch needs to be known.
func (h *Held) isExact(candidates []int32, only []uint32, raw []byte) bool {
	for _, i := range candidates {
		if only != nil && !coversStep(only, int(i)) {
			continue
		}
		if e := h.steps[i].args.exact; e != nil && bytes.Equal(raw, e) {
			return true
		}
	}
	return false
}

// fits checks one known step against the request.
func (s *step) fits(req *Request) error {
	if s.op != req.Op || s.server != req.Server || s.tool != req.Tool {
		return errTool()
	}
	if s.schema != req.Schema {
		return errSchemaChanged()
	}
	a := takeArguments(req.Args)
	defer a.release()
	if m := s.args.match(a, false); !m.fits() {
		return m.refusal()
	}
	return nil
}

func errTool() error {
	return refuse(ToolMismatch, "no step of the plan calls this tool", "capture a plan that does")
}

func errSchemaChanged() error {
	return refuse(SchemaChanged, "the tool's input schema is not the one the plan was made for", "list the tools again and capture a new plan")
}
