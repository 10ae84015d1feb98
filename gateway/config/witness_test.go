package config_test

import (
	"strings"
	"testing"

	"github.com/gatewright/gatewright/gateway/config"
)

const (
	witnessKey = "witness.example/corp+69a7b9ee+BId5sBCTstETJSalU7AbUnVAWb4LjgrMrS2YfpQadnLF"
	logKey     = "peer.example/ledger/_instance/main+621fdab8+AcjBWVnndzm84zFh3yn9DBMhlrwHJvfE7IHz2LtCyEfk"
)

func TestAWitnessThatCannotBeAskedIsRefused(t *testing.T) {
	block := func(url, key string) string {
		return "ledger {\n  witness \"a\" {\n    url = \"" + url + "\"\n    key = \"" + key + "\"\n  }\n}\n"
	}
	refused(t, "ledger {\n  witness \"a\" {\n  }\n}\n", `gateway.hcl:2:3: witness "a": url and key are required`)
	refused(t, "ledger {\n  witness {\n  }\n}\n", `gateway.hcl:2:3: witness takes one name: write witness "name" { ... }`)
	refused(t, "ledger {\n  witness \"a\" {\n  }\n  witness \"a\" {\n  }\n}\n", `gateway.hcl:4:3: duplicate section witness "a"; first at line 2`)
	refused(t, "ledger {\n  witnes \"a\" {\n  }\n}\n", `gateway.hcl:2:3: unknown section "witnes" in ledger: it has settings and witness blocks`)
	refused(t, "ledger {\n  witness = \"a\"\n}\n", `gateway.hcl:2:3: unknown setting "witness" in ledger; witness is a block: write witness "name" { ... }`)
	refused(t, "ledger {\n  witness \"a\" {\n    log \"b\" {\n    }\n  }\n}\n", `gateway.hcl:3:5: log stands at the top of the file, not in ledger.witness`)
	refused(t, "ledger {\n  witness \"a\" {\n    name = \"b\"\n  }\n}\n", `gateway.hcl:3:5: unknown setting "name" in ledger.witness; "name" stands in witness`)
	for _, url := range []string{"ftp://a.example", "https://", "a.example", "https://u:p@a.example", "https://a.example/?x", "https://a.example/#", "https://a.example/#x"} {
		refused(t, block(url, witnessKey), `gateway.hcl:3:5: url in ledger.witness: want http or https, a host, and no user info, query or fragment`)
	}
	refused(t, block("https://a.example", logKey), `gateway.hcl:4:5: key in ledger.witness: verifier key is not valid: type 0x01 is no key of a witness`)
	refused(t, block("https://a.example", "x"+witnessKey), `gateway.hcl:4:5: key in ledger.witness: verifier key is not valid: hash does not match`)
	two := block("https://a.example", witnessKey) + "#"
	refused(t, two[:len(two)-3]+"  witness \"b\" {\n    url = \"https://b.example\"\n    key = \""+witnessKey+"\"\n  }\n}\n", `gateway.hcl:8:5: key in ledger.witness: it is already that of witness "a"`)
	for url, ok := range map[string]bool{"http://w.example": false, "http://10.0.0.1:1": false, "https://w.example": true, "http://127.0.0.1:1": true, "http://[::1]:1/x": true, "http://localhost:1": true} {
		_, err := config.Parse("f", []byte("mode = \"production\"\n"+block(url, witnessKey)))
		if (err == nil) != ok {
			t.Errorf("%s in production: %v", url, err)
		}
	}
}

func TestALogThatCannotBeWatchedIsRefused(t *testing.T) {
	block := func(origin, key string) string {
		return "witness {\n  log \"a\" {\n    origin = \"" + origin + "\"\n    keys = [\"" + key + "\"]\n  }\n}\n"
	}
	refused(t, "witness {\n  log \"a\" {\n    origin = \"x\"\n  }\n}\n", `gateway.hcl:2:3: log "a": origin and keys are required`)
	refused(t, block(strings.Repeat("a", 256), logKey), `gateway.hcl:3:5: origin in witness.log: want at most 255 bytes`)
	refused(t, block("a", "b"), `gateway.hcl:4:5: keys in witness.log: verifier key is not valid: want name+hash+base64`)
	twice := block("a", logKey)
	refused(t, twice[:len(twice)-2]+"  log \"b\" {\n    origin = \"a\"\n    keys = [\""+logKey+"\"]\n  }\n}\n", `gateway.hcl:7:5: origin in witness.log: it is already that of log "a"`)
	refused(t, "witness {\n  name = \"a b\"\n}\n", `gateway.hcl:2:3: name in witness: want up to 255 characters without blanks and +, have "a b"`)
	c, err := config.Parse("f", []byte(block("a", logKey)))
	if err != nil || len(c.Witness.Logs["a"].Keys) != 1 {
		t.Fatal(c.Witness, err)
	}
}

func TestBlocksInsideASectionAreSetFromTheEnvironmentToo(t *testing.T) {
	c, err := config.Load(config.Source{Environ: []string{
		"GATEWRIGHT_CFG_LEDGER__WITNESS__A__URL=https://a.example", "GATEWRIGHT_CFG_LEDGER__WITNESS__A__KEY=" + witnessKey, "GATEWRIGHT_CFG_LEDGER__WITNESS__A__REQUIRED=true",
		"GATEWRIGHT_CFG_LEDGER__WITNESS_EVERY=0s",
	}})
	if w := c.Ledger.Witnesses["a"]; err != nil || w.URL != "https://a.example" || !w.Required || c.Ledger.WitnessEvery != 0 {
		t.Fatalf("%+v %v", c.Ledger, err)
	}
	if _, err := config.Load(config.Source{Environ: []string{"GATEWRIGHT_CFG_LEDGER__WITNESS__A__X=1"}}); err == nil {
		t.Fatal("an unknown setting")
	}
}
