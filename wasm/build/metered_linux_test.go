package build_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/gatewright/gatewright/wasm/build"
	"github.com/gatewright/gatewright/wasm/meter"
)

// stateful is a module as it was given, with a global that can change.
func stateful(tag byte) []byte {
	return cat([]byte("\x00asm\x01\x00\x00\x00"), section(6, []byte{2, i32, 1, 0x41, tag, 0x0b, i32, 1, 0x41, 0, 0x0b}))
}

// metered meters a module, and has it compiled if asked.
func metered(t *testing.T, c *build.Compiler, module []byte, o meter.Options, compile bool) build.Metered {
	t.Helper()
	s := build.Source{Compiler: c, Tenant: "org_1"}
	m, err := s.Meter(module, sha256.Sum256(module), o)
	if err != nil {
		t.Fatal(err)
	}
	if !compile {
		return m
	}
	r := s.Engine(t.Context(), pages)
	defer r.Close(t.Context())
	if _, err := s.Compile(t.Context(), r, m, pages); err != nil {
		t.Fatal(err)
	}
	return m
}

// entry is the file of a metered module.
func entry(dir string, module []byte, o meter.Options) string {
	n := build.MeteredName(sha256.Sum256(module), meter.Version, o)
	return filepath.Join(dir, hex.EncodeToString(n[:])+".sealed")
}

// TestWhatWasMeteredIsNotMeteredAgain once it has compiled, in a later process either.
func TestWhatWasMeteredIsNotMeteredAgain(t *testing.T) {
	dir := t.TempDir()
	keep := func(o *build.Options) { o.Dir = dir }
	c := open(t, keep)
	want, report, err := meter.Rewrite(stateful(1), meter.Options{})
	if err != nil || len(report.State) != 2 {
		t.Fatal(report.State, err)
	}
	same := func(m build.Metered, fresh bool) {
		t.Helper()
		if m.Fresh() != fresh || !bytes.Equal(m.Module, want) || !slices.Equal(m.State, report.State) {
			t.Errorf("fresh %v, want %v; state %q", m.Fresh(), fresh, m.State)
		}
	}
	same(metered(t, c, stateful(1), meter.Options{}, false), true)
	if left := entries(t, dir); len(left) != 0 {
		t.Errorf("kept before it compiled: %q", left)
	}
	same(metered(t, c, stateful(1), meter.Options{}, true), true)
	same(metered(t, c, stateful(1), meter.Options{}, true), false)
	same(metered(t, open(t, keep), stateful(1), meter.Options{}, true), false)
	if s := c.Stats(); s.Compiled != 1 || s.Hits != 1 || s.Refused != 0 || len(entries(t, dir)) != 2 {
		t.Errorf("%+v, entries %q", s, entries(t, dir))
	}
	if m := metered(t, c, stateful(1), meter.Options{MaxDepth: 7}, false); !m.Fresh() {
		t.Error("other options, the same entry")
	}
	interpreted := build.Source{Compiler: c, Interpreted: true}
	if m, err := interpreted.Meter(stateful(1), sha256.Sum256(stateful(1)), meter.Options{}); err != nil || !bytes.Equal(m.Module, want) {
		t.Error("interpreted:", err)
	}
}

// TestForgedMeteredModulesAreMadeAnew: whatever is done to an entry, none of it is used.
func TestForgedMeteredModulesAreMadeAnew(t *testing.T) {
	dir := t.TempDir()
	c := open(t, func(o *build.Options) { o.Dir = dir })
	module, o := stateful(1), meter.Options{}
	want := metered(t, c, module, o, true)
	metered(t, c, stateful(2), o, true)
	path := entry(dir, module, o)
	sound, foreign := read(t, path), read(t, entry(dir, stateful(2), o))
	stranger := t.TempDir()
	metered(t, open(t, func(p *build.Options) { p.Dir, p.Key = stranger, bytes.Repeat([]byte{8}, 32) }), module, o, true)
	code, err := c.Compile(t.Context(), build.Job{Module: want.Module, Pages: pages})
	if err != nil || !code.Cached {
		t.Fatal(code.Cached, err)
	}
	forged := map[string][]byte{
		"nothing": {}, "a head only": sound[:40], "half": sound[:len(sound)/2], "a byte less": sound[:len(sound)-1],
		"a byte more": append(bytes.Clone(sound), 0), "another's": foreign, "another's body": cat(sound[:40], foreign[40:]),
		"of another key": read(t, entry(stranger, module, o)), "code": cat([]byte("gwcode1\n"), sound[8:]),
	}
	for _, at := range []int{0, 8, 40, 72, 74, len(sound) - 1} {
		b := bytes.Clone(sound)
		b[at] ^= 1
		forged[fmt.Sprint("flipped at ", at)] = b
	}
	for name, b := range forged {
		t.Run(name, func(t *testing.T) {
			write(t, path, b)
			before := c.Stats().Refused
			m := metered(t, c, module, o, true)
			if !m.Fresh() || !bytes.Equal(m.Module, want.Module) || !slices.Equal(m.State, want.State) || c.Stats().Refused != before+1 {
				t.Errorf("fresh %v, %d refused", m.Fresh(), c.Stats().Refused-before)
			}
			if !bytes.Equal(read(t, path), sound) {
				t.Error("it was not put right")
			}
		})
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if m := metered(t, c, module, o, true); !m.Fresh() || !bytes.Equal(read(t, path), sound) {
		t.Error("a missing one was not made anew")
	}
}

// TestTheNameOfAMeteredModuleTellsAllItDependsOn: the module, the rewriting's version and every option.
func TestTheNameOfAMeteredModuleTellsAllItDependsOn(t *testing.T) {
	full := meter.DefaultOptions()
	seen := map[[32]byte]string{build.MeteredName([32]byte{1}, 1, full): "itself"}
	other := func(name string, n [32]byte) {
		t.Helper()
		if was, ok := seen[n]; ok {
			t.Errorf("%s has the name of %s", name, was)
		}
		seen[n] = name
	}
	other("another module", build.MeteredName([32]byte{2}, 1, full))
	other("another version", build.MeteredName([32]byte{1}, 2, full))
	fields := reflect.TypeOf(full)
	for i := range fields.NumField() {
		o := full
		switch v := reflect.ValueOf(&o).Elem().Field(i); v.Kind() {
		case reflect.Bool:
			v.SetBool(!v.Bool())
		case reflect.Int:
			v.SetInt(v.Int() + 1)
		case reflect.Uint32:
			v.SetUint(v.Uint() + 1)
		default:
			t.Errorf("%s is a %s: see that %%+v writes all of it", fields.Field(i).Name, v.Kind())
		}
		other(fields.Field(i).Name, build.MeteredName([32]byte{1}, 1, o))
	}
	if n := build.MeteredName([32]byte{1}, 1, meter.Options{}); seen[n] != "itself" {
		t.Error("what zeros stand for has another name")
	}
}
