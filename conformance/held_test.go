//nolint:staticcheck // sampling and roots are deprecated in the newer era, and what servers of the older one ask
package conformance_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// A client of the newer era, which can only be asked with an answer, and a server of the older one, which asks in the middle of a
// call and waits. The server is the Go SDK's.

// asker is a server with sessions whose tools, prompt and resource ask before they answer.
type asker struct {
	url     string
	begun   chan struct{} // one for each call of "slow" that is about to ask
	gone    chan error    // why the question of a call of "slow" ended without an answer
	answers chan string   // of "slow"
}

const askedURI = "ask:///it"

func newAsker(t testing.TB, era string) *asker {
	t.Helper()
	a := &asker{begun: make(chan struct{}, 100), gone: make(chan error, 100), answers: make(chan string, 100)}
	s := mcp.NewServer(&mcp.Implementation{Name: "asker", Version: "1"}, nil)
	tool := func(name string, do func(context.Context, *mcp.ServerSession) string) {
		s.AddTool(&mcp.Tool{Name: name, InputSchema: json.RawMessage(`{"type":"object"}`)}, func(ctx context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			if token := r.Params.GetProgressToken(); token != nil {
				_ = r.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: token, Progress: 1, Message: "before"})
			}
			text := do(ctx, r.Session)
			if token := r.Params.GetProgressToken(); token != nil {
				_ = r.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: token, Progress: 2, Message: "after"})
			}
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: text}}}, nil
		})
	}
	tool("together", func(ctx context.Context, s *mcp.ServerSession) string {
		var all [3]string
		var asked sync.WaitGroup
		asked.Go(func() { all[0] = elicited(ctx, s, "who") })
		asked.Go(func() { all[1] = sampled(ctx, s) })
		asked.Go(func() { all[2] = rooted(ctx, s) })
		asked.Wait()
		return strings.Join(all[:], " ")
	})
	tool("in_turn", func(ctx context.Context, s *mcp.ServerSession) string {
		return elicited(ctx, s, "who") + " " + sampled(ctx, s) + " " + rooted(ctx, s) + " " + elicited(ctx, s, "again")
	})
	tool("slow", func(ctx context.Context, s *mcp.ServerSession) string {
		a.begun <- struct{}{}
		r, err := s.Elicit(ctx, elicits("who"))
		if err != nil {
			a.gone <- err
			return "nobody: " + err.Error()
		}
		a.answers <- fmt.Sprint(r.Content["name"])
		return fmt.Sprint(r.Content["name"])
	})
	s.AddPrompt(&mcp.Prompt{Name: "ask"}, func(ctx context.Context, r *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
		return &mcp.GetPromptResult{Messages: []*mcp.PromptMessage{{Role: "user", Content: &mcp.TextContent{Text: elicited(ctx, r.Session, "who")}}}}, nil
	})
	s.AddResource(&mcp.Resource{Name: "it", URI: askedURI}, func(ctx context.Context, r *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: askedURI, Text: elicited(ctx, r.Session, "who")}}}, nil
	})
	only := func(*http.Request) *mcp.Server { return s }
	var handler http.Handler = mcp.NewStreamableHTTPHandler(only, nil)
	if era == "sse" {
		handler = mcp.NewSSEHandler(only, nil)
	}
	web := httptest.NewServer(handler)
	t.Cleanup(func() { web.CloseClientConnections(); web.Close() })
	a.url = web.URL
	return a
}

func elicits(about string) *mcp.ElicitParams {
	return &mcp.ElicitParams{Message: about, RequestedSchema: json.RawMessage(`{"type":"object","properties":{"name":{"type":"string"}}}`)}
}

func elicited(ctx context.Context, s *mcp.ServerSession, about string) string {
	r, err := s.Elicit(ctx, elicits(about))
	if err != nil {
		return err.Error()
	}
	return r.Action + ":" + fmt.Sprint(r.Content["name"])
}

