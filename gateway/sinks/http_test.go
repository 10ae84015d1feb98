package sinks_test

import (
	"crypto/hmac"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/gatewright/gatewright/gateway/sinks"
)

// hook is a webhook's receiver that verifies what it takes.
type hook struct {
	inbox
	t         *testing.T
	mood      atomic.Int32 // 0 takes, 1 fails, 2 hangs, 3 redirects, 4 takes and says it did not
	asked     atomic.Int32
	free      chan struct{} // closed when those who hang may go
	mu        sync.Mutex
	keys      map[string]string // idempotency key: body
	elsewhere atomic.Int32
}

func newHook(t *testing.T) (*hook, *httptest.Server) {
	t.Helper()
	h := &hook{t: t, free: make(chan struct{}), keys: map[string]string{}}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return h, s
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/elsewhere" {
		h.elsewhere.Add(1)
		return
	}
	h.asked.Add(1)
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	switch h.mood.Load() {
	case 1:
		w.Header().Set("Retry-After", "0")
		w.WriteHeader(http.StatusInternalServerError)
		return
	case 2:
		select {
		case <-h.free:
		case <-r.Context().Done():
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	case 3:
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		return
	}
	stamp := r.Header.Get(sinks.TimestampHeader)
	at, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || time.Since(time.Unix(at, 0)).Abs() > time.Minute {
		h.t.Errorf("timestamp %q", stamp)
	}
	sent, err := hex.DecodeString(strings.TrimPrefix(r.Header.Get(sinks.SignatureHeader), "v1="))
	if err != nil || !hmac.Equal(sent, sinks.Sign([]byte("a secret of the operator's"), stamp, body)) {
		h.t.Error("the signature does not verify")
	}
	var in struct {
		Version  int
		Instance string
		Sink     string
		Events   []struct{ ID, Kind, Tenant, Tool, Time, User string }
	}
	if err := json.Unmarshal(body, &in); err != nil || in.Version != 1 || in.Instance != "gate.example/gw-1" || in.Sink != "out" || len(in.Events) == 0 || len(in.Events) > 64 {
		h.t.Errorf("%s: %v", body, err)
	}
	h.mu.Lock()
	key := r.Header.Get(sinks.KeyHeader)
	if before, ok := h.keys[key]; key == "" || ok && before != string(body) {
		h.t.Error("two batches have one key")
	}
	h.keys[key] = string(body)
	h.mu.Unlock()
	for _, e := range in.Events {
		h.add(e.ID)
	}
	if h.mood.Load() == 4 {
		w.WriteHeader(http.StatusBadGateway)
	}
}

func TestAWebhookThatFailsHangsRedirectsAndComesBackGetsEveryEvent(t *testing.T) {
	w := newWorld(t)
	h, s := newHook(t)
	c := config(sinks.Webhook, s.URL+"/in?key=hidden")
	c.Timeout = 100 * time.Millisecond
	w.start(c)
	want := w.fill("acme", 100)
	h.await(t, want)
	for mood, sign := range map[int32]string{1: "500", 2: "deadline", 3: "307", 4: "502"} {
		h.mood.Store(mood)
		before := h.asked.Load()
		want = append(want, w.fill("acme", 100)...)
		eventually(t, func() bool { return h.asked.Load() > before+2 && strings.Contains(w.state().LastError, sign) }, sign)
		if st := w.state(); st.Lag < 36 || strings.Contains(fmt.Sprint(st), "hidden") {
			t.Errorf("%+v", st)
		}
		h.mood.Store(0)
		h.await(t, want)
		w.caughtUp()
	}
	close(h.free)
	h.inOrder(t, want)
	if h.elsewhere.Load() > 0 {
		t.Error("a redirect was followed")
	}
	if text := w.out.String() + fmt.Sprintf("%+v", w.state()); strings.Contains(text, "hidden") || strings.Contains(text, "secret") {
		t.Error("a secret shows")
	}
}

func TestADeadReceiverCostsItsOwnLagOnly(t *testing.T) {
	w := newWorld(t)
	h, s := newHook(t)
	dead := config(sinks.Webhook, "http://127.0.0.1:1/")
	dead.Name = "dead"
	w.start(config(sinks.Webhook, s.URL), dead)
	want := w.fill("acme", 3000)
	h.await(t, want)
	states := w.set.States()
	eventually(t, func() bool { states = w.set.States(); return states[0].Lag == 0 }, "no lag")
	if states[1].Lag != 3000 || states[1].LastError == "" || !states[1].LastSuccess.IsZero() {
		t.Fatalf("%+v", states[1])
	}
}

