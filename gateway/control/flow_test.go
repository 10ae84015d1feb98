package control_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/absence"
	"github.com/gatewright/gatewright/merkle/ledger/export"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// shelf is a published ledger with the same records for every tenant, which names each its own.
type shelf struct {
	signer  ledger.Signer
	records int
	pad     string
	gate    chan struct{} // when set, each page of records waits for it
	waiting atomic.Int32  // pages that wait
	fail    atomic.Pointer[error]
	aead    cipher.AEAD // seals what lies beside every record, when set
	user    string
}

func newShelf(t testing.TB) *shelf {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &shelf{records: 40}
	if s.signer, err = ledger.NewSigner("gw.example/ledger/_instance/main", private); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *shelf) entry(tenant string, i uint64) wal.Entry {
	id, _ := ledger.NewID(time.UnixMilli(int64(i)), strings.NewReader(fmt.Sprintf("%-16d", i)))
	r := ledger.Record{ID: id, Tenant: tenant, Instance: "main", Kind: ledger.Admitted, Step: -1, Agent: "agt_1", User: s.user, Server: "shop", Tool: "buy", Verdict: "allow", Detail: s.pad}
	if s.aead != nil && i%2 == 0 {
		s.seal(&r)
	}
	data := r.AppendJSON(nil)
	return wal.Entry{Index: i, Leaf: merkle.LeafHash(data), Data: data, Side: r.Side}
}

// seal does what the line does: commits to a question and its arguments and puts both beside the record, sealed.
func (s *shelf) seal(r *ledger.Record) {
	args, salt := []byte(`{"item":"a secret wish"}`), bytes.Repeat([]byte{7}, 16)
	ask := []byte(`{"salt":"` + base64.RawURLEncoding.EncodeToString(salt) + `"}`)
	r.Ask, r.Request = sha256.Sum256(ask), sha256.Sum256(append(bytes.Clone(salt), args...))
	plain := append(append(binary.BigEndian.AppendUint32(nil, uint32(len(args))), args...), ask...)
	nonce := make([]byte, s.aead.NonceSize())
	r.Side = s.aead.Seal(nonce, nonce, plain, []byte(r.ID))
}

func (s *shelf) tree(tenant string) *merkle.Tree {
	var leaves []merkle.Hash
	for i := range s.records {
		leaves = append(leaves, s.entry(tenant, uint64(i)).Leaf)
	}
	return merkle.NewTree(leaves)
}

func (s *shelf) Signers() []ledger.NoteSigner { return []ledger.NoteSigner{s.signer} }

func (s *shelf) Checkpoint(tenant string) ([]byte, error) {
	if s.records == 0 {
		return nil, wal.ErrTenant
	}
	tree := s.tree(tenant)
	return ledger.Checkpoint{Origin: ledger.Origin("gw.example", tenant, "main"), Size: tree.Size(), Root: tree.Root()}.Sign(s.signer)
}

