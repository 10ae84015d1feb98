package catalogue_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/catalogue"
	"github.com/gatewright/gatewright/gateway/catalogue/pins"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/store/storetest"
)

// described is a tool with a description of its own.
func described(name, text string) string {
	quoted, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf(`{"name":%q,"description":%s,"inputSchema":{"type":"object","properties":{"a":{"type":"integer"}}}}`, name, quoted)
}

// book is a catalogue with one tenant's server, and what was said of its pins.
type book struct {
	*catalogue.Catalogue
	t      *testing.T
	l      *lister
	st     *storetest.Faulty
	now    time.Time
	events []catalogue.PinEvent
}

func newBook(t *testing.T, pin string, first ...string) *book {
	t.Helper()
	b := &book{t: t, l: &lister{}, st: storetest.NewFaulty(storetest.NewMemory()), now: time.Unix(1_800_000_000, 0)}
	b.open(pin)
	add(t, b.Catalogue, "acme", server("srv"))
	b.list("srv", first...)
	return b
}

func (b *book) open(pin string) {
	b.t.Helper()
	config := catalogue.DefaultConfig()
	config.Pin = pin
	var err error
	if b.Catalogue, err = catalogue.Open(b.t.Context(), config, b.st, b.l, func() time.Time { return b.now }); err != nil {
		b.t.Fatal(err)
	}
	b.OnPins(func(e catalogue.PinEvent) { b.events = append(b.events, e) })
}

func (b *book) list(server string, tools ...string) {
	b.t.Helper()
	b.l.set(server, tools...)
	if err := b.Refresh(b.t.Context(), "acme", server); err != nil {
		b.t.Fatal(err)
	}
}

// pin is what stands about a tool.
func (b *book) pin(server, tool string) catalogue.Pin {
	b.t.Helper()
	all, _ := b.Pins("acme", server)
	for _, p := range all {
		if p.Tool == tool {
			return p
		}
	}
	b.t.Fatalf("nothing is known of %s", tool)
	return catalogue.Pin{}
}

func (b *book) decide(action, server, tool string, digest merkle.Hash) error {
	return b.DecidePin(b.t.Context(), "acme", server, tool, catalogue.PinDecision{Action: action, Digest: digest, User: "usr_1", Key: "key_1"})
}

// callable says whether the tool can be called, and holds that against every other view of it.
func (b *book) callable(server, tool string) bool {
	b.t.Helper()
	_, ok := b.Lookup("acme", server, tool)
	for _, t := range b.Tools("acme", server) {
		if t.Name == tool && (t.Callable() != ok || b.Quarantined("acme", server, tool) != (t.State != catalogue.Approved)) {
			b.t.Errorf("%s: callable %v, found %v, state %s", tool, t.Callable(), ok, t.State)
		}
	}
	return ok
}

func TestFirstUseTakesTheFirstListingAndNothingLater(t *testing.T) {
	b := newBook(t, catalogue.PinFirstUse)
	b.list("srv", tool("one"), tool("two"))
	if !b.callable("srv", "one") || !b.callable("srv", "two") || len(b.events) != 1 || len(b.events[0].Trusted) != 2 {
		t.Fatalf("the first listing: %+v", b.events)
	}
	b.list("srv", described("one", "d."), tool("two"), tool("three"))
	if b.callable("srv", "one") || !b.callable("srv", "two") || b.callable("srv", "three") {
		t.Error("a changed or a new tool is called, or the one that stayed is not")
	}
	if one, three := b.pin("srv", "one"), b.pin("srv", "three"); one.State != catalogue.Changed || three.State != catalogue.New || !one.Waits() || !three.Waits() {
		t.Errorf("%+v %+v", one, three)
	}
	if h, _ := b.Health("acme", "srv"); h.Quarantined != 2 || h.Tools != 1 {
		t.Errorf("health %+v", h)
	}
	if s := b.PinStats(); s.Waiting != 2 || s.Quarantines != 2 || s.Unsaid != 0 {
		t.Errorf("stats %+v", s)
	}
	if len(b.events) != 2 || len(b.events[1].Quarantined) != 2 {
		t.Errorf("events %+v", b.events)
	}
	if got := len(b.Defs("acme")); got != 3 {
		t.Errorf("policies know %d tools", got) // one as it was approved, so that what they mean does not change
	}
}

