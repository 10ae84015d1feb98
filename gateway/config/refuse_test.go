package config_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/gateway/config"
)

// refused checks that doc is refused with exactly this one line.
func refused(t *testing.T, doc, want string) {
	t.Helper()
	_, err := config.Parse("gateway.hcl", []byte(doc))
	if err == nil {
		t.Fatalf("accepted:\n%s\nwant error: %s", doc, want)
	}
	if _, ok := errors.AsType[*config.Problem](err); !ok {
		t.Errorf("error is %T, not a *Problem: %v", err, err)
	}
	if err.Error() != want {
		t.Errorf("file:\n%s\n got %s\nwant %s", doc, err, want)
	}
}

func TestAMistypedSettingIsRefusedWithItsPlaceAndTheLikelyName(t *testing.T) {
	refused(t, "mode = \"development\"\nledger {\n  sycn = \"sync\"\n}\n", `gateway.hcl:3:3: unknown setting "sycn" in ledger; did you mean "sync"?`)
	refused(t, "\n\n  mdoe = \"production\"\n", `gateway.hcl:3:3: unknown setting "mdoe"; did you mean "mode"?`)
	refused(t, "ledgr {\n}\n", `gateway.hcl:1:1: unknown section "ledgr"; did you mean "ledger"?`)
	refused(t, "server \"a\" {\n  tenant = \"t\"\n  ulr = \"https://x.example\"\n}\n", `gateway.hcl:3:3: unknown setting "ulr" in server; did you mean "url"?`)
	refused(t, "Ledger {\n}\n", `gateway.hcl:1:1: unknown section "Ledger"; did you mean "ledger"?`)
	refused(t, "proxy {\n  zzzzzzzz = 1\n}\n", `gateway.hcl:2:3: unknown setting "zzzzzzzz" in proxy`)
	refused(t, "wasm {\n}\n", `gateway.hcl:1:1: unknown section "wasm"`)
}

func TestASettingInTheWrongPlaceIsRefusedAndShownItsOwn(t *testing.T) {
	refused(t, "checkpoint_every = \"1s\"\n", `gateway.hcl:1:1: unknown setting "checkpoint_every"; "checkpoint_every" stands in ledger`)
	refused(t, "log {\n  mode = \"production\"\n}\n", `gateway.hcl:2:3: unknown setting "mode" in log; "mode" stands at the top of the file`)
	refused(t, "ledger = 1\n", `gateway.hcl:1:1: unknown setting "ledger"; ledger is a section: write ledger { ... }`)
	refused(t, "mode {\n}\n", `gateway.hcl:1:1: unknown section "mode"; mode is a setting: write mode = VALUE`)
	refused(t, "log {\n  level {\n  }\n}\n", `gateway.hcl:2:3: level in log is a setting: write level = VALUE`)
	refused(t, "log {\n  ledger {\n  }\n}\n", `gateway.hcl:2:3: ledger stands at the top of the file, not in log`)
	refused(t, "log {\n  file {\n  }\n}\n", `gateway.hcl:2:3: unknown section "file" in log: it has only settings`)
}

