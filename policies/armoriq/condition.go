package armoriq

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode"
)

// pair is a condition from both sides: over holds at least where the condition does, under at most there. Refusals are
// written with over and permissions with under, so a condition that Cedar cannot say exactly errs to the strict side. A
// side that cannot be said at all is "", and a statement that needs it is refused.
type pair struct{ over, under expr }

func exactly(e expr) pair { return pair{e, e} }

func (p pair) not() pair {
	out := pair{}
	if p.under != "" {
		out.over = not(p.under)
	}
	if p.over != "" {
		out.under = not(p.over)
	}
	return out
}

func (p pair) and(q pair) pair { return every(p, q) }

func every(list ...pair) pair  { return combine(allOf, list) }
func either(list ...pair) pair { return combine(anyOf, list) }

// combine joins each side; a side that one of the conditions lacks is lacking.
func combine(join func(...expr) expr, list []pair) pair {
	over, under := make([]expr, len(list)), make([]expr, len(list))
	for i, p := range list {
		over[i], under[i] = p.over, p.under
	}
	out := pair{join(over...), join(under...)}
	if slices.Contains(over, "") {
		out.over = ""
	}
	if slices.Contains(under, "") {
		out.under = ""
	}
	return out
}

// condition reads {field, op, value}:
//
//	tool.name                 eq in not_in starts_with                 exact
//	mcp.server                eq in not_in                             refused: also tools with SERVER in names joined by __
//	bash.program              eq in not_in                             refused: a word that starts with it stands anywhere
//	                                                                   permitted: the command is it, or starts with it and a space
//	bash.raw                  eq in not_in starts_with [not_]matches   refused: anywhere in the command; permitted: from its start
//	bash.hasWriteRedirection  eq                                       refused: whatever could redirect or write
//	file.path                 eq in not_in starts_with [not_]matches   file_path or path; refused also what could be told
//	                                                                   shorter ("..", "//"); permitted no "..", but by eq and in
//	network.host              eq in not_in                             permissions, and refusals of all other hosts
//
// A command or a path that is no text is refused by every refusal. matches takes expressions of plain text, .* and alternatives. within_workspace is refused: no server knows the agent's
// workspace.
func (v value) condition() (pair, string, error) {
	m, err := v.object("field", "op", "value")
	if err != nil {
		return pair{}, "", err
	}
	var words [2]string
	for i, name := range []string{"field", "op"} {
		w, ok := m[name]
		if !ok {
			return pair{}, "", v.problem("", "%s is missing", name)
		}
		if words[i], err = w.word(); err != nil {
			return pair{}, "", err
		}
	}
	arg, ok := m["value"]
	if !ok {
		return pair{}, "", v.problem("", "the value is missing")
	}
	return v.test(words[0], words[1], arg)
}

// operators lists what can be asked of each field.
func operators() map[string]string {
	return map[string]string{
		"tool.name":                "eq in not_in starts_with",
		"mcp.server":               "eq in not_in",
		"bash.program":             "eq in not_in",
		"bash.raw":                 "eq in not_in starts_with matches not_matches",
		"bash.hasWriteRedirection": "eq",
		"file.path":                "eq in not_in starts_with matches not_matches",
		"network.host":             "eq in not_in",
	}
}

// test translates one condition and says it in words.
func (v value) test(field, op string, arg value) (pair, string, error) {
	if field == "bash.hasWriteRedirection" && op == operators()[field] {
		want, err := arg.truth()
		p := redirects()
		if !want {
			p = p.not()
		}
		return p, fmt.Sprintf("%s is %t", field, want), err
	}
	var words []string
	var err error
	known, ok := operators()[field]
	if !ok {
		return pair{}, "", value{at: v.at + "/field"}.problem("", "%q is not known", field)
	}
	if !slices.Contains(strings.Fields(known), op) {
		return pair{}, "", value{at: v.at + "/op"}.problem("known here: "+known, "%q of %s cannot be said in Cedar", op, field)
	}
	positive, negated := strings.CutPrefix(op, "not_")
	if positive == "in" {
		words, err = arg.words()
	} else {
		words = make([]string, 1)
		words[0], err = arg.word()
	}
	if err != nil {
		return pair{}, "", err
	}
	p, err := arg.holds(field, positive, words)
	if err != nil {
		return pair{}, "", err
	}
	if negated {
		p = p.not()
	}
	return p, fmt.Sprintf("%s %s %s", field, op, quoted(words)), nil
}

