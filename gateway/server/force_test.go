package server_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gatewright/gatewright/gateway/pipeline"
	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
)

// module is a filter that answers every request with one text, and every result with the other, if there is one.
func module(request, result string) []byte {
	uleb := func(n int) []byte { return binary.AppendUvarint(nil, uint64(n)) }
	sleb := func(op byte, n int64) []byte {
		for b := []byte{op}; ; n >>= 7 {
			if n < 0x40 {
				return append(b, byte(n))
			}
			b = append(b, byte(n&0x7f)|0x80)
		}
	}
	name := func(s string) []byte { return append(uleb(len(s)), s...) }
	section := func(id byte, entries ...[]byte) []byte {
		b := append(uleb(len(entries)), bytes.Join(entries, nil)...)
		return slices.Concat([]byte{id}, uleb(len(b)), b)
	}
	code := func(body []byte) []byte {
		b := slices.Concat([]byte{0}, body, []byte{0x0b})
		return append(uleb(len(b)), b...)
	}
	export := func(s string, kind byte, i int) []byte { return slices.Concat(name(s), []byte{kind}, uleb(i)) }
	answer := func(at int64, text string) []byte { return code(sleb(0x42, at<<32|int64(len(text)))) }
	data := func(at int64, text string) []byte {
		return slices.Concat([]byte{0}, sleb(0x41, at), []byte{0x0b}, name(text))
	}
	exports := [][]byte{export("gw_abi_1", 0, 0), export("gw_alloc", 0, 1), export("gw_decide", 0, 2), export("memory", 2, 0)}
	if result != "" {
		exports = append(exports, export("gw_on_response", 0, 3))
	}
	return slices.Concat([]byte("\x00asm\x01\x00\x00\x00"),
		section(1, []byte{0x60, 0, 0}, []byte{0x60, 1, 0x7f, 1, 0x7f}, []byte{0x60, 2, 0x7f, 0x7f, 1, 0x7e}),
		section(3, []byte{0}, []byte{1}, []byte{2}, []byte{2}), section(5, []byte{0, 1}), section(7, exports...),
		section(10, code(nil), code(sleb(0x41, 32<<10)), answer(1024, request), answer(2048, result)),
		section(11, data(1024, request), data(2048, result)),
	)
}

// uploaded hands a filter in and returns its digest.
func (r *running) uploaded(name string, module []byte) string {
	r.t.Helper()
	r.control("POST", "/api/v1/filters/"+name+"/push", r.env["GATEWRIGHT_ADMIN_KEY"], `{"module":"`+base64.StdEncoding.EncodeToString(module)+`"}`, 200, nil)
	var f struct{ Versions []struct{ Digest string } }
	r.control("GET", "/api/v1/filters/"+name, r.env["GATEWRIGHT_ADMIN_KEY"], "", 200, &f)
	if len(f.Versions) == 0 {
		r.t.Fatal("the filter was not taken")
	}
	return f.Versions[0].Digest
}

// revision hands a bundle in with these filters, each a name and a digest.
func (r *running) revision(cedar string, filters ...string) int {
	r.t.Helper()
	var entries []string
	for i := 0; i < len(filters); i += 2 {
		entries = append(entries, fmt.Sprintf(`{"name":%q,"digest":%q}`, filters[i], filters[i+1]))
	}
	files, err := json.Marshal(map[string]map[string]string{"files": {
		"own.cedar": cedar, "schema.cedarschema": "type Scores = { risk?: Long };",
		"manifest.json": `{"format":1,"name":"demo","version":1,"filters":[` + strings.Join(entries, ",") + `]}`,
	}})
	if err != nil {
		r.t.Fatal(err)
	}
	var v struct{ Number int }
	r.control("POST", "/api/v1/policies/revisions", r.env["GATEWRIGHT_ADMIN_KEY"], string(files), 201, &v)
	return v.Number
}

