package witness

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
)

var (
	// ErrForked is a log that differs from the one that was cosigned.
	ErrForked = errors.New("the log is not the one that was cosigned")
	// ErrSilent is a required witness that did not say what it saw.
	ErrSilent = errors.New("a required witness did not answer")
)

// StartError is a log that must not go on as it is: it would show its verifiers a second history. It is ErrBehind or
// ErrForked.
type StartError struct {
	Source   string // who knows better: a witness's name, or "the kept checkpoint"
	Have     uint64 // leaves that the log holds
	Cosigned uint64 // leaves of the checkpoint that was cosigned
	Err      error  // ErrBehind or ErrForked
}

// Error names both sizes, and the way out.
func (e *StartError) Error() string {
	way := "if an older copy was put back on purpose, say so with: gatewright ledger restore --rolled-back --reason TEXT --data DIR"
	if errors.Is(e.Err, ErrForked) {
		return fmt.Sprintf("%s: %s has a checkpoint of %d leaves with another root than the %d leaves here lead to: put the right folder back; %s",
			e.Err, e.Source, e.Cosigned, e.Have, way)
	}
	return fmt.Sprintf("%s: it holds %d leaves, %s has a checkpoint of %d: put the newer copy back; %s", e.Err, e.Have, e.Source, e.Cosigned, way)
}

func (e *StartError) Unwrap() error { return e.Err }

// Held is what a log holds when it starts.
type Held struct {
	Origin string
	Size   uint64
	RootAt func(size uint64) (merkle.Hash, error) // the root of the first size leaves, 1 to Size; one call at a time
	// Keys are the log's own. What a witness shows counts only when one of them signed it: a witness must not be able to
	// stop a log that it has not seen.
	Keys ledger.VerifierKeys
	Kept []byte // the newest note that was published, as it is kept locally; nil: none
	// Consistency proves the first old leaves against the first size; one call at a time. Witnesses that serve no
	// checkpoint to read are sent the kept note with it. nil: they are only asked for the size they hold.
	Consistency func(old, size uint64) ([]merkle.Hash, error)
}

// Asked is a witness that is asked at the start.
type Asked struct {
	*Client
	Required bool // its silence refuses the start
}

// Answer is what a witness said at the start.
type Answer struct {
	Name string
	Size uint64    // what it holds of the log; 0: nothing
	At   time.Time // of its cosignature
	// Err is why nothing is known; nil: it answered. That it has never seen a log that has published nothing is an
	// answer; that it forgot what it cosigned, or does not take checkpoints of a log that published some, is none.
	Err error
}

// CheckStart compares a log with the newest checkpoint that each witness, and the note kept locally, has of it. It refuses
// with a *StartError when one of them is longer than the log or leads to another root, with ErrSilent when a required
// witness does not answer validly, and with ledger.ErrCheckpoint when the kept note is not the log's. Witnesses that do
// not answer and are not required are in the answers, which come in the order of the witnesses also beside an error. ctx
// bounds the wait.
//
// A witness that serves no checkpoint to read is sent the kept note again, as if nothing were known of what it holds: it
// then names the size it holds. That size is its word alone, and yet believed when it is beyond the log's: a start that is
// refused once too often is mended by hand, a history that was cut is not.
func CheckStart(ctx context.Context, h Held, by ...Asked) ([]Answer, error) {
	answers, found := make([]Answer, len(by)), make([]error, len(by))
	var turn sync.Mutex
	if proof := h.Consistency; proof != nil {
		h.Consistency = func(old, size uint64) ([]merkle.Hash, error) {
			turn.Lock()
			defer turn.Unlock()
			return proof(old, size)
		}
	}
	seen := make([]ledger.Checkpoint, len(by))
	var all sync.WaitGroup
	for i, w := range by {
		all.Go(func() { seen[i], answers[i], found[i] = h.ask(ctx, w) })
	}
	all.Wait()
	if err := h.checkKept(); err != nil {
		return answers, err
	}
	var silent error
	for i, w := range by {
		if found[i] != nil {
			return answers, found[i]
		}
		if err := h.check(seen[i], fmt.Sprintf("witness %q", w.Name)); err != nil {
			return answers, err
		}
		if w.Required && answers[i].Err != nil && silent == nil {
			silent = fmt.Errorf("%w: %w", ErrSilent, answers[i].Err)
		}
	}
	return answers, silent
}

