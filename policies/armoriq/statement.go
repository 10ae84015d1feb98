package armoriq

import (
	"fmt"
	"slices"
	"strings"
)

// statement is one statement of a profile.
type statement struct {
	at     value
	id     string
	effect string
	match  pair   // the calls it speaks about
	strict error  // why match has no over, if it has none
	loose  error  // why match has no under, if it has none
	whom   error  // why it could permit too much: it names a principal or a resource, which are not compared
	text   string // for people
	named  bool   // it refuses or holds tools by their names
	vague  bool   // a condition is met by more calls where it refuses than where it permits
}

// statements translates a list of statements. As in the clients, forbid goes before require_approval, that before permit,
// and decision is what happens where nothing matches. Principals and resources are not compared, again as in the clients:
// a refusal meant for one agent meets all, and a permission for one is refused where it would count.
func (v value) statements(decision string, t *terms) error {
	list, err := v.list(maxStatements)
	if err != nil {
		return err
	}
	var passed []expr
	ids, named := map[string]bool{}, ""
	for _, e := range list {
		s, err := e.statement()
		if err != nil {
			return err
		}
		if ids[s.id] {
			return e.problem("", "the id %q is taken", s.id)
		}
		ids[s.id] = true
		when, err := s.add(decision, t)
		if err != nil {
			return err
		}
		passed = append(passed, when)
		if t.size > maxCedar {
			return tooLong(t.size)
		}
		if s.named && named != "forbid" {
			named = s.effect
		}
	}
	t.oddNames(named)
	t.otherwise(decision, anyOf(passed...))
	return nil
}

// add forbids or holds what the statement does, and gives the calls that the default leaves alone because of it.
func (s *statement) add(decision string, t *terms) (expr, error) {
	if s.effect == "permit" {
		if decision == "allow" {
			t.say("Statement %q has no effect, since everything is permitted unless a statement says otherwise.", s.id)
			return never, nil
		}
		for _, err := range []error{s.loose, s.whom} {
			if err != nil {
				return never, err
			}
		}
		t.say("Statement %q lets through %s.", s.id, s.text)
		return s.match.under, nil
	}
	if s.strict != nil {
		return never, s.strict
	}
	p := policy{id: "armoriq:" + s.id, when: s.match.over, reason: fmt.Sprintf("Statement %q of the profile forbids this call.", s.id)}
	verb := "refuses"
	if s.effect == "require_approval" {
		p.reason = fmt.Sprintf("Statement %q of the profile asks for approval of this call.", s.id)
		p.hold, verb = p.reason, "holds for approval"
	}
	t.forbid(p)
	more := ""
	if s.vague {
		more = ", and what cannot be told from that"
	}
	t.say("Statement %q %s %s%s.", s.id, verb, s.text, more)
	if s.loose != nil {
		return never, nil
	}
	return s.match.under, nil
}

// oddNames forbids or holds the tools whose names cannot be compared as the clients compare them, if statements do so.
func (t *terms) oddNames(effect string) {
	if effect == "" {
		return
	}
	p := policy{id: "armoriq-names", reason: "The name of this tool has unusual blanks or could pass for another.", when: oddName()}
	if effect == "require_approval" {
		p.hold = p.reason
	}
	t.forbid(p)
}

// otherwise forbids or holds what no statement speaks about.
func (t *terms) otherwise(decision string, passed expr) {
	if decision == "allow" || passed == always {
		return
	}
	p := policy{id: "armoriq-default", reason: "No statement of the profile permits this call.", when: not(passed)}
	if decision == "hold" {
		p.hold = "No statement of the profile permits this call; somebody has to approve it."
	}
	t.forbid(p)
	t.say("%s: whatever no statement speaks about.", map[bool]string{true: "Held for approval", false: "Refused"}[decision == "hold"])
}

// statement reads one statement.
func (v value) statement() (s statement, err error) {
	m, err := v.object("id", "effect", "principal", "action", "resource", "conditions")
	if err != nil {
		return s, err
	}
	s.at = v
	for _, name := range []string{"id", "effect", "action"} {
		if _, ok := m[name]; !ok {
			return s, v.problem("", "%s is missing", name)
		}
	}
	if s.id, err = m["id"].word(); err != nil {
		return s, err
	}
	if s.effect, err = m["effect"].oneOf("permit", "forbid", "require_approval"); err != nil {
		return s, err
	}
	if s.whom, err = whom(m); err != nil {
		return s, err
	}
	if err = s.selector(m["action"]); err != nil {
		return s, err
	}
	if c, ok := m["conditions"]; ok {
		err = s.conditions(c)
	}
	return s, err
}

// conditions reads the conditions, all of which have to hold.
func (s *statement) conditions(v value) error {
	list, err := v.list(maxList)
	if err != nil {
		return err
	}
	all := []pair{s.match}
	for _, c := range list {
		p, text, err := c.condition()
		if err != nil {
			return err
		}
		if p.over == "" && s.strict == nil {
			s.strict = c.problem("say which values are permitted instead", "Cedar cannot say when a call of this kind has to be refused: %s", text)
		}
		if p.under == "" && s.loose == nil {
			s.loose = c.problem("say which values are refused instead", "Cedar cannot say when a call of this kind may be permitted: %s", text)
		}
		s.vague = s.vague || p.over != p.under
		all = append(all, p)
		s.text += ", if " + text
	}
	s.match = every(all...)
	return nil
}

// whom checks principal and resource. wide says, as an error, that one of them narrows the statement, which is not
// translated: the statement would be wider.
func whom(m map[string]value) (wide, err error) {
	if v, ok := m["principal"]; ok {
		types := []string{"agent", "user", "org", "role"}
		if wide, err = v.narrows("principal", "id", []string{"*", "claude-code"}, types); err != nil {
			return nil, err
		}
	}
	if v, ok := m["resource"]; ok {
		types := []string{"workspace", "file", "directory", "network", "mcp_server", "secret"}
		narrow, err := v.narrows("resource", "scope", []string{"*", "current"}, types, "path", "host", "name")
		if err != nil || wide == nil {
			return narrow, err
		}
	}
	return wide, nil
}

