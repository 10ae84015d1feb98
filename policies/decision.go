package policies

import "github.com/gatewright/gatewright/merkle"

// Decision is the answer to one Ask. Only Engine.Decide makes one that allows; the zero value refuses.
type Decision struct {
	allowed bool
	print   uint64
	bundle  merkle.Hash
	reasons []*rule
	errors  []string
}

// Allowed reports whether the call may go on.
func (d Decision) Allowed() bool { return d.allowed }

// Policies names the policies that determined the answer, each as "file.cedar:line id".
func (d Decision) Policies() []string { return nil }

// Errors lists what could not be evaluated, whether or not it changed the answer.
func (d Decision) Errors() []string { return d.errors }

// Bundle is the digest of the bundle that answered.
func (d Decision) Bundle() merkle.Hash { return d.bundle }

// Covers reports whether this decision was made for exactly this Ask. A Decision made by another process never covers.
func (d Decision) Covers(a *Ask) bool { return false }
