// Package gw is the kit for Gatewright filters in Go. It hides the ABI: a filter looks at a Context, tells a Verdict, and
// exports the few functions that its examples show. Build it as a reactor:
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -ldflags="-s -w" -o filter.wasm .
//
// Texts are bytes of UTF-8. What a filter keeps in variables during a call is gone when the call is over: memory goes back to
// what it was after gw_init. Memory of a module with Go's runtime is dear, so the packages fmt and encoding/json cost more fuel
// in one call than a filter has by default; this package does without them.
package gw

import "encoding/binary"

// Phase is what a filter is asked about.
type Phase uint32

// The phases.
const (
	Request Phase = iota + 1
	Response
	Chunk
)

// Context is what a filter is shown of one call. Its bytes are only read.
type Context struct{ raw []byte }

// ReadContext reads a context in its flat form, which Judge does.
func ReadContext(raw []byte) Context { return Context{raw} }

func (c Context) number(at uint32) uint32 { return binary.LittleEndian.Uint32(c.raw[at:]) }

func (c Context) text(at uint32) []byte {
	from := c.number(at)
	return c.raw[from : from+c.number(at+4)]
}

// Phase says what the filter is asked about.
func (c Context) Phase() Phase { return Phase(c.number(4)) }

// Now is the time of the call in milliseconds since 1970.
func (c Context) Now() int64 { return int64(binary.LittleEndian.Uint64(c.raw[16:])) }

// Tenant is whose call it is.
func (c Context) Tenant() string { return string(c.text(32)) }

// Agent is which of the tenant's agents calls.
func (c Context) Agent() string { return string(c.text(40)) }

// User is on whose behalf it calls.
func (c Context) User() string { return string(c.text(48)) }

// Op is the method, as tools/call.
func (c Context) Op() string { return string(c.text(56)) }

// Server is which server is called.
func (c Context) Server() string { return string(c.text(64)) }

// Tool is which of its tools.
func (c Context) Tool() string { return string(c.text(72)) }

// Plan returns the plan that the call is a step of, and which step it is.
func (c Context) Plan() (id string, step int, ok bool) {
	return string(c.text(80)), int(c.number(24)), c.number(12)&1 == 1
}

// Labels returns what the filters before this one put on the call.
func (c Context) Labels() []string {
	labels := make([]string, c.number(92))
	for i := range labels {
		labels[i] = string(c.text(c.number(88) + 8*uint32(i)))
	}
	return labels
}

// Body is arguments, result or chunk: a JSON object.
func (c Context) Body() []byte { return c.text(96) }

// Walk visits the keys, strings and numbers of the body. The gateway has read it already, so that this costs next to nothing.
func (c Context) Walk() *Walk {
	table, count := c.number(104), c.number(108)
	return &Walk{context: c.raw, body: c.number(96), table: c.raw[table : table+leafSize*count]}
}

// Verdict is what a filter answers. A call that nothing is said of passes.
type Verdict struct {
	denied          bool
	reason, message string
	labels, scores  []byte
	body            []byte
}

// Deny refuses the call. The reason is of a-z 0-9 _, the message for people.
func (v *Verdict) Deny(reason, message string) { v.denied, v.reason, v.message = true, reason, message }

// Reason says why without refusing.
func (v *Verdict) Reason(reason string) { v.reason = reason }

// Label adds a label of a-z 0-9 : _ . -
func (v *Verdict) Label(label string) { v.labels = AppendString(comma(v.labels), label) }

// Score adds a score from 0 to 1000 under a name of a-z 0-9 _
func (v *Verdict) Score(name string, score int) {
	v.scores = appendInt(append(AppendString(comma(v.scores), name), ':'), score)
}

// Rewrite has the call go on with this JSON object in place of the body.
func (v *Verdict) Rewrite(body []byte) { v.body = body }

// Append writes the verdict as JSON, which Judge does.
func (v *Verdict) Append(b []byte, p Phase) []byte {
	verdict := "pass"
	switch {
	case v.denied:
		verdict = "deny"
	case v.body != nil:
		verdict = "rewrite"
	}
	b = AppendString(append(b, `{"verdict":`...), verdict)
	if v.reason != "" {
		b = AppendString(append(b, `,"reason":`...), v.reason)
	}
	if v.message != "" {
		b = AppendString(append(b, `,"message":`...), v.message)
	}
	if v.labels != nil {
		b = append(append(append(b, `,"labels":[`...), v.labels...), ']')
	}
	if v.scores != nil {
		b = append(append(append(b, `,"scores":{`...), v.scores...), '}')
	}
	if verdict == "rewrite" {
		b = append(append(b, [...]string{Request: `,"arguments":`, Response: `,"result":`, Chunk: `,"chunk":`}[p]...), v.body...)
	}
	return append(b, '}')
}

func comma(list []byte) []byte {
	if list == nil {
		return list
	}
	return append(list, ',')
}

func appendInt(b []byte, n int) []byte {
	if n > 9 {
		b = appendInt(b, n/10)
	}
	return append(b, byte('0'+n%10))
}