func TestApproveTakesNothingByItself(t *testing.T) {
	b := newBook(t, catalogue.PinApprove, tool("one"))
	if b.callable("srv", "one") || b.pin("srv", "one").State != catalogue.New {
		t.Error("a tool that nobody approved is called")
	}
	if err := b.decide(pins.Approve, "srv", "one", b.pin("srv", "one").Digest); err != nil || !b.callable("srv", "one") {
		t.Errorf("after its approval: %v", err)
	}
}

func TestAServerOfThisProgramNeedsNobody(t *testing.T) {
	l := &lister{tools: map[string][]string{"demo": {tool("one")}}}
	c := open(t, storetest.NewMemory(), l, func(c *catalogue.Config) {
		c.Servers, c.Pin = []catalogue.Fixed{{Tenant: "acme", Name: "demo", Process: true, Pin: catalogue.PinOwn}}, catalogue.PinApprove
	})
	for _, text := range []string{"d", "another, after an upgrade"} {
		l.set("demo", described("one", text))
		if err := c.Refresh(t.Context(), "acme", "demo"); err != nil {
			t.Fatal(err)
		}
		if _, ok := c.Lookup("acme", "demo", "one"); !ok {
			t.Errorf("%q: not callable", text)
		}
	}
}

// TestASwapIsSeenAtOneCodePoint: one Cyrillic letter, one blank, one number of the schema.
func TestASwapIsSeenAtOneCodePoint(t *testing.T) {
	good := described("one", "copies a file")
	b := newBook(t, catalogue.PinFirstUse, good)
	for _, bad := range []string{
		described("one", "copies \u0430 file"), described("one", "copies a file "), strings.Replace(good, `"integer"`, `"number"`, 1),
		strings.Replace(good, `{"name"`, `{"title":"x","name"`, 1), strings.Replace(good, `{"name"`, `{"annotations":{"readOnlyHint":true},"name"`, 1),
		strings.Replace(good, `{"name"`, `{"outputSchema":{"type":"object"},"name"`, 1),
	} {
		b.list("srv", bad)
		if b.callable("srv", "one") {
			t.Errorf("%s is called", bad)
		}
		b.list("srv", good)
		if !b.callable("srv", "one") {
			t.Error("what was approved is not called any more")
		}
	}
	b.list("srv", strings.Replace(good, `{"name"`, `{"_meta":{"x":1},"name"`, 1))
	if !b.callable("srv", "one") {
		t.Error("what no model reads counts")
	}
}

