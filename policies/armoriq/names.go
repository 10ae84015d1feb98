package armoriq

import (
	"strings"
	"unicode"
)

// The clients compare the tools that statements are about without regard to case and to blanks at the ends of names. Cedar
// has no way to fold case, so a refusal spells names out: a short one in every spelling there is, a long one piece by
// piece, which also meets names made of the same pieces in another way. A permission meets the one spelling that is
// written.
const (
	maxSpelled = 7   // letters of a name that is spelled out whole, in 128 ways
	maxServers = 128 // spellings of a server's name
	maxSplits  = 3   // ways of taking one name apart
	pieceOf    = 2   // letters of a piece
)

// spelled reports that the resource is a tool of one of the names, in any case, or the tool that a name joined to its
// server's means. ok is false for names with letters outside ASCII, whose cases have no bounds that can be listed, and for
// those that can be taken apart in many ways.
func spelled(names []string) (e expr, ok bool) {
	var plain []expr
	onServers, joined := groups{}, groups{}
	for _, name := range names {
		if strings.ContainsFunc(name, func(r rune) bool { return r > unicode.MaxASCII }) {
			return never, false
		}
		splits, mark := servers(name)
		if len(splits) > maxSplits {
			return never, false
		}
		for _, s := range splits {
			onServers.add(s.server, anyCase(s.tool))
		}
		if len(splits) == 0 {
			plain = append(plain, anyCase(name))
			continue
		}
		joined.add(splits[0].server+mark, endOf(splits[0].tool))
	}
	plain = append(plain, joined.exprs(within)...)
	plain = append(plain, onServers.exprs(onServerSpelled)...)
	return allOf(isTool, anyOf(plain...)), true
}

// groups are alternatives that share a condition, named by a text in lower case.
type groups struct {
	names []string
	list  map[string][]expr
}

func (g *groups) add(name string, e expr) {
	name = strings.ToLower(name)
	if g.list == nil {
		g.list = map[string][]expr{}
	}
	if g.list[name] == nil {
		g.names = append(g.names, name)
	}
	g.list[name] = append(g.list[name], e)
}

// exprs gives one expression for each group. What the group shares is asked last: it costs more, and is rarely reached.
func (g *groups) exprs(shared func(name string) expr) (out []expr) {
	for _, name := range g.names {
		out = append(out, allOf(anyOf(g.list[name]...), shared(name)))
	}
	return out
}

// split is a name taken apart.
type split struct{ server, tool string }

// servers takes SERVER/TOOL, SERVER__TOOL and mcp__SERVER__TOOL apart, in each way there is: a server that an agent holds
// itself can have "__" in its name. mark is what stands between.
func servers(name string) (out []split, mark string) {
	if server, tool, ok := strings.Cut(name, "/"); ok {
		if server != "" && tool != "" {
			out = append(out, split{server, tool})
		}
		return out, "/"
	}
	if len(name) > 5 && strings.EqualFold(name[:5], "mcp__") && strings.Contains(name[5:], "__") {
		name = name[5:]
	}
	for i := 1; i+2 < len(name); i++ {
		if name[i:i+2] == "__" {
			out = append(out, split{name[:i], name[i+2:]})
		}
	}
	return out, "__"
}

// onServerSpelled reports that the resource stands on a server, in any case. The catalogue's names are lower case. A server
// that an agent holds itself can be spelled as it likes; where its name is too long to list, its tools are those of any
// such server. Calls of them, and only they, are the action call_tool itself.
func onServerSpelled(name string) expr {
	if many(name) > maxServers {
		return anyOf(serverIs(strings.ToLower(name)), `(action == Action::"call_tool")`)
	}
	list := spellings(name, true)
	for i, s := range list {
		list[i] = "Server::" + quote(s)
	}
	return expr("(resource in [" + strings.Join(list, ", ") + "])")
}

// anyCase reports that resource.name is an ASCII text, in any case, or a longer one made of its pieces.
func anyCase(s string) expr {
	if letters(s) <= maxSpelled {
		return among(toolName, spellings(s, false))
	}
	return allOf(cased(pieces(s), true, true)...)
}

// within and endOf find a name joined to its server's, with or without what stands before the server. Few calls are
// spelled so, and these are not worth all the pieces.
func within(s string) expr { return allOf(cased(pieces(s), false, false)...) }

func endOf(s string) expr {
	list := pieces(s)
	return allOf(cased(list[len(list)-1:], false, true)...)
}

// cased reports, for each piece, that resource.name holds it in some case: the first at the start and the last at the end,
// if so asked.
func cased(list []string, front, back bool) []expr {
	all := make([]expr, len(list))
	for i, p := range list {
		var any []expr
		for _, w := range spellings(p, false) {
			parts := []string{"", w, ""}
			if front && i == 0 {
				parts = parts[1:]
			}
			if back && i == len(list)-1 {
				parts = parts[:len(parts)-1]
			}
			any = append(any, like(toolName, parts...))
		}
		all[i] = anyOf(any...)
	}
	return all
}

// many counts the spellings of a name with kelvins, up to a bound far above maxServers.
func many(name string) int {
	n := 1
	for i := 0; i < len(name) && n < 1<<20; i++ {
		switch {
		case name[i]|0x20 == 'k':
			n *= 3
		case isLetter(name[i]):
			n *= 2
		}
	}
	return n
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func letters(s string) (n int) {
	for i := range len(s) {
		if isLetter(s[i]) {
			n++
		}
	}
	return n
}

// pieces cuts a text after every few letters; what is no letter stays with those before it.
func pieces(s string) (list []string) {
	start, n := 0, 0
	for i := range len(s) {
		if !isLetter(s[i]) {
			continue
		}
		if n == pieceOf {
			list, start, n = append(list, s[start:i]), i, 0
		}
		n++
	}
	return append(list, s[start:])
}

// kelvin is the one character outside ASCII whose lower case is within it: a k.
const kelvin = "\u212a"

// spellings lists a text in every case of its letters.
func spellings(s string, withKelvin bool) []string {
	out := []string{""}
	for i := range len(s) {
		last := len(out)
		for j := range last {
			if isLetter(s[i]) {
				out = append(out, out[j]+string(s[i]^0x20))
			}
			if withKelvin && s[i]|0x20 == 'k' {
				out = append(out, out[j]+kelvin)
			}
			out[j] += s[i : i+1]
		}
	}
	return out
}

// oddName reports that a tool has a name that clients read as another: with a blank at one of its ends, or with an unusual blank
// or a kelvin in it. No server of the catalogue has such tools.
func oddName() expr {
	var out []expr
	for _, s := range append(spaces(), "\t", "\n", kelvin) {
		out = append(out, containing(toolName, s))
	}
	return allOf(isTool, anyOf(append(out, starting(toolName, " "), like(toolName, "", " "))...))
}
