package mcp

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/merkle/intent"
)

// Bounds of what is small by nature. Larger is a mistake or an attack.
const (
	maxID     = 256  // bytes of a request id
	maxMethod = 128  // bytes of a method name
	maxName   = 1024 // bytes of a tool name or resource URI
	maxRetry  = 255  // bytes of an Idempotency-Key
)

// readMessage parses the body, once, into the call. It is called by the line when it is known who calls.
func (e *exchange) readMessage(_ context.Context, c *pipeline.Call) error {
	x := e.x
	if !x.IsPost() && !x.IsDelete() && !x.IsGet() {
		x.Response.Header.Set("Allow", "DELETE, GET, POST")
		return deny(pipeline.MethodNotAllowed, "MCP messages are sent with POST")
	}
	if err := e.checkTenant(c); err != nil {
		return err
	}
	switch {
	case x.IsDelete():
		return e.leave(c)
	case x.IsGet():
		return e.readStream(c)
	}
	if t, _, _ := bytes.Cut(x.Head.ContentType, []byte(";")); !strings.EqualFold(string(bytes.TrimSpace(t)), "application/json") {
		d := deny(pipeline.Unsupported, "Content-Type must be application/json")
		d.Hint = "send the message as application/json"
		return d
	}
	if len(x.Head.Retry) > maxRetry {
		return deny(pipeline.Malformed, fmt.Sprintf("Idempotency-Key is longer than %d bytes", maxRetry))
	}
	body := x.Request.Body()
	if err := canon.Check(body, e.d.JSON); err != nil {
		return deny(pipeline.Malformed, err.Error()).WithReason("malformed_json")
	}
	if err := e.envelope(body); err != nil {
		return err
	}
	e.body = true
	meta, err := e.meta()
	if err != nil {
		return err
	}
	if err := e.era(meta); err != nil {
		return err
	}
	if err := e.shown(c, meta); err != nil {
		return err
	}
	if !e.modern {
		if err := e.inSession(c); err != nil {
			return err
		}
		if e.session != nil && e.id != nil {
			e.session.running(&e.running, e.id, e.stop)
		}
	}
	if e.responseTo != nil {
		return e.respond(c)
	}
	if err := e.operation(c); err != nil || !e.modern || !c.Plan {
		return err
	}
	return e.round(c, meta)
}

// checkTenant lets X-Organization-Id only repeat what the credential says.
func (e *exchange) checkTenant(c *pipeline.Call) error {
	if o := e.x.Head.Organization; o != nil && string(o) != c.Caller.Tenant() {
		return deny(pipeline.NotFound, "X-Organization-Id is not an organisation of this credential").WithReason("other_tenant")
	}
	return nil
}

// envelope reads the JSON-RPC 2.0 members, and those of params that many operations have. The message is checked JSON, and large
// ones are walked through once.
func (e *exchange) envelope(body []byte) error {
	doc := canon.NewCursor(body)
	if doc.Kind() != '{' {
		return deny(pipeline.Malformed, "send one JSON-RPC message, not a batch")
	}
	var version, id, method []byte
	for more := doc.Enter(); more; more = doc.More() {
		switch string(doc.Key()) {
		case "jsonrpc":
			version = doc.Value()
		case "id":
			id = doc.Value()
		case "method":
			method = doc.Value()
		case "params":
			place := doc
			if doc.Kind() == '{' {
				e.members(&doc)
			} else {
				doc.Value()
			}
			e.params = doc.From(place)
		case "result":
			e.result = doc.Value()
		case "error":
			e.failure = doc.Value()
		default:
			doc.Value()
		}
	}
	if doc.Broken() {
		return deny(pipeline.Malformed, "the message is not read as JSON")
	}
	if validID(id) {
		e.id = id // also a refusal of what follows is answered under it
	}
	if method == nil && (e.result != nil || e.failure != nil) && string(version) == `"2.0"` && validID(id) {
		if e.responseTo, e.id = id, nil; e.result != nil && e.failure != nil {
			return deny(pipeline.Malformed, "a response has a result or an error")
		}
		return nil
	}
	switch {
	case e.result != nil, e.failure != nil:
		return deny(pipeline.Malformed, "a request has neither a result nor an error")
	case string(version) != `"2.0"`:
		return deny(pipeline.Malformed, `"jsonrpc" must be "2.0"`)
	case id != nil && !validID(id):
		return deny(pipeline.Malformed, `"id" must be a string or an integer of at most 256 bytes`)
	case canon.KindOf(method) != '"' || len(method) > maxMethod:
		return deny(pipeline.Malformed, `"method" must be a string`)
	case e.params != nil && canon.KindOf(e.params) != '{':
		return deny(pipeline.Malformed, `"params" must be an object`)
	}
	m := "tools/call"
	if string(method) != `"tools/call"` {
		var err error
		if m, err = canon.Unquote(method); err != nil {
			return fmt.Errorf("read the method: %w", err)
		}
	}
	e.method = m
	if (id == nil) != strings.HasPrefix(m, "notifications/") {
		return deny(pipeline.Malformed, "a request has an id and a notification has none")
	}
	return nil
}

