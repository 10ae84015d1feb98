package cli_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatewright/gatewright/gateway/cli"
	"github.com/gatewright/gatewright/gateway/cli/tour"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/publish"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// tour runs the command against the shop and looks whether it left anything behind.
func (s *shop) tour(t *testing.T, args ...string) outcome {
	t.Helper()
	h := &house{env: map[string]string{"TERM": "xterm", "LANG": "C.UTF-8"}}
	h.runner.Serve = s.serve(t)
	o := h.run(t, append([]string{"demo"}, args...)...)
	for _, dir := range s.dirs {
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the temporary folder is left: %v", err)
		}
	}
	if len(s.dirs) != 1 {
		t.Errorf("served %d times", len(s.dirs))
	}
	return o
}

func TestTheTourShowsSixActsAndWhatWasVerified(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	s := &shop{}
	o := s.tour(t, "--fast")
	if o.code != 0 || o.errOut != "" {
		t.Fatalf("%+v", o)
	}
	for _, want := range []string{
		"\n1  An allowed step -", "\n   > demo/table_query\n     {\"table\":\"orders\",", "\n     ok identify     11 us  the key of agt_1\n",
		"\n     ok decide       33 us  permitted by work.cedar:3 planned\n", "\n     ok forward     700 us  the tool answered\n", "\n   ok ALLOWED  5 open orders came back\n      record rec_",
		"\n2  A refused argument -", "\n     NO intent       22 us  refused: args_mismatch\n     -- filter              not asked any more\n     -- decide ", "\n   NO REFUSED  no\n",
		"\n3  A step outside the plan -", "refused: tool_mismatch\n", "\n4  A replay -", "refused: step_used\n", "\n5  A filter that redacts -",
		"\n     ok filter        5 us  arguments rewritten by redact@0123456789ab\n", "\n      labels secret:aws\n", "\n   ok ALLOWED  the note reads: deploy with [redacted:aws] tonight\n", "\n   ok ALLOWED  1 note holds the mark",
		"\n     ok filter              result rewritten by redact@0123456789ab\n", "\n6  Everything verified offline -", "\n   ok 7 receipts verified offline",
		"\n   key      gatewright.local/ledger/_instance/main+", "\n   root     ", "of the organisation's 11 records\n",
	} {
		if !strings.Contains(o.out, want) {
			t.Errorf("the tour does not show %q", want)
		}
	}
	if !strings.HasSuffix(o.out, "\n\n7 receipts and 11 records verified offline.\n") {
		t.Error("the last line does not say what was verified")
	}
	for line := range strings.Lines(o.out) {
		if plain := strings.TrimSuffix(line, "\n"); strings.ContainsFunc(plain, func(r rune) bool { return r < ' ' || r > '~' }) || strings.HasSuffix(plain, " ") {
			t.Errorf("not plain text: %q", line)
		} else if len(plain) > 80 && !strings.HasPrefix(plain, "   key ") && !strings.HasPrefix(plain, "   root ") {
			t.Errorf("%d columns: %s", len(plain), plain)
		}
	}
	if t.Failed() {
		t.Log(o.out)
	}
	if !awsKey.MatchString(o.out) {
		t.Error("what was to be hidden is not shown beside what became of it")
	}
}

func TestTheToursGatewaySpeaksOnlyWhenAsked(t *testing.T) {
	if o := (&shop{}).tour(t, "--verbose"); o.code != 0 || o.errOut != "level=WARN msg=chatter\n" {
		t.Errorf("%d %q", o.code, o.errOut)
	}
}

// at makes a lie about one call.
func at(n int, do func(a *reply)) lie {
	return lie{answer: func(i int, a *reply) {
		if i == n {
			do(a)
		}
	}}
}

