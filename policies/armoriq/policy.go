package armoriq

import (
	"fmt"
	"strings"
	"time"
)

// maxPriority bounds priority; ArmorIQ documents 0 to 100.
const maxPriority = 1 << 53

// Policy translates what a client gives with a plan. Absent, null, {} and {"global":{"metadata":{..}}} are no terms. Of an
// array the policy of the highest priority counts; the others have to be understood, and are named in Lines.
//
// The terms hold together, and reasons come in this order: deny, denied_tools, allow, allowed_tools, statements,
// addresses, times. An empty list of deny, denied_tools or allowed_tools is no term, as in the clients; elsewhere an
// empty list is refused.
func Policy(raw []byte) (Terms, error) {
	v, ok, err := open(raw)
	if err != nil || !ok {
		return Terms{}, err
	}
	if v.kind() == '[' {
		return v.highest()
	}
	return v.policy()
}

// highest translates an array and chooses.
func (v value) highest() (Terms, error) {
	list, err := v.list(maxPolicies)
	if err != nil || len(list) == 0 {
		return Terms{}, err
	}
	all := make([]Terms, len(list))
	best, tied := 0, false
	for i, e := range list {
		if all[i], err = e.policy(); err != nil {
			return Terms{}, err
		}
		if i > 0 && all[i].Priority >= all[best].Priority {
			tied = all[i].Priority == all[best].Priority
			if !tied {
				best = i
			}
		}
	}
	if tied {
		return Terms{}, v.problem("give each its own priority", "two policies have the highest priority, %d", all[best].Priority)
	}
	out := all[best]
	for i, t := range all {
		if i != best {
			out.Lines = append(out.Lines, fmt.Sprintf("%s, of priority %d, is overruled by %s, of priority %d.",
				called(t, i), t.Priority, called(out, best), out.Priority))
		}
	}
	return out, nil
}

func called(t Terms, i int) string {
	if t.Name == "" {
		return fmt.Sprintf("Policy %d", i+1)
	}
	return fmt.Sprintf("Policy %q", t.Name)
}

// policy translates one object.
func (v value) policy() (Terms, error) {
	m, err := v.object("name", "description", "global", "metadata", "priority",
		"deny", "denied_tools", "allow", "allowed_tools", "statements", "rate_limit", "ip_whitelist", "time_restrictions")
	if err != nil {
		return Terms{}, err
	}
	var t terms
	for _, read := range []func(map[string]value, *terms) error{
		readNotes, readDenied, readAllowed, readStatements, readRate, readPlaces, readTimes,
	} {
		if err := read(m, &t); err != nil {
			return Terms{}, err
		}
	}
	return t.finish()
}

// readNotes reads what names and orders, and forbids nothing.
func readNotes(m map[string]value, t *terms) (err error) {
	if t.out.Name, err = note(m, "name"); err != nil {
		return err
	}
	if _, err = note(m, "description"); err != nil {
		return err
	}
	if g, ok := m["global"]; ok {
		if m, err = g.object("metadata"); err != nil {
			return err
		}
	}
	if meta, ok := m["metadata"]; ok {
		if _, err = meta.members(); err != nil {
			return err
		}
	}
	if p, ok := m["priority"]; ok {
		t.out.Priority, err = p.whole(0, maxPriority)
	}
	return err
}

func readDenied(m map[string]value, t *terms) error {
	for _, name := range []string{"deny", "denied_tools"} {
		v, ok := m[name]
		if !ok {
			continue
		}
		list, words, err := v.patterns(readingOf(name))
		if err != nil {
			return err
		}
		if len(list) > 0 {
			t.forbid(policy{id: "armoriq-" + name, reason: "The policy's " + name + " names this call.", when: anyPattern(list, hasName, true)})
			t.say("Refused: %s.", strings.Join(words, ", "))
		}
	}
	return nil
}

func readAllowed(m map[string]value, t *terms) error {
	for _, name := range []string{"allow", "allowed_tools"} {
		v, ok := m[name]
		if !ok {
			continue
		}
		list, words, err := v.patterns(readingOf(name))
		if err != nil {
			return err
		}
		if len(list) == 0 && name == "allow" {
			return v.problem(`leave allow out, or write ["*"]`, "an empty list could mean everything or nothing")
		}
		if when := anyPattern(list, isTool, name == "allowed_tools"); len(list) > 0 && when != always {
			t.forbid(policy{id: "armoriq-" + name, reason: "The policy's " + name + " does not name this call.", when: not(when)})
			t.say("Refused unless it is one of: %s.", strings.Join(words, ", "))
		}
	}
	return nil
}

// readStatements reads what armorClaude adds to a plan's policy: the statements of its profile, without a default.
func readStatements(m map[string]value, t *terms) error {
	v, ok := m["statements"]
	if !ok {
		return nil
	}
	return v.statements("allow", t)
}

func readRate(m map[string]value, t *terms) error {
	v, ok := m["rate_limit"]
	if !ok {
		return nil
	}
	n, err := v.whole(1, 1_000_000_000)
	if err != nil {
		return v.problem("leave rate_limit out for no bound", "rate_limit is calls an hour, a whole number from 1")
	}
	t.out.Rates = append(t.out.Rates, Rate{Max: int(n), Per: time.Hour})
	t.say("At most %d calls an hour.", n)
	return nil
}

func readPlaces(m map[string]value, t *terms) error {
	v, ok := m["ip_whitelist"]
	if !ok {
		return nil
	}
	when, err := addresses(v, t)
	if err == nil {
		t.forbid(policy{id: "armoriq-ip_whitelist", reason: "The policy's ip_whitelist does not hold this address.", when: not(when)})
	}
	return err
}

func readTimes(m map[string]value, t *terms) error {
	v, ok := m["time_restrictions"]
	if !ok {
		return nil
	}
	when, err := times(v, t)
	if err == nil {
		t.forbid(policy{id: "armoriq-time_restrictions", reason: "The policy's time_restrictions do not allow this hour or day.", when: not(when)})
	}
	return err
}
