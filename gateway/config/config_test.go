package config_test

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/config"
)

func root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
	}
	t.Fatal("no go.mod above the test")
	return ""
}

func shipped(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root(t), "gateway.hcl"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestLoadingTheShippedFileEqualsLoadingNothing(t *testing.T) {
	nothing, err := config.Load(config.Source{})
	if err != nil {
		t.Fatal(err)
	}
	file, err := config.Load(config.Source{File: filepath.Join(root(t), "gateway.hcl")})
	if err != nil {
		t.Fatal(err)
	}
	file.File = ""
	if !reflect.DeepEqual(file, nothing) {
		t.Errorf("gateway.hcl differs from the defaults:\nfile    %+v\ndefault %+v", file, nothing)
	}
	if !reflect.DeepEqual(nothing, config.Default()) {
		t.Errorf("Default is not settled: %+v", config.Default())
	}
}

// written reads the shipped file line by line: the path of every setting it states, with its comment.
// Labelled blocks stand there as examples behind "# ", some inside a section; those lines are read as if live.
func written(t *testing.T) (paths map[string]string, example string) {
	t.Helper()
	paths = map[string]string{}
	section, block, inExample, comment := "", "", false, ""
	var ex strings.Builder
	for line := range strings.SplitSeq(shipped(t), "\n") {
		text := strings.TrimSpace(line)
		if strings.HasPrefix(text, "# ") && strings.HasSuffix(text, "\" {") {
			if inExample = true; section != "" {
				ex.WriteString(section + " {\n")
			}
		}
		if inExample {
			text = strings.TrimSpace(strings.TrimPrefix(text, "#"))
			ex.WriteString(text + "\n")
		}
		name, _, isSetting := strings.Cut(text, " = ")
		switch {
		case strings.HasPrefix(text, "#"):
			comment += text
			continue
		case strings.HasSuffix(text, "\" {"):
			block = strings.TrimPrefix(section+"."+strings.Fields(text)[0]+".*", ".")
		case strings.HasSuffix(text, " {"):
			section = strings.Fields(text)[0]
		case text == "}" && inExample:
			if block, inExample = "", false; section != "" {
				ex.WriteString("}\n")
			}
		case text == "}":
			section = ""
		case isSetting:
			paths[strings.TrimPrefix(cmp.Or(block, section)+"."+name, ".")] = comment
		}
		comment = ""
	}
	return paths, ex.String()
}

func TestTheShippedFileStatesEverySettingWithAComment(t *testing.T) {
	paths, _ := written(t)
	for _, s := range config.Settings() {
		comment, ok := paths[s.Path]
		if !ok {
			t.Errorf("gateway.hcl does not state %s", s.Path)
		} else if len(comment) < 20 {
			t.Errorf("gateway.hcl says nothing about %s: %q", s.Path, comment)
		}
		delete(paths, s.Path)
	}
	for path := range paths {
		t.Errorf("gateway.hcl states %s, which is no setting", path)
	}
}

func TestTheExamplesInTheShippedFileAreValid(t *testing.T) {
	_, example := written(t)
	c, err := config.Parse("example", []byte(strings.Replace(example, "kid =", "#", 1)))
	if err == nil {
		t.Fatalf("key without kid was accepted: %+v", c.Issuers)
	}
	c, err = config.Parse("example", []byte(example))
	if err != nil {
		t.Fatalf("%v in\n%s", err, example)
	}
	want := config.DefaultServer()
	want.Tenant, want.URL, want.Credential, want.Labels = "demo", "https://files.example/mcp", "files-token", []string{"internal"}
	want.PublicKeys = []string{"sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}
	if w := c.Ledger.Witnesses["corp"]; w.URL != "https://witness.example/corp" || w.Key == "" || w.Required || len(c.Witness.Logs["peer"].Keys) != 1 {
		t.Errorf("got %+v %+v", c.Ledger, c.Witness)
	}
	if !reflect.DeepEqual(c.Servers["files"], want) || c.Issuers["planner"].Issuer != "https://planner.example" {
		t.Errorf("got %+v %+v", c.Servers, c.Issuers)
	}
}

func TestEveryNumericSettingHasBothBounds(t *testing.T) {
	for _, s := range config.Settings() {
		if s.Numeric != s.Bounded {
			t.Errorf("%s (%s): min %q max %q", s.Path, s.Kind, s.Min, s.Max)
		}
	}
}

func TestEveryBoundIsEnforcedAtBothEnds(t *testing.T) {
	for _, s := range config.Settings() {
		if !s.Numeric || strings.Contains(s.Path, "*") {
			continue
		}
		for _, v := range []string{s.Min, s.Max} {
			_, err := config.Load(config.Source{Flags: []config.Flag{{Name: "--x", Path: s.Path, Value: v}}})
			if err != nil && strings.Contains(err.Error(), "out of range") {
				t.Errorf("%s = %s, a bound itself: %v", s.Path, v, err)
			}
		}
		for _, v := range []string{"-" + s.Max, "1" + s.Max} {
			_, err := config.Load(config.Source{Flags: []config.Flag{{Name: "--x", Path: s.Path, Value: v}}})
			if err == nil || !strings.HasPrefix(err.Error(), "--x: ") {
				t.Errorf("%s = %s: %v", s.Path, v, err)
			}
		}
	}
}

func TestEachLayerWinsOverTheOneBefore(t *testing.T) {
	name := filepath.Join(t.TempDir(), "my.hcl")
	if err := os.WriteFile(name, []byte("ledger {\n  sync = \"write\"\n  deadline = \"1s\"\n  checkpoint_every = \"2s\"\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	src := config.Source{File: name,
		Environ: []string{"PATH=/bin", "GATEWRIGHT_CFG_LEDGER__DEADLINE=3s", "GATEWRIGHT_CFG_LEDGER__CHECKPOINT_EVERY=4s", "GATEWRIGHT_URL=http://x"},
		Flags:   []config.Flag{{Name: "--checkpoint", Path: "ledger.checkpoint_every", Value: "5s"}}}
	c, err := config.Load(src)
	if err != nil {
		t.Fatal(err)
	}
	if l := c.Ledger; l.Sync != "write" || l.Deadline != 3*time.Second || l.CheckpointEvery != 5*time.Second || l.Arguments != "sealed" || c.File != name {
		t.Errorf("got %+v from %s", l, c.File)
	}
}

func TestAMissingFileIsAnErrorOnlyWhenItWasNamed(t *testing.T) {
	name := filepath.Join(t.TempDir(), "absent.hcl")
	if c, err := config.Load(config.Source{File: name, Optional: true}); err != nil || c.File != "" {
		t.Errorf("default file: %v, %q", err, c.File)
	}
	if _, err := config.Load(config.Source{File: name}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("named file: %v", err)
	}
	if _, err := config.Load(config.Source{File: t.TempDir(), Optional: true}); err == nil {
		t.Error("a folder was read as a file")
	}
}

func TestVariablesOfEveryKindAreRead(t *testing.T) {
	c, err := config.Load(config.Source{Environ: []string{
		"GATEWRIGHT_CFG_MODE=production",
		"GATEWRIGHT_CFG_PROXY__HOSTS=a.example, b.example",
		"GATEWRIGHT_CFG_PROXY__MAX_BODY=2MiB",
		"GATEWRIGHT_CFG_PROXY__JSON_DEPTH=16",
		"GATEWRIGHT_CFG_QUOTA__AGENT_RATE=0.5",
		"GATEWRIGHT_CFG_LEDGER__RECEIPTS=false",
		"GATEWRIGHT_CFG_CONTROL__HOSTS=",
		"GATEWRIGHT_CFG_SERVER__FILES__TENANT=acme",
		"GATEWRIGHT_CFG_SERVER__FILES__URL=https://files.example/mcp",
	}})
	if err != nil {
		t.Fatal(err)
	}
	if c.Mode != "production" || !reflect.DeepEqual(c.Proxy.Hosts, []string{"a.example", "b.example"}) || c.Proxy.MaxBody != 2<<20 ||
		c.Proxy.JSONDepth != 16 || c.Quota.AgentRate != 0.5 || c.Ledger.Receipts || len(c.Control.Hosts) != 0 {
		t.Errorf("got %+v", c)
	}
	want := config.DefaultServer()
	want.Tenant, want.URL = "acme", "https://files.example/mcp"
	if !reflect.DeepEqual(c.Servers["files"], want) {
		t.Errorf("server: %+v", c.Servers)
	}
	if c.Ledger.Segment != 64<<20 {
		t.Errorf("segment in production is %s", c.Ledger.Segment)
	}
}

func TestAVariableThatIsNoSettingIsRefused(t *testing.T) {
	for entry, want := range map[string]string{
		"LEDGER__SYCN=write":       `unknown setting "sycn" in ledger; did you mean "sync"?`,
		"LEDGR__SYNC=write":        `unknown section "ledgr"; did you mean "ledger"?`,
		"LEDGER_SYNC=write":        `unknown setting "ledger_sync"; separate levels by two underscores: GATEWRIGHT_CFG_LEDGER__SYNC`,
		"LEDGER=write":             `"ledger" is a section, name one of its settings`,
		"LEDGER__SYNC__X=1":        `there is no setting "ledger.sync.x": sections are one level deep, authorization_server, client_certificate, issuer, login, server and sink blocks carry a name`,
		"SERVER__URL=x":            `there is no setting "server.url": sections are one level deep, authorization_server, client_certificate, issuer, login, server and sink blocks carry a name`,
		"SERVER__A_B__URL=x":       `server name "a_b": want 1 to 63 of a-z, 0-9 and -, not starting with -`,
		"ledger__sync=write":       `write the name in capitals: GATEWRIGHT_CFG_LEDGER__SYNC`,
		"LEDGER.SYNC=write":        `separate levels by two underscores, not by a dot`,
		"=x":                       `unknown setting ""`,
		"LEDGER__DEADLINE=250":     `deadline in ledger: want a duration such as "250ms" (units ns, us, ms, s, m, h), have "250"`,
		"LEDGER__DEADLINE=":        `deadline in ledger: want a duration such as "250ms" (units ns, us, ms, s, m, h), have ""`,
		"LEDGER__DEADLINE=1h":      `deadline in ledger: 1h0m0s is out of range, allowed is 10ms to 1m`,
		"LEDGER__RECEIPTS=1":       `receipts in ledger: want true or false, have "1"`,
		"LEDGER__RECEIPTS=TRUE":    `receipts in ledger: want true or false, have "TRUE"`,
		"PROXY__JSON_DEPTH=0x20":   `json_depth in proxy: want a whole number, have "0x20"`,
		"PROXY__HOSTS=a,,b":        `hosts in proxy: the list "a,,b" has an empty element`,
		"QUOTA__AGENT_RATE=NaN":    `agent_rate in quota: want a number, have "NaN"`,
		"DATA__DIR=a\nb":           `dir in data: the value holds a control character (U+000A)`,
		"SERVER__A__ERA=modern":    `server "a": tenant is required`,
		"ISSUER__A__ISS=x":         `issuer "a": set either jwks_file or key`,
		"POLICIES__BUNDLES=policy": `unknown setting "bundles" in policies; did you mean "bundle"?`,
	} {
		name, _, _ := strings.Cut(entry, "=")
		want = "GATEWRIGHT_CFG_" + name + ": " + want
		if strings.HasPrefix(name, "SERVER__A__") || strings.HasPrefix(name, "ISSUER__A__") {
			want = strings.SplitN(want, ": ", 2)[1] // what is missing has no place
		}
		_, err := config.Load(config.Source{Environ: []string{"GATEWRIGHT_CFG_" + entry}})
		if err == nil || err.Error() != want {
			t.Errorf("%q:\n got %v\nwant %s", entry, err, want)
		}
	}
	twice := []string{"GATEWRIGHT_CFG_MODE=production", "GATEWRIGHT_CFG_MODE=development"}
	if _, err := config.Load(config.Source{Environ: twice}); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("a variable given twice: %v", err)
	}
	for range 20 { // among several the first by name is reported, whatever the order
		two := []string{"GATEWRIGHT_CFG_ZZ=1", "GATEWRIGHT_CFG_AA=1"}
		if _, err := config.Load(config.Source{Environ: two}); err == nil || !strings.HasPrefix(err.Error(), "GATEWRIGHT_CFG_AA: ") {
			t.Fatalf("two wrong variables: %v", err)
		}
	}
}

func TestAFlagThatIsNoSettingIsRefusedByItsOwnName(t *testing.T) {
	for _, c := range []struct{ path, value, want string }{
		{"proxy.listne", "x", `--flag: unknown setting "listne" in proxy; did you mean "listen"?`},
		{"proxy.listen", "8080", `--flag: listen in proxy: want HOST:PORT, have "8080"`},
		{"proxy.listen", "127.0.0.1:70000", `--flag: listen in proxy: want HOST:PORT, have "127.0.0.1:70000"`},
		{"data.dir", "", `--flag: dir in data: a data folder is needed`},
	} {
		_, err := config.Load(config.Source{Flags: []config.Flag{{Name: "--flag", Path: c.path, Value: c.value}}})
		if err == nil || err.Error() != c.want {
			t.Errorf("%s=%s: got %v, want %s", c.path, c.value, err, c.want)
		}
	}
}