func TestAValueOfTheWrongTypeIsRefused(t *testing.T) {
	refused(t, "proxy {\n  json_depth = \"32\"\n}\n", `gateway.hcl:2:3: json_depth in proxy: want a whole number, have a string`)
	refused(t, "proxy {\n  json_depth = 3.5\n}\n", `gateway.hcl:2:3: json_depth in proxy: want a whole number that fits 64 bits, have 3.5`)
	refused(t, "proxy {\n  json_depth = 1e300\n}\n", `gateway.hcl:2:3: json_depth in proxy: want a whole number that fits 64 bits, have 1e+300`)
	refused(t, "proxy {\n  listen = 8080\n}\n", `gateway.hcl:2:3: listen in proxy: want a string, have a number`)
	refused(t, "proxy {\n  hosts = \"a.example\"\n}\n", `gateway.hcl:2:3: hosts in proxy: want a list of strings such as ["a", "b"], have a string`)
	refused(t, "proxy {\n  hosts = [\"a.example\", 1]\n}\n", `gateway.hcl:2:3: hosts in proxy: want a list of strings such as ["a", "b"], have a number among its elements`)
	refused(t, "proxy {\n  hosts = [null]\n}\n", `gateway.hcl:2:3: hosts in proxy: want a list of strings such as ["a", "b"], have null among its elements`)
	refused(t, "proxy {\n  hosts = { a = 1 }\n}\n", `gateway.hcl:2:3: hosts in proxy: want a list of strings such as ["a", "b"], have an object`)
	refused(t, "ledger {\n  receipts = \"true\"\n}\n", `gateway.hcl:2:3: receipts in ledger: want true or false, have a string`)
	refused(t, "ledger {\n  receipts = 1\n}\n", `gateway.hcl:2:3: receipts in ledger: want true or false, have a number`)
	refused(t, "mode = null\n", `gateway.hcl:1:1: mode: want a string, have null; leave the setting out for its default`)
	refused(t, "mode = production\n", `gateway.hcl:1:1: mode: want a string, have something that is no literal (is a quote missing?)`)
	refused(t, "mode = [\"production\"]\n", `gateway.hcl:1:1: mode: want a string, have a list`)
	refused(t, "quota {\n  agent_rate = true\n}\n", `gateway.hcl:2:3: agent_rate in quota: want a number, have true or false`)
}

func TestAWrongUnitIsRefused(t *testing.T) {
	refused(t, "ledger {\n  deadline = 250\n}\n", `gateway.hcl:2:3: deadline in ledger: want a duration such as "250ms", have a number`)
	refused(t, "ledger {\n  deadline = \"250\"\n}\n", `gateway.hcl:2:3: deadline in ledger: want a duration such as "250ms" (units ns, us, ms, s, m, h), have "250"`)
	refused(t, "ledger {\n  deadline = \"1 s\"\n}\n", `gateway.hcl:2:3: deadline in ledger: want a duration such as "250ms" (units ns, us, ms, s, m, h), have "1 s"`)
	refused(t, "shutdown_grace = \"0\"\n", `gateway.hcl:1:1: shutdown_grace: a duration needs its unit: write "0s", not "0"`)
	refused(t, "intent {\n  plan_ttl = \"1d\"\n}\n", `gateway.hcl:2:3: plan_ttl in intent: want a duration such as "250ms" (units ns, us, ms, s, m, h), have "1d"`)
	refused(t, "proxy {\n  max_body = 1048576\n}\n", `gateway.hcl:2:3: max_body in proxy: want a size such as "64MiB", have a number`)
	for _, text := range []string{"1MB", "1M", "1mib", "1 MiB", "64k"} {
		_, err := config.Parse("gateway.hcl", []byte("proxy {\n  max_body = \""+text+"\"\n}\n"))
		if err == nil || !strings.HasPrefix(err.Error(), "gateway.hcl:2:3: max_body in proxy: ") {
			t.Errorf("%q: %v", text, err)
		}
	}
	refused(t, "proxy {\n  max_body = \"1MB\"\n}\n", `gateway.hcl:2:3: max_body in proxy: size "1MB" has no unit this file knows: write B, KiB, MiB or GiB (1 KiB = 1024 bytes)`)
	refused(t, "proxy {\n  max_body = \"99999999999999GiB\"\n}\n", `gateway.hcl:2:3: max_body in proxy: size "99999999999999GiB" does not fit 64 bits`)
	refused(t, "proxy {\n  max_body = \"1.5MiB\"\n}\n", `gateway.hcl:2:3: max_body in proxy: want a size such as "64MiB", have "1.5MiB"`)
	refused(t, "ledger {\n  segment = \"0B\"\n}\n", `gateway.hcl:2:3: segment in ledger: want "auto" or a size of at least 1MiB, have "0B"`)
	refused(t, "proxy {\n  max_body = \"auto\"\n}\n", `gateway.hcl:2:3: max_body in proxy: want a size such as "64MiB", have "auto"`)
}

