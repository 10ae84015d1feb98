// Package filters is the life of a tenant's own filters: modules that it uploads, that are judged before they run, tried
// beside its calls, put in force, and rolled back.
//
// A module goes through the stages of Judge: it is scanned, metered, compiled, started, and asked its test vectors twice
// and once more on another engine. What passes is a version, numbered per name, whose bytes stand in the store by their
// digest and never change. What does not is rejected, with the stage, the reason, the place and what to change.
//
// What is in force is said by the tenant's enforced bundle alone: the section "filters" of its manifest.json. So each
// change of filters is a revision of the bundle, and a rollback of the bundle rolls filters back. A bundle that names what
// this tenant never uploaded, or what was rejected, is refused; the filters of a bundle are loaded before it is put in
// force, and change together with its engine.
//
// Every transition is a ledger record of the kind "filter", written before anything else happens. After a crash between
// record and row the ledger names an intention, and what the rows say holds.
package filters

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/policies/manifest"
)

// Errors a caller branches on. Their texts end with what to do.
var (
	// ErrNotFound: the tenant has no such filter or version; those of others are not found in the same words.
	ErrNotFound = errors.New("there is no such filter")
	// ErrExists: these bytes are a version of this name already, with another config or other vectors.
	ErrExists = errors.New("uploaded before")
	// ErrQuota: it would be over a bound of the tenant.
	ErrQuota = errors.New("over the tenant's quota")
	// ErrRate: the tenant uploaded too often of late. The error is a *RateError.
	ErrRate = errors.New("too many uploads")
	// ErrState: there is nothing to be done: nothing to go back to, nothing in force, still in force.
	ErrState = errors.New("not possible now")
	// ErrBundle: the bundle that would say so was refused.
	ErrBundle = errors.New("the bundle was refused")
	// ErrSigned: the tenant's bundles have to be signed, and the gateway cannot sign one.
	ErrSigned = errors.New("bundles of this organisation are signed")
	// ErrDamaged: what the store holds of a module is not what was put there.
	ErrDamaged = errors.New("damaged in the store")
)

// RateError is ErrRate with the time to wait.
type RateError struct{ After time.Duration }

func (e *RateError) Error() string {
	return fmt.Sprintf("%v: try again in %s (filters.uploads_per_hour in the configuration bounds them)", ErrRate, e.After.Round(time.Second))
}

// Unwrap returns ErrRate.
func (e *RateError) Unwrap() error { return ErrRate }

// Actor is who asks for a change. The zero value is the gateway itself.
type Actor struct {
	User string `json:"user,omitempty"`
	Key  string `json:"key,omitempty"`
}

// State is where a version stands.
type State string

// The states of a version.
const (
	Idle     State = "idle"
	Shadow   State = "shadow"
	Active   State = "active"
	Rejected State = "rejected"
)

// Version is an uploaded module under a name.
type Version struct {
	Name      string
	Number    uint64 // from 1; 0 of what was rejected
	State     State
	Digest    merkle.Hash
	Size      int // bytes
	Dialect   string
	Class     string
	Memory    int   // of a fresh instance, in bytes
	Fuel      int64 // of its costliest vector
	Response  bool
	Config    json.RawMessage
	Tested    int // how many vectors it came with
	By        Actor
	Time      time.Time
	Rejection *Rejection // of what was rejected
}

// DigestText is a digest as manifests have it.
func DigestText(d merkle.Hash) string { return "sha256:" + d.String() }

// Placement says where a filter is in force. Its zero value is everywhere, both ways, as it was uploaded.
type Placement struct {
	Servers   []string        // names, or beginnings with a "*", which alone is all; nil: where it looks now
	Tools     []string        // likewise
	Direction string          // request, response or both; "": as it is now
	Config    json.RawMessage // none: what these bytes are shown now, in force or tried, or else what they were uploaded with
	Position  int             // from 1, among the entries of the manifest; 0: where it stands, or the end
}

// entry is the placement as the manifest has it.
func (p Placement) entry(v Version, mode string) manifest.Filter {
	return manifest.Filter{
		Name: v.Name, Digest: DigestText(v.Digest), Mode: mode, Servers: p.Servers, Tools: p.Tools, Direction: p.Direction, Config: p.Config,
	}
}

// Entry is a filter that is in force or tried: the bundle's words with the version's number, and what it did since it was
// loaded.
type Entry struct {
	manifest.Filter
	Position int // among the bundle's entries, from 1
	Version  uint64
	Stats    Stats
}

// Filter is a name with its versions.
type Filter struct {
	Name     string
	Enforced *Entry    // nil: not in force
	Tried    *Entry    // nil: nothing in shadow
	Versions []Version // newest first
	Past     []uint64  // that were in force before, oldest first: the way back
}

// Change is what a change of what is in force came to.
type Change struct {
	Name     string
	Version  uint64 // now in force or tried; 0: none any more
	Mode     string // enforce or shadow; "" when it was removed
	Revision uint64 // of the bundle that says so
	// Was and Now are what there was of the name before and what there is after. Back is the version that Rollback would enforce
	// next, once nothing is tried; 0: none.
	Was, Now Standing
	Back     uint64
}

// Standing is which versions of a name are enforced and tried; 0: none.
type Standing struct{ Enforced, Tried uint64 }