func TestSinksGetOnlyWhatIsTheirs(t *testing.T) {
	w := newWorld(t)
	h, s := newHook(t)
	c := config(sinks.Webhook, s.URL)
	c.Tenant, c.Kinds = "acme", []string{"admin", "heartbeat"}
	w.fill("other", 50)
	acme := w.fill("acme", 50)
	w.fill("other", 600)
	w.start(c)
	var want []string
	for i := 1; i < len(acme); i += 2 {
		want = append(want, acme[i])
	}
	h.await(t, want)
	w.caughtUp()
	if got := h.list(); len(got) != len(want) {
		t.Fatal(len(got), "events, want", len(want))
	}
	h.inOrder(t, want)
}

func TestASinkMayBeginAtTheEnd(t *testing.T) {
	w := newWorld(t)
	h, s := newHook(t)
	w.fill("acme", 50)
	c := config(sinks.Webhook, s.URL)
	c.FromTip = true
	w.start(c)
	if err := w.set.Close(t.Context()); err != nil { // where it began is kept even though it never delivered
		t.Fatal(err)
	}
	want := w.fill("acme", 10)
	w.start(c)
	h.await(t, want)
	h.inOrder(t, want)
}

func TestOTLPLogs(t *testing.T) {
	w := newWorld(t)
	var in inbox
	var mu sync.Mutex
	var last *logspb.LogsData
	fails := 2
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		if r.URL.Path != "/v1/logs" || r.Header.Get("Content-Type") != "application/x-protobuf" || r.Header.Get("Api-Key") != "hidden" {
			t.Errorf("%s %v", r.URL, r.Header)
		}
		if fails--; fails >= 0 {
			rw.WriteHeader(http.StatusTooManyRequests)
			return
		}
		var d logspb.LogsData
		if err := proto.Unmarshal(body, &d); err != nil {
			t.Error(err)
			return
		}
		last = &d
		for _, r := range d.ResourceLogs[0].ScopeLogs[0].LogRecords {
			for _, a := range r.Attributes {
				if a.Key == "gatewright.record.id" {
					in.add(a.Value.GetStringValue())
				}
			}
		}
	}))
	defer s.Close()
	c := config(sinks.OTLP, s.URL)
	c.Header, c.Secret = "Api-Key", []byte("hidden")
	want := w.fill("acme", 200)
	w.start(c)
	in.await(t, want)
	in.inOrder(t, want)
	w.caughtUp()
	mu.Lock()
	defer mu.Unlock()
	resource, scope := last.ResourceLogs[0].Resource, last.ResourceLogs[0].ScopeLogs[0]
	if got := resource.Attributes[0]; got.Key != "service.name" || got.Value.GetStringValue() != "gatewright" {
		t.Error(got)
	}
	r := scope.LogRecords[len(scope.LogRecords)-1]
	if r.EventName != "gatewright.ledger.admin" || r.SeverityText != "WARN" || r.TimeUnixNano == 0 || r.ObservedTimeUnixNano == 0 || r.Body.GetStringValue() == "" {
		t.Error(r)
	}
	have := map[string]string{}
	for _, a := range r.Attributes {
		have[a.Key] = a.Value.GetStringValue() + strconv.FormatInt(a.Value.GetIntValue(), 10)
	}
	for key, value := range map[string]string{
		"gatewright.tenant": "acme0", "user.id": "usr_\"]\\\n0", "gen_ai.agent.id": "agt_one0", "gen_ai.tool.name": "read0",
		"mcp.method.name": "tools/call0", "http.response.status_code": "403", "error.type": "not_in_plan0", "gatewright.record.index": "199",
	} {
		if have[key] != value {
			t.Errorf("%s is %q, want %q", key, have[key], value)
		}
	}
}

// What a receiver took and refused for good is counted and shown, and not sent for ever.
func TestOTLPPartialSuccessIsShown(t *testing.T) {
	w := newWorld(t)
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		inner := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 3)
		inner = protowire.AppendString(protowire.AppendTag(inner, 2, protowire.BytesType), "too old")
		_, _ = rw.Write(protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), inner))
	}))
	defer s.Close()
	w.fill("acme", 10)
	w.start(config(sinks.OTLP, s.URL+"/in"))
	w.caughtUp()
	if st := w.state(); st.Rejected != 3 || !strings.Contains(st.LastError, "too old") || st.Sent != 10 {
		t.Fatalf("%+v", st)
	}
}
