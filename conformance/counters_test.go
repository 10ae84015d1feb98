package conformance_test

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// counting bounds one tool by a rate and another by what its session has seen.
const counting = `@id("ten-sums")
@rate("10/1h")
forbid (principal, action == Action::"demo___calculate", resource);

@id("three-lists")
forbid (principal, action == Action::"demo___notes_list", resource)
when { context.session.callsThisTool >= 3 };

@id("six-calls")
forbid (principal, action in Action::"work", resource)
when { context.session.calls >= 6 };
`

// TestCountersOfPoliciesHoldInARaceAndOverAKill: of two hundred calls at once a cap of ten lets exactly ten through, and
// neither a cap nor a session is forgotten when the gateway is killed.
func TestCountersOfPoliciesHoldInARaceAndOverAKill(t *testing.T) {
	t.Parallel()
	g := start(t, Setup{HCL: fmt.Sprintf("policies {\n  bundle = %q\n}\n", bundleFolder(t, counting))})
	a, b := g.newAgent(t), g.newAgent(t)
	sums := step("demo", "calculate", expression(1), `"uses":0`)
	lists := step("demo", "notes_list", `{"limit":5}`, `"uses":0`)
	_, tok := a.planned(t, lists)
	list := func(token string) answer { return a.call(t, "demo", "notes_list", `{"limit":5}`, token) }
	for range 3 {
		list(tok.Token).ok(t)
	}
	list(tok.Token).refused(t, "policy_denied")

	_, summing := a.planned(t, sums)
	if n := race(t, a, summing.Token, 200); n != 6 {
		t.Errorf("%d of 200 calls at once passed a session of six", n)
	}
	_, ofB := b.planned(t, sums)
	g.Stop(t)
	g.Restart(t)
	if n := race(t, b, ofB.Token, 200); n != 6 {
		t.Errorf("%d of 200 calls passed a session of six", n)
	}
	var more []string
	for range 2 { // four calls are left of the rate, whatever the plan
		_, again := b.planned(t, sums)
		more = append(more, again.Token)
	}
	if n := race(t, b, more[0], 200); n != 4 {
		t.Errorf("%d of 200 calls at once passed where four were left", n)
	}
	if err := g.Kill(); err != nil {
		t.Fatal(err)
	}
	g.Restart(t)
	full := b.call(t, "demo", "calculate", expression(1), more[1]).refused(t, "rate_limited")
	if wait, err := strconv.Atoi(full.Header.Get("Retry-After")); err != nil || wait < 3000 || wait > 3720 {
		t.Errorf("Retry-After %q", full.Header.Get("Retry-After"))
	}
	if r := g.find(t, full.Record); !strings.Contains(r.Raw, "ten-sums") {
		t.Errorf("the record does not name the policy: %s", r.Raw)
	}
	list(tok.Token).refused(t, "policy_denied")
	_, fresh := a.planned(t, lists)
	list(fresh.Token).ok(t)
	g.verifyLedger(t)
}

// race makes calls of one step at once and counts those that pass.
func race(t *testing.T, a agent, token string, calls int) (passed int) {
	t.Helper()
	var wg sync.WaitGroup
	var mu sync.Mutex
	begin := make(chan struct{})
	for range calls {
		wg.Go(func() {
			<-begin
			ans, err := trySend("POST", a.g.URL+"/mcp/demo", bearer(a.key, token), message("calculate", expression(1)))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				t.Error(err)
			case ans.Result != nil:
				passed++
			case ans.Code != "rate_limited" && ans.Code != "policy_denied":
				t.Errorf("refused as %s", ans)
			}
		})
	}
	close(begin)
	wg.Wait()
	return passed
}

// TestABadRateKeepsTheLastGoodBundle: it is refused with its place and what to write.
func TestABadRateKeepsTheLastGoodBundle(t *testing.T) {
	t.Parallel()
	dir := bundleFolder(t, counting)
	g := start(t, Setup{HCL: fmt.Sprintf("policies {\n  bundle = %q\n}\n", dir)})
	for bad, want := range map[string][]string{
		strings.Replace(counting, "10/1h", "10 per hour", 1):                                                                      {"own.cedar:2:1", `@rate(\"10/1h\")`},
		strings.Replace(counting, `action in Action::"work"`, "action", 1):                                                        {"own.cedar:11:", "only work has a session"},
		strings.Replace(counting, "session.callsThisTool", "session.callsThisTol", 1):                                             {"own.cedar:7:", "did you mean callsThisTool?"},
		strings.Replace(counting, `== Action::"demo___calculate"`, `in Action::"mcp"`, 1):                                         {"own.cedar:2:1", "only work is meant"},
		strings.Replace(counting, "context.session.calls >= 6", "context.filters.score > 6 || context.filters.scores.pii > 6", 1): {"own.cedar:11:", "pii"},
	} {
		writeFile(t, dir+"/own.cedar", bad)
		ans := g.control(t, g.Admin(), "POST", "/api/v1/bundles/reload", nil)
		for _, w := range want {
			if ans.Status < 400 || !strings.Contains(ans.Body, w) {
				t.Errorf("answered %s, want %s in it", ans, w)
			}
		}
	}
	a := g.newAgent(t)
	_, tok := a.planned(t, step("demo", "notes_list", `{"limit":5}`, `"uses":0`))
	for range 3 {
		a.call(t, "demo", "notes_list", `{"limit":5}`, tok.Token).ok(t)
	}
	a.call(t, "demo", "notes_list", `{"limit":5}`, tok.Token).refused(t, "policy_denied")
}
