package armoriq

import (
	"strings"
)

// A pattern of allow, deny, allowed_tools or denied_tools names calls as SERVER/TOOL. SERVER is a name or a lone star;
// TOOL is a name in which a star stands for any run of characters. A star alone is every call. Other spellings:
//
//	TOOL           the tool on any server
//	SERVER__TOOL   as agent frameworks join the two, also mcp__SERVER__TOOL
//	SERVER.TOOL    as armoriq.yaml writes it; in allow and deny only
//
// A name with dots or underscores can also be the tool's own. Where tools are refused both readings are; allow takes the
// one with a server; the lists of tools take both, as the clients do. What other readers of patterns give a meaning of
// its own (? [ ] { } ! and the backslash) is refused.
type pattern struct {
	all          bool   // every call
	server, tool string // server "" is any; tool may hold stars
	plain        string // the other reading: the name of a tool on any server; "" if there is none
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
		out = allOf(guard, on, nameLike(p.tool))
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

// pattern reads a text. dotted says that a dot may stand between server and tool.
func (v value) pattern(dotted bool) (pattern, error) {
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
	p, err := v.split(s, dotted)
	switch {
	case err != nil:
	case p.server == "*":
		p.server = ""
	case strings.Contains(p.server, "*"):
		err = v.problem("name each server, or write a lone star for all of them", "%q has a star inside the server's name", s)
	}
	return p, err
}

// split takes a pattern apart at the slash, the underscores or the dot.
func (v value) split(s string, dotted bool) (pattern, error) {
	if server, tool, ok := strings.Cut(s, "/"); ok {
		if server == "" || tool == "" {
			return pattern{}, v.problem("write server/tool", "%q names no server or no tool", s)
		}
		return pattern{server: server, tool: tool}, nil
	}
	server, tool, joined := splitJoined(s)
	if dotted && strings.Contains(s, ".") {
		if joined {
			return pattern{}, v.problem("write server/tool", "%q can be taken apart in two ways", s)
		}
		server, tool, joined = strings.Cut(s, ".")
	}
	switch {
	case joined && server != "" && tool != "":
		return pattern{server: server, tool: tool, plain: s}, nil
	case strings.HasPrefix(s, "*") && strings.Contains(strings.TrimLeft(s, "*"), "*"):
		return pattern{}, v.problem(`write "*/TOOL" for tools, or name the servers`, "%q could mean names of servers or of tools", s)
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
func (v value) patterns(dotted bool) (list []pattern, words []string, err error) {
	elements, err := v.list(maxList)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range elements {
		p, err := e.pattern(dotted)
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
