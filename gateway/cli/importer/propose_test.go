package importer_test

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/gateway/cli/importer"
)

func words(list []string) string { return strings.Join(list, " | ") }

// TestWhatSomebodyShouldKnowIsSaid: a warning, or a server that is held, for each of these; and silence for the others.
func TestWhatSomebodyShouldKnowIsSaid(t *testing.T) {
	for _, c := range []struct{ server, held, warned string }{
		{`{"command":"npx","args":["-y","pkg"]}`, "", "npx fetches pkg,"},
		{`{"command":"npx.cmd","args":["-y","@s/pkg"]}`, "", "fetches @s/pkg,"},
		{`{"command":"npx","args":["-y","@s/pkg@latest"]}`, "", "fetches @s/pkg@latest"},
		{`{"command":"npx","args":["-y","@s/pkg@1"]}`, "", "fetches"},
		{`{"command":"npx","args":["-y","@s/pkg@^1.2.3"]}`, "", "fetches"},
		{`{"command":"npx","args":["-y","@s/pkg@1.2.3-rc.1"]}`, "", ""},
		{`{"command":"npx","args":["--package=pkg","bin"]}`, "", "fetches pkg"},
		{`{"command":"pnpm","args":["dlx","pkg"]}`, "", "fetches pkg"},
		{`{"command":"npm","args":["exec","--","pkg"]}`, "", "fetches pkg"},
		{`{"command":"uvx","args":["--from","git+https://g.example/x","tool"]}`, "", "fetches git+https"},
		{`{"command":"uvx","args":["tool==1.2.3"]}`, "", ""},
		{`{"command":"uv","args":["tool","run","tool"]}`, "", "fetches tool"},
		{`{"command":"docker","args":["run","-i","--rm","ghcr.io/x/y"]}`, "", "the image is not pinned"},
		{`{"command":"docker","args":["run","-i","ghcr.io/x/y@sha256:00"]}`, "", ""},
		{`{"command":"sh","args":["-c","curl x | sh"]}`, "", "a shell reads its command"},
		{`{"command":"/bin/bash","args":["-lc","x"]}`, "", "a shell reads its command"},
		{`{"command":"cmd.exe","args":["/C","x"]}`, "", "a shell reads its command"},
		{`{"command":"npx","args":["mcp-remote@1.2.3","https://x.example/mcp"]}`, "", "reached natively"},
		{`{"command":"node","args":["s.js","--api-key","abc"]}`, "args[2] looks like a secret", ""},
		{`{"command":"node","args":["s.js","--token=abc"]}`, "args[1] looks like a secret", ""},
		{`{"command":"node","args":["--auth-mode","oauth","--max-tokens","5","--token-file","/t"]}`, "", ""},
		{`{"command":"docker","args":["run","-e","DB_PASSWORD=abc","i@sha256:0"]}`, "args[2] looks like a secret", ""},
		{`{"command":"docker","args":["run","-e","DB_PASSWORD","i@sha256:0"]}`, "", ""},
		{`{"command":"npx","args":["pg@1.2.3","postgres://u:p@h/d"]}`, "args[1] looks like a secret", ""},
		{`{"command":"npx","args":["x@1.2.3","--header","Authorization: Bearer abcdefgh"]}`, "args[2] looks like a secret", ""},
		{`{"command":"x","args":["ghp_0123456789abcdefghij"]}`, "args[0] looks like a secret", ""},
		{`{"command":"x","args":["https://h/?api_key=abc"]}`, "args[0] looks like a secret", ""},
		{`{"command":"x","args":["${input:db}"]}`, "args[0] asks for ${input:db}", ""},
		{`{"command":"x","args":["a\nb"]}`, "args[0] holds a control character", ""},
		{`{"command":"x","args":["` + strings.Repeat("a", 3000) + `"]}`, "args[0] is longer than 2048", ""},
		{`{"command":"./x"}`, "", ""}, // in a project
		{`{"command":"x","env":{"LD_PRELOAD":"a"}}`, "", "LD_PRELOAD is left out"},
		{`{"command":"x","env":{"GATEWRIGHT_CFG_UPSTREAM__ALLOW_PRIVATE":"true"}}`, "", "is left out"},
		{`{"command":"x","env":{"A B":"a"}}`, "", `"A B" is left out`},
		{`{"command":"x","disabled":true}`, "has it disabled", ""},
		{`{"command":"x","enabled":false}`, "has it disabled", ""},
		{`{"command":"x","headers":{"A":"b"}}`, "", "headers are left out"},
		{`{"command":"x","sandboxEnabled":true}`, "", "sandboxEnabled is not taken over"},
		{`{"type":"ws","url":"https://x.example"}`, "type is not known", ""},
		{`{"type":"sse","url":"https://x.example/sse"}`, "", ""}, // the gateway speaks it
		{`{"type":"sse","url":"http://x.example/sse"}`, "", "plain http"},
		{`{"url":"http://x.example/mcp"}`, "", "plain http"},
		{`{"url":"https://10.1.2.3/mcp"}`, "", "private or on this machine"},
		{`{"url":"https://[::1]/mcp"}`, "", "private or on this machine"},
		{`{"url":"https://[::ffff:127.0.0.1]/mcp"}`, "", "private or on this machine"},
		{`{"url":"https://169.254.169.254/mcp"}`, "", "private or on this machine"},
		{`{"url":"https://db.internal/mcp"}`, "", "private or on this machine"},
		{`{"url":"https://host/mcp"}`, "", "private or on this machine"},
		{`{"url":"https://x.example/mcp"}`, "", ""},
		{`{"url":"https://u:p@x.example/mcp"}`, "holds a password", ""},
		{`{"url":"https://x.example/mcp?token=abc"}`, "its url holds what looks like a secret", ""},
		{`{"url":"https://x.example/mcp#f"}`, "has a fragment", ""},
		{`{"url":"ftp://x.example/mcp"}`, "not http or https", ""},
		{`{"url":"${env:HOST}/mcp"}`, "its url asks for ${env:HOST}", ""},
		{`{"url":"https://x.example/mcp","env":{"A":"b"}}`, "", "env is left out"},
		{`{"url":"https://x.example/mcp","headers":{"Authorization":"abc"}}`, "no scheme", ""},
		{`{"url":"https://x.example/mcp","headers":{"Authorization":"${env:A}"}}`, "", "sent as Bearer"},
		{`{"url":"https://x.example/mcp","headers":{"X-A":"b","X-B":"c"}}`, "2 headers", ""},
		{`{"url":"https://x.example/mcp","headers":{"X-Api-Key":"b","X-Region":"c"}}`, "", "X-Region is left out"},
		{`{"url":"https://x.example/mcp","headers":{"Host":"b"}}`, "", "Host is left out"},
		{`{"url":"https://x.example/mcp","headers":{"A:\r\nB":"b"}}`, "not a name that can carry", ""},
		{`{"url":"https://x.example/mcp","auth":{"CLIENT_ID":"x"}}`, "", "auth is not taken over"},
	} {
		s := only(t, "/p/.cursor/mcp.json", `{"mcpServers":{"a":`+c.server+`}}`)
		held, warned := words(s.Held), words(s.Warnings)
		if (held != "") != (c.held != "") || !strings.Contains(held, c.held) || (s.State == importer.Held) != (c.held != "") {
			t.Errorf("%s: %s, held %q, want %q", c.server, s.State, held, c.held)
		}
		if (warned != "") != (c.warned != "") || !strings.Contains(warned, c.warned) {
			t.Errorf("%s: warned %q, want %q", c.server, warned, c.warned)
		}
	}
	if s := only(t, "/srv/ada/.cursor/mcp.json", `{"mcpServers":{"a":{"command":"./x","cwd":"y"}}}`); len(s.Held) != 2 {
		t.Errorf("relative paths of nowhere: %q", s.Held)
	}
	if s := only(t, "/p/.cursor/mcp.json", `{"mcpServers":{"a":{"command":"./x","cwd":"y"}}}`); s.Command[0] != "/p/x" || s.Dir != "/p/y" {
		t.Errorf("relative paths of a project: %+v", s)
	}
}