// holds translates a field that is one of the words, starts with them or matches them.
func (v value) holds(field, op string, words []string) (pair, error) {
	switch field {
	case "tool.name":
		if op == "starts_with" {
			return v.toolPrefix(words[0])
		}
		return exactly(toolsNamed(words)), nil
	case "mcp.server":
		list := make([]pair, len(words))
		for i, w := range words {
			list[i] = serverNamed(w)
		}
		return either(list...), nil
	case "bash.program":
		return v.programs(words)
	case "bash.raw":
		return v.command(op, words)
	case "file.path":
		return v.path(op, words)
	default:
		return v.hosts(words)
	}
}

// orNoText refuses an argument that is there and is no text as well: a client reads it as empty, and what a server makes of
// it (a command of a list of words, say) cannot be told.
func (p pair) orNoText(name string) pair {
	if p.over != "" {
		p.over = anyOf(p.over, noText(name))
	}
	return p
}

// command is the argument command.
func (v value) command(op string, words []string) (pair, error) {
	switch op {
	case "matches":
		return v.commandMatches(words[0])
	case "starts_with":
		return pair{over: startsWord(words, false), under: commandText(words, starting)}.orNoText("command"), nil
	default:
		return pair{over: commandText(words, containing), under: commandText(words, equals)}.orNoText("command"), nil
	}
}

// path is the argument file_path or path.
func (v value) path(op string, words []string) (pair, error) {
	switch op {
	case "matches":
		return v.pathMatches(words[0])
	case "starts_with":
		return filePath(func(at string) (expr, expr) {
			e := starting(at, words[0])
			return anyOf(e, roundabout(at)), allOf(e, not(climbs(at)))
		}), nil
	default:
		ended := slices.Clone(words)
		for _, w := range words {
			ended = append(ended, w+"/")
		}
		return filePath(func(at string) (expr, expr) { return anyOf(among(at, ended), roundabout(at)), among(at, words) }), nil
	}
}

// climbs is a path that goes up again.
func climbs(at string) expr { return containing(at, "..") }

// roundabout is a path of which another, shorter spelling exists. Clients compare paths as they are written, and what a
// server opens in the end cannot be told; so refusals meet all of these.
func roundabout(at string) expr {
	return anyOf(climbs(at), containing(at, "//"), starting(at, "./"), containing(at, "/./"), like(at, "", "/."))
}

func toolsNamed(words []string) expr {
	out := make([]expr, len(words))
	for i, w := range words {
		out[i] = toolNamed(w)
	}
	return anyOf(out...)
}

// toolPrefix is the start of a tool's name. A start that ends inside "mcp__SERVER__" is a part of servers' names.
func (v value) toolPrefix(s string) (pair, error) {
	if strings.HasPrefix("mcp__", s) {
		return pair{}, v.problem("name the servers by mcp.server", "%q is the start of every server's name", s)
	}
	out := starting(toolName, s)
	if rest, ok := strings.CutPrefix(s, "mcp__"); ok {
		server, tool, whole := strings.Cut(rest, "__")
		if !whole || server == "" {
			return pair{}, v.problem("name the servers by mcp.server", "%q is the start of servers' names", s)
		}
		out = anyOf(out, allOf(onServer(server), starting(toolName, tool)))
	}
	return exactly(allOf(isTool, out)), nil
}

