package control

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// Ledger is the log that every call here is written to, and read from by index. Append returns once the record is
// durable; an error means it may not be.
type Ledger interface {
	Append(ctx context.Context, r *ledger.Record) (wal.Mark, error)
	Scan(ctx context.Context, tenant string, from uint64, n int) ([]wal.Entry, error)
	Size(tenant string) uint64
	Checkpoint(tenant string) ([]byte, error)
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
	Index uint64 `path:"index" maximum:"9007199254740991"`
}

type recordOut struct{ Body entry }

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
		if in.Index >= log.Size(c.caller.Tenant()) {
			return nil, notFound()
		}
		entries, err := log.Scan(ctx, c.caller.Tenant(), in.Index, 1)
		if err != nil {
			return nil, fmt.Errorf("read ledger: %w", err)
		}
		if len(entries) != 1 || entries[0].Index != in.Index {
			return nil, notFound()
		}
		return &recordOut{Body: shapeEntry(&entries[0])}, nil
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