func TestWhateverIsNotAsItShouldBeEndsTheTour(t *testing.T) {
	secret := result(`{"text":"AKIAIOSFODNN7EXAMPLE [redacted:aws]"}`)
	for _, c := range []struct {
		want string
		lie  lie
	}{
		{"act 1, an allowed step: demo/table_query: the call was refused: policy_denied: no", at(1, func(a *reply) { a.code, a.recorded = "policy_denied", "policy_denied" })},
		{"act 1, an allowed step: demo/table_query: the tool reports an error: boom", at(1, func(a *reply) { a.result = `{"content":[{"type":"text","text":"boom"}],"isError":true}` })},
		{"demo/table_query: the answer lists nothing", at(1, func(a *reply) { a.result = result(`{"rows":[],"total":0}`) })},
		{"demo/table_query: the answer lists nothing", at(1, func(a *reply) { a.result = `{}` })},
		{"act 1, an allowed step: demo/table_query: the ledger says settled withheld", at(1, func(a *reply) { a.outcome = "withheld" })},
		{"the ledger names no policy that permitted it", at(1, func(a *reply) { a.policies = nil })},
		{"the ledger says that it was step 1 of plan pln_1", at(1, func(a *reply) { a.step = 1 })},
		{"the ledger does not hold that the call was let out", lie{items: func(items []map[string]any) { rename(items, ledger.Admitted) }}},
		{"the ledger does not hold the record of the receipt", lie{items: func(items []map[string]any) { rename(items, ledger.Settled) }}},
		{"the ledger does not hold the record of the receipt", lie{items: func(items []map[string]any) { retell(items, ledger.Settled) }}},
		{"the receipt is about other arguments", at(1, func(a *reply) { a.forwarded = "{}" })},
		{"act 1, an allowed step: demo/table_query: no receipt came", at(1, func(a *reply) { a.receipt = "none" })},
		{"act 1, an allowed step: demo/table_query: the receipt is none", at(1, func(a *reply) { a.receipt = "AAAA" })},
		{"act 2, a refused argument: demo/mail_send: the call went through, and should have been refused with args_mismatch", at(2, func(a *reply) { a.code = ""; a.result = result(`{}`) })},
		{"act 2, a refused argument: demo/mail_send: the call was refused with policy_denied, and should have been with args_mismatch", at(2, func(a *reply) { a.code = "policy_denied" })},
		{"act 2, a refused argument: demo/mail_send: the ledger says refused policy_denied", at(2, func(a *reply) { a.recorded = "policy_denied" })},
		{"act 2, a refused argument: demo/mail_send: the ledger holds that the call was let out", at(2, func(a *reply) { a.letOut = true })},
		{"act 2, a refused argument: demo/mail_send: no receipt came", at(2, func(a *reply) { a.receipt = "none" })},
		{"act 2, a refused argument: demo/mail_send: the receipt is about rec_", at(2, func(a *reply) { a.receipt = "other" })},
		{"act 3, a step outside the plan: demo/mail_outbox: the call went through", at(3, func(a *reply) { a.code = ""; a.result = result(`{}`) })},
		{"act 3, a step outside the plan: demo/mail_outbox: the call was refused with not_available", at(3, func(a *reply) { a.code = "not_available" })},
		{"act 4, a replay: demo/table_query: the call went through", at(4, func(a *reply) { a.code = ""; a.result = result(`{"total":5}`) })},
		{"act 4, a replay: demo/table_query: the call was refused with plan_inactive", at(4, func(a *reply) { a.code = "plan_inactive" })},
		{"act 5, a filter that redacts: demo/notes_add: the call was refused: filter_failed", at(5, func(a *reply) { a.code, a.recorded = "filter_failed", "filter_failed" })},
		{"act 5, a filter that redacts: demo/notes_add: there is no [redacted:KIND] in the answer", at(5, func(a *reply) { a.result = result(`{}`) })},
		{"act 5, a filter that redacts: demo/notes_add: the record does not carry the label secret:aws", at(5, func(a *reply) { a.labels = []string{"secret:gcp"} })},
		{"act 5, a filter that redacts: demo/notes_add: the record is about the arguments as they were sent", at(5, func(a *reply) { a.forwarded = a.sent })},
		{"act 5, a filter that redacts: demo/notes_search: the answer lists nothing", at(6, func(a *reply) { a.result = result(`{"notes":[],"total":0}`) })},
		{"act 5, a filter that redacts: demo/page_fetch: the secret came back as it is", at(7, func(a *reply) { a.result = secret })},
		{"act 5, a filter that redacts: demo/page_fetch: there is no [redacted:KIND]", at(7, func(a *reply) { a.result = result(`{"text":"key ..."}`) })},
		{"act 5, a filter that redacts: demo/page_fetch: the record does not carry the label", at(7, func(a *reply) { a.late = nil })},
		{"act 6, everything verified offline: receipt of rec_", at(3, func(a *reply) { a.receipt = "forged" })},
		{"the plan: 3 steps were captured, want 5", lie{plan: func(p map[string]any) { p["steps"] = p["steps"].([]map[string]any)[:3] }}},
		{"the plan: answer is not a gateway's", lie{plan: func(p map[string]any) { delete(p, "root") }}},
		{"read the ledger: record 0: it is not in its place", lie{items: func(items []map[string]any) { tweak(items, "index", 7) }}},
		{"read the ledger: record 0: it is not in its place, or not the one whose hash", lie{items: func(items []map[string]any) { tweak(items, "leaf", strings.Repeat("0", 64)) }}},
		{"start a gateway: listen: taken by another", lie{start: func(cli.ServeOptions) error { return coded{errors.New("listen: taken by another")} }}},
		{"start a gateway: it ended before it was ready", lie{start: func(cli.ServeOptions) error { return nil }}},
		{"start a gateway: read demo.env", lie{env: func(string) string { return "" }}},
		{"start a gateway: demo.env and the ready line name different addresses", lie{line: func(s string) string {
			return strings.Replace(s, "listen=http://127.0.0.1:", "listen=http://127.0.0.2:", 1)
		}}},
		{"start a gateway: API key", lie{env: func(s string) string { return strings.ReplaceAll(s, runtimeKey, "") }}},
		{"the plan: unauthenticated", lie{env: func(s string) string { return strings.Replace(s, runtimeKey, "ak_test_other", 1) }}},
		{"act 1, an allowed step: demo/table_query: read the ledger: not_found", lie{env: func(s string) string { return strings.Replace(s, adminKey, "ak_test_other", 1) }}},
		{"act 3, a step outside the plan: demo/mail_outbox: gateway cannot be reached", lie{during: func(n int, s *shop) {
			if n == 3 {
				go s.shut()
				panic(http.ErrAbortHandler)
			}
		}}},
		{"the gateway ended: the disk is full", lie{end: errors.New("the disk is full")}},
		{"act 6, everything verified offline: verify ledger", lie{after: func(t *testing.T, data string) {
			changeOneByte(t, filepath.Join(data, "ledger"), []byte("tool_mismatch"))
		}}},
		{"act 6, everything verified offline: the ledger's signatures or its chain could not be checked", lie{after: func(t *testing.T, data string) { remove(t, data, "keys/ledger.k0") }}},
		{"act 6, everything verified offline: the ledger holds 0 records of the organisation, and 11 were shown", lie{after: emptied}},
		{"act 6, everything verified offline: only 0 of 11 records of the organisation are under", lie{after: func(t *testing.T, data string) { remove(t, data, "ledger/demo/checkpoint") }}},
		{"act 6, everything verified offline: read the public key", lie{after: func(t *testing.T, data string) { remove(t, data, "keys/ledger.pub") }}},
		{"act 6, everything verified offline: receipt of rec_", lie{after: func(t *testing.T, data string) { swap(t, data) }}},
	} {
		s := &shop{lie: c.lie}
		o := s.tour(t, "--fast")
		lines := strings.Split(strings.TrimSuffix(o.errOut, "\n"), "\n")
		if o.code != 1 || !strings.HasPrefix(lines[0], "gatewright: demo: ") || !strings.Contains(lines[0], c.want) || len(lines) != 2 || !strings.HasPrefix(lines[1], "hint: ") {
			t.Errorf("want %q, got exit %d\n%s", c.want, o.code, o.errOut)
		}
		if strings.Contains(o.out, "verified offline.\n") {
			t.Errorf("%s: the tour says that everything is verified", c.want)
		}
	}
}

