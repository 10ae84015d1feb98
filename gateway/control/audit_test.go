package control_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/control"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/index"
	"github.com/gatewright/gatewright/merkle/ledger/publish"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// Query looks at every record and knows no pages.
func (l *memoryLog) Query(ctx context.Context, tenant string, q index.Query) (index.Page, error) {
	all, err := l.Scan(ctx, tenant, 0, 1<<20)
	page := index.Page{Size: uint64(len(all))}
	for i := range all {
		r, _ := all[i].Record()
		if row := index.RowOf(&r, all[i].Index, 0); q.Holds(&row) {
			page.Entries = append(page.Entries, all[i])
		}
	}
	if !q.Oldest {
		slices.Reverse(page.Entries)
	}
	page.Entries = page.Entries[:min(q.Limit, len(page.Entries))]
	return page, err
}

// Count looks at every record.
func (l *memoryLog) Count(ctx context.Context, tenant string, q index.Query) (index.Counts, error) {
	t := index.NewTally()
	for i, r := range l.of(tenant) {
		if row := index.RowOf(&r, uint64(i), 0); q.Holds(&row) {
			if err := t.AddRow(&row); err != nil {
				return index.Counts{}, err
			}
		}
	}
	return t.Counts(), ctx.Err()
}

const auditPath = "/api/v1/audit-logs"

// audited writes records to a real log: ten of each of two agents, by turns, a minute apart.
func audited(t *testing.T) (*world, publish.Book) {
	t.Helper()
	w, log := overLog(t)
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for i := range 20 {
		r := ledger.Record{
			Tenant: demo, Kind: ledger.Refused, Step: -1, Time: start.Add(time.Duration(i) * 10 * time.Minute).UnixMicro(),
			Agent: []string{"agt_1", "agt_2"}[i%2], User: "usr_1", Server: "files", Tool: fmt.Sprint("tool_", i%5), Verdict: "deny",
			Code: []string{"policy_denied", "step_used", "policy_denied", "policy_denied"}[i%4], Outcome: []string{"", "unknown"}[i/10],
		}
		_, err := log.Append(t.Context(), &r)
		w.must(err)
	}
	r := ledger.Record{Tenant: other, Kind: ledger.Refused, Step: -1, Agent: "agt_1", Server: "files", Time: start.UnixMicro()}
	_, err := log.Append(t.Context(), &r)
	w.must(err)
	return w, log
}

// indexes are those of a list's items.
func indexes(t *testing.T, a *reply) (out []int) {
	t.Helper()
	if a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	for _, item := range a.json()["items"].([]any) {
		out = append(out, int(item.(map[string]any)["index"].(float64)))
	}
	return out
}

func TestTheAuditLogIsListedByEveryFilter(t *testing.T) {
	w, _ := audited(t)
	all := url.Values{"user_id": {"usr_1"}} // this port's own records are of other users
	for _, c := range []struct {
		query string
		want  []int
	}{
		{"limit=3", []int{19, 18, 17}},
		{"limit=3&order=oldest", []int{0, 1, 2}},
		{"agent_id=agt_2&limit=2", []int{19, 17}},
		{"agent_id=agt_2&tool=tool_3&order=oldest", []int{3, 13}},
		{"agent_id=agt_3", nil},
		{"server=files&limit=1", []int{19}},
		{"server=other", nil},
		{"code=step_used", []int{17, 13, 9, 5, 1}},
		{"verdict=deny&limit=1&order=oldest", []int{0}},
		{"verdict=allow", nil},
		{"kind=settled", nil},
		{"kind=refused&outcome=unknown&order=oldest&limit=1", []int{10}},
		{"from=2026-03-01T12:10:00Z&to=2026-03-01T12:30:00Z", []int{2, 1}},
		{"from=2026-03-01T13:10:00%2B01:00&to=2026-03-01T12:10:00.000001Z", []int{1}},
		{"from=2026-03-01T12:10:00.0000001Z&to=2026-03-01T12:20:00Z", nil},
		{"to=2026-03-01T12:00:00.0000001Z", []int{0}},
	} {
		if got := indexes(t, w.call("GET", auditPath+"?"+all.Encode()+"&"+c.query, w.viewer, "")); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.query, got, c.want)
		}
	}
	a := w.call("GET", auditPath+"?agent_id=agt_1", w.otherAdmin, "")
	if got := indexes(t, a); !slices.Equal(got, []int{0}) || a.json()["size"] == 22.0 {
		t.Errorf("another organisation sees %v", got)
	}
}

