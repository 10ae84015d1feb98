package cli_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/cli"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/export"
)

// logged is a tlog-proof of one record out of five, with all that belongs to it in a folder.
type logged struct {
	dir, proof, keys string
	leaf             []byte
	index            uint64
}

func newLogged(t *testing.T) *logged {
	t.Helper()
	l := &logged{dir: t.TempDir(), index: 3}
	signer, err := ledger.NewSigner("gw.example/ledger/_instance/main", ed25519.NewKeyFromSeed(make([]byte, 32)))
	if err != nil {
		t.Fatal(err)
	}
	var leaves []merkle.Hash
	for i := range uint64(5) {
		id, err := ledger.NewID(time.UnixMilli(int64(i)), strings.NewReader("0123456789abcdef"))
		if err != nil {
			t.Fatal(err)
		}
		r := ledger.Record{ID: id, Tenant: "acme", Instance: "main", Kind: ledger.Admitted, Step: -1, Agent: "agt_1", Server: "shop", Tool: "buy"}
		leaf := r.AppendJSON(nil)
		if leaves = append(leaves, merkle.LeafHash(leaf)); i == l.index {
			l.leaf = leaf
		}
	}
	tree := merkle.NewTree(leaves)
	note, err := ledger.Checkpoint{Origin: ledger.Origin("gw.example", "acme", "main"), Size: 5, Root: tree.Root()}.Sign(signer)
	if err != nil {
		t.Fatal(err)
	}
	p := ledger.Proof{Index: l.index, Hashes: tree.AppendInclusion(nil, l.index), Checkpoint: note}
	l.proof, l.keys = l.write(t, "a.tlog-proof", p.Text()), l.write(t, "ledger.pub", []byte(signer.Public.String()+"\n"))
	return l
}

func (l *logged) write(t *testing.T, name string, b []byte) string {
	t.Helper()
	file := filepath.Join(l.dir, name)
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// verify runs the command and returns its exit code and what it printed.
func verify(t *testing.T, args ...string) (int, string, string) {
	t.Helper()
	var out, errs bytes.Buffer
	code := cli.Run(t.Context(), append([]string{"verify"}, args...), strings.NewReader(""), &out, &errs, cli.Runner{Getenv: func(string) string { return "" }})
	return code, out.String(), errs.String()
}

func TestALogProofIsVerifiedWithItsRecordInWhateverFormItIsKept(t *testing.T) {
	l := newLogged(t)
	var shown bytes.Buffer
	if err := json.Indent(&shown, []byte(`{"index":3,"record":`+string(l.leaf)+`,"sealed":false}`), "", "  "); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"bytes": l.leaf, "line": export.AppendLine(nil, l.index, l.leaf), "shown": shown.Bytes()} {
		code, out, errs := verify(t, l.proof, "--key", l.keys, "--record", l.write(t, name, text))
		if code != 0 || !strings.HasPrefix(out, "verified: ") || !strings.Contains(out, "record 3 of 5") {
			t.Errorf("%s: %d\n%s%s", name, code, out, errs)
		}
	}
	record := filepath.Join(l.dir, "bytes")
	if code, out, _ := verify(t, l.proof, "--key", l.keys, "--record", record, "--json"); code != 0 || !json.Valid([]byte(out)) {
		t.Errorf("as JSON: %d %s", code, out)
	}
	changed := l.write(t, "changed", bytes.Replace(l.leaf, []byte("buy"), []byte("sel"), 1))
	proof, err := os.ReadFile(l.proof)
	if err != nil {
		t.Fatal(err)
	}
	moved := l.write(t, "moved", bytes.Replace(proof, []byte("index 3"), []byte("index 2"), 1))
	for name, c := range map[string]struct {
		args []string
		code int
	}{
		"another record":       {[]string{l.proof, "--key", l.keys, "--record", changed}, 1},
		"another place":        {[]string{moved, "--key", l.keys, "--record", record}, 1},
		"no record":            {[]string{l.proof, "--key", l.keys}, 2},
		"no such record":       {[]string{l.proof, "--key", l.keys, "--record", filepath.Join(l.dir, "none")}, 2},
		"a proof as record":    {[]string{l.proof, "--key", l.keys, "--record", l.proof}, 2},
		"arguments of a call":  {[]string{l.proof, "--key", l.keys, "--record", record, "--args", "{}", "--salt", "x"}, 2},
		"no keys":              {[]string{l.proof, "--record", record, "--data", l.dir}, 2},
		"need of none":         {[]string{l.proof, "--key", l.keys, "--record", record, "--witnesses", record, "--need", "0"}, 2},
		"need and nobody":      {[]string{l.proof, "--key", l.keys, "--record", record, "--need", "1"}, 2},
		"keys of no witnesses": {[]string{l.proof, "--key", l.keys, "--record", record, "--witnesses", record}, 2},
	} {
		if code, out, errs := verify(t, c.args...); code != c.code || out != "" || errs == "" {
			t.Errorf("%s: exit %d, want %d\n%s%s", name, code, c.code, out, errs)
		}
	}
}

