// Package task is what every bench asks of whatever it measures: to let one tool of one server be called, in 64 ways
// that are the 64 steps of one plan. It has those who can be asked: a bare proxy, and whole gateways; and the probe that
// each must pass, since a quick proxy that lets everything through would win every race.
package task

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/gatewright/gatewright/bench/rig"
	"github.com/gatewright/gatewright/merkle/canon"
)

// What is called.
const (
	Server = "shop"
	Tool   = "orders_update"
)

const planSteps = 64 // proofs of six hashes

// Schema is the tool's inputSchema.
const Schema = `{"type":"object","properties":{` +
	`"order":{"type":"string","minLength":1,"maxLength":64},"amount":{"type":"integer","minimum":0,"maximum":1000000},` +
	`"currency":{"type":"string","enum":["EUR","USD","GBP"]},"note":{"type":"string","maxLength":4096},` +
	`"tags":{"type":"array","maxItems":16,"items":{"type":"string"}},` +
	`"lines":{"type":"array","maxItems":64,"items":{"type":"object","properties":{"sku":{"type":"string"},` +
	`"quantity":{"type":"integer","minimum":1},"price":{"type":"number"},"gift":{"type":"boolean"}},` +
	`"required":["sku","quantity"],"additionalProperties":false}}},` +
	`"required":["order","amount","currency"],"additionalProperties":false}`

// fixed are the arguments that a step of the plan fixes; the others are left open to the agent.
func fixed(step int) string {
	return fmt.Sprintf(`"order":"ord-%06d","amount":%d,"currency":"EUR"`, step, 100+step)
}

// Draft is the plan as an agent declares it. The steps may be taken without limit, so that the load can go on.
func Draft() []byte {
	var b strings.Builder
	b.WriteString(`{"goal":"bring the orders of today up to date","steps":[`)
	for i := range planSteps {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"server":%q,"tool":%q,"args":{%s},"where":{"note":{"open":true},"tags":{"open":true},"lines":{"open":true}},"uses":0}`,
			Server, Tool, fixed(i))
	}
	b.WriteString(`]}`)
	return []byte(b.String())
}

// Change is how a call differs from the one that the plan allows; the zero Change is none.
type Change struct {
	Amount int    // breaks the plan
	Note   string // begins an argument that the plan leaves open
	Hears  bool   // the caller hears what the server has to say before the answer
}

// arguments are those of a call of a step.
func arguments(step int, c Change) string {
	f := fixed(step)
	if c.Amount != 0 {
		f = fmt.Sprintf(`"order":"ord-%06d","amount":%d,"currency":"EUR"`, step, c.Amount)
	}
	var lines []string
	for i := range 6 {
		lines = append(lines, fmt.Sprintf(`{"sku":"sku-%04d-%02d","quantity":%d,"price":%d.95,"gift":%t}`, step*7+i, i, i+1, 10+i, i%2 == 0))
	}
	note := c.Note + strings.Repeat("Please deliver after noon — the bell is broken. ", 14)
	return `{` + f + `,"note":` + strconv.Quote(note) + `,"tags":["priority","returning customer","autumn"],"lines":[` + strings.Join(lines, ",") + `]}`
}

// Pass is what an agent shows with its calls.
type Pass struct {
	Key     string  `json:"key"`
	Token   string  `json:"token"`
	Steps   []Shown `json:"steps"`
	Session string  `json:"session,omitempty"` // of a client of the older era (MCP 2025-11-25); the newer one has none
}

// Shown is an explicit step with its proof.
type Shown struct {
	Step  string `json:"step"`
	Proof string `json:"proof"`
}

// Protocol versions of the two eras.
const (
	newer = "2026-07-28"
	older = "2025-11-25"
)

// message is the JSON-RPC body of a call: about 1.5 KB in either era.
func message(version string, step int, c Change) []byte {
	meta := `"bench/pad":"` + strings.Repeat("0", 150) + `"`
	if version == newer {
		meta = `"io.modelcontextprotocol/protocolVersion":"` + newer + `",` +
			`"io.modelcontextprotocol/clientInfo":{"name":"bench","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}`
	}
	if c.Hears {
		meta += `,"io.modelcontextprotocol/logLevel":"info"`
	}
	return []byte(`{"jsonrpc":"2.0","id":` + strconv.Itoa(step+1) + `,"method":"tools/call","params":{"name":"` + Tool + `","arguments":` +
		arguments(step, c) + `,"_meta":{` + meta + `}}}`)
}

// Request is a whole call of a step over HTTP, with what a good answer begins with.
func (p *Pass) Request(host string, step int, c Change) rig.Request {
	era := [][2]string{{"Mcp-Protocol-Version", newer}, {"Mcp-Method", "tools/call"}, {"Mcp-Name", Tool}}
	if p.Session != "" {
		era = [][2]string{{"Mcp-Protocol-Version", older}, {"Mcp-Session-Id", p.Session}}
	}
	body := message(era[0][1], step, c)
	return rig.Request{
		Wire: wire(host, body, append(era, [][2]string{
			{"Authorization", "Bearer " + p.Key}, {"Gatewright-Intent", p.Token},
			{"Gatewright-Step", p.Steps[step].Step}, {"Gatewright-Proof", p.Steps[step].Proof},
		}...)),
		Want: []byte(`{"jsonrpc":"2.0","id":` + strconv.Itoa(step+1) + `,"result":{`),
	}
}

// Listen is a request of the stateless era to be told of changes (subscriptions/listen): a stream that says next to nothing.
func (p *Pass) Listen(host string) []byte {
	body := `{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true},` +
		`"_meta":{"io.modelcontextprotocol/protocolVersion":"` + newer + `","io.modelcontextprotocol/clientInfo":{"name":"bench","version":"1"},` +
		`"io.modelcontextprotocol/clientCapabilities":{}}}}`
	return wire(host, []byte(body), [][2]string{
		{"Mcp-Protocol-Version", newer}, {"Mcp-Method", "subscriptions/listen"}, {"Authorization", "Bearer " + p.Key},
	})
}

// wire is a POST to the server's route.
func wire(host string, body []byte, header [][2]string) []byte {
	var b strings.Builder
	b.WriteString("POST /mcp/" + Server + " HTTP/1.1\r\n")
	for _, h := range append([][2]string{
		{"Host", host}, {"Content-Type", "application/json"}, {"Accept", "application/json, text/event-stream"},
		{"User-Agent", "bench/1"}, {"Content-Length", strconv.Itoa(len(body))},
	}, header...) {
		b.WriteString(h[0] + ": " + h[1] + "\r\n")
	}
	return append([]byte(b.String()+"\r\n"), body...)
}

// Requests are the 64 calls in rotation.
func (p *Pass) Requests(host string) []rig.Request {
	out := make([]rig.Request, planSteps)
	for i := range out {
		out[i] = p.Request(host, i, Change{})
	}
	return out
}

// Check holds the task to what it claims to be.
func Check() error {
	for _, b := range [][]byte{[]byte(Schema), Draft(), message(newer, 0, Change{}), message(older, 0, Change{})} {
		if err := canon.Check(b, canon.DefaultLimits()); err != nil {
			return fmt.Errorf("task is not strict JSON: %w", err)
		}
	}
	for _, version := range []string{newer, older} {
		if n := len(message(version, 0, Change{})); n < 1400 || n > 1600 {
			return fmt.Errorf("a request of %s has %d bytes, want about 1500", version, n)
		}
	}
	return nil
}

// Stub is the server whose tool it is.
func Stub() rig.Stub { return rig.Stub{Tool: Tool, Schema: json.RawMessage(Schema)} }
