package intent_test

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/intent"
)

// BenchmarkSHA256 is the unit other machines are compared by.
func BenchmarkSHA256(b *testing.B) {
	data := make([]byte, 1024)
	for b.Loop() {
		_ = sha256.Sum256(data)
	}
}

func BenchmarkTokenWarm(b *testing.B) {
	w := newWorld(b, draftOf(64, ""))
	raw := w.mint(b, nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.verifier.Token(raw, now); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTokenCold(b *testing.B) {
	w := newWorld(b, draftOf(64, ""))
	raw := w.mint(b, nil)
	v := intent.NewVerifier(intent.VerifierConfig{Audience: audience, Keys: w.keys, MaxLifetime: 3600e9})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Token(raw, now); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTokenForgedAgain(b *testing.B) {
	w := newWorld(b, draftOf(64, ""))
	raw := w.mint(b, nil)
	raw[len(raw)-9] ^= 1
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.verifier.Token(raw, now); err == nil {
			b.Fatal("passed")
		}
	}
}

func BenchmarkMint(b *testing.B) {
	w := newWorld(b, draftOf(64, ""))
	b.ReportAllocs()
	for b.Loop() {
		_ = w.mint(b, nil)
	}
}

// body14 are arguments of about 1.4 KB in canonical order, and the same in another spelling.
func body14() (canonical, shuffled string) {
	text := strings.Repeat("The quick brown fox jumps over the lazy dog. ", 25)
	canonical = `{"count":3,"filter":{"from":"2026-01-01","tags":["a","b","c"]},"path":"/srv/data/report.txt","text":"` + text + `","title":"Report"}`
	shuffled = `{ "title": "Report", "text": "` + text + `", "path": "/srv/data/report.txt", "filter": {"tags": ["a", "b", "c"], "from": "2026-01-01"}, "count": 3.0 }`
	return canonical, shuffled
}

// BenchmarkGrantHeld: a plan of 64 steps, of which 8 call the tool asked for; the last of those fits.
func BenchmarkGrantHeld(b *testing.B) {
	canonical, shuffled := body14()
	var draft strings.Builder
	for i := range 64 {
		args := strings.Replace(canonical, `"count":3`, `"count":`+itoa(i), 1)
		if i == 60 {
			args = canonical
		}
		fmt.Fprintf(&draft, `,{"server":"files","tool":"t%d","args":%s}`, i%8, args)
	}
	w := newWorld(b, `{"steps":[`+draft.String()[1:]+`]}`)
	tok := w.token(b)
	for name, args := range map[string]string{"canonical": canonical, "shuffled": shuffled} {
		b.Run(name, func(b *testing.B) {
			r := w.request("t4", args)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := w.verifier.GrantHeld(tok, who, r, w.held, nil, now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkGrantLeaf: an explicit proof of depth 6, leaf text and proof as they come off the wire.
func BenchmarkGrantLeaf(b *testing.B) {
	w := newWorld(b, draftOf(64, `,"args":{"path":"/a/b","n":1}`))
	tok, r := w.token(b), w.request("t33", `{"path":"/a/b","n":1}`)
	leaf := []byte(intent.EncodeLeaf(w.plan.LeafData(33)))
	proof := []byte(intent.EncodeProof(w.held.AppendProof(nil, 33)))
	b.ReportAllocs()
	for b.Loop() {
		var buf [16]merkle.Hash
		l, err := w.verifier.Leaf(leaf)
		if err != nil {
			b.Fatal(err)
		}
		hashes, err := intent.AppendProof(buf[:0], proof)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := w.verifier.GrantLeaf(tok, who, r, l, hashes, now); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkGrantStep builds and compiles the leaf anew each time.
func BenchmarkGrantStep(b *testing.B) {
	w := newWorld(b, draftOf(64, `,"args":{"path":"/a/b","n":1}`))
	tok, r := w.token(b), w.request("t33", `{"path":"/a/b","n":1}`)
	proof := w.held.AppendProof(nil, 33)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.verifier.Grant(tok, who, r, &w.plan.Steps[33], 33, proof, now); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNewHeld(b *testing.B) {
	w := newWorld(b, draftOf(64, `,"args":{"path":"/a/b","n":1}`))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := intent.NewHeld(w.plan); err != nil {
			b.Fatal(err)
		}
	}
}
