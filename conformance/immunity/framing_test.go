package immunity_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// frame is one case of the corpus: bytes that somebody sends, and what must become of them. The bytes hold words that are
// filled in when they are sent, see fill.
type frame struct {
	name string
	raw  string
	want verdict
}

// verdict is what must become of a frame.
type verdict struct {
	tool   string   // of the calls that it makes
	sees   []string // their arguments as the server must see them, to the byte; none: nothing may reach it
	status []int    // of its one answer when it is refused
	closes bool     // what follows it on the connection must not be read as a request
}

// sees is the verdict on a frame that is one good call of the tool "act" with these arguments.
func sees(args ...string) verdict { return verdict{tool: "act", sees: args} }

// closing is v of a frame behind which the connection may be closed.
func (v verdict) closing() verdict {
	v.closes = true
	return v
}

// breaks is the verdict on a frame that two readers could take apart differently: it is answered once at most, and the
// connection is closed.
func breaks(status ...int) verdict { return verdict{status: status, closes: true} }

// refused is the verdict on a frame that is clear but not taken.
func refused(status ...int) verdict { return verdict{status: status} }

// told is the verdict on a frame that is answered with a JSON-RPC error, which older clients are given with status 200.
var told = refused(200)

// good is the verdict on a frame with the good call.
var good = sees("$ARGS")

// What frames are made of. $HEAD are the headers of a good call by agent A: Host, key, token, Content-Type, Accept.
const (
	line  = "POST /mcp/rec HTTP/1.1\r\n"
	post  = line + "$HEAD"
	sized = post + "Content-Length: $SIZE\r\n\r\n"
)

// body is a well-framed request with this body.
func body(b string) string { return sized + b }

// with is a well-framed good call with further header lines, each ended by CRLF.
func with(lines string) string { return post + lines + "Content-Length: $SIZE\r\n\r\n$CALL" }

// frames is the whole corpus.
func frames() []frame {
	return slices.Concat(lengths, codings, fields, identities, targets, protocols, contents, documents, envelopes, mirrors, arguments)
}

// party is who sends frames: A makes the calls, B is somebody else whose key must never be taken, C sends the canaries.
type party struct {
	g       *gateway
	rec     *recorder
	a, b, c agent
	token   map[string]string // by agent id
	records map[string]string // record id: agent that it must name
}

// fill puts the words in: keys and tokens, $N the case's own number, $CALL the good call and $EVIL one that must never be
// made, $SIZE the length of all that follows the first empty line.
func (p *party) fill(raw string, n int) string {
	args := fmt.Sprintf(`{"n":%d}`, n)
	const call = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"act","arguments":%s}}`
	const modern = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"act","arguments":%s,"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`
	good, evil := fmt.Sprintf(call, args), fmt.Sprintf(call, `{"n":666}`)
	head := "Host: localhost\r\nAuthorization: Bearer $KEY\r\nGatewright-Intent: $TOKEN\r\nContent-Type: application/json\r\nAccept: application/json\r\n"
	raw = strings.NewReplacer("$EVIL", line+head+fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(evil), evil), "$HEAD", head).Replace(raw)
	raw = strings.NewReplacer(
		"$KEYB", p.b.key, "$TOKENB", p.token[p.b.id], "$KEY", p.a.key, "$TOKEN", p.token[p.a.id], "$ARGS", args, "$N", strconv.Itoa(n),
		"$CALLHEX", strconv.FormatInt(int64(len(good)), 16), "$CALLSIZE", strconv.Itoa(len(good)), "$CALL", good, "$MODERN", fmt.Sprintf(modern, args),
		"$ADDR", strings.TrimPrefix(p.g.url, "http://"),
	).Replace(raw)
	_, rest, _ := strings.Cut(raw, "\r\n\r\n")
	return strings.ReplaceAll(raw, "$SIZE", strconv.Itoa(len(rest)))
}

