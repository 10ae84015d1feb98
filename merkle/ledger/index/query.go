package index

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// Query says which records are wanted. Empty members ask for nothing; all that are set must hold.
type Query struct {
	From, To int64 // unix microseconds: from From on, before To; 0 is open

	Agent, User, Server, Tool, Op, Code, Outcome, Verdict string
	Kind                                                  string // as it stands in a leaf

	Oldest bool   // oldest first; else newest first
	Limit  int    // how many at most; 0 is MaxPage
	Bytes  int    // after how many bytes of records a page ends; 0 is 16 MiB, which is the most
	Cursor Cursor // where the page before ended; zero is the beginning
}

// Bounds of one page: entries, and bytes after which no more are added.
const (
	MaxPage      = 10_000
	MaxPageBytes = 16 << 20
)

// ErrQuery is the answer to a query that cannot be asked.
var ErrQuery = errors.New("query is not valid")

// Check refuses what cannot be asked.
func (q *Query) Check() error {
	switch {
	case q.From < 0 || q.To < 0 || q.To != 0 && q.To <= q.From:
		return fmt.Errorf("%w: from %d to %d", ErrQuery, q.From, q.To)
	case q.Limit < 0 || q.Limit > MaxPage:
		return fmt.Errorf("%w: limit %d, at most %d", ErrQuery, q.Limit, MaxPage)
	case q.Bytes < 0 || q.Bytes > MaxPageBytes:
		return fmt.Errorf("%w: %d bytes, at most %d", ErrQuery, q.Bytes, MaxPageBytes)
	case q.Cursor != (Cursor{}) && q.Cursor.Oldest != q.Oldest:
		return fmt.Errorf("%w: cursor is of the other order", ErrQuery)
	}
	return nil
}

// Cursor is a place in a listing that stays right while the log grows: what comes later is on no later page, so that a
// listing ends in either order, though listing may be on record itself.
type Cursor struct {
	Oldest bool
	Next   uint64 // newest first: the index before which it goes on; oldest first: at which
	End    uint64 // oldest first: the size of the ledger when the listing began
}

// String is the cursor's text, which ParseCursor reads.
func (c Cursor) String() string {
	switch {
	case c == Cursor{}:
		return ""
	case c.Oldest:
		return fmt.Sprintf("o.%d.%d", c.Next, c.End)
	default:
		return fmt.Sprintf("n.%d", c.Next)
	}
}

// ParseCursor reads a cursor in the one form that String gives it; the empty text is the beginning.
func ParseCursor(text string) (Cursor, error) {
	if text == "" {
		return Cursor{}, nil
	}
	var c Cursor
	var ok bool
	order, rest, _ := strings.Cut(text, ".")
	switch order {
	case "n":
		c.Next, ok = number(rest)
	case "o":
		next, end, _ := strings.Cut(rest, ".")
		c.Oldest = true
		if c.Next, ok = number(next); ok {
			c.End, ok = number(end)
		}
	}
	if !ok || c.String() != text {
		return Cursor{}, fmt.Errorf("%w: cursor %.64q", ErrQuery, text)
	}
	return c, nil
}

func number(s string) (uint64, bool) {
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil
}

// Page is one page of a listing.
type Page struct {
	Entries []Entry
	Next    Cursor // where the next page begins; zero on the last. A page may be empty and not the last
	Size    uint64 // of the ledger when this was answered
	First   uint64 // index of the first record that is kept: what stood before was pruned
}

// Entry is one record as it stands in the log.
type Entry struct {
	Index uint64
	Leaf  merkle.Hash
	Data  []byte // the leaf's bytes
	Side  []byte // sealed bytes beside it
}

// Record parses the entry.
func (e *Entry) Record() (ledger.Record, error) {
	r, err := ledger.ParseRecord(e.Data)
	r.Side = e.Side
	return r, err
}

// Words are the query's words by column.
func (q *Query) words() [columns]string {
	return [columns]string{q.Agent, q.User, q.Server, q.Tool, q.Op, q.Code, q.Outcome, q.Verdict, q.Kind}
}

// Holds reports whether a record is wanted.
func (q *Query) Holds(r *Row) bool {
	if r.Time < q.From || q.To != 0 && r.Time >= q.To {
		return false
	}
	have := r.words()
	for c, word := range q.words() {
		if word != "" && word != have[c] {
			return false
		}
	}
	return true
}

// RowOf takes from a record what the index keeps.
func RowOf(r *ledger.Record, seq uint64, off uint32) Row {
	kind := r.KindName
	if r.Kind != ledger.Unknown {
		kind = r.Kind.String()
	}
	return Row{
		Tenant: r.Tenant, Seq: seq, Off: off, Time: r.Time, ID: r.ID, Of: r.Of, Agent: r.Agent, User: r.User, Server: r.Server,
		Tool: r.Tool, Op: r.Op, Code: r.Code, Outcome: r.Outcome, Verdict: r.Verdict, Kind: kind,
	}
}

// Hit is a record that a scan found.
type Hit struct {
	Index uint64
	Off   uint32
	Sure  bool // else the record must be asked
}
