// Package rechain shows records in the form that AI Identity exports its audit trail in, so that the tools made for it
// can read and verify them: a chain of HMACs, a certificate with an HMAC, and signed Merkle checkpoints with inclusion
// proofs.
//
// It is a view and says so in every entry: the chain is made for the export, under a key made for it, and the sequence
// numbers count the records of the export. Whoever has that key can verify the chain and could forge one; what binds the
// ledger's instance are the proofs that the export holds beside it, and the signed manifest, which binds these files too.
// The ledger's own chain key is never used here.
//
// The formats: an entry's hash is HMAC-SHA256 over Python's json.dumps(..., sort_keys=True, separators=(",", ":")) of nine
// members; the certificate's over five. Checkpoints are DSSE envelopes signed with ECDSA P-256 over RFC 6962 trees whose
// leaves are the entries' hashes.
package rechain

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/export"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

const (
	genesis     = "GENESIS" // stands for the hash before the first entry
	payloadType = "application/vnd.ai-identity.anchor-checkpoint+json"
	view        = "re-chained by Gatewright for this export"
	// batch is how many entries one checkpoint covers: a proof has at most ten hashes.
	batch = 1024
	// keyBytes is the entropy of a key.
	keyBytes = 32
)

// Maker makes the files. It serves one export.
type Maker struct {
	key    string
	origin string
	id     string
	now    time.Time
	signer *ecdsa.PrivateKey
	rand   io.Reader
	hashes []entryHash
	prev   string
}

type entryHash struct {
	index uint64
	hash  [sha256.Size]byte
}

var _ export.Extra = (*Maker)(nil)

// NewKey makes the key of an export: text, as the verifier takes it from its environment.
func NewKey(rand io.Reader) (string, error) {
	var raw [keyBytes]byte
	if _, err := io.ReadFull(rand, raw[:]); err != nil {
		return "", fmt.Errorf("make a key: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(raw[:]), nil
}

// New makes a Maker for one export, under a key of NewKey.
func New(key string, now time.Time, rand io.Reader) (*Maker, error) {
	if len(key) < keyBytes || now.IsZero() {
		return nil, errors.New("rechain: no key or no time")
	}
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand)
	if err != nil {
		return nil, fmt.Errorf("rechain: make a signing key: %w", err)
	}
	var id [16]byte
	if _, err := io.ReadFull(rand, id[:]); err != nil {
		return nil, fmt.Errorf("rechain: make an id: %w", err)
	}
	return &Maker{key: key, id: hex.EncodeToString(id[:]), now: now.UTC(), signer: signer, rand: rand, prev: genesis}, nil
}

// Files implements export.Extra.
func (m *Maker) Files(ctx context.Context, about *export.About, each export.Each, create func(name string) (io.Writer, error)) error {
	m.origin = about.Origin
	for _, f := range []struct {
		name  string
		write func(w io.Writer) error
	}{
		{"audit.json", func(w io.Writer) error { return m.audit(w, each) }},
		{"report.json", m.report},
		{"c.json", m.checkpoints},
		{"p.json", m.proofs},
		{"public-key.pem", m.publicKey},
		{"readme.txt", m.readme},
	} {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		w, err := create(f.name)
		if err == nil {
			err = f.write(w)
		}
		if err != nil {
			return fmt.Errorf("make %s: %w", f.name, err)
		}
	}
	return nil
}

// entry is one event as it is exported. The hashed members are payload's.
type entry struct {
	ID          uint64 `json:"id"`
	OrgID       string `json:"org_id"`
	UserID      string `json:"user_id,omitempty"`
	Fingerprint string `json:"key_fingerprint"`
	EntryHash   string `json:"entry_hash"`
	EntryOrg    string `json:"entry_hash_org"`
	PrevOrg     string `json:"prev_hash_org"`
	Sequence    uint64 `json:"org_chain_seq"`
	payload
}

// payload is what an entry's hash covers.
type payload struct {
	AgentID  string         `json:"agent_id"`
	Cost     *string        `json:"cost_estimate_usd"`
	Created  string         `json:"created_at"`
	Decision string         `json:"decision"`
	Endpoint string         `json:"endpoint"`
	Latency  *uint64        `json:"latency_ms"`
	Method   string         `json:"method"`
	Prev     string         `json:"prev_hash"`
	Metadata map[string]any `json:"request_metadata"` // texts and whole numbers only: all readers print them alike
}

func (m *Maker) payload(e *wal.Entry, r *ledger.Record) payload {
	p := payload{
		AgentID: r.Agent, Created: iso(time.UnixMicro(r.Time)), Decision: r.Verdict, Endpoint: r.Route, Method: r.Op, Prev: m.prev,
		Metadata: map[string]any{"index": e.Index, "kind": r.Label(), "leaf_hash": merkle.LeafHash(e.Data).String(), "record": r.ID, "view": view},
	}
	if r.Tool != "" {
		p.Endpoint = "/" + r.Server + "/" + r.Tool
	}
	if r.Micros > 0 {
		ms := r.Micros / 1000
		p.Latency = &ms
	}
	for name, value := range map[string]string{"code": r.Code, "outcome": r.Outcome, "of": r.Of, "plan": r.PlanID, "user": r.User} {
		if value != "" {
			p.Metadata[name] = value
		}
	}
	return p
}

// audit writes the chain and keeps the hashes.
func (m *Maker) audit(w io.Writer, each export.Each) error {
	if _, err := io.WriteString(w, `{"events":[`); err != nil {
		return err
	}
	m.hashes, m.prev = nil, genesis
	separator := "\n"
	err := each(func(e *wal.Entry, r *ledger.Record) error {
		line, err := m.entry(e, r)
		if err != nil {
			return fmt.Errorf("record %d: %w", e.Index, err)
		}
		if _, err := io.WriteString(w, separator); err != nil {
			return err
		}
		separator = ",\n"
		_, err = w.Write(line)
		return err
	})
	if err != nil {
		return err
	}
	tail, err := json.Marshal(map[string]any{"scope": map[string]string{"type": "org"}, "source": m.origin, "view": view, "key_fingerprint": m.fingerprint()})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "\n],%s\n", tail[1:])
	return err
}

