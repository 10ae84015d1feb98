package export

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// Opened is what lay sealed beside a record.
type Opened struct {
	State string // why there is nothing: "erased", "damaged"; "" when it was opened
	Args  []byte // the call's arguments, as they went on to the tool
	Ask   []byte // the question that policy answered, canonical JSON
}

// maxOpened bounds a line of opened.jsonl: what may be sealed, each byte escaped.
const maxOpened = 6*ledger.MaxSide + 256

// openedLine is a line of opened.jsonl. Arguments and question stand as texts, so that they keep their very bytes: the
// record commits to both.
type openedLine struct {
	Index uint64 `json:"index"`
	ID    string `json:"id"`
	State string `json:"state,omitempty"`
	Args  string `json:"arguments,omitempty"`
	Ask   string `json:"ask,omitempty"`
}

func (e *Export) opened(ctx context.Context, a *archive) error {
	if e.opt.Opener == nil {
		return nil
	}
	w, err := a.create(fileOpened)
	if err != nil {
		return err
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return e.each(ctx, func(en *wal.Entry, r *ledger.Record) error {
		if len(r.Side) == 0 {
			return nil
		}
		o, err := e.opt.Opener.Open(ctx, r)
		if err != nil {
			return fmt.Errorf("open what is sealed beside record %d: %w", en.Index, err)
		}
		line := openedLine{Index: en.Index, ID: r.ID, State: o.State, Args: string(o.Args), Ask: string(o.Ask)}
		if o.State == "" {
			if err := line.covers(r); err != nil {
				return fmt.Errorf("record %d: %w", en.Index, err)
			}
		}
		return enc.Encode(&line)
	})
}

// covers checks that the record commits to what was opened: Ask is the hash of the question, Request that of the salt in
// it and the arguments.
func (l *openedLine) covers(r *ledger.Record) error {
	if l.State != "" {
		if l.Args != "" || l.Ask != "" {
			return fmt.Errorf("%w: opened although %q", ErrExport, l.State)
		}
		return nil
	}
	if merkle.Hash(sha256.Sum256([]byte(l.Ask))) != r.Ask {
		return fmt.Errorf("%w: the opened question is not the one the record commits to", ErrExport)
	}
	if r.Request.IsZero() && l.Args == "" {
		return nil
	}
	if err := canon.Check([]byte(l.Ask), canon.DefaultLimits()); err != nil {
		return fmt.Errorf("%w: the opened question: %w", ErrExport, err)
	}
	text, ok := canon.Get([]byte(l.Ask), "salt")
	if !ok {
		return fmt.Errorf("%w: the opened question has no salt", ErrExport)
	}
	var salt string
	if err := json.Unmarshal(text, &salt); err != nil {
		return fmt.Errorf("%w: the salt is no text", ErrExport)
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(salt)
	if err != nil || merkle.Hash(sha256.Sum256(append(raw, l.Args...))) != r.Request {
		return fmt.Errorf("%w: the opened arguments are not those the record commits to", ErrExport)
	}
	return nil
}

// openedReader walks opened.jsonl beside the records.
type openedReader struct {
	next func() ([]byte, bool, error)
	line openedLine
	more bool
}

func newOpened(r io.Reader) (*openedReader, error) {
	s := lines(r, maxOpened)
	o := &openedReader{next: func() ([]byte, bool, error) {
		if s.Scan() {
			return s.Bytes(), true, nil
		}
		return nil, false, s.Err()
	}}
	return o, o.advance()
}

func (o *openedReader) advance() error {
	line, more, err := o.next()
	o.more = more
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrExport, fileOpened, err)
	}
	if !more {
		return nil
	}
	lim := canon.Limits{Bytes: maxOpened, Depth: 1, Values: 16}
	if err := canon.Check(line, lim); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrExport, fileOpened, err)
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	o.line = openedLine{}
	if err := d.Decode(&o.line); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrExport, fileOpened, err)
	}
	return nil
}

// check holds a line to its record, when there is one about it.
func (o *openedReader) check(index uint64, r *ledger.Record) (about bool, err error) {
	if o == nil || !o.more || o.line.Index != index {
		return false, nil
	}
	if o.line.ID != r.ID {
		return false, fmt.Errorf("%w: %s names record %d %q", ErrExport, fileOpened, index, o.line.ID)
	}
	if err := o.line.covers(r); err != nil {
		return false, err
	}
	return o.line.State == "", o.advance()
}

// end refuses lines about records that are not there.
func (o *openedReader) end() error {
	if o != nil && o.more {
		return fmt.Errorf("%w: %s speaks of record %d, which is not in the export", ErrExport, fileOpened, o.line.Index)
	}
	return nil
}
