package cli_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/gatewright/gatewright/gateway/cli"
	"github.com/gatewright/gatewright/gateway/config"
	"github.com/gatewright/gatewright/policies"
)

// blocks reads a configuration as the program does.
func blocks(file string, doc []byte) ([]cli.ConfiguredServer, error) {
	if doc == nil {
		b, err := os.ReadFile(file)
		if file == "" || errors.Is(err, os.ErrNotExist) {
			return nil, nil
		}
		doc = b
	}
	conf, err := config.Parse(file, doc)
	var out []cli.ConfiguredServer
	for _, name := range slices.Sorted(maps.Keys(conf.Servers)) {
		s := conf.Servers[name]
		out = append(out, cli.ConfiguredServer{Name: name, Tenant: s.Tenant, URL: s.URL, Command: s.Command, PassEnv: s.PassEnv, Dir: s.Dir,
			AllowPrivate: s.AllowPrivate, Credential: s.Credential, Header: s.Header, Prefix: s.Prefix})
	}
	return out, err
}

const clientsFile = `{"mcpServers":{
	"files":{"command":"npx","args":["-y","pkg@1.2.3","/srv/a b"],"env":{"FILES_KEY":"hunter2-env"}},
	"web":{"url":"https://web.example/mcp","headers":{"X-Key":"hunter2-head"}},
	"basic":{"url":"https://basic.example/mcp","headers":{"Authorization":"Basic hunter2-basic"}},
	"held":{"command":"x","args":["--token","hunter2-arg"]}}}`

// importHouse is a house in an empty working directory, with a file of a client.
func importHouse(t *testing.T) (*house, string) {
	t.Helper()
	t.Chdir(t.TempDir())
	h := newHouse(t)
	h.runner.Servers = blocks
	h.env["HOME"] = t.TempDir()
	file := filepath.Join(h.env["HOME"], "claude_desktop_config.json")
	if err := os.WriteFile(file, []byte(clientsFile), 0o600); err != nil {
		t.Fatal(err)
	}
	return h, file
}

// alone makes a house one without a running gateway.
func (h *house) alone() { delete(h.env, "GATEWRIGHT_CONTROL_URL") }

func TestAnImportIsShownAndWritesNothing(t *testing.T) {
	h, file := importHouse(t)
	h.alone()
	o := h.run(t, "connector", "import", file)
	for _, want := range []string{"files   new    stdio  npx -y pkg@1.2.3 '/srv/a b'  environment: FILES_KEY", "vault: web-x-key", "held is held: args[1]", "server \"web\" {\n  tenant     = \"demo\"\n",
		"# server \"held\" {", `@id("import-files-acts")`, `prefix     = "Basic "`} {
		if !strings.Contains(o.out, want) {
			t.Errorf("no %q in\n%s", want, o.out)
		}
	}
	if o.code != 0 || strings.Contains(o.out+o.errOut, "hunter2") || !strings.Contains(o.errOut, "looked at "+file+": 4 servers") || !strings.Contains(o.errOut, "nothing is in force yet") {
		t.Errorf("exit %d\n%s", o.code, o.errOut)
	}
	if left, err := os.ReadDir("."); err != nil || len(left) != 0 {
		t.Errorf("it left %v %v", left, err)
	}
	j := h.run(t, "connector", "import", file, "--json", "--tenant", "acme")
	var got struct {
		Looked      []struct{ File string } `json:"looked_at"`
		Tenant      string
		Environment []string
		Servers     []struct{ Name, State, URL, Credential string }
		HCL, Cedar  string
	}
	if err := json.Unmarshal([]byte(j.out), &got); err != nil || j.code != 0 || got.Tenant != "acme" || len(got.Servers) != 4 || got.Servers[3].State != "held" ||
		!strings.Contains(got.HCL, `tenant     = "acme"`) || len(got.Environment) != 1 || len(got.Looked) != 1 || strings.Contains(j.out, "hunter2") {
		t.Errorf("%v\n%s%s", err, j.out, j.errOut)
	}
}