func TestAFileThatOnlyBeginsLikeAProofIsRefused(t *testing.T) {
	l := newLogged(t)
	for name, text := range map[string]string{
		"an archive":    "PK\x03\x04" + strings.Repeat("\x00", 26) + "records.jsonl and no more",
		"an absence":    `{"absence":1}` + "\n",
		"a log proof":   "c2sp.org/tlog-proof@v2\n",
		"no end":        `{"absence":1`,
		"another thing": "PK\x03\x04",
	} {
		args := []string{l.write(t, "file", []byte(text)), "--key", l.keys}
		if name == "a log proof" {
			args = append(args, "--record", l.write(t, "record", l.leaf))
		}
		if code, out, errs := verify(t, args...); code != 1 || out != "" || !strings.HasPrefix(errs, "gatewright: ") {
			t.Errorf("%s: exit %d\n%s%s", name, code, out, errs)
		}
	}
}

func TestAnExportIsNotWrittenOverAFileNorWithoutAGateway(t *testing.T) {
	dir := t.TempDir()
	there := filepath.Join(dir, "there.zip")
	if err := os.WriteFile(there, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"GATEWRIGHT_CONTROL_URL": "http://127.0.0.1:1", "GATEWRIGHT_ADMIN_KEY": "ak_test_x"}
	run := func(args ...string) (int, string) {
		var errs bytes.Buffer
		code := cli.Run(t.Context(), append([]string{"ledger"}, args...), strings.NewReader(""), io.Discard, &errs, cli.Runner{Getenv: func(n string) string { return env[n] }})
		return code, errs.String()
	}
	for name, c := range map[string]struct {
		args []string
		code int
	}{
		"over a file":          {[]string{"export", "--out", there}, 2},
		"no gateway":           {[]string{"export", "--out", filepath.Join(dir, "new.zip")}, 3},
		"no gateway, replaced": {[]string{"export", "--out", there, "--force"}, 3},
		"no folder":            {[]string{"export", "--out", filepath.Join(dir, "no", "new.zip")}, 2},
		"no format":            {[]string{"export", "--format", "xml", "--out", filepath.Join(dir, "new.zip")}, 2},
		"no verdict":           {[]string{"export", "--verdict", "permit", "--out", filepath.Join(dir, "new.zip")}, 2},
		"no outcome":           {[]string{"export", "--outcome", "success", "--out", filepath.Join(dir, "new.zip")}, 2},
		"over it, named else":  {[]string{"export", "--format", "csv", "--out", strings.TrimSuffix(there, ".zip")}, 2},
		"an index is no time":  {[]string{"absence", "--agent", "a", "--since", "24h", "--out", filepath.Join(dir, "new.jsonl")}, 2},
		"no time":              {[]string{"export", "--since", "soon", "--out", filepath.Join(dir, "new.zip")}, 2},
		"no agent":             {[]string{"absence", "--out", filepath.Join(dir, "new.jsonl")}, 2},
		"absence over a file":  {[]string{"absence", "--agent", "a", "--out", there}, 2},
	} {
		if code, errs := run(c.args...); code != c.code {
			t.Errorf("%s: exit %d, want %d\n%s", name, code, c.code, errs)
		}
	}
	left, err := os.ReadDir(dir)
	b, bad := os.ReadFile(there)
	if err != nil || bad != nil || len(left) != 1 || string(b) != "mine" {
		t.Errorf("left behind: %v %q", left, b)
	}
}

func TestFlagsThatSayNothingAboutAFileAreRefused(t *testing.T) {
	l := newLogged(t)
	archive := l.write(t, "a.zip", []byte("PK\x03\x04"+strings.Repeat("\x00", 26)+"records.jsonl and no more"))
	proof := l.write(t, "absence.jsonl", []byte(`{"absence":1}`+"\n"))
	receipt := l.write(t, "receipt.txt", []byte("a receipt"))
	for _, file := range []string{archive, proof, receipt} {
		for _, flags := range [][]string{{"--witnesses", l.keys}, {"--need", "1"}, {"--need", "0"}, {"--record", "/nonexistent"}} {
			code, out, errs := verify(t, append([]string{file, "--key", l.keys}, flags...)...)
			if code != 2 || out != "" || !strings.Contains(errs, flags[0]) {
				t.Errorf("%s %v: exit %d %s%s", file, flags, code, out, errs)
			}
		}
	}
}

func TestALogProofOfARestoredLedgerIsVerified(t *testing.T) {
	l := newLogged(t)
	proof, err := os.ReadFile(l.proof)
	if err != nil {
		t.Fatal(err)
	}
	p, err := ledger.ParseProof(proof)
	if err != nil {
		t.Fatal(err)
	}
	c, err := ledger.ReadCheckpoint(p.Checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ledger.NewSigner("gw.example/ledger/_instance/main", ed25519.NewKeyFromSeed(make([]byte, 32)))
	if err != nil {
		t.Fatal(err)
	}
	record := l.write(t, "record", l.leaf)
	for origin, want := range map[string]int{"gw.example/ledger/acme/main.2": 0, "gw.example/ledger/acme/main.x": 1, "gw.example/ledger/other/main.2": 1} {
		c.Origin = origin
		if p.Checkpoint, err = c.Sign(signer); err != nil {
			t.Fatal(err)
		}
		if code, out, errs := verify(t, l.write(t, "restored", p.Text()), "--key", l.keys, "--record", record); code != want {
			t.Errorf("%s: exit %d %s%s", origin, code, out, errs)
		}
	}
}
