package manifest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/policies/manifest"
)

func filtersOf(t *testing.T, section string) ([]manifest.Filter, error) {
	t.Helper()
	m, err := manifest.Parse(fmt.Appendf(nil, `{"format":1,"filters":%s}`, strings.ReplaceAll(section, "DIGEST", digest)))
	if err != nil {
		return nil, err
	}
	return m.Filters, nil
}

func TestAFilterSaysHowAndWhereItLooks(t *testing.T) {
	list, err := filtersOf(t, `[{"name":"a","digest":"DIGEST","mode":"enforce","servers":["mail","file*"],"tools":["send*"],"direction":"request","config":{"x":1}},
		{"name":"a","digest":"DIGEST","mode":"shadow"},{"name":"b","digest":"DIGEST"}]`)
	if err != nil || len(list) != 3 {
		t.Fatal(list, err)
	}
	a, tried, b := list[0], list[1], list[2]
	if a.Shadowed() || !tried.Shadowed() || b.Shadowed() || string(a.Config) != `{"x":1}` {
		t.Errorf("%+v", list)
	}
	for call, want := range map[[2]string][3]bool{
		{"mail", "send"}: {true, true, true}, {"files", "sends"}: {true, true, true}, {"mail", "read"}: {false, true, true}, {"mails", "send"}: {false, true, true},
	} {
		got := [3]bool{a.Covers(call[0], call[1]), tried.Covers(call[0], call[1]), b.Covers(call[0], call[1])}
		if got != want {
			t.Errorf("%v: %v, want %v", call, got, want)
		}
	}
	if !a.Asks(manifest.Request) || a.Asks(manifest.Response) || !b.Asks(manifest.Request) || !b.Asks(manifest.Response) {
		t.Error("directions")
	}
}

// TestFiltersThatSayMoreOrLessThanTheyMayAreRefused: with what to write instead.
func TestFiltersThatSayMoreOrLessThanTheyMayAreRefused(t *testing.T) {
	one := func(members string) string { return `[{"name":"a","digest":"DIGEST",` + members + `}]` }
	for section, hint := range map[string]string{
		`[{"name":"A","digest":"DIGEST"}]`:                                "a-z",
		`[{"name":"a/b","digest":"DIGEST"}]`:                              "a-z",
		`[{"name":"a","digest":"aaaa"}]`:                                  "filter list",
		`[{"name":"a","digest":"DIGEST"},{"name":"a","digest":"DIGEST"}]`: "once in each mode",
		one(`"mode":"canary"`):                                            "shadow",
		one(`"direction":"in"`):                                           "response",
		one(`"servers":[]`):                                               "leave it out",
		one(`"servers":null`):                                             "leave it out",
		one(`"tools":["a*b"]`):                                            "at its end",
		one(`"tools":[""]`):                                               "want a name",
		one(`"config":[]`):                                                "object",
		one(`"config":null`):                                              "leave it out",
		one(`"config":{"a":"` + strings.Repeat("x", 65<<10) + `"}`):       "larger than",
		one(`"servers":["a\n"]`):                                          "want a name",
		one(`"server":["a"]`):                                             "servers",
		one(`"Mode":"shadow"`):                                            "lower case",
		`[` + strings.Repeat(`{"name":"a","digest":"DIGEST"},`, 64) + `null]`: "more than 64",
	} {
		if list, err := filtersOf(t, section); err == nil || !strings.Contains(err.Error(), hint) {
			t.Errorf("%.80s: %+v %v, want %q", section, list, err, hint)
		}
	}
}
