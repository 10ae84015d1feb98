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
	way := "if an older copy was put back on purpose, say so with: gatewright ledger restore"
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
	// Err is why nothing is known; nil: it answered. That it has never seen the log is an answer, unless the kept
	// checkpoint bears its cosignature.
	Err error
}

// CheckStart compares a log with the newest checkpoint that each witness, and the note kept locally, has of it. It refuses
// with a *StartError when one of them is longer than the log or leads to another root, with ErrSilent when a required
// witness does not answer validly, and with ledger.ErrCheckpoint when the kept note is not the log's. Witnesses that do
// not answer and are not required are in the answers, which come in the order of the witnesses also beside an error. ctx
// bounds the wait.
func CheckStart(ctx context.Context, h Held, by ...Asked) ([]Answer, error) {
	answers, seen := make([]Answer, len(by)), make([]Seen, len(by))
	var all sync.WaitGroup
	for i, w := range by {
		all.Go(func() { seen[i], answers[i] = h.ask(ctx, w) })
	}
	all.Wait()
	if err := h.checkKept(); err != nil {
		return answers, err
	}
	var silent error
	for i, w := range by {
		if err := h.check(seen[i].Checkpoint, fmt.Sprintf("witness %q", w.Name)); err != nil {
			return answers, err
		}
		if w.Required && answers[i].Err != nil && silent == nil {
			silent = fmt.Errorf("%w: %w", ErrSilent, answers[i].Err)
		}
	}
	return answers, silent
}

// ask reads what one witness holds, and checks that the log signed it.
func (h *Held) ask(ctx context.Context, w Asked) (Seen, Answer) {
	a := Answer{Name: w.Name}
	seen, err := w.Latest(ctx, h.Origin)
	if errors.Is(err, ErrUnseen) {
		if h.keptBy(w.Key) {
			a.Err = fmt.Errorf("%w, but it cosigned the kept checkpoint", err)
		}
		return Seen{}, a
	}
	if err == nil {
		if _, err = ledger.OpenCheckpoint(seen.Note, h.Keys); err != nil {
			err = fmt.Errorf("witness %q: %w: %w", w.Name, ErrAnswer, err)
		}
	}
	if a.Err = err; err != nil {
		return Seen{}, a
	}
	a.Size, a.At = seen.Size, seen.At
	return seen, a
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