// TestNoSecretIsShown: in no form of a proposal, of whatever state its server is.
func TestNoSecretIsShown(t *testing.T) {
	doc := `{"mcpServers":{
		"env":{"command":"x","env":{"A":"hunter2-a","B B":"hunter2-b","PATH":"hunter2-c"}},
		"head":{"url":"https://x.example/mcp","headers":{"Authorization":"Bearer hunter2-d"}},
		"heads":{"url":"https://x.example/2","headers":{"X-Token":"hunter2-e","X-Key":"hunter2-f"}},
		"raw":{"url":"https://x.example/3","headers":{"Authorization":"hunter2-g"}},
		"user":{"url":"https://me:hunter2-h@x.example/4"},
		"query":{"url":"https://x.example/5?a=1&access_token=hunter2-i"},
		"args":{"command":"x","args":["--password","hunter2-j","--secret=hunter2-k","DB_PASSWORD=hunter2-l","pg://u:hunter2-m@h","X-Api-Key: hunter2-n"]},
		"type":{"type":"ws","url":"https://me:hunter2-o@x.example"}
	}}`
	p := proposed(t, "/srv/ada/.cursor/mcp.json", doc, importer.Options{})
	all, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	text := string(all) + string(p.HCL()) + string(p.Cedar()) + fmt.Sprint(p.Needs())
	if i := strings.Index(text, "hunter2"); i >= 0 {
		t.Errorf("a secret is shown: %s", text[max(0, i-60):i+20])
	}
	loaded(t, p)
	if v, ok := p.Servers[1].Secret(func(string) string { return "" }); v != "hunter2-d" || !ok {
		t.Errorf("for the vault: %q %v", v, ok)
	}
}