func TestListingEndsThoughItIsOnRecordItself(t *testing.T) {
	for _, order := range []string{"newest", "oldest"} {
		w, log := audited(t)
		var got []int
		cursor, size := "", log.Size(demo)
		for page := 0; page == 0 || cursor != ""; page++ {
			a := w.call("GET", auditPath+"?limit=1&order="+order+"&cursor="+cursor, w.viewer, "")
			if page == 0 {
				a = w.call("GET", auditPath+"?limit=1&order="+order, w.viewer, "")
			}
			got = append(got, indexes(t, a)...)
			cursor, _ = a.json()["next"].(string)
			if page > 100 {
				t.Fatal(order, "does not end")
			}
		}
		if log.Size(demo) < size+uint64(len(got)) {
			t.Error("reads are not on record")
		}
		if order == "newest" {
			slices.Reverse(got)
		}
		for i := range got {
			if got[i] != i {
				t.Fatal(order, got)
			}
		}
		if len(got) < 20 {
			t.Error(order, got)
		}
	}
}

func TestEachWrongParameterOfTheAuditLogIsOneClearRefusal(t *testing.T) {
	w, _ := audited(t)
	for query, field := range map[string]string{
		"from=yesterday": "from", "from=2026-03-01": "from", "from=1969-12-31T23:59:59Z": "from", "from=2026-03-01T12:00:00": "from",
		"to=12": "to", "to=1970-01-01T00:00:00Z": "to", "from=2026-03-02T00:00:00Z&to=2026-03-01T00:00:00Z": "to",
		"from=2026-03-02T00:00:00Z&to=2026-03-02T00:00:00Z": "to", "from=": "from", "agent_id=": "agent_id", "tool=": "tool", "tool": "tool", "cursor=": "cursor",
		"kind=read": "kind", "kind=Refused": "kind", "outcome=good": "outcome", "order=up": "order", "limit=0": "limit", "limit=1001": "limit",
		"limit=x": "limit", "server=" + strings.Repeat("s", 257): "server",
	} {
		a := w.call("GET", auditPath+"?"+query, w.viewer, "")
		a.refused(t, http.StatusUnprocessableEntity, "request_invalid")
		fields, _ := a.problem()["fields"].([]any)
		if len(fields) != 1 || fields[0].(map[string]any)["location"] != "query."+field {
			t.Errorf("%s: %s", query, a.body)
		}
	}
	for query, code := range map[string]string{"agent=agt_1": "request_invalid", "agent_id=a&agent_id=b": "query_invalid"} {
		if a := w.call("GET", auditPath+"?"+query, w.viewer, ""); a.status/100 != 4 || a.code() != code {
			t.Errorf("%s: %d %s", query, a.status, a.body)
		}
	}
	w.call("GET", auditPath+"/stats?top=0", w.viewer, "").refused(t, http.StatusUnprocessableEntity, "request_invalid")
	w.call("GET", auditPath+"/stats?limit=5", w.viewer, "").refused(t, http.StatusUnprocessableEntity, "request_invalid")
	w.call("GET", auditPath+"/stats?agent_id=", w.viewer, "").refused(t, http.StatusUnprocessableEntity, "request_invalid")
}

func TestACursorOfTheAuditLogIsGoodForItsListOnly(t *testing.T) {
	w, _ := audited(t)
	next, _ := w.call("GET", auditPath+"?limit=1&agent_id=agt_1", w.viewer, "").json()["next"].(string)
	if got := indexes(t, w.call("GET", auditPath+"?limit=1&agent_id=agt_1&cursor="+next, w.viewer, "")); !slices.Equal(got, []int{16}) {
		t.Error(got)
	}
	for _, query := range []string{"agent_id=agt_2", "", "agent_id=agt_1&order=oldest", "agent_id=agt_1&user_id=usr_1", "user_id=agt_1"} {
		w.call("GET", auditPath+"?"+query+"&cursor="+next, w.viewer, "").refused(t, http.StatusBadRequest, "cursor_invalid")
	}
	w.call("GET", auditPath+"?agent_id=agt_1&cursor="+next, w.otherAdmin, "").refused(t, http.StatusBadRequest, "cursor_invalid")
	w.call("GET", auditPath+"?cursor=n.5", w.viewer, "").refused(t, http.StatusBadRequest, "cursor_invalid")
}

func TestARecordOfTheAuditLogIsAnsweredAsTheLedgerAnswersIt(t *testing.T) {
	w, log := audited(t)
	entries, err := log.Scan(t.Context(), demo, 3, 1)
	w.must(err)
	r, err := entries[0].Record()
	w.must(err)
	for _, name := range []string{"3", r.ID} {
		if a, b := w.call("GET", auditPath+"/"+name, w.viewer, ""), w.call("GET", recordPath+name, w.viewer, ""); a.body != b.body || a.status != http.StatusOK {
			t.Errorf("%s\n%s", a.body, b.body)
		}
	}
	w.call("GET", auditPath+"/"+r.ID, w.otherAdmin, "").refused(t, http.StatusNotFound, "not_found")
	w.call("GET", auditPath+"/99999", w.viewer, "").refused(t, http.StatusNotFound, "not_found")
	w.call("GET", auditPath+"/nothing", w.viewer, "").refused(t, http.StatusUnprocessableEntity, "request_invalid")
}

