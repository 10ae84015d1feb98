// Package ledger holds what the audit ledger proves, without a disk or a clock: the Record and its
// exact bytes, the Receipt a caller takes home, and the Checkpoint an instance signs. Durable
// storage is package wal below it.
//
// A record's leaf is the RFC 8785 (JCS) form of the record. It carries no sequence number, so a
// caller can encode and hash it before it knows its place; the place is proved by the tenant's
// RFC 6962 tree and by the chain MAC. Whoever verifies hashes bytes and never re-encodes them.
//
// What is proved, and to whom: the HMAC chain shows tampering to those who hold its first key, who
// could also forge it; receipts and checkpoints are Ed25519 signatures that bind the instance to
// anybody who pinned its public key.
package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/canon"
)

// Bounds of one record.
const (
	// MaxLeaf is the largest leaf in bytes: a C2SP tlog-tiles entry bundle counts an entry in a uint16.
	MaxLeaf = 65_535
	// MaxSide is the largest Side in bytes: a sealed Ask with 1 MiB of arguments and room for the rest.
	MaxSide = 3 << 19
	// maxList bounds After, Policies, Labels and Stages: far above any real call, far below MaxLeaf.
	maxList = 4096
	// maxInteger is the largest integer that I-JSON (RFC 7493) carries exactly.
	maxInteger = 1<<53 - 1
	// formatVersion is the "v" member of a leaf.
	formatVersion = 1
)

// InstanceTenant owns the instance's own chain: recoveries, heartbeats, and calls refused before a tenant is known.
const InstanceTenant = "_instance"

// Errors that callers branch on.
var (
	ErrRecord = errors.New("record is not valid")
	ErrSize   = errors.New("record is too large")
)

// Kind is what a record states. The list is closed; a name this version does not know is kept as Unknown.
type Kind uint8

// The kinds of record.
const (
	Unknown Kind = iota // written by a newer version: verified and shown, never dropped
	Admitted
	Settled
	Refused
	Plan
	Token
	Approval
	Admin
	Key
	Bundle
	Filter
	Heartbeat
	Recovery
	Prune
	Erasure
)

var kindNames = [...]string{
	"", "admitted", "settled", "refused", "plan", "token", "approval", "admin", "key",
	"bundle", "filter", "heartbeat", "recovery", "prune", "erasure",
}

// String returns the kind's name as it stands in a leaf, or kind(n) outside the list.
func (k Kind) String() string {
	if k != Unknown && int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "kind(" + strconv.Itoa(int(k)) + ")"
}

// ParseKind returns the kind of that name, Unknown if this version has none.
func ParseKind(name string) Kind {
	for i, n := range kindNames {
		if i > 0 && n == name {
			return Kind(i)
		}
	}
	return Unknown
}

// Outcomes of a settled record.
const (
	OutcomeOK            = "ok"
	OutcomeToolError     = "tool_error"
	OutcomeUpstreamError = "upstream_error"
	OutcomeWithheld      = "withheld"
	// OutcomeUnknown says that nobody saw the end: the process died, or the commit passed its deadline.
	OutcomeUnknown = "unknown"
)

// StageTime is how long one stage of the line took, in microseconds.
type StageTime struct {
	Name   string
	Micros uint32
}

