package armoriq

import (
	"fmt"
	"strings"
)

// An entry of a snapshot lets named tools through and bounds the amounts of their calls. Where the clients take the first
// entry that fits, every entry that names a tool counts here: the lowest bound is the one that holds. An entry without
// allowedTools bounds the amounts of every call. As soon as one entry names tools, a call that none names is refused, or
// held if every entry that names tools says "hold".
type entry struct {
	name  string
	tools expr // the calls it is about
	lists bool // it has allowedTools
	holds bool
	most  string // decimals; "" is no bound
	above string
}

func snapshot(list []value, t *terms) error {
	var named, most, above []expr
	holds := true
	for i, v := range list {
		e, err := v.entry()
		if err != nil {
			return err
		}
		if e.name == "" {
			e.name = fmt.Sprintf("entry %d", i+1)
		}
		if e.lists {
			named = append(named, e.tools)
			holds = holds && e.holds
		}
		if e.most != "" {
			most = append(most, e.tools)
		}
		if e.above != "" {
			above = append(above, e.tools)
		}
		t.amounts(i, e)
	}
	t.unclear(most, above)
	if t.out.Name == "" && len(list) == 1 {
		t.out.Name, _ = noteOf(list[0], "policyName")
	}
	when := not(anyOf(named...))
	if len(named) == 0 || when == never {
		return nil
	}
	p := policy{id: "armoriq-allowedTools", reason: "No entry's allowedTools names this tool.", when: when}
	if holds {
		p.hold = "No entry's allowedTools names this tool; somebody has to approve it."
	}
	t.forbid(p)
	t.say("%s: a call of a tool that no entry names.", map[bool]string{true: "Held for approval", false: "Refused"}[holds])
	return nil
}

func noteOf(v value, name string) (string, error) {
	m, err := v.members()
	if err != nil {
		return "", err
	}
	return note(m, name)
}

// entryMembers are what an entry may have, ruleMembers those of its rule.
func entryMembers() []string {
	return append(ruleMembers(), "policyName", "policyId", "targetName", "defaultEnforcementAction", "memberRule", "clientRule", "rules")
}

func ruleMembers() []string { return []string{"allowedTools", "financialRule", "amountThreshold"} }

// entry reads one entry. Its rule stands in memberRule, clientRule or rules, or in the entry itself.
func (v value) entry() (e entry, err error) {
	m, err := v.object(entryMembers()...)
	if err != nil {
		return e, err
	}
	for _, name := range []string{"policyId", "targetName", "policyName"} {
		if e.name, err = note(m, name); err != nil {
			return e, err
		}
	}
	if action, ok := m["defaultEnforcementAction"]; ok {
		word, err := action.oneOf("block", "deny", "hold")
		if err != nil {
			return e, err
		}
		e.holds = word == "hold"
	}
	in, err := v.rule(m, ruleMembers())
	if err != nil {
		return e, err
	}
	return e, e.read(in)
}

// rule finds the one place where the rule stands.
func (v value) rule(m map[string]value, known []string) (map[string]value, error) {
	inline := map[string]value{}
	for _, name := range known {
		if r, ok := m[name]; ok {
			inline[name] = r
		}
	}
	found, places := inline, 0
	if len(inline) > 0 {
		places++
	}
	for _, name := range []string{"memberRule", "clientRule", "rules"} {
		r, ok := m[name]
		if !ok {
			continue
		}
		var err error
		if found, err = r.object(known...); err != nil {
			return nil, err
		}
		places++
	}
	if places > 1 {
		return nil, v.problem("keep one of memberRule, clientRule and rules", "the entry has more than one rule")
	}
	return found, nil
}

func (e *entry) read(m map[string]value) error {
	e.tools = always
	if v, ok := m["allowedTools"]; ok {
		list, _, err := v.patterns(reading{})
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return v.problem(`leave allowedTools out, or write ["*"]`, "an empty list could mean everything or nothing")
		}
		e.lists, e.tools = true, anyPattern(list, isTool, true)
	}
	bound, ok := m["amountThreshold"]
	if f, nested := m["financialRule"]; nested {
		inner, err := f.object("amountThreshold")
		if err != nil {
			return err
		}
		if b, has := inner["amountThreshold"]; has {
			if ok {
				return b.problem("keep one", "the amounts are bounded twice")
			}
			bound, ok = b, true
		}
	}
	if !ok {
		return nil
	}
	return e.bounds(bound)
}

