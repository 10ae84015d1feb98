package mcp

import (
	"strings"

	"github.com/gatewright/gatewright/gateway/pipeline"
)

// maxExtra bounds what goes on to a server of a client's own _meta, in bytes: twice what W3C Baggage lets a header have.
const maxExtra = 16 << 10

// protocolKeys is how the protocol's own keys of _meta begin.
const protocolKeys = "io.modelcontextprotocol/"

// hop tells the keys of _meta that are between two neighbours, and so go no further: those of the protocol, which say what this
// client can and which version it speaks, where the gateway says the like to the server in its own name, and those of the
// gateway, of which one is a credential.
func hop(key string) bool {
	return key == "progressToken" || strings.HasPrefix(key, protocolKeys) || isOurs(key)
}

// isOurs tells the gateway's own keys of _meta, however they are spelled: one is a credential, and another what callers
// believe of a result.
func isOurs(key string) bool {
	const ours = "gatewright/"
	return len(key) >= len(ours) && strings.EqualFold(key[:len(ours)], ours)
}

// carry sets what of _meta goes to the server. c.Meta is what nobody needs to judge: a traceparent in the exact form of W3C Trace
// Context, and, where heard says that the answer may be preceded by something and the client hears it, its progress token, which
// the server is not shown, and the level of logging that it asks for. c.Extra is all else that the client put there, value for
// value as it came, but for what is between neighbours: filters see it, and the record has its digest.
func (e *exchange) carry(c *pipeline.Call, heard bool) error {
	level := ""
	if heard && !e.modern {
		level = e.session.logLevel()
	}
	var b []byte
	add := func(key string, value []byte) {
		if b == nil {
			b = append(b, '{')
		}
		b = append(append(comma(b, 1), `"`+key+`":`...), value...)
	}
	if e.carries.trace != nil {
		add("traceparent", e.carries.trace)
	}
	if heard && (e.metaRaw != nil || level != "") && e.x.MayStream() {
		if e.carries.progress != nil && validID(e.carries.progress) {
			add("progressToken", e.carries.progress)
		}
		if e.modern && isLogLevel(e.carries.level) {
			add("io.modelcontextprotocol/logLevel", e.carries.level)
		} else if level != "" {
			add("io.modelcontextprotocol/logLevel", []byte(level))
		}
	}
	if b != nil {
		c.Meta = append(b, '}')
	}
	if !e.carries.more {
		return nil
	}
	b = append(make([]byte, 0, min(len(e.metaRaw), maxExtra)+1), '{')
	traced := e.carries.trace != nil
	b = append(appendMembers(b, 1, e.metaRaw, func(key string) bool { return !hop(key) && (key != "traceparent" || !traced) }), '}')
	if len(b) > maxExtra {
		d := deny(pipeline.Malformed, `what "_meta" has for the server is longer than 16 KiB`).WithReason("meta_too_large")
		d.Hint = "send less in params._meta; what a tool is to work on belongs in its arguments"
		return d
	}
	c.Extra = b
	return nil
}

// isLogLevel says whether raw JSON is one of the levels of RFC 5424.
func isLogLevel(raw []byte) bool {
	switch string(raw) {
	case `"debug"`, `"info"`, `"notice"`, `"warning"`, `"error"`, `"critical"`, `"alert"`, `"emergency"`:
		return true
	}
	return false
}

// isTraceparent says whether raw JSON is a string "00-TRACE-PARENT-FLAGS" of 32, 16 and 2 digits of lower-case hex,
// neither id all zero. It is not decoded: what needs an escape is not of this form.
func isTraceparent(raw []byte) bool {
	const form = `"00-tttttttttttttttttttttttttttttttt-pppppppppppppppp-ff"`
	if len(raw) != len(form) {
		return false
	}
	for i, c := range raw {
		switch form[i] {
		case 't', 'p', 'f':
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
				return false
			}
		default:
			if c != form[i] {
				return false
			}
		}
	}
	const zeros = "00000000000000000000000000000000"
	return string(raw[4:36]) != zeros && string(raw[37:53]) != zeros[:16]
}
