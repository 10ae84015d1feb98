package mcp

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"strconv"

	"github.com/gatewright/gatewright/gateway/catalogue"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/merkle/canon"
)

// JSON-RPC error codes: those of JSON-RPC 2.0 and MCP where they name the case, and one of our own for a refusal and
// one for a fault of the server behind the gateway.
const (
	rpcParse          = -32700
	rpcInvalidRequest = -32600
	rpcNoMethod       = -32601
	rpcInvalidParams  = -32602
	rpcInternal       = -32603
	rpcRefused        = -32003
	rpcUpstream       = -32010
	rpcHeaderMismatch = -32020
	rpcNoCapability   = -32021
	rpcVersion        = -32022

	rpcCapability = "-32021" // a server's
)

// write turns the finished call into the HTTP answer.
func (e *exchange) write() {
	c := &e.call
	if !e.stream.Opened() {
		e.x.SetRecord(c)
	}
	if c.Denial != nil {
		e.stopListening()
		e.refuse(c.Denial)
		return
	}
	if e.listener != nil {
		e.listening()
		return
	}
	if e.method == "logging/setLevel" {
		e.d.Hub.wantLogs(c, e.session)
	}
	if e.method == "initialize" && e.session != nil {
		e.x.Response.Header.Set("Mcp-Session-Id", e.session.id)
	}
	if e.id == nil {
		e.x.SetStatusCode(http.StatusAccepted)
		return
	}
	if c.Reply.Task != nil {
		e.showTask()
	}
	b := append(e.out[:0], `{"jsonrpc":"2.0","id":`...)
	b = append(b, e.id...)
	if c.Reply.Error != nil && !e.levelKept() {
		b = append(b, `,"error":`...)
		b = append(b, c.Reply.Error...)
	} else {
		b = append(b, `,"result":`...)
		b = e.appendResult(b, e.dressed(resultOf(c.Reply)))
	}
	status := http.StatusOK
	if e.modern && missesCapability(c.Reply.Error) {
		status = http.StatusBadRequest // MCP 2026-07-28, transports
	}
	e.out = append(b, '}')
	e.deliver(status, e.out)
}

// resultOf is the result of a reply; an empty object in the place of an error that the client need not know of.
func resultOf(r pipeline.Reply) []byte {
	if r.Result == nil {
		return []byte("{}")
	}
	return r.Result
}

// levelKept says whether the level of logging is kept here, for a server that has no method for it.
func (e *exchange) levelKept() bool {
	code, _ := canon.Get(e.call.Reply.Error, "code")
	return e.method == "logging/setLevel" && e.session != nil && string(code) == "-32601"
}

// missesCapability says whether a server refused because the client lacks a capability.
func missesCapability(failure []byte) bool {
	code, ok := canon.Get(failure, "code")
	return ok && string(code) == rpcCapability
}

// appendResult writes the result with our one key in its _meta, and, to a modern client, with what that era asks of
// every result. The reply's digest in the record was taken before.
func (e *exchange) appendResult(b, result []byte) []byte {
	b = append(b, '{')
	start := len(b)
	oldMeta, hasMeta := canon.Get(result, "_meta")
	_, hasType := canon.Get(result, "resultType")
	if len(e.call.Receipt) > 0 && !empty(e.method) || e.modern || hasMeta {
		b = append(b, `"_meta":{`...)
		b = e.appendMeta(b, oldMeta)
		b = append(b, '}')
	}
	if e.modern {
		b = append(comma(b, start), `"resultType":"`...)
		b = append(append(b, e.resultType(result)...), '"')
	}
	private := e.modern && e.call.Op == catalogue.ReadResource // what one caller may read another may not
	if private {
		b = append(comma(b, start), `"ttlMs":0,"cacheScope":"private"`...)
	}
	if hasMeta || hasType || private {
		b = appendMembers(b, start, result, func(key string) bool {
			return key != "_meta" && key != "resultType" && (!private || key != "ttlMs" && key != "cacheScope")
		})
	} else if inner := bytes.TrimSpace(result[1 : len(result)-1]); len(inner) > 0 {
		b = append(comma(b, start), inner...)
	}
	return append(b, '}')
}

// empty tells the methods of the older era whose result is an empty object.
func empty(method string) bool { return method == "ping" || method == "logging/setLevel" }

// resultType is that of a result for a modern client.
func (e *exchange) resultType(result []byte) string {
	if e.call.Reply.Task != nil && e.call.Op == catalogue.CallTool {
		return "task"
	}
	if kind, ok := canon.Get(result, "resultType"); ok && e.call.Can != nil && string(kind) == `"input_required"` {
		return "input_required"
	}
	return "complete"
}

// appendMeta writes the members of the upstream's _meta, which are left as they are but for the keys that are ours.
func (e *exchange) appendMeta(b, old []byte) []byte {
	start := len(b)
	if canon.KindOf(old) == '{' {
		b = appendMembers(b, start, old, func(key string) bool {
			return !isOurs(key) && (!e.modern || key != "io.modelcontextprotocol/serverInfo")
		})
	}
	if len(e.call.Receipt) > 0 {
		b = append(comma(b, start), `"gatewright/receipt":"`...)
		b = append(b, e.call.Receipt...)
		b = append(b, '"')
		if e.stream.Opened() { // else a header has it
			b = append(b, `,"gatewright/salt":"`...)
			b = append(base64.RawURLEncoding.AppendEncode(b, e.call.Salt[:]), '"')
		}
	}
	if e.modern {
		b = append(comma(b, start), `"io.modelcontextprotocol/serverInfo":`...)
		b = e.d.appendServerInfo(b)
	}
	return b
}