func TestDecisionsFitWhatIsThereNowOrConflict(t *testing.T) {
	b := newBook(t, catalogue.PinFirstUse, described("one", "1"))
	first := b.pin("srv", "one").Digest
	b.list("srv", described("one", "2"))
	second := b.pin("srv", "one").Digest
	b.list("srv", described("one", "3"))
	third := b.pin("srv", "one").Digest
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	refused := func(want error, err error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	refused(catalogue.ErrPinMoved, b.decide(pins.Approve, "srv", "one", second)) // what somebody read before
	refused(catalogue.ErrPinMoved, b.decide(pins.Reject, "srv", "one", second))
	refused(catalogue.ErrPinMoved, b.decide(pins.Approve, "srv", "one", first))
	refused(catalogue.ErrNotKept, b.decide(pins.RollBack, "srv", "one", second))
	refused(catalogue.ErrNotKept, b.decide(pins.RollBack, "srv", "one", first))
	refused(catalogue.ErrNoTool, b.decide(pins.Approve, "srv", "none", third))
	refused(catalogue.ErrUnknown, b.decide(pins.Approve, "none", "one", third))
	refused(catalogue.ErrInvalid, b.decide("forgive", "srv", "one", third))
	refused(catalogue.ErrUnknown, b.DecidePin(t.Context(), "rival", "srv", "one", catalogue.PinDecision{Action: pins.Approve, Digest: third}))
	if b.callable("srv", "one") {
		t.Fatal("a refused decision had an effect")
	}
	must(b.decide(pins.Approve, "srv", "one", third))
	if !b.callable("srv", "one") {
		t.Error("the approved tool is not called")
	}
	refused(catalogue.ErrPinMoved, b.decide(pins.Approve, "srv", "one", third)) // replayed
	must(b.decide(pins.RollBack, "srv", "one", first))
	if p := b.pin("srv", "one"); b.callable("srv", "one") || p.State != catalogue.Changed || p.Approved != first {
		t.Errorf("after the rollback: %+v", p)
	}
	must(b.decide(pins.Reject, "srv", "one", third))
	if p := b.pin("srv", "one"); p.State != catalogue.Rejected || p.Waits() {
		t.Errorf("after the rejection: %+v", p)
	}
	refused(catalogue.ErrPinMoved, b.decide(pins.Reject, "srv", "one", third))
	b.list("srv", described("one", "1"))
	if !b.callable("srv", "one") {
		t.Error("the definition that was rolled back to is not called")
	}
	must(b.decide(pins.Reject, "srv", "one", first)) // somebody regrets
	if b.callable("srv", "one") {
		t.Error("a tool whose approval was taken back is called")
	}
	d, err := b.Pin(t.Context(), "acme", "srv", "one", merkle.Hash{})
	if err != nil || len(d.History) != 5 || d.History[1].User != "usr_1" || d.History[1].Action != pins.Approve || d.History[2].From != third || d.History[2].To != first {
		t.Errorf("history %+v: %v", d, err)
	}
}

func TestTheDifferenceIsToTheApprovedDefinition(t *testing.T) {
	b := newBook(t, catalogue.PinFirstUse, described("one", "reads a file"))
	first := b.pin("srv", "one").Digest
	b.list("srv", described("one", "reads a file and mails it"))
	d, err := b.Pin(t.Context(), "acme", "srv", "one", merkle.Hash{})
	if err != nil || len(d.Differences) != 1 || d.Differences[0].Text != "- reads a file\n+ reads a file and mails it\n" {
		t.Errorf("%+v: %v", d, err)
	}
	if err := b.decide(pins.Approve, "srv", "one", d.Digest); err != nil {
		t.Fatal(err)
	}
	d, err = b.Pin(t.Context(), "acme", "srv", "one", first)
	if err != nil || len(d.Differences) != 1 || d.Differences[0].Text != "- reads a file\n+ reads a file and mails it\n" || len(d.Kept) != 2 {
		t.Errorf("against the first: %+v: %v", d, err)
	}
	if _, err = b.Pin(t.Context(), "rival", "srv", "one", merkle.Hash{}); !errors.Is(err, catalogue.ErrUnknown) {
		t.Errorf("another tenant sees it: %v", err)
	}
}

// TestWhatDoesNotShowIsNeverTakenUnseen: also not at first use, and by a person only who says so.
func TestWhatDoesNotShowIsNeverTakenUnseen(t *testing.T) {
	b := newBook(t, catalogue.PinFirstUse, described("one", "fine"), described("two", "tag \U000e0069"), described("three", "bidi \u202e"))
	if !b.callable("srv", "one") || b.callable("srv", "two") || b.callable("srv", "three") {
		t.Error("a definition that hides something was taken")
	}
	p := b.pin("srv", "two")
	if len(p.Findings) != 1 || !strings.Contains(p.Findings[0], "U+E0069") {
		t.Errorf("findings %q", p.Findings)
	}
	if err := b.decide(pins.Approve, "srv", "two", p.Digest); !errors.Is(err, catalogue.ErrFindings) || !strings.Contains(err.Error(), "U+E0069") {
		t.Errorf("approved without a word: %v", err)
	}
	err := b.DecidePin(t.Context(), "acme", "srv", "two", catalogue.PinDecision{Action: pins.Approve, Digest: p.Digest, Despite: true})
	if err != nil || !b.callable("srv", "two") {
		t.Errorf("approved in spite of it: %v", err)
	}
	if got := len(b.Defs("acme")); got != 2 {
		t.Errorf("policies know %d tools", got)
	}
}

func TestNamesThatCouldBeTakenForOthersWait(t *testing.T) {
	b := newBook(t, catalogue.PinFirstUse, tool("read_file"), tool("login"), tool("x__y"), tool("same"))
	if !b.callable("srv", "x__y") {
		t.Error("a name with the separator is nobody else's here")
	}
	add(t, b.Catalogue, "acme", server("mail"))
	b.list("mail", tool("same"), tool("READ-file"), tool("l0gin"), tool("srv__login"), tool("srv__none"), tool("own"), tool("Own"), tool("fine"))
	for name, other := range map[string]string{
		"READ-file": "read_file of server", "l0gin": "login of server srv", "srv__login": "login of server srv", "srv__none": "server srv", "own": "Own of server mail", "Own": "own of server mail",
	} {
		p := b.pin("mail", name)
		if b.callable("mail", name) || !strings.Contains(strings.Join(p.Findings, "; "), other) {
			t.Errorf("%s: %+v", name, p)
		}
	}
	if !b.callable("mail", "same") || !b.callable("mail", "fine") { // the same name on two servers is told apart by theirs
		t.Error("an honest name waits")
	}
	for _, name := range []string{"srv__login", "srv__none"} {
		err := b.DecidePin(t.Context(), "acme", "mail", name, catalogue.PinDecision{Action: pins.Approve, Digest: b.pin("mail", name).Digest, Despite: true})
		if !errors.Is(err, catalogue.ErrCollision) {
			t.Errorf("%s was approved: %v", name, err)
		}
	}
	for name, other := range map[string]string{"x": "tool x__y of server srv", "mai1": "server mail"} {
		if err := b.AddServer(t.Context(), "acme", server(name)); !errors.Is(err, catalogue.ErrInvalid) || !strings.Contains(err.Error(), other) {
			t.Errorf("server %s: %v", name, err)
		}
	}
	if err := b.AddServer(t.Context(), "rival", server("mai1")); err != nil {
		t.Errorf("another tenant's names count: %v", err)
	}
	bad := catalogue.DefaultConfig()
	bad.Servers = []catalogue.Fixed{{Tenant: "acme", Name: "a0", URL: "https://a.example"}, {Tenant: "acme", Name: "ao", URL: "https://b.example"}}
	if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), "look alike") {
		t.Errorf("configured names: %v", err)
	}
}

