package conformance_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestAStepIsTakenOnceAlsoFromManyConnectionsAtOnce(t *testing.T) {
	t.Parallel()
	g := shared(t)
	a := g.newAgent(t)
	to := fmt.Sprintf("race-%d@b.example", serial.Add(1))
	mail := fmt.Sprintf(`{"to":%q,"subject":"s","body":"b"}`, to)
	p, tok := a.planned(t, step("demo", "mail_send", mail), step("demo", "mail_outbox", fmt.Sprintf(`{"to":%q}`, to), `"uses":0`))
	const callers = 12
	answers := make([]answer, callers)
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for i := range callers {
		wg.Go(func() {
			own := &http.Client{Transport: &http.Transport{}} // a connection of its own
			defer own.CloseIdleConnections()
			req, err := http.NewRequest("POST", g.URL+"/mcp/demo", strings.NewReader(message("mail_send", mail)))
			if err != nil {
				return
			}
			for name, value := range bearer(a.key, tok.Token) {
				req.Header.Set(name, value)
			}
			<-begin
			resp, err := own.Do(req)
			if err != nil {
				return
			}
			defer resp.Body.Close()
			answers[i] = read(resp.StatusCode, resp.Header, []byte(readAll(resp)))
		})
	}
	close(begin)
	wg.Wait()
	won := 0
	for _, ans := range answers {
		if ans.Result != nil {
			won++
			continue
		}
		ans.refused(t, "step_used")
	}
	if won != 1 {
		t.Errorf("%d of %d calls took the one use", won, callers)
	}
	if out := a.call(t, "demo", "mail_outbox", fmt.Sprintf(`{"to":%q}`, to), tok.Token).ok(t); !strings.Contains(out.text(), `"total":1`) {
		t.Errorf("the outbox has %s", out.text())
	}
	a.call(t, "demo", "mail_send", mail, tok.Token).refused(t, "step_used")
	second := a.token(t, p.ID, 0) // uses belong to the plan, not to the token
	a.call(t, "demo", "mail_send", mail, second.Token).refused(t, "step_used")
}

func TestASpentPlanIsOver(t *testing.T) {
	t.Parallel()
	g := shared(t)
	a := g.newAgent(t)
	_, tok := a.planned(t, step("demo", "calculate", expression(1)))
	a.call(t, "demo", "calculate", expression(1), tok.Token).ok(t)
	again := a.call(t, "demo", "calculate", expression(1), tok.Token).refused(t, "step_used", "plan_inactive")
	if r := g.find(t, again.Record); r.Kind != "refused" || r.Token != tok.ID {
		t.Errorf("the ledger says %s", r.Raw)
	}
}

func TestOnlyThePlannedArgumentsPass(t *testing.T) {
	t.Parallel()
	g := shared(t)
	a := g.newAgent(t)
	const planned = `{"title":"a","text":"1","tags":["x","y"]}`
	_, tok := a.planned(t, step("demo", "notes_add", planned, `"uses":0`), step("demo", "notes_list", `{"limit":5}`, `"uses":0`))
	for name, args := range map[string]string{
		"none": `{}`, "one omitted": `{"title":"a","text":"1"}`, "one added": `{"title":"a","text":"1","tags":["x","y"],"more":1}`, "one null": `{"title":"a","text":"1","tags":null}`,
		"another value": `{"title":"a","text":"2","tags":["x","y"]}`, "retyped": `{"title":"a","text":1,"tags":["x","y"]}`, "a list for a value": `{"title":["a"],"text":"1","tags":["x","y"]}`,
		"another order in the list": `{"title":"a","text":"1","tags":["y","x"]}`, "a longer list": `{"title":"a","text":"1","tags":["x","y","z"]}`, "another case": `{"Title":"a","text":"1","tags":["x","y"]}`,
		"another normal form": `{"title":"a","text":"1","tags":["x","y\u0301"]}`, "a space": `{"title":"a ","text":"1","tags":["x","y"]}`, "empty name": `{"title":"a","text":"1","tags":["x","y"],"":0}`,
	} {
		ans := a.call(t, "demo", "notes_add", args, tok.Token)
		if ans.Code != "args_mismatch" || ans.Record == "" || ans.Receipt == "" {
			t.Errorf("%s: %s", name, ans)
		}
	}
	for _, limit := range []string{`"5"`, `5.5`, `6`, `[5]`, `true`, `-5`} {
		a.call(t, "demo", "notes_list", `{"limit":`+limit+`}`, tok.Token).refused(t, "args_mismatch")
	}
	for _, same := range []string{planned, ` { "tags" : [ "x" , "y" ] , "text" : "\u0031" , "title" : "a" } `} { // the same value, however it is spelled
		a.call(t, "demo", "notes_add", same, tok.Token).ok(t)
	}
	for _, tool := range []string{"notes_search", "mail_send", "no_such_tool", "Notes_add", "notes_add "} {
		if ans := a.call(t, "demo", tool, planned, tok.Token); ans.Result != nil || ans.Code == "" || ans.Record == "" {
			t.Errorf("tool %q: %s", tool, ans)
		}
	}
}