func (m *Maker) entry(e *wal.Entry, r *ledger.Record) ([]byte, error) {
	p := m.payload(e, r)
	sum, err := m.mac(p)
	if err != nil {
		return nil, err
	}
	hash := hex.EncodeToString(sum)
	out := entry{
		ID: e.Index, OrgID: r.Tenant, UserID: r.User, Fingerprint: m.fingerprint(), EntryHash: hash, EntryOrg: hash,
		PrevOrg: m.prev, Sequence: uint64(len(m.hashes)) + 1, payload: p,
	}
	m.hashes = append(m.hashes, entryHash{e.Index, [sha256.Size]byte(sum)})
	m.prev = hash
	return json.Marshal(out)
}

// mac is HMAC-SHA256 over the text that Python makes of v.
func (m *Maker) mac(v any) ([]byte, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	text, err := canon.AppendPython(nil, raw, canon.DefaultLimits())
	if err != nil {
		return nil, err
	}
	h := hmac.New(sha256.New, []byte(m.key))
	h.Write(text)
	return h.Sum(nil), nil
}

// fingerprint names the key and gives nothing away.
func (m *Maker) fingerprint() string {
	sum := sha256.Sum256([]byte(m.key))
	return hex.EncodeToString(sum[:8])
}

func (m *Maker) report(w io.Writer) error {
	n := len(m.hashes)
	sum, err := m.mac(map[string]any{
		"chain_valid": true, "entries_verified": n, "generated_at": iso(m.now), "report_id": m.id, "total_entries": n,
	})
	if err != nil {
		return err
	}
	return write(w, map[string]any{
		"report_id": m.id, "generated_at": iso(m.now), "report_signature": hex.EncodeToString(sum),
		"chain_verification":           map[string]any{"chain_valid": true, "total_entries": n, "entries_verified": n},
		"verification_key_fingerprint": m.fingerprint(), "source": m.origin, "view": view,
	})
}

// tree is the tree over the entries of one batch.
func (m *Maker) tree(from int) (*merkle.Tree, []entryHash) {
	some := m.hashes[from:min(from+batch, len(m.hashes))]
	leaves := make([]merkle.Hash, len(some))
	for i := range some {
		leaves[i] = merkle.LeafHash(some[i].hash[:])
	}
	return merkle.NewTree(leaves), some
}