// TestAConfiguredServerShadowsNoApprovedTool: the file is the operator's word about servers, not about tools.
func TestAConfiguredServerShadowsNoApprovedTool(t *testing.T) {
	b := newBook(t, catalogue.PinFirstUse, tool("mail__send"))
	if !b.callable("srv", "mail__send") {
		t.Fatal("alone it is not callable")
	}
	config := catalogue.DefaultConfig()
	config.Servers = []catalogue.Fixed{{Tenant: "acme", Name: "mail", URL: "https://mail.example"}}
	var err error
	if b.Catalogue, err = catalogue.Open(t.Context(), config, b.st, b.l, time.Now); err != nil {
		t.Fatal(err)
	}
	b.list("srv", tool("mail__send"))
	p := b.pin("srv", "mail__send")
	if b.callable("srv", "mail__send") || len(p.Findings) != 1 || !strings.Contains(p.Findings[0], "server mail") {
		t.Errorf("%+v", p)
	}
	err = b.DecidePin(t.Context(), "acme", "srv", "mail__send", catalogue.PinDecision{Action: pins.Approve, Digest: p.Digest, Despite: true})
	if !errors.Is(err, catalogue.ErrCollision) {
		t.Errorf("approved: %v", err)
	}
}

// TestAFloodOfChangesFillsNothing: whatever a server does between two people's decisions, nothing grows.
func TestAFloodOfChangesFillsNothing(t *testing.T) {
	b := newBook(t, catalogue.PinFirstUse, described("one", "0"), tool("two"))
	b.events = nil
	for i := range 500 {
		b.list("srv", described("one", fmt.Sprint(i%250+1)), tool("two"))
		b.now = b.now.Add(time.Second)
	}
	if n := len(b.events); n == 0 || n > 12 {
		t.Errorf("%d events", n)
	}
	if s := b.PinStats(); s.Quarantines != 500 || s.Unsaid != 500-uint64(len(b.events)) || s.Waiting != 1 {
		t.Errorf("stats %+v", s)
	}
	d, err := b.Pin(t.Context(), "acme", "srv", "one", merkle.Hash{})
	if err != nil || len(d.History) != 1 || len(d.Kept) != 1 {
		t.Errorf("kept %+v: %v", d, err)
	}
	b.now = b.now.Add(time.Hour)
	b.list("srv", described("one", "last"), tool("two"))
	if last := b.events[len(b.events)-1]; last.Unsaid == 0 || len(last.Quarantined) != 1 {
		t.Errorf("the next event does not say what went unsaid: %+v", last)
	}
}