// members steps over params.
func (e *exchange) members(params *canon.Cursor) {
	for more := params.Enter(); more; more = params.More() {
		key := params.Key()
		value := params.Value()
		switch string(key) {
		case "name":
			e.name = value
		case "arguments":
			e.args = value
		case "_meta":
			e.metaRaw = value
		case "task":
			e.taskRaw = value
		case "inputResponses":
			e.input = value
		case "requestState":
			e.state = value
		}
	}
}

func validID(id []byte) bool {
	if len(id) > maxID {
		return false
	}
	switch canon.KindOf(id) {
	case '"':
		return true
	case '0':
		return !bytes.ContainsAny(id, ".eE")
	}
	return false
}

// meta is what params._meta says that concerns the gateway.
type meta struct {
	version string // io.modelcontextprotocol/protocolVersion
	caps    []byte // io.modelcontextprotocol/clientCapabilities, an object
	intent  []byte // gatewright/intent, raw string contents
}

func (e *exchange) meta() (meta, error) {
	var m meta
	raw := e.metaRaw
	if raw == nil {
		return m, nil
	}
	if canon.KindOf(raw) != '{' {
		return m, deny(pipeline.Malformed, `"_meta" must be an object`)
	}
	err := canon.Each(raw, func(key, value []byte) error {
		switch string(key) {
		case "io.modelcontextprotocol/protocolVersion":
			if string(value) == `"`+modernVersion+`"` {
				m.version = modernVersion
				return nil
			}
			s, err := stringOf(value, "_meta protocolVersion")
			m.version = s
			return err
		case "io.modelcontextprotocol/clientCapabilities":
			if canon.KindOf(value) == '{' {
				m.caps = value
			}
		case "gatewright/intent":
			s, err := stringOf(value, "_meta gatewright/intent")
			m.intent = []byte(s)
			return err
		case "traceparent":
			if isTraceparent(value) {
				e.carries.trace = value
			} else {
				e.carries.more = true
			}
		case "progressToken":
			e.carries.progress = value
		case "io.modelcontextprotocol/logLevel":
			e.carries.level = value
		default:
			e.carries.more = e.carries.more || !bytes.HasPrefix(key, []byte(protocolKeys)) && !hop(string(key))
		}
		return nil
	})
	return m, err
}

func stringOf(value []byte, what string) (string, error) {
	if canon.KindOf(value) != '"' {
		return "", deny(pipeline.Malformed, what+" must be a string")
	}
	s, err := canon.Unquote(value)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", what, err)
	}
	return s, nil
}

// era settles which protocol the message speaks and holds the headers against the body (MCP 2026-07-28, transports).
func (e *exchange) era(m meta) error {
	h := &e.x.Head
	header := string(h.ProtocolVersion)
	e.modern = m.version != "" || header == modernVersion
	if h.Method != nil && string(h.Method) != e.method {
		return mismatch("Mcp-Method does not say what the body's method says")
	}
	switch {
	case m.version != "" && header != m.version:
		return mismatch("MCP-Protocol-Version does not say what the body's _meta says")
	case !e.modern && (h.ProtocolVersion == nil || slices.Contains(legacyVersions, header)):
		return nil
	case header != modernVersion:
		return e.unsupported(header)
	case m.version == "" && e.id != nil: // a notification says it in the header alone (MCP 2026-07-28, NotificationParams)
		return deny(pipeline.Malformed, "the body's _meta must carry io.modelcontextprotocol/protocolVersion")
	case h.Method == nil:
		return mismatch("Mcp-Method is missing")
	case e.id != nil && m.caps == nil:
		return deny(pipeline.Malformed, "the body's _meta must carry io.modelcontextprotocol/clientCapabilities")
	}
	return nil
}

func mismatch(text string) *pipeline.Denial { return deny(pipeline.HeaderMismatch, text) }

func (e *exchange) unsupported(version string) error {
	d := deny(pipeline.Unsupported, "unsupported protocol version").WithReason("protocol_version")
	d.Hint = "see the list of supported versions in the answer"
	b := append([]byte(nil), `{"supported":["`+modernVersion+`"`...)
	for _, v := range legacyVersions {
		b = append(b, `,"`+v+`"`...)
	}
	b = append(b, `],"requested":`...)
	b = canon.AppendString(b, version)
	d.Data = append(b, '}')
	return d
}

// shown takes the plan as the client shows it. The header and _meta may both carry the token when they agree.
func (e *exchange) shown(c *pipeline.Call, m meta) error {
	h := &e.x.Head
	c.Shown.Token = h.Intent
	if m.intent != nil {
		if h.Intent != nil && !bytes.Equal(h.Intent, m.intent) {
			return mismatch("Gatewright-Intent does not say what _meta gatewright/intent says")
		}
		c.Shown.Token = m.intent
	}
	if h.Possession != nil {
		c.Shown.Possession, c.Shown.Method, c.Shown.Target = h.Possession, string(e.x.Method()), e.x.Target()
	}
	if h.Step == nil && h.Proof == nil {
		return nil
	}
	if h.Step == nil || len(c.Shown.Token) == 0 {
		return deny(pipeline.Malformed, "Gatewright-Proof comes with Gatewright-Step and Gatewright-Intent")
	}
	proof, err := intent.AppendProof(e.proof[:0], h.Proof)
	if err != nil {
		return deny(pipeline.Malformed, "Gatewright-Proof must be base64url without padding of whole 32-byte hashes").Because(err)
	}
	e.proof = proof
	c.Shown.Step, c.Shown.Proof = h.Step, proof
	return nil
}
