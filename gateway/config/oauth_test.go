package config_test

import (
	"strings"
	"testing"

	"github.com/gatewright/gatewright/gateway/config"
)

func TestHowAServersTokensAreGotIsSaidWhole(t *testing.T) {
	in := func(settings ...string) string {
		return "server \"a\" {\n  tenant = \"t\"\n  url = \"https://a.example/mcp\"\n  " + strings.Join(settings, "\n  ") + "\n}\n"
	}
	code, own, exchange := `auth = "authorization_code"`, `auth = "client_credentials"`, `auth = "token_exchange"`
	id, secret := `client_id = "gw"`, `client_secret = "s"`
	no := func(doc, want string) {
		t.Helper()
		if _, err := config.Parse("gateway.hcl", []byte(doc)); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "gateway.hcl:") {
			t.Errorf("%s: %v, want %s", doc, err, want)
		}
	}
	for _, doc := range []string{
		in(), in(`auth = "static"`, `credential = "c"`), in(code), in(code, id), in(code, id, secret), in(own, id, secret), in(own, id, `client_key = "k"`),
		in(exchange, id), in(exchange, id, secret, `auth_audience = "crm"`, `auth_scopes = ["a", "b"]`, `auth_issuer = "https://as.example"`),
	} {
		if _, err := config.Parse("f", []byte(doc)); err != nil {
			t.Errorf("%s: %v", doc, err)
		}
	}
	no(in(`auth = "basic"`), `auth in server: want one of static, client_credentials, authorization_code, token_exchange, have "basic"`)
	no(in(id), `they are of tokens; say by auth how to get them`)
	no(in(code, `credential = "c"`), `credential in server: it is sent as it is; auth gets tokens instead`)
	no(in(code, `caller_credentials = true`), `caller_credentials in server: auth gets tokens instead`)
	no(in(own, id), `client_secret in server: client_credentials need one, or a client_key`)
	no(in(own, secret), `client_id in server: it is required`)
	no(in(exchange), `client_id in server: it is required`)
	no(in(code, secret), `client_id in server: it is required`)
	no(in(own, id, secret, `client_key = "k"`), `client_key in server: there is a client_secret already`)
	no(in(code, `auth_audience = "x"`), `auth_audience in server: it goes with`)
	no(in(code, `auth_issuer = "as.example"`), `auth_issuer in server: want an https URL`)
	no(in(code, `auth_scopes = ["a b"]`), `auth_scopes in server: want one scope each`)
	no(in(code, `via = "connector"`), `auth in server: tokens are for a url that the gateway itself reaches`)
	for _, bad := range []string{"gw.example", "https://gw.example/", "https://u@gw.example", "ftp://gw.example", "https://gw.example?x=1"} {
		no("oauth {\n  address = \""+bad+"\"\n}\n", `address in oauth: want http or https and a host, without a slash at the end`)
	}
	for _, bad := range []string{"http://gw.example/c.json", "https://gw.example", "https://gw.example/", "https://u:p@gw.example/c.json"} {
		no("oauth {\n  client_document = \""+bad+"\"\n}\n", `client_document in oauth: want an https URL with a path`)
	}
}