func (s *shelf) Scan(ctx context.Context, tenant string, from uint64, n int) ([]wal.Entry, error) {
	if err := s.fail.Load(); err != nil {
		return nil, *err
	}
	if s.gate != nil {
		s.waiting.Add(1)
		defer s.waiting.Add(-1)
		select {
		case <-s.gate:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	var out []wal.Entry
	for i := from; i < uint64(s.records) && len(out) < n; i++ {
		out = append(out, s.entry(tenant, i))
	}
	return out, nil
}

func (s *shelf) Subtrees(tenant string) (merkle.Subtree, error) { return s.tree(tenant).Subtree, nil }

const (
	exportPath  = "/api/v1/audit-logs/export"
	absencePath = "/api/v1/audit-logs/absence"
)

func (w *world) shelf() *shelf { return w.exports.(*shelf) }

// last is the newest record that this API wrote for demo.
func (w *world) last() (*ledger.Record, map[string]string) {
	w.t.Helper()
	all := w.log.of(demo)
	r := all[len(all)-1]
	var body struct{ Facts map[string]string }
	w.must(json.Unmarshal(r.Body, &body))
	return &r, body.Facts
}

func (w *world) verifyExport(t *testing.T, archive string) export.Report {
	t.Helper()
	rep, err := export.Verify(t.Context(), strings.NewReader(archive), int64(len(archive)), ledger.VerifierKeys{w.shelf().signer.Public})
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

// member reads a file of an archive.
func member(t *testing.T, archive, name string) []byte {
	t.Helper()
	z, err := zip.NewReader(strings.NewReader(archive), int64(len(archive)))
	if err != nil {
		t.Fatal(err)
	}
	f, err := z.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAnExportIsARecordWithTheManifestsDigest(t *testing.T) {
	w := newWorld(t)
	for _, format := range []string{"jsonl", "csv", "pdf", "ai-identity"} {
		a := w.call("POST", exportPath, w.byRole[identity.RoleManager], `{"format":"`+format+`","filter":{"agent":"agt_1","from":3}}`)
		if a.status != http.StatusOK || a.header.Get("Content-Type") != "application/zip" || a.header.Get("Cache-Control") != "no-store" {
			t.Fatalf("%s: %d %q", format, a.status, a.header)
		}
		rep := w.verifyExport(t, a.body)
		if rep.Records != 37 || rep.Manifest.By.User != w.managerUser || rep.Manifest.By.Record != a.header.Get("Gatewright-Record") || rep.Manifest.Tenant != demo {
			t.Errorf("%s: %+v", format, rep)
		}
		r, facts := w.last()
		digest := sha256.Sum256(member(t, a.body, "manifest.json"))
		if r.Of != rep.Manifest.By.Record || r.Outcome != "ok" || r.Op != "export-records" || facts["sha256"] != fmt.Sprintf("%x", digest) || facts["records"] != "37" || facts["format"] != format {
			t.Errorf("%s is recorded as %+v with %v", format, r, facts)
		}
		if key := a.header.Get("Gatewright-Export-Key"); (key != "") != (format == "ai-identity") || key != "" && strings.Contains(string(r.Body), key) {
			t.Errorf("%s came with the key %q", format, key)
		}
	}
}

func TestAnAbsenceProofIsARecordWithItsDigest(t *testing.T) {
	w := newWorld(t)
	w.recorded("agt_2")
	a := w.call("POST", absencePath, w.byRole[identity.RoleManager], `{"agent":"agt_2","tool":"buy","from":5,"to":30}`)
	if a.status != http.StatusOK || a.header.Get("Content-Type") != "application/jsonl" {
		t.Fatalf("%d %q %s", a.status, a.header, a.body)
	}
	res, err := absence.Verify(t.Context(), strings.NewReader(a.body), ledger.VerifierKeys{w.shelf().signer.Public})
	if err != nil || !res.Absent() || res.Records != 25 || res.Tenant != demo {
		t.Errorf("%+v, %v", res, err)
	}
	r, facts := w.last()
	if digest := sha256.Sum256([]byte(a.body)); r.Outcome != "ok" || r.Op != "prove-absence" || facts["sha256"] != fmt.Sprintf("%x", digest) {
		t.Errorf("recorded as %+v with %v", r, facts)
	}
}

func TestWhatCannotBeExportedIsToldBeforeAByteIsSent(t *testing.T) {
	w := newWorld(t)
	for body, want := range map[string]struct {
		status int
		code   string
	}{
		`{"format":"xml"}`:                   {422, "request_invalid"},
		`{}`:                                 {422, "request_invalid"},
		`{"format":"csv","limit":0}`:         {422, "request_invalid"},
		`{"format":"csv","limit":39}`:        {422, "limit_reached"},
		`{"format":"csv","limit":100000001}`: {422, "request_invalid"},
		`{"format":"csv","filter":{"kind":"nonsense"}}`:                         {422, "request_invalid"},
		`{"format":"csv","filter":{"from":7,"to":7}}`:                           {422, "request_invalid"},
		`{"format":"csv","filter":{"since":"yesterday"}}`:                       {422, "request_invalid"},
		`{"format":"csv","filter":{"tenant":"other"}}`:                          {422, "request_invalid"},
		`{"format":"csv","tenant":"other"}`:                                     {422, "request_invalid"},
		`{"format":"csv","subject":"` + strings.Repeat("x", 65) + `"}`:          {422, "request_invalid"},
		`{"format":"csv","filter":{"tool":"` + strings.Repeat("x", 257) + `"}}`: {422, "request_invalid"},
	} {
		a := w.call("POST", exportPath, w.admin, body)
		if a.status != want.status || a.code() != want.code {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
		if r, _ := w.last(); r.Verdict != "deny" {
			t.Errorf("%s: recorded as %+v", body, r)
		}
	}
	w.call("POST", absencePath, w.admin, `{"agent":"a","from":40}`).refused(t, 422, "request_invalid")
	w.call("POST", absencePath, w.admin, `{"agent":"a","to":41}`).refused(t, 422, "request_invalid")
	w.call("POST", absencePath, w.admin, `{"agent":"a","from":4,"since":"nonsense"}`).refused(t, 422, "request_invalid")
	w.shelf().records = 0
	w.call("POST", exportPath, w.admin, `{"format":"csv"}`).refused(t, http.StatusServiceUnavailable, "busy")
	w.exports = nil
	w.rebuild(w.log)
	w.call("POST", exportPath, w.admin, `{"format":"csv"}`).refused(t, http.StatusServiceUnavailable, "busy")
	w.call("POST", absencePath, w.admin, `{"agent":"a"}`).refused(t, http.StatusServiceUnavailable, "busy")
}

func TestSealedArgumentsAreOpenedForAnAdminOnly(t *testing.T) {
	w := newWorld(t)
	s := w.shelf()
	s.user = w.viewerUser
	var err error
	s.aead, err = w.vault.Subject(t.Context(), demo, s.user)
	w.must(err)
	body := `{"format":"jsonl","subject":"` + s.user + `"}`
	w.call("POST", exportPath, w.byRole[identity.RoleManager], body).refused(t, http.StatusForbidden, "role_denied")
	a := w.call("POST", exportPath, w.admin, body)
	if rep := w.verifyExport(t, a.body); rep.Opened != 20 || rep.Records != 40 {
		t.Errorf("%+v", rep)
	}
	if opened := member(t, a.body, "opened.jsonl"); !bytes.Contains(opened, []byte("a secret wish")) {
		t.Errorf("opened %s", opened)
	}
	// Without a subject nothing is opened, whoever asks.
	if plain := w.call("POST", exportPath, w.admin, `{"format":"jsonl","filter":{"user":"`+s.user+`"}}`); strings.Contains(plain.body, "opened.jsonl") {
		t.Error("opened without being asked to")
	}
	// After an erasure nothing opens, and every record still verifies.
	w.must(w.vault.Erase(t.Context(), demo, s.user))
	a = w.call("POST", exportPath, w.admin, body)
	if rep := w.verifyExport(t, a.body); rep.Opened != 0 || rep.Records != 40 || bytes.Contains(member(t, a.body, "opened.jsonl"), []byte("wish")) {
		t.Errorf("after the erasure: %+v", rep)
	}
}

// ask asks for an export on a real port and returns why the answer did not come to a regular end.
func (w *world) ask(ctx context.Context, base string) error {
	req, err := http.NewRequestWithContext(ctx, "POST", base+exportPath, strings.NewReader(`{"format":"csv"}`))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+w.admin)
	req.Header.Set("Content-Type", "application/json")
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%d after %d bytes: %w", resp.StatusCode, len(b), err)
	}
	return nil
}

func TestAnExportThatBreaksOffIsRecordedAndEndsTheConnection(t *testing.T) {
	w := newWorld(t)
	s := w.shelf()
	s.gate = make(chan struct{})
	base := w.listen(t)
	ended := make(chan error, 1)
	go func() { ended <- w.ask(t.Context(), base) }()
	s.gate <- struct{}{} // the records are found
	broken := errors.New("the disk is gone")
	s.fail.Store(&broken)
	select {
	case s.gate <- struct{}{}: // a page was waited for already
	case <-time.After(100 * time.Millisecond):
	}
	if err := <-ended; err == nil {
		t.Error("it came to a regular end")
	}
	w.settled(t, "it failed")
}

// settled waits until a record says that a flow ended in this way.
func (w *world) settled(t *testing.T, want string) {
	t.Helper()
	for range 500 {
		for _, r := range w.log.of(demo) {
			var body struct{ Facts map[string]string }
			w.must(json.Unmarshal(r.Body, &body))
			if body.Facts["ended"] == want && r.Outcome == "unknown" && r.Verdict == "deny" && body.Facts["sha256"] == "" {
				return
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	r, facts := w.last()
	t.Errorf("nothing ended with %q; the last record is %+v with %v", want, r, facts)
}

func TestAReaderWhoLeavesEndsTheExportAndMakesRoom(t *testing.T) {
	w := newWorld(t)
	s := w.shelf()
	s.gate = make(chan struct{})
	base := w.listen(t)
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	ended := make(chan error, 1)
	go func() { ended <- w.ask(ctx, base) }()
	until := func(n int32) {
		for s.waiting.Load() != n {
			time.Sleep(time.Millisecond)
		}
	}
	until(1) // it looks for its records
	s.gate <- struct{}{}
	until(1) // it writes
	w.call("POST", exportPath, w.admin, `{"format":"jsonl"}`).refused(t, http.StatusServiceUnavailable, "busy")
	leave()
	if err := <-ended; err == nil {
		t.Error("it came to a regular end")
	}
	w.settled(t, "the reader left")
	close(s.gate)
	for range 100 {
		if a := w.call("POST", exportPath, w.admin, `{"format":"jsonl"}`); a.status == http.StatusOK {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("no room was made")
}

func TestWithoutItsRecordNoExportIsWhole(t *testing.T) {
	w := newWorld(t)
	log := &fullSoon{memoryLog: w.log}
	w.rebuild(log)
	log.left.Store(1) // the intent, and no outcome
	rec := httptest.NewRecorder()
	func() {
		defer func() { _ = recover() }() // a server ends the connection
		w.api.Handler().ServeHTTP(rec, w.request("POST", exportPath, w.admin, `{"format":"jsonl"}`))
		t.Error("the connection was not ended")
	}()
	b := rec.Body.Bytes()
	if bytes.Contains(b, []byte("manifest.sig")) {
		t.Errorf("%d bytes hold a signature", len(b))
	}
	if _, err := export.Verify(t.Context(), bytes.NewReader(b), int64(len(b)), ledger.VerifierKeys{w.shelf().signer.Public}); !errors.Is(err, export.ErrExport) {
		t.Errorf("it verifies: %v", err)
	}
}

// fullSoon takes so many records more.
type fullSoon struct {
	*memoryLog
	left atomic.Int64
}

func (f *fullSoon) Append(ctx context.Context, r *ledger.Record) (wal.Mark, error) {
	if f.left.Add(-1) < 0 {
		return wal.Mark{}, wal.ErrFull
	}
	return f.memoryLog.Append(ctx, r)
}

func TestAnIdempotencyKeyKeepsNoExport(t *testing.T) {
	w := newWorld(t)
	ask := func() *reply {
		r := w.request("POST", exportPath, w.admin, `{"format":"jsonl"}`)
		r.Header.Set("Idempotency-Key", "one")
		return w.do(r)
	}
	if a := ask(); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	ask().refused(t, http.StatusConflict, "shown_once")
}

func TestTheConnectionOfASlowReaderIsGivenADeadline(t *testing.T) {
	w := newWorld(t)
	deadlines := make(chan time.Time, 100)
	rec := &deadlined{header: http.Header{}, set: deadlines}
	w.api.Handler().ServeHTTP(rec, w.request("POST", exportPath, w.admin, `{"format":"jsonl"}`))
	select {
	case at := <-deadlines:
		if left := time.Until(at); left < 20*time.Second || left > 40*time.Second {
			t.Errorf("a deadline in %s", left)
		}
	default:
		t.Error("no deadline")
	}
}

// deadlined is a connection that notes its deadlines.
type deadlined struct {
	header http.Header
	set    chan time.Time
}

func (d *deadlined) Header() http.Header         { return d.header }
func (d *deadlined) WriteHeader(int)             {}
func (d *deadlined) Write(b []byte) (int, error) { return len(b), nil }

func (d *deadlined) SetWriteDeadline(at time.Time) error {
	select {
	case d.set <- at:
	default:
	}
	return nil
}