func TestAValueOutOfRangeIsRefused(t *testing.T) {
	refused(t, "ledger {\n  deadline = \"-1s\"\n}\n", `gateway.hcl:2:3: deadline in ledger: -1s is out of range, allowed is 10ms to 1m`)
	refused(t, "ledger {\n  deadline = \"1us\"\n}\n", `gateway.hcl:2:3: deadline in ledger: 1µs is out of range, allowed is 10ms to 1m`)
	refused(t, "proxy {\n  json_depth = -1\n}\n", `gateway.hcl:2:3: json_depth in proxy: -1 is out of range, allowed is 4 to 256`)
	refused(t, "proxy {\n  max_body = \"-1MiB\"\n}\n", `gateway.hcl:2:3: max_body in proxy: -1MiB is out of range, allowed is 1KiB to 64MiB`)
	refused(t, "proxy {\n  max_body = \"1GiB\"\n}\n", `gateway.hcl:2:3: max_body in proxy: 1GiB is out of range, allowed is 1KiB to 64MiB`)
	refused(t, "quota {\n  agent_rate = 0\n}\n", `gateway.hcl:2:3: agent_rate in quota: 0 is out of range, allowed is 0.01 to 1000000`)
	refused(t, "quota {\n  agent_rate = 1e999\n}\n", `gateway.hcl:2:3: agent_rate in quota: want a number, have "+Inf"`)
	refused(t, "ledger {\n  sync = \"snyc\"\n}\n", `gateway.hcl:2:3: sync in ledger: want one of sync, write, have "snyc"; did you mean "sync"?`)
	refused(t, "mode = \"\"\n", `gateway.hcl:1:1: mode: want one of development, production, have ""`)
	refused(t, "server \"a\" {\n  tenant = \"t\"\n  url = \"https://x.example\"\n  era = \"2026\"\n}\n", `gateway.hcl:4:3: era in server: want one of auto, legacy, modern, sse, have "2026"`)
}

func TestADuplicateIsRefused(t *testing.T) {
	refused(t, "log {\n  level = \"info\"\n  level = \"info\"\n}\n", `gateway.hcl:3:3: duplicate setting "level": it is already set above in the same section`)
	refused(t, "mode = \"development\"\nmode = \"production\"\n", `gateway.hcl:2:1: duplicate setting "mode": it is already set above in the same section`)
	refused(t, "log {\n}\n\nlog {\n}\n", `gateway.hcl:4:1: duplicate section log; first at line 1`)
	server := "server \"a\" {\n  tenant = \"t\"\n  url = \"https://x.example\"\n}\n"
	refused(t, server+server, `gateway.hcl:5:1: duplicate section server "a"; first at line 1`)
}

func TestABlockNameThatIsMissingOrUnusableIsRefused(t *testing.T) {
	refused(t, "server {\n}\n", `gateway.hcl:1:1: server takes one name: write server "name" { ... }`)
	refused(t, "server \"a\" \"b\" {\n}\n", `gateway.hcl:1:1: server takes one name: write server "name" { ... }`)
	refused(t, "ledger \"a\" {\n}\n", `gateway.hcl:1:8: ledger takes no name: write ledger { ... }`)
	refused(t, "server \"a.b\" {\n}\n", `gateway.hcl:1:8: server name "a.b": want 1 to 63 of a-z, 0-9 and -, not starting with -`)
	refused(t, "server \"\" {\n}\n", `gateway.hcl:1:8: server name "": want 1 to 63 of a-z, 0-9 and -, not starting with -`)
	refused(t, "server \"../x\" {\n}\n", `gateway.hcl:1:8: server name "../x": want 1 to 63 of a-z, 0-9 and -, not starting with -`)
	refused(t, "server \"tools\" {\n}\n", `gateway.hcl:1:1: server "tools": the name is reserved`)
	refused(t, "server \"a\" {\n}\n", `gateway.hcl:1:1: server "a": tenant is required`)
}

