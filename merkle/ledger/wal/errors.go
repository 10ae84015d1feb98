package wal

import (
	"errors"
	"fmt"
)

// Errors that callers branch on. Every one of them is a refusal: the record may not be relied on.
var (
	ErrUsed     = errors.New("step is used up")
	ErrOrder    = errors.New("a step that must come first is not done")
	ErrExpired  = errors.New("plan has expired")
	ErrForeign  = errors.New("plan belongs to another tenant")
	ErrNotOpen  = errors.New("no admitted record of that id is open")
	ErrDeadline = errors.New("commit passed its deadline")
	ErrPoisoned = errors.New("ledger is poisoned by a disk error until it is opened again")
	ErrFull     = errors.New("ledger has no room")
	ErrBusy     = errors.New("ledger is over its bounds")
	ErrClosed   = errors.New("ledger is closed")
	ErrTenant   = errors.New("tenant has no ledger")
	// ErrLookup says that a record may be there and was not reached: see Find.
	ErrLookup = errors.New("too many records lie where it could be")
	// ErrPruned says that a record was there and is kept no more.
	ErrPruned = errors.New("records were pruned")
)

// Errors that keep a log from opening.
var (
	ErrCorrupt   = errors.New("ledger is corrupt")
	ErrTruncated = errors.New("ledger is behind its signed checkpoint")
	ErrVersion   = errors.New("ledger was written by a newer version")
	ErrKeys      = errors.New("ledger chain key does not fit")
)

// CorruptError names the first bad place of a log. It is ErrCorrupt, or ErrTruncated when data are
// missing that a checkpoint covers.
type CorruptError struct {
	Segment uint64
	Offset  int64  // bytes from the start of the segment's file
	Tenant  string // empty when the place belongs to no tenant
	Seq     uint64 // index in the tenant's tree; for a place without a tenant 0
	Reason  string
	Torn    bool // nothing valid follows in the log: an interrupted write, or damage to the last batch
	Cut     bool // what follows belongs to the same batch as the bad place
	kind    error
}

// Error says where and what, and what the operator can do.
func (e *CorruptError) Error() string {
	where := fmt.Sprintf("segment %d, offset %d", e.Segment, e.Offset)
	if e.Tenant != "" {
		where += fmt.Sprintf(", tenant %s, seq %d", e.Tenant, e.Seq)
	}
	return fmt.Sprintf("%v: %s: %s (run: gatewright ledger verify)", e.Unwrap(), where, e.Reason)
}

// Unwrap returns the sentinel.
func (e *CorruptError) Unwrap() error {
	if e.kind != nil {
		return e.kind
	}
	return ErrCorrupt
}