func TestAnImportLooksInTheWellKnownPlaces(t *testing.T) {
	h, _ := importHouse(t)
	h.alone()
	h.env["XDG_CONFIG_HOME"] = filepath.Join(h.env["HOME"], ".config")
	o := h.run(t, "connector", "import")
	if o.code != 1 || !strings.Contains(o.errOut, "no MCP configuration is there; looked at ") || !strings.Contains(o.errOut, filepath.Join(".cursor", "mcp.json")) || !strings.Contains(o.errOut, "hint: ") {
		t.Errorf("%+v", o)
	}
	place := func(name, text string) string {
		name = filepath.Join(h.env["HOME"], name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
		return name
	}
	place(".cursor/mcp.json", `{"mcpServers":{"c":{"command":"x"}}}`)
	if err := errors.Join(os.Mkdir(".vscode", 0o700), os.WriteFile(".vscode/mcp.json", []byte("{// a\n\"servers\":{\"v\":{\"command\":\"y\"},}}"), 0o600)); err != nil {
		t.Fatal(err)
	}
	o = h.run(t, "connector", "import")
	if o.code != 0 || !strings.Contains(o.out, "\nc ") || !strings.Contains(o.out, "\nv ") || !strings.Contains(o.errOut, "not there") {
		t.Errorf("%+v", o)
	}
	bad := place(".config/Code/User/mcp.json", `{"servers":{"z":{"command":"hunter2",}},}}`)
	pipe := filepath.Join(h.env["HOME"], ".config", "Code", "User", "settings.json")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	o = h.run(t, "connector", "import") // the others are proposed, and the exit code says that not all is well
	if o.code != 2 || !strings.Contains(o.out, "\nc ") || strings.Contains(o.errOut+o.out, "hunter2") ||
		!strings.Contains(o.errOut, "  "+bad+": line 1, column") || !strings.Contains(o.errOut, "  "+pipe+": it is not a regular file") || !strings.Contains(o.errOut, "hint: ") {
		t.Errorf("%+v", o)
	}
	h.fails(t, 2, bad+": line 1, column 42", "connector", "import", bad)
	h.fails(t, 2, "not exist", "connector", "import", "nosuch.json")
	if err := os.WriteFile("gateway.hcl", []byte("server \"c\" {"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.fails(t, 2, "no name", "connector", "import", "--tenant", "A b")
	if o := h.run(t, "connector", "import", "--config", "gateway.hcl"); o.code == 0 || o.out != "" {
		t.Errorf("a broken configuration: %+v", o)
	}
}

func TestAProposalIsNoLargerThanAConfiguration(t *testing.T) {
	h, file := importHouse(t)
	h.alone()
	for n, want := range map[int]int{120: 0, 140: 2} {
		servers := map[string]any{}
		for i := range n {
			servers[fmt.Sprintf("s%d", i)] = map[string]any{"command": fmt.Sprint(i), "args": []string{strings.Repeat("a", 1900)}}
		}
		doc, err := json.Marshal(map[string]any{"mcpServers": servers})
		if err = errors.Join(err, os.WriteFile(file, doc, 0o600)); err != nil {
			t.Fatal(err)
		}
		if o := h.run(t, "connector", "import", file); o.code != want || want == 2 && !strings.Contains(o.errOut, "a configuration at most 262144\nhint: ") {
			t.Errorf("%d servers: exit %d, %.300s", n, o.code, o.errOut)
		}
	}
}

func TestAnImportWritesNewFilesOnly(t *testing.T) {
	h, file := importHouse(t)
	h.alone()
	args := []string{"connector", "import", file, "--write", "new.hcl", "--policies", "bundle", "--env-file", "env.sh"}
	if o := h.run(t, args...); o.code != 0 || strings.Contains(o.out, "server \"") || strings.Contains(o.out, "forbid") || strings.Contains(o.out+o.errOut, "hunter2") {
		t.Fatalf("%+v", o)
	}
	servers, err := blocks("new.hcl", nil)
	if err != nil || len(servers) != 3 || servers[1].Command[3] != "/srv/a b" {
		t.Errorf("%+v %v", servers, err)
	}
	if env, err := os.ReadFile("env.sh"); err != nil || !strings.HasSuffix(string(env), "\nexport FILES_KEY='hunter2-env'\n") {
		t.Errorf("%s %v", env, err)
	}
	for _, name := range []string{"new.hcl", "env.sh", "bundle/imported.cedar"} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", name, info, err)
		}
	}
	b, err := policies.LoadBundle(os.DirFS("bundle"))
	if err == nil {
		_, err = policies.Compile(b, nil)
	}
	if err != nil {
		t.Error(err)
	}
	for _, args := range [][]string{{"test", "--min-coverage", "100", "bundle"}, {"check", "--strict", "bundle"}, {"fmt", "--check", "bundle"}} {
		if o := h.run(t, append([]string{"policy"}, args...)...); o.code != 0 {
			t.Errorf("policy %q: %+v", args, o)
		}
	}
	for flag, name := range map[string]string{"--write": "new.hcl", "--policies": "bundle", "--env-file": "env.sh"} {
		before, _ := os.ReadFile(name)
		h.fails(t, 2, "is there already", "connector", "import", file, flag, name)
		if after, _ := os.ReadFile(name); string(after) != string(before) {
			t.Errorf("%s was written over", name)
		}
	}
	if err := os.Symlink("gone", "dangling"); err != nil {
		t.Fatal(err)
	}
	h.fails(t, 2, "is there already", "connector", "import", file, "--write", "dangling")
	h.runner.Servers = func(name string, doc []byte) ([]cli.ConfiguredServer, error) { // it comes while import works
		if doc != nil {
			_ = os.WriteFile("late.hcl", []byte("mine"), 0o600)
		}
		return blocks(name, doc)
	}
	if o := h.run(t, "connector", "import", file, "--write", "late.hcl"); o.code != 2 || !strings.Contains(o.errOut, "late.hcl: file exists") {
		t.Errorf("%+v", o)
	}
	if late, err := os.ReadFile("late.hcl"); string(late) != "mine" {
		t.Errorf("it was written over: %s %v", late, err)
	}
	if o := h.run(t, "connector", "import", file, "--write", filepath.Join("no", "where")); o.code != 2 {
		t.Errorf("%+v", o)
	}
}

// control answers as a gateway would, and notes what is changed.
func (h *house) changes(t *testing.T) *[]string {
	t.Helper()
	seen := &[]string{}
	h.control.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		switch body, _ := io.ReadAll(r.Body); {
		case r.Method != http.MethodGet:
			*seen = append(*seen, r.Method+" "+r.URL.Path+" "+string(body))
			answer(w, 200, `{}`)
		case r.URL.Path == "/api/v1/whoami":
			answer(w, 200, `{"organisation":"acme"}`)
		case r.URL.Path == "/api/v1/servers":
			answer(w, 200, `{"items":`+cmp.Or(h.existing, `[{"name":"old","url":"https://old.example/mcp"}]`)+`}`)
		case r.URL.Path == "/api/v1/secrets":
			answer(w, 200, `{"items":[{"name":"old-token"}]}`)
		default:
			answer(w, 404, `{"code":"not_found","message":"no"}`)
		}
	})
	return seen
}

