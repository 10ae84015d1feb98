package mcp_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/gateway/pipeline"
)

const (
	traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
	spanID  = "00f067aa0ba902b7"
	traced  = `"traceparent":"00-` + traceID + `-` + spanID + `-01"`
)

// TestAllOfAClientsOwnMetaTravels: value for value as it came. Only what is between neighbours stays here: what the protocol has
// there, which the gateway says to the server in its own name, and what the gateway has there.
func TestAllOfAClientsOwnMetaTravels(t *testing.T) {
	w := newWorld(t)
	token := w.anything("files")
	h := map[string]string{"Gatewright-Intent": token}
	for meta, want := range map[string][2]string{
		`{}`: {}, `{"progressToken":1,"io.modelcontextprotocol/clientInfo":{},"io.modelcontextprotocol/related-task":{"taskId":"x"}}`: {},
		`{"user":"root"}`:     {"", `{"user":"root"}`},
		`{` + traced + `}`:    {`{` + traced + `}`, ""},
		`{"tracestate":"a="}`: {"", `{"tracestate":"a="}`},
		`{"x": [1.0, {"y" : "\u0061"}] ,` + traced + `,"baggage":"k=v","progressToken":7,"tracestate":"a=b"}`: {
			`{` + traced + `}`, `{"x":[1.0, {"y" : "\u0061"}],"baggage":"k=v","tracestate":"a=b"}`},
		`{"gatewright/intent":"` + token + `"}`: {}, `{"gatewright\/intent":"` + token + `","a":1}`: {"", `{"a":1}`},
		`{"gatewright/x":1,"Gatewright/Intent":"` + token + `"}`:            {},
		`{"io.modelcontextprotocol/x":1,"io.modelcontextprotocol.com/x":1}`: {"", `{"io.modelcontextprotocol.com/x":1}`},
		`{` + strings.Replace(traced, `"t`, `"\u0074`, 1) + `}`:             {`{` + traced + `}`, ""},
		`{` + strings.Replace(traced, `"00-`, `"\u00300-`, 1) + `}`:         {"", `{` + strings.Replace(traced, `"00-`, `"\u00300-`, 1) + `}`},
		`{"traceparent":7}`: {"", `{"traceparent":7}`},
		`{"traceparent":"00-` + strings.ToUpper(traceID) + `-b7ad6b71-01"}`:  {"", `{"traceparent":"00-` + strings.ToUpper(traceID) + `-b7ad6b71-01"}`},
		`{"traceparent":"00-` + strings.Repeat("0", 32) + `-b7ad6b7169-01"}`: {"", `{"traceparent":"00-` + strings.Repeat("0", 32) + `-b7ad6b7169-01"}`},
	} {
		a := w.old(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","arguments":{"path":"/a"},"_meta":`+meta+`,"other":1}}`, h)
		if a.code != 0 {
			t.Fatalf("%s: %s", meta, a.raw)
		}
		if sent := w.sent[len(w.sent)-1]; string(sent.Meta) != want[0] || string(sent.Extra) != want[1] {
			t.Errorf("%s: carried %s and %s, want %s", meta, sent.Meta, sent.Extra, want)
		}
	}
}

func TestMetaOverItsBoundsIsRefused(t *testing.T) {
	w := newWorld(t)
	h := map[string]string{"Gatewright-Intent": w.anything("files")}
	call := func(meta string) *answer {
		return w.old(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","arguments":{"path":"/a"},"_meta":`+meta+`}}`, h)
	}
	long := strings.Repeat("x", 16<<10-len(`{"a":""}`))
	if a := call(`{"a":"` + long + `"}`); a.code != 0 {
		t.Errorf("16 KiB: %s", a.raw)
	}
	for name, meta := range map[string]string{
		"too long": `{"a":"` + long + `x"}`, "too long together": `{"a":"` + long[:9000] + `","b":"` + long[:9000] + `"}`, "a key twice": `{"a":1,"a":2}`,
		"a key twice, hidden": `{"a":1,"\u0061":2}`, "too deep": `{"a":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`, "no object": `[1]`,
	} {
		a := call(meta)
		if a.code == 0 || a.status != 400 {
			t.Errorf("%s: %d %s", name, a.status, a.raw)
		}
		if strings.HasPrefix(name, "too long") && !strings.Contains(string(a.raw), "16 KiB") {
			t.Errorf("%s: told %s", name, a.raw)
		}
	}
	if w.forwarded() != 1 {
		t.Errorf("%d calls went out", w.forwarded())
	}
}

// TestMetaReachesServersOfBothEras of clients of both, in calls and in what is about their tasks.
func TestMetaReachesServersOfBothEras(t *testing.T) {
	const own = `"com.example/x":{"n": 1.0},"tracestate":"a=b","baggage":"k=v"`
	for _, modernServer := range []bool{true, false} {
		for _, modernClient := range []bool{true, false} {
			if modernServer && !modernClient {
				continue // its tasks are not such a client's
			}
			t.Run(fmt.Sprint(modernClient, modernServer), func(t *testing.T) {
				w, s, _ := tasking(t, modernServer)
				token := w.token(jobsPlan)
				h := map[string]string{"Gatewright-Intent": token}
				send := func(method, params string) *answer {
					meta := `"_meta":{` + traced + `,` + own + `,"gatewright/intent":"` + token + `"`
					if !modernClient {
						return w.old(`{"jsonrpc":"2.0","id":1,"method":"`+method+`","params":{`+params+`,`+meta+`}}}`, h)
					}
					name := strings.Trim(strings.SplitN(strings.SplitN(params, ":", 2)[1], ",", 2)[0], `"`)
					return w.send("POST", "/mcp", `{"jsonrpc":"2.0","id":7,"method":"`+method+`","params":{`+params+`,`+meta+`,"io.modelcontextprotocol/protocolVersion":"`+modern+
						`","io.modelcontextprotocol/clientCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}}}}`,
						map[string]string{"MCP-Protocol-Version": modern, "Mcp-Method": method, "Mcp-Name": name, "Gatewright-Intent": token})
				}
				see := func(a *answer, method string) {
					t.Helper()
					got := s.last(method)
					if a.code != 0 || !strings.Contains(got, traced+`,`+own) || strings.Contains(got, token) || strings.Count(got, `"_meta"`) != 1 {
						t.Errorf("%s: the server was told %s; the client %s", method, got, a.raw)
					}
				}
				s.says["tasks/get"] = s.state("working", "")
				begun := s.says["tools/call"]
				s.says["tools/call"] = `{"resultType":"complete","content":[]}`
				see(send("tools/call", `"name":"jobs__read","arguments":{"path":"/a"}`), "tools/call")
				s.says["tools/call"] = begun
				params := `"name":"jobs__work","arguments":{"on":"x"}`
				path := []string{"taskId"}
				if !modernClient {
					params, path = params+`,"task":{"ttl":60000}`, []string{"task", "taskId"}
				}
				if modernClient && !modernServer {
					params = `"name":"jobs__must","arguments":{}`
				}
				a := send("tools/call", params)
				see(a, "tools/call")
				see(send("tasks/get", `"taskId":"`+text(a, path...)+`"`), "tasks/get")
			})
		}
	}
}

// TestAServerSaysNothingInTheGatewaysName: a forged salt stood beside the gateway's own, and a forged refusal was believed.
func TestAServerSaysNothingInTheGatewaysName(t *testing.T) {
	w := newWorld(t)
	h := map[string]string{"Gatewright-Intent": w.anything("files")}
	w.reply = func(*pipeline.Call) (pipeline.Reply, error) {
		return pipeline.Reply{Result: []byte(`{"_meta":{"a": 1.0,"gatewright/salt":"forged","Gatewright/receipt":"forged","gatewright/refusal":"forged","b":"\u0061"},"content":[]}`)}, nil
	}
	if a := w.old(callRead, h); a.code != 0 || strings.Contains(string(a.raw), "forged") || !strings.Contains(string(a.raw), `"_meta":{"a":1.0,"b":"\u0061","gatewright/receipt":"`) {
		t.Errorf("%s", a.raw)
	}
}

// TestATasksResultKeepsItsMeta but for the server's own id of the task.
func TestATasksResultKeepsItsMeta(t *testing.T) {
	w, s, _ := tasking(t, false)
	id := w.begin(false)
	s.says["tasks/get"] = s.state("completed", "")
	s.says["tasks/result"] = `{"_meta":{"z": [ 1.0 ],"io.modelcontextprotocol/related-task":{"taskId":"up-1"},"a":"<\u0061>"},"content":[],"structuredContent":{"n":1}}`
	a := w.oldTask("tasks/result", id, nil)
	if !strings.Contains(string(a.raw), `"z":[ 1.0 ],"a":"<\u0061>"`) || strings.Contains(string(a.raw), "up-1") || text(a, "_meta", "io.modelcontextprotocol/related-task", "taskId") != id {
		t.Errorf("%s", a.raw)
	}
}

// TestATasksStateHasItsMeta where the era of its client has it, without the server's own id, and as the filters leave it.
func TestATasksStateHasItsMeta(t *testing.T) {
	const own = `"_meta":{"z":[ 1.0 ],"io.modelcontextprotocol/related-task":{"taskId":"up-1"},"a":"%s"}`
	for _, c := range []struct{ modernClient, modernServer bool }{{true, true}, {true, false}, {false, false}} {
		for word, told := range map[string]string{"fine": `"z":[ 1.0 ],"a":"fine"`, "secret": ""} {
			t.Run(fmt.Sprint(c, word), func(t *testing.T) {
				w, s, _ := tasking(t, c.modernServer)
				meta := "," + fmt.Sprintf(own, word) + "}"
				s.says["tools/call"] = strings.TrimSuffix(s.says["tools/call"], "}") + meta
				s.says["tasks/get"] = s.state("working", meta[:len(meta)-1])
				token := map[string]string{"Gatewright-Intent": w.token(jobsPlan)}
				var begun, got *answer
				switch {
				case !c.modernClient:
					begun = w.old(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"jobs__work","arguments":{"on":"x"},"task":{"ttl":60000}}}`, token)
					got = w.oldTask("tasks/get", text(begun, "task", "taskId"), nil)
				case c.modernServer:
					begun = w.ext("tools/call", "jobs__work", `"name":"jobs__work","arguments":{"on":"x"}`, token)
				default:
					begun = w.ext("tools/call", "jobs__must", `"name":"jobs__must","arguments":{}`, token)
				}
				if got == nil {
					got = w.newTask("tasks/get", text(begun, "taskId"))
				}
				for what, a := range map[string]*answer{"begun": begun, "got": got} {
					meta := text(a, "_meta")
					if a.code != 0 || told != "" && !strings.Contains(meta, told) || strings.Contains(string(a.raw), "up-1") || strings.Contains(string(a.raw), "secret") || text(a, "task", "_meta") != "" {
						t.Errorf("%s: %s", what, a.raw)
					}
				}
			})
		}
	}
}
