package importer_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/cli/importer"
	"github.com/gatewright/gatewright/gateway/config"
	"github.com/gatewright/gatewright/policies"
)

// proposed reads a text as a file of that name and proposes it.
func proposed(t testing.TB, name, doc string, o importer.Options) *importer.Proposal {
	t.Helper()
	entries, err := importer.Parse(importer.File{Name: name, Home: "/srv/ada"}, []byte(doc))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	o.Tenant = "acme"
	return importer.Propose(entries, o)
}

// only is the one server of a proposal.
func only(t testing.TB, name, doc string) *importer.Server {
	t.Helper()
	p := proposed(t, name, doc, importer.Options{})
	if len(p.Servers) != 1 {
		t.Fatalf("%d servers", len(p.Servers))
	}
	return p.Servers[0]
}

// TestEachClientsFileIsRead: the shapes that the clients' own documents show.
func TestEachClientsFileIsRead(t *testing.T) {
	for _, c := range []struct{ name, doc, client, want string }{
		{"/srv/ada/.config/Claude/claude_desktop_config.json", `{"globalShortcut":"","mcpServers":{"Files":{"command":"npx","args":["-y","@modelcontextprotocol/server-filesystem@2026.1.14","/srv/my docs"],"env":{"TOKEN":"x"}}}}`,
			importer.Claude, `files new stdio ["npx" "-y" "@modelcontextprotocol/server-filesystem@2026.1.14" "/srv/my docs"] ["TOKEN"]`},
		{"/p/.cursor/mcp.json", `{"mcpServers":{"a":{"type":"stdio","command":"node","args":["${workspaceFolder}/s.js","${userHome}","${workspaceFolderBasename}"]}}}`,
			importer.Cursor, `a new stdio ["node" "/p/s.js" "/srv/ada" "p"] [] dir=/p`},
		{"/srv/ada/.cursor/mcp.json", `{"mcpServers":{"a":{"command":"node","args":["s"],"env":{"KEY":"${env:KEY}"}}}}`, importer.Cursor, `a new stdio ["node" "s"] ["KEY"]`},
		{"/p/.cursor/mcp.json", `{"mcpServers":{"r":{"url":"https://x.example/mcp","headers":{"Authorization":"Bearer ${env:T}"}}}}`, importer.Cursor, `r new http https://x.example/mcp Authorization "" r-authorization`},
		{"/p/.vscode/mcp.json", "// mine\n{\"inputs\":[{\"type\":\"promptString\",\"id\":\"k\",\"description\":\"d\",\"password\":true},],\n/* two */ \"servers\":{\"g\":{\"type\":\"http\",\"url\":\"https://x.example/mcp\",\"headers\":{\"X-Key\":\"${input:k}\"},},},}",
			importer.VSCode, `g new http https://x.example/mcp X-Key "" g-x-key`},
		{"/u/Code/User/settings.json", `{"editor.fontSize": 12.5, "mcp":{"inputs":[],"servers":{"s":{"type":"stdio","command":"uvx","args":["mcp-server-git==1.0.0"],"env":{"N":3,"OFF":null},"cwd":"/w"}}}}`,
			importer.VSCode, `s new stdio ["uvx" "mcp-server-git==1.0.0"] ["N"] dir=/w`},
		{"any.json", `{"servers":{"s":{"type":"http","url":"https://x.example/mcp"}}}`, importer.VSCode, `s new http https://x.example/mcp`},
		{"any.json", `{"mcpServers":{"s":{"type":"streamable-http","url":"https://x.example/mcp","headers":{"Authorization":"Basic YTpi"}}}}`, importer.Other, `s new http https://x.example/mcp Authorization "Basic " s-authorization`},
	} {
		s := only(t, c.name, c.doc)
		got := fmt.Sprintf("%s %s %s ", s.Name, s.State, s.Kind)
		if s.URL == "" {
			got += fmt.Sprintf("%q %q", s.Command, s.PassEnv)
			if s.Dir != "" {
				got += " dir=" + s.Dir
			}
		} else if got += s.URL; s.Credential != "" {
			got += fmt.Sprintf(" %s %q %s", s.Header, s.Prefix, s.Credential)
		}
		if got != c.want || s.Sources[0].Client != c.client {
			t.Errorf("%s:\n got %s (%s)\nwant %s (%s)", c.name, got, s.Sources[0].Client, c.want, c.client)
		}
	}
	for _, doc := range []string{`{}`, `{"mcpServers":null}`, `{"mcp":3}`, `{"servers":{}}`} {
		if p := proposed(t, "x.json", doc, importer.Options{}); len(p.Servers) != 0 {
			t.Errorf("%s: %+v", doc, p.Servers)
		}
	}
}

