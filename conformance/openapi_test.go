package conformance_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// petStore is an API that a document describes, and remembers what it was asked.
type petStore struct {
	url string

	mu   sync.Mutex
	seen []string
}

func newPetStore(t *testing.T) *petStore {
	t.Helper()
	p := &petStore{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		p.mu.Lock()
		p.seen = append(p.seen, strings.TrimSpace(r.Method+" "+r.RequestURI+" key="+r.Header.Get("api_key")+" "+string(body)))
		p.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		switch r.RequestURI {
		case "/v1/pets/7":
			_, _ = w.Write([]byte(`{"id":7,"name":"Rex"}`))
		case "/v2/orders", "/v2/orders?filter%5Bstate%5D=open&sort=-at,sku&range%5Bfrom%5D=1%262%3D3", "/v2/orders/a%26b%3F/notes/;lang=en-GB":
			_, _ = w.Write([]byte(`[]`))
		case "/v1/pets/8":
			http.Redirect(w, r, "/v1/pets/7", http.StatusFound)
		case "/v1/pets/9":
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = fmt.Fprintf(w, `{"error":"the key %s is wrong"}`, r.Header.Get("api_key"))
		default:
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`{"error":"no such thing"}`))
		}
	}))
	t.Cleanup(s.Close)
	p.url = s.URL + "/v1"
	return p
}

// asked is what came since it was last asked for.
func (p *petStore) asked() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := strings.Join(p.seen, "\n")
	p.seen = nil
	return all
}

// TestAnAPIBehindItsDocumentIsEnforced: the operations of an OpenAPI document are tools like any other. A plan says which call, policy
// reads its arguments by their types, a receipt proves it, and the key for the API stays between the vault and the API.
func TestAnAPIBehindItsDocumentIsEnforced(t *testing.T) {
	t.Parallel()
	top, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	bundle := filepath.Join(t.TempDir(), "bundle")
	if err := os.CopyFS(bundle, os.DirFS(filepath.Join(top, "policies", "default"))); err != nil {
		t.Fatal(err)
	}
	rule := "@id(\"not-the-cat\")\n@reason(\"Pet 13 is not for agents.\")\nforbid (principal, action == Action::\"pets___get_pets_petId\", resource)\nwhen { context.input.petId == 13 };\n"
	if err := os.WriteFile(filepath.Join(bundle, "pets.cedar"), []byte(rule), 0o600); err != nil {
		t.Fatal(err)
	}
	const key = "petstore-key-0123456789"
	api := newPetStore(t)
	document := filepath.Join(top, "plugins", "openapi", "testdata", "pets.yaml")
	g := start(t, Setup{HCL: fmt.Sprintf(`policies {
  bundle = %q
}
server "pets" {
  tenant        = "demo"
  openapi       = %q
  url           = %q
  allow_private = true
  credential    = "pets"
  scheme        = "api_key"
}
server "inward" {
  tenant     = "demo"
  openapi    = %q
  url        = %q
  credential = "pets"
  scheme     = "api_key"
}
`, bundle, document, api.url, document, api.url)})
	g.manage(t, g.Admin(), "PUT", "/api/v1/secrets/pets", map[string]any{"value": key}, nil)
	for _, server := range []string{"pets", "inward"} {
		waitFor(t, "a look at "+server, func() bool { // its process may be on its way still
			return g.control(t, g.Admin(), "POST", "/api/v1/servers/"+server+"/refresh", nil).Status < 300
		})
		g.offers(t, server, "get_pets_petId")
	}
	a := g.newAgent(t)
	var all []answer
	do := func(server, tool, args, token string) answer {
		t.Helper()
		got := a.call(t, server, tool, args, token)
		all = append(all, got)
		return got
	}
	_, pass := a.planned(t, step("pets", "get_pets_petId", `{"petId":7}`), step("pets", "get_pets_petId", `{"petId":8}`), step("pets", "get_pets_petId", `{"petId":9}`), step("pets", "get_pets_petId", `{"petId":13}`),
		step("pets", "plantTree", `{"body":{"name":"oak","branches":[{"name":"twig"}]}}`), step("inward", "get_pets_petId", `{"petId":7}`))

	got := do("pets", "get_pets_petId", `{"petId":7}`, pass.Token).ok(t)
	if !strings.Contains(string(got.Result), `"structuredContent":{"id":7,"name":"Rex"}`) {
		t.Errorf("the result is %s", got.Result)
	}
	if is := api.asked(); is != "GET /v1/pets/7 key="+key {
		t.Errorf("the API was asked %s", is)
	}
	standsInTheLedger(t, g, got.Receipt, "settled", "")

	do("pets", "get_pets_petId", `{"petId":7}`, pass.Token).refused(t, "step_used")
	do("pets", "get_pets_petId", `{"petId":70}`, pass.Token).refused(t, "args_mismatch")
	do("pets", "deletePet", `{"petId":7}`, pass.Token).refused(t, "tool_mismatch")
	do("pets", "get_pets_petId", `{"petId":13}`, pass.Token).refused(t, "policy_denied")
	do("inward", "get_pets_petId", `{"petId":7}`, pass.Token).refused(t, "upstream_unreachable", "upstream_blocked")
	if is := api.asked(); is != "" {
		t.Errorf("the API was asked %s", is)
	}
	if r := do("pets", "get_pets_petId", `{"petId":8}`, pass.Token); !strings.Contains(string(r.Result), "none is followed") || api.asked() != "GET /v1/pets/8 key="+key {
		t.Errorf("a redirect: %s", r)
	}
	if r := do("pets", "get_pets_petId", `{"petId":9}`, pass.Token); r.Result != nil || r.Code == "" {
		t.Errorf("an answer with the key: %s", r)
	}
	if r := do("pets", "plantTree", `{"body":{"name":"oak","branches":[{"name":"twig"}]}}`, pass.Token); !strings.Contains(string(r.Result), `"isError":true`) || !strings.Contains(r.text(), "HTTP 404") {
		t.Errorf("an operation that is not there: %s", r)
	}
	for _, args := range []string{`{"petId":"../admin"}`, `{"petId":7,"admin":true}`, `{}`, `{"petId":[7]}`} {
		if r := send(t, "POST", a.g.URL+"/api/v1/plans", bearer(a.key, ""), `{"goal":"test","steps":[`+step("pets", "get_pets_petId", args)+`]}`); r.Status == http.StatusCreated {
			t.Errorf("%s can be planned", args)
		}
	}
	logs := g.run(t, "", nil, "connector", "logs", "pets")
	if !strings.Contains(logs.out, "GET /elsewhere is left out") || strings.Contains(logs.out, key) {
		t.Errorf("the connector's log says %s %s", logs.out, logs.err)
	}
	for _, r := range all {
		if strings.Contains(r.Body+fmt.Sprint(r.Header), key) {
			t.Errorf("the key is shown: %s", r)
		}
	}
	if strings.Contains(g.Log(), key) {
		t.Error("the key stands in the gateway's log")
	}
	if v := g.verifyLedger(t); v.code != 0 {
		t.Errorf("ledger verify: %+v", v)
	}
}