func sampled(ctx context.Context, s *mcp.ServerSession) string {
	r, err := s.CreateMessage(ctx, &mcp.CreateMessageParams{MaxTokens: 10, Messages: []*mcp.SamplingMessage{{Role: "user", Content: &mcp.TextContent{Text: "say it"}}}})
	if err != nil {
		return err.Error()
	}
	return r.Model + ":" + r.Content.(*mcp.TextContent).Text
}

func rooted(ctx context.Context, s *mcp.ServerSession) string {
	r, err := s.ListRoots(ctx, nil)
	if err != nil || len(r.Roots) != 1 {
		return fmt.Sprint(err)
	}
	return r.Roots[0].URI
}

// holding is a gateway with small bounds before the asker.
func holding(t testing.TB, hcl, era string) (*Gateway, *asker) {
	t.Helper()
	if era == "connector" {
		a := newAsker(t, "legacy")
		hcl += fmt.Sprintf("server \"asker\" {\n  tenant        = \"demo\"\n  url           = %q\n  allow_private = true\n  via           = \"connector\"\n}\n", a.url)
		g := start(t, Setup{HCL: hcl})
		g.offers(t, "asker", "together")
		return g, a
	}
	g, a := start(t, Setup{HCL: hcl}), newAsker(t, era)
	g.behind(t, "asker", a.url, map[string]any{"era": era})
	return g, a
}

func TestANewerClientAnswersWhatAnOlderServerAsksInTheMiddleOfACall(t *testing.T) {
	t.Parallel()
	for _, era := range []string{"auto", "legacy", "sse", "connector"} {
		t.Run(era, func(t *testing.T) {
			t.Parallel()
			answersOlder(t, era)
		})
	}
}

func answersOlder(t *testing.T, era string) {
	g, _ := holding(t, "", era)
	who := g.newAgent(t)
	_, tok := who.planned(t, step("asker", "together", `{}`), step("asker", "in_turn", `{}`),
		step("asker", "ask", `{}`, `"op":"prompts/get"`), step("asker", askedURI, `{}`, `"op":"resources/read"`))
	var mu sync.Mutex
	var progress []string
	client := mcp.NewClient(&mcp.Implementation{Name: "newer", Version: "1"}, &mcp.ClientOptions{
		ElicitationHandler: func(_ context.Context, r *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"name": "Ann " + r.Params.Message}}, nil
		},
		CreateMessageHandler: func(context.Context, *mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
			return &mcp.CreateMessageResult{Model: "m", Role: "assistant", Content: &mcp.TextContent{Text: "said"}}, nil
		},
		ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) {
			mu.Lock()
			defer mu.Unlock()
			progress = append(progress, r.Params.Message)
		},
	})
	client.AddRoots(&mcp.Root{URI: "file:///home", Name: "home"})
	s, err := client.Connect(t.Context(), &mcp.StreamableClientTransport{
		Endpoint: g.URL + "/mcp/asker", HTTPClient: &http.Client{Transport: fixedHeaders{"Authorization": "Bearer " + who.key, "Gatewright-Intent": tok.Token}},
	}, &mcp.ClientSessionOptions{ProtocolVersion: newerEra})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	for name, want := range map[string]string{
		"together": "accept:Ann who m:said file:///home", "in_turn": "accept:Ann who m:said file:///home accept:Ann again",
	} {
		p := &mcp.CallToolParams{Name: name, Arguments: map[string]any{}}
		p.SetProgressToken("token of " + name)
		r, err := s.CallTool(t.Context(), p)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := r.Content[0].(*mcp.TextContent).Text; got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if p, err := s.GetPrompt(t.Context(), &mcp.GetPromptParams{Name: "ask"}); err != nil || p.Messages[0].Content.(*mcp.TextContent).Text != "accept:Ann who" {
		t.Errorf("a prompt: %+v, %v", p, err)
	}
	if r, err := s.ReadResource(t.Context(), &mcp.ReadResourceParams{URI: askedURI}); err != nil || r.Contents[0].Text != "accept:Ann who" {
		t.Errorf("a resource: %+v, %v", r, err)
	}
	mu.Lock()
	defer mu.Unlock()
	if slices.Sort(progress); !slices.Equal(progress, []string{"after", "after", "before", "before"}) {
		t.Errorf("heard %q", progress)
	}
}

