// Package abi is what a filter and its host say to each other: the context a filter is shown, in two forms, and the verdict it
// gives. It knows nothing of WebAssembly's engine; README.md of package wasm is what authors of filters read.
package abi

import (
	"slices"
	"unsafe"
)

// Version is the version of the context and of the verdict that this package writes and reads.
const Version = 1

// Phase is what a filter is asked about.
type Phase uint8

// The phases.
const (
	Request  Phase = iota // the arguments of a call
	Response              // its result, or the error object in its place
	Chunk                 // a piece of a result that streams
)

// phases holds each phase's name, and the name of the member that holds the body in it.
var phases = [...]struct{ name, member string }{{"request", "arguments"}, {"response", "result"}, {"chunk", "chunk"}}

// String returns the phase as contexts name it.
func (p Phase) String() string {
	if int(p) < len(phases) {
		return phases[p].name
	}
	return "none"
}

// Member is the name of the body in this phase, in contexts and in verdicts.
func (p Phase) Member() string {
	if int(p) < len(phases) {
		return phases[p].member
	}
	return ""
}

// Phases is a set of phases.
type Phases uint8

// Set returns the set with p in it.
func (s Phases) Set(p Phase) Phases { return s | 1<<p }

// Has says whether p is in the set.
func (s Phases) Has(p Phase) bool { return s&(1<<p) != 0 }

// Flags say where in its stream a chunk stands.
type Flags uint8

// The flags. A stream of one chunk has both.
const (
	First Flags = 1 << iota
	Last
)

// Plan is the step of a plan that a call is.
type Plan struct {
	ID   string
	Step int
	In   bool // whether the call is a step of a plan at all
}

// Context is what a filter is shown. Any member may be assigned between two calls: what was written of it is kept, and only
// what changed is written anew, so that a row of filters costs one encoding. What strings and Body point to may not change
// without Reset. One goroutine uses a Context at a time.
type Context struct {
	Tenant, Agent, User string
	Op, Server, Tool    string
	Now                 int64 // milliseconds since 1970
	Plan                Plan
	Phase               Phase
	Flags               Flags // of a chunk
	Labels              []string
	Body                []byte // arguments, result or chunk: a JSON object that the gateway took; {} when it is nil
	Arguments           []byte // after the request what was sent on, for dialects that show a result beside its request
	Raw                 any    // what a dialect is to show in place of all else; for tools that have it

	known  bool // whether head is there
	head   head // what json and flat were written from
	labels []string
	json   written
	flat   written
	leaves leaves
	whole  []byte
}

// head is all of a context but labels and body.
type head struct {
	tenant, agent, user, op, server, tool string
	now                                   int64
	plan                                  Plan
	phase                                 Phase
	flags                                 Flags
}

// written is what is kept of one form: its head, and its labels.
type written struct{ head, labels []byte }

// keep is the largest buffer, in bytes, that a context keeps when it is reset.
const keep = 256 << 10

// Reset empties the context and keeps its memory.
func (c *Context) Reset() {
	if cap(c.whole)+cap(c.leaves.table)+cap(c.leaves.texts) > keep {
		c.whole, c.leaves = nil, leaves{}
	}
	*c = Context{
		labels: c.labels[:0], json: written{c.json.head[:0], c.json.labels[:0]}, flat: written{c.flat.head[:0], c.flat.labels[:0]},
		leaves: leaves{texts: c.leaves.texts[:0], table: c.leaves.table[:0], open: c.leaves.open[:0]}, whole: c.whole[:0],
	}
}

// Form is one way to write a context.
type Form uint8

// The forms. README.md of package wasm describes them byte by byte.
const (
	FormJSON   Form = iota // one JSON object
	FormFlat               // a header of fixed size with offsets
	FormLeaves             // the flat form with a table of the keys and scalars in the body
)

// Size is how many bytes Put writes.
func (c *Context) Size(f Form) int {
	c.settle()
	if f == FormJSON {
		return c.sizeJSON()
	}
	return c.sizeFlat(f)
}

// Put writes to dst what Size of the same form has just counted, and returns how many bytes that were. Nothing may be assigned
// between the two, and dst must not be shorter.
func (c *Context) Put(f Form, dst []byte) int {
	if f == FormJSON {
		return c.putJSON(dst)
	}
	return c.putFlat(f, dst)
}

// JSON returns the context as one JSON object. It is the context's own, until the next call of a method.
func (c *Context) JSON() []byte { return c.all(FormJSON) }

// Flat returns the context in its flat form, like JSON.
func (c *Context) Flat() []byte { return c.all(FormFlat) }

func (c *Context) all(f Form) []byte {
	n := c.Size(f)
	c.whole = slices.Grow(c.whole[:0], n)[:n]
	c.Put(f, c.whole)
	return c.whole
}

// settle forgets what was written of members that have changed since.
func (c *Context) settle() {
	if !c.known || c.moved() {
		c.known = true
		c.head = head{c.Tenant, c.Agent, c.User, c.Op, c.Server, c.Tool, c.Now, c.Plan, c.Phase, c.Flags}
		c.json = written{c.json.head[:0], c.json.labels[:0]} // what follows the labels is named after the phase
		c.flat.head = c.flat.head[:0]
	}
	if !slices.EqualFunc(c.labels, c.Labels, same) {
		c.labels = append(c.labels[:0], c.Labels...)
		c.json.labels, c.flat.labels = c.json.labels[:0], c.flat.labels[:0]
	}
}

// moved says whether the head differs from what was written of it.
func (c *Context) moved() bool {
	h := &c.head
	return c.Now != h.now || c.Phase != h.phase || c.Flags != h.flags || c.Plan.In != h.plan.In || c.Plan.Step != h.plan.Step ||
		!same(c.Tenant, h.tenant) || !same(c.Agent, h.agent) || !same(c.User, h.user) || !same(c.Op, h.op) ||
		!same(c.Server, h.server) || !same(c.Tool, h.tool) || !same(c.Plan.ID, h.plan.ID)
}

// same compares strings, which most often are the same memory.
func same(a, b string) bool {
	return len(a) == len(b) && (unsafe.StringData(a) == unsafe.StringData(b) || a == b)
}

var noBody = []byte("{}")

func (c *Context) object() []byte {
	if c.Body == nil {
		return noBody
	}
	return c.Body
}
