package cli_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/cli"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/publish"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// shop is a gateway that is none: it answers the tour from a table, over a real ledger, and lies where it is told to.
type shop struct {
	lie
	mu    sync.Mutex
	log   *wal.Log
	calls int
	kept  string // what the tool got of the note
	other string // another call's receipt
	url   [2]string
	shut  func()
	dirs  []string
}

// lie is what differs from the truth. Every hook may be nil.
type lie struct {
	answer func(n int, a *reply)           // the nth call, 1 to 7
	items  func(items []map[string]any)    // of a listing of the ledger
	start  func(o cli.ServeOptions) error  // instead of serving
	env    func(text string) string        // demo.env
	line   func(text string) string        // the ready line
	plan   func(p map[string]any)          // a captured plan
	after  func(t *testing.T, data string) // once the ledger is closed
	end    error                           // of serving
	during func(n int, s *shop)            // before the nth call
}

// reply is how a call goes.
type reply struct {
	code, recorded   string // of a refusal: what the caller is told, and the ledger
	result           string // MCP result
	step             int32
	labels, late     []string // of the arguments, of the answer
	policies         []string
	sent, forwarded  string // the arguments as they came, and as they were let out
	letOut           bool   // although it is refused
	outcome, receipt string
}

var awsKey = regexp.MustCompile(`AKIA[0-9A-Z]{16}`)

const redactedKey = "[redacted:aws]"

// result is an MCP result with text and structured content.
func result(text string) string {
	b, _ := json.Marshal(map[string]any{"content": []any{map[string]any{"type": "text", "text": text}}, "structuredContent": json.RawMessage(text), "isError": false})
	return string(b)
}

// honest is how the nth call goes at a gateway that does its work.
func (s *shop) honest(n int, args string) *reply {
	a := &reply{policies: []string{"work.cedar:3 planned"}, sent: args, forwarded: args, outcome: "ok"}
	switch n {
	case 1:
		a.result = result(`{"rows":[{"item":"desk"}],"total":5}`)
	case 2, 3, 4:
		a.code = []string{"args_mismatch", "tool_mismatch", "step_used"}[n-2]
		a.recorded = a.code
	case 5:
		a.step, a.forwarded, a.labels = 2, awsKey.ReplaceAllString(args, redactedKey), []string{"secret:aws"}
		s.kept = a.forwarded
		a.result = result(a.forwarded)
	case 6:
		a.step, a.result = 3, result(fmt.Sprintf(`{"notes":[],"total":%d}`, strings.Count(s.kept, "[redacted:")))
	case 7:
		a.step, a.late, a.result = 4, []string{"secret:aws"}, result(`{"text":"key `+redactedKey+`"}`)
	}
	return a
}

// serve is cli.Runner.Serve.
func (s *shop) serve(t *testing.T) func(ctx context.Context, o cli.ServeOptions) error {
	return func(ctx context.Context, o cli.ServeOptions) error {
		s.dirs = append(s.dirs, filepath.Dir(o.Data))
		if conf, err := os.ReadFile(o.Config); err != nil || !strings.Contains(string(conf), `mode = "development"`) || !o.Alone || o.Listen != "127.0.0.1:0" || o.Control != "127.0.0.1:0" {
			t.Errorf("served with %+v and %q, %v", o, conf, err)
		}
		fmt.Fprintln(o.Stderr, "level=WARN msg=chatter")
		if s.start != nil {
			return s.start(o)
		}
		if err := s.open(t, o.Data); err != nil {
			return err
		}
		data, control := httptest.NewServer(http.HandlerFunc(s.serveData)), httptest.NewServer(http.HandlerFunc(s.serveControl))
		s.shut = func() { data.CloseClientConnections(); data.Close() }
		s.url = [2]string{data.URL, control.URL}
		env := fmt.Sprintf("export GATEWRIGHT_URL=%s\nexport GATEWRIGHT_CONTROL_URL=%s\nexport GATEWRIGHT_API_KEY=%s\nexport GATEWRIGHT_ADMIN_KEY=%s\n", data.URL, control.URL, runtimeKey, adminKey)
		if s.env != nil {
			env = s.env(env)
		}
		if env != "" {
			if err := os.WriteFile(filepath.Join(o.Data, "demo.env"), []byte(env), 0o600); err != nil {
				return err
			}
		}
		ready := fmt.Sprintf("gatewright ready listen=%s control=%s\n", data.URL, control.URL)
		if s.line != nil {
			ready = s.line(ready)
		}
		fmt.Fprint(o.Stdout, "Gatewright says hello.\n\n", ready[:20])
		fmt.Fprint(o.Stdout, ready[20:])
		<-ctx.Done()
		data.Close()
		control.Close()
		err := s.log.Close(context.Background())
		if s.after != nil {
			s.after(t, o.Data)
		}
		return errors.Join(err, s.end)
	}
}

