package compare

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// maxLiterals bounds what is kept under one name.
const maxLiterals = 256

// literals is what policies compare with: values on both sides of each constant, under the name of the attribute they are
// compared with, as "to" for context.input.to; "" has those of no known attribute. Values are string, int64 and decimal.
type literals struct {
	named    map[string][]any
	entities map[types.EntityType][]string
	addrs    []netip.Addr
	times    []time.Time
	scores   []string // names of scores
	servers  []string // of scopes, and of what tools are compared with
	actions  []string // of scopes
	targets  []string // of scopes, as SERVER/TOOL
}

// decimal is a number that is written with its fraction.
type decimal string

func newLiterals(policies []*ast.Policy) *literals {
	l := &literals{named: map[string][]any{}, entities: map[types.EntityType][]string{}}
	for _, p := range policies {
		l.scope(p.Principal)
		l.scope(p.Action)
		l.scope(p.Resource)
		for _, c := range p.Conditions {
			ast.Inspect(ast.NewNode(c.Body), l.visit)
		}
	}
	return l
}

func (l *literals) scope(n any) {
	switch s := n.(type) {
	case ast.ScopeTypeEq:
		l.entity(s.Entity)
	case ast.ScopeTypeIn:
		l.entity(s.Entity)
	case ast.ScopeTypeIsIn:
		l.entity(s.Entity)
	case ast.ScopeTypeInSet:
		for _, e := range s.Entities {
			l.entity(e)
		}
	}
}

func (l *literals) entity(u types.EntityUID) {
	id := string(u.ID)
	l.entities[u.Type] = keep(l.entities[u.Type], id)
	switch u.Type {
	case "Action":
		l.actions = keep(l.actions, id)
	case "Server":
		l.servers = keep(l.servers, id)
	case "Tool":
		l.targets = keep(l.targets, id)
	}
}

func keep[T comparable](list []T, values ...T) []T {
	for _, v := range values {
		if len(list) < maxLiterals && !slices.Contains(list, v) {
			list = append(list, v)
		}
	}
	return list
}

// visit looks at one node of a condition.
func (l *literals) visit(n ast.IsNode) bool {
	switch x := n.(type) {
	case ast.NodeValue:
		l.value("", x.Value)
	case ast.NodeTypeLike:
		l.add(nameOf(x.Arg), likes(x.Value)...)
	case ast.NodeTypeIsIn:
		l.literal("", x.Entity)
	case ast.NodeTypeAccess:
		l.access(x)
	case ast.NodeTypeExtensionCall:
		l.call(x)
	default:
		if left, right, ok := operands(n); ok {
			l.literal(nameOf(left), right)
			l.literal(nameOf(right), left)
		}
	}
	return true
}

// access notes the names of scores.
func (l *literals) access(x ast.NodeTypeAccess) {
	if nameOf(x.Arg) == "scores" {
		l.scores = keep(l.scores, string(x.Value))
	}
}

// call notes the constants of extension types, and what method calls compare with.
func (l *literals) call(x ast.NodeTypeExtensionCall) {
	if len(x.Args) == 2 {
		l.literal(nameOf(x.Args[0]), x.Args[1])
		return
	}
	if v, ok := x.Args[0].(ast.NodeValue); ok && len(x.Args) == 1 {
		if s, ok := v.Value.(types.String); ok {
			l.extension(string(x.Name), "", string(s))
		}
	}
}

func (l *literals) extension(kind, name, text string) {
	switch kind {
	case "decimal":
		l.add(name, around(text)...)
	case "ip":
		if p, err := types.ParseIPAddr(text); err == nil {
			first, last := p.Prefix().Masked().Addr(), lastOf(p.Prefix())
			l.addrs = keep(l.addrs, p.Prefix().Addr(), first, last)
			for _, beyond := range []netip.Addr{first.Prev(), last.Next()} {
				if beyond.IsValid() {
					l.addrs = keep(l.addrs, beyond)
				}
			}
		}
	case "duration":
		if d, err := types.ParseDuration(text); err == nil {
			at := midYear.Add(time.Duration(d.ToMilliseconds()%(24*60*60*1000)) * time.Millisecond)
			l.times = keep(l.times, at, at.Add(-time.Millisecond), at.Add(time.Millisecond))
		}
	case "datetime":
		if t, err := types.ParseDatetime(text); err == nil {
			at := t.Time()
			l.times = keep(l.times, at, at.Add(-time.Millisecond), at.Add(time.Millisecond), at.Add(-time.Hour), at.Add(time.Hour))
		}
	}
}