// canary is a good call that follows a frame on its connection.
func (p *party) canary(n int) (raw, args string) {
	args = fmt.Sprintf(`{"n":%d,"s":"canary"}`, n)
	call := message("tools/call", `{"name":"act","arguments":`+args+`}`)
	return fmt.Sprintf("%sHost: localhost\r\nAuthorization: Bearer %s\r\nGatewright-Intent: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		line, p.c.key, p.token[p.c.id], len(call), call), args
}

// heard is what came back on a connection.
type heard struct {
	answers []answer // before the canary's
	canary  *answer
	closed  bool
}

// speak sends bytes and a canary in one go, and reads until the canary is answered or the connection is closed.
func (p *party) speak(t *testing.T, raw, canary, mark string) (h heard) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.g.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.WriteString(conn, raw+canary) }() // what is refused early is not read to its end
	for br := bufio.NewReader(conn); ; {
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			var ne net.Error
			h.closed = !errors.As(err, &ne) || !ne.Timeout()
			return h
		}
		b, err := io.ReadAll(resp.Body)
		if resp.StatusCode < 200 {
			continue
		}
		a := answer{resp.StatusCode, resp.Header, string(b)}
		if err == nil && strings.Contains(a.body, mark) {
			h.canary = &a
			return h
		}
		h.answers = append(h.answers, a)
	}
}

// finding is how a frame went otherwise than it must.
type finding struct {
	accepted bool // it must be refused, and was not
	text     string
}

// try sends one frame and holds what became of it against its verdict.
func (p *party) try(t *testing.T, f frame, n int) (out []finding) {
	t.Helper()
	differs := func(format string, args ...any) { out = append(out, finding{text: fmt.Sprintf(format, args...)}) }
	accepted := func(format string, args ...any) {
		out = append(out, finding{accepted: true, text: fmt.Sprintf(format, args...)})
	}
	canary, mark := p.canary(n)
	if strings.Contains(f.name, "never ends") {
		canary = ""
	}
	h := p.speak(t, p.fill(f.raw, n), canary, strings.ReplaceAll(mark, `"`, `\"`))
	seen := p.rec.calls()
	if k := len(seen); k > 0 && seen[k-1].args == mark {
		p.sameCall(seen[k-1], "act", mark, differs)
		if seen = seen[:k-1]; h.canary == nil {
			differs("the canary was called and not answered")
		}
	} else if h.canary != nil {
		differs("the canary was answered and not called")
	}
	if h.canary != nil {
		p.records[h.canary.head.Get("Gatewright-Record")] = p.c.id
	}
	if !h.closed && h.canary == nil {
		differs("the connection stays open and the canary is not answered; before it came %v", h.answers)
	}
	if len(f.want.sees) == 0 {
		p.mustRefuse(f.want, h, seen, accepted, differs)
		return out
	}
	if len(h.answers) != len(f.want.sees) || len(seen) != len(f.want.sees) {
		differs("%d answers and %d calls, want %d: %v\n%s", len(h.answers), len(seen), len(f.want.sees), h.answers, sent(seen))
		return out
	}
	for i, args := range f.want.sees {
		p.sameCall(seen[i], f.want.tool, p.fill(args, n), differs)
		if h.answers[i].status != 200 || h.answers[i].result() == "" {
			differs("answered %s", h.answers[i])
		}
		p.records[h.answers[i].head.Get("Gatewright-Record")] = p.a.id
	}
	if h.canary == nil && !f.want.closes {
		differs("the call after it on the connection was not answered")
	}
	return out
}

func (p *party) mustRefuse(want verdict, h heard, seen []forwarded, accepted, differs func(string, ...any)) {
	if len(seen) > 0 {
		accepted("it reached the server:\n%s", sent(seen))
	}
	if want.closes && h.canary != nil {
		accepted("what follows it was read as a request")
	}
	if len(h.answers) > 1 || len(h.answers) == 0 && !want.closes {
		differs("answered %v", h.answers)
	}
	for _, a := range h.answers {
		if a.status < 300 && a.result() != "" {
			accepted("answered %s", a)
		} else if !slices.Contains(want.status, a.status) {
			differs("answered %s, want %v", a, want.status)
		}
	}
}

