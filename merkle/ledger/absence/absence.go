// Package absence proves that an agent did not call a tool in a part of one tenant's ledger.
//
// A proof of presence shows one record; a proof of absence must show all of them. It holds every record from one size of
// the tenant's tree to another, byte for byte, and the few hashes that stand for what lies before and behind. Whoever
// verifies computes the root of the signed checkpoint from these bytes, so that no record can be missing, changed or
// moved, and looks at each record. Nothing in the proof is believed but the key that was pinned; it needs no signature of
// its own.
//
// What it proves and what it does not is part of every answer, in words: see Result.
//
// A proof is lines of text: a head, canonical JSON, and the records as package export writes them. Both sides work in
// one pass, in the memory of one page of records.
package absence

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/export"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

const (
	// formatVersion is the "absence" member of a head.
	formatVersion = 1
	// maxHead bounds the first line in bytes: two notes, each byte escaped, and 128 hashes.
	maxHead = 512 << 10
	// maxName bounds the names in a question, in bytes.
	maxName = 256
	// maxIndex is the largest integer that every JSON reader keeps.
	maxIndex = 1<<53 - 1
	// page is how many records are read at a time.
	page = 512
)

var (
	// ErrProof is a proof that is malformed, was changed, or that no pinned key vouches for.
	ErrProof = errors.New("absence proof does not verify")
	// ErrQuestion says that there is nothing to prove.
	ErrQuestion = errors.New("absence question is not valid")
)

// Question asks whether an agent called a tool.
type Question struct {
	Agent  string `json:"agent"`            // its id
	Server string `json:"server,omitempty"` // "" is any
	Tool   string `json:"tool,omitempty"`   // "" is any
	From   uint64 `json:"from"`             // records that come before are not looked at
	To     uint64 `json:"to"`               // index behind the last record
}

func (q *Question) check() error {
	switch {
	case q.Agent == "":
		return fmt.Errorf("%w: no agent", ErrQuestion)
	case len(q.Agent) > maxName || len(q.Server) > maxName || len(q.Tool) > maxName:
		return fmt.Errorf("%w: a name of more than %d bytes", ErrQuestion, maxName)
	case !possible(q.Agent) || !possible(q.Server) || !possible(q.Tool):
		return fmt.Errorf("%w: %q, %q, %q: no name has a slash, a space or an unusual sign in it; a tool is named apart from its server", ErrQuestion, q.Agent, q.Server, q.Tool)
	case q.From >= q.To || q.To > maxIndex:
		return fmt.Errorf("%w: no records from %d to %d", ErrQuestion, q.From, q.To)
	}
	return nil
}

// possible reports whether a name can occur in a record of a call: ids and the names of servers and tools are of letters,
// digits, "_", "-" and ".". That another one is absent would say nothing.
func possible(name string) bool {
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' && c != '.' {
			return false
		}
	}
	return true
}

// asks reports whether a record is about what the question is about. A record that names no server may be about any.
func (q *Question) asks(r *ledger.Record) bool {
	return r.Agent == q.Agent && (q.Server == "" || r.Server == "" || r.Server == q.Server) && (q.Tool == "" || r.Tool == q.Tool)
}

// head is the first line.
type head struct {
	Version  int `json:"absence"`
	Question `json:"question"`
	Tenant   string        `json:"tenant"`
	At       time.Time     `json:"at"`               // when it was made; nobody vouches for that
	Before   []merkle.Hash `json:"before,omitempty"` // the frontier of the first From records
	After    []merkle.Hash `json:"after,omitempty"`  // what lies from To to the checkpoint's size
	// Checkpoint is of To records or more; Since, when the asker held one, of exactly From.
	Checkpoint string `json:"checkpoint"`
	Since      string `json:"since,omitempty"`
}

// Options of Write.
type Options struct {
	Tenant   string
	Question Question // To 0 is the size of the published checkpoint; From 0 the first record that is kept
	Now      time.Time
	// Since is a checkpoint of From records that the asker holds, a signed note; nil without one. With it the proof says
	// when the range began, by a signature of that time.
	Since []byte
	// Commit is told the SHA-256 of the proof before its last record is written, so that the ledger can hold it.
	Commit func(ctx context.Context, digest merkle.Hash) error
}

// Proof is ready to be written.
type Proof struct {
	src  export.Source
	opt  Options
	head head
}

// Prepare finds the hashes beside the range, so that an impossible question is answered before anything is written.
func Prepare(src export.Source, o Options) (*Proof, error) {
	if !ledger.ValidTenant(o.Tenant) || o.Now.IsZero() {
		return nil, fmt.Errorf("%w: tenant %q", ErrQuestion, o.Tenant)
	}
	note, err := src.Checkpoint(o.Tenant)
	if err != nil {
		return nil, fmt.Errorf("prepare absence proof: checkpoint: %w", err)
	}
	c, err := ledger.ReadCheckpoint(note)
	if err != nil {
		return nil, fmt.Errorf("prepare absence proof: %w", err)
	}
	q := &o.Question
	if q.To == 0 {
		q.To = c.Size
	}
	first, err := kept(src, o.Tenant)
	if err != nil {
		return nil, fmt.Errorf("prepare absence proof: %w", err)
	}
	if q.From == 0 && q.To > first {
		q.From = first
	}
	if err := q.check(); err != nil {
		return nil, err
	}
	if q.From < first {
		return nil, fmt.Errorf("prepare absence proof: %w: record %d; the first that is kept has index %d", wal.ErrPruned, q.From, first)
	}
	if q.To > c.Size {
		return nil, fmt.Errorf("%w: the checkpoint is of %d records, not of %d", ErrQuestion, c.Size, q.To)
	}
	p := &Proof{src: src, opt: o, head: head{
		Version: formatVersion, Question: *q, Tenant: o.Tenant, At: o.Now.UTC(), Checkpoint: string(note), Since: string(o.Since),
	}}
	return p, p.around(c)
}