func (s *shop) open(t *testing.T, data string) error {
	keys := filepath.Join(data, "keys")
	if err := os.MkdirAll(keys, 0o700); err != nil {
		return err
	}
	o := wal.Options{
		Config: wal.DefaultConfig(), Dir: filepath.Join(data, "ledger"), Instance: "main", Origin: "gatewright.local", Signer: ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)),
		ChainKeyFile: filepath.Join(keys, "ledger.chain"), RootKeyFile: filepath.Join(keys, "ledger.k0"), Now: time.Now, Rand: rand.Reader,
	}
	o.Sync, o.SegmentBytes, o.Deadline = wal.SyncWrite, 1<<20, time.Minute
	b, err := publish.OpenBook(t.Context(), o)
	if err != nil {
		return err
	}
	s.log = b.Log
	return os.WriteFile(filepath.Join(keys, "ledger.pub"), []byte(s.log.VerifierKey().String()+"\n"), 0o600)
}

var shopPlan = merkle.Hash{1}

func (s *shop) serveData(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case r.Header.Get("Authorization") != "Bearer "+runtimeKey:
		answer(w, 401, `{"code":"unauthenticated","message":"no valid credential"}`)
	case r.URL.Path == "/api/v1/plans":
		p := map[string]any{"id": "pln_1", "root": shopPlan, "size": 5}
		var draft struct {
			Steps []map[string]any `json:"steps"`
		}
		_ = json.NewDecoder(r.Body).Decode(&draft)
		for i, step := range draft.Steps {
			draft.Steps[i] = map[string]any{"index": i, "server": step["server"], "tool": step["tool"]}
		}
		p["steps"] = draft.Steps
		if s.plan != nil {
			s.plan(p)
		}
		b, _ := json.Marshal(p)
		answer(w, 201, string(b))
	case r.URL.Path == "/api/v1/plans/pln_1/tokens":
		answer(w, 201, `{"token":"`+token+`","id":"tok_1"}`)
	case r.URL.Path == "/mcp/demo" && r.Header.Get("Gatewright-Intent") == token:
		s.callTool(w, r)
	default:
		answer(w, 404, `{"code":"not_found","message":"no such thing"}`)
	}
}

func (s *shop) callTool(w http.ResponseWriter, r *http.Request) {
	var msg struct {
		Params struct {
			Name      string
			Arguments json.RawMessage
		}
	}
	_ = json.NewDecoder(r.Body).Decode(&msg)
	s.calls++
	a := s.honest(s.calls, string(msg.Params.Arguments))
	if s.answer != nil {
		s.answer(s.calls, a)
	}
	if s.during != nil {
		s.during(s.calls, s)
	}
	rec, receipt, err := s.record(msg.Params.Name, string(msg.Params.Arguments), a)
	if err != nil {
		answer(w, 500, `{"code":"internal","message":`+strconv.Quote(err.Error())+`}`)
		return
	}
	switch a.receipt {
	case "":
		a.receipt = receipt
	case "other":
		a.receipt = s.other
	case "none":
		a.receipt = ""
	case "forged":
		a.receipt = forge(receipt)
	}
	s.other = receipt
	w.Header().Set("Gatewright-Record", rec)
	w.Header().Set("Gatewright-Receipt", a.receipt)
	w.Header().Set("Gatewright-Salt", base64.RawURLEncoding.EncodeToString(make([]byte, 16)))
	if a.code != "" {
		answer(w, 200, `{"jsonrpc":"2.0","id":1,"error":{"code":-32003,"message":"no","data":{"reason":"`+a.code+`","record":"`+rec+`"}}}`)
		return
	}
	answer(w, 200, `{"jsonrpc":"2.0","id":1,"result":`+a.result+`}`)
}

