package witness_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/disk"
	"github.com/gatewright/gatewright/merkle/ledger/mldsa"
	"github.com/gatewright/gatewright/merkle/ledger/witness"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const origin = "gate.example/ledger/_checkpoints/gw-1"

var noon = time.Unix(1_700_000_000, 0)

func clock() time.Time { return noon }

func key(seed string) ed25519.PrivateKey {
	sum := sha256.Sum256([]byte(seed))
	return ed25519.NewKeyFromSeed(sum[:])
}

// history is a log: its leaves, and who signs for it.
type history struct {
	t      testing.TB
	leaves []merkle.Hash
	signer string
}

func newHistory(t testing.TB, n int) *history {
	h := &history{t: t, signer: "log"}
	for i := range n {
		h.leaves = append(h.leaves, merkle.LeafHash(fmt.Append(nil, i)))
	}
	return h
}

// fork is the same log with another leaf at a place.
func (h *history) fork(at int) *history {
	f := &history{t: h.t, leaves: append([]merkle.Hash(nil), h.leaves...), signer: h.signer}
	f.leaves[at] = merkle.LeafHash([]byte("another"))
	return f
}

func (h *history) tree(n uint64) *merkle.Tree { return merkle.NewTree(h.leaves[:n]) }

func (h *history) rootAt(n uint64) (merkle.Hash, error) { return h.tree(n).Root(), nil }

func (h *history) checkpoint(n uint64) ledger.Checkpoint {
	return ledger.Checkpoint{Origin: origin, Size: n, Root: h.tree(n).Root()}
}

func logKeys(t testing.TB, signer string) ledger.VerifierKeys {
	t.Helper()
	k, err := ledger.NewVerifierKey("gate.example/ledger/_instance/gw-1", key(signer).Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	return ledger.VerifierKeys{k}
}

func (h *history) sign(body []byte) []byte {
	k := logKeys(h.t, h.signer)[0]
	return ledger.AppendSignature(append(bytes.Clone(body), '\n'), k.Name, k.Hash, ed25519.Sign(key(h.signer), body))
}

func (h *history) note(n uint64) []byte { return h.sign(h.checkpoint(n).Body()) }

func (h *history) proof(m, n uint64) []merkle.Hash {
	return h.tree(n).AppendConsistency(nil, m)
}

// prover is what a log hands to its witnesses with a checkpoint of size n.
func (h *history) prover(n uint64) witness.Proof {
	return func(old uint64) ([]merkle.Hash, error) { return h.proof(old, n), nil }
}

// body is a submission.
func (h *history) body(old, n uint64) string {
	out := fmt.Sprintf("old %d\n", old)
	if old > 0 {
		for _, p := range h.proof(old, n) {
			out += base64.StdEncoding.EncodeToString(p[:]) + "\n"
		}
	}
	return out + "\n" + string(h.note(n))
}

func cosigner(t testing.TB, name string) ledger.Cosigner {
	t.Helper()
	c, err := ledger.NewCosigner(name, key(name))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// both are a witness's two keys.
func both(t testing.TB, name string) []witness.Cosigner {
	t.Helper()
	sum := sha256.Sum256([]byte("pq" + name))
	pq, err := mldsa.NewCosigner(name, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return []witness.Cosigner{cosigner(t, name), pq}
}

// world is one witness on a disk, with what it reported.
type world struct {
	t    testing.TB
	dir  string
	on   disk.FS
	now  func() time.Time
	by   []witness.Cosigner
	told []string
	*witness.Server
}

func newWorld(t testing.TB, on disk.FS) *world {
	w := &world{t: t, dir: t.TempDir(), on: on, now: clock, by: both(t, "w.example/one")}
	w.open()
	return w
}

// open starts the witness from what lies on the disk.
func (w *world) open() {
	w.t.Helper()
	s, err := witness.NewServer(witness.Options{
		FS: w.on, Dir: w.dir, Logs: []witness.Log{{Origin: origin, Keys: logKeys(w.t, "log")}, {Origin: "other.example/log", Keys: logKeys(w.t, "other")}},
		Cosigners: w.by, Now: w.now, Report: func(origin string, err error) { w.told = append(w.told, origin+": "+err.Error()) },
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.Server = s
}

// post submits a body and returns status, content type and answer.
func (w *world) post(body string) (int, string, string) {
	w.t.Helper()
	rec := httptest.NewRecorder()
	w.ServeHTTP(rec, httptest.NewRequestWithContext(w.t.Context(), http.MethodPost, "/add-checkpoint", strings.NewReader(body)))
	return rec.Code, rec.Header().Get("Content-Type"), rec.Body.String()
}

// must submits what has to be cosigned, and checks the answer under the witness's keys.
func (w *world) must(h *history, old, n uint64) string {
	w.t.Helper()
	status, _, answer := w.post(h.body(old, n))
	if status != http.StatusOK {
		w.t.Fatalf("%d after %d: %d %s", n, old, status, answer)
	}
	w.verify(string(h.note(n)) + answer)
	return answer
}

// verify demands the cosignatures of all the witness's keys.
func (w *world) verify(note string) {
	w.t.Helper()
	for _, k := range w.Keys() {
		if _, err := (ledger.WitnessPolicy{Keys: []ledger.VerifierKey{k}, Need: 1}).Check([]byte(note)); err != nil {
			w.t.Fatalf("%v\n%s", err, note)
		}
	}
}

// files is what lies on the disk.
func (w *world) files() string {
	b, err := os.ReadFile(filepath.Join(w.dir, hashOf(origin)+".state"))
	if err != nil {
		w.t.Fatal(err)
	}
	return string(b)
}

// monitor reads the monitoring endpoint.
func (w *world) monitor(origin string) (int, string) {
	rec := httptest.NewRecorder()
	sum := sha256.Sum256([]byte(origin))
	w.ServeHTTP(rec, httptest.NewRequestWithContext(w.t.Context(), http.MethodGet, "/"+hex.EncodeToString(sum[:])+"/checkpoint", nil))
	return rec.Code, rec.Body.String()
}

// serve puts a handler on a port.
func serve(t testing.TB, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// client asks a URL, pinning the Ed25519 key of a witness.
func client(t testing.TB, url, name string) *witness.Client {
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	return &witness.Client{Name: name, URL: url, Key: cosigner(t, name).Public(), HTTP: &http.Client{Transport: tr, Timeout: 5 * time.Second}}
}

func limited(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// answering is a witness that says the same thing to everybody.
func answering(status int, kind, text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	})
}

func hashOf(origin string) string {
	sum := sha256.Sum256([]byte(origin))
	return hex.EncodeToString(sum[:])
}