// kept is the index of the first record that is there.
func kept(src export.Source, tenant string) (uint64, error) {
	if k, ok := src.(export.Keeper); ok {
		return k.First(context.Background(), tenant)
	}
	return 0, nil
}

// around finds the hashes of what lies before and behind, and holds the asker's checkpoint to the former.
func (p *Proof) around(c ledger.Checkpoint) error {
	q := &p.head.Question
	var nodes []merkle.Hash
	subtree, err := p.src.Subtrees(p.opt.Tenant)
	if err != nil {
		return fmt.Errorf("prepare absence proof: %w", err)
	}
	prover := merkle.NewProver(c.Size, subtree, func(h merkle.Hash) error {
		nodes = append(nodes, h)
		return nil
	})
	if err := errors.Join(prover.Leaves(q.From, q.To-1), prover.Close()); err != nil {
		return fmt.Errorf("prepare absence proof: %w", err)
	}
	before := bits.OnesCount64(q.From)
	p.head.Before, p.head.After = nodes[:before:before], nodes[before:]
	if p.opt.Since == nil {
		return nil
	}
	since, err := ledger.ReadCheckpoint(p.opt.Since)
	if err != nil {
		return fmt.Errorf("%w: since: %w", ErrQuestion, err)
	}
	return p.head.since(since, c.Origin, ErrQuestion)
}

// since holds a checkpoint of the first From records to the frontier.
func (h *head) since(c ledger.Checkpoint, origin string, kind error) error {
	front, err := merkle.FrontierOf(h.From, h.Before)
	if err != nil {
		return fmt.Errorf("%w: %w", kind, err)
	}
	if c.Origin != origin || c.Size != h.From || c.Root != front.Root() {
		return fmt.Errorf("%w: the checkpoint given for the beginning is not that of the first %d records of %q", kind, h.From, origin)
	}
	return nil
}

// encode returns the head's line.
func (h *head) encode() ([]byte, error) {
	raw, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	lim := canon.DefaultLimits()
	lim.Bytes = maxHead
	line, err := canon.AppendCanonical(nil, raw, lim)
	return append(line, '\n'), err
}

// Write writes the proof. It ends early with the context; a proof cut short proves nothing, and shows it.
func (p *Proof) Write(ctx context.Context, w io.Writer) error {
	line, err := p.head.encode()
	if err != nil {
		return fmt.Errorf("write absence proof: %w", err)
	}
	sum := sha256.New()
	sum.Write(line)
	q := &p.head.Question
	for next := q.From; next < q.To; {
		entries, err := p.src.Scan(ctx, p.opt.Tenant, next, int(min(page, q.To-next)))
		if err != nil {
			return fmt.Errorf("write absence proof: %w", err)
		}
		if len(entries) == 0 || uint64(len(entries)) > q.To-next {
			return fmt.Errorf("write absence proof: %d records from %d to %d", len(entries), next, q.To)
		}
		for i := range entries {
			if entries[i].Index != next {
				return fmt.Errorf("write absence proof: record %d in place of %d", entries[i].Index, next)
			}
			if _, err := w.Write(line); err != nil { // always one behind: the last one waits for Commit
				return fmt.Errorf("write absence proof: %w", err)
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			line = export.AppendLine(line[:0], next, entries[i].Data)
			sum.Write(line)
			next++
		}
	}
	return p.last(ctx, w, line, merkle.Hash(sum.Sum(nil)))
}

func (p *Proof) last(ctx context.Context, w io.Writer, line []byte, digest merkle.Hash) error {
	if p.opt.Commit != nil {
		if err := p.opt.Commit(ctx, digest); err != nil {
			return fmt.Errorf("commit to the absence proof: %w", err)
		}
	}
	if _, err := w.Write(line); err != nil {
		return fmt.Errorf("write absence proof: %w", err)
	}
	return nil
}

// Is reports whether a file is an absence proof, by its beginning.
func Is(start []byte) bool { return bytes.HasPrefix(start, []byte(`{"absence":`)) }

// parseHead reads what encode wrote, without its line feed, and nothing else.
func parseHead(line []byte) (*head, error) {
	bad := func(why string) (*head, error) { return nil, fmt.Errorf("%w: head: %s", ErrProof, why) }
	lim := canon.DefaultLimits()
	lim.Bytes = maxHead
	if err := canon.Check(line, lim); err != nil {
		return bad(err.Error())
	}
	if v, ok := canon.Get(line, "absence"); !ok || string(v) != "1" {
		return bad("not of a version that is known")
	}
	h := &head{}
	if err := json.Unmarshal(line, h); err != nil {
		return bad(err.Error())
	}
	again, err := h.encode()
	if err != nil || !bytes.Equal(bytes.TrimSuffix(again, []byte("\n")), line) {
		return bad("another spelling, or members that are not known")
	}
	if err := h.check(); err != nil {
		return bad(err.Error())
	}
	if len(h.Before) != bits.OnesCount64(h.From) || !ledger.ValidTenant(h.Tenant) {
		return bad("hashes or tenant")
	}
	return h, nil
}
