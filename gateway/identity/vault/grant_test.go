package vault_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/gateway/identity/vault"
	"github.com/gatewright/gatewright/store"
	"github.com/gatewright/gatewright/store/storetest"
)

func grantOf(t *testing.T, v *vault.Vault, tenant, server, key string) (got string, err error) {
	t.Helper()
	return got, v.UseGrant(t.Context(), tenant, server, key, func(secret []byte) error {
		got = string(secret)
		return nil
	})
}

func TestGrantsAreSealedApartAndSurviveARotation(t *testing.T) {
	s := storetest.NewMemory()
	v := open(t, s, "old")
	must(t, v.PutGrant(t.Context(), "acme", "docs", "user/ada", []byte(canary+"1")))
	must(t, v.PutGrant(t.Context(), "acme", "docs", "user/ada", []byte(canary+"2")))
	must(t, v.PutGrant(t.Context(), "acme", "docs-2", "user/ada", []byte(canary+"3")))
	must(t, v.Rotate(t.Context(), kek("new")))
	v = open(t, s, "new")
	if got, err := grantOf(t, v, "acme", "docs", "user/ada"); err != nil || got != canary+"2" {
		t.Fatalf("%q %v", got, err)
	}
	for what, at := range map[string][3]string{"another tenant": {"other", "docs", "user/ada"}, "another server": {"acme", "doc", "user/ada"}, "another user": {"acme", "docs", "user/bob"}} {
		if got, err := grantOf(t, v, at[0], at[1], at[2]); got != "" || !errors.Is(err, vault.ErrNotFound) {
			t.Errorf("%s: %q %v", what, got, err)
		}
	}
	if names, err := v.List(t.Context(), "acme"); err != nil || len(names) != 0 {
		t.Errorf("the operator's secrets list %v %v", names, err)
	}
	if _, err := use(t, v, "acme", "docs/user/ada"); err == nil {
		t.Error("a grant is used as an operator's secret")
	}
	must(t, s.View(t.Context(), "acme", func(tx store.Txn) error {
		return tx.Scan("vault_grants", "", func(_ string, v store.Value) error {
			if bytes.Contains(v.Data, []byte(canary)) {
				t.Error("it lies open in the store")
			}
			return nil
		})
	}))
}

func TestGrantsOfAServerAreForgottenTogether(t *testing.T) {
	v := open(t, storetest.NewMemory(), "k")
	for i := range 120 {
		must(t, v.PutGrant(t.Context(), "acme", "docs", fmt.Sprint("user/", i), []byte("x")))
	}
	must(t, v.PutGrant(t.Context(), "acme", "docs-2", "user/1", []byte("y")))
	must(t, v.DropGrants(t.Context(), "acme", "docs"))
	must(t, v.DropGrants(t.Context(), "acme", "docs"))
	if _, err := grantOf(t, v, "acme", "docs", "user/7"); !errors.Is(err, vault.ErrNotFound) {
		t.Error(err)
	}
	if got, err := grantOf(t, v, "acme", "docs-2", "user/1"); err != nil || got != "y" {
		t.Errorf("%q %v", got, err)
	}
	must(t, v.DropGrant(t.Context(), "acme", "docs-2", "user/1"))
	want(t, v.DropGrant(t.Context(), "acme", "docs-2", "user/1"), vault.ErrNotFound)
}

func TestAGrantNeedsAPlaceAndABound(t *testing.T) {
	v := open(t, storetest.NewMemory(), "k")
	for _, at := range [][2]string{{"", "k"}, {"docs", ""}, {"a/b", "k"}, {"docs", strings.Repeat("k", 129)}} {
		want(t, v.PutGrant(t.Context(), "acme", at[0], at[1], []byte("x")), vault.ErrInvalid)
	}
	want(t, v.PutGrant(t.Context(), "acme", "docs", "k", nil), vault.ErrInvalid)
	want(t, v.PutGrant(t.Context(), "acme", "docs", "k", make([]byte, vault.MaxSecret+1)), vault.ErrInvalid)
}
