package disk_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/gatewright/gatewright/merkle/ledger/disk"
	"github.com/gatewright/gatewright/merkle/ledger/disk/disktest"
)

// What is appended stands in the file byte for byte, followed by zeros, wherever it began and however it was cut: through
// the cache, past the operating system's, and past one that refuses every write that is not aligned.
func TestAppendedBytesStandInTheFile(t *testing.T) {
	const size = 1 << 16
	for name, on := range map[string]disk.FS{"operating system": disk.OS{}, "blocks": disktest.New()} {
		for _, direct := range []bool{false, true} {
			for seed := range uint64(20) {
				r := rand.New(rand.NewPCG(seed, 1))
				want := make([]byte, size)
				start := int(r.Int64N(9000))
				if seed%3 == 0 {
					start = int(seed) / 3 * 512
				}
				for i := range start {
					want[i] = byte(r.Uint32()) | 1
				}
				path := filepath.Join(t.TempDir(), "f")
				f, err := on.Open(path, os.O_RDWR|os.O_CREATE)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := f.WriteAt(want, 0); err != nil {
					t.Fatal(err)
				}
				var a disk.Appender
				if err := a.Begin(f, int64(start), size, direct); err != nil {
					t.Fatal(err)
				}
				for at := start; ; {
					n := int(r.Int64N(3000))
					if at+n > size {
						break
					}
					if !a.At(f, int64(at)) || a.At(nil, int64(at)) {
						t.Fatal("where is it?")
					}
					for i := range n {
						want[at+i] = byte(r.Uint32()) | 1
					}
					if err := a.Append(want[at:][:n]); err != nil {
						t.Fatal(name, err)
					}
					at += n
					if seed%4 == 0 { // as a reader sees it meanwhile
						if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
							t.Fatalf("%s, direct %v, seed %d, at %d: the file differs (%v)", name, direct, seed, at, err)
						}
					}
				}
				if err := errors.Join(f.Sync(), f.Close()); err != nil {
					t.Fatal(err)
				}
				if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
					t.Fatalf("%s, direct %v, seed %d: the file differs (%v)", name, direct, seed, err)
				}
			}
		}
	}
}

// A file whose size is not of whole blocks would grow by the last one: it is written through the cache.
func TestAFileIsNotMadeLarger(t *testing.T) {
	f, err := disktest.New().Open(filepath.Join(t.TempDir(), "f"), os.O_RDWR|os.O_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(make([]byte, 1000), 0); err != nil {
		t.Fatal(err)
	}
	var a disk.Appender
	if err := errors.Join(a.Begin(f, 0, 1000, true), a.Append(make([]byte, 999))); err != nil {
		t.Fatal(err)
	}
	if n, err := f.Size(); err != nil || n != 1000 {
		t.Error(n, err)
	}
}

// promising is a file that says it can be written past the cache, and cannot.
type promising struct {
	disk.File
	direct bool
}

func (*promising) Alignment() int { return 512 }

func (p *promising) Direct(on bool) error {
	p.direct = on
	return nil
}

func (p *promising) ReadAt(b []byte, off int64) (int, error) {
	if p.direct {
		return 0, syscall.EINVAL
	}
	return p.File.ReadAt(b, off)
}

func (p *promising) WriteAt(b []byte, off int64) (int, error) {
	if p.direct {
		return 0, syscall.EINVAL
	}
	return p.File.WriteAt(b, off)
}

func TestAFileThatPromisesTooMuchIsWrittenThroughTheCache(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	f, err := disk.OS{}.Open(path, os.O_RDWR|os.O_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(make([]byte, 4096), 0); err != nil {
		t.Fatal(err)
	}
	var a disk.Appender
	if err := errors.Join(a.Begin(&promising{File: f}, 700, 4096, true), a.Append([]byte("it stands")), f.Close()); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got[700:709]) != "it stands" || len(got) != 4096 {
		t.Fatal(err, got)
	}
}

// Readers go through the operating system's cache while the appender goes past it: what was appended before a read began
// is what the read finds, with pages of it read before, in part, and ahead of time.
func TestReadersThroughTheCacheSeeWhatWasAppended(t *testing.T) {
	const size = 8 << 20
	path := filepath.Join(t.TempDir(), "f")
	f, err := disk.OS{}.Open(path, os.O_RDWR|os.O_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	if _, err := f.WriteAt(make([]byte, size), 0); err != nil {
		t.Fatal(err)
	}
	at := func(off int) byte { return byte(off*7+off>>9) | 1 }
	var end atomic.Int64
	var readers sync.WaitGroup
	for seed := range uint64(2) {
		readers.Go(func() {
			if err := readBehind(path, &end, size, at, rand.New(rand.NewPCG(seed, 2))); err != nil {
				t.Error(err)
				end.Store(size) // the others need not go on
			}
		})
	}
	var a disk.Appender
	if err := a.Begin(f, 0, size, true); err != nil {
		t.Error(err)
	}
	r := rand.New(rand.NewPCG(3, 3))
	for off := 0; off < size && !t.Failed(); {
		b := make([]byte, min(1+r.IntN(20_000), size-off))
		for i := range b {
			b[i] = at(off + i)
		}
		if err := a.Append(b); err != nil {
			t.Error(err)
		}
		off += len(b)
		end.Store(int64(off))
	}
	end.Store(size)
	readers.Wait()
}

// readBehind reads pieces around the end of what was appended until all of it is.
func readBehind(path string, end *atomic.Int64, size int64, at func(int) byte, r *rand.Rand) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	b := make([]byte, 3*4096)
	for {
		sure := end.Load()
		from := max(0, sure-r.Int64N(2*4096))
		n, err := f.ReadAt(b, from)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		for i, c := range b[:n] {
			off := from + int64(i)
			if want := at(int(off)); c != want && (off < sure || c != 0) {
				return fmt.Errorf("%d bytes were appended, and at %d stands %#x, not %#x", sure, off, c, want)
			}
		}
		if sure == size {
			return nil
		}
	}
}

// A file that is written at once holds just that, whatever of it went past the cache, and where none can.
func TestWhatIsWrittenOnceStandsInTheFile(t *testing.T) {
	for name, on := range map[string]disk.FS{"operating system": disk.OS{}, "blocks": disktest.New()} {
		for _, cannot := range []bool{false, true} {
			for _, size := range []int{0, 1, 4096, 32 << 10, 8*4096 + 1, 64 << 10, 300_001} {
				for _, skip := range []int{0, 1} { // memory that begins at no page
					want := make([]byte, skip+size, max(skip+size, 64<<10))[skip:]
					for i := range want {
						want[i] = byte(i*7) | 1
					}
					path := filepath.Join(t.TempDir(), "f")
					f, err := on.Open(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
					if err != nil {
						t.Fatal(err)
					}
					if cannot {
						f = &promising{File: f}
					}
					if err := errors.Join(disk.WriteOnce(f, want), f.Close()); err != nil {
						t.Fatal(name, size, skip, err)
					}
					if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
						t.Fatalf("%s, %d bytes, %d, cannot %v: the file differs (%v)", name, size, skip, cannot, err)
					}
				}
			}
		}
	}
}