func TestStepsAreDoneInTheirOrder(t *testing.T) {
	t.Parallel()
	g := shared(t)
	a := g.newAgent(t)
	_, tok := a.planned(t, step("demo", "calculate", expression(0)), step("demo", "calculate", expression(1), `"after":[0]`), step("demo", "calculate", expression(2), `"after":[0,1]`))
	for _, c := range []struct {
		i    int
		code string
	}{{2, "step_order"}, {1, "step_order"}, {0, ""}, {2, "step_order"}, {1, ""}, {2, ""}} {
		ans := a.call(t, "demo", "calculate", expression(c.i), tok.Token)
		if c.code == "" {
			ans.ok(t)
		} else {
			ans.refused(t, c.code)
		}
	}
	_, tok = a.planned(t, step("demo", "calculate", `{"expression":"1/0"}`), step("demo", "calculate", expression(1), `"after":[0]`))
	if ans := a.call(t, "demo", "calculate", `{"expression":"1/0"}`, tok.Token); !strings.Contains(ans.Body, `"isError":true`) {
		t.Fatalf("a division by zero: %s", ans)
	}
	a.call(t, "demo", "calculate", expression(1), tok.Token).refused(t, "step_order") // a step that failed is not done
}

func TestAnExpiredTokenIsRefused(t *testing.T) {
	t.Parallel()
	g := start(t, Setup{HCL: "intent {\n  leeway = \"0s\"\n}\n"})
	a := g.newAgent(t)
	p, lasting := a.planned(t, step("demo", "calculate", expression(1), `"uses":0`))
	short := a.token(t, p.ID, time.Second)
	var last answer
	waitFor(t, "the token's end", func() bool {
		last = a.call(t, "demo", "calculate", expression(1), short.Token)
		return last.Result == nil
	})
	last.refused(t, "token_expired")
	a.call(t, "demo", "calculate", expression(1), lasting.Token).ok(t)
	ask := func(body string) answer {
		return send(t, "POST", g.URL+"/api/v1/plans/"+p.ID+"/tokens", bearer(a.key, ""), body)
	}
	for _, body := range []string{`{"ttl_seconds":0}`, `{"ttl_seconds":-1}`, `{"ttl_seconds":1.5}`, `{"ttl_seconds":"1"}`, `{"ttl_seconds":null}`, `{"ttl":1}`, `[]`, ``, `{"ttl_seconds":1,"ttl_seconds":2}`} {
		if ans := ask(body); ans.Code != "malformed" {
			t.Errorf("asked with %s: %s", body, ans)
		}
	}
	if ans := ask(`{"ttl_seconds":99999999}`); ans.Status == http.StatusCreated && lifetime(t, ans.Body) > 24*time.Hour {
		t.Errorf("a token for years: %s", ans)
	}
}

func TestWhatIsRevokedStopsAtOnce(t *testing.T) {
	t.Parallel()
	g := shared(t)
	for name, revoke := range map[string]func(t *testing.T, a agent, p plan, tok issued) []string{
		"token": func(t *testing.T, _ agent, _ plan, tok issued) []string {
			g.manage(t, g.Admin(), "DELETE", "/api/v1/tokens/"+tok.ID, nil, nil)
			return []string{"token_revoked"}
		},
		"token by revocation": func(t *testing.T, _ agent, _ plan, tok issued) []string {
			g.manage(t, g.Admin(), "POST", "/api/v1/revocations", map[string]any{"kind": "token", "id": tok.ID, "reason": "test"}, nil)
			return []string{"token_revoked"}
		},
		"plan": func(t *testing.T, _ agent, p plan, _ issued) []string {
			g.manage(t, g.Admin(), "PUT", "/api/v1/plans/"+p.ID+"/state", map[string]any{"state": "revoked"}, nil)
			return []string{"plan_inactive", "plan_revoked"}
		},
		"plan completed": func(t *testing.T, _ agent, p plan, _ issued) []string {
			g.manage(t, g.Admin(), "PUT", "/api/v1/plans/"+p.ID+"/state", map[string]any{"state": "completed"}, nil)
			return []string{"plan_inactive"}
		},
		"key": func(t *testing.T, a agent, _ plan, _ issued) []string {
			g.manage(t, g.Admin(), "DELETE", "/api/v1/keys/"+a.keyID, nil, nil)
			return []string{"unauthenticated"}
		},
		"agent": func(t *testing.T, a agent, _ plan, _ issued) []string {
			g.manage(t, g.Admin(), "PUT", "/api/v1/agents/"+a.id+"/status", map[string]any{"status": "revoked"}, nil)
			return []string{"unauthenticated"}
		},
		"agent suspended": func(t *testing.T, a agent, _ plan, _ issued) []string {
			g.manage(t, g.Admin(), "PUT", "/api/v1/agents/"+a.id+"/status", map[string]any{"status": "suspended"}, nil)
			return []string{"unauthenticated", "policy_denied"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := g.newAgent(t)
			p, tok := a.planned(t, step("demo", "calculate", expression(1), `"uses":0`))
			for range 3 { // warm, so that a cache has it
				a.call(t, "demo", "calculate", expression(1), tok.Token).ok(t)
			}
			codes := revoke(t, a, p, tok)
			a.call(t, "demo", "calculate", expression(1), tok.Token).refused(t, codes...)
			if strings.HasPrefix(name, "plan") {
				if ans := send(t, "POST", g.URL+"/api/v1/plans/"+p.ID+"/tokens", bearer(a.key, ""), "{}"); ans.Status == http.StatusCreated {
					t.Errorf("a token for a plan that ended: %s", ans)
				}
			}
		})
	}
}