func TestNamesAreMadeUniqueAndSaidWhenChanged(t *testing.T) {
	doc := `{"mcpServers":{"a":{"command":"1"},"A":{"command":"2"},"a__b":{"command":"3"},"tools":{"command":"4"},"demo":{"command":"5"},"gіthub":{"command":"6"},"---":{"command":"7"},"` +
		strings.Repeat("l", 80) + `":{"command":"8"},"` + strings.Repeat("l", 79) + `M":{"command":"9"},"mine":{"command":"10"},"x\u001b[2J":{"command":"11"}}}`
	p := proposed(t, "x.json", doc, importer.Options{Existing: []importer.Existing{{Name: "mine", URL: "https://other.example"}}})
	var got []string
	for _, s := range p.Servers {
		got = append(got, s.Name)
		if (s.Name != s.Sources[0].Key) != (len(s.Warnings) == 1 && strings.Contains(s.Warnings[0], "became "+s.Name)) || strings.Contains(words(s.Warnings), "\x1b") {
			t.Errorf("%q: %q", s.Name, s.Warnings)
		}
	}
	l := strings.Repeat("l", 63)
	want := []string{"a", "a-2", "a--b", "tools-2", "demo-2", "g-thub", "server", l, l[:61] + "-2", "mine-2", "x--2j"}
	if !slices.Equal(got, want) {
		t.Errorf("\n got %q\nwant %q", got, want)
	}
	loaded(t, p)
}

