package cedartest

import (
	"fmt"
	"strconv"
	"strings"
)

// writer writes policies.
type writer struct {
	*Source
	words words
}

// policy writes one.
func (w *writer) policy(b *strings.Builder) {
	if w.one(9) {
		fmt.Fprintf(b, "@note(%s)\n", quote(pick(w.Source, strange...)))
	}
	fmt.Fprintf(b, "%s (%s, %s, %s)", pick(w.Source, "permit", "permit", "forbid"),
		pick(w.Source, w.words.principals...), pick(w.Source, w.words.actions...), pick(w.Source, w.words.resources...))
	for range pick(w.Source, 0, 1, 1, 1, 2, 3) {
		fmt.Fprintf(b, "\n%s { %s }", pick(w.Source, "when", "when", "unless"), w.clause())
	}
	b.WriteString(";\n")
}

// clause is what stands in a block: often a row of conjuncts without brackets, as people write them.
func (w *writer) clause() string {
	var out []string
	for range pick(w.Source, 1, 1, 2, 3) {
		out = append(out, w.expr(boolean, 3))
	}
	return strings.Join(out, " && ")
}

// expr writes an expression of a kind; once in some fifty of another.
func (w *writer) expr(k kind, depth int) string {
	if w.one(50) {
		k = pick(w.Source, boolean, long, text, texts, entity, address, decimal, moment, span, record)
	}
	if depth <= 0 || k != boolean && w.one(2) {
		return w.leaf(k)
	}
	if w.one(12) {
		return fmt.Sprintf("(if %s then %s else %s)", w.expr(boolean, depth-1), w.expr(k, depth-1), w.expr(k, depth-1))
	}
	if w.one(20) {
		return fmt.Sprintf(`{"a": %s, "b c": %s}%s`, w.expr(k, depth-1), w.expr(text, depth-1), pick(w.Source, ".a", `["a"]`, `["b c"]`))
	}
	switch k {
	case boolean:
		return w.condition(depth - 1)
	case long:
		return w.number(depth - 1)
	case moment, span:
		return w.time(k, depth-1)
	case texts:
		return "[" + w.expr(text, depth-1) + ", " + w.expr(text, depth-1) + "]"
	case entities:
		return "[" + w.expr(entity, depth-1) + ", " + w.expr(entity, depth-1) + "]"
	}
	return w.leaf(k)
}

// leaf is a place, if the world has one of the kind, or a literal.
func (w *writer) leaf(k kind) string {
	if !w.one(3) {
		var fit []string
		for _, p := range w.words.places {
			if p.kind == k {
				fit = append(fit, p.path)
			}
		}
		if len(fit) > 0 {
			return pick(w.Source, fit...)
		}
	}
	return w.literal(k)
}

func (w *writer) literal(k kind) string {
	switch k {
	case boolean:
		return pick(w.Source, "true", "false")
	case long:
		return pick(w.Source, "0", "1", "2", "3", "5", "10", "(-1)", "400", "9223372036854775807", "(-9223372036854775808)", strconv.Itoa(w.n(20)))
	case text:
		return quote(w.text())
	case texts:
		return pick(w.Source, "[]", "["+quote(w.text())+"]", "["+quote(w.text())+", "+quote(w.text())+"]", `["blue", 1]`)
	case entity:
		return pick(w.Source, append([]string{"principal", "resource", "action"}, w.words.ids...)...)
	case entities:
		return "[" + pick(w.Source, w.words.ids...) + ", " + pick(w.Source, w.words.ids...) + "]"
	case address:
		return "ip(" + quote(pick(w.Source, addresses...)) + ")"
	case decimal:
		return "decimal(" + quote(pick(w.Source, decimals...)) + ")"
	case moment:
		return "datetime(" + quote(pick(w.Source, moments...)) + ")"
	case span:
		return "duration(" + quote(pick(w.Source, spans...)) + ")"
	}
	return pick(w.Source, "{}", "{a: 1}", `{"b c": {d: "x"}}`, "context")
}

