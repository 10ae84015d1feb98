package sinks_test

import (
	"fmt"
	"hash/crc32"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/sinks"
)

func (w *world) cursorFile(name string) string { return filepath.Join(w.dir, "sinks", name+".cursor") }

// stopped delivers a few records, ends the sinks and returns their cursor's file.
func (w *world) stopped(c sinks.Config) []byte {
	w.t.Helper()
	w.fill("acme", 20)
	w.start(c)
	w.caughtUp()
	if err := w.set.Close(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.set = nil
	b, err := os.ReadFile(w.cursorFile(c.Name))
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

func (w *world) forge(name string, text []byte) {
	w.t.Helper()
	if err := os.WriteFile(w.cursorFile(name), text, 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// taking is a receiver that takes everything.
func taking(t *testing.T) string {
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(s.Close)
	return s.URL
}

// Whoever can write the folder, and holds no key, sets a cursor forward: the receiver must not miss what lies between.
func TestACursorThatIsSetForwardWithoutTheKeyIsNotBelieved(t *testing.T) {
	w := newWorld(t)
	h, s := newHook(t)
	c := config(sinks.Webhook, s.URL)
	early := w.stopped(c)
	between := w.fill("acme", 20)
	tip, total := w.log.Tip()

	// By the form of the version before, with the checksum that anybody can compute: all is delivered again.
	old := fmt.Sprintf("gatewright/sink/v1 %s %d", tip, total)
	w.forge("out", fmt.Appendf(nil, "%s %08x\n", old, crc32.Checksum([]byte(old), crc32.MakeTable(crc32.Castagnoli))))
	w.start(c)
	h.await(t, between)
	w.caughtUp()
	if !strings.Contains(w.out.String(), "earlier version") {
		t.Error(w.out.String())
	}
	if err := w.set.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.set = nil

	// By today's form, with the end of another cursor's file, and with another sink's file: refused.
	fields := strings.Fields(string(early))
	other := c
	other.Name, other.Type, other.URL, other.Secret = "other", sinks.OTLP, taking(t), nil
	for name, text := range map[string]string{"mac of another place": fmt.Sprintf("%s %s %d %s\n", fields[0], tip, total, fields[len(fields)-1]), "another sink's": string(w.stopped(other))} {
		w.forge("out", []byte(text))
		if set, err := sinks.Open(w.options(), []sinks.Config{c}); err == nil {
			_ = set.Close(t.Context())
			t.Error(name, "is taken")
		}
	}
	o := w.options()
	o.Key = []byte("another gateway's key, of 32 bytes")
	w.forge("out", early)
	if set, err := sinks.Open(o, []sinks.Config{c}); err == nil {
		_ = set.Close(t.Context())
		t.Error("a cursor under another key is taken")
	}
	o.Key = nil
	if set, err := sinks.Open(o, []sinks.Config{c}); err == nil {
		_ = set.Close(t.Context())
		t.Error("it opens without a key")
	}
}

// The count of what was passed shows that records were left out, and how many.
func TestAJumpIsTold(t *testing.T) {
	w := newWorld(t)
	_, s := newHook(t)
	w.fill("acme", 20)
	o := w.options()
	o.Source = &jump{Source: w.log, by: 7}
	set, err := sinks.Open(o, []sinks.Config{config(sinks.Webhook, s.URL)})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return strings.Contains(w.out.String(), "records=7") }, w.out.String())
	if st := set.States()[0]; st.Lost != 1 {
		t.Errorf("%+v", st)
	}
	if err := set.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// A sink that begins at the end because its cursor is gone says what it leaves out.
func TestABeginningAtTheEndIsTold(t *testing.T) {
	w := newWorld(t)
	_, s := newHook(t)
	c := config(sinks.Webhook, s.URL)
	c.FromTip = true
	w.fill("acme", 20)
	w.start(c)
	if said := w.out.String(); !strings.Contains(said, "begins at the end") || !strings.Contains(said, "records=20") {
		t.Error(said)
	}
}

// Failures are logged when they begin, each hour while they last, and when they are over; not with each attempt.
func TestAFailingSinkIsLoggedOnceAnHourAndWhenItIsBack(t *testing.T) {
	w := newWorld(t)
	h, s := newHook(t)
	h.mood.Store(1)
	var ahead atomic.Int64
	o := w.options()
	o.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	ids := w.fill("acme", 5)
	set, err := sinks.Open(o, []sinks.Config{config(sinks.Webhook, s.URL)})
	if err != nil {
		t.Fatal(err)
	}
	w.set = set
	said := func(what string, times int) {
		t.Helper()
		eventually(t, func() bool { return strings.Count(w.out.String(), what) >= times }, w.out.String())
		if got := strings.Count(w.out.String(), what); got != times {
			t.Fatal(got, "times:", w.out.String())
		}
	}
	failures := func(n uint64) { t.Helper(); eventually(t, func() bool { return w.state().Failed >= n }, "failures") }
	failures(10)
	said("cannot=deliver", 1)
	ahead.Store(int64(61 * time.Minute))
	failures(20)
	said("cannot=deliver", 2)
	ahead.Store(0) // receivers refuse what is signed an hour ahead
	h.mood.Store(0)
	h.await(t, ids)
	said("can=deliver", 1)
	if !strings.Contains(w.out.String(), "answered 500") {
		t.Error(w.out.String())
	}
}

// A receiver that answers 2xx has the batch, whatever it says besides.
func TestOTLPAnAnswerThatIsNoProtobufIsDelivery(t *testing.T) {
	w := newWorld(t)
	var asked atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = rw.Write([]byte("{}"))
	}))
	defer s.Close()
	w.fill("acme", 10)
	w.start(config(sinks.OTLP, s.URL))
	w.caughtUp()
	if st := w.state(); st.Sent != 10 || st.Failed != 0 || st.Unread == 0 || asked.Load() != 1 || !strings.Contains(w.out.String(), `cannot="read what its receiver answers"`) {
		t.Fatalf("asked %d times, %+v\n%s", asked.Load(), st, w.out.String())
	}
}
