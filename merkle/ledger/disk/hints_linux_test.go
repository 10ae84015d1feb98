package disk_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gatewright/gatewright/merkle/ledger/disk"
)

// cached is how many pages of a file the operating system has in its cache.
func cached(t *testing.T, name string) (n int) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out struct{ Cached, Dirty, Writeback, Evicted, RecentlyEvicted uint64 }
	if err := cachestat(f, &out); err != nil {
		t.Skipf("cannot see the cache (needs Linux 6.5): %v", err)
	}
	return int(out.Cached)
}

func TestForgetDropsWhatIsDurable(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	f, err := disk.OS{}.Open(name, os.O_RDWR|os.O_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const size = 8 << 20
	for at := int64(0); at < size; at += 16 << 10 {
		if _, err := f.WriteAt(make([]byte, 16<<10), at); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	before := cached(t, name)
	if before == 0 {
		t.Skip("the file system has no cache")
	}
	disk.Forget(f, 0, size/2)
	half := cached(t, name)
	if half == before {
		t.Skip("the file system does not follow the advice") // memory is its disk
	}
	if half != before/2 {
		t.Errorf("of %d pages %d are cached after half was forgotten", before, half)
	}
	disk.Forget(f, 0, 0)
	if n := cached(t, name); n != 0 {
		t.Errorf("%d pages are cached after all was forgotten", n)
	}
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); n != len(b) {
		t.Errorf("read %d: %v", n, err)
	}
}

func TestAFolderIsMadeApartOnce(t *testing.T) {
	parent := filepath.Join(t.TempDir(), "a")
	dir := filepath.Join(parent, "b")
	for range 2 {
		if err := disk.MakeApart(disk.OS{}, dir); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "kept"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if all, err := os.ReadDir(parent); err != nil || len(all) != 1 {
		t.Errorf("%v beside the folder, %v", all, err)
	}
	if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	d, err := os.Open(parent)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(d.Fd()), &fs); err != nil || fs.Type != unix.EXT4_SUPER_MAGIC {
		t.Skipf("not on ext4 (%v)", err)
	}
	if flags, err := unix.IoctlGetInt(int(d.Fd()), unix.FS_IOC_GETFLAGS); err != nil || flags&0x20000 == 0 {
		t.Errorf("flags %x: %v", flags, err)
	}
}

func TestAFolderThatCannotBeIsNotMadeApart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{filepath.Join(file, "b"), "\x00"} {
		if err := disk.MakeApart(disk.OS{}, dir); err == nil {
			t.Errorf("%q was made", dir)
		}
	}
}

func TestSyncOfAFileThatIsClosedSaysSo(t *testing.T) {
	f, err := disk.OS{}.Open(filepath.Join(t.TempDir(), "f"), os.O_RDWR|os.O_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Sync: %v", err)
	}
}
