package identity_test

import (
	"strings"
	"testing"

	"github.com/gatewright/gatewright/gateway/identity"
)

func FuzzKeyText(f *testing.F) {
	h := build(f)
	f.Add([]byte(h.acme.text))
	f.Add([]byte(h.acme.adminText))
	f.Add([]byte("ak_test_"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, text []byte) {
		id, ok := identity.ParseKey(text)
		c, err := h.Authenticate(text, start)
		if known := string(text) == h.acme.text || string(text) == h.acme.adminText; c.Valid() != known || (err == nil) != known {
			t.Fatalf("%q: caller %v, error %v", text, c.Valid(), err)
		}
		if !ok {
			if identity.ReasonOf(err) != identity.KeyMalformed {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		again := string(text[:8]) + string(id) + "_" + string(text[35:])
		if again != string(text) || len(id) != 26 || strings.ContainsAny(again, " \t\r\n\x00\"'\\/") {
			t.Fatalf("%q was taken for a key", text)
		}
	})
}

func BenchmarkAuthenticate(b *testing.B) {
	h := build(b)
	for name, text := range map[string]string{
		"hit": h.acme.text, "wrong": h.acme.text[:35] + h.other.text[35:], "unknown": h.acme.text[:8] + strings.Repeat("0", 26) + h.acme.text[34:],
		"malformed": "Bearer nonsense",
	} {
		key := []byte(text)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = h.Authenticate(key, start)
			}
		})
	}
}
