package plugins

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestAJournalBoundsLengthRateAndNumber(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(0, 0)
	j := newJournal(slog.New(slog.NewTextHandler(&out, nil)), Config{LinesPerSecond: 2, LogLines: 4}, func() time.Time { return now })
	w := &lineWriter{journal: j, pid: 7}
	for i := range 15 {
		fmt.Fprintf(w, "line %d\n", i) // a burst of ten
	}
	now = now.Add(time.Second)
	fmt.Fprintf(w, "a lo%s", strings.Repeat("o", 1<<20))
	fmt.Fprint(w, "ng one\r\n\nunfinished \x1b[2J\xff\tend")
	now = now.Add(time.Second)
	w.flush()
	got := j.last(10)
	want := []string{"line 9", "a lo" + strings.Repeat("o", maxLogLine-4), "", "unfinished \ufffd[2J\ufffd end"}
	if len(got) != len(want) {
		t.Fatalf("kept %d lines", len(got))
	}
	for i, l := range got {
		if l.Text != want[i] || l.PID != 7 || !utf8.ValidString(l.Text) {
			t.Errorf("line %d is %.60q", i, l.Text)
		}
	}
	if n := strings.Count(out.String(), "connector says\""); n != 13 {
		t.Errorf("%d lines were logged", n)
	}
	if !strings.Contains(out.String(), "cut=true") || strings.Count(out.String(), "dropped=5") != 1 || j.droppedEver() != 5 {
		t.Errorf("%d dropped; %.300s", j.droppedEver(), out.String())
	}
	if len(j.last(0)) != 0 || len(j.last(-1)) != 0 || len(j.last(2)) != 2 || j.last(2)[1] != got[3] {
		t.Error("the last lines are not the last")
	}
}

func TestDroppedLinesAreReportedAtTheEnd(t *testing.T) {
	var out bytes.Buffer
	j := newJournal(slog.New(slog.NewTextHandler(&out, nil)), Config{LinesPerSecond: 1, LogLines: 4}, func() time.Time { return time.Unix(0, 0) })
	w := &lineWriter{journal: j}
	fmt.Fprint(w, strings.Repeat("x\n", 100))
	w.flush()
	if !strings.Contains(out.String(), "dropped=95") {
		t.Errorf("log: %s", out.String())
	}
}
