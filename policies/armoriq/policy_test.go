package armoriq_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/policies/armoriq"
)

// refused asserts that a text is refused at a place, with something said.
func refused(t *testing.T, form func([]byte) (armoriq.Terms, error), text, pointer string) {
	t.Helper()
	terms, err := form([]byte(text))
	var p armoriq.Problem
	if !errors.As(err, &p) {
		t.Errorf("%s: %v, want a problem at %q", text, err, pointer)
		return
	}
	if p.Pointer != pointer || p.Msg == "" || len(terms.Cedar) > 0 || terms.Lines != nil || terms.Rates != nil {
		t.Errorf("%s: %v (pointer %q), want %q and no terms", text, err, p.Pointer, pointer)
	}
}

func TestAPolicyThatIsNotUnderstoodIsRefusedAtItsPlace(t *testing.T) {
	many := `"a"` + strings.Repeat(`,"a"`, 256)
	for _, c := range []struct{ text, pointer string }{
		{`{`, ""},
		{`"*"`, ""},
		{`7`, ""},
		{`{"allow":["*"],"allow":[]}`, ""},
		{`{"policy_id":"x"}`, "/policy_id"},
		{`{"Deny":["*"]}`, "/Deny"},
		{`{"a/b":1}`, "/a~1b"},
		{`{"a~1b":1}`, "/a~01b"},
		{`{"allow":"*"}`, "/allow"},
		{`{"allow":[]}`, "/allow"},
		{`{"allow":[7]}`, "/allow/0"},
		{`{"allow":["a",""]}`, "/allow/1"},
		{`{"deny":[" a"]}`, "/deny/0"},
		{`{"deny":["a\u0000"]}`, "/deny/0"},
		{`{"deny":["a\u202e"]}`, "/deny/0"},
		{`{"deny":["mail/sen?"]}`, "/deny/0"},
		{`{"deny":["mail/[a-z]*"]}`, "/deny/0"},
		{`{"deny":["!mail/send"]}`, "/deny/0"},
		{`{"deny":["mail/\\*"]}`, "/deny/0"},
		{`{"deny":["ma*/send"]}`, "/deny/0"},
		{`{"deny":["**/send"]}`, "/deny/0"},
		{`{"deny":["ma*__send"]}`, "/deny/0"},
		{`{"deny":["*admin*"]}`, "/deny/0"},
		{`{"deny":["stripe*"]}`, "/deny/0"},
		{`{"deny":["delete_*"]}`, "/deny/0"},
		{`{"deny":["str*pe"]}`, "/deny/0"},
		{`{"deny":["*str*"]}`, "/deny/0"},
		{`{"deny":["mcp*"]}`, "/deny/0"},
		{`{"deny":["mcp__"]}`, "/deny/0"},
		{`{"deny":["mcp__stripe"]}`, "/deny/0"},
		{`{"deny":["mcp__stripe*"]}`, "/deny/0"},
		{`{"deny":["mcp__*e"]}`, "/deny/0"},
		{`{"deny":["mcp__str*__refund"]}`, "/deny/0"},
		{`{"denied_tools":["stripe*"]}`, "/denied_tools/0"},
		{`{"denied_tools":["mcp__stripe*"]}`, "/denied_tools/0"},
		{`{"allow":["stripe*"]}`, "/allow/0"},
		{`{"allow":["mcp__*"]}`, "/allow/0"},
		{`{"allow":["mcp__*__*"]}`, "/allow/0"},
		{`{"allow":["mcp__stripe*"]}`, "/allow/0"},
		{`{"allowed_tools":["mcp__*"]}`, "/allowed_tools/0"},
		{`{"allowed_tools":["mcp__stripe*"]}`, "/allowed_tools/0"},
		{`{"deny":["/send"]}`, "/deny/0"},
		{`{"deny":["mail/"]}`, "/deny/0"},
		{`{"deny":["my.mail__send"]}`, "/deny/0"},
		{`{"deny":["` + strings.Repeat("a", 300) + `"]}`, "/deny/0"},
		{`{"deny":[` + many + `]}`, "/deny"},
		{`{"allowed_tools":[null]}`, "/allowed_tools/0"},
		{`{"denied_tools":{}}`, "/denied_tools"},
		{`{"rate_limit":0}`, "/rate_limit"},
		{`{"rate_limit":-1}`, "/rate_limit"},
		{`{"rate_limit":1.5}`, "/rate_limit"},
		{`{"rate_limit":1e2}`, "/rate_limit"},
		{`{"rate_limit":"100"}`, "/rate_limit"},
		{`{"rate_limit":9007199254740991}`, "/rate_limit"},
		{`{"ip_whitelist":[]}`, "/ip_whitelist"},
		{`{"ip_whitelist":["10.0.0.0/8","10.0.0.1/8"]}`, "/ip_whitelist/1"},
		{`{"ip_whitelist":["10.0.0.0/33"]}`, "/ip_whitelist/0"},
		{`{"ip_whitelist":["10.0.0.*"]}`, "/ip_whitelist/0"},
		{`{"ip_whitelist":["010.0.0.1"]}`, "/ip_whitelist/0"},
		{`{"ip_whitelist":["fe80::1%eth0"]}`, "/ip_whitelist/0"},
		{`{"ip_whitelist":["::ffff:10.0.0.1"]}`, "/ip_whitelist/0"},
		{`{"ip_whitelist":["::ffff:0:0/96"]}`, "/ip_whitelist/0"},
		{`{"time_restrictions":[]}`, "/time_restrictions"},
		{`{"time_restrictions":{"timezone":"CET"}}`, "/time_restrictions/timezone"},
		{`{"time_restrictions":{"allowed_hours":[]}}`, "/time_restrictions/allowed_hours"},
		{`{"time_restrictions":{"allowed_hours":[9,24]}}`, "/time_restrictions/allowed_hours/1"},
		{`{"time_restrictions":{"allowed_hours":["9-17"]}}`, "/time_restrictions/allowed_hours/0"},
		{`{"time_restrictions":{"allowed_days":[1]}}`, "/time_restrictions/allowed_days/0"},
		{`{"time_restrictions":{"allowed_days":["Mon","Weekday"]}}`, "/time_restrictions/allowed_days/1"},
		{`{"priority":"high"}`, "/priority"},
		{`{"priority":-1}`, "/priority"},
		{`{"name":7}`, "/name"},
		{`{"global":{"metadata":{},"deny":["*"]}}`, "/global/deny"},
		{`{"metadata":[]}`, "/metadata"},
		{`[{"deny":["a"]},null]`, "/1"},
		{`[{"deny":["a"],"priority":1},{"deny":["?"]}]`, "/1/deny/0"},
		{`[{"deny":["a"],"priority":5},{"priority":5},{"priority":1}]`, ""},
		{`[{"priority":5},{"priority":9},{"priority":9}]`, ""},
		{`{"statements":[{"id":"x","effect":"forbid","action":{"eq":"*"},"conditions":[{"field":"bash.raw","op":"matches","value":"^x"}]}]}`, "/statements/0/conditions/0/value"},
	} {
		refused(t, armoriq.Policy, c.text, c.pointer)
	}
	long := make([]string, 200)
	for i := range long {
		long[i] = strings.Repeat("ä", 120) + strconv.Itoa(i)
	}
	huge := `{"deny":["` + strings.Join(long, `","`) + `"]}`
	refused(t, armoriq.Policy, huge, "")
}

