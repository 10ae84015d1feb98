//go:build linux && (amd64 || arm64)

package linear

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"
)

const large = 4 << 20

// imageOf makes a large image that is mapped.
func imageOf(t *testing.T) (*Image, []byte) {
	t.Helper()
	want := bytes.Repeat([]byte{1, 0, 2}, large)[:large]
	i := NewImage(want)
	t.Cleanup(i.Close)
	if i.mapped == nil {
		t.Skip("this system lets no image be mapped")
	}
	return i, want
}

// TestWrittenPagesAreDroppedWhereTheKernelDoesNotKnowThem is how kernels before 6.7 put memory back.
func TestWrittenPagesAreDroppedWhereTheKernelDoesNotKnowThem(t *testing.T) {
	i, want := imageOf(t)
	if i.mapped.pagemap != nil {
		_ = i.mapped.pagemap.Close()
		i.mapped.pagemap = nil
	}
	if i.Strategy() != Drop {
		t.Fatalf("strategy %d", i.Strategy())
	}
	m, err := New(nil, large, 2*large)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Free()
	b := m.Reallocate(large)
	if !m.Adopt(i) {
		t.Fatal("the memory does not take the image")
	}
	for range 3 {
		for at := 0; at < large; at += 5000 {
			b[at] = 0xee
		}
		if !m.Restore() || !bytes.Equal(b, want) {
			t.Fatal("not the image")
		}
	}
}

func TestAnImageCannotBeChanged(t *testing.T) {
	i, _ := imageOf(t)
	if _, err := unix.Pwrite(i.mapped.file, []byte{9}, 0); err == nil {
		t.Error("the file can be written")
	}
	if unix.Ftruncate(i.mapped.file, 0) == nil {
		t.Error("the file can be cut")
	}
}

// TestNothingLiesBehindAMemory: an engine that forgot a bound would fault.
func TestNothingLiesBehindAMemory(t *testing.T) {
	m, err := New(nil, 1<<16, large)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Free()
	m.Reallocate(1 << 16)
	// The kernel refuses to read for us what cannot be read.
	fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC)
	if err != nil {
		t.Skip(err)
	}
	defer func() { _ = unix.Close(fd) }()
	if _, err := unix.Write(fd, m.room[1<<16-1:1<<16]); err != nil {
		t.Errorf("the last byte of the memory: %v", err)
	}
	if _, err := unix.Write(fd, m.room[1<<16:1<<16+1]); err == nil {
		t.Error("the first byte behind it can be read")
	}
}