func TestPinsOutliveARestartAndGoWithTheirServer(t *testing.T) {
	b := newBook(t, catalogue.PinFirstUse, described("one", "1"))
	b.list("srv", described("one", "2"))
	b.open(catalogue.PinFirstUse)
	b.list("srv", described("one", "2"))
	if b.callable("srv", "one") {
		t.Fatal("a restart took what was in quarantine")
	}
	s := server("srv")
	s.URL = "https://elsewhere.example/mcp"
	if err := b.UpdateServer(t.Context(), "acme", s); err != nil {
		t.Fatal(err)
	}
	b.list("srv", described("one", "2"))
	if b.callable("srv", "one") {
		t.Error("another address took what was in quarantine")
	}
	if err := b.RemoveServer(t.Context(), "acme", "srv"); err != nil {
		t.Fatal(err)
	}
	add(t, b.Catalogue, "acme", server("srv"))
	b.list("srv", described("one", "2"))
	if !b.callable("srv", "one") {
		t.Error("a server that an admin removed and added is still the old one")
	}
}

// TestWhatCannotBeStoredIsNotApproved: neither at first use nor by a person, and the next try finds the truth.
func TestWhatCannotBeStoredIsNotApproved(t *testing.T) {
	b := newBook(t, catalogue.PinFirstUse)
	b.l.set("srv", tool("one"))
	b.st.Next(storetest.Failed)
	if err := b.Refresh(t.Context(), "acme", "srv"); err == nil || b.callable("srv", "one") {
		t.Errorf("taken though it was not stored: %v", err)
	}
	b.list("srv", tool("one"))
	if !b.callable("srv", "one") {
		t.Error("the first listing that could be stored is not taken")
	}
	b.list("srv", described("one", "2"))
	digest := b.pin("srv", "one").Digest
	b.st.Next(storetest.Failed)
	if err := b.decide(pins.Approve, "srv", "one", digest); err == nil || b.callable("srv", "one") {
		t.Errorf("approved though it was not stored: %v", err)
	}
	if err := b.decide(pins.Approve, "srv", "one", digest); err != nil || !b.callable("srv", "one") {
		t.Errorf("once it can be stored: %v", err)
	}
	b.list("srv", described("one", "3"))
	digest = b.pin("srv", "one").Digest
	b.st.Next(storetest.Persisted) // the answer is lost, the decision is not
	if err := b.decide(pins.Approve, "srv", "one", digest); err == nil || !b.callable("srv", "one") {
		t.Errorf("what the store holds is not shown: %v", err)
	}
	b.list("srv", described("one", "4"))
	b.st.FailViews(2)
	if err := b.decide(pins.Approve, "srv", "one", b.pin("srv", "one").Digest); err == nil || b.callable("srv", "one") {
		t.Errorf("in force though nobody knows what is stored: %v", err)
	}
	b.list("srv", described("one", "4"))
	if !b.callable("srv", "one") {
		t.Error("what is stored is not found again")
	}
}

func TestAnOutputSchemaThatCannotBeEnforcedMakesTheToolUnusable(t *testing.T) {
	form := `{"name":"one","inputSchema":{"type":"object"},"outputSchema":%s}`
	b := newBook(t, catalogue.PinFirstUse)
	for schema, why := range map[string]string{
		`{"$ref":"https://evil.example/s"}`: "outside", `{"type":7}`: "not a valid", `[]`: "not an object", `"x"`: "not an object", `null`: "not an object",
		`{"x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`: "over a bound", `{"pattern":"` + strings.Repeat("a", 2000) + `"}`: "cannot be enforced",
	} {
		b.list("srv", fmt.Sprintf(form, schema))
		tools := b.Tools("acme", "srv")
		if strings.Contains(schema, "[[") && len(tools) == 0 {
			continue // too deep to be shown at all
		}
		if len(tools) != 1 || !strings.Contains(tools[0].Unusable, why) || b.callable("srv", "one") {
			t.Errorf("%s: %+v", schema, tools)
		}
	}
	b = newBook(t, catalogue.PinFirstUse, fmt.Sprintf(form, `{"type":"array","items":{"type":"integer"}}`)) // any JSON value since 2026-07-28
	one, ok := b.Lookup("acme", "srv", "one")
	if !ok || one.CheckResult([]byte(`{"structuredContent":[1,2]}`)) != nil || one.CheckResult([]byte(`{"structuredContent":[1,"2"]}`)) == nil {
		t.Error("an output schema of an array is not enforced")
	}
}
