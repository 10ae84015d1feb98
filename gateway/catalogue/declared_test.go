package catalogue_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/gateway/catalogue"
	"github.com/gatewright/gatewright/store/storetest"
)

// TestAServerIsAskedForWhatItDeclares and for nothing else; one that nobody knows of is asked for all.
func TestAServerIsAskedForWhatItDeclares(t *testing.T) {
	l := &lister{more: map[string][]string{
		"files resources/list": {`{"uri":"a:b"}`}, "files resources/templates/list": {`{"uriTemplate":"a:{x}"}`}, "files prompts/list": {`{"name":"p"}`},
	}}
	l.set("files", tool("one"))
	c := open(t, storetest.NewMemory(), l, nil)
	add(t, c, "acme", server("files"))
	for _, step := range []struct{ declares, asked string }{
		{`{"tools":{}}`, "tools/list server/discover"},
		{`{"tools":{},"prompts":{}}`, "tools/list server/discover prompts/list"},
		{`{"tools":{},"resources":{"subscribe":true}}`, "tools/list server/discover resources/list resources/templates/list"},
		{`{"tools":{},"resources":null,"prompts":[]}`, "tools/list server/discover"},
		{`{"tools":{}}`, "tools/list server/discover"},
		{"", "tools/list server/discover resources/list resources/templates/list prompts/list"},
	} {
		l.mu.Lock()
		delete(l.more, "files "+catalogue.Capabilities)
		if l.methods = nil; step.declares != "" {
			l.more["files "+catalogue.Capabilities] = []string{step.declares}
		}
		l.mu.Unlock()
		if err := c.Refresh(t.Context(), "acme", "files"); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(l.methods, " "); got != step.asked {
			t.Errorf("declares %s: asked %s, want %s", step.declares, got, step.asked)
		}
		_, prompts := c.Prompts("acme", "files")
		_, resources := c.Resources("acme", "files", false)
		if prompts != strings.Contains(step.asked, "prompts/") || resources != strings.Contains(step.asked, "resources/") {
			t.Errorf("declares %s: prompts %v, resources %v", step.declares, prompts, resources)
		}
	}
}

// TestAServerWithoutToolsIsNoFailure where it says itself that it has none. Tools that were there do not go because a server
// that declares them does not know the method any more.
func TestAServerWithoutToolsIsNoFailure(t *testing.T) {
	for declares, good := range map[string]bool{`{"prompts":{}}`: true, `{"prompts":{},"tools":{}}`: false, "": false} {
		l := &lister{more: map[string][]string{"files prompts/list": {`{"name":"p"}`}}}
		if declares != "" {
			l.more["files "+catalogue.Capabilities] = []string{declares}
		}
		c := open(t, storetest.NewMemory(), l, nil)
		add(t, c, "acme", server("files"))
		l.set("files", tool("one"))
		if err := c.Refresh(t.Context(), "acme", "files"); err != nil {
			t.Fatal(err)
		}
		l.mu.Lock()
		l.none = true
		l.mu.Unlock()
		err := c.Refresh(t.Context(), "acme", "files")
		if (err == nil) != good {
			t.Errorf("declares %s: %v", declares, err)
		}
		if list := c.Tools("acme", "files"); slices.IndexFunc(list, func(t *catalogue.Tool) bool { return t.Name == "one" }) >= 0 == good {
			t.Errorf("declares %s: tools %v", declares, list)
		}
		if h, _ := c.Health("acme", "files"); (h.Err == "") != good {
			t.Errorf("declares %s: health %+v", declares, h)
		}
	}
}