func (m *Maker) checkpoints(w io.Writer) error {
	out := []any{}
	for from := 0; from < len(m.hashes); from += batch {
		tree, some := m.tree(from)
		root := tree.Root().String()
		envelope, err := m.sign(map[string]any{
			"merkle_root": root, "tree_size": len(some), "first_audit_id": some[0].index, "last_audit_id": some[len(some)-1].index,
			"signed_at": iso(m.now), "source": m.origin, "view": view,
		})
		if err != nil {
			return err
		}
		out = append(out, map[string]any{"merkle_root": root, "tree_size": len(some), "envelope": envelope})
	}
	return write(w, out)
}

// sign makes a DSSE envelope: the signature is over "DSSEv1", and type and payload with their lengths.
func (m *Maker) sign(v any) (any, error) {
	payload, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	text := "DSSEv1 " + strconv.Itoa(len(payloadType)) + " " + payloadType + " " + strconv.Itoa(len(payload)) + " " + string(payload)
	digest := sha256.Sum256([]byte(text))
	sig, err := ecdsa.SignASN1(m.rand, m.signer, digest[:])
	if err != nil {
		return nil, fmt.Errorf("sign checkpoint: %w", err)
	}
	id, err := m.keyID()
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"payloadType": payloadType, "payload": base64.StdEncoding.EncodeToString(payload),
		"signatures": []any{map[string]string{"keyid": id, "sig": base64.StdEncoding.EncodeToString(sig)}},
	}, nil
}

func (m *Maker) keyID() (string, error) {
	der, err := x509.MarshalPKIXPublicKey(&m.signer.PublicKey)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:8]), nil
}

func (m *Maker) publicKey(w io.Writer) error {
	der, err := x509.MarshalPKIXPublicKey(&m.signer.PublicKey)
	if err != nil {
		return err
	}
	return pem.Encode(w, &pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// proofs writes one proof after another: together they may be larger than what should be held.
func (m *Maker) proofs(w io.Writer) error {
	if _, err := io.WriteString(w, `{"pending":[],"proofs":[`); err != nil {
		return err
	}
	separator := "\n"
	var path []merkle.Hash
	for from := 0; from < len(m.hashes); from += batch {
		tree, some := m.tree(from)
		root := tree.Root().String()
		for i := range some {
			path = tree.AppendInclusion(path[:0], uint64(i))
			line, err := json.Marshal(map[string]any{
				"audit_id": some[i].index, "entry_hash": hex.EncodeToString(some[i].hash[:]), "merkle_root": root,
				"index": i, "tree_size": len(some), "proof": append([]merkle.Hash{}, path...),
			})
			if err != nil {
				return err
			}
			if _, err := io.WriteString(w, separator+string(line)); err != nil {
				return err
			}
			separator = ",\n"
		}
	}
	_, err := io.WriteString(w, "\n]}\n")
	return err
}

func (m *Maker) readme(w io.Writer) error {
	_, err := fmt.Fprintf(w, `This is a view of records from the ledger %s,
made in the form of AI Identity's audit exports so that ai_identity_verify.py reads it:

  AI_IDENTITY_HMAC_KEY=KEY ai_identity_verify.py chain audit.json
  AI_IDENTITY_HMAC_KEY=KEY ai_identity_verify.py report report.json
  ai_identity_verify.py inclusion-proof --checkpoints c.json --proofs p.json --pubkey public-key.pem

The chain was made for this export, under a key made for it (fingerprint %s); its
sequence numbers count the records of this export. The key came beside the archive and is
not in it: whoever has it can verify the chain and could make another one.
The key of public-key.pem was made for this export as well. The gateway vouches for it, as for
every file here, by its signature over manifest.json.

Count the entries: there are %d. That verifier does not see when the end was cut off or rows
were put in another order; gatewright verify does. latency_ms counts whole milliseconds.

What binds the gateway are records.jsonl, checkpoint, proof, manifest.json and manifest.sig:

  gatewright verify --key ledger.pub EXPORT.zip
`, m.origin, m.fingerprint(), len(m.hashes))
	return err
}

func write(w io.Writer, v any) error {
	out, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err
	}
	_, err = w.Write(append(out, '\n'))
	return err
}

// iso is a time as Python's datetime.isoformat prints it in UTC, always with microseconds.
func iso(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000") + "+00:00" }