func TestNoPolicyIsNoTerms(t *testing.T) {
	for _, text := range []string{"", " \n", "null", "{}", "[]", `{"global":{"metadata":{"any":[1]}}}`, `{"allow":["*"],"deny":[]}`, `{"deny":null}`,
		`{"allow":["*"],"deny":[],"allowed_tools":[],"denied_tools":[],"statements":[],"metadata":{"source":"armorclaude"}}`} {
		terms, err := armoriq.Policy([]byte(text))
		if err != nil || len(terms.Cedar) > 0 || terms.Rates != nil || terms.Lines != nil {
			t.Errorf("%q: %+v, %v", text, terms, err)
		}
	}
}

// glob is what a star means, in Go.
func glob(pattern, text string) bool {
	head, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == text
	}
	if !strings.HasPrefix(text, head) {
		return false
	}
	for i := len(head); i <= len(text); i++ {
		if glob(rest, text[i:]) {
			return true
		}
	}
	return false
}

// named is what a pattern means in Go: one held against the text server/tool, in which a star runs across the slash, or
// the name of a tool.
func named(pattern, server, tool string) bool {
	if !strings.Contains(pattern, "/") {
		return pattern == "*" || glob(pattern, tool)
	}
	s, p, _ := strings.Cut(pattern, "/")
	return glob(pattern, server+"/"+tool) || glob(strings.ToLower(s)+"/"+p, server+"/"+tool)
}

