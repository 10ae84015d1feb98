package stdio_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/plugins/connector"
)

// playQuestions asks and logs in the middle of calls, and tells with their answers what it was told.
func playQuestions(a *actor, act string, h heard) {
	log := func() { say(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}`) }
	var early []heard // calls that came while it waited for an answer
	next := func() heard {
		if len(early) == 0 {
			return a.next()
		}
		h := early[0]
		early = early[1:]
		return h
	}
	ask := func(id string) string {
		log()
		say(`{"jsonrpc":"2.0","id":%q,"method":"elicitation/create","params":{"message":"who?"}}`, id)
		for {
			got := a.hear()
			switch {
			case string(got.ID) == `"`+id+`"`:
				return string(got.Result) + string(got.Error)
			case got.Method == "tools/call":
				early = append(early, got)
			}
		}
	}
	tell := func(h heard, got string) {
		text, _ := json.Marshal(got)
		say(`{"jsonrpc":"2.0","id":%s,"result":{"got":%s}}`, h.ID, text)
	}
	switch act {
	case "two": // which of them does it ask?
		second := a.next()
		got := ask("q")
		tell(h, got)
		tell(second, got)
	case "given-up": // does it ask for the one that is not waited for any more?
		h = a.next()
		tell(h, ask("q"))
		say(`{"jsonrpc":"2.0","id":%d,"error":{"code":-1,"message":"was cancelled"}}`, 3)
	case "idle":
		answer(h.ID)
		got := ask("q")
		tell(next(), got)
	case "takes-back":
		say(`{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":{}}`)
		say(`{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":{}}`)
		twice := a.hear()
		say(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"q"}}`)
		say(`{"jsonrpc":"2.0","id":"p","method":"ping"}`)
		tell(h, fmt.Sprintf("%s %s, then %s", twice.ID, twice.Error, a.hear().ID))
	case "roots":
		say(`{"jsonrpc":"2.0","id":"q","method":"roots/list"}`)
		got := a.hear()
		tell(h, string(got.Result)+string(got.Error))
	case "task": // begins one, and asks in everything that comes after
		say(`{"jsonrpc":"2.0","id":%s,"result":{"task":{"taskId":"t1","status":"working"}}}`, h.ID)
		for {
			h := a.hear()
			got := ""
			for _, meta := range []string{`{}`, `{"io.modelcontextprotocol/related-task":{"taskId":"t1"}}`} {
				say(`{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":{"_meta":%s}}`, meta)
				answered := a.hear()
				got += string(answered.Result) + string(answered.Error)
			}
			tell(h, got)
		}
	case "for-ever":
		for i := 0; ; i++ {
			say(`{"jsonrpc":"2.0","id":%d,"method":"sampling/createMessage"}`, i)
		}
	default:
		tell(h, ask("q"))
	}
	for n := 0; ; n++ {
		tell(next(), ask(fmt.Sprint("q", n)))
	}
}

// mouth is a caller that can be asked.
type mouth struct {
	principal    string
	heard, gone  chan string
	mute         bool
	method, name string
}

func newMouth(principal string) *mouth {
	return &mouth{principal: principal, heard: make(chan string, 10), gone: make(chan string, 10)}
}

func (p *mouth) call(ctx context.Context, s interface {
	Call(context.Context, *connector.Request) (connector.Reply, error)
}) string {
	r := connector.Request{Method: "tools/call", Name: "t", Principal: p.principal, Arguments: []byte("{}")}
	if p.method != "" {
		r = connector.Request{Method: p.method, Name: p.name, Principal: p.principal}
	}
	r.Notify = func(method string, params []byte) error {
		p.heard <- method + string(params)
		return nil
	}
	r.Ask = func(ctx context.Context, method string, params []byte) (connector.Reply, error) {
		p.heard <- method + string(params)
		if p.mute {
			<-ctx.Done()
			p.gone <- "the question is over"
			return connector.Reply{}, ctx.Err()
		}
		return connector.Reply{Result: []byte("{\"i\":\n\"" + p.principal + `"}`)}, nil
	}
	reply, err := s.Call(ctx, &r)
	if err != nil {
		return err.Error()
	}
	return string(reply.Result)
}