func tweak(items []map[string]any, name string, value any) {
	for _, i := range items {
		i[name] = value
	}
}

// rename gives the records of a kind other ids, with the hashes that then are right.
func rename(items []map[string]any, kind ledger.Kind) {
	alter(items, kind, func(r *ledger.Record) { r.ID, _ = ledger.NewID(time.Now(), rand.Reader) })
}

// retell changes what the records of a kind say, with the hashes that then are right.
func retell(items []map[string]any, kind ledger.Kind) {
	alter(items, kind, func(r *ledger.Record) { r.Detail = "all was well" })
}

func alter(items []map[string]any, kind ledger.Kind, do func(r *ledger.Record)) {
	for _, i := range items {
		r, err := ledger.ParseRecord(i["record"].(json.RawMessage))
		if err == nil && r.Kind == kind {
			do(&r)
			i["record"] = json.RawMessage(r.AppendJSON(nil))
			i["leaf"] = merkle.LeafHash(r.AppendJSON(nil))
		}
	}
}

func remove(t *testing.T, data, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(data, filepath.FromSlash(name))); err != nil {
		t.Error(err)
	}
}

// emptied puts a ledger in place that is as good, under the same key, and knows of nothing.
func emptied(t *testing.T, data string) {
	t.Helper()
	if err := errors.Join(os.RemoveAll(filepath.Join(data, "ledger")), os.RemoveAll(filepath.Join(data, "keys"))); err != nil {
		t.Error(err)
	}
	s := &shop{}
	if err := s.open(t, data); err != nil {
		t.Error(err)
	} else if err := s.log.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

// swap puts another gateway's public key in place.
func swap(t *testing.T, data string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(data, "keys", "ledger.pub"), []byte(otherPin(t)+"\n"), 0o600); err != nil {
		t.Error(err)
	}
}

