package conformance_test

import (
	"archive/zip"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// exported is an export as the command wrote it.
type exported struct {
	g    *Gateway
	file string
	key  string // pinned public key
}

// export runs `gatewright ledger export` into a file of the test's own.
func (g *Gateway) export(t testing.TB, format string, more ...string) exported {
	t.Helper()
	e := exported{g, filepath.Join(t.TempDir(), "export.zip"), filepath.Join(g.Dir, "keys", "ledger.pub")}
	var r ran
	waitFor(t, "a published checkpoint", func() bool {
		r = g.run(t, "", nil, append([]string{"ledger", "export", "--format", format, "--out", e.file}, more...)...)
		return r.code == 0 || !strings.Contains(r.err, "busy")
	})
	if r.code != 0 || strings.TrimSpace(r.out) != e.file {
		t.Fatalf("export as %s: %+v", format, r)
	}
	return e
}

func (e exported) verify(t testing.TB, file string) ran {
	t.Helper()
	return e.g.run(t, "", []string{"GATEWRIGHT_URL=", "GATEWRIGHT_CONTROL_URL="}, "verify", file, "--key", e.key)
}

// files unpacks the export.
func (e exported) files(t testing.TB) (names []string, content map[string][]byte) {
	t.Helper()
	z, err := zip.OpenReader(e.file)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	content = map[string][]byte{}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		names, content[f.Name] = append(names, f.Name), b
	}
	return names, content
}

// tampered writes a copy with one file changed.
func (e exported) tampered(t testing.TB, name, old, with string) string {
	t.Helper()
	names, content := e.files(t)
	if !bytes.Contains(content[name], []byte(old)) {
		t.Fatalf("%s has no %q", name, old)
	}
	content[name] = bytes.Replace(content[name], []byte(old), []byte(with), 1)
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, n := range names {
		w, err := z.Create(n)
		if err == nil {
			_, err = w.Write(content[n])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "tampered.zip")
	if err := os.WriteFile(file, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// busy keeps calling tools until it is stopped.
func (a agent) busy(t *testing.T) (stop func()) {
	t.Helper()
	_, tok := a.planned(t, step("demo", "calculate", expression(1), `"uses":10000`))
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				a.call(t, "demo", "calculate", expression(1), tok.Token).ok(t)
			}
		}
	})
	return sync.OnceFunc(func() { close(done); wg.Wait() })
}

func TestExportsOfAGatewayUnderTrafficVerifyOfflineAndTamperedCopiesDoNot(t *testing.T) {
	t.Parallel()
	g := start(t, Setup{})
	a := g.newAgent(t)
	stop := a.busy(t)
	defer stop()
	a.call(t, "demo", "calculate", expression(2), "").refused(t, "intent_required")
	stranger := start(t, Setup{})
	for _, format := range []string{"jsonl", "csv", "pdf", "ai-identity"} {
		for _, filter := range [][]string{nil, {"--agent", a.id}, {"--kind", "refused"}, {"--from-index", "3", "--to-index", "9"}, {"--since", "24h", "--agent", a.id, "--tool", "calculate"}} {
			e := g.export(t, format, filter...)
			if v := e.verify(t, e.file); v.code != 0 || !strings.HasPrefix(v.out, "verified: ") || strings.Contains(v.out, "verified: 0 ") {
				t.Errorf("%s %v: %+v", format, filter, v)
			}
			e.key = filepath.Join(stranger.Dir, "keys", "ledger.pub")
			if v := e.verify(t, e.file); v.code != 1 {
				t.Errorf("%s %v under another gateway's key: %+v", format, filter, v)
			}
		}
	}
	e := g.export(t, "csv", "--agent", a.id)
	for name, file := range map[string]string{
		"a record":       e.tampered(t, "records.jsonl", a.id, "agt_00000000000000000000000000"),
		"the table":      e.tampered(t, "records.csv", "allow", "deny"),
		"the manifest":   e.tampered(t, "manifest.json", a.id, "agt_00000000000000000000000000"),
		"the checkpoint": e.tampered(t, "checkpoint", "/ledger/demo/", "/ledger/demi/"),
		"the proof":      e.tampered(t, "proof", "multiproof/v1", "multiproof/v2"),
		"the signature":  e.tampered(t, "manifest.sig", "export/v1", "export/v2"),
	} {
		if v := e.verify(t, file); v.code != 1 || v.out != "" {
			t.Errorf("%s changed: %+v", name, v)
		}
	}
	whole, err := os.ReadFile(e.file)
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(t.TempDir(), "cut.zip")
	if err := os.WriteFile(cut, whole[:len(whole)-1], 0o600); err != nil {
		t.Fatal(err)
	}
	if v := e.verify(t, cut); v.code != 1 {
		t.Errorf("cut short: %+v", v)
	}
}

