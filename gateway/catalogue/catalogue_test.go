package catalogue_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/catalogue"
	"github.com/gatewright/gatewright/store"
	"github.com/gatewright/gatewright/store/storetest"
)

// lister answers with what it is told, by server name.
type lister struct {
	mu    sync.Mutex
	tools map[string][]string
	more  map[string][]string // by server and method, "files prompts/list"
	err   error
	hold  func()

	methods []string // that were asked
	none    bool     // there is no such method as tools/list
}

func (l *lister) List(ctx context.Context, s catalogue.Server, method string) ([]json.RawMessage, error) {
	l.asked(method)
	if method == catalogue.ListTools {
		return l.listTools(ctx, s)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	list, ok := l.more[s.Name+" "+method]
	if !ok {
		return nil, catalogue.ErrNotOffered
	}
	if l.err != nil {
		return nil, l.err
	}
	out := []json.RawMessage{}
	for _, d := range list {
		out = append(out, json.RawMessage(d))
	}
	return out, nil
}

// asked notes a method.
func (l *lister) asked(method string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.methods = append(l.methods, method)
}

func (l *lister) listTools(ctx context.Context, s catalogue.Server) ([]json.RawMessage, error) {
	l.mu.Lock()
	hold, err, tools := l.hold, l.err, l.tools[s.Name]
	if l.none {
		err = catalogue.ErrNotOffered
	}
	l.mu.Unlock()
	if hold != nil {
		hold()
	}
	if err != nil {
		return nil, err
	}
	var out []json.RawMessage
	for _, t := range tools {
		out = append(out, json.RawMessage(t))
	}
	return out, ctx.Err()
}

func (l *lister) set(server string, tools ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tools == nil {
		l.tools = map[string][]string{}
	}
	l.tools[server] = tools
}

func tool(name string) string {
	return fmt.Sprintf(`{"name":%q,"description":"d","inputSchema":{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]}}`, name)
}

func open(t testing.TB, st store.Store, l *lister, change func(*catalogue.Config)) *catalogue.Catalogue {
	t.Helper()
	config := catalogue.DefaultConfig()
	config.AllowPrivate = true
	if change != nil {
		change(&config)
	}
	c, err := catalogue.Open(t.Context(), config, st, l, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func server(name string) catalogue.Server {
	return catalogue.Server{Name: name, URL: "https://mcp.example/mcp", Enabled: true}
}

func add(t testing.TB, c *catalogue.Catalogue, tenant string, s catalogue.Server) {
	t.Helper()
	if err := c.AddServer(t.Context(), tenant, s); err != nil {
		t.Fatal(err)
	}
}

const pin = "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

func TestServersThatAreNotOneAreRefused(t *testing.T) {
	c := open(t, storetest.NewMemory(), &lister{}, func(c *catalogue.Config) { c.AllowPrivate = false })
	change := func(f func(*catalogue.Server)) catalogue.Server { s := server("ok"); f(&s); return s }
	for _, s := range []catalogue.Server{
		server(""), server("-a"), server("A"), server("a_b"), server("a__b"), server("a.b"), server("a/b"), server(strings.Repeat("a", 64)), server("ä"),
		server("my-servers"), server("servers"), server("tools"), server("tool-metadata"), server("auto-register"),
		change(func(s *catalogue.Server) { s.URL = "" }), change(func(s *catalogue.Server) { s.URL = "file:///etc/passwd" }),
		change(func(s *catalogue.Server) { s.URL = "https://u:p@a.example/" }), change(func(s *catalogue.Server) { s.URL = "https://a.example/#x" }),
		change(func(s *catalogue.Server) { s.URL = "https://a.example/\r\nX: y" }), change(func(s *catalogue.Server) { s.URL = "https:///x" }),
		change(func(s *catalogue.Server) { s.Era = "future" }), change(func(s *catalogue.Server) { s.AllowPrivate = true }),
		change(func(s *catalogue.Server) { s.Header = "X-Key" }), change(func(s *catalogue.Server) { s.Credential, s.Header = "k", "a b" }),
		change(func(s *catalogue.Server) { s.Credential, s.Prefix = "k", "a\r\nb" }), change(func(s *catalogue.Server) { s.Labels = []string{""} }),
		change(func(s *catalogue.Server) { s.Labels = make([]string, 100) }), change(func(s *catalogue.Server) { s.PublicKeys = []string{"sha256/AAAA"} }),
		change(func(s *catalogue.Server) { s.URL, s.PublicKeys = "http://a.example/", []string{pin} }), change(func(s *catalogue.Server) { s.PublicKeys = slices.Repeat([]string{pin}, 9) }),
		change(func(s *catalogue.Server) { s.Process, s.URL = true, "" }), // a command line comes from the configuration alone
	} {
		if err := c.AddServer(t.Context(), "acme", s); !errors.Is(err, catalogue.ErrInvalid) {
			t.Errorf("%+v: %v", s, err)
		}
	}
	for _, tenant := range []string{"", "_instance", "Acme", "a/b"} {
		if err := c.AddServer(t.Context(), tenant, server("ok")); err == nil {
			t.Errorf("tenant %q was accepted", tenant)
		}
	}
	if len(c.Servers("acme")) != 0 {
		t.Error("a refused server is known")
	}
}

func TestANameIsTakenOnceAndMustExistToBeChanged(t *testing.T) {
	c := open(t, storetest.NewMemory(), &lister{}, func(c *catalogue.Config) {
		c.MaxServers = 2
		c.Servers = []catalogue.Fixed{{Tenant: "acme", Name: "fixed", URL: "http://127.0.0.1:1/", AllowPrivate: true}}
	})
	add(t, c, "acme", server("one"))
	for _, step := range []struct {
		err  error
		want error
	}{
		{c.AddServer(t.Context(), "acme", server("one")), catalogue.ErrExists},
		{c.AddServer(t.Context(), "acme", server("fixed")), catalogue.ErrExists},
		{c.AddServer(t.Context(), "acme", server("three")), catalogue.ErrTooMany},
		{c.UpdateServer(t.Context(), "acme", server("none")), catalogue.ErrUnknown},
		{c.RemoveServer(t.Context(), "acme", "none"), catalogue.ErrUnknown},
		{c.RemoveServer(t.Context(), "other", "one"), catalogue.ErrUnknown},
		{c.UpdateServer(t.Context(), "acme", server("fixed")), catalogue.ErrFixed},
		{c.RemoveServer(t.Context(), "acme", "fixed"), catalogue.ErrFixed},
		{c.Refresh(t.Context(), "other", "one"), catalogue.ErrUnknown},
	} {
		if !errors.Is(step.err, step.want) {
			t.Errorf("got %v, want %v", step.err, step.want)
		}
	}
}

func TestConfigsThatCannotStandAreRefused(t *testing.T) {
	for _, spoil := range []func(*catalogue.Config){
		func(c *catalogue.Config) { c.MaxTools = 0 }, func(c *catalogue.Config) { c.RefreshEvery = 0 },
		func(c *catalogue.Config) {
			c.Servers = []catalogue.Fixed{{Tenant: "acme", Name: "tools", URL: "https://a.example"}}
		},
		func(c *catalogue.Config) {
			c.Servers = []catalogue.Fixed{{Tenant: "acme", Name: "a", URL: "a.example"}}
		},
		func(c *catalogue.Config) {
			c.Servers = []catalogue.Fixed{{Tenant: "acme", Name: "a", URL: "https://a.example"}, {Tenant: "acme", Name: "a", URL: "https://b.example"}}
		},
	} {
		config := catalogue.DefaultConfig()
		spoil(&config)
		if _, err := catalogue.Open(t.Context(), config, storetest.NewMemory(), &lister{}, time.Now); err == nil {
			t.Errorf("%+v was accepted", config)
		}
	}
}

func TestToolsThatCannotBeEnforcedAreListedAndNeverCalled(t *testing.T) {
	l := &lister{}
	schema := func(s string) string { return `{"name":"bad","inputSchema":` + s + `}` }
	for name, raw := range map[string]string{
		"no schema":        `{"name":"bad"}`,
		"schema null":      `{"name":"bad","inputSchema":null}`,
		"schema true":      schema(`true`),
		"no type":          schema(`{}`),
		"type array":       schema(`{"type":"array"}`),
		"types":            schema(`{"type":["object","null"]}`),
		"remote ref":       schema(`{"type":"object","$ref":"https://evil.example/"}`),
		"bad pattern":      schema(`{"type":"object","properties":{"a":{"pattern":"("}}}`),
		"too deep":         schema(`{"type":"object","properties":` + strings.Repeat(`{"a":{"properties":`, 16) + `{}` + strings.Repeat(`}}`, 16) + `}`),
		"too large":        schema(`{"type":"object","description":"` + strings.Repeat("a", 70<<10) + `"}`),
		"header on object": schema(`{"type":"object","properties":{"a":{"type":"object","x-mcp-header":"A"}}}`),
		"headers collide":  schema(`{"type":"object","properties":{"a":{"type":"string","x-mcp-header":"A"},"b":{"type":"string","x-mcp-header":"a"}}}`),
		"header injection": schema(`{"type":"object","properties":{"a":{"type":"string","x-mcp-header":"A: b"}}}`),
		"bad annotations":  `{"name":"bad","inputSchema":{"type":"object"},"annotations":{"readOnlyHint":"yes"}}`,
		"listed twice":     tool("bad"),
	} {
		c := open(t, storetest.NewMemory(), l, nil)
		add(t, c, "acme", server("srv"))
		l.set("srv", tool("good"), raw)
		if name == "listed twice" {
			l.set("srv", tool("good"), raw, `{"name":"bad","inputSchema":{"type":"object"}}`)
		}
		if err := c.Refresh(t.Context(), "acme", "srv"); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, ok := c.Lookup("acme", "srv", "bad"); ok {
			t.Errorf("%s: the tool can be looked up", name)
		}
		bad := c.Tools("acme", "srv")[0]
		if bad.Name != "bad" || bad.Unusable == "" || bad.CheckArgs([]byte(`{}`)) == nil {
			t.Errorf("%s: got %+v", name, bad)
		}
		if defs := c.Defs("acme"); len(defs) != 1 || defs[0].Name != "good" {
			t.Errorf("%s: policies are told of %+v", name, defs)
		}
		if h, _ := c.Health("acme", "srv"); h.Tools != 1 || h.Unusable < 1 {
			t.Errorf("%s: health %+v", name, h)
		}
	}
}

func TestDefinitionsThatCannotBeShownAreSkipped(t *testing.T) {
	l := &lister{}
	c := open(t, storetest.NewMemory(), l, nil)
	add(t, c, "acme", server("srv"))
	l.set("srv", tool("good"), `{"inputSchema":{}}`, `{"name":7}`, tool(""), tool("a b"), tool("a/b"), tool("ä"), tool("\u202egood"), tool(strings.Repeat("a", 129)),
		`{"name":"a","name":"b"}`, `{"name":"x","title":1}`, `[]`, `nonsense`, `{"name":"big","description":"`+strings.Repeat("a", 300<<10)+`"}`)
	if err := c.Refresh(t.Context(), "acme", "srv"); err != nil {
		t.Fatal(err)
	}
	if h, _ := c.Health("acme", "srv"); h.Tools != 1 || h.Unusable != 0 || h.Skipped != 13 {
		t.Errorf("got %+v", h)
	}
}

func TestAFailedRefreshKeepsTheLastGoodTools(t *testing.T) {
	l := &lister{}
	c := open(t, storetest.NewMemory(), l, func(c *catalogue.Config) { c.MaxTools = 3 })
	add(t, c, "acme", server("srv"))
	l.set("srv", tool("a"))
	if err := c.Refresh(t.Context(), "acme", "srv"); err != nil {
		t.Fatal(err)
	}
	l.err = errors.New("down")
	if err := c.Refresh(t.Context(), "acme", "srv"); err == nil {
		t.Error("a failed refresh reports success")
	}
	l.err = nil
	l.set("srv", tool("a"), tool("b"), tool("c"), tool("d"))
	if err := c.Refresh(t.Context(), "acme", "srv"); err == nil {
		t.Error("too many tools were accepted")
	}
	if _, ok := c.Lookup("acme", "srv", "a"); !ok {
		t.Error("the last good tool is gone")
	}
	if h, _ := c.Health("acme", "srv"); h.Failures != 2 || h.Err == "" || h.Tools != 1 || h.LastGood.IsZero() {
		t.Errorf("got %+v", h)
	}
}

func TestAnotherTenantsServersCannotBeNamed(t *testing.T) {
	l := &lister{}
	c := open(t, storetest.NewMemory(), l, nil)
	add(t, c, "acme", server("srv"))
	l.set("srv", tool("a"))
	if err := c.Refresh(t.Context(), "acme", "srv"); err != nil {
		t.Fatal(err)
	}
	if _, ok := c.Lookup("other", "srv", "a"); ok || len(c.Tools("other", "srv")) != 0 || len(c.Servers("other")) != 0 || len(c.Defs("other")) != 0 {
		t.Error("another tenant sees it")
	}
	if _, ok := c.Server("other", "srv"); ok {
		t.Error("another tenant sees the server")
	}
	add(t, c, "other", server("srv")) // the name is free there
	if _, ok := c.Lookup("other", "srv", "a"); ok {
		t.Error("tools crossed over")
	}
}

func TestADisabledServersToolsAreNotCalled(t *testing.T) {
	l := &lister{}
	c := open(t, storetest.NewMemory(), l, nil)
	add(t, c, "acme", server("srv"))
	l.set("srv", tool("a"))
	if err := c.Refresh(t.Context(), "acme", "srv"); err != nil {
		t.Fatal(err)
	}
	off := server("srv")
	off.Enabled = false
	if err := c.UpdateServer(t.Context(), "acme", off); err != nil {
		t.Fatal(err)
	}
	if _, ok := c.Lookup("acme", "srv", "a"); ok || len(c.Defs("acme")) != 0 {
		t.Error("it is still offered")
	}
	if err := c.Refresh(t.Context(), "acme", "srv"); err == nil {
		t.Error("it is still asked")
	}
}

func TestAChangedAddressDropsTheToolsAndAChangedLabelKeepsThem(t *testing.T) {
	l := &lister{}
	c := open(t, storetest.NewMemory(), l, nil)
	add(t, c, "acme", server("srv"))
	l.set("srv", tool("a"))
	if err := c.Refresh(t.Context(), "acme", "srv"); err != nil {
		t.Fatal(err)
	}
	s := server("srv")
	s.Labels, s.Sensitivity = []string{"pii"}, 3
	if err := c.UpdateServer(t.Context(), "acme", s); err != nil {
		t.Fatal(err)
	}
	if d := c.Defs("acme"); len(d) != 1 || d[0].Sensitivity != 3 || !slices.Equal(d[0].Labels, []string{"pii"}) || !d[0].Destructive || !d[0].OpenWorld {
		t.Errorf("got %+v", d)
	}
	s.URL = "https://elsewhere.example/"
	if err := c.UpdateServer(t.Context(), "acme", s); err != nil {
		t.Fatal(err)
	}
	if _, ok := c.Lookup("acme", "srv", "a"); ok {
		t.Error("the old server's tool is offered for the new one")
	}
}

func TestAListThatComesAfterAChangeIsNotShown(t *testing.T) {
	l := &lister{}
	c := open(t, storetest.NewMemory(), l, nil)
	add(t, c, "acme", server("srv"))
	l.set("srv", tool("a"))
	l.hold = func() {
		s := server("srv")
		s.URL = "https://elsewhere.example/"
		if err := c.UpdateServer(context.Background(), "acme", s); err != nil {
			t.Error(err)
		}
	}
	if err := c.Refresh(t.Context(), "acme", "srv"); err == nil {
		t.Error("a late list counts as good")
	}
	if len(c.Tools("acme", "srv")) != 0 {
		t.Error("the tools of the old address are shown")
	}
}

func TestListenersHearOfChangesOnly(t *testing.T) {
	l := &lister{}
	c := open(t, storetest.NewMemory(), l, nil)
	var heard []string
	c.OnChange(func(tenant string) { heard = append(heard, fmt.Sprint(tenant, len(c.Defs(tenant)))) })
	add(t, c, "acme", server("srv"))
	l.set("srv", tool("a"))
	for range 3 {
		if err := c.Refresh(t.Context(), "acme", "srv"); err != nil {
			t.Fatal(err)
		}
	}
	l.set("srv", tool("a"), tool("b"))
	if failed := c.RefreshAll(t.Context()); len(failed) != 0 {
		t.Errorf("%d failed", len(failed))
	}
	if err := c.RemoveServer(t.Context(), "acme", "srv"); err != nil {
		t.Fatal(err)
	}
	if want := []string{"acme0", "acme1", "acme2", "acme0"}; !slices.Equal(heard, want) {
		t.Errorf("heard %v, want %v", heard, want)
	}
}

func TestServersOutliveARestart(t *testing.T) {
	st := storetest.NewMemory()
	c := open(t, st, &lister{}, nil)
	s := server("srv")
	s.Credential, s.Labels, s.AllowPrivate = "key", []string{"x"}, true
	add(t, c, "acme", s)
	add(t, c, "other", server("gone"))
	if err := c.RemoveServer(t.Context(), "other", "gone"); err != nil {
		t.Fatal(err)
	}
	again := open(t, st, &lister{}, nil)
	got, ok := again.Server("acme", "srv")
	s.Tenant, s.Era, s.Header, s.Prefix = "acme", "auto", "Authorization", "Bearer "
	s.Pin = catalogue.PinFirstUse
	if !ok || !got.Equal(s) || len(again.Servers("other")) != 0 {
		t.Errorf("got %+v, want %+v", got, s)
	}
	strict := open(t, st, &lister{}, func(c *catalogue.Config) { c.AllowPrivate = false })
	if got, _ := strict.Server("acme", "srv"); got.Enabled {
		t.Error("a private server works although the configuration no longer allows it")
	}
}

func TestAFailedWriteShowsWhatTheStoreHolds(t *testing.T) {
	for fault, shown := range map[storetest.Fault]bool{storetest.Failed: false, storetest.Persisted: true} {
		st := storetest.NewFaulty(storetest.NewMemory())
		c := open(t, st, &lister{}, nil)
		st.Next(storetest.None, fault)
		if err := c.AddServer(t.Context(), "acme", server("srv")); !errors.Is(err, storetest.ErrInjected) {
			t.Fatalf("got %v", err)
		}
		if _, ok := c.Server("acme", "srv"); ok != shown {
			t.Errorf("fault %v: shown %v", fault, ok)
		}
		st.Next(fault)
		c = open(t, st, &lister{}, nil)
		_ = c.RemoveServer(t.Context(), "acme", "srv")
		if _, ok := c.Server("acme", "srv"); ok {
			t.Errorf("fault %v: a removed server is shown", fault)
		}
	}
}

func TestMirroredArguments(t *testing.T) {
	l := &lister{}
	c := open(t, storetest.NewMemory(), l, nil)
	add(t, c, "acme", server("srv"))
	l.set("srv", tool("plain"), `{"name":"m","inputSchema":{"type":"object","properties":{"city":{"type":"string","x-mcp-header":"City"},
		"deep":{"type":"object","properties":{"n":{"type":"integer","x-mcp-header":"N"}}},"b":{"type":"boolean","x-mcp-header":"B"}}}}`)
	if err := c.Refresh(t.Context(), "acme", "srv"); err != nil {
		t.Fatal(err)
	}
	m, ok := c.Lookup("acme", "srv", "m")
	plain, _ := c.Lookup("acme", "srv", "plain")
	if !ok || !m.Mirrors() || plain.Mirrors() {
		t.Fatal("the annotation is not seen")
	}
	for args, want := range map[string]string{
		`{"city":"a\nb","deep":{"n":7},"b":false}`: "Mcp-Param-City=a\nb Mcp-Param-N=7 Mcp-Param-B=false",
		`{"city":null,"deep":{}}`:                  "", `{}`: "", `{"deep":{"n":1}}`: "Mcp-Param-N=1",
	} {
		var got []string
		m.Mirror([]byte(args), func(name, value string) { got = append(got, name+"="+value) })
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q", args, got)
		}
	}
}

func TestReadersAndWritersRunTogether(t *testing.T) {
	l := &lister{}
	c := open(t, storetest.NewMemory(), l, nil)
	l.set("srv", tool("a"))
	add(t, c, "acme", server("srv"))
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 50 {
				_ = c.Refresh(t.Context(), "acme", "srv")
				_ = c.AddServer(t.Context(), "acme", server(fmt.Sprintf("s%d", i)))
				_ = c.RemoveServer(t.Context(), "acme", fmt.Sprintf("s%d", i))
			}
		})
		wg.Go(func() {
			for range 500 {
				if tool, ok := c.Lookup("acme", "srv", "a"); ok && tool.CheckArgs([]byte(`{"a":1}`)) != nil {
					t.Error("a good call was refused")
				}
				c.Defs("acme")
			}
		})
	}
	wg.Wait()
}

func TestLookupAllocatesNothing(t *testing.T) {
	l := &lister{}
	c := open(t, storetest.NewMemory(), l, nil)
	l.set("srv", tool("a"))
	add(t, c, "acme", server("srv"))
	if err := c.Refresh(t.Context(), "acme", "srv"); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { c.Lookup("acme", "srv", "a") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	tool, _ := c.Lookup("acme", "srv", "a")
	if tool.SchemaHash.IsZero() || tool.CheckArgs(nil) == nil || tool.CheckArgs([]byte(`{"a":1}`)) != nil {
		t.Errorf("got %+v", tool)
	}
}

func BenchmarkLookup(b *testing.B) {
	l := &lister{}
	c := open(b, storetest.NewMemory(), l, nil)
	l.set("srv", tool("a"))
	add(b, c, "acme", server("srv"))
	if err := c.Refresh(b.Context(), "acme", "srv"); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		c.Lookup("acme", "srv", "a")
	}
}
