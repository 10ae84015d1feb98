package linear_test

import (
	"bytes"
	"testing"

	"github.com/gatewright/gatewright/wasm/linear"
)

func TestAMemoryFromTheShelfShowsTheImage(t *testing.T) {
	for _, size := range sizes {
		budget, want := linear.NewBudget(int64(size+2*page)), pristine(size)
		i := linear.NewImage(want)
		var shelf linear.Shelf
		for round := range 5 {
			m, err := shelf.New(budget, size, size+2*page)
			if err != nil {
				t.Fatal(err)
			}
			if b := m.Reallocate(uint64(size)); size > 0 {
				b[size/2]++ // as the engine writes data segments
			}
			if !m.Adopt(i) || !bytes.Equal(bytesOf(m), want) {
				t.Fatalf("%d bytes, round %d: not the image", size, round)
			}
			b := m.Reallocate(uint64(size + page))
			if !bytes.Equal(b[size:], make([]byte, page)) {
				t.Fatalf("%d bytes, round %d: what is new is not zero", size, round)
			}
			for at := range b {
				b[at] = 0x77
			}
			m.Free()
			m.Free()
			if budget.Used() != int64(size) {
				t.Errorf("%d bytes, round %d: %d are counted", size, round, budget.Used())
			}
		}
		shelf.Close()
		i.Close()
		if budget.Used() != 0 {
			t.Errorf("%d bytes are counted when the shelf is closed", budget.Used())
		}
	}
}

func TestAShelfKeepsNoMemoryWithoutAnImage(t *testing.T) {
	budget := linear.NewBudget(page)
	var shelf linear.Shelf
	defer shelf.Close()
	for range 3 {
		m, err := shelf.New(budget, page, page)
		if err != nil {
			t.Fatal(err)
		}
		m.Reallocate(page)
		m.Free()
	}
	if budget.Used() != 0 {
		t.Errorf("%d bytes are counted", budget.Used())
	}
}

func TestAClosedShelfKeepsNothing(t *testing.T) {
	budget := linear.NewBudget(2 * page)
	i := linear.NewImage(pristine(2 * page))
	defer i.Close()
	var shelf linear.Shelf
	m, err := shelf.New(budget, 2*page, 2*page)
	if err != nil {
		t.Fatal(err)
	}
	m.Reallocate(2 * page)
	if !m.Adopt(i) {
		t.Fatal("the memory does not take the image")
	}
	shelf.Close()
	m.Free()
	if budget.Used() != 0 {
		t.Errorf("%d bytes are counted", budget.Used())
	}
}
