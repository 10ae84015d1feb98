package streams

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/gatewright/gatewright/bench/rig"
)

// talkative begins the note of a call that is answered bit by bit.
const talkative = "tell me how far you are"

// Of what such a call is told.
const (
	pace = time.Second
	size = 4 << 10 // bytes of an event
)

// serveTalker is an MCP server of the stateless era that answers like rig.Stub, agrees to be listened to and says nothing
// then, and tells talkative calls something until they leave.
func serveTalker(_ context.Context, settings json.RawMessage) (rig.Serving, error) {
	var stub rig.Stub
	if err := json.Unmarshal(settings, &stub); err != nil {
		return rig.Serving{}, fmt.Errorf("read settings: %w", err)
	}
	answers, err := stub.Answers()
	if err != nil {
		return rig.Serving{}, err
	}
	answers["server/discover"] = strings.Replace(answers["server/discover"], `"tools":{}`, `"tools":{"listChanged":true},"logging":{}`, 1)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return rig.Serving{}, fmt.Errorf("open a port: %w", err)
	}
	s := &http.Server{Handler: talker(answers), ReadHeaderTimeout: time.Minute}
	go func() { _ = s.Serve(ln) }()
	return rig.Serving{Addr: ln.Addr().String(), Stop: s.Close}, nil
}

type talker map[string]string

func (t talker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	var m struct {
		ID     json.RawMessage
		Params struct {
			Notifications json.RawMessage
			Meta          struct{ ProgressToken json.RawMessage } `json:"_meta"`
		}
	}
	if err == nil {
		err = json.Unmarshal(body, &m)
	}
	method := r.Header.Get("Mcp-Method")
	result, known := t[method]
	switch {
	case err != nil:
		http.Error(w, "no MCP request", http.StatusBadRequest)
	case method == "subscriptions/listen":
		events(w)(fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"notifications":%s,`+
			`"_meta":{"io.modelcontextprotocol/subscriptionId":%s}}}`, m.Params.Notifications, m.ID))
		<-r.Context().Done()
	case method == "tools/call" && bytes.Contains(body, []byte(talkative)):
		tell(r.Context(), events(w))
	case !known:
		http.Error(w, "no method that this server knows", http.StatusNotFound)
	default:
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, m.ID, result)
	}
}

// events begins a stream and gives what sends an event on it.
func events(w http.ResponseWriter) func(message string) {
	w.Header().Set("Content-Type", "text/event-stream")
	return func(message string) {
		fmt.Fprintf(w, "event: message\ndata: %s\n\n", message)
		_ = http.NewResponseController(w).Flush()
	}
}

// tell sends log messages until the caller leaves.
func tell(ctx context.Context, send func(string)) {
	text := strings.Repeat("one more order is done; ", size/24)
	beat := time.NewTicker(pace)
	defer beat.Stop()
	for {
		send(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"` + text + `"}}`)
		select {
		case <-beat.C:
		case <-ctx.Done():
			return
		}
	}
}