// TestAServerIsReachedInExactlyOneWay: nothing about a process may be guessed, and no setting stand there without effect.
func TestAnAPIWithADocumentIsConfiguredWhole(t *testing.T) {
	in := func(settings ...string) string {
		return "server \"a\" {\n  tenant = \"t\"\n  openapi = \"a.yaml\"\n  " + strings.Join(settings, "\n  ") + "\n}\n"
	}
	url := `url = "https://a.example/v1"`
	for _, doc := range []string{in(url), in(url, `sha256 = "`+strings.Repeat("ab", 32)+`"`), in(url, `allow_private = true`, `credential = "c"`, `scheme = "s"`), in(url, `credential = "c"`, `header = "X-Key"`)} {
		if c, err := config.Parse("f", []byte(doc)); err != nil || !c.Servers["a"].Process() {
			t.Errorf("%s: %v", doc, err)
		}
	}
	one := `gateway.hcl:1:1: server "a": exactly one of url, command and connector is required`
	refused(t, in(), one)
	refused(t, in(url, `command = ["x"]`), one)
	refused(t, in(`command = ["x"]`), `gateway.hcl:3:3: openapi in server: the url of the API is required beside it; what a document says of servers is not read`)
	refused(t, in(`url = "https://a.example/?k=v"`), `gateway.hcl:4:3: url in server: an API's has no query; operations have their own`)
	refused(t, in(url, `via = "connector"`), `gateway.hcl:5:3: via in server: an API with an openapi document runs in a process of its own anyway`)
	refused(t, in(url, `era = "legacy"`), `gateway.hcl:5:3: era in server: an API with an openapi document does not speak MCP`)
	refused(t, in(url, `env = ["A=b"]`), `gateway.hcl:1:1: an API with an openapi document has no env, pass_env, args or dir: its process is the gateway's own program`)
	refused(t, in(url, `caller_credentials = true`), `gateway.hcl:5:3: caller_credentials in server: an API with an openapi document gets the one credential that is configured`)
	refused(t, in(url, `scheme = "s"`), `gateway.hcl:5:3: scheme in server: there is no credential for it; name one of the vault`)
	refused(t, in(url, `sha256 = "ab"`), `gateway.hcl:5:3: sha256 in server: want 64 hex digits, as sha256sum prints them`)
	refused(t, "server \"a\" {\n  tenant = \"t\"\n  "+url+"\n  scheme = \"s\"\n}\n", `gateway.hcl:4:3: scheme in server: it names a security scheme of an openapi document`)
	refused(t, "openapi {\n  max_answer = \"5MiB\"\n}\n", `gateway.hcl:2:3: max_answer in openapi: 5MiB is more than max_reply in upstream, 4MiB`)
	refused(t, "openapi {\n  max_binary = \"2MiB\"\n}\n", `gateway.hcl:2:3: max_binary in openapi: 2MiB is more than max_answer, 1MiB`)
}

