package pins

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/store"
)

// What is decided about a definition. FirstUse is the word of a server's configuration, not of a person.
const (
	Approve  = "approve"
	Reject   = "reject"
	RollBack = "rollback"
	FirstUse = "first_use"
)

// Bounds of what is kept of one tool: decisions, definitions that were approved and can be rolled back to, and digests that
// were rejected. The ledger keeps every decision for as long as it keeps records.
const (
	MaxHistory  = 50
	MaxKept     = 8
	MaxRejected = 8
)

// Errors a caller branches on.
var (
	// ErrMoved: somebody else decided about the tool meanwhile.
	ErrMoved = errors.New("the tool's approved definition is another one by now")
	// ErrNotKept: there is no approved definition of that digest to go back to.
	ErrNotKept = errors.New("no definition of that digest was approved before, or it is kept no more")
)

// Held is what is in force for one tool.
type Held struct {
	Approved merkle.Hash // zero: no definition is approved
	Rejected []merkle.Hash
}

// Entry is one decision.
type Entry struct {
	Time    time.Time   `json:"time"`
	Action  string      `json:"action"`
	User    string      `json:"user,omitempty"` // none when the configuration decided
	Key     string      `json:"key,omitempty"`
	From    merkle.Hash `json:"from"` // approved before; zero: none
	To      merkle.Hash `json:"to"`   // decided about
	Despite string      `json:"despite,omitempty"`
	Reason  string      `json:"reason,omitempty"`
}

// Row is what is kept of one tool. Its names are a file format.
type Row struct {
	Approved merkle.Hash   `json:"approved"`
	Kept     []merkle.Hash `json:"kept,omitempty"` // approved at some time, the last first
	Rejected []merkle.Hash `json:"rejected,omitempty"`
	History  []Entry       `json:"history,omitempty"` // oldest first
}

type definitionRow struct {
	Definition json.RawMessage `json:"definition"`
}

type openedRow struct {
	Time time.Time `json:"time"`
}

// Rows stand under SERVER/TOOL, definitions under SERVER/TOOL/DIGEST; neither name can hold a slash.
var (
	rows        = store.Table[Row]{Name: "tool_pins", Version: 1}
	definitions = store.Table[definitionRow]{Name: "tool_definitions", Version: 1}
	opened      = store.Table[openedRow]{Name: "tool_servers", Version: 1}
)

// Book keeps decisions in a store. What its methods return without an error is durable. Calls about one server must not
// overlap; the fence between tenants is the store's.
type Book struct {
	Store  store.Store
	Limits canon.Limits // of a definition
}

// Server is what is in force for one server's tools.
type Server struct {
	Opened bool // its tools were once taken at first use
	Unread bool // the store could not be read: nothing counts as approved until it can
	Tools  map[string]Held
}

