package intent

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/gatewright/gatewright/merkle/canon"
)

// maxArguments bounds the members of an arguments object that is compared member by member.
const maxArguments = 4096

// workBudget bounds what one request may cost in matching, over all candidate steps: about 20 ms of
// the worst pattern over the longest value. Past it the request is refused.
const workBudget = 1 << 22

// member is one argument: its decoded name, its raw value and, once asked for, the canonical value.
type member struct {
	name, value, canonical []byte
}

// arguments is a request's arguments object taken apart once for all candidate steps. Name and
// canonical slices point into buf or older arrays of it; the whole is reused through a pool.
type arguments struct {
	raw     []byte
	members []member
	buf     []byte
	work    int
	parsed  bool
	fault   string // why the object cannot be matched at all
}

var argumentPool = sync.Pool{New: func() any { return new(arguments) }}

// takeArguments starts matching raw; absent arguments are the empty object.
func takeArguments(raw []byte) *arguments {
	a := argumentPool.Get().(*arguments)
	a.raw = trim(raw)
	if len(a.raw) == 0 {
		a.raw = emptyObject
	}
	a.work = workBudget
	return a
}

var emptyObject = []byte("{}")

// release gives a back without keeping anything of the request alive.
func (a *arguments) release() {
	clear(a.members)
	if cap(a.buf) > 64<<10 || cap(a.members) > 256 {
		a.buf, a.members = nil, nil // rare giants are not kept
	}
	*a = arguments{members: a.members[:0], buf: a.buf[:0]}
	argumentPool.Put(a)
}

// parse splits the object and sorts its members by name. Doubled names cannot come from the strict
// gate and are refused here once more: two readers would choose differently.
func (a *arguments) parse() {
	a.parsed = true
	if canon.KindOf(a.raw) != '{' {
		a.fault = "arguments are not an object"
		return
	}
	err := canon.Each(a.raw, func(k, v []byte) error {
		if len(a.members) >= maxArguments {
			return errTooMany
		}
		from := len(a.buf)
		a.buf = append(a.buf, k...)
		a.members = append(a.members, member{name: a.buf[from:len(a.buf):len(a.buf)], value: v})
		if n := len(a.members); n > few {
			return nil
		}
		for i := len(a.members) - 1; i > 0 && bytes.Compare(a.members[i-1].name, a.members[i].name) > 0; i-- {
			a.members[i-1], a.members[i] = a.members[i], a.members[i-1]
		}
		return nil
	})
	if err != nil {
		a.fault = "arguments are not an object of at most 4096 members"
		return
	}
	if len(a.members) > few {
		slices.SortFunc(a.members, func(x, y member) int { return bytes.Compare(x.name, y.name) })
	}
	for i := 1; i < len(a.members); i++ {
		if bytes.Equal(a.members[i-1].name, a.members[i].name) {
			a.fault = "arguments hold a name twice"
		}
	}
}

// few is how many members are put in order as they come.
const few = 16

var errTooMany = refuse(ArgsMismatch, "too many arguments", "")

// spend charges n units of work and tells whether the budget still held.
func (a *arguments) spend(n int) bool {
	a.work -= n
	return a.work >= 0
}

// mismatch says what keeps arguments from fitting a step; never a value. The zero value means a fit.
type mismatch struct {
	what string // added, removed, changed, too costly, or a whole sentence without a name
	name string
	more []byte // name of an added parameter, part of the request
	kind byte   // KindOf the value, for changed
	want byte   // KindOf the constant it should be, or 0
}

func (m mismatch) fits() bool { return m.what == "" }

// match compares the arguments with the rules, both ascending by name. final forgives what lies at
// redactable places.
func (m *matcher) match(a *arguments, final bool) mismatch {
	if m.exact != nil && bytes.Equal(a.raw, m.exact) {
		return mismatch{}
	}
	if !a.parsed {
		a.parse()
	}
	if a.fault != "" {
		return mismatch{what: a.fault}
	}
	i := 0
	for n := range m.rules {
		r := &m.rules[n]
		for i < len(a.members) && string(a.members[i].name) < r.name {
			if !m.additional {
				return mismatch{what: "added", more: a.members[i].name}
			}
			i++
		}
		if i < len(a.members) && string(a.members[i].name) == r.name {
			if miss := r.match(a, &a.members[i], final); !miss.fits() {
				return miss
			}
			i++
			continue
		}
		if !r.optional {
			return mismatch{what: "removed", name: r.name}
		}
	}
	if i < len(a.members) && !m.additional {
		return mismatch{what: "added", more: a.members[i].name}
	}
	return mismatch{}
}

func (r *rule) match(a *arguments, m *member, final bool) mismatch {
	if final && (r.free || a.equalMasked(m, r)) || r.allows(a, m) {
		return mismatch{}
	}
	if a.work < 0 {
		return mismatch{what: "too costly", name: r.name}
	}
	miss := mismatch{what: "changed", name: r.name, kind: canon.KindOf(m.value)}
	if r.kind == ruleConst {
		miss.want = canon.KindOf(r.want[0])
	}
	return miss
}

