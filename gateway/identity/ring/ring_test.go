package ring_test

import (
	"context"
	"crypto/rand"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/identity/ring"
	"github.com/gatewright/gatewright/store"
	"github.com/gatewright/gatewright/store/badger"
)

type world struct {
	*testing.T
	store *badger.Store
	dir   string
	at    time.Time
}

func (w *world) open() *ring.Ring {
	w.Helper()
	s, err := badger.Open(badger.Options{Dir: w.dir, Key: make([]byte, 32)})
	if err != nil {
		w.Fatal(err)
	}
	w.store = s
	return ring.New(s, time.Hour, func() time.Time { return w.at }, rand.Reader)
}

func newWorld(t *testing.T) (*world, *ring.Ring) {
	w := &world{T: t, dir: filepath.Join(t.TempDir(), "store"), at: time.Unix(1_800_000_000, 0)}
	r := w.open()
	t.Cleanup(func() { _ = w.store.Close() })
	return w, r
}

func (w *world) seal(r *ring.Ring, text string) string {
	w.Helper()
	sealed, err := r.Seal(w.Context(), "acme", "cursor", []byte("ada"), []byte(text))
	if err != nil {
		w.Fatal(err)
	}
	return sealed
}

func opens(r *ring.Ring, sealed string) bool {
	_, ok := r.Open(context.Background(), "acme", "cursor", []byte("ada"), sealed)
	if ok && !r.Opens(context.Background(), "acme", sealed) {
		panic("it opens, and its key does not")
	}
	return ok
}

func TestASealedTextIsGoodForWhatItWasBoundToAlone(t *testing.T) {
	w, r := newWorld(t)
	sealed := w.seal(r, "place")
	if plain, ok := r.Open(t.Context(), "acme", "cursor", []byte("ada"), sealed); !ok || string(plain) != "place" {
		t.Fatalf("%q %v", plain, ok)
	}
	for name, ok := range map[string]bool{
		"another tenant":  second(r.Open(t.Context(), "beta", "cursor", []byte("ada"), sealed)),
		"another purpose": second(r.Open(t.Context(), "acme", "session", []byte("ada"), sealed)),
		"another caller":  second(r.Open(t.Context(), "acme", "cursor", []byte("bob"), sealed)),
		"nothing":         opens(r, ""),
		"short":           opens(r, "AAAAAQ"),
		"a line end":      opens(r, sealed[:8]+"\n"+sealed[8:]),
		"padding":         opens(r, sealed+"=="),
	} {
		if ok {
			t.Errorf("%s: opened", name)
		}
	}
	for i := range sealed {
		bad := []byte(sealed)
		if bad[i] = 'A'; sealed[i] == 'A' {
			bad[i] = 'B'
		}
		if opens(r, string(bad)) {
			t.Fatalf("character %d changed, and opened", i)
		}
	}
}

func second(_ []byte, ok bool) bool { return ok }

func TestARotationKeepsTheKeyBeforeUntilItsLifeEnds(t *testing.T) {
	w, r := newWorld(t)
	first := w.seal(r, "1")
	keys, err := r.Rotate(t.Context(), "acme", false)
	if err != nil || len(keys) != 2 || !keys[0].Ends.IsZero() || !keys[1].Ends.Equal(w.at.Add(time.Hour)) {
		t.Fatalf("%+v %v", keys, err)
	}
	again := w.seal(r, "2")
	if !opens(r, first) || !opens(r, again) || first[:6] == again[:6] {
		t.Fatal("both keys are live, and the new one seals")
	}
	if _, err := r.Rotate(t.Context(), "acme", false); !errors.Is(err, ring.ErrTwo) {
		t.Fatalf("a third key: %v", err)
	}
	if !opens(r, first) {
		t.Fatal("a refused rotation ended a key")
	}
	w.at = w.at.Add(time.Hour - time.Second)
	if !opens(r, first) {
		t.Fatal("ended early")
	}
	w.at = w.at.Add(time.Second)
	if opens(r, first) || !opens(r, again) {
		t.Fatal("the old key opens after its life, or the new one does not")
	}
	if keys, err := r.Rotate(t.Context(), "acme", false); err != nil || len(keys) != 2 {
		t.Fatalf("%+v %v", keys, err)
	}
}

