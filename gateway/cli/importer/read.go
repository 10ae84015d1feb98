package importer

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/gatewright/gatewright/merkle/canon"
)

// Bounds of what one file may say. A gateway holds 200 servers of an organisation by default, and 256 elements of a list.
const (
	maxServers   = 200
	maxArgs      = 256
	maxVariables = 128
	maxKey       = 256 // bytes of a name
	maxValue     = 64 << 10
)

// File is a configuration to read.
type File struct {
	// Name is its path, Client whose it is by its place; empty: by its name and content.
	Name, Client string
	// Links says that its name may be a symbolic link, since somebody named it.
	Links bool
	// Home is the folder of whoever's file it is, for ${userHome}.
	Home string
}

// Read reads a file. One that is not there is fs.ErrNotExist; every other error is a *Problem.
func Read(f File) ([]Entry, error) {
	doc, err := bounded(f.Name, f.Links, maxFile)
	if err != nil {
		return nil, err
	}
	entries, err := Parse(f, doc)
	for i := range entries {
		entries[i].fault = entries[i].load()
	}
	return entries, err
}

// bounded reads a regular file and nothing else: a pipe would hang, a device would never end, and a link in a project
// leads wherever its author wished.
func bounded(name string, links bool, limit int64) ([]byte, error) {
	refuse := func(text, hint string) error { return &Problem{File: name, Text: text, Hint: hint} }
	const regular = "it is not a regular file"
	seen, err := os.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: %w", Line(name), fs.ErrNotExist)
	case err != nil:
		return nil, refuse("it cannot be read", "may you read it?")
	case seen.Mode()&fs.ModeSymlink != 0 && !links:
		return nil, refuse("it is a symbolic link", "name the file that it leads to: gatewright connector import FILE")
	}
	if links {
		if seen, err = os.Stat(name); err != nil {
			return nil, refuse("it leads nowhere", "name a file that is there")
		}
	}
	if !seen.Mode().IsRegular() {
		return nil, refuse(regular, "name a file")
	}
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // what became a pipe meanwhile must not hang
	if err != nil {
		return nil, refuse("it cannot be read", "may you read it?")
	}
	defer f.Close()
	if now, err := f.Stat(); err != nil || !os.SameFile(seen, now) {
		return nil, refuse("it was exchanged while it was read", "look who writes to its folder")
	}
	doc, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, refuse("it cannot be read", "may you read it?")
	}
	if int64(len(doc)) > limit {
		return nil, refuse(fmt.Sprintf("it is larger than %d bytes", limit), "name the file that holds the MCP servers, and nothing else")
	}
	return doc, nil
}

// Parse reads the servers of a file's text. Its error is a *Problem. A file that names none is no error.
func Parse(f File, doc []byte) ([]Entry, error) {
	doc, err := check(f.Name, doc)
	if err != nil {
		return nil, err
	}
	r := &reader{file: f, client: f.Client}
	r.recognise()
	if canon.KindOf(doc) != '{' { // check has left one value
		return nil, r.wrong("", "it is not a JSON object")
	}
	if err := r.top(doc); err != nil {
		return nil, err
	}
	return r.entries, nil
}

// reader reads one file.
type reader struct {
	file    File
	client  string
	project string
	entries []Entry
}

// recognise says whose file it is by its path, and of which project.
func (r *reader) recognise() {
	dir, base := filepath.Split(filepath.Clean(r.file.Name))
	folder := filepath.Base(dir)
	client := Other
	switch {
	case base == "claude_desktop_config.json":
		client = Claude
	case folder == ".cursor":
		client = Cursor
	case folder == ".vscode" || base == "settings.json":
		client = VSCode
	}
	if r.client == "" {
		r.client = client
	}
	home := r.file.Home != "" && filepath.Dir(filepath.Clean(dir)) == filepath.Clean(r.file.Home)
	if (folder == ".cursor" || folder == ".vscode") && !home {
		if abs, err := filepath.Abs(filepath.Dir(filepath.Clean(dir))); err == nil {
			r.project = abs
		}
	}
}

func (r *reader) wrong(key, format string, args ...any) error {
	return &Problem{r.file.Name, key, fmt.Sprintf(format, args...), "mend the file, or give import a copy without it"}
}

// top finds the servers in each of the forms that there are.
func (r *reader) top(doc []byte) error {
	for _, at := range [][]string{{"mcpServers"}, {"servers"}, {"mcp", "servers"}, {"mcp", "mcpServers"}} {
		value, ok, key := doc, true, strings.Join(at, ".")
		for i, step := range at {
			if value, ok = canon.Get(value, step); !ok || i < len(at)-1 && canon.KindOf(value) != '{' {
				ok = false
				break
			}
		}
		if !ok || canon.KindOf(value) == 'n' {
			continue
		}
		if canon.KindOf(value) != '{' {
			return r.wrong(key, "it is not an object")
		}
		if at[len(at)-1] == "servers" && r.client == Other {
			r.client = VSCode
		}
		err := canon.Each(value, func(name, server []byte) error { return r.server(key, string(name), server) })
		if err != nil {
			return err
		}
	}
	return nil
}

// ignored are settings that change what a server may do or how it is spoken to, and which a gateway has in another way
// or not at all. Those that only steer a client (gallery, version, dev, autoApprove, ...) are left without a word.
var ignored = []string{"auth", "oauth", "sandbox", "sandboxEnabled", "timeout", "tools", "disabledTools", "enabledTools"}

