package wal

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"

	"github.com/gatewright/gatewright/merkle"
)

// copying is a copy of the table of uses that is being made, as the table stood at one moment. The table goes on
// meanwhile: who changes an entry that is not copied yet leaves its earlier state here first, so that a commit never
// waits for more than copyChunk entries, however large the table is.
type copying struct {
	table  tableState
	before map[*planUse]planUse // plans as they were, changed since and not copied yet
}

// copyChunk is how many entries are copied while the table is held: some 20 us.
const copyChunk = 128

// begin starts a copy of the table as it stands now.
func (u *uses) begin() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.round++
	u.copy = &copying{table: tableState{swept: u.swept}, before: map[*planUse]planUse{}}
}

// touch is called before a plan changes.
func (u *uses) touch(p *planUse) {
	if u.copy == nil || p.round == u.round {
		return
	}
	was := *p
	was.steps = append([]StepState(nil), p.steps...)
	u.copy.before[p] = was
	p.round = u.round
}

// dropped is called before a plan leaves the table.
func (u *uses) dropped(h merkle.Hash, p *planUse) {
	if u.copy != nil {
		u.copyPlan(h, p)
	}
}

// closed is called before a call leaves the table.
func (u *uses) closed(id [26]byte, call *openCall) {
	if u.copy != nil && call.round != u.round {
		u.copy.table.addCall(id, call)
	}
}

// copyPlan takes a plan up as it was when the copy began, once; not at all when it was not there then.
func (u *uses) copyPlan(h merkle.Hash, p *planUse) {
	was, changed := u.copy.before[p]
	switch {
	case changed:
		u.copy.table.addPlan(h, &was)
		delete(u.copy.before, p)
	case p.round != u.round:
		u.copy.table.addPlan(h, p)
		p.round = u.round
	}
}

// finish completes the copy that begin started.
func (u *uses) finish() tableState {
	var plans, calls [][]byte // put together when nobody waits
	n := 0
	u.mu.Lock()
	rest := func() {
		if n++; n%copyChunk > 0 {
			return
		}
		t := &u.copy.table
		plans, calls = append(plans, t.planBytes), append(calls, t.callBytes)
		t.planBytes, t.callBytes = make([]byte, 0, cap(t.planBytes)), nil
		u.mu.Unlock() // a range over a map allows changes: what is there is met once, what is new may be
		runtime.Gosched()
		u.mu.Lock()
	}
	for h, p := range u.plans {
		u.copyPlan(h, p)
		rest()
	}
	for id, call := range u.open {
		if call.round != u.round {
			u.copy.table.addCall(id, &call)
			call.round = u.round
			u.open[id] = call
		}
		rest()
	}
	t := u.copy.table
	u.copy = nil
	u.mu.Unlock()
	t.planBytes, t.callBytes = slices.Concat(append(plans, t.planBytes)...), slices.Concat(append(calls, t.callBytes)...)
	return t
}

// tableState is the table of uses in the form that is stored. Plan: hash, tenant u32, expires u64, count of steps u32, for
// each step uvarint (used << 1 | done). Call: 26 bytes of id, tenant u32, step u32, hash of its plan. Big-endian.
type tableState struct {
	swept        int64
	plans, calls uint32
	planBytes    []byte
	callBytes    []byte
}

func (t *tableState) addPlan(h merkle.Hash, p *planUse) {
	b := append(t.planBytes, h[:]...)
	b = binary.BigEndian.AppendUint32(b, p.tenant)
	b = binary.BigEndian.AppendUint64(b, uint64(p.expires))
	b = binary.BigEndian.AppendUint32(b, uint32(len(p.steps)))
	for _, s := range p.steps {
		v := uint64(s.Used) << 1
		if s.Done {
			v |= 1
		}
		b = binary.AppendUvarint(b, v)
	}
	t.planBytes = b
	t.plans++
}

func (t *tableState) addCall(id [26]byte, c *openCall) {
	b := append(t.callBytes, id[:]...)
	b = binary.BigEndian.AppendUint32(b, c.tenant)
	b = binary.BigEndian.AppendUint32(b, uint32(c.step))
	t.callBytes = append(b, c.of[:]...)
	t.calls++
}

// table makes a table of uses from its stored form. Tenants are numbered below tenants.
func (t *tableState) table(tenants int) (*uses, error) {
	if int(t.plans) > len(t.planBytes) || int(t.calls) > len(t.callBytes) || t.swept < 0 {
		return nil, fmt.Errorf("%w: %d plans, %d calls", errState, t.plans, t.calls)
	}
	u := &uses{
		plans: make(map[merkle.Hash]*planUse, t.plans), open: make(map[[26]byte]openCall, t.calls), swept: t.swept,
	}
	d := decoder{b: t.planBytes}
	for range t.plans {
		h := merkle.Hash(d.bytes(merkle.HashSize))
		p := &planUse{tenant: d.u32(), expires: int64(d.u64())}
		if !d.steps(p) || u.plans[h] != nil || int(p.tenant) >= tenants || p.expires < 0 || h.IsZero() {
			return nil, fmt.Errorf("%w: plan", errState)
		}
		u.plans[h] = p
	}
	c := decoder{b: t.callBytes}
	for range t.calls {
		id := [26]byte(c.bytes(26))
		call := openCall{tenant: c.u32(), step: int32(c.u32()), of: merkle.Hash(c.bytes(merkle.HashSize))}
		if _, twice := u.open[id]; twice || c.bad || int(call.tenant) >= tenants {
			return nil, fmt.Errorf("%w: call", errState)
		}
		if p := u.plans[call.of]; p != nil && call.step >= 0 && int(call.step) < len(p.steps) {
			call.plan = p
		}
		u.open[id] = call
	}
	if len(d.b)+len(c.b) > 0 {
		return nil, fmt.Errorf("%w: bytes are left", errState)
	}
	return u, nil
}

// steps reads the steps of a plan.
func (d *decoder) steps(p *planUse) bool {
	n := d.u32()
	if d.bad || n > maxStep || int(n) > len(d.b) {
		return false
	}
	p.steps = make([]StepState, n)
	for i := range p.steps {
		v, size := binary.Uvarint(d.b)
		if size <= 0 || v>>33 != 0 {
			return false
		}
		d.b = d.b[size:]
		p.steps[i] = StepState{Used: uint32(v >> 1), Done: v&1 == 1}
	}
	return true
}