// TestNothingIsAppliedWithoutAYes: neither by an answer that is no clear yes nor by none.
func TestNothingIsAppliedWithoutAYes(t *testing.T) {
	h, file := importHouse(t)
	seen := h.changes(t)
	h.runner.ListTools = func(context.Context, cli.ToolListing) ([]json.RawMessage, error) {
		t.Error("a server was started")
		return nil, nil
	}
	for _, in := range []string{"", "n\n", "\n\n\n\n\n\n\n", "no\nn\nN\nyess\ny es\n ye\n", "\x00y\n"} {
		h.stdin = in
		if o := h.run(t, "connector", "import", file, "--apply", "--probe"); o.code != 0 || !strings.Contains(o.errOut, "add web, https://web.example/mcp, and put its X-Key into the vault as web-x-key? [y/N] ") {
			t.Errorf("%q: %+v", in, o)
		}
	}
	if len(*seen) != 0 {
		t.Errorf("sent %q", *seen)
	}
}

func TestAnImportIsAppliedServerByServer(t *testing.T) {
	h, file := importHouse(t)
	seen := h.changes(t)
	h.stdin = "no\nYes\n"
	o := h.run(t, "connector", "import", file, "--apply")
	want := `PUT /api/v1/secrets/basic-authorization {"value":"hunter2-basic"}` + "\n" +
		`POST /api/v1/servers {"name":"basic","url":"https://basic.example/mcp","credential":"basic-authorization","header":"Authorization","prefix":"Basic "}`
	if got := strings.Join(*seen, "\n"); got != want || o.code != 0 || !strings.Contains(o.errOut, "basic is added") || !strings.Contains(o.errOut, "the starter policies are not in force: --policies DIR") || strings.Contains(o.out+o.errOut, "hunter2") || !strings.Contains(o.out, `"acme"`) {
		t.Errorf("sent %s\nwant %s\n%+v", got, want, o)
	}
	*seen = nil
	o = h.run(t, "connector", "import", file, "--apply", "--yes", "--json")
	if len(*seen) != 4 || o.code != 0 || !strings.Contains(o.out, "\"added\": [\n    \"web\",\n    \"basic\"\n  ]") || strings.Contains(strings.Join(*seen, ""), "npx") {
		t.Errorf("sent %q\n%+v", *seen, o)
	}
	h.fails(t, 2, "management key is of acme", "connector", "import", file, "--apply", "--yes", "--tenant", "other")
	h.env["GATEWRIGHT_CONTROL_URL"] = "http://127.0.0.1:1"
	h.fails(t, 3, "", "connector", "import", file, "--apply", "--yes")
	if o := h.run(t, "connector", "import", file); o.code != 0 || !strings.Contains(o.errOut, "was not asked what it has") {
		t.Errorf("without a gateway: %+v", o)
	}
}

