package gatewright_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/intent"
)

func TestAPlanIsCapturedByteForByteAndItsProofsReachItsRoot(t *testing.T) {
	g := newGateway(t)
	doc, body := sealed(t, twoSteps)
	draft := `{ "goal":"a < b",  "steps":[] }`
	g.HandleFunc("POST /api/v1/plans", func(w http.ResponseWriter, r *http.Request) {
		if b, _ := io.ReadAll(r.Body); string(b) != draft || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("sent %q as %q", b, r.Header.Get("Content-Type"))
		}
		answer(w, 201, body)
	})
	p, err := g.client(t).Plan(t.Context(), []byte(draft))
	if err != nil {
		t.Fatal(err)
	}
	if p.ID != "pln_1" || p.Size != 2 || p.Root != doc.Tree().Root() || !p.Expires.Equal(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)) || p.Steps[0].Tool != "read" {
		t.Errorf("got %+v", p)
	}
	for i := range doc.Steps {
		proof, err := p.Proof(i)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := base64.RawURLEncoding.DecodeString(proof.Step)
		if err != nil {
			t.Fatal(err)
		}
		path, err := intent.AppendProof(nil, []byte(proof.Path))
		if err != nil {
			t.Fatal(err)
		}
		if err := merkle.VerifyInclusion(merkle.LeafHash(leaf), uint64(i), 2, path, p.Root); err != nil {
			t.Errorf("step %d: %v", i, err)
		}
	}
	for _, i := range []int{-1, 2} {
		if _, err := p.Proof(i); err == nil {
			t.Errorf("step %d was proved", i)
		}
	}
	p.Document = nil
	if _, err := p.Proof(0); !errors.Is(err, gatewright.ErrAnswer) {
		t.Errorf("without a document: %v", err)
	}
}

func TestATokenIsAskedForInWholeSeconds(t *testing.T) {
	g := newGateway(t)
	var bodies []string
	g.HandleFunc("POST /api/v1/plans/pln_1/tokens", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		bodies = append(bodies, string(b))
		answer(w, 201, `{"token":"`+token+`","id":"tok_1","expires":1893456000,"later":"ignored"}`)
	})
	tok, err := g.client(t).Token(t.Context(), "pln_1", 0)
	if err != nil || tok.Token != token || tok.ID != "tok_1" || tok.Expires.Unix() != 1893456000 {
		t.Errorf("got %#v, %v", tok, err)
	}
	if _, err := g.client(t).Token(t.Context(), "pln_1", 90*time.Second); err != nil {
		t.Error(err)
	}
	if want := []string{`{}`, `{"ttl_seconds":90}`}; !reflect.DeepEqual(bodies, want) {
		t.Errorf("sent %q, want %q", bodies, want)
	}
}