func (p *mouth) wants(t *testing.T, want ...string) {
	t.Helper()
	for _, w := range want {
		select {
		case got := <-p.heard:
			if !strings.HasPrefix(got, w) {
				t.Errorf("%s heard %s, want %s", p.principal, got, w)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("%s did not hear %s", p.principal, w)
		}
	}
	select {
	case got := <-p.heard:
		t.Errorf("%s heard %s", p.principal, got)
	default:
	}
}

// TestAQuestionIsForTheOnlyCallUnderWay, and so are logs; each waits for its answer, and is asked anew in the next call.
func TestAQuestionIsForTheOnlyCallUnderWay(t *testing.T) {
	s, _ := start(t, config("legacy question"))
	for _, principal := range []string{"a", "b"} {
		p := newMouth(principal)
		if got := p.call(t.Context(), s); got != `{"got":"{\"i\": \"`+principal+`\"}"}` {
			t.Error(got)
		}
		p.wants(t, `notifications/message{"level":"info"`, `elicitation/create{"message":"who?"}`)
	}
	if got, fail := call(t, s); fail != nil || !strings.Contains(got, "Method not found") {
		t.Errorf("a caller that cannot be asked: %s, %v", got, fail)
	}
}

// TestAQuestionThatMayBeOfAnotherCallReachesNobody: of two callers at once, neither is asked or told.
func TestAQuestionThatMayBeOfAnotherCallReachesNobody(t *testing.T) {
	s, _ := start(t, config("legacy two"))
	a, b := newMouth("a"), newMouth("b")
	got := make(chan string, 2)
	go func() { got <- a.call(t.Context(), s) }()
	go func() { got <- b.call(t.Context(), s) }()
	for range 2 {
		if g := <-got; !strings.Contains(g, "belongs to no call for certain") {
			t.Error(g)
		}
	}
	a.wants(t)
	b.wants(t)
}

// TestACallThatWasGivenUpMayStillAsk: nobody else is asked for it until the server has answered it.
func TestACallThatWasGivenUpMayStillAsk(t *testing.T) {
	for _, second := range []string{"b", "a"} {
		s, _ := start(t, config("legacy given-up"))
		a := newMouth("a")
		ctx, leave := context.WithTimeout(t.Context(), 300*time.Millisecond)
		if got := a.call(ctx, s); !strings.Contains(got, "did not answer in time") {
			t.Error(got)
		}
		leave()
		p := newMouth(second)
		got := p.call(t.Context(), s)
		if second == "a" { // its own
			p.wants(t, "notifications/message", "elicitation/create")
			continue
		}
		if !strings.Contains(got, "belongs to no call for certain") {
			t.Error(got)
		}
		p.wants(t)
		if got := p.call(t.Context(), s); !strings.Contains(got, `\"b\"`) {
			t.Errorf("the call that was given up has been answered since: %s", got)
		}
	}
}

// TestAQuestionOfATaskIsForWhoWaitsForIt: what a task asks reaches no call of another while the task may run, whether it names
// itself or not.
func TestAQuestionOfATaskIsForWhoWaitsForIt(t *testing.T) {
	s, _ := start(t, config("legacy task"))
	a, b := newMouth("a"), newMouth("b")
	if got := a.call(t.Context(), s); !strings.Contains(got, `"t1"`) {
		t.Fatal(got)
	}
	if got := b.call(t.Context(), s); strings.Count(got, "belongs to no call for certain") != 2 {
		t.Error(got)
	}
	b.wants(t)
	a.method, a.name = "tasks/result", "t1"
	if got := a.call(t.Context(), s); strings.Count(got, `{\"i\": \"a\"}`) != 2 {
		t.Error(got)
	}
	a.wants(t, "elicitation/create", `elicitation/create{"_meta":{"io.modelcontextprotocol/related-task"`)
	if got := b.call(t.Context(), s); strings.Count(got, "belongs to no call for certain") != 1 || !strings.Contains(got, `\"b\"`) {
		t.Error(got)
	}
	b.wants(t, "elicitation/create")
}

// TestAServerThatAsksWhenNoCallRunsIsRefused.
func TestAServerThatAsksWhenNoCallRunsIsRefused(t *testing.T) {
	s, _ := start(t, config("legacy idle"))
	if _, fail := call(t, s); fail != nil {
		t.Fatal(fail)
	}
	time.Sleep(200 * time.Millisecond)
	p := newMouth("a")
	if got := p.call(t.Context(), s); !strings.Contains(got, "belongs to no call for certain") {
		t.Error(got)
	}
	p.wants(t)
}

// TestAQuestionThatIsTakenBackIsOver, one that is open is not asked twice, and the end of a call ends its questions.
func TestAQuestionThatIsTakenBackIsOver(t *testing.T) {
	s, _ := start(t, config("legacy takes-back"))
	p := newMouth("a")
	p.mute = true
	if got := p.call(t.Context(), s); !strings.Contains(got, "still open") || !strings.Contains(got, `then \"p\"`) {
		t.Error(got)
	}
	<-p.gone
	p.wants(t, "elicitation/create{}")
	ctx, leave := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer leave()
	if got := p.call(ctx, s); !strings.Contains(got, "did not answer in time") {
		t.Error(got)
	}
	<-p.gone
	p.mute = false
	p.wants(t, "notifications/message", "elicitation/create")
	if got := p.call(t.Context(), s); !strings.Contains(got, `\"a\"`) {
		t.Error(got)
	}
}

// TestAServerThatAsksForEverIsEnded.
func TestAServerThatAsksForEverIsEnded(t *testing.T) {
	c := config("legacy for-ever")
	c.MaxUnasked = 500
	s, _ := start(t, c)
	p := newMouth("a")
	p.heard = make(chan string, 1000)
	if got := p.call(t.Context(), s); !strings.Contains(got, "answer no call") {
		t.Error(got)
	}
}

// TestNobodysRootsBecomeEverybodys: a server keeps them for its one conversation.
func TestNobodysRootsBecomeEverybodys(t *testing.T) {
	s, _ := start(t, config("legacy roots"))
	p := newMouth("a")
	if got := p.call(t.Context(), s); !strings.Contains(got, "Method not found") {
		t.Error(got)
	}
	p.wants(t)
}