func TestAnImportKeepsWhatIsThere(t *testing.T) {
	h, file := importHouse(t)
	seen := h.changes(t)
	text := `{"mcpServers":{"again":{"url":"https://old.example/mcp"},"old":{"url":"https://new.example/mcp"},"old-token":{"command":"x"},"files":{"command":"npx"}}}`
	if err := errors.Join(os.WriteFile(file, []byte(text), 0o600), os.WriteFile("mine.hcl", []byte("server \"npx\" {\n  tenant = \"acme\"\n  command = [\"npx\"]\n}\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	o := h.run(t, "connector", "import", file, "--config", "mine.hcl", "--apply", "--yes")
	for _, want := range []string{"old        present  http", "old-2      new", "npx        present  stdio"} {
		if !strings.Contains(o.out, want) {
			t.Errorf("no %q in\n%s", want, o.out)
		}
	}
	if len(*seen) != 1 || !strings.Contains((*seen)[0], `"name":"old-2"`) {
		t.Errorf("sent %q", *seen)
	}
	// A secret of the vault is never replaced.
	text = `{"mcpServers":{"old":{"url":"https://new.example/mcp","headers":{"Token":"hunter2"}}}}`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	h.existing, *seen = "[]", nil
	if o := h.run(t, "connector", "import", file, "--apply", "--yes"); len(*seen) != 0 || !strings.Contains(o.errOut, "the vault has a secret old-token already") {
		t.Errorf("sent %q\n%+v", *seen, o)
	}
}

func TestAProbeAsksOnlyWhomItMay(t *testing.T) {
	h, file := importHouse(t)
	h.alone()
	var asked []cli.ToolListing
	h.runner.ListTools = func(_ context.Context, l cli.ToolListing) ([]json.RawMessage, error) {
		asked = append(asked, l)
		if l.Name == "web" {
			return nil, errors.New("it is down\x1b[2J\nreally")
		}
		return []json.RawMessage{[]byte(`{"name":"read\u001b[31m","annotations":{"readOnlyHint":true}}`)}, nil
	}
	h.stdin = "y\ny\nn\n"
	o := h.run(t, "connector", "import", file, "--probe")
	if o.code != 0 || len(asked) != 2 || !slices.Equal(asked[0].Env, []string{"FILES_KEY=hunter2-env"}) || asked[1].Credential != "hunter2-head" {
		t.Errorf("asked %+v\n%+v", asked, o)
	}
	if !strings.Contains(o.out, `read\u001b[31m`) || !strings.Contains(o.errOut, "web: its tools cannot be read: it is down") || strings.Contains(o.out+o.errOut, "\x1b") || strings.Contains(o.out+o.errOut, "hunter2") {
		t.Errorf("%+v", o)
	}
}