// TestAnAPIOfTheNewerVersionIsHeldToItsSchemas: the words of OpenAPI 3.1, judged before anything is sent, and written exactly.
func TestAnAPIOfTheNewerVersionIsHeldToItsSchemas(t *testing.T) {
	t.Parallel()
	top, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	api := newPetStore(t)
	g := start(t, Setup{HCL: fmt.Sprintf("server \"orders\" {\n  tenant        = \"demo\"\n  openapi       = %q\n  url           = %q\n  allow_private = true\n}\n",
		filepath.Join(top, "plugins", "openapi", "testdata", "orders.json"), strings.TrimSuffix(api.url, "1")+"2")})
	g.offers(t, "orders", "placeOrder")
	a := g.newAgent(t)
	for _, c := range []struct{ tool, args, asked string }{
		{"searchOrders", `{"filter_state":"open","sort":["-at","sku"],"range":{"from":"1&2=3"}}`, "GET /v2/orders?filter%5Bstate%5D=open&sort=-at,sku&range%5Bfrom%5D=1%262%3D3 key="},
		{"searchOrders", `{"filter_state":null}`, "GET /v2/orders key="},
		{"placeOrder", `{"body":{"items":[{"sku":"a","count":2}],"note":null,"parent":{"items":[{"sku":"b"}],"parent":null}}}`, `POST /v2/orders key= {"items":[{"sku":"a","count":2}],"note":null,"parent":{"items":[{"sku":"b"}],"parent":null}}`},
		{"addNote", `{"id":"a&b?","lang":"en-GB","body":{"text":"a&b=c","tags":["x","y"]}}`, "POST /v2/orders/a%26b%3F/notes/;lang=en-GB key= text=a%26b%3Dc&tags=x&tags=y"},
	} {
		_, pass := a.planned(t, step("orders", c.tool, c.args))
		got := a.call(t, "orders", c.tool, c.args, pass.Token)
		if is := api.asked(); got.Result == nil || strings.Contains(got.text(), "404") || is != c.asked {
			t.Errorf("%s %s: the API was asked\n%s\nand not\n%s\n%s", c.tool, c.args, is, c.asked, got)
		}
		standsInTheLedger(t, g, got.Receipt, "settled", "")
	}
	for _, c := range []struct{ tool, args string }{
		{"searchOrders", `{"filter_state":"sold"}`}, {"searchOrders", `{"sort":["a","b","c","d"]}`}, {"searchOrders", `{"range":{"admin":"1"}}`}, {"searchOrders", `{"limit":1}`},
		{"placeOrder", `{}`}, {"placeOrder", `{"body":null}`}, {"placeOrder", `{"body":{"items":[]}}`}, {"placeOrder", `{"body":{"items":[{"sku":"a","count":0}]}}`},
		{"placeOrder", `{"body":{"items":[{"sku":"a"}],"parent":{"items":[]}}}`}, {"addNote", `{"id":1.5,"lang":"en","body":{"text":"x"}}`}, {"addNote", `{"id":1,"lang":"en","body":{"tags":["x"]}}`},
	} {
		if r := send(t, "POST", g.URL+"/api/v1/plans", bearer(a.key, ""), `{"goal":"test","steps":[`+step("orders", c.tool, c.args)+`]}`); r.Status == http.StatusCreated {
			t.Errorf("%s %s can be planned", c.tool, c.args)
		}
	}
	open := `{"server":"orders","tool":"addNote","uses":0,"where":{"id":{"open":true},"lang":{"open":true},"body":{"open":true}}}`
	_, pass := a.planned(t, open)
	for _, args := range []string{
		`{"id":"../admin","lang":"en","body":{"text":"x"}}`, `{"id":"..","lang":"en","body":{"text":"x"}}`, `{"id":"%2e%2e%2fadmin","lang":"en","body":{"text":"x"}}`, `{"id":"","lang":"en","body":{"text":"x"}}`,
		`{"id":"a","lang":"en/../..","body":{"text":"x"}}`, `{"id":"a","lang":"en","body":{"text":"x","admin":"1"}}`,
	} {
		if r := a.call(t, "orders", "addNote", args, pass.Token); !strings.Contains(string(r.Result), `"isError":true`) || !strings.Contains(r.text(), "the call was not made") || api.asked() != "" {
			t.Errorf("%s: %s", args, r)
		}
	}
}