// ask learns what one witness holds: the checkpoint that it serves, which the log must have signed, or what it says to
// the kept note. found is why the log must not start.
func (h *Held) ask(ctx context.Context, w Asked) (cp ledger.Checkpoint, a Answer, found error) {
	a = Answer{Name: w.Name}
	seen, err := w.Latest(ctx, h.Origin)
	switch {
	case errors.Is(err, ErrUnseen) && h.Kept != nil:
		a, found = h.send(ctx, w)
		return cp, a, found
	case errors.Is(err, ErrUnseen):
		return cp, a, nil
	case err == nil:
		if cp, err = ledger.OpenCheckpoint(seen.Note, h.Keys); err == nil {
			a.Size, a.At = cp.Size, seen.At
			return cp, a, nil
		}
		err = fmt.Errorf("witness %q: %w: %w", w.Name, ErrAnswer, err)
	}
	a.Err = err
	return ledger.Checkpoint{}, a, nil
}

// send submits the kept note to a witness that serves no checkpoint: as one that was never seen, and when the witness holds
// an earlier one, as its continuation.
func (h *Held) send(ctx context.Context, w Asked) (a Answer, found error) {
	a = Answer{Name: w.Name}
	kept, err := ledger.OpenCheckpoint(h.Kept, h.Keys)
	if err != nil || kept.Origin != h.Origin {
		return a, nil // checkKept refuses it
	}
	got, holds, err := w.submit(ctx, kept, h.Kept, 0, nil)
	switch {
	case holds != nil && *holds > h.Size:
		a.Size = *holds
		return a, &StartError{Source: fmt.Sprintf("witness %q", w.Name), Have: h.Size, Cosigned: *holds, Err: ErrBehind}
	case holds != nil && (*holds > kept.Size || h.Consistency == nil):
		a.Size = *holds
		return a, nil
	case holds != nil:
		a.Size = *holds
		var again *uint64
		got, again, err = w.submit(ctx, kept, h.Kept, *holds, func(old uint64) ([]merkle.Hash, error) { return h.Consistency(old, kept.Size) })
		if again != nil {
			err = fmt.Errorf("%w: it named the size %d, and then %d", ErrAnswer, *holds, *again)
		}
		if errors.Is(err, ErrInconsistent) {
			return a, &StartError{Source: fmt.Sprintf("witness %q", w.Name), Have: h.Size, Cosigned: a.Size, Err: ErrForked}
		}
	case err == nil && h.keptBy(w.Key):
		err = errors.New("it cosigned the kept checkpoint, and knows nothing of it")
	}
	if err != nil {
		a.Err = fmt.Errorf("witness %q: %w", w.Name, err)
		return a, nil
	}
	a.Size, a.At = got.Size, got.At
	return a, nil
}

// keptBy tells whether a witness cosigned the kept note.
func (h *Held) keptBy(key ledger.VerifierKey) bool {
	if h.Kept == nil {
		return false
	}
	_, err := ledger.WitnessPolicy{Keys: []ledger.VerifierKey{key}, Need: 1}.Check(h.Kept)
	return err == nil
}

func (h *Held) checkKept() error {
	if h.Kept == nil {
		return nil
	}
	cp, err := ledger.OpenCheckpoint(h.Kept, h.Keys)
	if err == nil && cp.Origin != h.Origin {
		err = fmt.Errorf("%w: it is of %q", ledger.ErrCheckpoint, cp.Origin)
	}
	if err != nil {
		return fmt.Errorf("the kept checkpoint: %w", err)
	}
	return h.check(cp, "the kept checkpoint")
}

// check compares one checkpoint with what the log holds.
func (h *Held) check(cp ledger.Checkpoint, source string) error {
	if cp.Size == 0 {
		return nil
	}
	if cp.Size > h.Size {
		return &StartError{Source: source, Have: h.Size, Cosigned: cp.Size, Err: ErrBehind}
	}
	root, err := h.RootAt(cp.Size)
	if err != nil {
		return fmt.Errorf("compute the root of %d leaves: %w", cp.Size, err)
	}
	if root != cp.Root {
		return &StartError{Source: source, Have: h.Size, Cosigned: cp.Size, Err: ErrForked}
	}
	return nil
}
