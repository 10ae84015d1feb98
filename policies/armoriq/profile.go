package armoriq

import "slices"

// profileVersion is the profile format that is read.
const profileVersion = "armor.policy.v1"

// Profile translates a profile of statements or the entries of a policy snapshot, told apart by their members. Absent,
// null, {} and [] are no terms.
func Profile(raw []byte) (Terms, error) {
	v, ok, err := open(raw)
	if err != nil || !ok {
		return Terms{}, err
	}
	var t terms
	if v.kind() == '[' {
		entries, err := v.list(maxPolicies)
		if err == nil {
			err = snapshot(entries, &t)
		}
		if err != nil {
			return Terms{}, err
		}
		return t.finish()
	}
	m, err := v.members()
	if err != nil || len(m) == 0 {
		return Terms{}, err
	}
	switch {
	case anyOfThem(m, "schemaVersion", "statements", "kind"):
		err = v.profile(&t)
	case anyOfThem(m, entryMembers()...):
		err = snapshot([]value{v}, &t)
	default:
		err = v.problem(`a profile begins {"schemaVersion": "`+profileVersion+`", "kind": "PolicyProfile", "defaults": ..., "statements": [...]}`,
			"schemaVersion is missing; it has to be %q", profileVersion)
	}
	if err != nil {
		return Terms{}, err
	}
	return t.finish()
}

// anyOfThem reports that one of the members is there.
func anyOfThem(m map[string]value, names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool { _, ok := m[name]; return ok })
}

// profile reads armor.policy.v1.
func (v value) profile(t *terms) error {
	m, err := v.object("schemaVersion", "kind", "metadata", "defaults", "statements")
	if err != nil {
		return err
	}
	if err := v.constant(m, "schemaVersion", profileVersion); err != nil {
		return err
	}
	if err := v.constant(m, "kind", "PolicyProfile"); err != nil {
		return err
	}
	if meta, ok := m["metadata"]; ok {
		if t.out.Name, err = noteOf(meta, "name"); err != nil {
			return err
		}
	}
	decision, err := v.defaults(m)
	if err != nil {
		return err
	}
	list, ok := m["statements"]
	if !ok {
		return v.problem("", "statements are missing")
	}
	return list.statements(decision, t)
}

// constant checks a member that has one value only.
func (v value) constant(m map[string]value, name, want string) error {
	member, ok := m[name]
	if !ok {
		return v.problem("", "%s is missing; it has to be %q", name, want)
	}
	if got, err := member.word(); err != nil || got != want {
		return member.problem("", "%s has to be %q", name, want)
	}
	return nil
}

// defaults gives what happens where no statement matches: allow, deny or hold. permit, as statements say it, is allow.
func (v value) defaults(m map[string]value) (string, error) {
	d, ok := m["defaults"]
	if !ok {
		return "", v.problem(`write {"decision": "deny"}`, "defaults are missing")
	}
	members, err := d.object("decision", "conflictResolution")
	if err != nil {
		return "", err
	}
	if _, ok := members["conflictResolution"]; ok {
		if err := d.constant(members, "conflictResolution", "deny_overrides"); err != nil {
			return "", err
		}
	}
	decision, ok := members["decision"]
	if !ok {
		return "", d.problem("", "the decision is missing")
	}
	if word, err := decision.word(); err == nil && word == "permit" {
		return "allow", nil
	}
	return decision.oneOf("allow", "deny", "hold")
}

// oneOf reads a word of a closed list.
func (v value) oneOf(known ...string) (string, error) {
	s, err := v.word()
	if err != nil {
		return "", err
	}
	if !slices.Contains(known, s) {
		return "", v.problem("", "%q is not one of %q", s, known)
	}
	return s, nil
}