// Load reads a tenant's pins by server.
func (b *Book) Load(ctx context.Context, tenant string) (map[string]*Server, error) {
	var out map[string]*Server
	of := func(name string) *Server {
		if out[name] == nil {
			out[name] = &Server{Tools: map[string]Held{}}
		}
		return out[name]
	}
	err := b.Store.View(ctx, tenant, func(tx store.Txn) error {
		out = map[string]*Server{}
		err := opened.Scan(tx, "", func(server string, _ openedRow, _ uint64) error {
			of(server).Opened = true
			return nil
		})
		if err != nil {
			return err
		}
		return rows.Scan(tx, "", func(key string, r Row, _ uint64) error {
			server, tool, _ := strings.Cut(key, "/")
			of(server).Tools[tool] = r.held()
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("load tool pins: %w", err)
	}
	return out, nil
}

func (r *Row) held() Held { return Held{r.Approved, slices.Clone(r.Rejected)} }

// Tool reads all that is kept of one tool; a zero Row when nothing is.
func (b *Book) Tool(ctx context.Context, tenant, server, tool string) (row Row, err error) {
	err = b.Store.View(ctx, tenant, func(tx store.Txn) error {
		row, _, err = rows.Get(tx, server+"/"+tool)
		if errors.Is(err, store.ErrNotFound) {
			row = Row{}
			return nil
		}
		return err
	})
	if err != nil {
		return Row{}, fmt.Errorf("read tool pin: %w", err)
	}
	return row, nil
}

// Definition reads a definition that was approved, in its canonical form. One whose digest is not its name is an error.
func (b *Book) Definition(ctx context.Context, tenant, server, tool string, digest merkle.Hash) ([]byte, error) {
	var r definitionRow
	err := b.Store.View(ctx, tenant, func(tx store.Txn) (err error) {
		r, _, err = definitions.Get(tx, server+"/"+tool+"/"+digest.String())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read tool definition: %w", err)
	}
	l := b.Limits
	l.Bytes *= 6 // the row may say < as \u003c
	out, err := canon.AppendCanonical(nil, r.Definition, l)
	if err != nil || Digest(out) != digest {
		return nil, errors.New("read tool definition: what is stored is not what was approved")
	}
	return out, nil
}

// Change is one decision about one tool.
type Change struct {
	Entry             // Entry.From is what its maker believes to be approved
	Definition []byte // canonical; for Approve
}

// Decide makes a decision durable and returns what is in force then.
func (b *Book) Decide(ctx context.Context, tenant, server, tool string, c Change) (held Held, err error) {
	err = b.Store.Update(ctx, tenant, func(tx store.Txn) error {
		r, err := b.decide(tx, server+"/"+tool, c)
		held = r.held()
		return err
	})
	if err != nil {
		return Held{}, fmt.Errorf("store tool pin: %w", err)
	}
	return held, nil
}

func (b *Book) decide(tx store.Txn, key string, c Change) (Row, error) {
	r, _, err := rows.Get(tx, key)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return r, err
	}
	if r.Approved != c.From {
		return r, ErrMoved
	}
	not := func(h merkle.Hash) bool { return h == c.To }
	switch c.Action {
	case Reject:
		r.Rejected = append([]merkle.Hash{c.To}, slices.DeleteFunc(r.Rejected, not)...)
		r.Rejected = r.Rejected[:min(len(r.Rejected), MaxRejected)]
		if r.Approved == c.To {
			r.Approved = merkle.Hash{}
		}
	case RollBack:
		if !slices.Contains(r.Kept, c.To) || r.Approved == c.To {
			return r, ErrNotKept
		}
		r.approve(c.To)
	default:
		r.approve(c.To)
		if _, err := definitions.Put(tx, key+"/"+c.To.String(), definitionRow{c.Definition}, store.AnyVersion); err != nil {
			return r, err
		}
	}
	for len(r.Kept) > MaxKept {
		last := r.Kept[len(r.Kept)-1]
		if err := definitions.Delete(tx, key+"/"+last.String(), store.AnyVersion); err != nil && !errors.Is(err, store.ErrNotFound) {
			return r, err
		}
		r.Kept = r.Kept[:len(r.Kept)-1]
	}
	r.History = append(r.History, c.Entry)
	r.History = r.History[max(0, len(r.History)-MaxHistory):]
	_, err = rows.Put(tx, key, r, store.AnyVersion)
	return r, err
}

func (r *Row) approve(to merkle.Hash) {
	not := func(h merkle.Hash) bool { return h == to }
	r.Approved = to
	r.Kept = append([]merkle.Hash{to}, slices.DeleteFunc(r.Kept, not)...)
	r.Rejected = slices.DeleteFunc(r.Rejected, not)
}

// Listed is a tool as its server lists it.
type Listed struct {
	Name       string
	Digest     merkle.Hash
	Definition []byte // canonical
}

// Bounds of one transaction of Trust, below those of the store.
const (
	trustRows  = 200
	trustBytes = 4 << 20
)

// Trust approves what a server lists when it is first met, and marks the server as met. A process that ends meanwhile
// leaves the server unmet: the next listing is then its first.
func (b *Book) Trust(ctx context.Context, tenant, server string, tools []Listed, now time.Time) error {
	for len(tools) > 0 {
		n, size := 0, 0
		for n < len(tools) && n < trustRows && (n == 0 || size+len(tools[n].Definition) <= trustBytes) {
			size += len(tools[n].Definition)
			n++
		}
		err := b.Store.Update(ctx, tenant, func(tx store.Txn) error {
			for _, t := range tools[:n] {
				key := server + "/" + t.Name
				old, _, err := rows.Get(tx, key)
				if err != nil && !errors.Is(err, store.ErrNotFound) {
					return err
				}
				entry := Entry{Time: now, Action: FirstUse, From: old.Approved, To: t.Digest}
				if _, err := b.decide(tx, key, Change{entry, t.Definition}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("store first tool pins: %w", err)
		}
		tools = tools[n:]
	}
	err := b.Store.Update(ctx, tenant, func(tx store.Txn) error {
		_, err := opened.Put(tx, server, openedRow{now}, store.AnyVersion)
		return err
	})
	if err != nil {
		return fmt.Errorf("store first tool pins: %w", err)
	}
	return nil
}

// Forget removes all that is kept of a server's tools, for when the server itself is removed.
func (b *Book) Forget(ctx context.Context, tenant, server string) error {
	for _, table := range []string{definitions.Name, rows.Name} {
		for more := true; more; {
			err := b.Store.Update(ctx, tenant, func(tx store.Txn) (err error) {
				more, err = clear(tx, table, server+"/")
				return err
			})
			if err != nil {
				return fmt.Errorf("forget tool pins: %w", err)
			}
		}
	}
	err := b.Store.Update(ctx, tenant, func(tx store.Txn) error { return opened.Delete(tx, server, store.AnyVersion) })
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("forget tool pins: %w", err)
	}
	return nil
}

// clear deletes as many rows as one transaction may.
func clear(tx store.Txn, table, prefix string) (more bool, err error) {
	var keys []string
	err = tx.Scan(table, prefix, func(key string, _ store.Value) error {
		if len(keys) == trustRows {
			more = true
			return store.ErrDone
		}
		keys = append(keys, key)
		return nil
	})
	for _, key := range keys {
		if err == nil {
			err = tx.Delete(table, key, store.AnyVersion)
		}
	}
	return more, err
}