// allows tells whether the value satisfies the constraint.
func (r *rule) allows(a *arguments, m *member) bool {
	switch r.kind {
	case ruleOpen:
		return true
	case ruleConst:
		return a.equal(m, r.want[0])
	case ruleEnum:
		if !a.spend(len(r.want)) {
			return false
		}
		for _, w := range r.want {
			if a.equal(m, w) {
				return true
			}
		}
		return false
	case ruleRange:
		return canon.KindOf(m.value) == '0' && r.inRange(parseDecimal(m.value))
	case rulePrefix:
		s, ok := a.text(m.value)
		return ok && bytes.HasPrefix(s, []byte(r.prefix))
	case rulePattern:
		s, ok := a.text(m.value)
		return ok && a.matches(r.pattern, s)
	case ruleSchema:
		return r.schema.allows(a, m.value)
	}
	return false
}

func (r *rule) inRange(d decimal) bool {
	return (!r.lowest || d.compare(r.min) >= 0) && (!r.highest || d.compare(r.max) <= 0)
}

// equal compares in canonical form, and writes that form only when the raw bytes leave it open.
func (a *arguments) equal(m *member, want []byte) bool {
	if bytes.Equal(m.value, want) {
		return true
	}
	if !mayEqual(m.value, want) {
		return false
	}
	if m.canonical == nil {
		m.canonical = a.canonicalize(m.value)
	}
	return m.canonical != nil && bytes.Equal(m.canonical, want)
}

// mayEqual tells whether raw, which differs from the canonical want, could still mean the same.
func mayEqual(raw, want []byte) bool {
	k := canon.KindOf(raw)
	if k != canon.KindOf(want) {
		return false
	}
	switch k {
	case '{', '[', '0':
		return true
	case '"': // without an escape a string is written canonically already
		return bytes.IndexByte(raw, '\\') >= 0
	}
	return false
}

// canonicalize writes the canonical form of a value into the scratch buffer, or returns nil.
func (a *arguments) canonicalize(value []byte) []byte {
	if !a.spend(len(value)) {
		return nil
	}
	from := len(a.buf)
	out, err := canon.AppendCanonical(a.buf, value, wholePlan())
	if err != nil {
		return nil
	}
	a.buf = out
	return out[from:len(out):len(out)]
}

// equalMasked tells whether value differs from a wanted value at redactable places only.
func (a *arguments) equalMasked(m *member, r *rule) bool {
	if len(r.masked) == 0 || !a.spend(2*len(m.value)) {
		return false
	}
	masked, _, err := appendMasked(nil, m.value, r.masks)
	if err != nil {
		return false
	}
	if masked = a.canonicalize(masked); masked == nil {
		return false
	}
	for _, w := range r.masked {
		if bytes.Equal(masked, w) {
			return true
		}
	}
	return false
}

// text returns the decoded bytes of a JSON string.
func (a *arguments) text(value []byte) ([]byte, bool) {
	if canon.KindOf(value) != '"' || !a.spend(len(value)) {
		return nil, false
	}
	s := value[1 : len(value)-1]
	if bytes.IndexByte(s, '\\') >= 0 {
		decoded, err := canon.Unquote(value)
		if err != nil {
			return nil, false
		}
		s = []byte(decoded)
	}
	return s, true
}

func (a *arguments) matches(p *pattern, s []byte) bool {
	return len(s) <= maxPatternValue && a.spend(p.cost*(len(s)+1)) && p.re.Match(s)
}

// refusal words a mismatch for the caller, who knows the names but gets no values back.
func (m mismatch) refusal() *Error {
	e := refuse(ArgsMismatch, m.what, "")
	name := m.name + string(m.more)
	if len(name) > maxName {
		name = strings.ToValidUTF8(name[:maxName], "")
	}
	e.Pointer = "/" + escapeToken(name)
	quoted := strconv.Quote(name)
	switch m.what {
	case "added":
		e.Msg, e.Hint = "parameter "+quoted+" added", "the plan does not name it; capture a plan that does, or one with additional parameters allowed"
	case "removed":
		e.Msg, e.Hint = "parameter "+quoted+" removed", "the plan requires it"
	case "changed":
		e.Msg, e.Hint = "parameter "+quoted+" changed", "its value is outside what the plan allows"
		if m.want != 0 && m.want != m.kind {
			e.Hint = "it is " + kindName(m.kind) + " where the plan has " + kindName(m.want)
		}
	case "too costly":
		e.Msg, e.Hint = "parameter "+quoted+" is too costly to check", "send a shorter value"
	default:
		e.Pointer = ""
	}
	return e
}

func kindName(k byte) string {
	switch k {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "nothing"
}

func runeCount(s []byte) int { return utf8.RuneCount(s) }
