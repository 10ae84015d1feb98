package build_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"github.com/gatewright/gatewright/wasm/build"
)

func TestMain(m *testing.M) {
	build.Hook() // the tests' own program plays the child
	if dir := os.Getenv(gatewayEnv); dir != "" {
		playGateway(dir)
	}
	goleak.VerifyTestMain(m)
}

// pages is the limit of memory that the tests' modules are compiled under.
const pages = 256

var key = bytes.Repeat([]byte{7}, 32)

// open returns a compiler over a folder of its own that the test closes.
func open(tb testing.TB, change func(*build.Options)) *build.Compiler {
	tb.Helper()
	o := build.Options{Dir: tb.TempDir(), Key: key}
	if change != nil {
		change(&o)
	}
	c, err := build.New(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.Close)
	return c
}

func job(module []byte) build.Job { return build.Job{Module: module, Tenant: "org_1", Pages: pages} }

// entries are the files of a cache's folder.
func entries(tb testing.TB, dir string) (names []string) {
	tb.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		tb.Fatal(err)
	}
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

// What follows writes modules of one kind: functions (i32) -> () with many locals, the first of them exported as "run".

const (
	i32      = 0x7f
	noResult = 0x40
)

func leb(n int) []byte { return binary.AppendUvarint(nil, uint64(n)) }

func cat(parts ...[]byte) []byte { return slices.Concat(parts...) }

func times(n int, b []byte) []byte { return bytes.Repeat(b, n) }

func each(n int, f func(i int) []byte) (b []byte) {
	for i := range n {
		b = append(b, f(i)...)
	}
	return b
}

func section(id byte, body []byte) []byte { return cat([]byte{id}, leb(len(body)), body) }

func get(n int) []byte { return cat([]byte{0x20}, leb(n)) }
func set(n int) []byte { return cat([]byte{0x21}, leb(n)) }

func loop(body ...[]byte) []byte { return cat([]byte{0x03, noResult}, cat(body...), []byte{0x0b}) }

// ifElse runs one of two.
func ifElse(yes, no []byte) []byte {
	return cat(get(0), []byte{0x04, noResult}, yes, []byte{0x05}, no, []byte{0x0b})
}

// number pushes n from 0 to 63.
func number(n byte) []byte { return []byte{0x41, n} }

var brIf = []byte{0x0d, 0}

// module has n functions of this body with that many locals beside the parameter, and a memory of one page.
func module(n, locals int, body []byte) []byte {
	code := cat([]byte{0}, body, []byte{0x0b})
	if locals > 0 {
		code = cat([]byte{1}, leb(locals), []byte{i32}, body, []byte{0x0b})
	}
	code = cat(leb(len(code)), code)
	return cat([]byte("\x00asm\x01\x00\x00\x00"), section(1, []byte{1, 0x60, 1, i32, 0}), section(3, cat(leb(n), make([]byte, n))),
		section(5, []byte{1, 0, 1}), section(7, cat([]byte{1, 3}, []byte("run"), []byte{0, 0})), section(10, cat(leb(n), times(n, code))))
}

// small is a module that compiles at once; different tags make different modules.
func small(tag byte) []byte { return module(3, 2, cat(number(8), number(tag%64), []byte{0x36, 2, 0})) }
