package config_test

import (
	"crypto/ed25519"
	"fmt"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/gateway/config"
	"github.com/gatewright/gatewright/merkle/ledger"
)

func TestPoliciesThatCannotBeReadSafelyAreRefused(t *testing.T) {
	for _, c := range []struct{ body, want string }{
		{"bundle = \"/a\"\n  git = \"/b\"", "gateway.hcl:3:3: git in policies: bundle is set too"},
		{"git = \"http://git.example/x\"", "gateway.hcl:2:3: git in policies: want an absolute path, file:// or https://"},
		{"git = \"ssh://git.example/x\"", "git in policies: want"},
		{"git = \"https://u:p@git.example/x\"", "git in policies: want"},
		{"git = \"policies\"", "git in policies: want"},
		{"commit = \"abc\"", "git in policies: commit, path and token_env belong to a repository"},
		{"git = \"/a\"\n  commit = \"abc\"", "gateway.hcl:3:3: commit in policies: want the 40 hex digits"},
		{"git = \"/a\"\n  path = \"../b\"", "gateway.hcl:3:3: path in policies: want a folder"},
		{"git = \"/a\"\n  ref = \"\"", "gateway.hcl:3:3: ref in policies: a branch or a tag"},
		{"git = \"/a\"\n  token_env = \"T=secret\"", "gateway.hcl:3:3: token_env in policies: want the name"},
		{"keys = [\"x\"]", "gateway.hcl:2:3: keys in policies: "},
		{"history = 1", "gateway.hcl:2:3: history in policies: 1 is out of range"},
		{"poll = \"25h\"", "poll in policies"},
		{"tenant \"acme\" {\n    git = \"x\"\n  }", "gateway.hcl:3:5: git in policies.tenant: want"},
		{"tenant \"Acme\" {\n  }", "tenant name"},
	} {
		_, err := config.Parse("gateway.hcl", []byte("policies {\n  "+c.body+"\n}\n"))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.body, err)
		}
	}
}

// TestATenantDoesNotLoseTheKeysByItsBlock: forgetting them would let in what nobody signed.
func TestATenantDoesNotLoseTheKeysByItsBlock(t *testing.T) {
	s, err := ledger.NewSigner("ops", ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	keys := fmt.Sprintf("keys = [%q]\n", s.Public.String())
	if _, err := config.Parse("f", []byte("policies {\n"+keys+"tenant \"acme\" {\n bundle = \"/a\"\n}\n}\n")); err == nil || !strings.Contains(err.Error(), "name the keys here as well") {
		t.Error(err)
	}
	if _, err := config.Parse("f", []byte("policies {\n"+keys+"tenant \"acme\" {\n bundle = \"/a\"\n"+keys+"}\n}\n")); err != nil {
		t.Error(err)
	}
}

func TestATenantsOwnSourceReplacesTheCommonOne(t *testing.T) {
	c, err := config.Parse("f", []byte("policies {\n  bundle = \"/common\"\n  tenant \"acme\" {\n    git = \"/acme\"\n  }\n  tenant \"plain\" {\n  }\n}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if p := c.Policies; p.For("other").Bundle != "/common" || p.For("acme").Git != "/acme" || p.For("acme").Ref != "main" || p.For("acme").Bundle != "" || p.For("plain").Bundle != "" {
		t.Errorf("%+v", p)
	}
}
