package compare_test

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/policies/compare"
)

func TestARecordedQuestionIsReadWhole(t *testing.T) {
	r, err := compare.ParseAsk(sealed(3, "sql/query"), []byte(`{"table":"a"}`))
	if err != nil {
		t.Fatal(err)
	}
	a := r.Ask()
	p := a.Principal
	if a.Action != "call_tool" || a.Server != "sql" || a.Tool != "query" || string(a.Args) != `{"table":"a"}` || !a.ArgsKnown || !a.TLS || a.User != "usr_1" ||
		a.IP != netip.MustParseAddr("192.0.2.7") || !a.Now.Equal(time.Unix(1_900_000_000, 0)) || !a.Plan.InPlan || a.Plan.ID != "pln_1" || a.Plan.Done != 1 || a.Plan.Step != 1 || a.Plan.Steps != 3 {
		t.Errorf("%+v", a)
	}
	if p == nil || p.ID != "agt_3" || p.Kind != "Agent" || p.Tenant != "acme" || p.Owner != "usr_1" || p.Trust != 500 || p.Status != "active" || !reflect.DeepEqual(p.Teams, []string{"ops"}) || !reflect.DeepEqual(p.Roles, []string{"Member"}) || p.TalksTo != nil {
		t.Errorf("%+v", p)
	}
}

// Engines remember a principal by its pointer.
func TestEqualPrincipalsAreOne(t *testing.T) {
	p := &compare.Parser{}
	a, _ := p.Parse(sealed(3, "sql/query"), nil)
	b, _ := p.Parse(sealed(53, "mail/send"), nil)
	c, _ := p.Parse(sealed(4, "mail/send"), nil)
	if a.Principal != b.Principal || a.Principal == c.Principal {
		t.Error("the pointers are not those of the principals")
	}
}

// Records of an older gateway lack members, those of a newer one have more.
func TestOlderAndNewerRecordsAreRead(t *testing.T) {
	r, err := compare.ParseAsk([]byte(`{"action":"list_tools","agent":"agt_1","labels":["a","b\u00e9"],"later":{"x":[1]},"now":5,"principal":"ab","server":"","tls":false,"tool":""}`), nil)
	if err != nil || r.Principal != nil || r.Snapshot != "ab" || !reflect.DeepEqual(r.Labels, []string{"a", "bé"}) || r.Plan.InPlan || r.Session.Known || r.Args != nil {
		t.Errorf("%+v %v", r, err)
	}
}

func TestWhatIsNoQuestionIsRefused(t *testing.T) {
	for _, text := range []string{``, `[]`, `{}`, `{"action":1}`, `{"action":"a","addr":"nowhere"}`, `{"action":"a","labels":{}}`, `{"action":"a","now":"x"}`, `{"action":"a","plan":[]}`,
		`{"action":"a","plan":{"step":1.5}}`, `{"action":"a","tls":3}`, `{"action":"a","facts":[]}`, `{"action":"a","facts":{"trust":"high"}}`, `{"action":"a","action":"b"}`, `{"action":"a"`, `{"action":"a","labels":[1]}`, strings.Repeat("[", 100)} {
		if r, err := compare.ParseAsk([]byte(text), nil); err == nil {
			t.Errorf("%s: %+v", text, r)
		}
	}
}

func FuzzParseAsk(f *testing.F) {
	f.Add(sealed(1, "sql/query"))
	f.Add([]byte(`{"action":"a","scores":{"pii":3},"session":{"calls":1,"labels":["x"],"this_tool":2},"approval":2}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := compare.ParseAsk(text, []byte(`{}`))
		if err == nil && r.Action == "" {
			t.Errorf("%q: no action", text)
		}
	})
}
