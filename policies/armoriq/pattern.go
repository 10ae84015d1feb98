package armoriq

import (
	"fmt"
	"strings"
)

// A pattern of allow, deny, allowed_tools or denied_tools names calls as the text SERVER/TOOL, in which a star stands for
// any run of characters, the slash among them. SERVER is a name or a lone star, since Cedar compares servers as a whole. A
// star alone is every call. Other spellings:
//
//	TOOL           the tool on any server
//	SERVER__TOOL   as agent frameworks join the two, also mcp__SERVER__TOOL
//	SERVER.TOOL    as armoriq.yaml writes it; in allow and deny only
//	mcp__*         every call, where calls are refused
//
// A name with dots or underscores can also be the tool's own. Where tools are refused both readings are; allow takes the
// one with a server; the lists of tools take both, as the clients do. What Cedar cannot say in one of its meanings is
// refused: a star without a slash, unless it only leads, could mean the starts of servers' names ("stripe*", "mcp__str*").
// So is what other readers of patterns give a meaning of its own (? [ ] { } ! and the backslash).
type pattern struct {
	all          bool   // every call
	server, tool string // server "" is any; tool may hold stars
	deep         bool   // the star for the server runs on across slashes in the tool's name
	plain        string // the other reading: the name of a tool on any server; "" if there is none
}

// reading is how the patterns of one list are read.
type reading struct {
	dotted  bool // a dot may stand between server and tool
	texts   bool // a pattern is held against SERVER/TOOL, and not only against names of tools
	refuses bool // the calls that are named are refused
}

// readingOf gives the reading of a list of a policy.
func readingOf(name string) reading {
	return reading{dotted: name == "deny" || name == "allow", texts: name != "allowed_tools", refuses: name == "deny" || name == "denied_tools"}
}

// matches gives the calls that a pattern means. guard makes resource.name readable.
func (p pattern) matches(guard expr, both bool) expr {
	if p.all {
		return always
	}
	on := always
	if p.server != "" {
		on = onServer(p.server)
	}
	out := on
	if strings.Trim(p.tool, "*") != "" {
		name := nameLike(p.tool)
		if p.deep && p.tool[0] != '*' {
			name = anyOf(name, nameLike("*/"+p.tool))
		}
		out = allOf(guard, on, name)
	}
	if both && p.plain != "" {
		out = anyOf(out, allOf(guard, nameLike(p.plain)))
	}
	return out
}

func nameLike(glob string) expr {
	if !strings.Contains(glob, "*") {
		return equals(toolName, glob)
	}
	return like(toolName, strings.Split(collapse(glob), "*")...)
}

// collapse makes one star of several.
func collapse(glob string) string {
	for strings.Contains(glob, "**") {
		glob = strings.ReplaceAll(glob, "**", "*")
	}
	return glob
}

// pattern reads a text.
func (v value) pattern(l reading) (pattern, error) {
	s, err := v.word()
	if err != nil {
		return pattern{}, err
	}
	if at := strings.IndexAny(s, `?[]{}!\`); at >= 0 {
		return pattern{}, v.problem("only a star is special, and stands for any run of characters", "%q holds %q", s, s[at:at+1])
	}
	if strings.Trim(s, "*") == "" {
		return pattern{all: true}, nil
	}
	if rest, ok := strings.CutPrefix(s, "mcp__"); ok && !strings.Contains(s, "/") {
		if tool, _ := strings.CutPrefix(rest, "*__"); rest != "" && strings.Trim(tool, "*") == "" || !strings.Contains(rest, "__") {
			return v.ofMCP(s, rest, l)
		}
	}
	p, err := v.split(s, l)
	switch {
	case err != nil:
	case p.server == "*":
		p.server = ""
	case strings.Contains(p.server, "*"):
		err = v.problem("name each server, or write a lone star for all of them", "%q has a star inside the server's name", s)
	}
	return p, err
}

// ofMCP reads mcp__*, which some take for every tool of every server, and refuses mcp__X, which could be the name of a
// tool, a server with all its tools, or a server's start.
func (v value) ofMCP(s, rest string, l reading) (pattern, error) {
	switch {
	case strings.Trim(rest, "*_") == "" && rest != "" && l.refuses:
		return pattern{all: true}, nil
	case strings.Contains(rest, "*"):
		return pattern{}, v.problem(`write "SERVER/*" for each of the servers, or "*" for every call`, "%q could mean the starts of servers' names", s)
	}
	return pattern{}, v.problem(fmt.Sprintf("write %q for the tools of a server, or %q for a tool", rest+"/*", "*/"+s), "%q could mean a server or a tool", s)
}

// split takes a pattern apart at the slash, the underscores or the dot.
func (v value) split(s string, l reading) (pattern, error) {
	if server, tool, ok := strings.Cut(s, "/"); ok {
		if server == "" || tool == "" {
			return pattern{}, v.problem("write server/tool", "%q names no server or no tool", s)
		}
		return pattern{server: server, tool: tool, deep: server == "*"}, nil
	}
	server, tool, joined := splitJoined(s)
	if l.dotted && strings.Contains(s, ".") {
		if joined {
			return pattern{}, v.problem("write server/tool", "%q can be taken apart in two ways", s)
		}
		server, tool, joined = strings.Cut(s, ".")
	}
	stars := strings.TrimLeft(s, "*") // all but those that lead, which can stand for a server and the slash
	switch {
	case joined && server != "" && tool != "":
		return pattern{server: server, tool: tool, plain: s}, nil
	case strings.Contains(stars, "*") && (l.texts || stars != s):
		hint := fmt.Sprintf(`write %q for tools, or "SERVER/*" for each of the servers`, "*/"+s)
		return pattern{}, v.problem(hint, "%q could mean names of servers or of tools", s)
	}
	return pattern{tool: s}, nil
}

// splitJoined takes server__tool and mcp__server__tool apart. No server has "__" in its name; tools may.
func splitJoined(s string) (server, tool string, ok bool) {
	if rest, cut := strings.CutPrefix(s, "mcp__"); cut && strings.Contains(rest, "__") {
		s = rest
	}
	return strings.Cut(s, "__")
}

// patterns reads a list and keeps its words, for people.
func (v value) patterns(l reading) (list []pattern, words []string, err error) {
	elements, err := v.list(maxList)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range elements {
		p, err := e.pattern(l)
		if err != nil {
			return nil, nil, err
		}
		s, err := e.word()
		if err != nil {
			return nil, nil, err
		}
		list, words = append(list, p), append(words, s)
	}
	return list, words, nil
}

// anyPattern gives the calls that one of the patterns means.
func anyPattern(list []pattern, guard expr, both bool) expr {
	out := make([]expr, len(list))
	for i, p := range list {
		out[i] = p.matches(guard, both)
	}
	return anyOf(out...)
}
