package catalogue_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/gateway/catalogue"
	"github.com/gatewright/gatewright/store/storetest"
)

func TestAServersAuthIsWholeOrRefusedAndKept(t *testing.T) {
	db := storetest.NewMemory()
	c := open(t, db, &lister{}, nil)
	good := catalogue.Auth{Kind: "token_exchange", ClientID: "gw", ClientSecret: "s", Scopes: "a b", Audience: "crm", Issuer: "https://as.example"}
	s := catalogue.Server{Name: "crm", URL: "https://crm.example/mcp", Enabled: true, Auth: good}
	if err := c.AddServer(t.Context(), "acme", s); err != nil {
		t.Fatal(err)
	}
	if got, ok := open(t, db, &lister{}, nil).Server("acme", "crm"); !ok || got.Auth != good {
		t.Errorf("after a start: %+v", got.Auth)
	}
	for what, a := range map[string]catalogue.Auth{
		"no kind": {ClientID: "gw"}, "another kind": {Kind: "password", ClientID: "gw"}, "no client": {Kind: "token_exchange"},
		"a secret without a client": {Kind: "authorization_code", ClientSecret: "s"}, "both proofs": {Kind: "client_credentials", ClientID: "gw", ClientSecret: "s", ClientKey: "k"},
		"no proof": {Kind: "client_credentials", ClientID: "gw"}, "an audience": {Kind: "authorization_code", Audience: "x"},
		"an issuer that is none": {Kind: "authorization_code", Issuer: "as"}, "long scopes": {Kind: "authorization_code", Scopes: strings.Repeat("a ", 600)},
		"control characters": {Kind: "authorization_code", ClientID: "a\r\nb"},
	} {
		bad := s
		bad.Name, bad.Auth = "other", a
		if err := c.AddServer(t.Context(), "acme", bad); !errors.Is(err, catalogue.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	both := s
	both.Name, both.Credential = "other", "c"
	if err := c.AddServer(t.Context(), "acme", both); !errors.Is(err, catalogue.ErrInvalid) {
		t.Errorf("beside a credential: %v", err)
	}
}