// argument asks of an argument that is a text.
func argument(name string, ask func(at string) expr) expr {
	at := "context.input." + name
	return allOf(expr("(context.input has "+name+")"), expr("("+at+" has string)"), ask(at+".string"))
}

// commandText asks of the argument command, for any of the words. What a shell ignores around a command cannot be cut off
// in Cedar, so refusals have to ask for more than permissions.
func commandText(words []string, ask func(at, word string) expr) expr {
	return argument("command", func(at string) expr {
		out := make([]expr, len(words))
		for i, w := range words {
			out[i] = ask(at, w)
		}
		return anyOf(out...)
	})
}

// spaces are the characters beside blank, tab and line feed that separate words for a client.
func spaces() []string {
	return []string{
		"\v", "\f", "\r", "\u00a0", "\u1680", "\u2000", "\u2001", "\u2002", "\u2003", "\u2004", "\u2005", "\u2006", "\u2007",
		"\u2008", "\u2009", "\u200a", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000", "\ufeff",
	}
}

// startsWord reports that a word of the command starts with one of the texts, and that of every command with unusual
// blanks in it.
func startsWord(words []string, quotes bool) expr {
	before := []string{" ", "\t", "\n"}
	if quotes {
		before = append(before, `"`, "'", "`")
	}
	return argument("command", func(at string) expr {
		var out []expr
		for _, w := range words {
			out = append(out, starting(at, w))
			for _, b := range before {
				out = append(out, containing(at, b+w))
			}
		}
		for _, s := range spaces() {
			out = append(out, containing(at, s))
		}
		return anyOf(out...)
	})
}

// programs is the program that a command starts. What follows in the command is not looked at, as in the clients.
func (v value) programs(words []string) (pair, error) {
	for _, w := range words {
		if strings.ContainsFunc(w, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune("\"'`=\\$;&|<>()", r) }) {
			return pair{}, v.problem("write the program's name alone", "%q is no name of a program", w)
		}
	}
	under := argument("command", func(at string) expr {
		out := []expr{among(at, words)}
		for _, w := range words {
			out = append(out, starting(at, w+" "))
		}
		return anyOf(out...)
	})
	return pair{over: startsWord(words, true), under: under}.orNoText("command"), nil
}

// redirects is a command that writes to files by the shell's means.
func redirects() pair {
	over := argument("command", func(at string) expr {
		return anyOf(containing(at, ">"), containing(at, "tee"), containing(at, "truncate"), containing(at, "dd"), like(at, "", "sed", "-i", ""))
	})
	under := argument("command", func(at string) expr { return allOf(containing(at, ">"), not(containing(at, "<"))) })
	return pair{over: over, under: under}.orNoText("command")
}

// matching turns an expression of text, .* and alternatives into patterns, each a list of texts in their order.
func (v value) matching(s string) ([][]string, error) {
	refuse := func() ([][]string, error) {
		return nil, v.problem("only text, .* and alternatives of them are understood", "%q is an expression that Cedar cannot say", s)
	}
	out := [][]string{{""}}
	for i := 0; i < len(s); i++ {
		last := out[len(out)-1]
		switch c := s[i]; {
		case c == '|':
			out = append(out, []string{""})
		case strings.HasPrefix(s[i:], ".*") && !strings.HasPrefix(s[i:], ".*?") && !strings.HasPrefix(s[i:], ".*+"):
			out[len(out)-1] = append(last, "")
			i++
		case c == '\\' && i+1 < len(s) && strings.IndexByte(`.^$|?*+()[]{}\/-`, s[i+1]) >= 0:
			i++
			last[len(last)-1] += s[i : i+1]
		case strings.IndexByte(`\.^$?*+()[]{}`, c) >= 0:
			return refuse()
		default:
			last[len(last)-1] += s[i : i+1]
		}
	}
	for _, parts := range out {
		if strings.Join(parts, "") == "" {
			return refuse()
		}
	}
	return out, nil
}