func TestAServerIsReachedInExactlyOneWay(t *testing.T) {
	in := func(lines ...string) string {
		return "server \"a\" {\n  tenant = \"t\"\n  " + strings.Join(lines, "\n  ") + "\n}\n"
	}
	one := `gateway.hcl:1:1: server "a": exactly one of url, command and connector is required`
	refused(t, "server \"a\" {\n  tenant = \"t\"\n}\n", one)
	refused(t, in(`url = "https://x.example"`, `command = ["x"]`), one)
	refused(t, in(`connector = "/x"`, `command = ["x"]`), one)
	refused(t, in(`command = ["x"]`, `via = "connector"`), `gateway.hcl:4:3: via in server: it says how a url is reached; a command or connector runs in a process of its own anyway`)
	refused(t, in(`command = ["x"]`, `credential = "c"`), `gateway.hcl:4:3: credential in server: it is sent in a header, which a command or connector has none of; hand it the secret through pass_env`)
	refused(t, in(`command = ["x"]`, `allow_private = true`), `gateway.hcl:4:3: allow_private in server: a command or connector has no address to allow`)
	pins := `public_keys = ["sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]`
	for _, way := range []string{`command = ["x"]`, `url = "http://x.example"`} {
		refused(t, in(way, pins), `gateway.hcl:4:3: public_keys in server: they are of TLS keys, for an https url`)
	}
	refused(t, in(`url = "https://x.example"`, `public_keys = ["sha256/AAAA"]`), `gateway.hcl:4:3: public_keys in server: want at most 8 of sha256/ and the base64 of 32 bytes`)
	refused(t, in(`url = "https://x.example"`, `dir = "/"`), `gateway.hcl:1:1: server "a": env, pass_env, dir and sha256 are for a command or connector`)
	refused(t, in(`command = ["x"]`, `args = ["y"]`), `gateway.hcl:4:3: args in server: they belong to connector; a command carries its own`)
	refused(t, in(`command = [""]`), `gateway.hcl:3:3: command in server: its first word is the program`)
	refused(t, in(`connector = "/x"`, `sha256 = "abc"`), `gateway.hcl:4:3: sha256 in server: want 64 hex digits, as sha256sum prints them`)
	refused(t, in(`connector = "/x"`, `sha256 = "abcd"`), `gateway.hcl:4:3: sha256 in server: want 64 hex digits, as sha256sum prints them`)
	refused(t, in(`connector = "/x"`, `env = ["A"]`), `gateway.hcl:4:3: env in server: want NAME=value`)
	refused(t, in(`connector = "/x"`, `pass_env = ["A=b"]`), `gateway.hcl:4:3: pass_env in server: want names of variables, without values`)
	refused(t, "filters {\n  enabled = [\"a\", \"a\"]\n}\n", `gateway.hcl:2:3: enabled in filters: "a" stands there twice`)
	refused(t, "connectors {\n  backoff_min = \"5s\"\n  backoff_max = \"1s\"\n}\n", `gateway.hcl:3:3: backoff_max in connectors: it must not be below backoff_min`)
}

func TestNothingInTheFileIsEvaluated(t *testing.T) {
	refused(t, "data {\n  dir = \"${HOME}/x\"\n}\n", "gateway.hcl:2:10: nothing is evaluated in this file: write ${ as $${ for the text itself")
	refused(t, "data {\n  dir = \"%{ if true }x%{ endif }\"\n}\n", "gateway.hcl:2:10: nothing is evaluated in this file: write %{ as $%{ for the text itself")
	refused(t, "data {\n  dir = env(\"HOME\")\n}\n", `gateway.hcl:2:12: only literal values are allowed here, not "("`)
	refused(t, "data {\n  dir = file.x\n}\n", `gateway.hcl:2:13: only literal values are allowed here, not "."`)
	refused(t, "proxy {\n  json_depth = 2 + 2\n}\n", `gateway.hcl:2:18: only literal values are allowed here, not "+"`)
	refused(t, "proxy {\n  json_depth = true ? 1 : 2\n}\n", `gateway.hcl:2:21: only literal values are allowed here, not "?"`)
	refused(t, "data {\n  dir = <<X\na\nX\n}\n", `gateway.hcl:2:9: only literal values are allowed here, no heredoc: write a quoted string`)
	refused(t, "proxy {\n  hosts = [for x in [\"a\"]: x]\n}\n", `gateway.hcl:2:26: only literal values are allowed here, not ":"`)
	refused(t, "proxy {\n  json_depth = --4\n}\n", `gateway.hcl:2:17: only literal values are allowed here, not "--"`)
}