func (e *entry) bounds(v value) error {
	m, err := v.object("currency", "maxPerTransaction", "requireApprovalAbove")
	if err != nil {
		return err
	}
	if _, err := note(m, "currency"); err != nil {
		return err
	}
	if most, ok := m["maxPerTransaction"]; ok {
		if e.most, err = most.decimal(); err != nil {
			return err
		}
	}
	if above, ok := m["requireApprovalAbove"]; ok {
		e.above, err = above.decimal()
	}
	return err
}

// decimal reads a number from 0 that Cedar can compare with: at most four decimal places and fifteen digits before them.
func (v value) decimal() (string, error) {
	whole, places, _ := strings.Cut(string(v.raw), ".")
	plain := strings.Trim(whole+places, "0123456789") == "" && whole != ""
	if v.kind() != '0' || !plain || len(places) > 4 || len(whole) > 14 {
		return "", v.problem("write it without exponent", "an amount from 0 with at most four decimal places is expected")
	}
	if places == "" {
		places = "0"
	}
	return whole + "." + places, nil
}

// amounts forbids and holds calls by their amounts.
func (t *terms) amounts(i int, e entry) {
	about := map[bool]string{true: "the tools of ", false: "every call, by "}[e.lists]
	if e.most != "" {
		reason := fmt.Sprintf("An amount of this call is above %s.", e.most)
		t.forbid(policy{id: fmt.Sprintf("armoriq-maxPerTransaction-%d", i+1), reason: reason, when: allOf(e.tools, amountAbove(e.most))})
		t.say("Refused: an amount above %s, or given as anything but a number (%s%q; currencies are not compared).", e.most, about, e.name)
	}
	if e.above != "" {
		why := fmt.Sprintf("An amount of this call is above %s; somebody has to approve it.", e.above)
		t.forbid(policy{id: fmt.Sprintf("armoriq-requireApprovalAbove-%d", i+1), reason: why, hold: why, when: allOf(e.tools, amountAbove(e.above))})
		t.say("Held for approval: an amount above %s, or given as anything but a number (%s%q; currencies are not compared).", e.above, about, e.name)
	}
}

// unclear forbids, or holds, the calls whose amounts are bounded and cannot be compared.
func (t *terms) unclear(most, above []expr) {
	const reason = "An amount of this call cannot be compared with the bound on it."
	t.forbid(policy{id: "armoriq-amount", reason: reason, when: allOf(anyOf(most...), incomparable())})
	t.forbid(policy{id: "armoriq-amount-approval", reason: reason, hold: reason, when: allOf(anyOf(above...), incomparable())})
}

// Every argument that can be an amount is looked at. The clients look at the first that is a number, and turn texts into
// numbers; whatever they find above a bound is above it here, or cannot be compared.
func amountNames() []string { return []string{"amount", "value", "total", "price", "cost"} }

func eachAmount(ask func(at string) expr) expr {
	var out []expr
	for _, name := range amountNames() {
		out = append(out, allOf(expr("(context.input has "+name+")"), ask("context.input."+name)))
	}
	return anyOf(out...)
}

// amountAbove reports that an amount is above a bound.
func amountAbove(bound string) expr {
	return eachAmount(func(at string) expr {
		above := allOf(expr("("+at+" has decimal)"), expr("("+at+`.decimal.greaterThan(decimal("`+bound+`")))`))
		if strings.HasPrefix(bound, "0.") {
			return anyOf(above, equals(at+".text", "true")) // 1 to a client
		}
		return above
	})
}

// incomparable reports that an amount is there and cannot be compared: a number beyond Cedar's decimal, a list, an object,
// or a text. What readers take for a number has no bounds that Cedar could say (digits of any script, "1e3", "Infinity",
// " 5_000 "), so every text counts but the empty one. null and false are no amounts; true is 1, for amountAbove.
func incomparable() expr {
	return eachAmount(func(at string) expr {
		return allOf(not(expr("("+at+" has decimal)")), not(among(at+".kind", []string{"null", "boolean"})), not(equals(at+".text", `""`)))
	})
}