// matched holds a place against the patterns. A dot does not match the end of a line, which only under can say.
func matched(at string, list [][]string) (over, under expr) {
	var any, one []expr
	for _, parts := range list {
		e := like(at, append(append([]string{""}, parts...), "")...)
		any = append(any, e)
		if len(parts) > 1 {
			for _, end := range []string{"\n", "\r", "\u2028", "\u2029"} {
				e = allOf(e, not(containing(at, end)))
			}
		}
		one = append(one, e)
	}
	return anyOf(any...), anyOf(one...)
}

func (v value) commandMatches(s string) (pair, error) {
	list, err := v.matching(s)
	if err != nil {
		return pair{}, err
	}
	var p pair
	p.over = argument("command", func(at string) expr { over, _ := matched(at, list); return over })
	p.under = argument("command", func(at string) expr { _, under := matched(at, list); return under })
	for _, parts := range list {
		if joined := parts[0] + "x" + parts[len(parts)-1]; joined != strings.TrimSpace(joined) {
			p.under = "" // the client cuts blanks off the command first
		}
	}
	return p.orNoText("command"), nil
}

func (v value) pathMatches(s string) (pair, error) {
	list, err := v.matching(s)
	if err != nil {
		return pair{}, err
	}
	deep := slices.ContainsFunc(list, func(parts []string) bool { return strings.Contains(strings.Join(parts, ""), "/") })
	return filePath(func(at string) (expr, expr) {
		over, under := matched(at, list)
		if deep { // else what matches the shorter spelling matches the longer
			over = anyOf(over, roundabout(at))
		}
		return over, allOf(under, not(climbs(at)))
	}), nil
}

// filePath asks of file_path, or of path where there is no file_path. Which of the two a server looks at is not known, so
// refusals ask both.
func filePath(ask func(at string) (over, under expr)) pair {
	over := func(at string) expr { e, _ := ask(at); return e }
	under := func(at string) expr { _, e := ask(at); return e }
	return pair{
		over:  anyOf(argument("file_path", over), argument("path", over), noText("file_path"), noText("path")),
		under: anyOf(argument("file_path", under), allOf(not("(context.input has file_path)"), argument("path", under))),
	}
}

// noText is an argument that is there and not a text: a client would make one of it.
func noText(name string) expr {
	at := "context.input." + name
	return allOf(expr("(context.input has "+name+")"), not(expr("("+at+" has string)")), not(equals(at+".kind", "null")))
}

// hosts is the host of the argument url. Many spellings of a URL have one host, and Cedar can name the plain ones only:
// enough to permit a host, or to refuse all but some, and too little to refuse one.
func (v value) hosts(words []string) (pair, error) {
	for _, w := range words {
		if !plainHost(w) {
			return pair{}, v.problem("write it as a URL has it, in lower case", "%q is no plain host", w)
		}
	}
	under := argument("url", func(at string) expr {
		var out []expr
		for _, w := range words {
			for _, scheme := range []string{"https://", "http://"} {
				out = append(out, equals(at, scheme+w), starting(at, scheme+w+"/"))
			}
		}
		return anyOf(out...)
	})
	return pair{under: under}, nil
}

// plainHost accepts a host as the URL standard prints it: lower case ASCII, an address only in its usual form, a port only
// where it is not the scheme's own.
func plainHost(s string) bool {
	host, port, has := strings.Cut(s, ":")
	if has && (port == "" || port == "80" || port == "443" || len(port) > 5 || port[0] == '0' || strings.Trim(port, "0123456789") != "") {
		return false
	}
	if host == "" || strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789-.") != "" || strings.HasPrefix(host, "xn--") || strings.Contains(host, ".xn--") {
		return false
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	if last != "" && last[0] >= '0' && last[0] <= '9' {
		addr, err := netip.ParseAddr(host)
		return err == nil && addr.String() == host
	}
	return last != "" && !strings.HasPrefix(host, ".") && !strings.Contains(host, "..")
}