func TestACallIsOneStatelessRequestWithItsArgumentsAsGiven(t *testing.T) {
	g := newGateway(t)
	receipt, keys := signed(t, `{"path":"<a>","n":1.0}`)
	g.HandleFunc("POST /mcp/files", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		var msg struct {
			JSONRPC string `json:"jsonrpc"`
			ID      int    `json:"id"`
			Method  string `json:"method"`
			Params  struct {
				Name string          `json:"name"`
				Args json.RawMessage `json:"arguments"`
				Meta map[string]any  `json:"_meta"`
			} `json:"params"`
		}
		if err := json.Unmarshal(b, &msg); err != nil {
			t.Errorf("%v: %s", err, b)
		}
		if msg.JSONRPC != "2.0" || msg.Method != "tools/call" || msg.Params.Name != "read" || string(msg.Params.Args) != `{"path":"<a>","n":1.0}` {
			t.Errorf("sent %s", b)
		}
		for header, want := range map[string]string{
			"Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "read", "Accept": "application/json, text/event-stream",
			"Gatewright-Intent": token, "Gatewright-Step": "c3RlcA", "Gatewright-Proof": "cGF0aA", "Idempotency-Key": "once",
		} {
			if got := r.Header.Get(header); got != want {
				t.Errorf("%s: %q, want %q", header, got, want)
			}
		}
		if msg.Params.Meta["io.modelcontextprotocol/protocolVersion"] != "2026-07-28" || msg.Params.Meta["io.modelcontextprotocol/clientCapabilities"] == nil {
			t.Errorf("_meta %v", msg.Params.Meta)
		}
		w.Header().Set("Gatewright-Record", "rec_06f4k3m1v8q2c7x9z5n0b2w4ht")
		w.Header().Set("Gatewright-Salt", salt)
		answer(w, 200, `{"jsonrpc":"2.0","id":1,"result":{"_meta":{"gatewright/receipt":"`+receipt+`"},"content":[{"type":"text","text":"one"},{"type":"image"},{"type":"text","text":"two"}],"resultType":"complete"}}`)
	})
	r, err := g.client(t).Call(t.Context(), gatewright.Call{
		Server: "files", Tool: "read", Args: json.RawMessage(" {\"path\":\"<a>\",\"n\":1.0}\n"), Token: token, Retry: "once",
		Proof: &gatewright.Proof{Step: "c3RlcA", Path: "cGF0aA"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if r.Text() != "one\ntwo" || r.IsError || r.Record != "rec_06f4k3m1v8q2c7x9z5n0b2w4ht" || r.Receipt != receipt {
		t.Errorf("got %+v", r)
	}
	v, err := gatewright.VerifyReceipt(r.Receipt, keys)
	if err != nil {
		t.Fatal(err)
	}
	if v.Record.ID != r.Record || !v.CoversArguments(r.Salt, []byte("{\"path\":\"<a>\",\"n\":1.0}\n")) {
		t.Errorf("the receipt is about %+v", v.Record)
	}
	for _, other := range []string{`{"path":"<a>","n":1}`, `{"path":"<b>","n":1.0}`, ``} {
		if v.CoversArguments(r.Salt, []byte(other)) {
			t.Errorf("it also covers %q", other)
		}
	}
	if v.CoversArguments("AAECAwQFBgcICQoLDA0ODg", []byte(`{"path":"<a>","n":1.0}`)) || v.CoversArguments("", nil) {
		t.Error("it covers the arguments under another salt")
	}
}

func TestNamesThatAreNotPlainASCIITravelInBase64(t *testing.T) {
	g := newGateway(t)
	names := []string{}
	g.HandleFunc("POST /mcp", func(w http.ResponseWriter, r *http.Request) {
		names = append(names, r.Header.Get("Mcp-Name"))
		answer(w, 200, `{"jsonrpc":"2.0","id":1,"result":{"isError":true,"content":[]}}`)
	})
	for _, tool := range []string{"a__b", "größe", "two words", "=?base64?eA==?="} {
		r, err := g.client(t).Call(t.Context(), gatewright.Call{Tool: tool})
		if err != nil || !r.IsError {
			t.Errorf("%s: %+v %v", tool, r, err)
		}
	}
	want := []string{"a__b", "=?base64?Z3LDtsOfZQ==?=", "=?base64?dHdvIHdvcmRz?=", "=?base64?PT9iYXNlNjQ/ZUE9PT89?="}
	if !reflect.DeepEqual(names, want) {
		t.Errorf("got %q, want %q", names, want)
	}
}

func TestAnAnswerAsAnEventStreamIsItsLastEvent(t *testing.T) {
	g := newGateway(t)
	stream := ""
	g.HandleFunc("POST /mcp/files", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		_, _ = io.WriteString(w, stream)
	})
	call := gatewright.Call{Server: "files", Tool: "read"}
	progress := "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{}}\n\n"
	result := "event: message\r\nid: 3\r\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\r\ndata: \"result\":{\"content\":[{\"type\":\"text\",\"text\":\"x\"}]}}\r\n\r\n"
	stream = ": ping\n\n" + progress + result
	if r, err := g.client(t).Call(t.Context(), call); err != nil || r.Text() != "x" {
		t.Errorf("got %+v, %v", r, err)
	}
	for _, stream = range []string{"", ": ping\n\n", progress, "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}", progress + "data: x\n\n"} {
		if _, err := g.client(t).Call(t.Context(), call); !errors.Is(err, gatewright.ErrAnswer) {
			t.Errorf("%q: %v", stream, err)
		}
	}
}

func TestToolsAreListedOverAllPages(t *testing.T) {
	g := newGateway(t)
	g.HandleFunc("POST /mcp/files", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if r.Header.Get("Mcp-Method") != "tools/list" || r.Header.Get("Mcp-Name") != "" {
			t.Errorf("headers %v", r.Header)
		}
		if strings.Contains(string(b), `"cursor":"p2"`) {
			answer(w, 200, `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"b","inputSchema":{}}]}}`)
			return
		}
		answer(w, 200, `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a","inputSchema":{}}],"nextCursor":"p2"}}`)
	})
	tools, err := g.client(t).ListTools(t.Context(), "files")
	if err != nil || len(tools) != 2 || tools[0].Name != "a" || tools[1].Name != "b" {
		t.Errorf("got %+v, %v", tools, err)
	}
	g2 := newGateway(t)
	g2.on("POST /mcp", 200, `{"jsonrpc":"2.0","id":1,"result":{"tools":[],"nextCursor":"again"}}`)
	if _, err := g2.client(t).ListTools(t.Context(), ""); !errors.Is(err, gatewright.ErrAnswer) {
		t.Errorf("a list without end: %v", err)
	}
}

