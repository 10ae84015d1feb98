package export_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/export"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

const (
	host     = "gw.example"
	instance = "one"
)

var now = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

// key signs as an instance does.
type key struct {
	name    string
	private ed25519.PrivateKey
	public  ledger.VerifierKey
}

func newKey(t testing.TB, name string, seed byte) key {
	t.Helper()
	private := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
	public, err := ledger.NewVerifierKey(name, private.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	return key{name, private, public}
}

func (k key) KeyName() string { return k.name }
func (k key) KeyHash() uint32 { return k.public.Hash }
func (k key) SignNote(body []byte, _ time.Time) ([]byte, error) {
	return ed25519.Sign(k.private, body), nil
}

// note signs any text as C2SP signed-note says.
func (k key) note(text []byte) []byte {
	sig, _ := k.SignNote(text, now)
	raw := append(binary.BigEndian.AppendUint32(nil, k.KeyHash()), sig...)
	return append(append(bytes.Clone(text), '\n'), "\u2014 "+k.name+" "+base64.StdEncoding.EncodeToString(raw)+"\n"...)
}

// world is a ledger of one instance in memory, with its key.
type world struct {
	key     key
	entries map[string][]wal.Entry
	trees   map[string]*merkle.Tree
	scans   int
	fail    error
}

func newWorld(t testing.TB) *world {
	t.Helper()
	return &world{
		key:     newKey(t, ledger.Origin(host, ledger.InstanceTenant, instance), 1),
		entries: map[string][]wal.Entry{}, trees: map[string]*merkle.Tree{},
	}
}

// fill makes n records of a tenant; change may make each another.
func (w *world) fill(t testing.TB, tenant string, n int, change func(i int, r *ledger.Record)) {
	t.Helper()
	var leaves []merkle.Hash
	for i := range n {
		at := now.Add(time.Duration(i-n) * time.Second)
		id, err := ledger.NewID(at, strings.NewReader(fmt.Sprintf("%-16d", i)))
		if err != nil {
			t.Fatal(err)
		}
		r := ledger.Record{
			ID: id, Time: at.UnixMicro(), Tenant: tenant, Instance: instance, Boot: 1, Kind: ledger.Admitted, Step: -1,
			Agent: fmt.Sprintf("agt_%d", i%3), User: "usr_1", Op: "tools/call", Server: "shop",
			Tool: fmt.Sprintf("tool_%d", i%5), Verdict: "allow",
		}
		if i%4 == 3 {
			r.Kind, r.Verdict, r.Code = ledger.Refused, "deny", "policy_denied"
		}
		if change != nil {
			change(i, &r)
		}
		e := wal.Entry{Index: uint64(i), Side: r.Side}
		if err := r.Normalize(); err != nil {
			t.Fatal(err)
		}
		e.Data = r.AppendJSON(nil)
		e.Leaf = merkle.LeafHash(e.Data)
		w.entries[tenant] = append(w.entries[tenant], e)
		leaves = append(leaves, e.Leaf)
	}
	w.trees[tenant] = merkle.NewTree(leaves)
}

func (w *world) Checkpoint(tenant string) ([]byte, error) {
	tree := w.trees[tenant]
	if tree == nil {
		return nil, fmt.Errorf("no checkpoint of %s", tenant)
	}
	return w.key.note(ledger.Checkpoint{Origin: ledger.Origin(host, tenant, instance), Size: tree.Size(), Root: tree.Root()}.Body()), nil
}

func (w *world) Scan(ctx context.Context, tenant string, from uint64, n int) ([]wal.Entry, error) {
	w.scans++
	if w.fail != nil {
		return nil, w.fail
	}
	all := w.entries[tenant]
	// A page of an odd size: readers must not rely on getting all they asked for.
	return copied(all[from:min(from+uint64(min(n, 37)), uint64(len(all)))]), ctx.Err()
}

// copied copies entries, as a ledger that reads them from a disk does.
func copied(in []wal.Entry) []wal.Entry {
	out := append([]wal.Entry(nil), in...)
	for i := range out {
		out[i].Data = bytes.Clone(out[i].Data)
	}
	return out
}

func (w *world) Subtrees(tenant string) (merkle.Subtree, error) { return w.trees[tenant].Subtree, nil }

func (w *world) options(format export.Format, f export.Filter) export.Options {
	o := export.Options{
		Tenant: "acme", Format: format, Filter: f, Now: now, Signers: []ledger.NoteSigner{w.key},
		By: export.Requester{User: "usr_1", Key: "key_1", Record: "rec_1"},
	}
	if format == export.PDF {
		o.Report = func(out io.Writer, a *export.About) error {
			_, err := fmt.Fprintf(out, "%d records", a.Count)
			return err
		}
	}
	return o
}

// export makes an export and returns its bytes.
func (w *world) export(t testing.TB, o export.Options) ([]byte, *export.Manifest) {
	t.Helper()
	e, err := export.Prepare(t.Context(), w, o)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	m, err := e.Write(t.Context(), &out)
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), m
}

func (w *world) verify(t testing.TB, archive []byte) (export.Report, error) {
	t.Helper()
	return export.Verify(t.Context(), bytes.NewReader(archive), int64(len(archive)), ledger.VerifierKeys{w.key.public})
}

// part is a file of an archive.
type part struct {
	name string
	body []byte
}

func unpack(t testing.TB, archive []byte) []part {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		t.Fatal(err)
	}
	var out []part
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, part{f.Name, b})
	}
	return out
}

func pack(t testing.TB, parts []part) []byte {
	t.Helper()
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, p := range parts {
		w, err := z.Create(p.name)
		if err == nil {
			_, err = w.Write(p.body)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func file(t testing.TB, parts []part, name string) *part {
	t.Helper()
	for i := range parts {
		if parts[i].name == name {
			return &parts[i]
		}
	}
	t.Fatalf("no file %s", name)
	return nil
}

// resign makes manifest and signature fit what the other files are: what an attacker could do who held the key, and so a
// way to see that the proofs hold without the signature.
func (w *world) resign(t testing.TB, parts []part, change func(m map[string]any)) []part {
	t.Helper()
	manifest := decode(t, file(t, parts, "manifest.json").body)
	var files []any
	for _, p := range parts[:len(parts)-2] {
		sum := sha256.Sum256(p.body)
		files = append(files, map[string]any{"name": p.name, "size": len(p.body), "sha256": fmt.Sprintf("%x", sum)})
	}
	manifest["files"] = files
	if change != nil {
		change(manifest)
	}
	raw := canonical(t, manifest)
	file(t, parts, "manifest.json").body = raw
	sum := sha256.Sum256(raw)
	text := fmt.Sprintf("gatewright/export/v1\n%s\n%s\n", manifest["origin"], base64.StdEncoding.EncodeToString(sum[:]))
	file(t, parts, "manifest.sig").body = w.key.note([]byte(text))
	return parts
}