func TestTheAuditLogIsAddedUpWithinItsFilters(t *testing.T) {
	w, _ := audited(t)
	a := w.call("GET", auditPath+"/stats?user_id=usr_1&top=2", w.viewer, "")
	v := a.json()
	want := map[string]string{
		"total": "20", "earliest": `"2026-03-01T12:00:00Z"`, "latest": `"2026-03-01T15:10:00Z"`,
		"kinds": `[{"count":20,"name":"refused"}]`, "verdicts": `[{"count":20,"name":"deny"}]`,
		"codes":  `[{"count":15,"name":"policy_denied"},{"count":5,"name":"step_used"}]`,
		"agents": `[{"count":10,"name":"agt_1"},{"count":10,"name":"agt_2"}]`, "outcomes": `[{"count":10,"name":"unknown"}]`,
		"servers": `[{"count":20,"name":"files"}]`, "tools": `[{"count":4,"name":"tool_0"},{"count":4,"name":"tool_1"}]`,
		"hours": `[{"count":6,"start":"2026-03-01T12:00:00Z"},{"count":6,"start":"2026-03-01T13:00:00Z"},{"count":6,"start":"2026-03-01T14:00:00Z"},{"count":2,"start":"2026-03-01T15:00:00Z"}]`,
	}
	for name, text := range want {
		if got := toJSON(t, v[name]); got != text {
			t.Errorf("%s: %s", name, got)
		}
	}
	if v := w.call("GET", auditPath+"/stats?agent_id=agt_1&to=2026-03-01T12:30:00Z", w.viewer, "").json(); v["total"] != 2.0 {
		t.Errorf("%v", v)
	}
	if a := w.call("GET", auditPath+"/stats?agent_id=nobody", w.otherAdmin, ""); a.json()["total"] != 0.0 || a.json()["earliest"] != nil || toJSON(t, a.json()["hours"]) != "[]" {
		t.Error(a.body)
	}
}

func TestAnOrganisationWithoutRecordsHasAnEmptyAuditLog(t *testing.T) {
	w, _ := overLog(t)
	if a := w.call("GET", auditPath, w.viewer, ""); a.status != http.StatusOK || toJSON(t, a.json()["items"]) != "[]" || a.json()["next"] != nil {
		t.Error(a.body)
	}
	w, _ = overLog(t)
	if a := w.call("GET", auditPath+"/stats", w.viewer, ""); a.status != http.StatusOK || a.json()["total"] != 0.0 {
		t.Error(a.body)
	}
}

// refusing is a ledger with too much in it, and whose first records are gone.
type refusing struct{ publish.Book }

func (refusing) Count(context.Context, string, index.Query) (index.Counts, error) {
	return index.Counts{}, fmt.Errorf("count ledger: %w", index.ErrCount)
}

func (refusing) Query(context.Context, string, index.Query) (index.Page, error) {
	return index.Page{}, fmt.Errorf("query ledger: %w", wal.ErrPruned)
}

func (refusing) Scan(context.Context, string, uint64, int) ([]wal.Entry, error) {
	return nil, fmt.Errorf("scan: %w", wal.ErrPruned)
}

func TestWhatTheLedgerCannotAnswerIsSaid(t *testing.T) {
	w, log := audited(t)
	w.rebuild(refusing{log})
	if a := w.call("GET", auditPath+"/stats", w.viewer, ""); a.code() != "limit_reached" || a.problem()["hint"] == "" {
		t.Error(a.body)
	}
	w.call("GET", auditPath, w.viewer, "").refused(t, http.StatusBadRequest, "cursor_invalid")
	a := w.call("GET", auditPath+"/3", w.viewer, "")
	a.refused(t, http.StatusGone, "pruned")
	if detail, _ := a.problem()["detail"].(string); !strings.Contains(detail, "no more") {
		t.Error(a.body)
	}
}

var _ control.Ledger = (*memoryLog)(nil)

// Every kind and outcome that a record may have can be asked for.
func TestTheDocumentNamesEveryKind(t *testing.T) {
	w := newWorld(t)
	doc := w.call("GET", "/openapi.json", "", "").body
	for k := ledger.Admitted; k <= ledger.Erasure; k++ {
		if !strings.Contains(doc, `"`+k.String()+`"`) {
			t.Error(k, "is not documented")
		}
		if a := w.call("GET", auditPath+"?kind="+k.String(), w.viewer, ""); a.status != http.StatusOK {
			t.Error(a.body)
		}
	}
}
