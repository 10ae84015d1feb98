package vault_test

import (
	"bytes"
	"context"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/gatewright/gatewright/gateway/identity/vault"
	"github.com/gatewright/gatewright/store"
	"github.com/gatewright/gatewright/store/storetest"
)

const canary = "canary-4b1d-sk-live-secret"

func kek(of string) []byte { k := sha256.Sum256([]byte(of)); return k[:] }

func open(t testing.TB, s store.Store, key string) *vault.Vault {
	t.Helper()
	v, err := vault.Open(t.Context(), s, kek(key), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// want also holds every error of the suite to telling no secret.
func want(t testing.TB, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("got error %v, want %v", err, target)
	}
	if text := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(text, canary) {
		t.Fatalf("an error tells the secret: %s", text)
	}
}

func use(t testing.TB, v *vault.Vault, tenant, name string) (string, error) {
	t.Helper()
	var got string
	err := v.Use(t.Context(), tenant, name, func(secret []byte) error { got = string(secret); return nil })
	return got, err
}

func TestTheWrongKEKIsRefused(t *testing.T) {
	s := storetest.NewMemory()
	must(t, open(t, s, "right").Put(t.Context(), "acme", "up", []byte(canary)))
	_, err := vault.Open(t.Context(), s, kek("wrong"), rand.Reader)
	want(t, err, vault.ErrWrongKEK)
	for _, n := range []int{0, 16, 31, 33} {
		_, err := vault.Open(t.Context(), s, make([]byte, n), rand.Reader)
		want(t, err, vault.ErrInvalid)
	}
	if got, err := use(t, open(t, s, "right"), "acme", "up"); err != nil || got != canary {
		t.Fatalf("got %q, %v", got, err)
	}
}

func TestBadSecretsAreRefused(t *testing.T) {
	v, ctx := open(t, storetest.NewMemory(), "k"), t.Context()
	for _, name := range []string{"", "A", "-a", ".a", "a/b", "a b", "a\x00", "é", strings.Repeat("a", 64)} {
		want(t, v.Put(ctx, "acme", name, []byte(canary)), vault.ErrInvalid)
		want(t, v.Use(ctx, "acme", name, nil), vault.ErrInvalid)
		want(t, v.Delete(ctx, "acme", name), vault.ErrInvalid)
	}
	for _, tenant := range []string{"", "A", "a/b", "_other"} {
		want(t, v.Put(ctx, tenant, "up", []byte(canary)), store.ErrInvalid)
		want(t, v.Use(ctx, tenant, "up", nil), store.ErrInvalid)
		_, err := v.Subject(ctx, tenant, "agt_1")
		want(t, err, store.ErrInvalid)
	}
	want(t, v.Put(ctx, "acme", "up", nil), vault.ErrInvalid)
	want(t, v.Put(ctx, "acme", "up", bytes.Repeat([]byte(canary), 4000)), vault.ErrInvalid)
	for _, subject := range []string{"", strings.Repeat("a", 65), "a\x00"} {
		_, err := v.Subject(ctx, "acme", subject)
		want(t, err, vault.ErrInvalid)
	}
	want(t, v.Use(ctx, "acme", "absent", nil), vault.ErrNotFound)
	want(t, v.Delete(ctx, "acme", "absent"), vault.ErrNotFound)
}

func TestAnotherTenantsSecretIsNotFound(t *testing.T) {
	v := open(t, storetest.NewMemory(), "k")
	must(t, v.Put(t.Context(), "acme", "up", []byte(canary)))
	_, theirs := use(t, v, "other", "up")
	want(t, theirs, vault.ErrNotFound)
	_, absent := use(t, v, "other", "absent")
	if theirs.Error() != absent.Error() {
		t.Fatalf("%q differs from %q", theirs, absent)
	}
	want(t, v.Delete(t.Context(), "other", "up"), vault.ErrNotFound)
	if names, err := v.List(t.Context(), "other"); err != nil || len(names) != 0 {
		t.Fatalf("other sees %v, %v", names, err)
	}
}

// Whoever can write the store but has no KEK moves, exchanges and cuts envelopes.
func TestAMovedEnvelopeDoesNotOpen(t *testing.T) {
	s, ctx := storetest.NewMemory(), t.Context()
	v := open(t, s, "k")
	must(t, v.Put(ctx, "acme", "up", []byte(canary)))
	must(t, v.Put(ctx, "acme", "second", []byte("second")))
	must(t, v.Put(ctx, "other", "up", []byte("theirs")))
	_, err := v.Subject(ctx, "acme", "second")
	must(t, err)
	raw := read(t, s, "acme", "vault_secrets", "up")
	for name, move := range map[string]func(){
		"to another tenant": func() { write(t, s, "other", "vault_secrets", "up", raw) },
		"to another name":   func() { write(t, s, "acme", "vault_secrets", "second", raw) },
		"to another table":  func() { write(t, s, "acme", "vault_subjects", "up", raw) },
		"from another table": func() {
			write(t, s, "acme", "vault_secrets", "third", read(t, s, "acme", "vault_subjects", "second"))
		},
		"to another generation": func() {
			write(t, s, "acme", "vault_secrets", "up", bytes.Replace(raw, []byte(`"Generation":1`), []byte(`"Generation":2`), 1))
		},
	} {
		move()
		fresh := open(t, s, "k") // nothing cached
		var err error
		switch name {
		case "to another tenant":
			_, err = use(t, fresh, "other", "up")
		case "to another name":
			_, err = use(t, fresh, "acme", "second")
		case "to another table":
			_, err = fresh.Subject(ctx, "acme", "up")
		case "from another table":
			_, err = use(t, fresh, "acme", "third")
		default:
			_, err = use(t, fresh, "acme", "up")
			write(t, s, "acme", "vault_secrets", "up", raw)
		}
		if !errors.Is(err, vault.ErrDamaged) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if got, err := use(t, open(t, s, "k"), "acme", "up"); err != nil || got != canary {
		t.Fatalf("got %q, %v", got, err)
	}
}

func TestAnyFlippedByteIsRefused(t *testing.T) {
	s, ctx := storetest.NewMemory(), t.Context()
	must(t, open(t, s, "k").Put(ctx, "acme", "up", []byte(canary)))
	raw := read(t, s, "acme", "vault_secrets", "up")
	for i := range raw {
		bad := bytes.Clone(raw)
		bad[i] ^= 1
		write(t, s, "acme", "vault_secrets", "up", bad)
		if got, err := use(t, open(t, s, "k"), "acme", "up"); err == nil && got != canary {
			t.Fatalf("byte %d: %q", i, got)
		} else if err != nil && strings.Contains(err.Error(), canary) {
			t.Fatalf("byte %d: the error tells the secret", i)
		}
	}
}

func read(t testing.TB, s store.Store, tenant, table, key string) (data []byte) {
	t.Helper()
	must(t, s.View(t.Context(), tenant, func(tx store.Txn) error {
		v, err := tx.Get(table, key)
		data = v.Data
		return err
	}))
	return data
}

func write(t testing.TB, s store.Store, tenant, table, key string, data []byte) {
	t.Helper()
	must(t, s.Update(t.Context(), tenant, func(tx store.Txn) error {
		_, err := tx.Put(table, key, data, store.AnyVersion)
		return err
	}))
}

func TestASecretIsZeroedAfterUse(t *testing.T) {
	v, ctx := open(t, storetest.NewMemory(), "k"), t.Context()
	given := []byte(canary)
	must(t, v.Put(ctx, "acme", "up", given))
	if string(given) != canary {
		t.Fatal("Put changed the caller's slice")
	}
	var kept []byte
	mine := errors.New("mine")
	want(t, v.Use(ctx, "acme", "up", func(s []byte) error { kept = s; return mine }), mine)
	if !bytes.Equal(kept, make([]byte, len(canary))) {
		t.Fatalf("the secret outlives its use: %q", kept)
	}
	func() {
		defer func() { _ = recover() }()
		_ = v.Use(ctx, "acme", "up", func(s []byte) error { kept = s; panic("mine") })
	}()
	if !bytes.Equal(kept, make([]byte, len(canary))) {
		t.Fatal("the secret outlives a panic")
	}
	if got, err := use(t, v, "acme", "up"); err != nil || got != canary { // zeroing did not reach the cache
		t.Fatalf("got %q, %v", got, err)
	}
}

func TestSecretsAreReplacedListedAndDeleted(t *testing.T) {
	s, ctx := storetest.NewMemory(), t.Context()
	v := open(t, s, "k")
	for _, secret := range []string{canary, "second", strings.Repeat("x", vault.MaxSecret)} {
		must(t, v.Put(ctx, "acme", "up", []byte(secret)))
		if got, err := use(t, v, "acme", "up"); err != nil || got != secret {
			t.Fatalf("got %d bytes, %v", len(got), err)
		}
	}
	must(t, v.Put(ctx, "acme", "a.b_c-1", []byte(canary)))
	if names, err := v.List(ctx, "acme"); err != nil || fmt.Sprint(names) != "[a.b_c-1 up]" {
		t.Fatalf("got %v, %v", names, err)
	}
	if bytes.Contains(read(t, s, "acme", "vault_secrets", "a.b_c-1"), []byte("canary")) {
		t.Fatal("a secret is stored in the clear")
	}
	must(t, v.Delete(ctx, "acme", "up"))
	_, err := use(t, v, "acme", "up")
	want(t, err, vault.ErrNotFound)
}

func TestATenantsSecretsAreCounted(t *testing.T) {
	v, ctx := open(t, storetest.NewMemory(), "k"), t.Context()
	for i := range vault.MaxSecrets {
		must(t, v.Put(ctx, "acme", fmt.Sprint(i), []byte("x")))
	}
	want(t, v.Put(ctx, "acme", "more", []byte(canary)), vault.ErrLimit)
	must(t, v.Put(ctx, "acme", "0", []byte("y")))
	must(t, v.Put(ctx, "other", "more", []byte("x")))
}

func TestASubjectsKeyIsOneAndStays(t *testing.T) {
	s, ctx := storetest.NewMemory(), t.Context()
	v := open(t, s, "k")
	aeads := make([]cipher.AEAD, 32)
	var wg sync.WaitGroup
	for i := range aeads {
		wg.Go(func() { aeads[i], _ = v.Subject(ctx, "acme", "agt_1") })
	}
	wg.Wait()
	nonce := make([]byte, 12)
	sealed := aeads[0].Seal(nil, nonce, []byte(canary), nil)
	again, err := open(t, s, "k").Lookup(ctx, "acme", "agt_1")
	must(t, err)
	for _, aead := range append(aeads, again) {
		if got, err := aead.Open(nil, nonce, sealed, nil); err != nil || string(got) != canary {
			t.Fatal("two callers got two keys")
		}
	}
	for _, subject := range []struct{ tenant, name string }{{"acme", "agt_2"}, {"other", "agt_1"}} {
		aead, err := v.Subject(ctx, subject.tenant, subject.name)
		must(t, err)
		if _, err := aead.Open(nil, nonce, sealed, nil); err == nil {
			t.Fatalf("%v opens what is not theirs", subject)
		}
	}
}

func TestAnErasedSubjectCannotBeOpened(t *testing.T) {
	s, ctx := storetest.NewMemory(), t.Context()
	v := open(t, s, "k")
	aead, err := v.Subject(ctx, "acme", "agt_1")
	must(t, err)
	nonce := make([]byte, 12)
	sealed := aead.Seal(nil, nonce, []byte(canary), nil)
	must(t, v.Erase(ctx, "acme", "agt_1"))
	_, err = v.Lookup(ctx, "acme", "agt_1")
	want(t, err, vault.ErrNotFound)
	must(t, v.Erase(ctx, "acme", "agt_1"))
	aead, err = v.Subject(ctx, "acme", "agt_1")
	must(t, err)
	if _, err := aead.Open(nil, nonce, sealed, nil); err == nil {
		t.Fatal("the new key opens what was erased")
	}
	must(t, v.Erase(ctx, "acme", "never"))
}

func TestBrokenRandomnessSealsNothing(t *testing.T) {
	s := storetest.NewMemory()
	v, err := vault.Open(t.Context(), s, kek("k"), iotest.ErrReader(errors.New("dry")))
	must(t, err)
	if err := v.Put(t.Context(), "acme", "up", []byte(canary)); err == nil {
		t.Fatal("a secret was sealed without randomness")
	}
	if _, err := v.Subject(t.Context(), "acme", "agt_1"); err == nil {
		t.Fatal("a key was made without randomness")
	}
}

func TestACancelledContextGivesNoSecret(t *testing.T) {
	s := storetest.NewMemory()
	must(t, open(t, s, "k").Put(t.Context(), "acme", "up", []byte(canary)))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	want(t, open(t, s, "k").Use(ctx, "acme", "up", nil), context.Canceled)
}

func BenchmarkUse(b *testing.B) {
	v := open(b, storetest.NewMemory(), "k")
	must(b, v.Put(b.Context(), "acme", "up", []byte(canary)))
	b.ReportAllocs()
	for b.Loop() {
		if err := v.Use(b.Context(), "acme", "up", func([]byte) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSubject(b *testing.B) {
	v := open(b, storetest.NewMemory(), "k")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Subject(b.Context(), "acme", "agt_1"); err != nil {
			b.Fatal(err)
		}
	}
}
