package sinks

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"

	"github.com/gatewright/gatewright/merkle/ledger/disk"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// position is what a cursor's file holds: what was delivered in full.
type position struct {
	cursor wal.Cursor
	passed uint64 // records of the log before it
}

// cursorForm is a cursor's file without its end: version, cursor, records before it. What follows is an HMAC-SHA256 over
// the sink's name, a line end and that text: whoever can write the folder must not be able to set a sink forward, past
// what its receiver then never hears of, nor to give it another's cursor.
const cursorForm = "gatewright/sink/v2 %s %d"

// unsigned begins the files of the version before, which held a checksum that anybody can compute.
const unsigned = "gatewright/sink/v1 "

// minKey is the shortest key for cursors in bytes: that of SHA-256's output.
const minKey = sha256.Size

var errCursorFile = errors.New("its cursor's file is damaged, or was not written with this data folder's keys")

func (p position) text(key []byte, sink string) []byte {
	b := fmt.Appendf(nil, cursorForm, p.cursor, p.passed)
	h := hmac.New(sha256.New, key)
	h.Write([]byte(sink + "\n"))
	h.Write(b)
	return fmt.Appendf(b, " %x\n", h.Sum(nil))
}

// parsePosition believes nothing that the key did not authenticate for that sink.
func parsePosition(b, key []byte, sink string) (p position, err error) {
	var cursor string
	if _, err := fmt.Sscanf(string(b), cursorForm, &cursor, &p.passed); err != nil {
		return p, errCursorFile
	}
	if p.cursor, err = wal.ParseCursor(cursor); err != nil || !hmac.Equal(p.text(key, sink), b) {
		return position{}, errCursorFile
	}
	return p, nil
}

// load reads the cursor, and stores the first one: where a sink begins is decided once. One of the version before is not
// believed: everything is delivered again.
func (s *sink) load() error {
	b, err := disk.ReadSmall(s.o.FS, cursorName(s.o.Dir, s.cfg.Name), 1<<10)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if s.cfg.FromTip {
			s.done.cursor, s.done.passed = s.o.Source.Tip()
			s.o.Log.Warn("a sink without a cursor begins at the end of the ledger: what lies before is not delivered", "sink", s.cfg.Name, "records", s.done.passed)
		}
		s.fresh = true
		return s.save()
	case err != nil:
		return fmt.Errorf("read cursor: %w", err)
	case bytes.HasPrefix(b, []byte(unsigned)):
		s.o.Log.Warn("a sink's cursor is of an earlier version and not authenticated: the ledger is delivered again from its beginning", "sink", s.cfg.Name)
		s.fresh = true
		return s.save()
	}
	p, err := parsePosition(b, s.o.Key, s.cfg.Name)
	if err != nil {
		return err
	}
	s.done, s.kept = p, p
	return nil
}

// save stores the cursor when it moved.
func (s *sink) save() error {
	s.mu.Lock()
	p, same := s.done, s.done == s.kept && !s.fresh
	s.mu.Unlock()
	if same {
		return nil
	}
	if err := disk.ReplaceFile(s.o.FS, cursorName(s.o.Dir, s.cfg.Name), p.text(s.o.Key, s.cfg.Name)); err != nil {
		err = fmt.Errorf("store cursor: %w", err)
		s.failed(err)
		s.storing.bad(s, err)
		return err
	}
	s.storing.good(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept, s.fresh = p, false
	return nil
}

// reached notes what was delivered, and tells when the sink is at the ledger's end and the count shows that records were
// left out on the way there.
func (s *sink) reached(next, tip wal.Cursor, total uint64) {
	s.mu.Lock()
	s.done.cursor, s.done.passed, s.behind = next, s.done.passed+s.behind, 0
	var missed uint64
	if tip == next {
		missed = total - min(total, s.done.passed)
		s.done.passed = total
		if missed > 0 && !s.gap {
			s.st.Lost++
		}
		s.gap = false
	}
	s.mu.Unlock()
	if missed > 0 {
		s.o.Log.Error("a sink came to the ledger's end without all of its records: its receiver never hears of some", "sink", s.cfg.Name, "records", missed)
	}
}