func TestARotationAtOnceEndsAllThatWasSealed(t *testing.T) {
	w, r := newWorld(t)
	first := w.seal(r, "1")
	if _, err := r.Rotate(t.Context(), "acme", false); err != nil {
		t.Fatal(err)
	}
	other := w.seal(r, "2")
	keys, err := r.Rotate(t.Context(), "acme", true)
	if err != nil || len(keys) != 1 || opens(r, first) || opens(r, other) {
		t.Fatalf("%+v %v", keys, err)
	}
}

func TestKeysOutliveARestartAndAreTheTenantsOwn(t *testing.T) {
	w, r := newWorld(t)
	first := w.seal(r, "1")
	if _, err := r.Rotate(t.Context(), "acme", false); err != nil {
		t.Fatal(err)
	}
	again := w.seal(r, "2")
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	r = w.open()
	if !opens(r, first) || !opens(r, again) {
		t.Fatal("a restart lost a key")
	}
	keys, err := r.Keys(t.Context(), "beta")
	if err != nil || len(keys) != 1 {
		t.Fatalf("another tenant has %+v %v", keys, err)
	}
}

// failing is a store whose commits fail after they were made, or before.
type failing struct {
	store.Store
	fail bool
}

func (f *failing) Update(ctx context.Context, tenant string, fn func(store.Txn) error) error {
	if err := f.Store.Update(ctx, tenant, fn); err != nil || !f.fail {
		return err
	}
	return errors.New("the answer was lost")
}

func TestAKeyWhoseCommitIsUncertainIsReadBack(t *testing.T) {
	w, _ := newWorld(t)
	f := &failing{Store: w.store, fail: true}
	r := ring.New(f, time.Hour, func() time.Time { return w.at }, rand.Reader)
	if _, err := r.Seal(t.Context(), "acme", "cursor", nil, nil); err == nil {
		t.Fatal("sealed under a key that may not be kept")
	}
	f.fail = false
	sealed := w.seal(r, "1")
	f.fail = true
	if _, err := r.Rotate(t.Context(), "acme", false); err == nil {
		t.Fatal("rotated without a commit")
	}
	f.fail = false
	keys, err := r.Keys(t.Context(), "acme")
	if err != nil || len(keys) != 2 || !opens(r, sealed) {
		t.Fatalf("after reading back: %+v %v", keys, err)
	}
}

func TestManyCallersMakeOneFirstKey(t *testing.T) {
	w, r := newWorld(t)
	var all sync.WaitGroup
	sealed := make([]string, 50)
	for i := range sealed {
		all.Go(func() { sealed[i] = w.seal(r, "x") })
	}
	all.Wait()
	for _, s := range sealed {
		if !opens(r, s) {
			t.Fatal("sealed under a key that was lost")
		}
	}
}

func TestAKnownTextLivesAsLongAsItsKey(t *testing.T) {
	w, r := newWorld(t)
	first := w.seal(r, "place")
	for name, text := range map[string]string{"nothing": "", "short": first[:7], "no base64": "!!!!!!!!" + first[8:], "no such key": "AAAACQAA" + first[8:]} {
		if r.Opens(t.Context(), "acme", text) {
			t.Errorf("%s lives", name)
		}
	}
	rotate := func(atOnce bool) {
		if _, err := r.Rotate(t.Context(), "acme", atOnce); err != nil {
			t.Fatal(err)
		}
	}
	rotate(false)
	second := w.seal(r, "place")
	if !r.Opens(t.Context(), "acme", first) || !r.Opens(t.Context(), "acme", second) {
		t.Error("the key before ends later")
	}
	if w.at = w.at.Add(time.Hour); r.Opens(t.Context(), "acme", first) || !r.Opens(t.Context(), "acme", second) {
		t.Error("the key before has ended, and the other one has not")
	}
	if rotate(true); r.Opens(t.Context(), "acme", second) {
		t.Error("the key was ended at once")
	}
}
