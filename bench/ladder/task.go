package ladder

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/gatewright/gatewright/bench/rig"
	"github.com/gatewright/gatewright/merkle/canon"
)

// The task is the same on every rung: one tool of one server, called in 64 ways that are the 64 steps of one plan.
const (
	serverName = "shop"
	toolName   = "orders_update"
	planSteps  = 64 // proofs of six hashes
)

// toolSchema is the tool's inputSchema.
const toolSchema = `{"type":"object","properties":{` +
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

// draft is the plan as an agent declares it. The steps may be taken without limit, so that the load can go on.
func draft() []byte {
	var b strings.Builder
	b.WriteString(`{"goal":"bring the orders of today up to date","steps":[`)
	for i := range planSteps {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"server":%q,"tool":%q,"args":{%s},"where":{"note":{"open":true},"tags":{"open":true},"lines":{"open":true}},"uses":0}`,
			serverName, toolName, fixed(i))
	}
	b.WriteString(`]}`)
	return []byte(b.String())
}

// arguments are those of a call of a step; amount changes what the plan fixes when it is not negative.
func arguments(step, amount int) string {
	f := fixed(step)
	if amount >= 0 {
		f = fmt.Sprintf(`"order":"ord-%06d","amount":%d,"currency":"EUR"`, step, amount)
	}
	var lines []string
	for i := range 6 {
		lines = append(lines, fmt.Sprintf(`{"sku":"sku-%04d-%02d","quantity":%d,"price":%d.95,"gift":%t}`, step*7+i, i, i+1, 10+i, i%2 == 0))
	}
	note := strings.Repeat("Please deliver after noon — the bell is broken. ", 14)
	return `{` + f + `,"note":` + strconv.Quote(note) + `,"tags":["priority","returning customer","autumn"],"lines":[` + strings.Join(lines, ",") + `]}`
}

// pass is what an agent shows with its calls.
type pass struct {
	Key   string  `json:"key"`
	Token string  `json:"token"`
	Steps []shown `json:"steps"`
}

// shown is an explicit step with its proof.
type shown struct {
	Step  string `json:"step"`
	Proof string `json:"proof"`
}

// message is the JSON-RPC body of a call: about 1.5 KB.
func message(step, amount int) []byte {
	return []byte(`{"jsonrpc":"2.0","id":` + strconv.Itoa(step+1) + `,"method":"tools/call","params":{"name":"` + toolName + `","arguments":` +
		arguments(step, amount) + `,"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",` +
		`"io.modelcontextprotocol/clientInfo":{"name":"bench","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}}}`)
}

// request is a whole call of a step over HTTP, with what a good answer begins with.
func (p *pass) request(host string, step, amount int) rig.Request {
	body := message(step, amount)
	var b strings.Builder
	for _, h := range [][2]string{
		{"Host", host}, {"Authorization", "Bearer " + p.Key}, {"Content-Type", "application/json"},
		{"Accept", "application/json, text/event-stream"}, {"User-Agent", "bench/1"},
		{"Mcp-Protocol-Version", "2026-07-28"}, {"Mcp-Method", "tools/call"}, {"Mcp-Name", toolName},
		{"Gatewright-Intent", p.Token}, {"Gatewright-Step", p.Steps[step].Step}, {"Gatewright-Proof", p.Steps[step].Proof},
		{"Content-Length", strconv.Itoa(len(body))},
	} {
		b.WriteString(h[0] + ": " + h[1] + "\r\n")
	}
	return rig.Request{
		Wire: []byte("POST /mcp/" + serverName + " HTTP/1.1\r\n" + b.String() + "\r\n" + string(body)),
		Want: []byte(`{"jsonrpc":"2.0","id":` + strconv.Itoa(step+1) + `,"result":{`),
	}
}

// requests are the 64 calls in rotation.
func (p *pass) requests(host string) []rig.Request {
	out := make([]rig.Request, planSteps)
	for i := range out {
		out[i] = p.request(host, i, -1)
	}
	return out
}

// checkTask holds the task to what it claims to be.
func checkTask() error {
	for _, b := range [][]byte{[]byte(toolSchema), draft(), message(0, -1)} {
		if err := canon.Check(b, canon.DefaultLimits()); err != nil {
			return fmt.Errorf("task is not strict JSON: %w", err)
		}
	}
	if n := len(message(0, -1)); n < 1400 || n > 1600 {
		return fmt.Errorf("a request has %d bytes, want about 1500", n)
	}
	return nil
}

// stub is the upstream of every rung.
func stub() rig.Stub { return rig.Stub{Tool: toolName, Schema: json.RawMessage(toolSchema)} }