// heldRound calls "slow" as a client that can be elicited; more is put into its params.
func heldRound(t testing.TB, a agent, token, more string) answer {
	t.Helper()
	h := bearer(a.key, token)
	maps.Copy(h, modern("slow"))
	meta := strings.Replace(modernMeta, `ientCapabilities":{}`, `ientCapabilities":{"elicitation":{"form":{}}}`, 1)
	return send(t, "POST", a.g.URL+"/mcp/asker", h, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"slow","arguments":{},`+meta+more+`}}`)
}

// asked reads what a server asks: the state, and the name of its one question.
func asked(t testing.TB, a answer) (state, key string) {
	t.Helper()
	var r struct {
		ResultType    string
		RequestState  string
		InputRequests map[string]struct{ Method string }
	}
	if err := json.Unmarshal(a.ok(t).Result, &r); err != nil || r.ResultType != "input_required" || r.RequestState == "" || len(r.InputRequests) != 1 {
		t.Fatalf("it asks nothing: %s", a)
	}
	for key = range r.InputRequests {
		if r.InputRequests[key].Method != "elicitation/create" {
			t.Fatalf("it asks something else: %s", a)
		}
	}
	return r.RequestState, key
}

func back(state, key, name string) string {
	return fmt.Sprintf(`,"requestState":%q,"inputResponses":{%q:{"action":"accept","content":{"name":%q}}}`, state, key, name)
}

func soon[T any](t testing.TB, c <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(10 * time.Second):
		t.Fatalf("not in time: %s", what)
	}
	return v
}

func TestAHeldCallGoesOnForItsOwnCallerOnce(t *testing.T) {
	t.Parallel()
	g, server := holding(t, "", "auto")
	ann, eve := g.newAgent(t), g.newAgent(t)
	open := step("asker", "slow", `{}`, `"uses":0`)
	_, anns := ann.planned(t, open)
	_, eves := eve.planned(t, open)
	state, key := asked(t, heldRound(t, ann, anns.Token, ""))
	other, otherKey := asked(t, heldRound(t, ann, anns.Token, ""))

	heldRound(t, eve, eves.Token, back(state, key, "Eve")).refused(t, "malformed")
	heldRound(t, ann.another(t), anns.Token, back(state, key, "other key")).refused(t, "malformed")
	heldRound(t, ann, anns.Token, back(state+"x", key, "forged")).refused(t, "malformed")
	heldRound(t, ann, anns.Token, `,"requestState":"`+state+`","inputResponses":[]`).refused(t, "malformed")
	heldRound(t, ann, "", back(state, key, "no plan")).refused(t, "intent_required")
	select {
	case got := <-server.answers:
		t.Fatalf("the server was answered %q", got)
	case err := <-server.gone:
		t.Fatalf("the call ended: %v", err)
	case <-time.After(300 * time.Millisecond):
	}

	// Another answer than to what was asked leaves the question open.
	state, key = asked(t, heldRound(t, ann, anns.Token, back(state, "gatewright-77", "beside")))
	if got := heldRound(t, ann, anns.Token, back(state, key, "Ann")).ok(t).text(); got != "Ann" || soon(t, server.answers, "an answer") != "Ann" {
		t.Errorf("answered %q", got)
	}
	heldRound(t, ann, anns.Token, back(state, key, "replayed")).refused(t, "malformed")
	if got := heldRound(t, ann, anns.Token, back(other, otherKey, "second")).ok(t).text(); got != "second" {
		t.Errorf("the second call was answered %q", got)
	}
	if n := len(server.begun); n != 2 {
		t.Errorf("the server was called %d times", n)
	}
}

func TestACallThatNobodyComesBackForEnds(t *testing.T) {
	t.Parallel()
	g, server := holding(t, "upstream {\n  answer_timeout = \"1s\"\n}\n", "auto")
	ann := g.newAgent(t)
	_, tok := ann.planned(t, step("asker", "slow", `{}`, `"uses":0`))
	state, key := asked(t, heldRound(t, ann, tok.Token, ""))
	_ = soon(t, server.gone, "the end of a call whose client never returns")
	time.Sleep(200 * time.Millisecond)
	late := heldRound(t, ann, tok.Token, back(state, key, "late")).refused(t, "malformed")
	if !strings.Contains(late.Body, "make the call again without it") {
		t.Errorf("no word of what to do: %s", late)
	}
}

func TestHeldCallsAreBoundedAndEndWithTheGateway(t *testing.T) {
	t.Parallel()
	g, server := holding(t, "upstream {\n  held_calls = 3\n  held_calls_per_agent = 2\n}\n", "auto")
	open := step("asker", "slow", `{}`, `"uses":0`)
	ann, bob := g.newAgent(t), g.newAgent(t)
	_, anns := ann.planned(t, open)
	_, bobs := bob.planned(t, open)
	state, key := asked(t, heldRound(t, ann, anns.Token, ""))
	asked(t, heldRound(t, ann, anns.Token, ""))
	full := heldRound(t, ann, anns.Token, "").refused(t, "upstream_busy")
	if !strings.Contains(full.Body, "answer what your other calls ask") {
		t.Errorf("no word of what to do: %s", full)
	}
	_ = soon(t, server.gone, "the end of the call beyond the bound")
	asked(t, heldRound(t, bob, bobs.Token, ""))
	heldRound(t, bob, bobs.Token, "").refused(t, "upstream_busy")
	_ = soon(t, server.gone, "the end of the call beyond the bound of all")
	if got := heldRound(t, ann, anns.Token, back(state, key, "Ann")).ok(t).text(); got != "Ann" {
		t.Errorf("what was held before is answered %q", got)
	}
	asked(t, heldRound(t, bob, bobs.Token, "")) // there is room again
	began := time.Now()
	if code := g.Stop(t); code != 0 {
		t.Errorf("the gateway stopped with %d", code)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the gateway took %v to stop", took)
	}
	for range 3 {
		_ = soon(t, server.gone, "the end of a held call with the gateway")
	}
}

func TestHeldCallsEndWithTheRightToThem(t *testing.T) {
	t.Parallel()
	g, server := holding(t, "upstream {\n  held_calls_per_tenant = 3\n  held_calls_per_agent = 2\n}\n", "auto")
	open := step("asker", "slow", `{}`, `"uses":0`)
	ann, bob := g.newAgent(t), g.newAgent(t)
	_, anns := ann.planned(t, open)
	_, bobs := bob.planned(t, open)
	other := ann.another(t)
	_, others := other.planned(t, open)
	state, key := asked(t, heldRound(t, ann, anns.Token, ""))
	asked(t, heldRound(t, other, others.Token, ""))
	heldRound(t, other, others.Token, "").refused(t, "upstream_busy") // a second key is no second share
	_ = soon(t, server.gone, "the end of the call beyond the agent's bound")
	asked(t, heldRound(t, bob, bobs.Token, ""))
	heldRound(t, bob, bobs.Token, "").refused(t, "upstream_busy") // nor does a tenant get more than its own
	_ = soon(t, server.gone, "the end of the call beyond the tenant's bound")

	if r := g.control(t, g.Admin(), "PUT", "/api/v1/agents/"+ann.id+"/status", map[string]any{"status": "suspended"}); r.Status >= 300 {
		t.Fatalf("suspend: %s", r)
	}
	began := time.Now()
	for range 2 {
		_ = soon(t, server.gone, "the end of a suspended agent's held call")
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("its calls were held for %v more", took)
	}
	if got := heldRound(t, ann, anns.Token, back(state, key, "Ann")); got.Status == 200 && got.Result != nil {
		t.Errorf("a suspended agent went on: %s", got)
	}
	over := heldRound(t, bob, bobs.Token, back(state, key, "Bob")).refused(t, "malformed")
	if !strings.Contains(over.Body, "make the call again without requestState") {
		t.Errorf("the hint of a state that is over: %s", over)
	}
}
