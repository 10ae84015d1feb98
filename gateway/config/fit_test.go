package config_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/gateway/config"
)

func TestProductionRefusesPlaintextBeyondLoopback(t *testing.T) {
	for _, listen := range []string{"0.0.0.0:8080", ":8080", "[::]:8080", "10.0.0.1:8080", "gateway.example:8080", "127.0.0.1.evil.example:8080", "[::ffff:10.0.0.1]:80"} {
		for _, section := range []string{"proxy", "control"} {
			doc := "mode = \"production\"\n" + section + " {\n  listen = \"" + listen + "\"\n"
			refused(t, doc+"}\n", "gateway.hcl:3:3: listen in "+section+": production mode serves "+listen+" only with TLS: set tls_cert and tls_key, or listen on loopback")
			if _, err := config.Parse("f", []byte(doc+"  tls_cert = \"c.pem\"\n  tls_key = \"k.pem\"\n}\n")); err != nil {
				t.Errorf("%s %s with TLS: %v", section, listen, err)
			}
		}
	}
	for _, listen := range []string{"127.0.0.1:9000", "127.9.9.9:0", "[::1]:9000", "localhost:9000", "[::ffff:127.0.0.1]:9000"} {
		if _, err := config.Parse("f", []byte("mode = \"production\"\nproxy {\n  listen = \""+listen+"\"\n}\n")); err != nil {
			t.Errorf("%s: %v", listen, err)
		}
	}
}

func TestSettingsThatDoNotFitEachOtherAreRefused(t *testing.T) {
	refused(t, "proxy {\n  tls_cert = \"c.pem\"\n}\n", `tls_key in proxy: certificate and key are set together`)
	refused(t, "control {\n  tls_key = \"k.pem\"\n}\n", `tls_cert in control: certificate and key are set together`)
	refused(t, "control {\n  listen = \"127.0.0.1:8080\"\n}\n", `gateway.hcl:2:3: listen in control: 127.0.0.1:8080 is the data port's address too`)
	refused(t, "data {\n  key_file = \"k\"\n  key_env = \"K\"\n}\n", `gateway.hcl:3:3: key_env in data: key_file is set too; the wrapping key comes from one of them`)
	refused(t, "data {\n  key_env = \"KEY=secret\"\n}\n", `gateway.hcl:2:3: key_env in data: want the name of a variable, not its value`)
	refused(t, "intent {\n  token_ttl = \"2h\"\n  max_token_ttl = \"1h\"\n}\n", `gateway.hcl:2:3: token_ttl in intent: 2h0m0s is longer than max_token_ttl, 1h0m0s`)
	refused(t, "intent {\n  max_plan = \"2MiB\"\n}\n", `gateway.hcl:2:3: max_plan in intent: 2MiB is more than max_body in proxy, 1MiB`)
	refused(t, "proxy {\n  max_connections = 10\n  max_connections_per_ip = 20\n}\n", `gateway.hcl:3:3: max_connections_per_ip in proxy: 20 is more than max_connections, 10`)
	refused(t, "proxy {\n  retry_for = \"59s\"\n}\n", `gateway.hcl:2:3: retry_for in proxy: 59s is shorter than timeout in upstream, 1m0s; a call's answer is kept at least as long as the call may take`)
	refused(t, "upstream {\n  timeout = \"10m\"\n}\nproxy {\n  retry_for = \"9m59s\"\n}\n", `gateway.hcl:5:3: retry_for in proxy: 9m59s is shorter than timeout in upstream, 10m0s; a call's answer is kept at least as long as the call may take`)
	refused(t, "intent {\n  issuer = \"\"\n}\n", `gateway.hcl:2:3: issuer in intent: a name is needed`)
	refused(t, "intent {\n  audience = \"\"\n}\n", `gateway.hcl:2:3: audience in intent: a name is needed`)
	refused(t, "ledger {\n  origin = \"https://x\"\n}\n", `gateway.hcl:2:3: origin in ledger: want a host name in lower case, have "https://x"`)
	refused(t, "ledger {\n  instance = \"a/b\"\n}\n", `gateway.hcl:2:3: instance in ledger: want 1 to 63 of a-z, 0-9 and -, have "a/b"`)
}