func TestASecretThatWentOnToTheToolEndsTheTour(t *testing.T) {
	s := &shop{}
	s.answer = func(n int, a *reply) { // redacted in the answer alone
		if n == 5 {
			a.forwarded = strings.Replace(s.kept, redactedKey, "AKIAAAAAAAAAAAAAAAAA", 1)
			s.kept = ""
		}
	}
	if o := s.tour(t, "--fast"); o.code != 1 || !strings.Contains(o.errOut, "demo/notes_search: the answer lists nothing") {
		t.Errorf("%d %s", o.code, o.errOut)
	}
	s = &shop{}
	sent := ""
	s.during = func(n int, s *shop) { sent = s.kept }
	s.answer = func(n int, a *reply) {
		if n == 5 {
			a.labels, a.late = nil, []string{"secret:aws"} // no filter says that it changed the arguments, and they are others
		}
	}
	if o := s.tour(t, "--fast"); o.code != 1 || !strings.Contains(o.errOut, "no filter says that it changed them") || sent == "" {
		t.Errorf("%d %s", o.code, o.errOut)
	}
}

func TestATourThatIsInterruptedCleansUp(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	ctx, cancel := context.WithCancel(t.Context())
	s := &shop{lie: lie{during: func(n int, _ *shop) {
		if n == 2 {
			cancel()
		}
	}}}
	var out, errOut bytes.Buffer
	code := cli.Run(ctx, []string{"demo", "--fast"}, strings.NewReader(""), &out, &errOut, cli.Runner{Serve: s.serve(t), Getenv: func(string) string { return "" }})
	if code != 1 || errOut.String() != "gatewright: demo: interrupted\n" || len(s.dirs) != 1 {
		t.Errorf("exit %d: %s", code, &errOut)
	}
	if _, err := os.Stat(s.dirs[0]); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the temporary folder is left: %v", err)
	}
	if o := (&house{}).run(t, "demo"); o.code != 1 {
		t.Errorf("without a gateway: %+v", o)
	}
}

// full takes what comes before a text, and no more.
type full struct {
	text string
	over bool
	err  error
}

func (f *full) Write(b []byte) (int, error) {
	if f.over = f.over || strings.Contains(string(b), f.text); f.over {
		return 0, f.err
	}
	return len(b), nil
}

