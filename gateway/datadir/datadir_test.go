package datadir_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/datadir"
)

func open(t *testing.T, dir string, wrap []byte) *datadir.Dir {
	t.Helper()
	d, err := datadir.Open(dir, wrap, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func TestAFolderInUseIsRefused(t *testing.T) {
	dir := t.TempDir()
	first := open(t, dir, nil)
	if _, err := datadir.Open(dir, nil, rand.Reader); !errors.Is(err, datadir.ErrLocked) {
		t.Fatalf("second open: %v, want ErrLocked", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir, nil)
}

func TestANewerOrDamagedFolderIsRefused(t *testing.T) {
	for text, want := range map[string]error{"2\n": datadir.ErrNewer, "x": datadir.ErrVersion, "": datadir.ErrVersion, "0": datadir.ErrVersion, "-1": datadir.ErrVersion} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "VERSION"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := datadir.Open(dir, nil, rand.Reader); !errors.Is(err, want) {
			t.Errorf("VERSION %q: %v, want %v", text, err, want)
		}
	}
}

func TestALedgerWithoutVersionIsNotTakenForNew(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "ledger"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := datadir.Open(dir, nil, rand.Reader); !errors.Is(err, datadir.ErrVersion) {
		t.Fatalf("%v, want ErrVersion", err)
	}
}

func TestAFolderOfSomethingElseIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte("package main"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := datadir.Open(dir, nil, rand.Reader); !errors.Is(err, datadir.ErrForeign) {
		t.Fatalf("%v, want ErrForeign", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "keys")); err == nil {
		t.Error("a key folder was made in it")
	}
}

func TestAFirstStartThatWasCutShortIsDoneAgainWithItsKeys(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir, nil)
	key, err := d.Key("store", 32)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "ledger"), 0o700); err != nil {
		t.Fatal(err)
	}
	_ = d.Close()
	d = open(t, dir, nil)
	again, err := d.Key("store", 32)
	if err != nil || !bytes.Equal(key, again) || !d.Fresh() {
		t.Fatalf("key kept %v, fresh %v, %v", bytes.Equal(key, again), d.Fresh(), err)
	}
	if _, err := d.Key("another", 32); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.Ready(), d.Close()); err != nil {
		t.Fatal(err)
	}
	if d = open(t, dir, nil); d.Fresh() {
		t.Fatal("still taken for new")
	}
}

func TestAMissingKeyIsNotMadeAgain(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir, nil)
	if _, err := d.Key("store", 32); err != nil {
		t.Fatal(err)
	}
	if err := d.Ready(); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "keys", "store")); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, dir, nil).Key("store", 32); !errors.Is(err, datadir.ErrKey) {
		t.Fatalf("%v, want ErrKey", err)
	}
}

func TestKeysComeBackAndAreWrapped(t *testing.T) {
	dir, wrap := t.TempDir(), bytes.Repeat([]byte{7}, 32)
	d := open(t, dir, wrap)
	key, err := d.Key("store", 32)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.Ready(), d.Close()); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "keys", "store"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(text, []byte(" raw ")) {
		t.Fatal("the key file is not wrapped")
	}
	if info, err := os.Stat(filepath.Join(dir, "keys", "store")); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
	d = open(t, dir, wrap)
	again, err := d.Key("store", 32)
	if err != nil || !bytes.Equal(key, again) {
		t.Fatalf("the key changed (%v)", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	for name, other := range map[string][]byte{"another key": bytes.Repeat([]byte{8}, 32), "no key": nil} {
		d = open(t, dir, other)
		if _, err := d.Key("store", 32); !errors.Is(err, datadir.ErrKey) {
			t.Errorf("%s: %v, want ErrKey", name, err)
		}
		_ = d.Close()
	}
}

func TestAPlainKeyInAWrappedFolderIsRefused(t *testing.T) {
	dir := t.TempDir()
	plain := open(t, dir, nil)
	if _, err := plain.Key("store", 32); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(plain.Ready(), plain.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, dir, bytes.Repeat([]byte{7}, 32)).Key("store", 32); !errors.Is(err, datadir.ErrKey) {
		t.Fatalf("%v, want ErrKey", err)
	}
}

func TestWrapKeyText(t *testing.T) {
	for _, bad := range []string{"short", "zz", "00", "AAAA"} {
		if _, err := datadir.ReadWrapKey(bad); !errors.Is(err, datadir.ErrKey) {
			t.Errorf("%q: %v, want ErrKey", bad, err)
		}
	}
	if k, err := datadir.ReadWrapKey("  \n"); k != nil || err != nil {
		t.Errorf("empty: %v %v", k, err)
	}
}

// A killed gateway's lock may outlive it for a moment, in a child that it was about to start.
func TestALockThatIsGivenUpInAMomentIsWaitedFor(t *testing.T) {
	dir := t.TempDir()
	first, err := datadir.Open(dir, nil, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan error, 1)
	time.AfterFunc(50*time.Millisecond, func() { closed <- first.Close() })
	second, err := datadir.Open(dir, nil, rand.Reader)
	if err := errors.Join(err, <-closed); err != nil {
		t.Fatal(err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
}