// narrows checks a principal or a resource. It is all there is if its type is the first and its word, when it is given,
// one of all; more are members that narrow it.
func (v value) narrows(what, word string, all, types []string, more ...string) (wide, err error) {
	m, err := v.object(append([]string{"type", word}, more...)...)
	if err != nil {
		return nil, err
	}
	narrow := false
	if t, ok := m["type"]; ok {
		typ, err := t.oneOf(types...)
		if err != nil {
			return nil, err
		}
		narrow = typ != types[0]
	}
	for _, name := range append([]string{word}, more...) {
		s, err := note(m, name)
		if err != nil {
			return nil, err
		}
		narrow = narrow || s != "" && (name != word || !slices.Contains(all, s))
	}
	if narrow {
		wide = v.problem("permit it to all, or leave it to the bundle", "a permission for one %s cannot be told from one for all", what)
	}
	return wide, nil
}

// selector reads the action of a statement: the tools it is about.
func (s *statement) selector(v value) error {
	m, err := v.object("type", "eq", "in")
	if err != nil {
		return err
	}
	typ := "tool"
	if t, ok := m["type"]; ok {
		if typ, err = t.oneOf("tool", "mcp_server", "mcp_tool", "bash_program"); err != nil {
			return err
		}
	}
	one, single := m["eq"]
	many, listed := m["in"]
	if single == listed {
		return v.problem("", "one of eq and in is expected")
	}
	var words []string
	if single {
		many = one
		var w string
		w, err = one.word()
		words = []string{w}
	} else {
		words, err = many.words()
	}
	if err != nil {
		return err
	}
	s.text = "calls of " + quoted(words)
	if s.match, err = many.selected(typ, words); err != nil || s.match.over == s.match.under {
		return err
	}
	s.named, s.vague = s.effect != "permit" && typ != "mcp_server", typ == "bash_program"
	if s.match.over == "" && s.strict == nil {
		s.strict = many.problem("name the server by mcp_server", "Cedar cannot say every spelling of %s", quoted(words))
	}
	if s.named && !s.vague {
		s.text += anyCaseText(words)
	}
	return nil
}

func anyCaseText(words []string) string {
	if slices.ContainsFunc(words, func(w string) bool { return letters(w) > maxSpelled }) {
		return " (in any case, and names made of the same parts)"
	}
	return " (in any case)"
}

func quoted(words []string) string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = fmt.Sprintf("%q", w)
	}
	return strings.Join(out, ", ")
}

func (v value) selected(typ string, words []string) (pair, error) {
	if slices.Contains(words, "*") {
		return exactly(always), nil
	}
	var list []pair
	for _, w := range words {
		p, err := v.selectedOne(typ, w)
		if err != nil {
			return pair{}, err
		}
		list = append(list, p)
	}
	out := either(list...)
	if typ == "tool" || typ == "mcp_tool" {
		over, ok := spelled(words)
		if out.over = over; !ok {
			out.over = ""
		}
	}
	return out, nil
}

// selectedOne reads one name. What a refusal of tools by their names meets is said for all names together.
func (v value) selectedOne(typ, word string) (pair, error) {
	if strings.Contains(word, "*") {
		return pair{}, v.problem("a lone star is every tool; name a server by mcp_server", "%q has a star in it", word)
	}
	switch typ {
	case "mcp_server":
		return serverNamed(word), nil
	case "bash_program":
		p, err := v.programs([]string{word})
		bash, _ := spelled([]string{"Bash"})
		return pair{over: bash, under: toolNamed("Bash")}.and(p), err
	case "tool":
		if word != "Grep" && slices.Contains(shellPrograms(), strings.ToLower(word)) {
			return pair{}, v.problem(`say {"type": "bash_program"}, in lower case`, "%q is a program to the clients, and no tool", word)
		}
		if c := word[0]; (c < 'A' || c > 'Z') && !strings.Contains(word, "__") && !strings.Contains(word, "/") {
			return pair{}, v.problem(`say {"type": "mcp_tool"} for a server's tool, or "bash_program"`, "%q could be a tool or a program", word)
		}
	}
	return exactly(toolNamed(word)), nil
}

// shellPrograms are the words that clients take for programs of Bash where a tool is named, in any case.
func shellPrograms() []string {
	return strings.Fields("awk aws az cat curl find gcloud grep head jq kubectl less lf ls lsof nc netstat nmap psql sed ss tail tree")
}

// toolNamed is a tool of any server, or of the server that its name starts with.
func toolNamed(name string) expr {
	out := equals(toolName, name)
	server, tool, joined := strings.Cut(name, "/")
	if !joined {
		server, tool, joined = splitJoined(name)
	}
	if joined && server != "" && tool != "" {
		out = anyOf(out, allOf(onServer(server), equals(toolName, tool)))
	}
	return allOf(isTool, out)
}

// serverNamed is a server of the gateway, or one that an agent holds itself and whose tools it joins to the server's name.
// The clients take what stands after the first "__" for the server, whatever stands before, which can have become the
// server's name here.
func serverNamed(name string) pair {
	local := func(e ...expr) expr { return anyOf(onServer(name), allOf(isTool, anyOf(e...))) }
	return pair{
		over: local(equals(toolName, name), starting(toolName, name+"__"), containing(toolName, "__"+name+"__"),
			like(toolName, "", "__"+name)),
		under: local(starting(toolName, "mcp__"+name+"__")),
	}
}