func TestAnswersMayBeKeptForNoLongerThanACallMayTake(t *testing.T) {
	for _, doc := range []string{"", "upstream {\n  timeout = \"10m\"\n}\n", "proxy {\n  retry_for = \"1m\"\n}\n", "upstream {\n  timeout = \"1s\"\n}\nproxy {\n  retry_for = \"1s\"\n}\n"} {
		if _, err := config.Parse("f", []byte(doc)); err != nil {
			t.Errorf("%q: %v", doc, err)
		}
	}
}

func TestListsOfNamesAreCheckedElementByElement(t *testing.T) {
	for _, c := range []struct{ setting, value string }{
		{"trusted_proxies", "10.0.0.0/33"}, {"trusted_proxies", "10.0.0.1/8"}, {"trusted_proxies", "lb.example"}, {"trusted_proxies", "0.0.0.0/0"}, {"trusted_proxies", "::/0"}, {"trusted_proxies", "fe80::1%eth0"}, {"trusted_proxies", ""},
		{"hosts", "a.example:80"}, {"hosts", "A.example"}, {"hosts", "*"}, {"hosts", "a..b"}, {"hosts", "-a.example"}, {"hosts", ""},
		{"hosts", strings.Repeat("a", 64) + ".example"},
		{"origins", "*"}, {"origins", "null"}, {"origins", "https://a.example/"}, {"origins", "https://u@a.example"}, {"origins", "ftp://a.example"}, {"origins", ""},
	} {
		for _, section := range []string{"proxy", "control"} {
			_, err := config.Parse("f", []byte(section+" {\n  "+c.setting+" = [\""+c.value+"\"]\n}\n"))
			if err == nil || !strings.HasPrefix(err.Error(), "f:2:3: "+c.setting+" in "+section+": want ") {
				t.Errorf("%s %s %q: %v", section, c.setting, c.value, err)
			}
		}
	}
	ok := "proxy {\n  trusted_proxies = [\"10.0.0.0/8\", \"::1\"]\n  hosts = [\"a-b.example\", \"10.0.0.1\", \"x\"]\n  origins = [\"https://a.example:8443\"]\n}\n"
	c, err := config.Parse("f", []byte(ok))
	if err != nil || !reflect.DeepEqual(c.Proxy.TrustedProxies, []string{"10.0.0.0/8", "::1/128"}) {
		t.Errorf("%v %v", c.Proxy.TrustedProxies, err)
	}
}

func TestAServerThatCannotBeCalledSafelyIsRefused(t *testing.T) {
	block := func(tenant, url, header string) string {
		return "server \"a\" {\n  tenant = \"" + tenant + "\"\n  url = \"" + url + "\"\n  header = \"" + header + "\"\n}\n"
	}
	for _, url := range []string{"file:///etc/passwd", "unix:///x", "https://", "//a.example/mcp", "a.example/mcp", "https://a.example/#x", "https://a.example:port/"} {
		refused(t, block("t", url, "X-Key"), `gateway.hcl:3:3: url in server: want http or https, a host, and no user info or fragment`)
	}
	_, err := config.Parse("f", []byte(block("t", "https://user:hunter2@a.example/", "X-Key")))
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a password in a URL: %v", err)
	}
	for _, header := range []string{"", "Host", "content-length", "Transfer-Encoding", "Mcp-Session-Id", "X Y", "X:Y"} {
		_, err := config.Parse("f", []byte(block("t", "https://a.example", header)))
		if err == nil || !strings.HasPrefix(err.Error(), "f:4:3: header in server: ") {
			t.Errorf("header %q: %v", header, err)
		}
	}
	refused(t, block("Acme", "https://a.example", "X-Key"), `gateway.hcl:2:3: tenant in server: want 1 to 63 of a-z, 0-9 and -, have "Acme"`)
	refused(t, block("_instance", "https://a.example", "X-Key"), `gateway.hcl:2:3: tenant in server: want 1 to 63 of a-z, 0-9 and -, have "_instance"`)
}