// forge changes the signature of a receipt and leaves the record in it alone.
func forge(text string) string {
	r, err := ledger.ParseReceipt([]byte(text))
	if err != nil {
		return text
	}
	r.Signature[7] ^= 1
	return string(r.AppendText(nil))
}

// record writes what a gateway writes of a call.
func (s *shop) record(tool, args string, a *reply) (id, receipt string, err error) {
	ctx := context.Background()
	base := func(kind ledger.Kind) *ledger.Record {
		id, _ := ledger.NewID(time.Now(), rand.Reader)
		return &ledger.Record{
			ID: id, Time: time.Now().UnixMicro(), Tenant: "demo", Kind: kind, Agent: "agt_1", Op: "tools/call", Server: "demo", Tool: tool,
			Plan: shopPlan, PlanID: "pln_1", Step: a.step, Labels: a.labels, Request: sha256.Sum256(append(make([]byte, 16), a.forwarded...)),
		}
	}
	detail := func(r *ledger.Record, labels []string, what string) {
		if len(labels) > 0 {
			r.Detail = what + " rewritten by redact@0123456789ab"
		}
	}
	last, row := base(ledger.Refused), []ledger.StageTime{{Name: "identify", Micros: 11}, {Name: "intent", Micros: 22}}
	if a.code == "" || a.letOut {
		admitted := base(ledger.Admitted)
		admitted.Stages, admitted.Policies, admitted.Verdict = append(row, ledger.StageTime{Name: "filter", Micros: 5}, ledger.StageTime{Name: "decide", Micros: 33}), a.policies, "allow"
		detail(admitted, a.labels, "arguments")
		if _, err = s.log.Admit(ctx, admitted, wal.Use{Plan: shopPlan, Step: a.step, Expires: time.Now().Add(time.Hour).Unix()}); err != nil {
			return "", "", err
		}
		last = base(ledger.Settled)
		last.Of, last.Outcome, last.Micros, last.Labels = admitted.ID, a.outcome, 700, append(a.labels, a.late...)
		detail(last, a.late, "result")
	}
	if a.code != "" {
		last.Kind, last.Code, last.Verdict, last.Stages, last.Of, last.Outcome = ledger.Refused, a.recorded, "deny", row, "", ""
		last.Request = sha256.Sum256(append(make([]byte, 16), args...))
	}
	_, text, err := s.log.Settle(ctx, last, nil)
	return last.ID, string(text), err
}

func (s *shop) serveControl(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer "+adminKey || r.URL.Path != "/api/v1/ledger/records" {
		answer(w, 404, `{"code":"not_found","detail":"no such thing"}`)
		return
	}
	from, _ := strconv.ParseUint(r.URL.Query().Get("from"), 10, 64)
	items := []map[string]any{}
	size := s.log.Size("demo")
	if from < size {
		entries, err := s.log.Scan(r.Context(), "demo", from, 1) // one at a time: pages must be followed
		if err != nil {
			answer(w, 500, `{"code":"internal","detail":"no"}`)
			return
		}
		for _, e := range entries {
			items = append(items, map[string]any{"index": e.Index, "leaf": e.Leaf, "record": json.RawMessage(e.Data)})
		}
	}
	if s.items != nil {
		s.items(items)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(map[string]any{"size": size, "items": items})
	answer(w, 200, b.String())
}