func TestAReceiptWithOneByteChangedIsNotVerified(t *testing.T) {
	receipt, keys := signed(t, `{}`)
	if _, err := gatewright.VerifyReceipt(" "+receipt+"\n", keys); err != nil {
		t.Fatal(err)
	}
	raw, err := base64.RawURLEncoding.DecodeString(receipt)
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		raw[i] ^= 1
		if _, err := gatewright.VerifyReceipt(base64.RawURLEncoding.EncodeToString(raw), keys); !errors.Is(err, gatewright.ErrReceipt) {
			t.Errorf("byte %d changed: %v", i, err)
		}
		raw[i] ^= 1
	}
	for _, text := range []string{"", "x", receipt[:len(receipt)-4], receipt + "AAAA", strings.ToUpper(receipt)} {
		if _, err := gatewright.VerifyReceipt(text, keys); !errors.Is(err, gatewright.ErrReceipt) {
			t.Errorf("%.20q: %v", text, err)
		}
	}
	if _, err := gatewright.VerifyReceipt(receipt, nil); !errors.Is(err, gatewright.ErrReceipt) {
		t.Errorf("without keys: %v", err)
	}
	if _, err := gatewright.ParseKeys([]byte("# nothing\n")); err == nil {
		t.Error("a key file without keys was read")
	}
	parsed, err := gatewright.ParseKeys([]byte("# pinned\n" + keys[0].String() + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := gatewright.VerifyReceipt(receipt, parsed); err != nil {
		t.Errorf("with keys read back: %v", err)
	}
}

func TestTheControlRoutesAreSpokenAsTheyAre(t *testing.T) {
	g := newGateway(t)
	var seen []string
	g.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		seen = append(seen, r.Method+" "+r.RequestURI+" "+string(b))
		switch {
		case r.Method == "DELETE":
			w.WriteHeader(204)
		case r.URL.Path == "/api/v1/keys" && r.Method == "POST":
			answer(w, 201, `{"key":{"id":"key_1","kind":"runtime","mode":"test","created":"2026-01-01T00:00:00Z"},"secret":"ak_test_x"}`)
		case r.URL.Path == "/api/v1/ledger/records":
			answer(w, 200, `{"size":9,"items":[{"index":3,"leaf":"00","record":{"id":"rec_1"}}]}`)
		case r.Method == "GET" && r.URL.Query().Get("cursor") == "" && strings.HasSuffix(r.URL.Path, "s"):
			answer(w, 200, `{"items":[{"id":"agt_1","name":"a"}],"next":"c/+="}`)
		case r.Method == "GET" && strings.HasSuffix(r.URL.Path, "s"):
			answer(w, 200, `{"items":[{"id":"agt_2","name":"b"}]}`)
		default:
			answer(w, 200, `{"id":"agt_1","name":"a","status":"suspended","organisation":"demo","role":"Admin"}`)
		}
	})
	a, ctx := g.admin(t), t.Context()
	check := func(what string, ok bool, err error) {
		t.Helper()
		if err != nil || !ok {
			t.Errorf("%s: ok=%v %v", what, ok, err)
		}
	}
	agents, err := a.Agents(ctx)
	check("agents", len(agents) == 2 && agents[1].ID == "agt_2", err)
	who, err := a.WhoAmI(ctx)
	check("whoami", who.Organisation == "demo", err)
	made, err := a.CreateAgent(ctx, gatewright.Agent{Name: "a", ID: "ignored", Trust: 1000, Status: "active", TalksTo: []string{"files"}})
	check("create", made.ID == "agt_1", err)
	set, err := a.SetAgentStatus(ctx, "agt_1", "suspended")
	check("status", set.Status == "suspended", err)
	key, err := a.CreateKey(ctx, gatewright.NewKey{Agent: "agt_1", Name: "n", Mode: "test"})
	check("key", key.Secret == "ak_test_x" && key.Key.ID == "key_1", err)
	check("revoke", true, a.RevokeKey(ctx, "key_1"))
	check("add server", true, a.AddServer(ctx, gatewright.Server{Name: "files", URL: "https://files.example/mcp"}))
	check("refresh", true, a.RefreshServer(ctx, "files"))
	check("remove", true, a.RemoveServer(ctx, "files"))
	check("token", true, a.RevokeToken(ctx, "tok_1"))
	check("secret", true, a.PutSecret(ctx, "files-token", "s"))
	check("plan", true, a.EndPlan(ctx, "pln_1", "failed", "changed my mind"))
	records, size, err := a.Records(ctx, 3, 1)
	check("records", size == 9 && len(records) == 1 && records[0].Index == 3, err)
	want := []string{
		"GET /api/v1/agents ", "GET /api/v1/agents?cursor=c%2F%2B%3D ", "GET /api/v1/whoami ",
		`POST /api/v1/agents {"name":"a","talks_to":["files"]}`, `PUT /api/v1/agents/agt_1/status {"status":"suspended"}`,
		`POST /api/v1/keys {"agent":"agt_1","name":"n","mode":"test"}`, "DELETE /api/v1/keys/key_1 ",
		`POST /api/v1/servers {"name":"files","url":"https://files.example/mcp"}`, "POST /api/v1/servers/files/refresh ",
		"DELETE /api/v1/servers/files ", "DELETE /api/v1/tokens/tok_1 ",
		`PUT /api/v1/secrets/files-token {"value":"s"}`, `PUT /api/v1/plans/pln_1/state {"reason":"changed my mind","state":"failed"}`, "GET /api/v1/ledger/records?from=3&limit=1 ",
	}
	if !reflect.DeepEqual(seen, want) {
		t.Errorf("sent\n%s\nwant\n%s", strings.Join(seen, "\n"), strings.Join(want, "\n"))
	}
}