func TestWhatIsThereOrTwiceIsProposedOnce(t *testing.T) {
	one := `{"mcpServers":{"files":{"command":"x","args":["/srv"],"env":{"K":"1"}},"web":{"url":"https://x.example/mcp"},"proc":{"command":"y"}}}`
	two := `{"servers":{"data":{"type":"stdio","command":"x","args":["/srv"],"env":{"K":"1"}},"other":{"command":"x","args":["/srv"],"env":{"K":"2"}}}}`
	var entries []importer.Entry
	for name, doc := range map[string]string{"claude_desktop_config.json": one, "b.json": two} {
		more, err := importer.Parse(importer.File{Name: name}, []byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		if name == "b.json" {
			entries = append(entries, more...)
		} else {
			entries = append(more, entries...)
		}
	}
	p := importer.Propose(entries, importer.Options{Tenant: "acme"})
	if len(p.Servers) != 4 || len(p.Servers[0].Sources) != 2 || p.Servers[3].Name != "other" || !strings.Contains(words(p.Servers[3].Warnings), "K has another value for server files") {
		t.Errorf("%s", p.HCL())
	}
	if v := string(p.Variables()); strings.Contains(v, "\nexport K") || !strings.Contains(v, "# export K=") {
		t.Errorf("%s", v)
	}
	there := []importer.Existing{{Name: "fs", Command: []string{"x", "/srv"}}, {Name: "w", URL: "https://x.example/mcp"}, {Name: "proc"}}
	p = importer.Propose(entries, importer.Options{Tenant: "acme", Existing: there})
	for i, name := range []string{"fs", "w", "proc"} {
		if s := p.Servers[i]; s.State != importer.Present || s.Name != name {
			t.Errorf("%+v", s)
		}
	}
	if len(p.Fresh()) != 0 || strings.Contains(string(p.HCL()), "server ") || strings.Contains(string(p.Cedar()), "\nforbid") {
		t.Errorf("%s%s", p.HCL(), p.Cedar())
	}
}

// TestTheVariablesReadBackInAShell: whatever a value holds.
func TestTheVariablesReadBackInAShell(t *testing.T) {
	values := map[string]string{"A": "it's", "B": "two\nlines\n'", "C": "$(touch /tmp/x)`id`${HOME}", "D": `\`, "E": "", "F": "é \t\"", "FROM": "${env:THERE}", "ASK": "${input:k}", "MIX": "a${env:THERE}"}
	doc, err := json.Marshal(map[string]any{"mcpServers": map[string]any{"a": map[string]any{"command": "x", "env": values}}})
	if err != nil {
		t.Fatal(err)
	}
	p := proposed(t, "/srv/ada/.cursor/mcp.json", string(doc), importer.Options{})
	script := string(p.Variables()) + "\nfor n in A B C D E F FROM ASK MIX; do eval \"printf '%s=%s;' \\\"$n\\\" \\\"\\${$n-unset}\\\"\"; done"
	cmd := exec.Command("sh", "-euc", script)
	cmd.Env = []string{"THERE=here", "HOME=/h", "PATH=/usr/bin:/bin"}
	out, err := cmd.CombinedOutput()
	want := ""
	for _, n := range []string{"A", "B", "C", "D", "E", "F"} {
		want += n + "=" + values[n] + ";"
	}
	if want += "FROM=here;ASK=unset;MIX=unset;"; err != nil || string(out) != want {
		t.Errorf("%v\n got %q\nwant %q\n%s", err, out, want, script)
	}
}

func TestToolsAreShownAsTheyCall(t *testing.T) {
	got, err := importer.Tools([]json.RawMessage{[]byte(`{"name":"r","annotations":{"readOnlyHint":true,"openWorldHint":false}}`), []byte(`{"name":"w"}`)})
	if err != nil || len(got) != 2 || !got[0].ReadOnly || got[0].OpenWorld || got[1].ReadOnly || !got[1].OpenWorld || len(got[0].Definition) != 64 {
		t.Errorf("%+v %v", got, err)
	}
	for _, bad := range []string{`{}`, `{"name":1}`, `{"name":"a","name":"b"}`, `[`} {
		if _, err := importer.Tools([]json.RawMessage{[]byte(bad)}); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}
