package quick

import (
	"github.com/cedar-policy/cedar-go/types"
)

// Value is a value of Cedar; those of the common kinds take no memory. The zero Value is none: it cannot be told.
type Value struct {
	kind kind
	n    int64
	v    types.Value
}

type kind uint8

const (
	none kind = iota
	boolean
	long
	datetime
	duration
	address // Env.IP
	other   // v: text, entity, set, record, decimal, another address
)

// Of takes a value of Cedar.
func Of(v types.Value) Value {
	switch x := v.(type) {
	case nil:
		return Value{}
	case types.Boolean:
		return Bool(bool(x))
	case types.Long:
		return Long(int64(x))
	case types.Datetime:
		return Datetime(x.Milliseconds())
	case types.Duration:
		return Value{kind: duration, n: x.ToMilliseconds()}
	}
	return Value{kind: other, v: v}
}

// Bool is a boolean.
func Bool(b bool) Value {
	if b {
		return Value{kind: boolean, n: 1}
	}
	return Value{kind: boolean}
}

// Long is an integer.
func Long(n int64) Value { return Value{kind: long, n: n} }

// Datetime is a moment, in milliseconds since 1970.
func Datetime(ms int64) Value { return Value{kind: datetime, n: ms} }

// Address is the address in Env.IP.
func Address() Value { return Value{kind: address} }

// box gives the value as Cedar has it.
func (v Value) box(e *Env) types.Value {
	switch v.kind {
	case boolean:
		return types.Boolean(v.n != 0)
	case long:
		return types.Long(v.n)
	case datetime:
		return types.NewDatetimeFromMillis(v.n)
	case duration:
		return types.NewDurationFromMillis(v.n)
	case address:
		return e.IP
	}
	return v.v
}

// ip gives an address.
func (v Value) ip(e *Env) (types.IPAddr, bool) {
	if v.kind == address {
		return e.IP, true
	}
	a, ok := v.v.(types.IPAddr)
	return a, ok
}

// equal compares as Cedar does: values of different types are not equal.
func (v Value) equal(o Value, e *Env) bool {
	if v.kind != o.kind || v.kind == other {
		return v.box(e).Equal(o.box(e))
	}
	return v.n == o.n
}

type constant struct{ Value }

func (c constant) eval(*Env) Value { return c.Value }

// variable is principal, action or resource.
type variable func(e *Env) *types.EntityUID

func (v variable) eval(e *Env) Value { return Value{kind: other, v: *v(e)} }

type context struct{}

func (context) eval(e *Env) Value { return Of(e.Context) }

// fact is what stands in a slot.
type fact Slot

func (f fact) eval(e *Env) Value { return e.Slots[f] }

// input is an argument.
type input types.String

func (i input) eval(e *Env) Value { return Of(e.Input[types.String(i)]) }

// present tells whether a place holds anything.
type present struct{ place node }

func (p present) eval(e *Env) Value { return Bool(p.place.eval(e).kind != none) }

type attribute struct {
	of   node
	name types.String
}

func (a attribute) eval(e *Env) Value {
	r, ok := record(a.of, e)
	if !ok {
		return Value{}
	}
	v, _ := r.Get(a.name)
	return Of(v)
}

// record gives the attributes of a record, or of an entity that is known.
func record(n node, e *Env) (r types.Record, ok bool) {
	if v, direct := n.(variable); direct {
		entity, ok := e.Entities.Get(*v(e))
		return entity.Attributes, ok
	}
	switch v := n.eval(e).v.(type) {
	case types.Record:
		return v, true
	case types.EntityUID:
		entity, ok := e.Entities.Get(v)
		return entity.Attributes, ok
	}
	return r, false
}

type has struct {
	of   node
	name types.String
}

func (h has) eval(e *Env) Value {
	r, ok := record(h.of, e)
	if !ok {
		return Value{}
	}
	_, ok = r.Get(h.name)
	return Bool(ok)
}