func TestAnIssuerWithoutExactlyOneSourceOfKeysIsRefused(t *testing.T) {
	key := "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
	refused(t, "issuer \"a\" {\n}\n", `gateway.hcl:1:1: issuer "a": iss is required`)
	refused(t, "issuer \"a\" {\n  iss = \"x\"\n}\n", `gateway.hcl:1:1: issuer "a": set either jwks_file or key`)
	refused(t, "issuer \"a\" {\n  iss = \"x\"\n  jwks_file = \"f\"\n  key = \""+key+"\"\n  kid = \"k\"\n}\n", `gateway.hcl:1:1: issuer "a": set either jwks_file or key`)
	refused(t, "issuer \"a\" {\n  iss = \"x\"\n  key = \""+key+"\"\n}\n", `gateway.hcl:1:1: issuer "a": key and kid are set together`)
	refused(t, "issuer \"a\" {\n  iss = \"x\"\n  key = \"AAAA\"\n  kid = \"k\"\n}\n", `gateway.hcl:3:3: key in issuer: want an Ed25519 public key, 32 bytes in base64url without padding`)
	refused(t, "issuer \"a\" {\n  iss = \"gatewright\"\n  jwks_file = \"f\"\n}\n", `gateway.hcl:2:3: iss in issuer: "gatewright" is already this gateway`)
	two := "issuer \"a\" {\n  iss = \"x\"\n  jwks_file = \"f\"\n}\nissuer \"b\" {\n  iss = \"x\"\n  jwks_file = \"f\"\n}\n"
	refused(t, two, `gateway.hcl:6:3: iss in issuer: "x" is already issuer "a"`)
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte(shipped(f)))
	for _, s := range []string{"", "mode = \"production\"\n", "server \"a\" {\n tenant = \"t\"\n url = \"http://x\"\n}\n", "a=[[[[", "data {\n dir = \"${x}\"\n}", "q{w=-1}", "\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		c, err := config.Parse("f", doc)
		if err == nil {
			if err := c.Validate(); err != nil {
				t.Errorf("accepted settings do not validate: %v", err)
			}
			return
		}
		if s := err.Error(); strings.ContainsAny(s, "\n\r\x00") || !strings.Contains(s, " ") {
			t.Errorf("error is not one line of text: %q", s)
		}
	})
}

// TestWhoApprovesToolsFollowsTheMode: where nobody says otherwise, production trusts no server's first word.
func TestWhoApprovesToolsFollowsTheMode(t *testing.T) {
	for doc, want := range map[string]string{
		"": "first_use", "mode = \"production\"\n": "approve", "catalogue {\n  pin = \"approve\"\n}\n": "approve",
		"mode = \"production\"\ncatalogue {\n  pin = \"first_use\"\n}\n": "first_use", "mode = \"production\"\ncatalogue {\n  pin = \"auto\"\n}\n": "approve",
	} {
		c, err := config.Parse("f", []byte(doc))
		if err != nil || c.Catalogue.Pin != want {
			t.Errorf("%q: %q, want %q: %v", doc, c.Catalogue.Pin, want, err)
		}
	}
	refused(t, "catalogue {\n  pin = \"never\"\n}\n", `gateway.hcl:2:3: pin in catalogue: want one of auto, first_use, approve, have "never"`)
	refused(t, "server \"a\" {\n  tenant = \"demo\"\n  url = \"https://a.example\"\n  pin = \"own\"\n}\n", `gateway.hcl:4:3: pin in server: want one of auto, first_use, approve, have "own"`)
}
