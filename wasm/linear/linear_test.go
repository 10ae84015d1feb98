package linear_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/wasm/linear"
)

const page = 64 << 10

// open makes a memory of that size that adopted an image with some bytes in it, and returns both with the image's bytes.
func open(tb testing.TB, size int) (*linear.Memory, *linear.Image, []byte) {
	tb.Helper()
	want := pristine(size)
	i := linear.NewImage(want)
	m := memory(tb, nil, size, 4*size)
	if !m.Adopt(i) {
		tb.Fatal("the memory does not take the image")
	}
	tb.Cleanup(i.Close)
	return m, i, want
}

func pristine(size int) []byte {
	b := make([]byte, size)
	for at := range min(20<<10, size) {
		b[at] = byte(at * 7)
	}
	if size > 0 {
		b[size-1] = 9
	}
	return b
}

func memory(tb testing.TB, b *linear.Budget, size, most int) *linear.Memory {
	tb.Helper()
	m, err := linear.New(b, size, most)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(m.Free)
	m.Allocate(0, 0).Reallocate(uint64(size))
	return m
}

// bytesOf is the whole memory.
func bytesOf(m *linear.Memory) []byte { return m.Reallocate(uint64(m.Size())) }

// grower is how the engine grows a memory.
func grower(m *linear.Memory) func(uint32) (uint32, bool) {
	return func(pages uint32) (uint32, bool) {
		return 0, m.Reallocate(uint64(m.Size()+int(pages)*page)) != nil
	}
}

var sizes = []int{0, page, 2 * page, 4 * page, 16 * page, 64 * page}

func TestEachWrittenByteIsPutBack(t *testing.T) {
	for _, size := range sizes {
		m, i, want := open(t, size)
		r := rand.New(rand.NewPCG(1, uint64(size)))
		for round := range 60 {
			b := bytesOf(m)
			if !bytes.Equal(b, want) {
				t.Fatalf("%d bytes, strategy %d, round %d: not the image", size, i.Strategy(), round)
			}
			for range r.IntN(200) {
				if size > 0 {
					b[r.IntN(size)] = byte(r.Uint32())
				}
			}
			if round%20 == 19 {
				for at := range b {
					b[at] = 0xff
				}
			}
			if !m.Restore() {
				t.Fatalf("%d bytes: cannot be put back", size)
			}
		}
	}
}

func TestOneInstanceDoesNotSeeAnother(t *testing.T) {
	m, i, want := open(t, 16*page)
	other := memory(t, nil, i.Size(), i.Size())
	if !other.Adopt(i) {
		t.Fatal("a second memory does not take the image")
	}
	for at := range bytesOf(m) {
		bytesOf(m)[at] = 0xaa
	}
	if !bytes.Equal(bytesOf(other), want) {
		t.Error("what one instance wrote shows in another")
	}
	if !m.Restore() || !bytes.Equal(bytesOf(m), want) {
		t.Error("what one instance wrote reached the image")
	}
}

func TestGrowthIsUndone(t *testing.T) {
	for _, size := range sizes {
		budget := linear.NewBudget(int64(size + 3*page))
		want := pristine(size)
		i := linear.NewImage(want)
		m := memory(t, budget, size, size+4*page)
		if !m.Adopt(i) {
			t.Fatal("the memory does not take the image")
		}
		for range 3 {
			b := m.Reallocate(uint64(size + 2*page))
			if !bytes.Equal(b[size:], make([]byte, 2*page)) {
				t.Fatalf("%d bytes: grown memory is not zero", size)
			}
			for at := range b {
				b[at] = 0x55
			}
			if budget.Used() != int64(size+2*page) {
				t.Errorf("grown: %d bytes taken", budget.Used())
			}
			if !m.Shrink(size, grower(m)) || m.Size() != size || !m.Restore() || !bytes.Equal(bytesOf(m), want) {
				t.Fatalf("%d bytes: growth is not undone", size)
			}
			if budget.Used() != int64(size) {
				t.Errorf("shrunk: %d bytes taken", budget.Used())
			}
		}
		if m.Shrink(size, func(uint32) (uint32, bool) { return 0, false }) {
			t.Error("an engine that does not ask again is taken for one that shrank")
		}
		m.Free()
		i.Close()
		if budget.Used() != 0 {
			t.Errorf("freed: %d bytes taken", budget.Used())
		}
	}
}

func TestNothingIsPutBackWithoutAnImageOfItsSize(t *testing.T) {
	if memory(t, nil, page, page).Restore() {
		t.Error("without an image")
	}
	m, i, _ := open(t, 2*page)
	m.Reallocate(3 * page)
	if m.Restore() {
		t.Error("after growth")
	}
	if memory(t, nil, page, page).Adopt(i) {
		t.Error("an image of another size")
	}
}

func TestABudgetHoldsForAllTogether(t *testing.T) {
	budget := linear.NewBudget(5 * page)
	one := memory(t, budget, 2*page, 16*page)
	two := memory(t, budget, 2*page, 16*page)
	if _, err := linear.New(budget, 2*page, 16*page); !errors.Is(err, linear.ErrBudget) {
		t.Errorf("a memory over the budget: %v", err)
	}
	if err := panics(func() { one.Reallocate(4 * page) }); !errors.Is(err, linear.ErrBudget) {
		t.Errorf("growth over the budget: %v", err)
	}
	one.Reallocate(3 * page)
	two.Free()
	two.Free()
	one.Reallocate(5 * page)
	if budget.Used() != 5*page {
		t.Errorf("%d bytes taken", budget.Used())
	}
}

func panics(f func()) (err error) {
	defer func() { err, _ = recover().(error) }()
	f()
	return nil
}

func TestNothingStaysOpen(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("counts in /proc")
	}
	count := func() (files, maps int) {
		entries, _ := os.ReadDir("/proc/self/fd")
		text, _ := os.ReadFile("/proc/self/maps")
		return len(entries), strings.Count(string(text), "gatewright-filter")
	}
	before, _ := count()
	for range 20 {
		i := linear.NewImage(pristine(16 * page))
		m := memory(t, nil, 16*page, 32*page)
		m.Adopt(i)
		m.Free()
		i.Close()
	}
	if files, maps := count(); files > before || maps > 0 {
		t.Errorf("%d files before, %d now; %d mappings of images", before, files, maps)
	}
}

// TestTheSystemIsAskedHere: where the figures are made, large images are not copied.
func TestTheSystemIsAskedHere(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux can be asked which pages were written")
	}
	if _, i, _ := open(t, page); i.Strategy() != linear.Copy {
		t.Errorf("64 KiB: strategy %d", i.Strategy())
	}
	if _, i, _ := open(t, 16*page); i.Strategy() == linear.Copy {
		t.Skip("this system lets no image be mapped, or does not say which pages were written (Linux 6.7 does)")
	}
}

func BenchmarkRestore(b *testing.B) {
	for _, size := range sizes[1:] {
		for _, dirty := range []int{4, 32} {
			b.Run(fmt.Sprintf("%dKiB/%d", size>>10, dirty), func(b *testing.B) {
				m, _, _ := open(b, size)
				at := bytesOf(m)
				for b.Loop() {
					for n := range dirty {
						at[n*37*4096%size]++
					}
					m.Restore()
				}
			})
		}
	}
}