// token is one for any number of calls of a tool without arguments.
func (r *running) token(tool string) string {
	r.t.Helper()
	c := r.agent(r.env["GATEWRIGHT_API_KEY"])
	p, err := c.Plan(r.t.Context(), fmt.Appendf(nil, `{"goal":"test","steps":[{"server":"files","tool":%q,"args":{},"uses":0}]}`, tool))
	if err != nil {
		r.t.Fatal(err)
	}
	token, err := c.Token(r.t.Context(), p.ID, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	return token.Token
}

func (r *running) asked(tool, token string) (*gatewright.Result, error) {
	return r.agent(r.env["GATEWRIGHT_API_KEY"]).Call(context.Background(), gatewright.Call{Server: "files", Tool: tool, Args: json.RawMessage(`{}`), Token: token})
}

// code is the code of a refusal, "" of none.
func code(t *testing.T, err error) string {
	t.Helper()
	var d *gatewright.Error
	if err != nil && !errors.As(err, &d) {
		t.Fatalf("%v is no refusal", err)
	}
	if d == nil {
		return ""
	}
	return d.Code
}

const (
	noEcho  = everything + `forbid (principal, action == Action::"files___echo", resource);`
	unless  = everything + `forbid (principal, action == Action::"files___echo", resource) when { context.filters.labels.contains("secret") };`
	vetted  = everything + `forbid (principal, action == Action::"files___echo", resource) unless { context.filters.labels.contains("secret") && context.filters.scores has risk && context.filters.scores.risk > 600 };`
	plainly = everything + `forbid (principal, action == Action::"files___echo", resource) unless { context.filters.labels.contains("plain") };`
	secret  = `{"verdict":"pass","labels":["secret"],"scores":{"risk":700}}`
	plain   = `{"verdict":"pass","labels":["plain"]}`
)

// TestACallIsJudgedByOneRevision: another one comes into force between its filters and its policies.
func TestACallIsJudgedByOneRevision(t *testing.T) {
	t.Parallel()
	b := newBehind(t)
	o, out, log := options(t, b.serving)
	r := run(t, o, out, log)
	var next atomic.Int64
	r.g.Before("decide", func(c *pipeline.Call) {
		if n := next.Swap(0); n != 0 && c.Op == "tools/call" {
			r.activated(int(n), `"enforce"`)
		}
	})
	guard := r.uploaded("guard", module(secret, ""))
	r.activated(r.pushed(everything), `"enforce"`)
	token := r.token("echo")
	for name, c := range map[string]struct{ before, after, want int }{
		"a permit that neither gives":  {r.revision(noEcho), r.revision(unless, "guard", guard), 403},
		"a refusal that neither gives": {r.revision(everything), r.revision(vetted, "guard", guard), 200},
	} {
		for _, way := range [][2]int{{c.before, c.after}, {c.after, c.before}} {
			r.activated(way[0], `"enforce"`)
			if _, err := r.asked("echo", token); (err == nil) != (c.want == 200) {
				t.Fatalf("%s: alone revision %d says %v", name, way[0], err)
			}
			next.Store(int64(way[1]))
			if _, err := r.asked("echo", token); (err == nil) != (c.want == 200) || next.Load() != 0 {
				t.Errorf("%s: from %d to %d: %v", name, way[0], way[1], err)
			}
		}
	}
}

// TestAListIsOfOneRevision: it shows what the policies permit that permitted it.
func TestAListIsOfOneRevision(t *testing.T) {
	t.Parallel()
	b := newBehind(t)
	o, out, log := options(t, b.serving)
	r := run(t, o, out, log)
	var next atomic.Int64
	r.g.Before("rates", func(c *pipeline.Call) { // policy has answered whether there may be a list
		if n := next.Swap(0); n != 0 && c.Op == "tools/list" {
			r.activated(int(n), `"enforce"`)
		}
	})
	all, one := r.pushed(everything), r.revision(noEcho)
	for _, c := range []struct {
		before, after int
		want          string
	}{{all, one, "echo slow"}, {one, all, "slow"}} {
		r.activated(c.before, `"enforce"`)
		next.Store(int64(c.after))
		if got := r.tools(r.env["GATEWRIGHT_API_KEY"]); got != c.want || next.Load() != 0 {
			t.Errorf("from %d to %d: %q, want %q", c.before, c.after, got, c.want)
		}
	}
}

// TestAResultPassesTheFiltersThatItsCallPassed, whatever came into force while the call was out: they are kept open so long.
func TestAResultPassesTheFiltersThatItsCallPassed(t *testing.T) {
	t.Parallel()
	b := newBehind(t)
	o, out, log := options(t, b.serving)
	r := run(t, o, out, log)
	guard := r.uploaded("guard", module(plain, `{"verdict":"deny","reason":"seen"}`))
	with, without := r.revision(everything, "guard", guard), r.revision(everything)
	r.activated(without, `"enforce"`)
	token := r.token("slow")
	for _, c := range []struct {
		before, after int
		want          string
	}{{with, without, "reply_withheld"}, {without, with, ""}} {
		r.activated(c.before, `"enforce"`)
		done := make(chan error, 1)
		go func() {
			_, err := r.asked("slow", token)
			done <- err
		}()
		<-b.started
		r.activated(c.after, `"enforce"`)
		b.release <- struct{}{}
		if got := code(t, <-done); got != c.want {
			t.Errorf("from %d to %d: %q, want %q", c.before, c.after, got, c.want)
		}
	}
}

// TestFiltersAreRolledBackWithTheirPolicies: labels and scores of a filter reach its bundle's policies, and nobody else's, while
// callers never stop. Each of the two bundles refuses what the other's filter makes of a call.
func TestFiltersAreRolledBackWithTheirPolicies(t *testing.T) {
	t.Parallel()
	b := newBehind(t)
	o, out, log := options(t, b.serving)
	r := run(t, o, out, log)
	first, second := r.uploaded("guard", module(secret, "")), r.uploaded("guard", module(plain, ""))
	r.activated(r.pushed(everything), `"enforce"`)
	token := r.token("echo")
	for cedar, digest := range map[string]string{vetted: second, plainly: first} {
		r.activated(r.revision(cedar, "guard", digest), `"enforce"`)
		if _, err := r.asked("echo", token); code(t, err) != "policy_denied" {
			t.Errorf("a filter that labels otherwise: %v", err)
		}
	}
	r.activated(r.revision(vetted, "guard", first), `"enforce"`)
	next := r.revision(plainly, "guard", second)
	ctx, stop := context.WithCancel(t.Context())
	var calls, failed atomic.Int64
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for ctx.Err() == nil {
				if _, err := r.asked("echo", token); err != nil {
					failed.Add(1)
					t.Error(err)
				}
				calls.Add(1)
			}
		})
	}
	for i := range 20 {
		before := calls.Load()
		want := uint64(1 + (i+1)%2)
		if want == 2 {
			r.activated(next, `"enforce"`)
		} else {
			r.control("POST", "/api/v1/policies/rollback", r.env["GATEWRIGHT_ADMIN_KEY"], "", 200, nil)
		}
		var f struct{ Enforced struct{ Version uint64 } }
		if r.control("GET", "/api/v1/filters/guard", r.env["GATEWRIGHT_ADMIN_KEY"], "", 200, &f); f.Enforced.Version != want {
			t.Errorf("version %d is in force, want %d", f.Enforced.Version, want)
		}
		until(t, "calls go on", func() bool { return calls.Load() > before+4 })
	}
	stop()
	all.Wait()
	if failed.Load() != 0 {
		t.Errorf("%d of %d calls failed over 20 swaps", failed.Load(), calls.Load())
	}
	t.Logf("%d calls over 20 swaps, %d failed", calls.Load(), failed.Load())
}