func TestPatternsMeanWhatTheyMeanInGo(t *testing.T) {
	words := []string{"mail/send", "mail/*", "mail/s*d", "mail/*a*", "*/send", "*/s*", "send", "*end", "**end", "*", "Mail/send", "db/*drop*", "*/*", "mail/**", "mail/a*b*c",
		"db/ns/*", `mail/"q"`, "mail/é*"}
	servers := []string{"mail", "db", "Mail", "x"}
	tools := []string{"send", "sand", "s", "end", "drop", "backdrop", "abc", "aXbYc", "ac", "ns/x", "ns/send", "a/b/send", `"q"`, "école", "*", "a*b", "sen", "mail"}
	for _, w := range words {
		_, denied := translate(t, armoriq.Policy, fmt.Sprintf(`{"deny":[%q]}`, w))
		_, allowed := translate(t, armoriq.Policy, fmt.Sprintf(`{"allow":["never/ever",%q]}`, w))
		_, listed := translate(t, armoriq.Policy, fmt.Sprintf(`{"allowed_tools":[%q]}`, w))
		for _, s := range servers {
			for _, tool := range tools {
				hit := named(w, s, tool)
				want := map[bool]int{true: deny, false: allow}
				if got := judge(t, denied, call(s, tool, "{}")); got != want[hit] {
					t.Errorf("deny %q, %s/%s: %d, want %d", w, s, tool, got, want[hit])
				}
				if got := judge(t, allowed, call(s, tool, "{}")); got != want[!hit] {
					t.Errorf("allow %q, %s/%s: %d, want %d", w, s, tool, got, want[!hit])
				}
				if got := judge(t, listed, call(s, tool, "{}")); got != want[!hit] {
					t.Errorf("allowed_tools %q, %s/%s: %d, want %d", w, s, tool, got, want[!hit])
				}
			}
		}
	}
}

// readings are the texts that somebody may hold a pattern of deny or allow against.
func readings(server, tool string) []string {
	return []string{server + "/" + tool, server + "." + tool, server + "__" + tool, "mcp__" + server + "__" + tool, tool}
}

// Whatever is accepted refuses each call that one of the readings means, and lets through none that no reading means.
func TestNoReadingOfAPatternIsMissed(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	words := []string{"mail", "send", "s", "*", "*", "/", "/", "__", ".", "mcp__", "x"}
	accepted := 0
	for range 500 {
		w := ""
		for range 1 + r.IntN(5) {
			w += pick(r, words...)
		}
		for _, list := range []string{"deny", "denied_tools", "allow"} {
			terms, err := armoriq.Policy(fmt.Appendf(nil, `{%q:[%q]}`, list, w))
			if err != nil {
				continue
			}
			accepted++
			o := overlay(t, terms)
			for _, server := range []string{"mail", "s", "send", "mail-eu", "x"} {
				for _, tool := range []string{"send", "s", "mail", "sx", "mail__send", "x.send"} {
					texts := readings(server, tool)
					if list == "denied_tools" { // a dot is part of a name there
						texts = slices.Delete(texts, 1, 2)
					}
					hit := slices.ContainsFunc(texts, func(text string) bool { return glob(w, text) })
					got := judge(t, o, call(server, tool, "{}"))
					if list != "allow" && hit && got != deny || list == "allow" && !hit && got == allow {
						t.Fatalf("%s %q, %s/%s: %d; a reading means it: %t\n%s", list, w, server, tool, got, hit, terms.Cedar)
					}
				}
			}
		}
	}
	if accepted < 300 {
		t.Errorf("%d patterns accepted; the test has lost its subject", accepted)
	}
	t.Logf("%d patterns accepted", accepted)
}

func TestAllOfMCPIsRefusedWhole(t *testing.T) {
	for _, w := range []string{"mcp__*", "mcp__**", "mcp__*__*", "*/*"} {
		for _, list := range []string{"deny", "denied_tools"} {
			_, o := translate(t, armoriq.Policy, fmt.Sprintf(`{%q:[%q]}`, list, w))
			if judge(t, o, call("stripe", "refund", "{}")) != deny || judge(t, o, call("mcp", "x", "{}")) != deny {
				t.Errorf("%s %q lets calls through", list, w)
			}
		}
	}
}

func TestARefusedPatternSaysHowToWriteIt(t *testing.T) {
	for w, want := range map[string]string{"stripe*": `"*/stripe*"`, "mcp__stripe*": `"SERVER/*"`, "mcp__stripe": `"stripe/*"`} {
		_, err := armoriq.Policy(fmt.Appendf(nil, `{"deny":[%q]}`, w))
		var p armoriq.Problem
		if !errors.As(err, &p) || !strings.Contains(p.Hint, want) {
			t.Errorf("%q: %v", w, err)
		}
	}
}