// TestAHostileFileIsRefusedAtItsPlace: with one error that names the file and the place, and quotes no value.
func TestAHostileFileIsRefusedAtItsPlace(t *testing.T) {
	one := func(server string) string { return `{"mcpServers":{"a":` + server + `}}` }
	many := func(n int, each string) string { return strings.TrimSuffix(strings.Repeat(each+",", n), ",") }
	servers := make([]string, 201)
	for i := range servers {
		servers[i] = fmt.Sprintf(`"s%d":{"command":"x"}`, i)
	}
	for _, c := range []struct{ name, doc, want string }{
		{"not JSON", "{\n  \"mcpServers\": {\n hunter2", "line 3, column 2"},
		{"a list", `[]`, "not a JSON object"},
		{"large", `{"a":"` + strings.Repeat("x", 1<<20) + `"}`, "larger than"},
		{"deep", strings.Repeat(`{"a":`, 2000) + "1" + strings.Repeat("}", 2000), "deep"},
		{"many values", `{"a":[` + many(30000, "1") + `]}`, "values"},
		{"the same key twice", "{\"mcpServers\":{\n\"a\":{\"command\":\"x\"},\"\\u0061\":{\"command\":\"hunter2\"}}}", `line 2, column 21: the key "a" stands twice`},
		{"the same setting twice", one(`{"command":"x","command":"hunter2"}`), `"command" stands twice`},
		{"not UTF-8", "{\"mcpServers\":{\"a\":{\"command\":\"\xff\"}}}", "0xff is not UTF-8"},
		{"not UTF-8 in a comment", "{} // \xff", "0xff is not UTF-8"},
		{"half a surrogate", one(`{"command":"\ud800"}`), "line 1"},
		{"a comment without an end", `{} /* hunter2`, "does not end"},
		{"a comma too many", `{"mcpServers":{"a":{"command":"x","args":[,]}}}`, "line 1, column"},
		{"two commas", `{"mcpServers":{"a":{"command":"x",,}}}`, "line 1, column"},
		{"two documents", `{} {}`, "line 1, column 4"},
		{"servers that are a list", `{"mcpServers":[]}`, "mcpServers: it is not an object"},
		{"a server that is text", one(`"hunter2"`), "mcpServers.a: it is not an object"},
		{"no name", `{"mcpServers":{"":{"command":"x"}}}`, "1 to 256"},
		{"a long name", `{"mcpServers":{"` + strings.Repeat("n", 300) + `":{"command":"x"}}}`, "1 to 256"},
		{"neither", one(`{}`), "either a command or a url"},
		{"both", one(`{"command":"x","url":"https://hunter2.example"}`), "either a command or a url"},
		{"another type", one(`{"type":"http","command":"x"}`), "mcpServers.a.type"},
		{"a command that is a list", one(`{"command":["hunter2"]}`), "mcpServers.a.command: want a string"},
		{"args that are text", one(`{"command":"x","args":"hunter2"}`), "mcpServers.a.args: want an array"},
		{"an arg that is a number", one(`{"command":"x","args":["a",2]}`), "mcpServers.a.args[1]: want a string"},
		{"too many args", one(`{"command":"x","args":[` + many(256, `"a"`) + `]}`), "more than 255"},
		{"a long arg", one(`{"command":"x","args":["` + strings.Repeat("a", 70000) + `"]}`), "more than 65536 bytes"},
		{"NUL", one(`{"command":"x","env":{"A":"hunter2\u0000"}}`), "mcpServers.a.env.A: it holds a NUL"},
		{"env that is a list", one(`{"command":"x","env":["A=hunter2"]}`), "mcpServers.a.env: want an object"},
		{"a variable that is an object", one(`{"command":"x","env":{"A":{}}}`), "mcpServers.a.env.A: want a string"},
		{"a header that is a list", one(`{"url":"https://x","headers":{"A":["hunter2"]}}`), "mcpServers.a.headers.A: want a string"},
		{"too many servers", `{"mcpServers":{` + strings.Join(servers, ",") + `}}`, "more than 200 servers"},
	} {
		_, err := importer.Parse(importer.File{Name: "dir/\x1b[31mf.json"}, []byte(c.doc))
		var p *importer.Problem
		if !errors.As(err, &p) || p.Hint == "" {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		got := err.Error()
		if !strings.HasPrefix(got, `dir/\u001b[31mf.json: `) || !strings.Contains(got, c.want) || strings.Contains(got, "hunter2") || strings.ContainsAny(got, "\x1b\n") || len(got) > 400 {
			t.Errorf("%s: %q does not say %q as it should", c.name, got, c.want)
		}
	}
}

func TestOnlyRegularFilesAreRead(t *testing.T) {
	dir := t.TempDir()
	path := func(n string) string { return filepath.Join(dir, n) }
	if err := os.WriteFile(path("real.json"), []byte(`{"mcpServers":{"a":{"command":"x"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Symlink(path("real.json"), path("link.json")), os.Symlink(path("gone"), path("broken.json")),
		syscall.Mkfifo(path("pipe.json"), 0o600), os.Symlink(path("pipe.json"), path("linked-pipe.json")), os.Mkdir(path("folder.json"), 0o700)); err != nil {
		t.Fatal(err)
	}
	big, err := os.Create(path("big.json"))
	if err == nil {
		err = errors.Join(big.Truncate(1<<40), big.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		links bool
		want  string
	}{
		{"real.json", false, ""}, {"link.json", true, ""}, {"link.json", false, "symbolic link"}, {"broken.json", false, "symbolic link"},
		{"broken.json", true, "leads nowhere"}, {"pipe.json", false, "not a regular file"}, {"pipe.json", true, "not a regular file"},
		{"linked-pipe.json", true, "not a regular file"}, {"folder.json", true, "not a regular file"}, {"big.json", true, "larger than"}, {"none.json", true, "not exist"},
	} {
		done := make(chan error, 1)
		go func() {
			_, err := importer.Read(importer.File{Name: path(c.name), Links: c.links})
			done <- err
		}()
		select {
		case err := <-done:
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%s: %v, want %q", c.name, err, c.want)
			}
			if errors.Is(err, fs.ErrNotExist) != (c.name == "none.json") {
				t.Errorf("%s: %v", c.name, err)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: reading hangs", c.name)
		}
	}
}

func TestAnEnvFileGivesNamesAndQuotesNothing(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("good.env", "# c\n\nexport A=1\nB=\"two words\"\nC='x'\r\nD=$A\n")
	write("shadow", "root:hunter2:1:0:::::\n")
	write("huge.env", strings.Repeat("#", 70000))
	write("bytes.env", "A=\xff")
	read := func(file string) *importer.Server {
		write("mcp.json", fmt.Sprintf(`{"mcpServers":{"a":{"command":"x","env":{"A":"mine"},"envFile":%q}}}`, file))
		entries, err := importer.Read(importer.File{Name: filepath.Join(dir, "mcp.json")})
		if err != nil {
			t.Fatal(err)
		}
		return importer.Propose(entries, importer.Options{Tenant: "acme"}).Servers[0]
	}
	s := read("good.env")
	if got := s.Environment(os.Getenv); !slices.Equal(s.PassEnv, []string{"A", "B", "C", "D"}) || !slices.Equal(got, []string{"A=mine", "B=two words", "C=x", "D=$A"}) || len(s.Warnings) != 0 {
		t.Errorf("%+v %q", s, got)
	}
	for file, want := range map[string]string{"shadow": "line 1 is not NAME=value", "huge.env": "larger", "bytes.env": "UTF-8", "none": "not exist", "${input:f}": "not known"} {
		s := read(file)
		if len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], want) || strings.Contains(fmt.Sprint(s.Warnings), "hunter2") || !slices.Equal(s.PassEnv, []string{"A"}) {
			t.Errorf("%s: %q %q", file, s.Warnings, s.PassEnv)
		}
	}
}

func TestTheWellKnownPlacesAreThoseOfTheSystem(t *testing.T) {
	for _, c := range []struct {
		os   string
		env  map[string]string
		want []string
	}{
		{"linux", nil, []string{"/w/.cursor/mcp.json", "/w/.vscode/mcp.json", "/w/.vscode/settings.json", "/h/.config/Claude/claude_desktop_config.json", "/h/.cursor/mcp.json",
			"/h/.config/Code/User/mcp.json", "/h/.config/Code/User/settings.json", "/h/.config/Code - Insiders/User/mcp.json", "/h/.config/Code - Insiders/User/settings.json"}},
		{"linux", map[string]string{"XDG_CONFIG_HOME": "/x"}, []string{"/x/Claude/claude_desktop_config.json", "/x/Code/User/mcp.json"}},
		{"linux", map[string]string{"XDG_CONFIG_HOME": "rel"}, []string{"/h/.config/Claude/claude_desktop_config.json"}},
		{"darwin", nil, []string{"/h/Library/Application Support/Claude/claude_desktop_config.json", "/h/Library/Application Support/Code/User/mcp.json", "/h/.cursor/mcp.json"}},
		{"windows", map[string]string{"APPDATA": "/r"}, []string{"/r/Claude/claude_desktop_config.json", "/r/Code/User/settings.json", "/h/.cursor/mcp.json"}},
	} {
		var got []string
		for _, f := range importer.Places(importer.Machine{OS: c.os, Home: "/h", Work: "/w", Getenv: func(k string) string { return c.env[k] }}) {
			got = append(got, f.Name)
		}
		for _, w := range c.want {
			if !slices.Contains(got, w) {
				t.Errorf("%s %v: %s is not among %q", c.os, c.env, w, got)
			}
		}
		if len(got) != 9 {
			t.Errorf("%s: %q", c.os, got)
		}
	}
	home := importer.Places(importer.Machine{OS: "linux", Home: "/h", Work: "/h", Getenv: func(string) string { return "" }})
	if n := len(home); n != 8 {
		t.Errorf("in the home folder: %d places", n)
	}
}

// loaded has the gateway's own reader read a proposal, and compares what it found with what was proposed.
func loaded(t testing.TB, p *importer.Proposal) {
	t.Helper()
	hcl := p.HCL()
	conf, err := config.Parse("proposal.hcl", hcl)
	if err != nil {
		t.Fatalf("the proposal does not load: %v\n%s", err, hcl)
	}
	if len(conf.Servers) != len(p.Fresh()) {
		t.Fatalf("%d servers of %d\n%s", len(conf.Servers), len(p.Fresh()), hcl)
	}
	for _, s := range p.Fresh() {
		g := conf.Servers[s.Name]
		if g.URL != s.URL || !slices.Equal(g.Command, s.Command) || g.Dir != s.Dir || !slices.Equal(g.PassEnv, s.PassEnv) || g.Credential != s.Credential || g.Prefix != s.Prefix {
			t.Errorf("%s loads as another:\n%+v\n%+v", s.Name, g, s)
		}
	}
	if err := policies.CheckText(importer.PolicyFile, p.Cedar()); err != nil {
		t.Errorf("the policies: %v\n%s", err, p.Cedar())
	}
}

// TestNothingInAFileIsEvaluated: what HCL or Cedar could take for more than text stays text.
func TestNothingInAFileIsEvaluated(t *testing.T) {
	for _, word := range []string{
		"${server.x}", "$${x}", "$$${x}", "%{ if true }", "%%{x}", "$%{x}", `"`, `\`, `\"`, `\${x}`, `"]` + "} server \"evil\" { url = \"http://h\" }", "a b", "#", "//", "/*", "é", "日本",
		"\u202eabc", "\u2066", "\ufeff", "\u200b", "\U000e0001", "\u00a0", "$", "%", "{", "${", "%{", "$\u200b{x}", "𝒳", `@id("x")`, `");forbid(principal,action,resource);//`,
	} {
		doc, err := json.Marshal(map[string]any{"mcpServers": map[string]any{word: map[string]any{"command": "/bin/" + word, "args": []string{word, "--x=" + word}, "cwd": "/d/" + word, "env": map[string]string{word: word}}}})
		if err != nil {
			t.Fatal(err)
		}
		p := proposed(t, "/c/"+word+"/claude_desktop_config.json", string(doc), importer.Options{})
		if s := p.Servers[0]; s.State != importer.New || s.Command[1] != word {
			t.Errorf("%q: %+v", word, s)
		}
		loaded(t, p)
		if _, err := p.Bundle(); err != nil {
			t.Errorf("the policies: %v\n%s", err, p.Cedar())
		}
		if text := string(p.HCL()) + string(p.Cedar()); strings.ContainsFunc(text, func(r rune) bool {
			return r < ' ' && r != '\n' || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
		}) {
			t.Errorf("%q: the proposal holds what moves a cursor", word)
		}
	}
}

// FuzzReader: whatever is read is proposed as something that loads as it was meant, and no value of a variable or header
// leaves it but where it is asked for.
func FuzzReader(f *testing.F) {
	f.Add([]byte(`{"mcpServers":{"a":{"command":"npx","args":["-y","${x}"],"env":{"A":"v-secret-v"}}}}`), "x.json")
	f.Add([]byte(`{"servers":{"a":{"type":"http","url":"https://h/mcp","headers":{"Authorization":"Bearer v-secret-v"}},}, /*c*/ }`), "/p/.vscode/mcp.json")
	f.Add([]byte("{\"mcp\":{\"servers\":{\"\u202e__\":{\"command\":\"%{x}\",\"cwd\":\"..\"}}}} // c"), "settings.json")
	f.Add([]byte(`{"mcpServers":{"d":{"command":"docker","args":["run","-e","A=${env:B}"],"disabled":true},"D":{"command":"docker","args":["run"]}}}`), "claude_desktop_config.json")
	f.Fuzz(func(t *testing.T, doc []byte, name string) {
		entries, err := importer.Parse(importer.File{Name: name, Home: "/h"}, doc)
		if err != nil {
			var p *importer.Problem
			if !errors.As(err, &p) || strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Fatalf("%#v", err)
			}
			return
		}
		p := importer.Propose(entries, importer.Options{Tenant: "acme"})
		loaded(t, p)
		again := importer.Propose(entries, importer.Options{Tenant: "acme"})
		if !reflect.DeepEqual(p.HCL(), again.HCL()) {
			t.Error("two proposals of one file differ")
		}
	})
}