// Record is one entry of a tenant's ledger. Absent members (zero values) are not encoded. Callers
// reuse records; their strings must be real strings and not views of a buffer that is used again,
// because the ledger's followers keep them.
type Record struct {
	ID       string // rec_ and 26 characters, see NewID
	Time     int64  // unix microseconds
	Tenant   string
	Instance string // set by the log
	Boot     uint64 // set by the log: counts the starts of the instance
	Kind     Kind
	KindName string // the kind as read, when it is Unknown

	Agent, User, Key, Addr, Route string
	Op, Server, Tool              string

	Plan        merkle.Hash
	PlanID      string
	Step        int32 // -1 = none; without a Plan there is no step
	Uses        uint32
	After       []int
	PlanExpires int64 // unix seconds
	Token       string

	Ask      merkle.Hash // SHA-256(salt || Ask): a commitment; salt and Ask lie sealed in Side
	Request  merkle.Hash
	Reply    merkle.Hash
	Bundle   merkle.Hash
	Snapshot merkle.Hash

	Verdict, Code, Detail string
	Policies, Labels      []string
	Stages                []StageTime

	Of      string // settled: the id of the admitted record
	Outcome string
	Status  int    // upstream's status
	Micros  uint64 // duration of the call

	Body json.RawMessage // a canonical JSON object whose meaning the kind gives

	// Side is sealed bytes kept beside the leaf. It is not hashed, so that erasing its key, or the
	// bytes themselves, leaves every proof valid.
	Side []byte
}

// Label names the kind for people: its name, or kind(0/name) for one of a newer version.
func (r *Record) Label() string {
	if r.Kind == Unknown && r.KindName != "" {
		return "kind(0/" + r.KindName + ")"
	}
	return r.Kind.String()
}

// Normalize refuses a record that must not be written and brings Body to its canonical form.
// It reports ErrRecord, or ErrSize for what is too large.
func (r *Record) Normalize() error {
	switch {
	case !ValidID(r.ID):
		return fmt.Errorf("%w: id %q", ErrRecord, clip(r.ID))
	case !ValidTenant(r.Tenant):
		return fmt.Errorf("%w: tenant %q", ErrRecord, clip(r.Tenant))
	case r.Kind == Unknown || int(r.Kind) >= len(kindNames):
		return fmt.Errorf("%w: %s", ErrRecord, r.Kind)
	case len(r.Side) > MaxSide:
		return fmt.Errorf("%w: %d sealed bytes, at most %d", ErrSize, len(r.Side), MaxSide)
	case len(r.After) > maxList, len(r.Policies) > maxList, len(r.Labels) > maxList, len(r.Stages) > maxList:
		return fmt.Errorf("%w: a list of more than %d", ErrSize, maxList)
	}
	if err := r.checkIntegers(); err != nil {
		return err
	}
	return r.canonicalBody()
}

// checkIntegers keeps every number inside what I-JSON carries exactly: rounding would change a fact.
func (r *Record) checkIntegers() error {
	for _, n := range [...]int64{r.Time, r.PlanExpires, int64(r.Status)} {
		if n < 0 || n > maxInteger {
			return fmt.Errorf("%w: integer %d is out of range", ErrRecord, n)
		}
	}
	if r.Boot > maxInteger || r.Micros > maxInteger || r.Step < -1 {
		return fmt.Errorf("%w: integer is out of range", ErrRecord)
	}
	for _, n := range r.After {
		if n < 0 || n >= MaxLeaf {
			return fmt.Errorf("%w: after %d", ErrRecord, n)
		}
	}
	return nil
}

func (r *Record) canonicalBody() error {
	if len(r.Body) == 0 {
		return nil
	}
	lim := canon.DefaultLimits()
	lim.Bytes = MaxLeaf
	body, err := canon.AppendCanonical(nil, r.Body, lim)
	if err != nil {
		return fmt.Errorf("%w: body: %w", ErrRecord, err)
	}
	if canon.KindOf(body) != '{' {
		return fmt.Errorf("%w: body is not an object", ErrRecord)
	}
	r.Body = body
	return nil
}

// ValidTenant reports whether name can name a tenant: [a-z0-9][a-z0-9-]{0,62}, or the instance's own.
func ValidTenant(name string) bool {
	if name == InstanceTenant {
		return true
	}
	if name == "" || len(name) > 63 || name[0] == '-' {
		return false
	}
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// clip shortens hostile input for an error message.
func clip(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	for i := most; ; i-- {
		if utf8.RuneStart(s[i]) {
			return s[:i] + "..."
		}
	}
}
