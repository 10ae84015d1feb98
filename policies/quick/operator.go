package quick

import (
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

type and struct{ l, r node }

func (a and) eval(e *Env) Value {
	if v := a.l.eval(e); v.kind != boolean {
		return Value{}
	} else if v.n == 0 {
		return v
	}
	return bool1(a.r, e)
}

type or struct{ l, r node }

func (o or) eval(e *Env) Value {
	if v := o.l.eval(e); v.kind != boolean {
		return Value{}
	} else if v.n != 0 {
		return v
	}
	return bool1(o.r, e)
}

// bool1 is the value of n if it is a boolean.
func bool1(n node, e *Env) Value {
	if v := n.eval(e); v.kind == boolean {
		return v
	}
	return Value{}
}

type not struct{ arg node }

func (n not) eval(e *Env) Value {
	v := bool1(n.arg, e)
	if v.kind == boolean {
		v.n ^= 1
	}
	return v
}

type choice struct{ when, then, otherwise node }

func (c choice) eval(e *Env) Value {
	switch v := c.when.eval(e); {
	case v.kind != boolean:
		return Value{}
	case v.n != 0:
		return c.then.eval(e)
	}
	return c.otherwise.eval(e)
}

type equals struct{ l, r node }

func (q equals) eval(e *Env) Value {
	l, r := q.l.eval(e), q.r.eval(e)
	if l.kind == none || r.kind == none {
		return Value{}
	}
	return Bool(l.equal(r, e))
}

// ordered evaluates both sides of a comparison, of numbers or times of the same kind.
func ordered(l, r node, e *Env) (x, y int64, ok bool) {
	a, b := l.eval(e), r.eval(e)
	return a.n, b.n, a.kind == b.kind && (a.kind == long || a.kind == datetime || a.kind == duration)
}

type less struct{ l, r node }

func (c less) eval(e *Env) Value {
	x, y, ok := ordered(c.l, c.r, e)
	if !ok {
		return Value{}
	}
	return Bool(x < y)
}

type greater struct{ l, r node }

func (c greater) eval(e *Env) Value {
	x, y, ok := ordered(c.l, c.r, e)
	if !ok {
		return Value{}
	}
	return Bool(x > y)
}

type like struct {
	arg     node
	pattern types.Pattern
}

func (l like) eval(e *Env) Value {
	text, ok := l.arg.eval(e).v.(types.String)
	if !ok {
		return Value{}
	}
	return Bool(l.pattern.Match(text))
}

type is struct {
	arg node
	typ types.EntityType
}

func (i is) eval(e *Env) Value {
	u, ok := i.arg.eval(e).v.(types.EntityUID)
	if !ok {
		return Value{}
	}
	return Bool(u.Type == i.typ)
}

type isEmpty struct{ arg node }

func (i isEmpty) eval(e *Env) Value {
	s, ok := i.arg.eval(e).v.(types.Set)
	if !ok {
		return Value{}
	}
	return Bool(s.Len() == 0)
}

type contains struct{ l, r node }

func (c contains) eval(e *Env) Value {
	s, ok := c.l.eval(e).v.(types.Set)
	v := c.r.eval(e)
	if !ok || v.kind == none {
		return Value{}
	}
	return Bool(s.Contains(v.box(e)))
}

// sets evaluates both sides of an operator on sets.
func sets(l, r node, e *Env) (a, b types.Set, ok bool) {
	a, first := l.eval(e).v.(types.Set)
	b, second := r.eval(e).v.(types.Set)
	return a, b, first && second
}

type containsAny struct{ l, r node }

func (c containsAny) eval(e *Env) Value {
	a, b, ok := sets(c.l, c.r, e)
	if !ok {
		return Value{}
	}
	for v := range b.All() {
		if a.Contains(v) {
			return Bool(true)
		}
	}
	return Bool(false)
}

type containsAll struct{ l, r node }

func (c containsAll) eval(e *Env) Value {
	a, b, ok := sets(c.l, c.r, e)
	if !ok {
		return Value{}
	}
	for v := range b.All() {
		if !a.Contains(v) {
			return Bool(false)
		}
	}
	return Bool(true)
}

type in struct{ l, r node }

func (i in) eval(e *Env) Value {
	entity, ok := i.l.eval(e).v.(types.EntityUID)
	if !ok {
		return Value{}
	}
	switch of := i.r.eval(e).v.(type) {
	case types.EntityUID:
		return e.within(entity, of)
	case types.Set:
		return e.withinAny(entity, of)
	}
	return Value{}
}

// within looks at an entity's own groups. It cannot tell when a group is in groups itself.
func (e *Env) within(entity, group types.EntityUID) Value {
	if entity == group {
		return Bool(true)
	}
	known, ok := e.Entities.Get(entity)
	if !ok {
		return Bool(false)
	}
	if known.Parents.Contains(group) {
		return Bool(true)
	}
	for p := range known.Parents.All() {
		if parent, ok := e.Entities.Get(p); ok && parent.Parents.Len() > 0 {
			return Value{}
		}
	}
	return Bool(false)
}

// withinAny looks at every group of a set; what is no entity in it is an error of its own.
func (e *Env) withinAny(entity types.EntityUID, groups types.Set) Value {
	found := Bool(false)
	for g := range groups.All() {
		group, ok := g.(types.EntityUID)
		if !ok {
			return Value{}
		}
		switch v := e.within(entity, group); {
		case v.kind == none:
			return v
		case v.n != 0:
			found = v
		}
	}
	return found
}

// call compiles constructors of literals, and the functions that policies of a gateway use.
func (c *compiler) call(v ast.NodeTypeExtensionCall) node {
	var args []node
	for _, a := range v.Args {
		n := c.node(a)
		if n == nil {
			return nil
		}
		args = append(args, n)
	}
	switch len(args) {
	case 1:
		if literal, ok := args[0].(constant); ok {
			return parsed(string(v.Name), literal)
		}
		return function(string(v.Name), args[0])
	case 2:
		return comparison(string(v.Name), args[0], args[1])
	}
	return nil
}

// parsed makes the constant that a constructor makes of a text; nil when it is none.
func parsed(name string, literal constant) node {
	text, ok := literal.v.(types.String)
	if !ok {
		return nil
	}
	var v types.Value
	var err error
	switch name {
	case "ip":
		v, err = types.ParseIPAddr(string(text))
	case "decimal":
		v, err = types.ParseDecimal(string(text))
	case "datetime":
		v, err = types.ParseDatetime(string(text))
	case "duration":
		v, err = types.ParseDuration(string(text))
	default:
		return nil
	}
	if err != nil {
		return nil
	}
	return constant{Of(v)}
}

const day = 24 * 60 * 60 * 1000

func function(name string, arg node) node {
	switch name {
	case "toTime":
		return dated{arg, duration, func(ms int64) int64 { return ms % day }}
	case "toDate":
		return dated{arg, datetime, func(ms int64) int64 { return ms - ms%day }}
	case "isLoopback":
		return about{arg, types.IPAddr.IsLoopback}
	case "isMulticast":
		return about{arg, types.IPAddr.IsMulticast}
	case "isIpv4":
		return about{arg, types.IPAddr.IsIPv4}
	case "isIpv6":
		return about{arg, types.IPAddr.IsIPv6}
	}
	return nil
}

// dated is a function of a moment.
type dated struct {
	arg  node
	kind kind
	fn   func(ms int64) int64
}

func (d dated) eval(e *Env) Value {
	v := d.arg.eval(e)
	if v.kind != datetime {
		return Value{}
	}
	return Value{kind: d.kind, n: d.fn(v.n)}
}

// about is a question about an address.
type about struct {
	arg node
	fn  func(types.IPAddr) bool
}

func (a about) eval(e *Env) Value {
	ip, ok := a.arg.eval(e).ip(e)
	if !ok {
		return Value{}
	}
	return Bool(a.fn(ip))
}

func comparison(name string, l, r node) node {
	switch name {
	case "isInRange":
		return inRange{l, r}
	case "lessThan":
		return decimals{l, r, func(order int) bool { return order < 0 }}
	case "lessThanOrEqual":
		return decimals{l, r, func(order int) bool { return order <= 0 }}
	case "greaterThan":
		return decimals{l, r, func(order int) bool { return order > 0 }}
	case "greaterThanOrEqual":
		return decimals{l, r, func(order int) bool { return order >= 0 }}
	}
	return nil
}

type inRange struct{ l, r node }

func (i inRange) eval(e *Env) Value {
	ip, ok := i.l.eval(e).ip(e)
	within, both := i.r.eval(e).ip(e)
	if !ok || !both {
		return Value{}
	}
	return Bool(within.Contains(ip))
}

type decimals struct {
	l, r node
	fn   func(order int) bool
}

func (d decimals) eval(e *Env) Value {
	a, ok := d.l.eval(e).v.(types.Decimal)
	b, both := d.r.eval(e).v.(types.Decimal)
	if !ok || !both {
		return Value{}
	}
	return Bool(d.fn(a.Compare(b)))
}
