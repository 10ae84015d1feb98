package mcp

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/gatewright/gatewright/bench/task"
	"github.com/gatewright/gatewright/plugins/connector"
)

// What both ways between two processes carry, in bytes.
const (
	requestSize = 1500
	replySize   = 1024
)

// probeName is the tool that answers with the digest of what reached it.
const probeName = "probe"

// newRequest makes a request of requestSize bytes in all its fields.
func newRequest(name string) *connector.Request {
	r := &connector.Request{
		Method: "tools/call", Name: name, Principal: hopPrincipal,
		Meta: []byte(`{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}`),
	}
	const open, end = `{"note":"`, `"}`
	room := requestSize - len(payload(r)) - len(open) - len(end)
	r.Arguments = []byte(open + strings.Repeat("n", room) + end)
	return r
}

// payload is the bytes of a request, one field after the other.
func payload(r *connector.Request) []byte {
	out := append([]byte(r.Method+r.Name+r.Principal), r.Arguments...)
	return append(out, r.Meta...)
}

// newReply makes the result that every call is answered with.
func newReply() []byte {
	const open, end = `{"content":[{"type":"text","text":"`, `"}],"isError":false}`
	return []byte(open + strings.Repeat("r", replySize-len(open)-len(end)) + end)
}

// digest is the answer to a probe.
func digest(payload []byte) []byte {
	sum := sha256.Sum256(payload)
	return []byte(`{"sha256":"` + hex.EncodeToString(sum[:]) + `"}`)
}

// hostSettings are those of a process that calls another over one way between two processes.
type hostSettings struct {
	Self []string `json:"self"` // the command that starts this binary
	Dir  string   `json:"dir"`  // for sockets
}

// callName is the tool that the load calls.
const callName = task.Tool

// hopPrincipal is for whom the load calls: as long as a real one.
const hopPrincipal = "agt_01jd0000000000000000000000"
