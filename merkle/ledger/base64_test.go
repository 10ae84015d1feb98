package ledger

import (
	"bytes"
	"encoding/base64"
	"testing"
)

func TestTheTextOfAReceiptIsBase64URL(t *testing.T) {
	raw := make([]byte, 300)
	for i := range raw {
		raw[i] = byte(i*7 + i/3)
	}
	for n := range raw {
		want := base64.RawURLEncoding.AppendEncode([]byte("kept"), raw[:n])
		if got := appendBase64([]byte("kept"), raw[:n]); !bytes.Equal(got, want) {
			t.Fatalf("%d bytes: %q, want %q", n, got, want)
		}
		room := make([]byte, 4, 1000)
		copy(room, "kept")
		if got := appendBase64(room, raw[:n]); !bytes.Equal(got, want) {
			t.Fatalf("%d bytes into room: %q, want %q", n, got, want)
		}
	}
}

func FuzzTheTextOfAReceipt(f *testing.F) {
	f.Add([]byte{0xff, 0xef, 0xbe, 0})
	f.Fuzz(func(t *testing.T, raw []byte) {
		if got, want := appendBase64(nil, raw), base64.RawURLEncoding.AppendEncode(nil, raw); !bytes.Equal(got, want) {
			t.Fatalf("%q, want %q", got, want)
		}
	})
}

func BenchmarkReceiptText(b *testing.B) {
	raw := make([]byte, 704)
	dst := make([]byte, 0, 1024)
	b.Run("own", func(b *testing.B) {
		for b.Loop() {
			dst = appendBase64(dst[:0], raw)
		}
	})
	b.Run("encoding/base64", func(b *testing.B) {
		for b.Loop() {
			dst = base64.RawURLEncoding.AppendEncode(dst[:0], raw)
		}
	})
}
