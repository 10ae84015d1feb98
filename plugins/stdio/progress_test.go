package stdio_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/plugins/connector"
)

// playProgress takes two calls and then tells each of them how it goes, and things that name no call.
func playProgress(a *actor, first heard) {
	second := a.next()
	for i, h := range []heard{second, first} {
		var meta struct {
			Token json.RawMessage `json:"progressToken"`
		}
		_ = json.Unmarshal(h.Params.Meta, &meta)
		if meta.Token == nil {
			meta.Token = h.ID // guessed
		}
		say(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":%s,"progress":%d}}`, meta.Token, i+1)
	}
	for _, params := range []string{`{"progressToken":"mine","progress":9}`, `{"progressToken":999,"progress":9}`, `{"progress":9}`, `[]`} {
		say(`{"jsonrpc":"2.0","method":"notifications/progress","params":%s}`, params)
	}
	say(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"of somebody"}}`)
	answer(second.ID)
	answer(first.ID)
	say(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":%s,"progress":9}}`, first.ID)
	for {
		answer(a.next().ID)
	}
}

// playRounds asks for input before it answers.
func playRounds(a *actor, h heard) {
	say(`{"jsonrpc":"2.0","id":%s,"result":{"resultType":"input_required","requestState":"s1","inputRequests":{"q":{"method":"elicitation/create","params":{}}}}}`, h.ID)
	again := a.next()
	say(`{"jsonrpc":"2.0","id":%s,"result":{"responses":%s,"state":%s,"meta":%s}}`, again.ID, orNull(again.Params.Responses), orNull(again.Params.State), orNull(again.Params.Meta))
}

// TestProgressReachesTheCallThatItNames, and no other; what names no call reaches nobody.
func TestProgressReachesTheCallThatItNames(t *testing.T) {
	for _, era := range []string{"legacy", "modern"} {
		s, _ := start(t, config(era+" progress"))
		heard := make([][]string, 2)
		calls := make(chan error, 2)
		for i := range heard {
			go func() {
				r := &connector.Request{Method: "tools/call", Name: fmt.Sprint(i), Principal: "p", Arguments: []byte("{}"), Meta: []byte(`{"progressToken":"mine"}`)}
				r.Notify = func(method string, params []byte) error {
					heard[i] = append(heard[i], method+string(params))
					return nil
				}
				_, err := s.Call(t.Context(), r)
				calls <- err
			}()
		}
		for range heard {
			if err := <-calls; err != nil {
				t.Fatal(err)
			}
		}
		all := slices.Concat(heard...)
		if len(heard[0]) != 1 || len(heard[1]) != 1 || heard[0][0] == heard[1][0] || strings.Contains(strings.Join(all, ""), ":9") {
			t.Errorf("%s: heard %q", era, heard)
		}
		if got, fail := call(t, s); fail != nil {
			t.Errorf("%s: then %s, %v", era, got, fail)
		}
	}
}

// TestProgressThatNobodyAskedForReachesNobody: such a call has no Notify, and the server no token.
func TestProgressThatNobodyAskedForReachesNobody(t *testing.T) {
	s, _ := start(t, config("legacy progress"))
	calls := make(chan *connector.Failure, 2)
	for range 2 {
		go func() {
			_, fail := call(t, s)
			calls <- fail
		}()
	}
	for range 2 {
		if fail := <-calls; fail != nil {
			t.Error(fail)
		}
	}
}

// TestAModernServerIsToldWhatTheCallerCanBeAskedAndItsAnswers: each request says it anew, so nothing is shared.
func TestAModernServerIsToldWhatTheCallerCanBeAskedAndItsAnswers(t *testing.T) {
	s, _ := start(t, config("modern rounds"))
	r := connector.Request{Method: "tools/call", Name: "t", Principal: "p", Arguments: []byte("{}"), Meta: []byte(`{"io.modelcontextprotocol/clientCapabilities":{"elicitation":{}}}`)}
	reply, err := s.Call(t.Context(), &r)
	if err != nil || !strings.Contains(string(reply.Result), `"input_required"`) {
		t.Fatalf("%s, %v", reply.Result, err)
	}
	r.Params = []byte(`{"name":"t","arguments":{},"inputResponses":{"q":{"action":"accept"}},"requestState":"s1","_meta":{"io.modelcontextprotocol/clientCapabilities":{"sampling":{}}}}`)
	reply, err = s.Call(t.Context(), &r)
	got := string(reply.Result)
	if err != nil || !strings.Contains(got, `"responses":{"q":{"action":"accept"}},"state":"s1"`) || !strings.Contains(got, `clientCapabilities":{"elicitation":{}}`) || strings.Contains(got, "sampling") {
		t.Errorf("%s, %v", got, err)
	}
	legacy, _ := start(t, config("legacy echo"))
	if reply, err := legacy.Call(t.Context(), &r); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("an older server was given answers to what it cannot have asked: %s, %v", reply.Result, err)
	}
}
