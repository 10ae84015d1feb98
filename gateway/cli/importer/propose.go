package importer

import (
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// States of a proposed server.
const (
	New     = "new"     // it can be taken over as it is proposed
	Present = "present" // the gateway has it
	Held    = "held"    // it needs a hand first; its block is written as a comment
)

// maxWord is the longest value of gateway.hcl, in bytes.
const maxWord = 2048

// Server is one that is proposed. Its exported fields hold no secret.
type Server struct {
	Name string `json:"name"`
	// Kind is Stdio, HTTP or SSE; a word of the file, where it is held.
	Kind  string `json:"kind"`
	State string `json:"state"`
	// Command is the program and its arguments; what looks like a secret among them is masked.
	Command []string `json:"command,omitempty"`
	Dir     string   `json:"dir,omitempty"`
	// PassEnv names the variables that it needs in the gateway's environment.
	PassEnv []string `json:"pass_env,omitempty"`
	// URL is its address; what looks like a secret in it is masked.
	URL          string `json:"url,omitempty"`
	AllowPrivate bool   `json:"allow_private,omitempty"`
	// Credential names the secret of the vault that goes with each call in Header, behind Prefix.
	Credential string `json:"credential,omitempty"`
	Header     string `json:"header,omitempty"`
	Prefix     string `json:"prefix,omitempty"`

	Sources  []Source `json:"sources"`
	Held     []string `json:"held,omitempty"` // why it is held
	Warnings []string `json:"warnings,omitempty"`

	words  []string // Command as it is; nothing is masked where nothing looks like a secret
	env    []variable
	secret text // what the credential's value is
	same   string
}

// Existing is a server that a gateway has. Command is nil where only the gateway itself knows it.
type Existing struct {
	Name, URL string
	Command   []string
}

// Options say what a proposal is for.
type Options struct {
	Tenant       string // the organisation
	AllowPrivate bool   // permit those on private addresses
	Existing     []Existing
}

// Proposal is all of it.
type Proposal struct {
	Tenant  string    `json:"tenant"`
	Servers []*Server `json:"servers"`
}

// reserved are words of routes that stand where a server's name could, and the name of the server that development mode has.
var reserved = []string{"my-servers", "servers", "tools", "tool-metadata", "auto-register", "demo"}

// Propose makes servers of what was read. Of one that several clients have alike there is one.
func Propose(entries []Entry, o Options) *Proposal {
	p := &Proposal{Tenant: o.Tenant, Servers: []*Server{}}
	taken := map[string]bool{}
	for _, name := range reserved {
		taken[name] = true
	}
	for _, x := range o.Existing {
		taken[x.Name] = true
	}
	seen := map[string]*Server{}
	for i := range entries {
		e := &entries[i]
		s := propose(e, o)
		if was := seen[s.same]; was != nil {
			was.Sources = append(was.Sources, s.Sources...)
			continue
		}
		seen[s.same] = s
		s.settle(e, o, taken)
		p.Servers = append(p.Servers, s)
	}
	p.quarrels()
	return p
}

func propose(e *Entry, o Options) *Server {
	s := &Server{Kind: e.Kind, State: New, Sources: []Source{{e.File, e.Client, e.Key}}, env: e.Env}
	switch {
	case !e.known:
		s.Kind = Line(short(e.Kind))
		s.hold("its type is not known here: want stdio, http or sse")
	case e.Disabled:
		s.hold("its client has it disabled")
	}
	if err := e.fault; err != nil {
		s.warn("%s", err)
	}
	for _, word := range e.ignored {
		s.warn("its setting %s is not taken over: this gateway has it in another way or not at all", word)
	}
	if e.URL.value == "" {
		s.process(e)
	} else {
		s.http(e, o)
	}
	s.same = fmt.Sprintf("%q %q %q %#v %q %#v %q", s.Kind, s.words, s.Dir, s.env, e.URL.value, e.Headers, s.State)
	return s
}

func (s *Server) hold(format string, args ...any) {
	s.State, s.Held = Held, append(s.Held, fmt.Sprintf(format, args...))
}

func (s *Server) warn(format string, args ...any) {
	s.Warnings = append(s.Warnings, fmt.Sprintf(format, args...))
}

// fixed takes a text that must stand in the configuration as it is.
func (s *Server) fixed(what string, t text) string {
	switch {
	case len(t.left) > 0:
		s.hold("%s asks for ${%s}, and the configuration is fixed text: write it in", what, Line(short(t.left[0])))
	case len(t.value) > maxWord:
		s.hold("%s is longer than %d bytes", what, maxWord)
	case strings.ContainsFunc(t.value, func(r rune) bool { return r < ' ' || r == 0x7f }):
		s.hold("%s holds a control character, a line break for one", what)
	}
	return t.value
}

// process takes over a program.
func (s *Server) process(e *Entry) {
	name := s.fixed("its command", e.Command)
	if strings.ContainsAny(name, `/\`) && !filepath.IsAbs(name) && !windowsPath(name) {
		if e.project == "" {
			s.hold("its command is a path from a folder that only its client knows: write the whole path")
		} else {
			name = filepath.Join(e.project, name)
		}
	}
	s.words = []string{name}
	for i, a := range e.Args {
		s.words = append(s.words, s.fixed(fmt.Sprintf("args[%d]", i), a))
	}
	args, at := maskedArgs(s.words[1:])
	shown, hid := masked(name)
	if hid || at >= 0 {
		s.hold("args[%d] looks like a secret, and a command line is for everybody on the machine to read: put it into a variable that the program reads, or write the block by hand", max(at, 0))
	}
	s.Command = append([]string{shown}, args...)
	s.Warnings = append(s.Warnings, warnCommand(s.Command)...)
	s.folder(e)
	for _, v := range e.Env {
		switch {
		case !variableName.MatchString(v.Name):
			s.warn("the variable \"%s\" is left out: it is not a name that a shell can export", Line(short(v.Name)))
		case powers.MatchString(v.Name):
			s.warn("the variable %s is left out: in the gateway's environment it would change the gateway itself, or what programs it starts; where it is meant, write it into env", v.Name)
		default:
			s.PassEnv = append(s.PassEnv, v.Name)
		}
	}
	if len(e.Headers) > 0 {
		s.warn("its headers are left out: a program has none")
	}
}

func windowsPath(s string) bool {
	return len(s) > 2 && s[1] == ':' && (s[2] == '\\' || s[2] == '/') || strings.HasPrefix(s, `\\`)
}

// folder says where the program runs: where its client says, or in the project whose file names it.
func (s *Server) folder(e *Entry) {
	s.Dir = s.fixed("its cwd", e.Dir)
	switch {
	case s.Dir == "":
		s.Dir = e.project
	case !filepath.IsAbs(s.Dir) && !windowsPath(s.Dir) && e.project != "":
		s.Dir = filepath.Join(e.project, s.Dir)
	case !filepath.IsAbs(s.Dir) && !windowsPath(s.Dir):
		s.hold("its cwd is a path from a folder that only its client knows: write the whole path")
	}
}

// http takes over an address.
func (s *Server) http(e *Entry, o Options) {
	url := s.fixed("its url", e.URL)
	shown, hid := masked(url)
	s.URL = shown
	why, warnings, private := address(url)
	switch {
	case len(e.URL.left) > 0: // it is held already, and its form is not known
	case why != "":
		s.hold("%s", why)
	case hid:
		s.hold("its url holds what looks like a secret: put it into the vault, and name it as the credential")
	}
	s.Warnings = append(s.Warnings, warnings...)
	s.AllowPrivate = private && o.AllowPrivate
	if len(e.Env) > 0 {
		s.warn("its env is left out: it has no process here")
	}
	s.credential(e.Headers)
}

// settle names the server, and says whether the gateway has it.
func (s *Server) settle(e *Entry, o Options, taken map[string]bool) {
	name := Name(e.Key)
	for _, x := range o.Existing {
		alike := s.URL != "" && x.URL == s.URL || len(x.Command) > 0 && slices.Equal(x.Command, s.words)
		unknown := x.Name == name && x.URL == "" && len(x.Command) == 0 && s.URL == ""
		if !alike && !unknown {
			continue
		}
		s.Name, s.State, s.Held = x.Name, Present, nil
		if unknown {
			s.warn("the gateway has a process of that name, and does not tell its command: compare it in gateway.hcl")
		}
		return
	}
	s.Name = free(name, taken)
	taken[s.Name] = true
	if s.Name != e.Key {
		why := "a name is 1 to 63 of a-z, 0-9 and -"
		switch {
		case s.Name != name:
			why = "that name is taken or reserved"
		case strings.Contains(e.Key, "__"):
			why += "; __ stands between a server's name and a tool's"
		}
		s.warn("its name \"%s\" became %s: %s; plans and policies name it so", Line(short(e.Key)), s.Name, why)
	}
	if s.Credential != "" {
		s.Credential = Name(s.Name + "-" + s.Header)
	}
}

// free finds a name that nobody has.
func free(name string, taken map[string]bool) string {
	out := name
	for n := 2; taken[out]; n++ {
		end := fmt.Sprintf("-%d", n)
		out = strings.TrimRight(name[:min(len(name), 63-len(end))], "-") + end
	}
	return out
}

// Name makes a name of a server or an organisation, [a-z0-9][a-z0-9-]{0,62}, of any text.
func Name(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < 'a' || r > 'z' {
			if r < '0' || r > '9' {
				return '-'
			}
		}
		return r
	}, strings.ToLower(s))
	return cmp.Or(strings.Trim(s[:min(len(s), 63)], "-"), "server")
}

// quarrels finds variables of which two servers want different values: a gateway has one environment.
func (p *Proposal) quarrels() {
	first := map[string]*Server{}
	for _, s := range p.Servers {
		for _, name := range s.PassEnv {
			was := first[name]
			if was == nil {
				first[name] = s
				continue
			}
			if was.value(name) != s.value(name) {
				s.warn("the variable %s has another value for server %s, and the gateway has one environment: give one of them its value in env", name, was.Name)
			}
		}
	}
}

func (s *Server) value(name string) string {
	for _, v := range s.env {
		if v.Name == name {
			return v.Value.value
		}
	}
	return ""
}

// Fresh are the servers that can be taken over.
func (p *Proposal) Fresh() []*Server {
	return slices.DeleteFunc(slices.Clone(p.Servers), func(s *Server) bool { return s.State != New })
}

// Needs are the variables that the gateway's environment must have for those servers, sorted.
func (p *Proposal) Needs() []string {
	names := map[string]bool{}
	for _, s := range p.Fresh() {
		for _, n := range s.PassEnv {
			names[n] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}
