package conformance_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/policies/compare"
)

// replayed is what `policy replay` says of a bundle.
func (g *Gateway) replayed(t testing.TB, dir string, more ...string) (r compare.Report, code int) {
	t.Helper()
	got := g.run(t, "", nil, append([]string{"policy", "replay", dir, "--json", "--examples", "50"}, more...)...)
	if err := json.Unmarshal([]byte(got.out), &r); err != nil {
		t.Fatalf("%d %s %s", got.code, got.out, got.err)
	}
	return r, got.code
}

// admittedOf is the record that holds the question of a call, by that which its caller was told.
func (g *Gateway) admittedOf(t testing.TB, id string) string {
	t.Helper()
	var r struct{ Of string }
	if err := json.Unmarshal([]byte(g.find(t, id).Raw), &r); err != nil {
		t.Fatal(err)
	}
	if r.Of == "" {
		return id
	}
	return r.Of
}

// flipped lists the records that a report names.
func flipped(r *compare.Report) (out []string) {
	for _, g := range r.Groups {
		for _, x := range g.Examples {
			out = append(out, x.Record)
		}
	}
	slices.Sort(out)
	return out
}

// A change of policy is judged by what it would have answered to recorded calls, before it ships: it names exactly those
// that flip, and nobody else's.
func TestAChangeOfPolicyNamesTheRecordedCallsThatItFlips(t *testing.T) {
	t.Parallel()
	g := twoTenants(t)
	mine, theirs := g.newAgent(t), g.agentOf(t, g.otherAdmin)
	_, tok := mine.planned(t, `{"server":"demo","tool":"notes_list","uses":0,"where":{"limit":{"open":true}}}`)
	_, theirTok := theirs.planned(t, `{"server":"private","tool":"notes_list","uses":0,"where":{"limit":{"open":true}}}`)
	var want []string
	for _, limit := range []int{3, 11, 10, 12, 20, 5} {
		ans := mine.call(t, "demo", "notes_list", fmt.Sprintf(`{"limit":%d}`, limit), tok.Token).ok(t)
		theirs.call(t, "private", "notes_list", fmt.Sprintf(`{"limit":%d}`, limit), theirTok.Token).ok(t)
		if limit > 10 {
			want = append(want, g.admittedOf(t, ans.Record))
		}
	}
	slices.Sort(want)
	dir := bundleFolder(t, smallSums)
	r, code := g.replayed(t, dir, "--max-flips", "3")
	if code != 0 || r.Flips != 3 || !slices.Equal(flipped(&r), want) || len(r.Groups) != 1 || r.Groups[0].Policy != "own.cedar:1 no-big-lists" || r.Groups[0].Tools[0].Name != "demo/notes_list" || r.Groups[0].Agents[0].Name != mine.id {
		t.Errorf("%d %+v, want %q", code, r, want)
	}
	if r.Unexplained.Total() != 0 || len(r.Approximate) != 0 || r.Replayed == 0 || r.Read != r.Replayed+lost(&r) {
		t.Errorf("the bundle in force does not explain its own records, or they are not whole: %+v", r)
	}
	if _, code := g.replayed(t, dir, "--max-flips", "2"); code != 1 {
		t.Errorf("three flips where two may be exit with %d", code)
	}
	if r, _ := g.replayed(t, "current"); r.Flips != 0 || r.Replayed == 0 {
		t.Errorf("the bundle in force differs from itself: %+v", r)
	}

	// A record is explained by what is in force, and by what may come.
	now := g.run(t, "", nil, "policy", "explain", want[0])
	next := g.run(t, "", nil, "policy", "explain", want[0], "--under", dir)
	if now.code != 0 || !strings.Contains(now.out, "demo/notes_list: allow") || next.code != 0 || !strings.Contains(next.out, "demo/notes_list: deny, by own.cedar:1 no-big-lists") || !strings.Contains(next.out, "+ context.input.limit > 10") {
		t.Errorf("%s%s%s%s", now.out, now.err, next.out, next.err)
	}

	// A bundle that cannot come into force is refused with its place.
	writeFile(t, filepath.Join(dir, "own.cedar"), strings.Replace(smallSums, "limit >", "limt >", 1))
	if got := g.run(t, "", nil, "policy", "replay", dir); got.code != 1 || !strings.Contains(got.err, "own.cedar:3") {
		t.Errorf("%d %s", got.code, got.err)
	}
	writeFile(t, filepath.Join(dir, "own.cedar"), smallSums)

	// What was erased is counted as that.
	var rec struct{ User string }
	if err := json.Unmarshal([]byte(g.find(t, want[0]).Raw), &rec); err != nil || rec.User == "" {
		t.Fatalf("whose call it was: %v", err)
	}
	g.manage(t, g.Admin(), "POST", "/api/v1/audit-logs/erase", map[string]any{"subject": rec.User, "reason": "test", "confirm": rec.User}, nil)
	if r, _ := g.replayed(t, dir); r.Flips != 0 || r.Lost[string(compare.LostErased)] < 6 {
		t.Errorf("after the erasure: %+v", r)
	}
}

func lost(r *compare.Report) (n uint64) {
	for _, v := range r.Lost {
		n += v
	}
	return n
}

// What policy refused is replayed like what it let pass.
func TestALooserPolicyNamesTheRefusedCalls(t *testing.T) {
	t.Parallel()
	dir := bundleFolder(t, smallSums)
	g := start(t, Setup{HCL: fmt.Sprintf("policies {\n  bundle = %q\n}\n", dir)})
	a := g.newAgent(t)
	_, tok := a.planned(t, `{"server":"demo","tool":"notes_list","uses":0,"where":{"limit":{"open":true}}}`)
	a.call(t, "demo", "notes_list", `{"limit":9}`, tok.Token).ok(t)
	denied := a.call(t, "demo", "notes_list", `{"limit":11}`, tok.Token).refused(t, "policy_denied")
	a.call(t, "demo", "notes_list", `{"limit":16}`, tok.Token).refused(t, "policy_denied")
	r, _ := g.replayed(t, bundleFolder(t, strings.Replace(smallSums, "> 10", "> 15", 1)))
	if r.Flips != 1 || !slices.Equal(flipped(&r), []string{denied.Record}) || r.Groups[0].From != "deny" || r.Groups[0].To != "allow" || r.Unexplained.Total() != 0 {
		t.Errorf("%+v, want %s", r, denied.Record)
	}
}