func TestWhatAnExportShowsIsWhatTheLedgerHolds(t *testing.T) {
	t.Parallel()
	g := start(t, Setup{})
	a := g.newAgent(t)
	_, tok := a.planned(t, step("demo", "calculate", expression(1)))
	done := a.call(t, "demo", "calculate", expression(1), tok.Token)
	done.ok(t)
	e := g.export(t, "csv")
	waitFor(t, "the call in a published checkpoint", func() bool {
		e = g.export(t, "csv")
		_, files := e.files(t)
		return bytes.Contains(files["records.jsonl"], []byte(done.Record))
	})
	_, files := e.files(t)
	all := g.ledger(t, g.Admin())
	lines := bytes.Split(bytes.TrimSpace(files["records.jsonl"]), []byte("\n"))
	rows, err := csv.NewReader(bytes.NewReader(files["records.csv"])).ReadAll()
	if err != nil || len(rows) != len(lines)+1 {
		t.Fatalf("%d rows and %d records, %v", len(rows), len(lines), err)
	}
	for i, line := range lines {
		var l struct {
			Index int
			Leaf  json.RawMessage
		}
		if err := json.Unmarshal(line, &l); err != nil || l.Index != i || string(l.Leaf) != all[i].Raw {
			t.Errorf("line %d is %s, the ledger holds %s", i, line, all[i].Raw)
		}
	}
	if v := e.verify(t, e.file); !strings.Contains(v.out, "no record in the range is missing") {
		t.Errorf("%+v", v)
	}
	// The export is itself on record, with the digest of its manifest.
	found := false
	for _, r := range g.ledger(t, g.Admin()) {
		found = found || r.Of != "" && strings.Contains(r.Raw, `"op":"export-records"`) && strings.Contains(r.Raw, `"sha256":"`)
	}
	if !found {
		t.Error("no record names an export's digest")
	}
}

func TestASubjectsExportOpensItsArgumentsUntilTheyAreErased(t *testing.T) {
	t.Parallel()
	g := start(t, Setup{})
	a := g.newAgent(t)
	_, tok := a.planned(t, step("demo", "calculate", expression(1)))
	done := a.call(t, "demo", "calculate", expression(1), tok.Token)
	done.ok(t)
	waitFor(t, "the call in a subject's export", func() bool {
		e := g.export(t, "jsonl", "--subject", a.id)
		_, files := e.files(t)
		if v := e.verify(t, e.file); v.code != 0 {
			t.Fatalf("%+v", v)
		}
		return strings.Contains(string(files["opened.jsonl"]), strings.Trim(toText(t, expression(1)), `"`))
	})
}

// toText is a JSON text as it stands inside another one.
func toText(t *testing.T, s string) string {
	t.Helper()
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestAbsenceIsProvedOrNotAndAChangedProofIsRefused(t *testing.T) {
	t.Parallel()
	g := start(t, Setup{})
	a := g.newAgent(t)
	other := g.newAgent(t)
	stop := a.busy(t)
	g.export(t, "jsonl", "--agent", a.id, "--tool", "calculate") // there is a checkpoint
	stop()
	prove := func(agent, tool string) (string, ran) {
		file := filepath.Join(t.TempDir(), "absence.jsonl")
		if r := g.run(t, "", nil, "ledger", "absence", "--agent", agent, "--tool", tool, "--out", file); r.code != 0 {
			t.Fatalf("%+v", r)
		}
		return file, g.run(t, "", nil, "verify", file, "--data", g.Dir)
	}
	file, v := prove(other.id, "calculate")
	if v.code != 0 || !strings.HasPrefix(v.out, "PROVED: ") || !strings.Contains(v.out, "not proved: ") {
		t.Errorf("another agent: %+v", v)
	}
	if _, v := prove(a.id, "nothing"); v.code != 0 {
		t.Errorf("another tool: %+v", v)
	}
	waitFor(t, "the calls in a published checkpoint", func() bool {
		_, v := prove(a.id, "calculate")
		return v.code == 1 && strings.HasPrefix(v.out, "NOT ABSENT: ")
	})
	proof, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(proof, []byte("\n"))
	for name, changed := range map[string][]byte{
		"a record left out": bytes.Join(append(lines[:2:2], lines[3:]...), nil),
		"a changed record":  append(bytes.Clone(lines[0]), bytes.Replace(bytes.Join(lines[1:], nil), []byte("calculate"), []byte("calculatf"), 1)...),
		"cut short":         proof[:len(proof)-10],
	} {
		if bytes.Equal(changed, proof) {
			t.Fatal(name)
		}
		if err := os.WriteFile(file, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		if v := g.run(t, "", nil, "verify", file, "--data", g.Dir); v.code != 1 || v.out != "" {
			t.Errorf("%s: %+v", name, v)
		}
	}
}

// TestAIIdentitysVerifierAcceptsTheView runs AI Identity's public verifier, when AI_IDENTITY_VERIFY names a copy of its
// cli/ai_identity_verify.py.
func TestAIIdentitysVerifierAcceptsTheView(t *testing.T) {
	t.Parallel()
	verifier := os.Getenv("AI_IDENTITY_VERIFY")
	if verifier == "" {
		t.Skip("AI_IDENTITY_VERIFY names no copy of ai_identity_verify.py")
	}
	g := start(t, Setup{})
	a := g.newAgent(t)
	stop := a.busy(t)
	e := g.export(t, "ai-identity")
	stop()
	key, err := os.ReadFile(e.file + ".key")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	_, files := e.files(t)
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) error {
		cmd := exec.CommandContext(t.Context(), "python3", append([]string{verifier}, args...)...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "AI_IDENTITY_HMAC_KEY="+strings.TrimSpace(string(key)))
		return cmd.Run()
	}
	for _, args := range [][]string{{"chain", "audit.json"}, {"report", "report.json"}, {"inclusion-proof", "--checkpoints", "c.json", "--proofs", "p.json", "--pubkey", "public-key.pem"}} {
		if err := run(args...); err != nil {
			t.Errorf("%v: %v", args, err)
		}
	}
	changed := bytes.Replace(files["audit.json"], []byte(`"decision":"allow"`), []byte(`"decision":"deny"`), 1)
	if err := os.WriteFile(filepath.Join(dir, "audit.json"), changed, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run("chain", "audit.json"); err == nil {
		t.Error("a tampered copy is accepted")
	}
}