func TestANameWithTwoReadingsIsRefusedInBothAndAllowedInOne(t *testing.T) {
	for _, c := range []struct {
		word         string
		split, plain [2]string
		list         string
		allowsPlain  bool
	}{
		{"mail.send", [2]string{"mail", "send"}, [2]string{"x", "mail.send"}, "allow", false},
		{"mail__send", [2]string{"mail", "send"}, [2]string{"x", "mail__send"}, "allow", false},
		{"mcp__mail__send", [2]string{"mail", "send"}, [2]string{"x", "mcp__mail__send"}, "allow", false},
		{"mail__send", [2]string{"mail", "send"}, [2]string{"x", "mail__send"}, "allowed_tools", true},
	} {
		_, denied := translate(t, armoriq.Policy, fmt.Sprintf(`{"deny":[%q]}`, c.word))
		_, allowed := translate(t, armoriq.Policy, fmt.Sprintf(`{%q:[%q]}`, c.list, c.word))
		if judge(t, denied, call(c.split[0], c.split[1], "{}")) != deny || judge(t, denied, call(c.plain[0], c.plain[1], "{}")) != deny {
			t.Errorf("%q is not refused in both readings", c.word)
		}
		if judge(t, allowed, call(c.split[0], c.split[1], "{}")) != allow || judge(t, allowed, call(c.split[0], "other", "{}")) != deny {
			t.Errorf("%s %q does not name the tool of the server", c.list, c.word)
		}
		if got := judge(t, allowed, call(c.plain[0], c.plain[1], "{}")) == allow; got != c.allowsPlain {
			t.Errorf("%s %q lets the plain name through: %t", c.list, c.word, got)
		}
	}
	_, o := translate(t, armoriq.Policy, `{"allowed_tools":["files.read"]}`)
	if judge(t, o, call("any", "files.read", "{}")) != allow || judge(t, o, call("files", "read", "{}")) != deny {
		t.Error("a dot in allowed_tools is part of a name")
	}
}

func TestPromptsAndResourcesAreWork(t *testing.T) {
	for _, c := range []struct {
		text, action, server, name string
		want                       int
	}{
		{`{"deny":["docs/*"]}`, "read_resource", "docs", "file:///a", deny},
		{`{"deny":["docs/x"]}`, "read_resource", "docs", "file:///a", allow},
		{`{"deny":["docs/x"]}`, "get_prompt", "docs", "x", deny},
		{`{"allow":["docs/*"]}`, "read_resource", "docs", "file:///a", allow},
		{`{"allow":["docs/*"]}`, "read_resource", "db", "file:///a", deny},
		{`{"allow":["docs/x"]}`, "get_prompt", "docs", "x", deny},
		{`{"allow":["docs/x"],"deny":["*"]}`, "list_tools", "docs", "", allow},
		{`{"ip_whitelist":["10.0.0.0/8"]}`, "get_prompt", "docs", "x", deny},
	} {
		_, o := translate(t, armoriq.Policy, c.text)
		a := call(c.server, c.name, "")
		a.Action, a.Local = c.action, false
		if got := judge(t, o, a); got != c.want {
			t.Errorf("%s, %s %s/%s: %d, want %d", c.text, c.action, c.server, c.name, got, c.want)
		}
	}
}