// TestWhatIsInForceIsTakenWhole: engine and filters of one bundle, while they change without a pause, and nothing that could pass
// once the gateway has closed.
func TestWhatIsInForceIsTakenWhole(t *testing.T) {
	t.Parallel()
	b := newBehind(t)
	o, out, log := options(t, b.serving)
	r := run(t, o, out, log)
	bare := r.g.Force("nobody") // a tenant without a bundle is refused everything, by an engine that is not there
	if bare.Filters.Release(); bare.Engine != nil || bare.Err != nil {
		t.Errorf("%+v", bare)
	}
	with, without := r.revision(everything, "guard", r.uploaded("guard", module(plain, ""))), r.revision(noEcho)
	r.activated(with, `"enforce"`)
	first := r.g.Force("demo")
	defer first.Filters.Release()
	var over atomic.Bool
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			for !over.Load() {
				now := r.g.Force("demo")
				if now.Err != nil || (len(now.Filters.Units) > len(first.Filters.Units)-1) != (now.Engine.Digest() == first.Engine.Digest()) {
					t.Errorf("%d filters beside bundle %s, %v", len(now.Filters.Units), now.Engine.Digest(), now.Err)
				}
				now.Filters.Release()
			}
		})
	}
	for range 10 {
		r.activated(without, `"enforce"`)
		r.activated(with, `"enforce"`)
	}
	over.Store(true)
	all.Wait()
	last := r.g.Force("demo")
	last.Filters.Release()
	first.Filters.Release()
	first.Filters = nil
	r.stop()
	if now := r.g.Force("demo"); now.Err == nil || now.Filters != nil {
		t.Errorf("of a gateway that has closed: %+v", now)
	}
}

// TestAFilterThatNoCallCanReachSaysSo: a misspelled server would otherwise leave calls unfiltered without a word.
func TestAFilterThatNoCallCanReachSaysSo(t *testing.T) {
	t.Parallel()
	b := newBehind(t)
	o, out, log := options(t, b.serving)
	r := run(t, o, out, log)
	r.uploaded("guard", module(plain, ""))
	r.activated(r.pushed(everything), `"enforce"`)
	until(t, "the server's tools are known", func() bool {
		_, err := r.agent(r.env["GATEWRIGHT_API_KEY"]).Plan(t.Context(), []byte(`{"goal":"test","steps":[{"server":"files","tool":"echo","args":{}}]}`))
		return err == nil
	})
	for where, want := range map[string]string{
		`{"servers":["docs"]}`:                     `no server fits ["docs"] (there are: files)`,
		`{"servers":["fil*"],"tools":["nothing"]}`: `no tool fits ["nothing"] (there are: echo, slow)`,
		`{"servers":["fil*"],"tools":["ec*"]}`:     "",
		`{"servers":["*"],"tools":["*"]}`:          "",
	} {
		var got struct {
			Direction string
			Warnings  []string
		}
		r.control("POST", "/api/v1/filters/guard/versions/1/activate", r.env["GATEWRIGHT_ADMIN_KEY"], where, 200, &got)
		if text := strings.Join(got.Warnings, ""); got.Direction != "request" || !strings.HasPrefix(text, want) || want == "" && text != "" {
			t.Errorf("%s: %+v", where, got)
		}
	}
}
