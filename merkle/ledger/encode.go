package ledger

import (
	"encoding/hex"
	"strconv"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/canon"
)

// AppendJSON appends the leaf: the record in RFC 8785 form. It allocates nothing when dst has room.
// The record must have passed Normalize. Members stand in the order of their names, as JCS demands.
func (r *Record) AppendJSON(dst []byte) []byte {
	e := encoder{out: dst}
	e.text(`,"addr":`, r.Addr)
	if r.hasStep() {
		e.after(r.After)
	}
	e.text(`,"agent":`, r.Agent)
	e.hash(`,"ask":`, &r.Ask)
	if len(r.Body) > 0 {
		e.out = append(e.out, `,"body":`...)
		e.out = append(e.out, r.Body...)
	}
	e.integer(`,"boot":`, int64(r.Boot))
	e.hash(`,"bundle":`, &r.Bundle)
	e.text(`,"code":`, r.Code)
	e.text(`,"detail":`, r.Detail)
	e.text(`,"id":`, r.ID)
	e.text(`,"instance":`, r.Instance)
	e.text(`,"key":`, r.Key)
	e.text(`,"kind":`, r.Kind.String())
	e.texts(`,"labels":`, r.Labels)
	e.integer(`,"micros":`, int64(r.Micros))
	e.text(`,"of":`, r.Of)
	e.text(`,"op":`, r.Op)
	e.text(`,"outcome":`, r.Outcome)
	r.appendRest(&e)
	e.out[len(dst)] = '{' // in place of the first comma: there is always a member
	return append(e.out, '}')
}

// appendRest is the second half of the alphabet.
func (r *Record) appendRest(e *encoder) {
	e.hash(`,"plan":`, &r.Plan)
	e.integer(`,"plan_expires":`, r.PlanExpires)
	e.text(`,"plan_id":`, r.PlanID)
	e.texts(`,"policies":`, r.Policies)
	e.hash(`,"reply":`, &r.Reply)
	e.hash(`,"request":`, &r.Request)
	e.text(`,"route":`, r.Route)
	e.text(`,"server":`, r.Server)
	e.hash(`,"snapshot":`, &r.Snapshot)
	e.stages(r.Stages)
	e.integer(`,"status":`, int64(r.Status))
	if r.hasStep() {
		e.out = append(e.out, `,"step":`...)
		e.out = strconv.AppendInt(e.out, int64(r.Step), 10)
	}
	e.text(`,"tenant":`, r.Tenant)
	e.integer(`,"time":`, r.Time)
	e.text(`,"token":`, r.Token)
	e.text(`,"tool":`, r.Tool)
	e.text(`,"user":`, r.User)
	e.integer(`,"uses":`, int64(r.Uses))
	e.integer(`,"v":`, formatVersion)
	e.text(`,"verdict":`, r.Verdict)
}

// hasStep: a step belongs to a plan, so the zero Step of a record without a plan says nothing.
func (r *Record) hasStep() bool { return r.Step >= 0 && !r.Plan.IsZero() }

// encoder appends members and leaves out what is zero. A key is handed in as it is written, with the comma before it.
type encoder struct{ out []byte }

func (e *encoder) text(key, s string) {
	if s != "" {
		e.out = canon.AppendString(append(e.out, key...), s)
	}
}

func (e *encoder) integer(key string, n int64) {
	if n != 0 {
		e.out = strconv.AppendInt(append(e.out, key...), n, 10)
	}
}

func (e *encoder) hash(key string, h *merkle.Hash) {
	if *h == (merkle.Hash{}) {
		return
	}
	e.out = append(append(e.out, key...), '"')
	e.out = append(hex.AppendEncode(e.out, h[:]), '"')
}

func (e *encoder) texts(key string, list []string) {
	if len(list) == 0 {
		return
	}
	e.out = append(e.out, key...)
	for i, s := range list {
		e.out = append(e.out, opener(i))
		e.out = canon.AppendString(e.out, s)
	}
	e.out = append(e.out, ']')
}

func (e *encoder) after(list []int) {
	if len(list) == 0 {
		return
	}
	e.out = append(e.out, `,"after":`...)
	for i, n := range list {
		e.out = append(e.out, opener(i))
		e.out = strconv.AppendInt(e.out, int64(n), 10)
	}
	e.out = append(e.out, ']')
}

// stages are pairs, [["intent",12],...]: an object would need its names sorted.
func (e *encoder) stages(list []StageTime) {
	if len(list) == 0 {
		return
	}
	e.out = append(e.out, `,"stages":`...)
	for i, s := range list {
		e.out = append(e.out, opener(i), '[')
		e.out = canon.AppendString(e.out, s.Name)
		e.out = append(e.out, ',')
		e.out = strconv.AppendUint(e.out, uint64(s.Micros), 10)
		e.out = append(e.out, ']')
	}
	e.out = append(e.out, ']')
}

func opener(i int) byte {
	if i == 0 {
		return '['
	}
	return ','
}
