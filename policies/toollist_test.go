package policies_test

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatewright/gatewright/policies"
)

// names lists what a ToolList holds, and checks that Has agrees.
func names(t *testing.T, l *policies.ToolList) (out []string) {
	t.Helper()
	for server, name := range l.All() {
		if !l.Has(server, name) {
			t.Errorf("%s/%s is on the list and is not", server, name)
		}
		out = append(out, server+"/"+name)
	}
	return out
}

// decided asks about every tool of the test's catalogue one by one.
func decided(e *policies.Engine, a *policies.Ask) (out []string) {
	for _, d := range demoTools() {
		if d.Op != "" && d.Op != "call_tool" || a.Server != "" && a.Server != d.Server {
			continue
		}
		one := *a
		one.Action, one.Server, one.Tool, one.Args, one.ArgsKnown, one.Local = "call_tool", d.Server, d.Name, nil, false, false
		if x := e.Decide(&one); x.Allowed() || x.Held() {
			out = append(out, d.Server+"/"+d.Name)
		}
	}
	slices.Sort(out)
	return out
}

// A list is what Decide says of each tool: also when it was asked for before, by the same or another caller, from another
// address, at another time, after a change of the caller, under overlays.
func TestAListIsWhatIsDecidedOfEachTool(t *testing.T) {
	g := generator{rand.New(rand.NewPCG(17, 23))}
	lists, shown := 0, 0
	for range 150 {
		var text []string
		for i := range 1 + g.IntN(25) {
			text = append(text, g.policy(i))
		}
		e := compile(t, strings.Join(text, "\n"))
		terms := []*policies.Overlay{overlay(t, g.overlay(0)+g.overlay(1))}
		callers := []*policies.Principal{g.ask().Principal, g.ask().Principal, g.ask().Principal}
		for range 60 {
			a := g.ask()
			a.Principal, a.Server = callers[g.IntN(len(callers))], g.pick("", "", "mail", "db", "nowhere")
			a.Now = a.Now.Add(time.Duration(g.IntN(3)) * 3 * 365 * 24 * time.Hour)
			switch g.IntN(12) {
			case 0:
				a.Overlays = terms
			case 1:
				a.Principal.Trust = int64(g.IntN(3)) * 400 // changed in place
			case 2:
				a.Now = time.Time{}
			case 3:
				a.IP = netip.Addr{}
			}
			got, want := names(t, e.ToolList(a)), decided(e, a)
			if !slices.Equal(got, want) {
				t.Fatalf("%s\n%+v %+v\nlists %q, want %q", strings.Join(text, "\n"), a, a.Principal, got, want)
			}
			lists++
			shown += len(got)
		}
	}
	if shown < lists/5 {
		t.Errorf("%d lists show %d tools", lists, shown)
	}
}

// What changes with every call is not taken for absent.
func TestAListUnderAPolicyThatAsksForTheClock(t *testing.T) {
	e := compile(t, `permit (principal, action in Action::"call_tool", resource) when { context has now };`)
	if a := call("", "", ""); !slices.Equal(names(t, e.ToolList(a)), decided(e, a)) || len(decided(e, a)) == 0 {
		t.Errorf("lists %q, want %q", names(t, e.ToolList(a)), decided(e, a))
	}
}

func TestAListWithoutACallerIsEmpty(t *testing.T) {
	e := compile(t, allowAll)
	a := call("", "", "")
	if got := names(t, e.ToolList(a)); len(got) == 0 {
		t.Error("nothing is listed where all is allowed")
	}
	a.Principal.Kind = "Ghost"
	var none *policies.Engine
	for _, l := range []*policies.ToolList{e.ToolList(a), e.ToolList(nil), e.ToolList(&policies.Ask{}), none.ToolList(a), nil} {
		if got := names(t, l); len(got) > 0 || l.Has("mail", "send") {
			t.Errorf("listed: %q", got)
		}
	}
}

// While engines are swapped, every decision comes whole from one of them: what it says, why, and under which bundle.
func TestASwapUnderLoadIsNeverSeenHalf(t *testing.T) {
	permit := compile(t, `@id("one") permit (principal, action, resource);`)
	forbid := compile(t, `@id("two") permit (principal, action, resource); @id("three") forbid (principal, action, resource) when { context.net.tls || context.now > datetime("2000-01-01") };`)
	var set policies.Set
	set.Swap("acme", permit)
	const deciders, swaps = 8, 200
	var seen [deciders][2]int
	var decided atomic.Int64
	stop := make(chan struct{})
	var all sync.WaitGroup
	for k := range deciders {
		all.Go(func() {
			a := call("mail", "send", `{"to":"x"}`)
			for {
				select {
				case <-stop:
					return
				default:
				}
				d := set.For("acme").Decide(a)
				why := strings.Join(d.Policies(), " ")
				switch {
				case len(d.Errors()) > 0 || !d.Covers(a):
					t.Errorf("failed: %q", d.Errors())
				case d.Bundle() == permit.Digest() && d.Allowed() && strings.HasSuffix(why, " one"):
					seen[k][0]++
				case d.Bundle() == forbid.Digest() && !d.Allowed() && strings.HasSuffix(why, " three"):
					seen[k][1]++
				default:
					t.Errorf("half of each: %t %q under %x", d.Allowed(), why, d.Bundle())
				}
				if l := set.For("acme").ToolList(a); l == nil {
					t.Error("no list")
				}
				decided.Add(1)
			}
		})
	}
	for i := range swaps {
		for n := decided.Load(); decided.Load() < n+2*deciders; {
			time.Sleep(50 * time.Microsecond)
		}
		set.Swap("acme", []*policies.Engine{forbid, permit}[i%2])
	}
	close(stop)
	all.Wait()
	var permitted, forbidden int
	for _, n := range seen {
		permitted, forbidden = permitted+n[0], forbidden+n[1]
	}
	if n := int(decided.Load()); permitted+forbidden != n || permitted < n/10 || forbidden < n/10 {
		t.Errorf("%d permitted, %d forbidden of %d", permitted, forbidden, n)
	}
}