func TestATourThatNobodyCanReadFails(t *testing.T) {
	for _, text := range []string{"GATEWRIGHT", "REFUSED", "receipts and"} {
		s, errOut := &shop{}, &bytes.Buffer{}
		code := cli.Run(t.Context(), []string{"demo"}, strings.NewReader(""), &full{text: text, err: syscall.ENOSPC}, errOut, cli.Runner{Serve: s.serve(t), Getenv: func(string) string { return "" }})
		if code != 1 || !strings.Contains(errOut.String(), "print: no space left") || !strings.Contains(errOut.String(), "hint: standard output") {
			t.Errorf("before %q: exit %d: %s", text, code, errOut)
		}
	}
}

func TestATourWhoseReaderHasGoneIsSilent(t *testing.T) {
	s, errOut := &shop{}, &bytes.Buffer{}
	code := cli.Run(t.Context(), []string{"demo"}, strings.NewReader(""), &full{text: "REFUSED", err: &os.PathError{Op: "write", Path: "stdout", Err: syscall.EPIPE}}, errOut,
		cli.Runner{Serve: s.serve(t), Getenv: func(string) string { return "" }})
	if code != 1 || errOut.Len() > 0 {
		t.Errorf("exit %d: %s", code, errOut)
	}
	s = &shop{lie: lie{end: fmt.Errorf("its ledger: %w", syscall.EPIPE)}} // this pipe is another
	if o := s.tour(t, "--fast"); o.code != 1 || !strings.Contains(o.errOut, "hint: gatewright demo --verbose") {
		t.Errorf("%+v", o)
	}
}

func TestATourWithoutAFolderSaysWhereItLooked(t *testing.T) {
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "nowhere"))
	h := &house{env: map[string]string{}}
	h.runner.Serve = func(context.Context, cli.ServeOptions) error { return errors.New("served") }
	h.fails(t, 1, "demo: temporary folder: make it: ", "demo")
	if o := h.run(t, "demo"); !strings.Contains(o.errOut, "hint: the tour writes to a temporary folder: TMPDIR") {
		t.Errorf("%+v", o)
	}
}

func TestTheTourUsesWhatATerminalCanShow(t *testing.T) {
	s, out, waited := &shop{}, &bytes.Buffer{}, time.Duration(0)
	serve := s.serve(t)
	err := tour.Run(t.Context(), tour.Options{
		Serve: func(ctx context.Context, g tour.Gateway) error {
			return serve(ctx, cli.ServeOptions{Alone: true, Config: g.Config, Data: g.Data, Listen: "127.0.0.1:0", Control: "127.0.0.1:0", Stdout: g.Stdout, Stderr: g.Stderr})
		},
		Verify: func(ctx context.Context, data string) (wal.Report, error) {
			pins, err := os.ReadFile(filepath.Join(data, "keys", "ledger.pub"))
			if err != nil {
				return wal.Report{}, err
			}
			keys, err := ledger.ParseVerifierKeys(pins)
			if err != nil {
				return wal.Report{}, err
			}
			k0, err := os.ReadFile(filepath.Join(data, "keys", "ledger.k0"))
			if err != nil {
				return wal.Report{}, err
			}
			_, first, err := wal.ParseChainKey(k0)
			if err != nil {
				return wal.Report{}, err
			}
			return publish.Verify(ctx, filepath.Join(data, "ledger"), publish.VerifyOptions{Keys: keys, K0: first})
		},
		Out: out, Log: io.Discard, Style: tour.Style{Colour: true, Unicode: true}, Now: time.Now, Rand: rand.Reader,
		Pause: func(_ context.Context, d time.Duration) { waited += d },
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\x1b[1;32m\u2713 \x1b[0m \x1b[1;32mALLOWED\x1b[0m  5 open", "\x1b[1;31m\u2717 \x1b[0m \x1b[1;31mREFUSED\x1b[0m", "\x1b[2m\u00b7 \x1b[0m \x1b[2mdecide"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if waited < 10*time.Second || waited > 40*time.Second {
		t.Errorf("it pauses for %s", waited)
	}
}
