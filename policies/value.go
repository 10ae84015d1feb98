package policies

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/gatewright/gatewright/merkle/canon"
)

// A fault is why an argument cannot be shown to policy. It denies the call: a policy that cannot see an argument it reads
// must not be asked about it.
type fault struct {
	pointer string // RFC 6901, of the argument
	msg     string
}

func (f *fault) Error() string { return "argument " + f.pointer + ": " + f.msg }

// reader turns checked JSON into Cedar values of a given shape.
type reader struct {
	path  []string // where we are, for faults and nulls
	nulls []types.Value
}

func (r *reader) pointer() string {
	var b strings.Builder
	for _, p := range r.path {
		b.WriteByte('/')
		b.WriteString(strings.ReplaceAll(strings.ReplaceAll(p, "~", "~0"), "/", "~1"))
	}
	return b.String()
}

func (r *reader) fault(format string, args ...any) error {
	return &fault{pointer: r.pointer(), msg: fmt.Sprintf(format, args...)}
}

// value converts one value. raw has been checked.
func (r *reader) value(raw []byte, s *shape) (types.Value, error) {
	want := [...]byte{kindString: '"', kindBool: 'b', kindLong: '0', kindDecimal: '0', kindSet: '[', kindRecord: '{'}
	if s.kind == kindJSON {
		return r.json(raw)
	}
	got := canon.KindOf(raw)
	if got == 't' || got == 'f' {
		got = 'b'
	}
	if got != want[s.kind] {
		return nil, r.fault("the tool's schema promises %s", s.kind)
	}
	switch s.kind {
	case kindString:
		text, err := canon.Unquote(raw)
		return types.String(text), err
	case kindBool:
		return types.Boolean(canon.KindOf(raw) == 't'), nil
	case kindLong:
		n, ok := parseLong(raw)
		if !ok {
			return nil, r.fault("%.40s is not an integer of 64 bits", raw)
		}
		return types.Long(n), nil
	case kindDecimal:
		d, ok := parseDecimal(raw)
		if !ok {
			return nil, r.fault("%.40s does not fit a decimal of four places, so no policy can compare it", raw)
		}
		return d, nil
	case kindSet:
		return r.set(raw, s)
	default:
		return r.record(raw, s)
	}
}

func (r *reader) set(raw []byte, s *shape) (types.Value, error) {
	var elems []types.Value
	err := canon.EachElement(raw, func(i int, v []byte) error {
		r.path = append(r.path, strconv.Itoa(i))
		e, err := r.value(v, s.elem)
		r.path = r.path[:len(r.path)-1]
		elems = append(elems, e)
		return err
	})
	if err != nil {
		return nil, err
	}
	return types.NewSet(elems...), nil
}

func (r *reader) record(raw []byte, s *shape) (types.Value, error) {
	rec := types.RecordMap{}
	err := canon.Each(raw, func(key, v []byte) error {
		r.path = append(r.path, string(key))
		defer func() { r.path = r.path[:len(r.path)-1] }()
		m := s.member(key)
		if m == nil {
			return r.fault("the tool's schema does not name this member, so no policy can see it")
		}
		return r.member(rec, m, v)
	})
	if err != nil {
		return nil, err
	}
	return types.NewRecord(rec), nil
}

// member converts one member of an object into rec. A null where null is allowed leaves the attribute absent and is
// remembered for inputNulls.
func (r *reader) member(rec types.RecordMap, m *member, v []byte) error {
	if m.nullable && canon.KindOf(v) == 'n' {
		r.nulls = append(r.nulls, types.String(r.pointer()))
		return nil
	}
	val, err := r.value(v, m.shape)
	if err != nil {
		return err
	}
	rec[types.String(m.name)] = val
	return nil
}

// json shows a value of any type as a Json record.
func (r *reader) json(raw []byte) (types.Value, error) {
	text, err := canon.AppendCanonical(nil, raw, canon.DefaultLimits())
	if err != nil {
		return nil, r.fault("%v", err)
	}
	rec := types.RecordMap{"text": types.String(text)}
	name := "null"
	switch canon.KindOf(raw) {
	case '{':
		name = "object"
	case '[':
		name = "array"
	case '"':
		name = "string"
		s, err := canon.Unquote(raw)
		if err != nil {
			return nil, r.fault("%v", err)
		}
		rec["string"] = types.String(s)
	case 't', 'f':
		name = "boolean"
		rec["bool"] = types.Boolean(canon.KindOf(raw) == 't')
	case '0':
		name = "number"
		if n, ok := parseLong(raw); ok {
			rec["long"] = types.Long(n)
		}
		if d, ok := parseDecimal(raw); ok {
			rec["decimal"] = d
		}
	}
	rec["kind"] = types.String(name)
	return types.NewRecord(rec), nil
}

func (k kind) String() string {
	return [...]string{"any value", "a string", "a boolean", "an integer", "a number", "an array", "an object"}[k]
}

// errNotObject is what arguments that are no JSON object get.
var errNotObject = errors.New("the arguments are not a JSON object")

// scaled parses a JSON number as an exact multiple of 10^-places, or reports that it is none. JSON numbers may be written
// in many ways (1.50, 15e-1, 150E-2); the value decides, not the spelling.
func scaled(raw []byte, places int) (int64, bool) {
	text := strings.TrimSpace(string(raw))
	mantissa, exp := text, 0
	if at := strings.IndexAny(text, "eE"); at >= 0 {
		e, err := strconv.Atoi(text[at+1:])
		if err != nil || e > 400 || e < -400 { // beyond float64, which the JSON gate has refused
			return 0, false
		}
		mantissa, exp = text[:at], e
	}
	whole, frac, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimLeft(strings.TrimPrefix(whole, "-")+frac, "0")
	exp += places - len(frac)
	for exp < 0 && strings.HasSuffix(digits, "0") {
		digits, exp = digits[:len(digits)-1], exp+1
	}
	if digits == "" {
		return 0, true
	}
	if exp < 0 || len(digits)+exp > 19 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits+strings.Repeat("0", exp), 10, 64)
	negative := strings.HasPrefix(whole, "-")
	switch {
	case err != nil:
		return 0, false
	case negative && n <= 1<<63:
		return -int64(n), true //nolint:gosec // 1<<63 wraps to itself, which is the right value
	case !negative && n <= math.MaxInt64:
		return int64(n), true
	}
	return 0, false
}

// parseLong reads plain digits at once, as nearly all integers are written.
func parseLong(raw []byte) (int64, bool) {
	if len(raw) == 0 || len(raw) > 18 {
		return scaled(raw, 0)
	}
	var n int64
	for _, c := range raw {
		if c -= '0'; c > 9 {
			return scaled(raw, 0)
		}
		n = n*10 + int64(c)
	}
	return n, true
}

func parseDecimal(raw []byte) (types.Decimal, bool) {
	n, ok := scaled(raw, 4)
	if !ok {
		return types.Decimal{}, false
	}
	d, err := types.NewDecimal(n, -4)
	return d, err == nil
}