func TestAddressesMeanWhatTheyMeanInGo(t *testing.T) {
	blocks := []string{"10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "0.0.0.0/0", "198.51.100.0/25"}
	for _, b := range blocks {
		_, o := translate(t, armoriq.Policy, fmt.Sprintf(`{"ip_whitelist":["203.0.113.9",%q]}`, b))
		p, err := netip.ParsePrefix(b)
		if err != nil {
			p = netip.PrefixFrom(netip.MustParseAddr(b), 32)
		}
		for _, ip := range []string{"10.1.2.3", "11.0.0.0", "192.0.2.7", "192.0.2.8", "2001:db8::1", "2001:db9::1", "198.51.100.127", "198.51.100.128", "203.0.113.9", "::1"} {
			a := call("mail", "send", "{}")
			a.IP = netip.MustParseAddr(ip)
			want := deny
			if p.Contains(a.IP) || ip == "203.0.113.9" {
				want = allow
			}
			if got := judge(t, o, a); got != want {
				t.Errorf("%s from %s: %d, want %d", b, ip, got, want)
			}
		}
	}
}

func TestHoursAndDaysMeanWhatTheyMeanInGo(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	first := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	last := first.AddDate(0, 0, 32*64*7)
	for round := range 24 {
		var hours, days []string
		in, on := map[int]bool{}, map[time.Weekday]bool{}
		for h := range 24 {
			if r.IntN(3) > 0 || h == 9 {
				hours, in[h] = append(hours, fmt.Sprint(h)), true
			}
		}
		for d := range 7 {
			if (round+d)%7 < 1+round%7 {
				name := time.Weekday(d).String()
				days, on[time.Weekday(d)] = append(days, `"`+[]string{name, strings.ToLower(name[:3])}[d%2]+`"`), true
			}
		}
		_, o := translate(t, armoriq.Policy, fmt.Sprintf(`{"time_restrictions":{"allowed_hours":[%s],"allowed_days":[%s]}}`, strings.Join(hours, ","), strings.Join(days, ",")))
		for range 200 {
			at := first.Add(time.Duration(r.Int64N(int64(last.Sub(first))))).Truncate(time.Millisecond)
			if r.IntN(2) == 0 { // the edges of hours, days and blocks of weeks
				at = at.Truncate(time.Hour).Add(-time.Millisecond * time.Duration(r.IntN(2)))
			}
			if at.Before(first) {
				continue
			}
			want := deny
			if in[at.Hour()] && on[at.Weekday()] {
				want = allow
			}
			a := call("mail", "send", "{}")
			a.Now = at.In(time.FixedZone("elsewhere", 5*3600))
			if got := judge(t, o, a); got != want {
				t.Fatalf("hours %v, days %v, at %s %s: %d, want %d", hours, days, at.Weekday(), at, got, want)
			}
		}
	}
	_, o := translate(t, armoriq.Policy, `{"time_restrictions":{"allowed_days":["Monday","Sunday"]}}`)
	for at, want := range map[time.Time]int{
		first: allow, first.Add(-time.Millisecond): deny, last: deny, last.Add(-time.Millisecond): allow,
		time.Date(1999, 1, 4, 0, 0, 0, 0, time.UTC): deny, time.Date(2100, 1, 4, 0, 0, 0, 0, time.UTC): deny,
	} {
		a := call("mail", "send", "{}")
		a.Now = at
		if got := judge(t, o, a); got != want {
			t.Errorf("Monday and Sunday, at %s: %d, want %d", at, got, want)
		}
	}
}

func TestTwoHoursAreTwoHoursAndNotASpan(t *testing.T) {
	terms, o := translate(t, armoriq.Policy, `{"time_restrictions":{"allowed_hours":[9,17]}}`)
	if judge(t, o, call("mail", "send", "{}")) != deny || terms.Lines[0] != "Only during these hours (UTC): 09:00 to 10:00, 17:00 to 18:00." {
		t.Errorf("noon is let through, or %q", terms.Lines)
	}
}

func TestThePolicyOfTheHighestPriorityCounts(t *testing.T) {
	terms, o := translate(t, armoriq.Policy, `[{"name":"low","deny":["mail/*"],"rate_limit":1},
		{"name":"high","priority":50,"deny":["db/*"],"rate_limit":100},{"priority":7,"deny":["*"]}]`)
	if judge(t, o, call("mail", "send", "{}")) != allow || judge(t, o, call("db", "drop", "{}")) != deny {
		t.Error("another policy counts")
	}
	want := []string{
		"Refused: db/*.", "At most 100 calls an hour.", `Policy "low", of priority 0, is overruled by Policy "high", of priority 50.`,
		`Policy 3, of priority 7, is overruled by Policy "high", of priority 50.`,
	}
	if !slices.Equal(terms.Lines, want) || terms.Name != "high" || terms.Priority != 50 || !slices.Equal(terms.Rates, []armoriq.Rate{{Max: 100, Per: time.Hour}}) {
		t.Errorf("%+v", terms)
	}
}

func TestReasonsComeInOrder(t *testing.T) {
	_, o := translate(t, armoriq.Policy, `{"deny":["mail/*"],"denied_tools":["send"],"allow":["db/*"],"allowed_tools":["query"],"ip_whitelist":["10.0.0.0/8"],
		"time_restrictions":{"allowed_hours":[1]}}`)
	e, err := permissive()
	if err != nil {
		t.Fatal(err)
	}
	a := call("mail", "send", "{}")
	if judge(t, o, a) != deny {
		t.Fatal("the call is let through")
	}
	var ids []string
	for _, notes := range e.Decide(a).Annotations() {
		if notes["reason"] != "" {
			ids = append(ids, notes["id"])
		}
	}
	want := []string{"armoriq-deny", "armoriq-denied_tools", "armoriq-allow", "armoriq-allowed_tools", "armoriq-ip_whitelist", "armoriq-time_restrictions"}
	if !slices.Equal(ids, want) {
		t.Errorf("%q, want %q", ids, want)
	}
}