func TestBytesThatAreNotPlainTextAreRefused(t *testing.T) {
	refused(t, "# ok\n# caf\xe9\n", "gateway.hcl:2:6: the byte 0xe9 is not UTF-8")
	refused(t, "\xef\xbb\xbfmode = \"development\"\n", "gateway.hcl:1:1: the file holds a byte order mark: save it as plain UTF-8")
	refused(t, "mode = \"dev\x00\"\n", "gateway.hcl:1:12: the file holds a control character (U+0000)")
	refused(t, "# \u202e hidden\n", "gateway.hcl:1:3: the file holds a control character (U+202E)")
	refused(t, "data {\n  dir = \"a\\nb\"\n}\n", "gateway.hcl:2:3: dir in data: the value holds a control character (U+000A)")
}

func TestSyntaxErrorsAreOneLineWithTheirPlace(t *testing.T) {
	for doc, place := range map[string]string{
		"ledger {\n  sync = \"sync\"\n":                  "gateway.hcl:1:8: syntax: ",
		"ledger {\n  sync =\n}\n":                        "gateway.hcl:2:9: syntax: ",
		"ledger {\n  sync \"sync\"\n}\n":                 "gateway.hcl:",
		"data {\n  dir = \"a\n}\n":                       "gateway.hcl:2:",
		"{\n":                                            "gateway.hcl:1:1: syntax: ",
		"}\n":                                            "gateway.hcl:1:1: syntax: ",
		"mode = \"development\" log {\n}\n":              "gateway.hcl:1:",
		"data { dir = \"a\" key_file = \"b\" }\n":        "gateway.hcl:1:",
		"proxy {\n  hosts = [\"a.example\" \"b\"]\n}\n":  "gateway.hcl:2:",
		"proxy {\n  hosts = [\"a.example\", \"b\"\n}\n":  "gateway.hcl:3:1: syntax: ",
		"proxy {\n  hosts = [\"a.example\", \"\\q\"]\n}": "gateway.hcl:2:",
	} {
		_, err := config.Parse("gateway.hcl", []byte(doc))
		if err == nil || !strings.HasPrefix(err.Error(), place) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: got %v, want one line starting %q", doc, err, place)
		}
	}
}

func TestAHugeOrDeeplyNestedFileIsRefusedBeforeItIsParsed(t *testing.T) {
	huge := strings.Repeat("# comment\n", 30_000)
	refused(t, huge, "gateway.hcl: the file is larger than 256KiB, the most a configuration may be")
	name := filepath.Join(t.TempDir(), "big.hcl")
	if err := os.WriteFile(name, []byte(huge), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Load(config.Source{File: name}); err == nil || !strings.Contains(err.Error(), "larger than 256KiB") {
		t.Errorf("file: %v", err)
	}
	for open, at := range map[string]int{"[": 5, "{ a = ": 6*4 + 1} {
		refused(t, "a="+strings.Repeat(open, 30_000), fmt.Sprintf("gateway.hcl:1:%d: nested deeper than 4 levels", at+2))
	}
	for _, run := range []string{"!", "-", "(", "a.", "<<A\n", "\"${", "a?b:", "a ", "a=", "\n[", "a{\n"} {
		if _, err := config.Parse("gateway.hcl", []byte("a = "+strings.Repeat(run, 60_000))); err == nil {
			t.Errorf("accepted a long run of %q", run)
		}
	}
	list := strings.Repeat(`"a.example",`, 257)
	refused(t, "proxy {\n  hosts = ["+list+"]\n}\n", "gateway.hcl:2:3: hosts in proxy: the list has 257 elements, the most is 256")
	refused(t, "data {\n  dir = \""+strings.Repeat("a", 2049)+"\"\n}\n", "gateway.hcl:2:3: dir in data: the value is 2049 bytes long, the most is 2048")
}