// condition is a boolean with an operator at its top.
func (w *writer) condition(depth int) string {
	two := func(k kind, format string) string { return fmt.Sprintf(format, w.expr(k, depth), w.expr(k, depth)) }
	switch w.n(22) {
	case 0, 1:
		return two(boolean, "(%s && %s)")
	case 2, 3:
		return two(boolean, "(%s || %s)")
	case 4:
		return "!(" + w.expr(boolean, depth) + ")"
	case 5, 6:
		return two(long, "(%s "+pick(w.Source, "<", "<=", ">", ">=")+" %s)")
	case 7:
		return two(pick(w.Source, boolean, long, text, texts, entity, address, decimal, moment, record), "(%s "+pick(w.Source, "==", "!=")+" %s)")
	case 8, 9, 10, 11:
		return fmt.Sprintf("(%s like %s)", w.expr(text, depth), w.pattern())
	case 12, 13:
		return w.guarded(depth)
	case 14:
		return "(" + w.expr(record, depth) + " has " + pick(w.Source, w.words.attributes...) + ")"
	case 15, 16:
		return w.membership(depth)
	case 17, 18:
		return w.group(depth)
	case 19:
		return w.network(depth)
	case 20:
		return fmt.Sprintf("%s.%s(%s)", w.expr(decimal, depth), pick(w.Source, "lessThan", "lessThanOrEqual", "greaterThan", "greaterThanOrEqual"), w.expr(decimal, depth))
	default:
		k := pick(w.Source, moment, moment, span)
		return fmt.Sprintf("(%s %s %s)", w.expr(k, depth), pick(w.Source, "<", "<=", ">", ">="), w.expr(k, depth))
	}
}

// guarded asks whether a place is there before it looks at it.
func (w *writer) guarded(depth int) string {
	p := pick(w.Source, w.words.places...)
	holder, name, found := cutLast(p.path)
	if !found {
		return w.expr(boolean, depth)
	}
	look := p.path
	switch p.kind {
	case text:
		look += " like " + w.pattern()
	case texts:
		look += ".contains(" + w.expr(text, depth) + ")"
	case long:
		look += " " + pick(w.Source, "<", ">=") + " " + w.expr(long, depth)
	case entity:
		look += " in " + w.expr(entity, depth)
	case boolean:
	default:
		look += " == " + w.expr(p.kind, depth)
	}
	if parent, first, deep := cutLast(holder); deep && w.one(2) {
		return fmt.Sprintf("(%s has %s.%s && %s)", parent, first, name, look)
	}
	return fmt.Sprintf("(%s has %s && %s)", holder, name, look)
}

// cutLast takes the last name off a path of plain names.
func cutLast(path string) (holder, name string, ok bool) {
	at := strings.LastIndexByte(path, '.')
	if at < 0 || strings.ContainsAny(path, `[("`) {
		return "", "", false
	}
	return path[:at], path[at+1:], true
}

func (w *writer) membership(depth int) string {
	k, e := texts, text
	if w.one(4) {
		k, e = entities, entity
	}
	switch w.n(4) {
	case 0:
		return w.expr(k, depth) + ".isEmpty()"
	case 1:
		return fmt.Sprintf("%s.%s(%s)", w.expr(k, depth), pick(w.Source, "containsAll", "containsAny"), w.expr(k, depth))
	default:
		return fmt.Sprintf("%s.contains(%s)", w.expr(k, depth), w.expr(e, depth))
	}
}

func (w *writer) group(depth int) string {
	e := w.expr(entity, depth)
	switch w.n(6) {
	case 0:
		return fmt.Sprintf("(%s is %s)", e, pick(w.Source, w.words.types...))
	case 1:
		return fmt.Sprintf("(%s is %s in %s)", e, pick(w.Source, w.words.types...), w.expr(entity, depth))
	case 2:
		return fmt.Sprintf("(%s in %s)", e, w.expr(entities, depth))
	case 3:
		if w.words.tags {
			key := pick(w.Source, `"level"`, `"team"`, `"none"`, w.expr(text, depth))
			return fmt.Sprintf("(%s.hasTag(%s) && %s.getTag(%s) == %s)", e, key, e, pick(w.Source, key, key, key, `"team"`), w.expr(pick(w.Source, text, long), depth))
		}
	}
	return fmt.Sprintf("(%s in %s)", e, w.expr(entity, depth))
}

func (w *writer) network(depth int) string {
	a := w.expr(address, depth)
	if w.one(3) {
		return a + "." + pick(w.Source, "isIpv4", "isIpv6", "isLoopback", "isMulticast") + "()"
	}
	return a + ".isInRange(" + w.expr(address, depth) + ")"
}

func (w *writer) number(depth int) string {
	switch w.n(5) {
	case 0:
		return "-(" + w.expr(long, depth) + ")"
	case 1:
		return w.expr(span, depth) + "." + pick(w.Source, "toSeconds", "toHours", "toMilliseconds", "toDays", "toMinutes") + "()"
	}
	return fmt.Sprintf("(%s %s %s)", w.expr(long, depth), pick(w.Source, "+", "-", "*"), w.expr(long, depth))
}

func (w *writer) time(k kind, depth int) string {
	switch {
	case k == moment && w.one(2):
		return w.expr(moment, depth) + ".offset(" + w.expr(span, depth) + ")"
	case k == moment:
		return w.leaf(moment) + ".toDate()"
	case w.one(2):
		return w.expr(moment, depth) + ".durationSince(" + w.expr(moment, depth) + ")"
	}
	return w.leaf(moment) + ".toTime()"
}