// forwardedHeads are all the headers that may go to a server.
var forwardedHeads = []string{
	"Accept", "Accept-Encoding", "Authorization", "Content-Length", "Content-Type", "Host", "Mcp-Method", "Mcp-Name", "Mcp-Param-Region",
	"Mcp-Protocol-Version", "Traceparent", "User-Agent",
}

// sameCall holds what the server saw against what was judged.
func (p *party) sameCall(f forwarded, tool, args string, differs func(string, ...any)) {
	if f.method != "POST" || f.path != "/mcp" || f.tool != tool || f.args != args || f.op != "tools/call" {
		differs("the server saw %s %s %s %s %s, want POST /mcp tools/call %s %s", f.method, f.path, f.op, f.tool, f.args, tool, args)
	}
	if f.head.Get("Authorization") != "Bearer "+vaulted || f.head.Get("Mcp-Method") != "tools/call" || f.head.Get("Mcp-Name") != tool || f.head.Get("Host") != strings.TrimSuffix(strings.TrimPrefix(p.rec.url, "http://"), "/mcp") {
		differs("the server saw the headers %v", f.head)
	}
	for name, values := range f.head {
		if !slices.Contains(forwardedHeads, name) || len(values) != 1 {
			differs("the server saw %s: %q", name, values)
		}
	}
	all := sent([]forwarded{f})
	for _, secret := range []string{p.a.key, p.b.key, p.c.key, p.token[p.a.id], p.token[p.b.id], p.token[p.c.id], "smuggled"} {
		if strings.Contains(all, secret) {
			differs("the server saw %q in\n%s", secret, all)
		}
	}
}

// TestEveryFrameIsReadInOneWay sends each frame of the corpus to the built gateway, with another agent's call behind it on
// the same connection, and looks at the recording server: what must be refused reaches it in no form, and of what is
// accepted it sees the method, path, tool, arguments and credential that were judged; the ledger names who called. It answers
// request smuggling (RFC 9112 11.2), GHSA and CVE lists of HTTP parsers that two hops read differently, and
// CVE-2026-27896 for the JSON within.
func TestEveryFrameIsReadInOneWay(t *testing.T) {
	g := shared(t)
	p := &party{g: g, rec: g.record(t, "rec"), a: g.agent(t), b: g.agent(t), c: g.agent(t), token: map[string]string{}, records: map[string]string{}}
	for _, a := range []agent{p.a, p.b, p.c} {
		p.token[a.id] = a.planned(t, anything("rec", "act"), anything("rec", "aim"))
	}
	all := frames()
	if len(all) < 200 {
		t.Errorf("the corpus has %d cases, want at least 200", len(all))
	}
	names := map[string]bool{}
	wrongly, differing := 0, 0
	for i, f := range all {
		if names[f.name] {
			t.Errorf("two cases are called %q", f.name)
		}
		names[f.name] = true
		found := p.try(t, f, 100_000+i)
		for _, x := range found {
			t.Errorf("%s: %s", f.name, x.text)
		}
		if slices.ContainsFunc(found, func(x finding) bool { return x.accepted }) {
			wrongly++
		} else if len(found) > 0 {
			differing++
		}
	}
	if late := p.rec.calls(); len(late) > 0 {
		t.Errorf("after all of them the server saw\n%s", sent(late))
	}
	ledger := g.ledger(t, g.admin)
	for id, agent := range p.records {
		if r := ledger[id]; r.Agent != agent {
			differing++
			t.Errorf("record %q names agent %q, want %q: %s", id, r.Agent, agent, r.Raw)
		}
	}
	fmt.Printf("framing cases=%d wrongly_accepted=%d differing=%d\n", len(all), wrongly, differing)
	if wrongly != 0 || differing != 0 {
		t.Errorf("wrongly_accepted=%d differing=%d, want none", wrongly, differing)
	}
}
