package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// Ledger is the log that every call here is written to, and read from by index or id. Append returns once the record is
// durable; an error means it may not be.
type Ledger interface {
	Auditor
	Append(ctx context.Context, r *ledger.Record) (wal.Mark, error)
	Scan(ctx context.Context, tenant string, from uint64, n int) ([]wal.Entry, error)
	Size(tenant string) uint64
	Checkpoint(tenant string) ([]byte, error)
	Find(ctx context.Context, tenant, id string) (wal.Entry, bool, error)
	FindAfter(ctx context.Context, tenant, of string, from uint64) (wal.Entry, bool, error)
}

// maxPageBytes ends a page of records early: a leaf has up to 64 KiB, and an answer is held in memory (maxAnswer).
const maxPageBytes = 4 << 20

// entry is a record as answered.
type entry struct {
	Index  uint64          `json:"index" doc:"place in the organisation's ledger"`
	Leaf   string          `json:"leaf" doc:"RFC 6962 leaf hash of the record's bytes, hex"`
	Sealed bool            `json:"sealed" doc:"sealed bytes lie beside the record; they are not shown here"`
	Record json.RawMessage `json:"record" doc:"the record, byte for byte the leaf"`
}

// recordsIn pages by index and not by cursor: a record's place never changes.
type recordsIn struct {
	From  uint64 `query:"from" maximum:"9007199254740991" doc:"index of the first record"`
	Limit int    `query:"limit" minimum:"1" maximum:"1000" doc:"how many at most; the server may answer fewer"`
}

type recordsOut struct {
	Body struct {
		Size  uint64  `json:"size" doc:"records in the ledger when this was answered"`
		Items []entry `json:"items" nullable:"false"`
		Next  *uint64 `json:"next,omitempty" doc:"from of the next page; absent at the end"`
	}
}

type recordIn struct {
	Record string `path:"record" pattern:"^([0-9]{1,16}|rec_[0-9a-hjkmnp-tv-z]{26})$" doc:"index of the record, or its id"`
}

type recordOut struct{ Body shownRecord }

// shownRecord is one record with where it leads.
type shownRecord struct {
	entry
	Counterpart *counterpart `json:"counterpart,omitempty" doc:"of an admitted call or an intent: what came of it; of a record about another: that one. Absent when there is none, when it was pruned, or when it lies too far away to look for"`
	Open        bool         `json:"open,omitempty" doc:"an admitted call that has not been settled"`
}

// counterpart names a record.
type counterpart struct {
	ID    string `json:"id"`
	Index uint64 `json:"index"`
}

type checkpointOut struct {
	Body struct {
		Note string `json:"note" doc:"C2SP tlog-checkpoint, a signed note; text"`
	}
}

func (m *mounting) records() {
	log := m.api.deps.Ledger
	handle(m, "list-records", func(ctx context.Context, c *call, in *recordsIn) (*recordsOut, error) {
		out := &recordsOut{}
		out.Body.Size, out.Body.Items = log.Size(c.caller.Tenant()), []entry{}
		if in.From >= out.Body.Size {
			return out, nil
		}
		entries, err := log.Scan(ctx, c.caller.Tenant(), in.From, c.api.limit(in.Limit))
		if err != nil {
			return nil, fmt.Errorf("read ledger: %w", err)
		}
		for i, size := 0, 0; i < len(entries) && size < maxPageBytes; i++ {
			size += len(entries[i].Data)
			out.Body.Items = append(out.Body.Items, shapeEntry(&entries[i]))
		}
		if next := in.From + uint64(len(out.Body.Items)); len(entries) > 0 && next < out.Body.Size {
			out.Body.Next = &next
		}
		return out, nil
	})
	handle(m, "get-record", func(ctx context.Context, c *call, in *recordIn) (*recordOut, error) {
		e, err := m.api.lookUp(ctx, c.caller.Tenant(), in.Record)
		if err != nil {
			return nil, err
		}
		out := &recordOut{Body: shownRecord{entry: shapeEntry(&e)}}
		return out, m.api.follow(ctx, c.caller.Tenant(), &e, &out.Body)
	})
	handle(m, "get-checkpoint", func(_ context.Context, c *call, _ *none) (*checkpointOut, error) {
		note, err := log.Checkpoint(c.caller.Tenant())
		if err != nil {
			return nil, fmt.Errorf("make checkpoint: %w", err)
		}
		out := &checkpointOut{}
		out.Body.Note = string(note)
		return out, nil
	})
}

func shapeEntry(e *wal.Entry) entry {
	return entry{Index: e.Index, Leaf: e.Leaf.String(), Sealed: len(e.Side) > 0, Record: e.Data}
}

// lookUp finds a record by its index or its id, in one organisation's ledger.
func (a *API) lookUp(ctx context.Context, tenant, name string) (wal.Entry, error) {
	if ledger.ValidID(name) {
		e, ok, err := a.deps.Ledger.Find(ctx, tenant, name)
		switch {
		case errors.Is(err, wal.ErrLookup):
			return e, refuse(http.StatusServiceUnavailable, "busy", "too many records were written at the time of this one to look for it by its id", "ask for it by its index")
		case err != nil:
			return e, fmt.Errorf("look up record: %w", err)
		case !ok:
			return e, notFound()
		}
		return e, nil
	}
	index, err := strconv.ParseUint(name, 10, 64)
	if err != nil || index >= a.deps.Ledger.Size(tenant) {
		return wal.Entry{}, notFound()
	}
	entries, err := a.deps.Ledger.Scan(ctx, tenant, index, 1)
	if err != nil {
		return wal.Entry{}, fmt.Errorf("read ledger: %w", err)
	}
	if len(entries) != 1 || entries[0].Index != index {
		return wal.Entry{}, notFound()
	}
	return entries[0], nil
}

// follow finds where a record leads. A look-up that gives up leaves the record without a counterpart, and so does one of what
// was pruned: the record itself is kept.
func (a *API) follow(ctx context.Context, tenant string, e *wal.Entry, out *shownRecord) error {
	r, err := e.Record()
	if err != nil {
		return fmt.Errorf("read record: %w", err)
	}
	var found wal.Entry
	ok := false
	switch {
	case r.Of != "":
		found, ok, err = a.deps.Ledger.Find(ctx, tenant, r.Of)
	case r.Kind == ledger.Admitted, r.Kind == ledger.Admin && phaseOf(&r) == phaseIntent:
		found, ok, err = a.deps.Ledger.FindAfter(ctx, tenant, r.ID, e.Index)
		out.Open = !ok && err == nil && r.Kind == ledger.Admitted
	}
	if errors.Is(err, wal.ErrLookup) || errors.Is(err, wal.ErrPruned) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look up counterpart: %w", err)
	}
	if !ok {
		return nil
	}
	if r, err = found.Record(); err != nil {
		return fmt.Errorf("read record: %w", err)
	}
	out.Counterpart = &counterpart{ID: r.ID, Index: found.Index}
	return nil
}

// phaseOf reads the phase of a record that this API wrote, "" of any other.
func phaseOf(r *ledger.Record) string {
	var body struct {
		Phase string `json:"phase"`
	}
	if json.Unmarshal(r.Body, &body) != nil {
		return ""
	}
	return body.Phase
}
