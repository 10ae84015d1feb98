package abi_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/wasm/abi"
)

// BenchmarkContext writes a call of 2 KB to a filter's memory: as it is the first time, and as a further filter in a row gets
// it, before which another has put a label on it or not.
func BenchmarkContext(b *testing.B) {
	c := sample()
	c.Body = []byte(`{"path":"/etc/motd","lines":[1,2,3],"text":"` + strings.Repeat("all work and no play ", 85) + `\n"}`)
	bodies := [2][]byte{c.Body, bytes.Clone(c.Body)}
	labels := [2][]string{{"one"}, {"one", "two"}}
	dst := make([]byte, 8<<10)
	for name, f := range map[string]abi.Form{"JSON": abi.FormJSON, "flat": abi.FormFlat, "leaves": abi.FormLeaves} {
		for change, step := range map[string]func(int){
			"anew": func(i int) { c.Now, c.Body = int64(i), bodies[i&1] }, "label": func(i int) { c.Labels = labels[i&1] }, "again": func(int) {},
		} {
			b.Run(fmt.Sprint(name, "/", change), func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(c.Size(f)))
				for i := 0; b.Loop(); i++ {
					step(i)
					if c.Size(f) > len(dst) {
						b.Fatal("it does not fit")
					}
					c.Put(f, dst)
				}
			})
		}
	}
}

func BenchmarkVerdict(b *testing.B) {
	var g guest
	short, _ := g.flat(abi.Verdict{Kind: abi.Pass})
	full := abi.Verdict{Kind: abi.Pass, Labels: []string{"secret:key"}, Scores: []abi.Score{{Name: "pii", Value: 870}}}
	flat, _ := g.flat(full)
	pass, text := `{"verdict":"pass"}`, string(asJSON(full, abi.Request))
	passAt, textAt := g.put([]byte(pass)), g.put([]byte(text))
	for _, c := range []struct {
		name     string
		at, size uint32
	}{{"flat/pass", short, 4}, {"JSON/pass", passAt, uint32(len(pass))}, {"flat/labels", flat, 36}, {"JSON/labels", textAt, uint32(len(text))}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			var v abi.Verdict
			for b.Loop() {
				v.Reset()
				if err := v.Read(g.memory, c.at, c.size, abi.Request, limits); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
