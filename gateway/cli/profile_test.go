package cli_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/gateway/cli"
	"github.com/gatewright/gatewright/policies"
)

func TestTheProfileInForceIsShownAndRemoved(t *testing.T) {
	h := newHouse(t)
	there := true
	h.control.HandleFunc("/api/v1/profile", func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !there:
			answer(w, 404, `{"code":"not_found","detail":"there is no such thing in this organisation","record":"rec_1"}`)
		case r.Method == http.MethodDelete:
			there = false
			w.WriteHeader(http.StatusNoContent)
		default:
			answer(w, 200, `{"version":2,"digest":"ab12","policy":{"name":"p\u202e"},"cedar":"forbid(principal, action, resource);\n","lines":["Nothing\u001b[2J is allowed."],
				"proposal":"prp_1","by":"usr_1","since":"2026-01-01T00:00:00Z","problem":"cannot\nbe read"}`)
		}
	})
	shown := `version   2
since     2026-01-01T00:00:00Z by usr_1
proposal  prp_1
problem   cannot be read; until it is removed or replaced, calls are refused
digest    ab12
profile
{
  "name": "p\u202e"
}
policies
forbid(principal, action, resource);

- Nothing\u001b[2J is allowed.
`
	if o := h.run(t, "profile", "show"); o.code != 0 || o.out != shown {
		t.Errorf("%+v", o)
	}
	var v map[string]any
	if o := h.run(t, "profile", "show", "--json"); o.code != 0 || json.Unmarshal([]byte(o.out), &v) != nil || v["version"] != 2.0 {
		t.Errorf("%+v", o)
	}
	if o := h.run(t, "profile", "remove"); o.code != 0 || o.out != "profile removed\n" {
		t.Errorf("%+v", o)
	}
	for _, verb := range []string{"show", "remove"} {
		h.fails(t, 1, "not_found", "profile", verb)
		if o := h.run(t, "profile", verb); !strings.Contains(o.errOut, "\nhint: no profile is in force") {
			t.Errorf("%s", o.errOut)
		}
	}
}

// TestWhatAnAgentProposesReachesTheConfigurationAsPlainTextOnly: a block is to be pasted, so it says what it shows.
func TestWhatAnAgentProposesReachesTheConfigurationAsPlainTextOnly(t *testing.T) {
	for content, want := range map[string]string{
		`{"mcp_servers":[{"id":"one","url":"https://one.example/mcp","auth":{"type":"bearer","token":"hush"}},{"id":"Two.x","url":"http://two.example:8080"}],"identity":{"api_key":"hush"}}`: "\nserver \"one\" {\n  tenant = \"ORGANISATION\"\n  url    = \"https://one.example/mcp\"\n}\n\nserver \"two-x\" {\n  tenant = \"ORGANISATION\"\n  url    = \"http://two.example:8080\"\n}\n",
		`{"id":"a\"\n} evil {","url":"https://x.example"}`:       "server \"a----evil\" {\n  tenant = \"ORGANISATION\"\n  url    = \"https://x.example\"\n}\n",
		`{"mcpName":"","source":"https://x.example"}`:            "server \"server\" {",
		`{"mcpName":"x","source":"npx evil"}`:                    "names no http address: gatewright proposal show prp_1",
		`{"mcpName":"x","source":"https://x.example/${env}"}`:    "names no http address",
		`{"mcpName":"x","source":"https://x.example/%{if}"}`:     "names no http address",
		`{"mcpName":"x","source":"https://x.example/\"\nkey=1"}`: "names no http address",
		`{"mcpName":"x","source":"https://me:pw@x.example/"}`:    "names no http address",
		`{"mcpName":"x","source":"https://x.example/\u202e"}`:    "names no http address",
		`{"mcpName":7,"source":"https://x.example/"}`:            "names no http address",
	} {
		h := newHouse(t)
		h.control.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/whoami") {
				answer(w, 200, `{"organisation":"x\"y"}`)
				return
			}
			answer(w, 200, `{"id":"prp_1","kind":"server","state":"approved","content":`+content+`}`)
		})
		o := h.run(t, "proposal", "approve", "prp_1")
		if o.code != 0 || o.out != "prp_1 approved\n" || !strings.Contains(o.errOut, want) || strings.Contains(o.errOut, "hush") {
			t.Errorf("%s:\n%s\nwant %s", content, o.errOut, want)
		}
	}
}

func TestEachMistakeOfABundleHasItsLine(t *testing.T) {
	h := newHouse(t)
	h.runner.Serve = func(context.Context, cli.ServeOptions) error {
		return fmt.Errorf("policies of demo: %w", policies.Problems{{File: "a.cedar", Line: 1, Column: 1, Msg: "first\tone"}, {File: "a.cedar", Line: 3, Column: 1, Msg: "second"}})
	}
	if o := h.run(t, "serve"); o.code != 1 || o.errOut != "gatewright: policies of demo: a.cedar:1:1: first one\n  a.cedar:3:1: second\n" {
		t.Errorf("%+v", o)
	}
}