// lastOf is the last address of a range.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	last, _ := netip.AddrFromSlice(b)
	return last
}

// literal notes what stands under a node that is compared with the attribute.
func (l *literals) literal(name string, n ast.IsNode) {
	switch x := n.(type) {
	case ast.NodeValue:
		l.value(name, x.Value)
	case ast.NodeTypeSet:
		for _, e := range x.Elements {
			l.literal(name, e)
		}
	case ast.NodeTypeNegate:
		if v, ok := x.Arg.(ast.NodeValue); ok {
			if n, ok := v.Value.(types.Long); ok {
				l.value(name, -n)
			}
		}
	case ast.NodeTypeExtensionCall:
		if v, ok := x.Args[0].(ast.NodeValue); ok && len(x.Args) == 1 {
			if s, ok := v.Value.(types.String); ok {
				l.extension(string(x.Name), name, string(s))
			}
		}
	}
}

func (l *literals) value(name string, v types.Value) {
	switch x := v.(type) {
	case types.String:
		l.add(name, string(x), string(x)+"x", "")
	case types.Long:
		l.add(name, int64(x), int64(x)-1, int64(x)+1)
	case types.EntityUID:
		l.entity(x)
	case types.Set:
		for e := range x.All() {
			l.value(name, e)
		}
	}
}

func (l *literals) add(name string, values ...any) { l.named[name] = keep(l.named[name], values...) }

// around is a decimal with its neighbours.
func around(text string) []any {
	d, err := types.ParseDecimal(text)
	if err != nil {
		return nil
	}
	out := []any{decimal(d.String())}
	f := d.Float()
	for _, step := range []float64{-0.0001, 0.0001} {
		if n, err := types.NewDecimalFromFloat(f + step); err == nil {
			out = append(out, decimal(n.String()))
		}
	}
	return out
}

// likes gives texts that a pattern matches, and some that it nearly does.
func likes(p types.Pattern) []any {
	text := strings.Trim(string(p.MarshalCedar()), `"`)
	empty, filled := strings.Builder{}, strings.Builder{}
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\\' && i+1 < len(text) && strings.IndexByte(`*"\`, text[i+1]) >= 0:
			i++
			empty.WriteByte(text[i])
			filled.WriteByte(text[i])
		case text[i] == '*':
			filled.WriteString("z/z")
		default:
			empty.WriteByte(text[i])
			filled.WriteByte(text[i])
		}
	}
	e, f := empty.String(), filled.String()
	return []any{e, f, "-" + e, e + "-", strings.ToUpper(e)}
}

// nameOf is the last attribute of an access; "" of anything else.
func nameOf(n ast.IsNode) string {
	if a, ok := n.(ast.NodeTypeAccess); ok {
		return string(a.Value)
	}
	return ""
}

// operands are the two sides of a comparison.
func operands(n ast.IsNode) (left, right ast.IsNode, ok bool) {
	var b ast.BinaryNode
	switch x := n.(type) {
	case ast.NodeTypeEquals:
		b = x.BinaryNode
	case ast.NodeTypeNotEquals:
		b = x.BinaryNode
	case ast.NodeTypeLessThan:
		b = x.BinaryNode
	case ast.NodeTypeLessThanOrEqual:
		b = x.BinaryNode
	case ast.NodeTypeGreaterThan:
		b = x.BinaryNode
	case ast.NodeTypeGreaterThanOrEqual:
		b = x.BinaryNode
	case ast.NodeTypeContains:
		b = x.BinaryNode
	case ast.NodeTypeContainsAll:
		b = x.BinaryNode
	case ast.NodeTypeContainsAny:
		b = x.BinaryNode
	case ast.NodeTypeIn:
		b = x.BinaryNode
	default:
		return nil, nil, false
	}
	return b.Left, b.Right, true
}
