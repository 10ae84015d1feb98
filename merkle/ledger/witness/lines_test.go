package witness_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/merkle/ledger"
)

// copied is a checkpoint of size n that anybody can make who has seen one: the log's own signature line, again and again.
func (h *history) copied(n uint64, lines int) string {
	note := h.note(n)
	_, line, _ := bytes.Cut(note, []byte("\n\n"))
	return string(note) + strings.Repeat(string(line), lines-1)
}

// A stranger repeats the log's public signature: the witness keeps one line, its note stays readable, and it goes on after
// a start.
func TestARepeatedSignatureIsKeptOnce(t *testing.T) {
	w, h := newWorld(t, nil), newHistory(t, 9)
	now := noon
	w.now = func() time.Time { return now }
	w.open()
	w.must(h, 0, 5)
	now = now.Add(time.Second) // the same second would be answered from memory
	if status, _, answer := w.post("old 5\n\n" + h.copied(5, 60)); status != http.StatusOK {
		t.Fatal(status, answer)
	}
	_, note := w.monitor(origin)
	if got := strings.Count(note, "\u2014 "+logKeys(t, "log")[0].Name); got != 1 {
		t.Error("the log's line is there", got, "times")
	}
	if _, err := client(t, serve(t, w), "w.example/one").Latest(t.Context(), origin); err != nil {
		t.Error(err)
	}
	w.open()
	if st := w.Status()[0]; st.Err != nil || st.Size != 5 {
		t.Errorf("after a start: %+v", st)
	}
	w.must(h, 5, 9)
}

func TestTooManySignatureLinesAreRefusedUnread(t *testing.T) {
	w, h := newWorld(t, nil), newHistory(t, 9)
	w.must(h, 0, 5)
	for lines, want := range map[int]int{64: http.StatusOK, 65: http.StatusBadRequest, 560: http.StatusBadRequest} {
		if status, _, answer := w.post("old 5\n\n" + h.copied(5, lines)); status != want {
			t.Errorf("%d lines: %d %q, want %d", lines, status, answer, want)
		}
	}
}

// A checkpoint that fits the bound only without the witness's own lines is refused before anything is kept: nobody could
// read what the witness would serve, itself included.
func TestANoteThatItsReadersRefuseIsNeverWritten(t *testing.T) {
	w, h := newWorld(t, nil), newHistory(t, 9)
	w.must(h, 0, 5)
	kept := w.files()
	long := h.sign(append(h.checkpoint(7).Body(), strings.Repeat("x", 95<<10)+"\n"...))
	if _, err := ledger.ReadCheckpoint(long); err != nil {
		t.Fatal(err)
	}
	head, _, _ := strings.Cut(h.body(5, 7), "\n\n")
	if status, _, answer := w.post(head + "\n\n" + string(long)); status != http.StatusBadRequest {
		t.Fatal(status, answer)
	}
	if now := w.files(); now != kept {
		t.Error("the refusal changed the state")
	}
	w.open()
	w.must(h, 5, 9)
}
