package canon_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/merkle/canon"
)

// toolCall is a tools/call request as MCP clients send it: 1.4 KB, compact, mostly text.
func toolCall() []byte {
	note := "The quarterly figures for the northern region are attached; please file them under finance and tell Dana. "
	return []byte(`{"jsonrpc":"2.0","id":1742,"method":"tools/call","params":{"name":"notes_add","arguments":{` +
		`"title":"Quarterly figures, north","body":"` + strings.Repeat(note, 8) + `","tags":["finance","q3","north","2026"],` +
		`"priority":3,"due":"2026-11-30T17:00:00Z","share":{"with":["dana@example.org","lee@example.org"],"level":"read","notify":true},` +
		`"limits":{"max":1500.75,"min":0,"currency":"EUR"},"source":{"kind":"upload","path":"/finance/2026/q3/north.xlsx","sha":` +
		`"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}},"_meta":{"progressToken":"p-1742","io.example/trace":` +
		`"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}}}`)
}

func BenchmarkCheck(b *testing.B) {
	var many strings.Builder
	many.WriteByte('{')
	for i := range 20_000 {
		fmt.Fprintf(&many, `"key %d":%d,`, i, i)
	}
	many.WriteString(`"end":0}`)
	for _, c := range []struct {
		name string
		body string
	}{
		{"tools call 1.4 KB", string(toolCall())},
		{"numbers 1.4 KB", "[" + strings.Repeat("12.75,-3,1048576,", 80) + "0]"},
		{"text not ASCII 1.4 KB", `"` + strings.Repeat("Über größere Maße ", 62) + `"`},
		{"escapes 1.4 KB", `"` + strings.Repeat(`\u00dc\n\"x\ud83d\ude00`, 57) + `"`},
		{"20,001 keys", many.String()},
	} {
		b.Run(c.name, func(b *testing.B) {
			body, l := []byte(c.body), canon.DefaultLimits()
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				if err := canon.Check(body, l); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAppendCanonical(b *testing.B) {
	for _, c := range []struct {
		name string
		body []byte
	}{
		{"tools call 1.4 KB", toolCall()},
		{"arguments 141 B", []byte(`{"title":"Quarterly figures, north","tags":["finance","q3","north"],"priority":3,` +
			`"due":"2026-11-30T17:00:00Z","share":{"level":"read"},"max":1}`)},
	} {
		b.Run(c.name, func(b *testing.B) {
			l := canon.DefaultLimits()
			dst := make([]byte, 0, 4096)
			b.ReportAllocs()
			b.SetBytes(int64(len(c.body)))
			for b.Loop() {
				if _, err := canon.AppendCanonical(dst, c.body, l); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkGet(b *testing.B) {
	body := toolCall()
	b.ReportAllocs()
	for b.Loop() {
		params, ok := canon.Get(body, "params")
		if _, found := canon.Get(params, "_meta"); !ok || !found {
			b.Fatal("not found")
		}
	}
}

func BenchmarkEach(b *testing.B) {
	body := toolCall()
	b.ReportAllocs()
	n := 0
	count := func(_, _ []byte) error { n++; return nil }
	for b.Loop() {
		if err := canon.Each(body, count); err != nil {
			b.Fatal(err)
		}
	}
}
