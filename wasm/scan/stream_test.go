package scan_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"testing"
	"testing/iotest"

	"github.com/gatewright/gatewright/wasm/scan"
)

// TestASourceThatFailsIsSaid: at any byte, and never taken for the end of the module.
func TestASourceThatFailsIsSaid(t *testing.T) {
	broken := errors.New("connection lost")
	module := filter().bytes()
	for n := range len(module) + 1 {
		r := io.MultiReader(bytes.NewReader(module[:n]), iotest.ErrReader(broken))
		if _, err := scan.Scan(r, scan.Limits{}); !errors.Is(err, broken) {
			t.Fatalf("behind %d bytes: %v", n, err)
		}
	}
	r := iotest.DataErrReader(bytes.NewReader(module))
	if _, err := scan.Scan(r, scan.Limits{}); err != nil {
		t.Fatalf("the last bytes and the end at once: %v", err)
	}
}

// TestASourceThatGivesNothingIsGivenUp instead of being asked for ever.
func TestASourceThatGivesNothingIsGivenUp(t *testing.T) {
	if _, err := scan.Scan(nothing{}, scan.Limits{}); !errors.Is(err, io.ErrNoProgress) {
		t.Fatal(err)
	}
}

type nothing struct{}

func (nothing) Read([]byte) (int, error) { return 0, nil }

// TestNoMoreIsReadThanNeeded: what is refused at its first bytes costs no more of the source than a piece.
func TestNoMoreIsReadThanNeeded(t *testing.T) {
	for name, head := range map[string][]byte{
		"no module": []byte("PK\x03\x04\x00\x00\x00\x00"), "a section too large": cat(magic, 0, leb(1<<31)), "an unknown section": cat(magic, 99, leb(1000)),
		"an import": cat(magic, 1, sized(vec(functype(nil, nil))), 2, sized(vec(importFn("env", "f", 0)))),
	} {
		src := &endless{head: head}
		_, err := scan.Scan(src, scan.Large())
		var e *scan.Error
		if !errors.As(err, &e) || e.Offset > len(head) {
			t.Errorf("%s: %v", name, err)
		}
		if src.n > 33<<10 {
			t.Errorf("%s: %d bytes were read", name, src.n)
		}
	}
}

// endless gives head, and zeros for ever.
type endless struct {
	head []byte
	n    int
}

func (e *endless) Read(b []byte) (int, error) {
	clear(b)
	if e.n < len(e.head) {
		copy(b, e.head[e.n:])
	}
	e.n += len(b)
	return len(b), nil
}

// allocated tells how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestCountsAreNotBelieved: a dozen bytes that announce millions of elements cost nothing, though the source may have
// them: it gives zeros for ever.
func TestCountsAreNotBelieved(t *testing.T) {
	huge := leb(0xffffffff)
	section := func(id int, content ...any) []byte { return cat(magic, id, leb(1<<20), cat(content...)) }
	inCode := func(content ...any) []byte {
		body := cat(content...)
		return cat(magic, 1, sized(vec(functype(nil, nil))), 3, sized(1, 0), 10, leb(1<<20), 1, leb(60_000), body)
	}
	bombs := map[string][]byte{
		"parameters": section(1, 1, 0x60, huge), "results": section(1, 1, 0x60, 0, huge), "the name of imports": section(2, 1, huge),
		"a maximum of pages": section(5, 1, 1, 0, huge), "entries": section(4, 1, 0x70, 0, huge),
		"bytes of data": section(11, 1, 1, huge), "a custom name": section(0, huge), "the data count": section(12, huge),
		"a body":           cat(magic, 1, sized(vec(functype(nil, nil))), 3, sized(1, 0), 10, leb(1<<20), 1, huge),
		"groups of locals": inCode(huge), "locals": inCode(1, huge, i32), "50 million locals": inCode(1, leb(50_000_000), i32),
		"labels": inCode(0, i32c(0), 0x0e, huge), "types of a select": inCode(0, 0x1c, huge),
	}
	for id := range 12 {
		if id != 0 && id != 8 {
			bombs[fmt.Sprintf("section %d", id)] = section(id, huge)
			bombs[fmt.Sprintf("section %d, no more than its size", id)] = section(id, leb(1<<20-4))
			bombs[fmt.Sprintf("section %d, no more than the limit", id)] = section(id, leb(1000))
		}
	}
	for name, head := range bombs {
		for where, l := range map[string]scan.Limits{"small": form(scan.Small()), "large": form(scan.Large())} {
			t.Run(name+"/"+where, func(t *testing.T) {
				var err error
				spent := allocated(func() { _, err = scan.Scan(&endless{head: head}, l) })
				if err == nil {
					t.Fatal("taken")
				}
				if spent > 128<<10 {
					t.Fatalf("%d bytes allocated for %d", spent, len(head))
				}
			})
		}
	}
}

// TestAScanHoldsAPieceOfTheModule: what is allocated for 8 MiB of honest content stays far below it.
func TestAScanHoldsAPieceOfTheModule(t *testing.T) {
	data := mod{data: slices(8, cat(1, sized(make([]byte, 1<<20-100))))}.bytes()
	custom := cat(magic, 0, sized(sized("x"), make([]byte, 8<<20-100)))
	code := mod{oneType: true}
	for range 16 {
		code.funcs = append(code.funcs, fn{params: []byte{i32}, body: repeat(170_000, cat(get(0), 0x1a))})
	}
	for name, module := range map[string][]byte{"data": data, "custom": custom, "code": code.bytes()} {
		var err error
		spent := allocated(func() { _, err = scan.Scan(bytes.NewReader(module), form(scan.Large())) })
		if err != nil || len(module) < 8_000_000 {
			t.Fatalf("%s: %d bytes, %v", name, len(module), err)
		}
		if spent > 128<<10 {
			t.Errorf("%s: %d bytes allocated for %d", name, spent, len(module))
		}
	}
}