// comma separates a member from those written since start.
func comma(b []byte, start int) []byte {
	if len(b) > start {
		return append(b, ',')
	}
	return b
}

// appendMembers writes the wanted members of a checked object, raw.
func appendMembers(b []byte, start int, object []byte, want func(key string) bool) []byte {
	_ = canon.Each(object, func(key, value []byte) error {
		if want(string(key)) {
			b = canon.AppendString(comma(b, start), string(key))
			b = append(append(b, ':'), value...)
		}
		return nil
	})
	return b
}

// refuse answers a refusal. What concerns HTTP (who calls, how often, how it is framed, whether the ledger stands) has
// its HTTP status; a judged call that is refused is a JSON-RPC error under 200, which every stock client shows to its
// user with the message.
func (e *exchange) refuse(d *pipeline.Denial) {
	if !e.stream.Opened() {
		e.x.RefusalHead(d, e.call.Record)
	}
	if d.Code == pipeline.InvalidArguments && e.forModels() {
		e.refuseToModel(d)
		return
	}
	status, code := e.rpc(d)
	id := e.id
	if id == nil {
		id = []byte("null")
		if status == http.StatusOK {
			status = d.Status()
		}
	}
	b := append(e.out[:0], `{"jsonrpc":"2.0","id":`...)
	b = append(b, id...)
	b = append(b, `,"error":{"code":`...)
	b = strconv.AppendInt(b, int64(code), 10)
	b = append(b, `,"message":`...)
	b = canon.AppendString(b, message(d, e.call.Record))
	b = append(b, `,"data":`...)
	b = e.appendData(b, d)
	e.out = append(b, "}}"...)
	e.deliver(status, e.out)
}

// forModels tells a call whose arguments the model that made them is to mend: to the protocol that is a failed result, which
// clients show to models, and not an error (MCP 2025-11-25, tools, error handling; SEP-1303).
func (e *exchange) forModels() bool {
	return e.method == catalogue.CallTool && e.id != nil && (e.modern || string(e.x.Head.ProtocolVersion) == latestLegacy)
}

// refuseToModel answers a refusal as a failed result. What an error has as its data stands in _meta.
func (e *exchange) refuseToModel(d *pipeline.Denial) {
	b := append(e.out[:0], `{"jsonrpc":"2.0","id":`...)
	b = append(append(b, e.id...), `,"result":{`...)
	if e.modern {
		b = append(b, `"resultType":"complete",`...)
	}
	b = append(b, `"isError":true,"content":[{"type":"text","text":`...)
	b = canon.AppendString(b, message(d, e.call.Record))
	b = append(b, `}],"_meta":{"gatewright/refusal":`...)
	b = e.appendData(b, d)
	if e.modern {
		b = append(b, `,"io.modelcontextprotocol/serverInfo":`...)
		b = e.d.appendServerInfo(b)
	}
	e.out = append(b, "}}}"...)
	e.deliver(http.StatusOK, e.out)
}

// message puts the reason and the record id into the text, since many clients show nothing else.
func message(d *pipeline.Denial, record string) string {
	text := d.Message + " [" + string(d.Code)
	if record != "" {
		text += " " + record
	}
	return text + "]. " + d.Hint
}

func (e *exchange) appendData(b []byte, d *pipeline.Denial) []byte {
	if d.Data != nil {
		return append(b, d.Data...)
	}
	b = append(b, `{"reason":`...)
	b = canon.AppendString(b, string(d.Code))
	b = append(b, `,"hint":`...)
	b = canon.AppendString(b, d.Hint)
	if e.call.Record != "" {
		b = append(b, `,"record":`...)
		b = canon.AppendString(b, e.call.Record)
	}
	if len(e.call.Receipt) > 0 {
		b = append(b, `,"gatewright/receipt":"`...)
		b = append(b, e.call.Receipt...)
		b = append(b, '"')
	}
	return append(b, '}')
}

// rpc gives the HTTP status and the JSON-RPC code of a refusal.
func (e *exchange) rpc(d *pipeline.Denial) (status, code int) {
	if d.Reason == noSession {
		return http.StatusNotFound, rpcInvalidRequest // MCP 2025-11-25, transports: the client initializes anew
	}
	if d.Reason == missingCapability {
		return d.Status(), rpcNoCapability
	}
	switch d.Code {
	case pipeline.Unauthenticated, pipeline.WrongKeyKind, pipeline.InsufficientScope, pipeline.RateLimited, pipeline.TooLarge, pipeline.MethodNotAllowed,
		pipeline.AuditUnavailable, pipeline.Timeout:
		return d.Status(), rpcRefused
	case pipeline.Malformed:
		if e.body {
			return d.Status(), rpcInvalidParams
		}
		if d.Reason == "malformed_json" {
			return d.Status(), rpcParse
		}
		return d.Status(), rpcInvalidRequest
	case pipeline.HeaderMismatch:
		return d.Status(), rpcHeaderMismatch
	case pipeline.Unsupported:
		if d.Data != nil {
			return d.Status(), rpcVersion
		}
		return http.StatusUnsupportedMediaType, rpcInvalidRequest
	case pipeline.MethodNotFound:
		if e.modern {
			return d.Status(), rpcNoMethod
		}
		return http.StatusOK, rpcNoMethod
	case pipeline.InvalidArguments:
		return http.StatusOK, rpcInvalidParams
	case pipeline.UpstreamDown, pipeline.UpstreamTimeout, pipeline.UpstreamMalformed, pipeline.UpstreamTooLarge, pipeline.UpstreamRefused, pipeline.UpstreamBusy, pipeline.ResultInvalid:
		return http.StatusOK, rpcUpstream
	case pipeline.Internal:
		return http.StatusOK, rpcInternal
	}
	return http.StatusOK, rpcRefused
}