func TestARetryGetsTheFirstAnswerAndOneEffect(t *testing.T) {
	t.Parallel()
	g := shared(t)
	a := g.newAgent(t)
	to := fmt.Sprintf("retry-%d@b.example", serial.Add(1))
	mail := func(subject string) string {
		return fmt.Sprintf(`{"to":%q,"subject":%q,"body":"b"}`, to, subject)
	}
	_, tok := a.planned(t, step("demo", "mail_send", mail("one"), `"uses":5`), step("demo", "mail_send", mail("two"), `"uses":5`), step("demo", "mail_outbox", fmt.Sprintf(`{"to":%q}`, to), `"uses":0`))
	post := func(who agent, retry, token, body string) answer {
		return send(t, "POST", g.URL+"/mcp/demo", bearer(who.key, token).with(head{"Idempotency-Key": retry}), body)
	}
	total := func() string {
		return a.call(t, "demo", "mail_outbox", fmt.Sprintf(`{"to":%q}`, to), tok.Token).ok(t).text()
	}
	first := post(a, "k1", tok.Token, message("mail_send", mail("one"))).ok(t)
	for range 3 {
		again := post(a, "k1", tok.Token, message("mail_send", mail("one"))).ok(t)
		if again.Body != first.Body || again.Record != first.Record || again.Receipt != first.Receipt {
			t.Errorf("a retry was answered %s\nat first %s", again, first)
		}
	}
	if out := total(); !strings.Contains(out, `"total":1`) {
		t.Errorf("after retries the outbox has %s", out)
	}
	post(a, "k1", tok.Token, message("mail_send", mail("two"))).refused(t, "retry_mismatch")
	other := a.token(t, g.planOf(t, first.Record), 0)
	post(a, "k1", other.Token, message("mail_send", mail("one"))).refused(t, "retry_mismatch")
	b := g.newAgent(t)
	post(b, "k1", tok.Token, message("mail_send", mail("one"))).refused(t, "bearer_mismatch", "intent_invalid") // another caller's key is another key
	if ans := post(a, strings.Repeat("k", 300), tok.Token, message("mail_send", mail("one"))); ans.Code != "malformed" {
		t.Errorf("a key of 300 bytes: %s", ans)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	bodies := map[string]int{}
	for range 8 {
		wg.Go(func() {
			ans, err := trySend("POST", g.URL+"/mcp/demo", bearer(a.key, tok.Token).with(head{"Idempotency-Key": "k2"}), message("mail_send", mail("two")))
			mu.Lock()
			defer mu.Unlock()
			if err == nil && ans.Code != "in_progress" {
				bodies[ans.Body]++
			}
		})
	}
	wg.Wait()
	if len(bodies) != 1 {
		t.Errorf("retries at once got %d different answers: %v", len(bodies), bodies)
	}
	if out := total(); !strings.Contains(out, `"total":2`) {
		t.Errorf("after retries at once the outbox has %s", out)
	}
	refused := post(a, "k3", tok.Token, message("mail_send", mail("three"))).refused(t, "args_mismatch")
	if again := post(a, "k3", tok.Token, message("mail_send", mail("one"))).ok(t); again.Record == refused.Record {
		t.Error("a refusal was kept as an answer")
	}
}
