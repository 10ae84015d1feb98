package witness

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"time"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/disk"
)

// state is the newest checkpoint that was cosigned for a log. The zero state is that of a log never seen.
type state struct {
	ledger.Checkpoint
	body  []byte
	note  []byte    // with the signatures of the log and our own
	lines []byte    // our own
	at    time.Time // of our cosignatures
}

// stateForm is the first line of a state file: version, and a CRC-32C of the note that is the rest.
const stateForm = "gatewright/witness-state/v1 %08x\n"

// maxState bounds a state file in bytes.
const maxState = 2 * maxRequest

// repeats tells whether the same text was cosigned in this very second: the answer would be the same again.
func (s *state) repeats(body []byte, now time.Time) bool {
	return s.note != nil && s.at.Unix() == now.Unix() && bytes.Equal(s.body, body)
}

// cosign makes the state in which a submission is the newest checkpoint. Until it is durable nobody may see it.
func cosign(sub *submission, signed []byte, by []Cosigner, now time.Time) (state, error) {
	next := state{Checkpoint: sub.Checkpoint, body: sub.body, at: now}
	for _, c := range by {
		sig, err := c.SignNote(sub.body, now)
		if err != nil {
			return state{}, fmt.Errorf("cosign: %w", err)
		}
		next.lines = ledger.AppendSignature(next.lines, c.KeyName(), c.KeyHash(), sig)
	}
	next.note = append(append(bytes.Clone(sub.body), '\n'), signed...)
	next.note = append(next.note, next.lines...)
	return next, nil
}

// file is the content of the state file.
func (s *state) file() []byte {
	return append(fmt.Appendf(nil, stateForm, crc32.Checksum(s.note, castagnoli)), s.note...)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// readState reads a state file. A missing one is a log that was never seen; one that is damaged, is of another log or
// version, or that none of our keys cosigned is ErrState.
func readState(on disk.FS, name, origin string, by []Cosigner) (state, error) {
	b, err := disk.ReadSmall(on, name, maxState)
	if errors.Is(err, fs.ErrNotExist) {
		return state{}, nil
	}
	if err != nil {
		return state{}, fmt.Errorf("%w: %w", ErrState, err)
	}
	head, note, ok := bytes.Cut(b, []byte("\n"))
	if !ok || string(head)+"\n" != fmt.Sprintf(stateForm, crc32.Checksum(note, castagnoli)) {
		return state{}, fmt.Errorf("%w: %s is damaged, or of another version", ErrState, name)
	}
	s, err := openState(note, by)
	if err != nil {
		return state{}, fmt.Errorf("%w: %s: %w", ErrState, name, err)
	}
	if s.Origin != origin {
		return state{}, fmt.Errorf("%w: %s is of log %q", ErrState, name, s.Origin)
	}
	return s, nil
}

// openState reads back what cosign made.
func openState(note []byte, by []Cosigner) (s state, err error) {
	if s.Checkpoint, err = ledger.ReadCheckpoint(note); err != nil {
		return s, err
	}
	body, sigs, err := ledger.ReadNote(note)
	if err != nil {
		return s, err
	}
	s.body, s.note = body, note
	var keys ledger.VerifierKeys
	for _, c := range by {
		keys = append(keys, c.Public())
	}
	for _, sig := range sigs {
		_, at, ok, err := keys.Find(body, sig)
		if err != nil {
			return s, err
		}
		if ok {
			s.lines, s.at = append(s.lines, sig.Line...), at
		}
	}
	if s.lines == nil {
		return s, errors.New("this witness's key did not cosign it; was the key replaced?")
	}
	return s, nil
}
