// Package mcp is the Model Context Protocol on the data port: bytes to pipeline.Call and back, for both eras on one
// address (the handshake protocols up to 2025-11-25, and the stateless 2026-07-28). It judges nothing; each operation
// walks the line.
package mcp

import (
	"context"
	"strings"
	"sync"

	"github.com/gatewright/gatewright/gateway/catalogue"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/proxy"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/policies"
)

// Catalogue is what the dialect reads of a tenant's servers and tools.
type Catalogue interface {
	Servers(tenant string) []catalogue.Server
	Tools(tenant, server string) []*catalogue.Tool
	Owns(tenant, server, tool string) bool
	Find(tenant, op, server, name string) (*catalogue.Tool, bool)
	Offers
}

// Offers is what the dialect reads of what servers have beside tools.
type Offers interface {
	Prompts(tenant, server string) (list []*catalogue.Tool, has bool)
	Resources(tenant, server string, templates bool) (list []*catalogue.Resource, has bool)
	Tasks(tenant, server string) catalogue.Tasks
}

// Engines gives the policy engine whose answer counts for a principal.
type Engines interface {
	Choose(tenant string, p *policies.Principal) (enforced, shadow *policies.Engine)
}

// Dialect serves /mcp and /mcp/{server}.
type Dialect struct {
	Line      *pipeline.Line
	Catalogue Catalogue
	Policies  Engines
	Overlays  func(tenant string) []*policies.Overlay // what narrows a tenant's bundle; nil: nothing does
	Version   string                                  // of the gateway, told to clients
	JSON      canon.Limits                            // bounds of a message
	Cursors   pipeline.Sealer                         // of the places where pages of lists begin
	Sessions  *Sessions
	Hub       *Hub             // nil: nobody listens for changes
	Rounds    *pipeline.Rounds // of calls whose servers ask their clients something; nil: none is continued

	Tasks *pipeline.Tasks // of calls that are answered later; nil: there are none

	pool sync.Pool
}

// Protocol versions, newest first. The first is the stateless era, the rest the era of the handshake.
const (
	modernVersion = "2026-07-28"
	latestLegacy  = "2025-11-25"
)

var legacyVersions = []string{latestLegacy, "2025-06-18", "2025-03-26", "2024-11-05"}

// exchange is one message on its way, reused from call to call.
type exchange struct {
	oneUse
	d     *Dialect
	call  pipeline.Call
	out   []byte
	proof []merkle.Hash

	read   func(context.Context, *pipeline.Call) error
	answer func(context.Context, *pipeline.Call) error
	work   proxy.Work
}

// oneUse is what of an exchange ends with its message.
type oneUse struct {
	x      *proxy.Exchange
	stream *proxy.Stream   // what the answer may become
	ctx    context.Context //nolint:containedctx // of the one call that the exchange is for
	server string          // from the path; empty on /mcp

	id      []byte // raw JSON: a string or an integer; nil on a notification
	method  string
	params  []byte
	name    []byte   // params.name, raw
	args    []byte   // params.arguments, raw
	input   []byte   // params.inputResponses, raw
	state   []byte   // params.requestState, raw
	taskRaw []byte   // params.task, raw
	metaRaw []byte   // params._meta, raw
	carries struct { // of params._meta: what the server may be told
		trace, progress, level []byte // raw
		more                   bool   // there are members of the client's own
	}
	modern bool

	listener *listener // that the message asks to become
	watching []uri     // resources that the message is about
	shownNow digests   // of a listener's lists when it began

	session    *session           // of an older client; nil when it has none
	stop       context.CancelFunc // ends the work of a message that names a session
	running    running            // as the session knows the message, once it can be given up
	responseTo []byte             // raw id of the question that the message answers; nil when it answers none
	result     []byte             // of such an answer, raw, or
	failure    []byte
	talk       sync.Mutex // held by whoever speaks to the client before the answer
	body       bool       // the message was read far enough to be answered as JSON-RPC
}

// keepBuffer is the largest answer buffer, in bytes, that is kept from call to call.
const keepBuffer = 1 << 20

func (d *Dialect) get() *exchange {
	if e, ok := d.pool.Get().(*exchange); ok {
		return e
	}
	e := &exchange{d: d}
	e.read = e.readMessage
	e.answer = e.answerHere
	e.work = e.serve
	return e
}

func (d *Dialect) put(e *exchange) {
	e.running.end()
	e.call.Reset()
	if cap(e.out) > keepBuffer {
		e.out = nil
	}
	e.oneUse, e.out, e.proof = oneUse{}, e.out[:0], e.proof[:0] // nobody holds talk any more
	d.pool.Put(e)
}

// Serve answers one HTTP request.
func (d *Dialect) Serve(x *proxy.Exchange) {
	x.Run(d.get().work)
}

// serve answers in one piece, or by opening the stream. The exchange is anybody's then.
func (e *exchange) serve(ctx context.Context, x *proxy.Exchange, s *proxy.Stream) {
	defer e.d.put(e)
	if x.Head.Session != nil && x.IsPost() {
		ctx, e.stop = x.Stoppable()
	}
	e.x, e.stream, e.ctx = x, s, ctx
	c := &e.call
	c.Remote, c.TLS, c.Credential, c.Certificate, c.Read = x.Remote, x.IsTLS(), x.Head.Credential(), x.Certificate(), e.read
	c.Retry, c.Path = string(x.Head.Retry), strings.TrimSuffix(x.Path, "/")
	c.Route = "/mcp"
	if rest, ok := strings.CutPrefix(x.Path, "/mcp/"); ok && rest != "" {
		c.Route, e.server = "/mcp/{server}", strings.TrimSuffix(rest, "/")
	}
	e.d.Line.Run(ctx, c)
	e.running.end()
	e.write()
}

// deny makes a refusal that the caller is told with a JSON-RPC code of its own.
func deny(code pipeline.Code, text string) *pipeline.Denial { return pipeline.Deny(code, text) }