func (r *reader) server(at, name string, raw []byte) error {
	key := at + "." + short(name)
	switch {
	case name == "" || len(name) > maxKey:
		return r.wrong(key, "its name has %d bytes; want 1 to %d", len(name), maxKey)
	case canon.KindOf(raw) != '{':
		return r.wrong(key, "it is not an object")
	case len(r.entries) == maxServers:
		return r.wrong(at, "it has more than %d servers", maxServers)
	}
	e := Entry{File: r.file.Name, Client: r.client, Key: name, project: r.project}
	s := &section{r: r, key: key, raw: raw}
	kind := s.text("type").value
	if kind == "" {
		kind = s.text("transport").value
	}
	e.Command, e.Args, e.Dir = s.text("command"), s.list("args"), s.text("cwd")
	e.Env, e.EnvFile = s.variables("env"), s.text("envFile")
	e.URL, e.Headers = s.text("url"), s.variables("headers")
	if e.URL.value == "" {
		e.URL = s.text("serverUrl")
	}
	e.Disabled = s.flag("disabled") || s.refused("enabled")
	for _, word := range ignored {
		if v, ok := canon.Get(raw, word); ok && canon.KindOf(v) != 'n' {
			e.ignored = append(e.ignored, word)
		}
	}
	if s.err == nil && (e.Command.value == "") == (e.URL.value == "") {
		s.err = r.wrong(key, "want either a command or a url")
	}
	if s.err != nil {
		return s.err
	}
	e.Kind, e.known = kindOf(kind, e.URL.value)
	if e.known && (e.Kind == Stdio) != (e.URL.value == "") {
		return r.wrong(key+".type", "it says %s, and what stands beside it is another", e.Kind)
	}
	r.entries = append(r.entries, e)
	return nil
}

// kindOf reads a type in the words that clients have for it; without one the address decides.
func kindOf(word, url string) (kind string, known bool) {
	switch strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(word)) {
	case "":
		if url == "" {
			return Stdio, true
		}
		return HTTP, true
	case "stdio", "local":
		return Stdio, true
	case "http", "streamablehttp", "remote":
		return HTTP, true
	case "sse":
		return SSE, true
	}
	return word, false
}

// section reads the settings of one server. The first error stays.
type section struct {
	r   *reader
	key string
	raw []byte
	err error
}

// get finds a setting; one that is null is not given.
func (s *section) get(word string, kind byte, want string) ([]byte, bool) {
	v, ok := canon.Get(s.raw, word)
	if !ok || s.err != nil || canon.KindOf(v) == 'n' {
		return nil, false
	}
	if canon.KindOf(v) != kind {
		s.err = s.r.wrong(s.key+"."+word, "want %s", want)
		return nil, false
	}
	return v, true
}

func (s *section) text(word string) text {
	v, ok := s.get(word, '"', "a string")
	if !ok {
		return text{}
	}
	return s.string(word, v)
}

func (s *section) string(word string, raw []byte) text {
	v, err := canon.Unquote(raw)
	switch {
	case err != nil:
		s.err = s.r.wrong(s.key+"."+word, "it is not a string")
	case len(v) > maxValue:
		s.err = s.r.wrong(s.key+"."+word, "it has more than %d bytes", maxValue)
	case strings.ContainsRune(v, 0):
		s.err = s.r.wrong(s.key+"."+word, "it holds a NUL character")
	}
	return s.r.expand(v)
}

func (s *section) list(word string) (out []text) {
	v, ok := s.get(word, '[', "an array of strings")
	if !ok {
		return nil
	}
	err := canon.EachElement(v, func(i int, el []byte) error {
		at := fmt.Sprintf("%s[%d]", word, i)
		if i == maxArgs-1 { // the program is one too
			return s.r.wrong(s.key+"."+word, "it has more than %d elements", maxArgs-1)
		}
		if canon.KindOf(el) != '"' {
			return s.r.wrong(s.key+"."+at, "want a string")
		}
		out = append(out, s.string(at, el))
		return s.err
	})
	if s.err == nil {
		s.err = err
	}
	return out
}

// variables reads names with values; VS Code lets a value be a number, and null takes a variable away.
func (s *section) variables(word string) (out []variable) {
	v, ok := s.get(word, '{', "an object of strings")
	if !ok {
		return nil
	}
	err := canon.Each(v, func(name, value []byte) error {
		at := word + "." + short(string(name))
		if len(out) == maxVariables || len(name) == 0 || len(name) > maxKey {
			return s.r.wrong(s.key+"."+at, "want up to %d names of 1 to %d bytes", maxVariables, maxKey)
		}
		switch canon.KindOf(value) {
		case '"':
			out = append(out, variable{string(name), s.string(at, value)})
		case '0', 't', 'f':
			out = append(out, variable{string(name), text{value: string(value)}})
		case 'n':
		default:
			return s.r.wrong(s.key+"."+at, "want a string")
		}
		return s.err
	})
	if s.err == nil {
		s.err = err
	}
	slices.SortFunc(out, func(a, b variable) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func (s *section) flag(word string) bool {
	v, ok := canon.Get(s.raw, word)
	return ok && canon.KindOf(v) == 't'
}

func (s *section) refused(word string) bool {
	v, ok := canon.Get(s.raw, word)
	return ok && canon.KindOf(v) == 'f'
}

// short bounds a name that an error quotes.
func short(s string) string {
	if len(s) > 64 {
		s = strings.ToValidUTF8(s[:64], "") + "..."
	}
	return s
}
