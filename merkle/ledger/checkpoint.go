package ledger

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gatewright/gatewright/merkle"
)

// Checkpoint is the state of one tenant's tree at one instance. Its signed form is a C2SP
// tlog-checkpoint in a C2SP signed note, so tools from elsewhere read it. The key that signs is
// named after the instance's own log and not after each tenant's: one pinned key covers them all.
type Checkpoint struct {
	Origin string // HOST/ledger/TENANT/INSTANCE
	Size   uint64
	Root   merkle.Hash
}

const (
	// maxNote bounds a signed checkpoint in bytes: room for the 16 signatures that the note format wants taken, each of
	// the largest kind it speaks of (5 kB of a post-quantum signature).
	maxNote = 96 << 10
	// sigPrefix starts a signature line: em dash, space.
	sigPrefix = "\u2014 "
)

// ErrCheckpoint is a checkpoint that is malformed or that no pinned key signed.
var ErrCheckpoint = errors.New("checkpoint is not valid")

// Origin names the log of one tenant at one instance of host.
func Origin(host, tenant, instance string) string {
	return host + "/ledger/" + tenant + "/" + instance
}

// CheckpointsLog stands where a tenant's name does in the origin of the log of checkpoints. It is no tenant's name.
const CheckpointsLog = "_checkpoints"

// ParseOrigin takes an origin apart: HOST/ledger/TENANT/INSTANCE, or the name of a key, which has the same form.
func ParseOrigin(origin string) (host, tenant, instance string, ok bool) {
	rest, instance, ok1 := cutLast(origin)
	rest, tenant, ok2 := cutLast(rest)
	host, ok = strings.CutSuffix(rest, "/ledger")
	if !ok1 || !ok2 || !ok || host == "" || instance == "" || tenant != CheckpointsLog && !ValidTenant(tenant) {
		return "", "", "", false
	}
	return host, tenant, instance, true
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, '/')
	if i < 0 {
		return "", "", false
	}
	return s[:i], s[i+1:], true
}

// SignsFor reports whether a key of that name may sign for an origin: both are of one instance at one host. A ledger that
// was restored has a generation after its instance's name, as in gw-1.2, and goes on under the same key.
func SignsFor(name, origin string) bool {
	host, tenant, instance, ok := ParseOrigin(name)
	host2, _, instance2, ok2 := ParseOrigin(origin)
	if !ok || !ok2 || host != host2 || tenant != InstanceTenant {
		return false
	}
	generation, restored := strings.CutPrefix(instance2, instance+".")
	if !restored {
		return instance == instance2
	}
	n, err := strconv.ParseUint(generation, 10, 32)
	return err == nil && n > 0 && strconv.FormatUint(n, 10) == generation
}

// Body is the text that is signed.
func (c Checkpoint) Body() []byte {
	b := append([]byte(c.Origin), '\n')
	b = strconv.AppendUint(b, c.Size, 10)
	b = append(b, '\n')
	b = base64.StdEncoding.AppendEncode(b, c.Root[:])
	return append(b, '\n')
}

// NoteSigner signs notes under a name. Signer is one, with Ed25519; Cosigner and package mldsa have others, which also sign
// the time. Implementations are safe for concurrent use.
type NoteSigner interface {
	KeyName() string
	KeyHash() uint32
	// SignNote returns what follows the key hash in the signature line of a note's text.
	SignNote(body []byte, at time.Time) ([]byte, error)
}

// Sign returns the signed note, of signers that do not sign the time. Signers is a list, so that keys can overlap.
func (c Checkpoint) Sign(signers ...NoteSigner) ([]byte, error) {
	return c.SignAt(time.Time{}, signers...)
}

// SignAt returns the signed note. The format wants an Ed25519 signature of the log's own among them, by custom the first.
func (c Checkpoint) SignAt(at time.Time, signers ...NoteSigner) ([]byte, error) {
	body := c.Body()
	out := append(bytes.Clone(body), '\n')
	for _, s := range signers {
		sig, err := s.SignNote(body, at)
		if err != nil {
			return nil, fmt.Errorf("sign checkpoint as %q: %w", clip(s.KeyName()), err)
		}
		out = AppendSignature(out, s.KeyName(), s.KeyHash(), sig)
	}
	return out, nil
}

// Signer is a named Ed25519 key pair.
type Signer struct {
	Public  VerifierKey
	Private ed25519.PrivateKey
}

// NewSigner names a private key.
func NewSigner(name string, key ed25519.PrivateKey) (Signer, error) {
	if len(key) != ed25519.PrivateKeySize {
		return Signer{}, fmt.Errorf("%w: %d bytes", ErrKey, len(key))
	}
	pub, err := NewVerifierKey(name, key.Public().(ed25519.PublicKey))
	return Signer{Public: pub, Private: key}, err
}

// KeyName is the name in the signature line.
func (s Signer) KeyName() string { return s.Public.Name }

// KeyHash is the key hash in the signature line.
func (s Signer) KeyHash() uint32 { return s.Public.Hash }

// SignNote signs a note's text; an Ed25519 signature of type 0x01 carries no time.
func (s Signer) SignNote(body []byte, _ time.Time) ([]byte, error) {
	if len(s.Private) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("%w: no key to sign with", ErrKey)
	}
	return ed25519.Sign(s.Private, body), nil
}

// OpenCheckpoint reads a signed note and returns the checkpoint when a pinned key signed it. As the
// note format demands, signatures of keys that are not pinned are passed over, and one that fails
// under a pinned key refuses the note.
func OpenCheckpoint(signed []byte, keys VerifierKeys) (Checkpoint, error) {
	body, sigs, err := splitNote(signed)
	if err != nil {
		return Checkpoint{}, err
	}
	good := false
	for line := range strings.Lines(string(sigs)) {
		name, raw, err := signatureLine(line)
		if err != nil {
			return Checkpoint{}, err
		}
		hash := binary.BigEndian.Uint32(raw)
		switch {
		case !keys.pinned(name, hash):
		case keys.verify(name, hash, body, raw[4:]):
			good = true
		default:
			return Checkpoint{}, fmt.Errorf("%w: the signature of %q is wrong", ErrCheckpoint, clip(name))
		}
	}
	if !good {
		return Checkpoint{}, fmt.Errorf("%w: no pinned key signed it", ErrCheckpoint)
	}
	return parseBody(body)
}

// ReadCheckpoint reads a signed note without checking who signed it.
func ReadCheckpoint(signed []byte) (Checkpoint, error) {
	body, _, err := splitNote(signed)
	if err != nil {
		return Checkpoint{}, err
	}
	return parseBody(body)
}

func (ks VerifierKeys) pinned(name string, hash uint32) bool {
	for i := range ks {
		if ks[i].Hash == hash && ks[i].Name == name {
			return true
		}
	}
	return false
}

// splitNote cuts a note at its last empty line: text that is signed, signature lines.
func splitNote(signed []byte) (body, sigs []byte, err error) {
	i := bytes.LastIndex(signed, []byte("\n\n"))
	if len(signed) > maxNote || i < 0 || !bytes.HasSuffix(signed, []byte("\n")) || i+2 == len(signed) {
		return nil, nil, fmt.Errorf("%w: not a signed note", ErrCheckpoint)
	}
	return signed[:i+1], signed[i+2:], nil
}

func signatureLine(line string) (name string, raw []byte, err error) {
	rest, dash := strings.CutPrefix(strings.TrimSuffix(line, "\n"), sigPrefix)
	name, enc, ok := strings.Cut(rest, " ")
	// The decoder would pass over a carriage return.
	if !dash || !ok || !validKeyName(name) || strings.ContainsRune(enc, '\r') {
		return "", nil, fmt.Errorf("%w: malformed signature line", ErrCheckpoint)
	}
	raw, err = base64.StdEncoding.Strict().DecodeString(enc)
	if err != nil || len(raw) < 5 {
		return "", nil, fmt.Errorf("%w: malformed signature", ErrCheckpoint)
	}
	return name, raw, nil
}

// ParseCheckpointBody reads the text of a checkpoint, as Body writes it and nothing else.
func ParseCheckpointBody(body []byte) (Checkpoint, error) {
	cp, err := parseBody(body)
	if err == nil && !bytes.Equal(cp.Body(), body) {
		return Checkpoint{}, fmt.Errorf("%w: another spelling", ErrCheckpoint)
	}
	return cp, err
}

func parseBody(body []byte) (Checkpoint, error) {
	lines := strings.Split(string(body), "\n")
	if len(lines) < 4 || lines[0] == "" {
		return Checkpoint{}, fmt.Errorf("%w: malformed body", ErrCheckpoint)
	}
	size, err := strconv.ParseUint(lines[1], 10, 63)
	if err != nil || strconv.FormatUint(size, 10) != lines[1] {
		return Checkpoint{}, fmt.Errorf("%w: malformed size", ErrCheckpoint)
	}
	root, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || len(root) != merkle.HashSize {
		return Checkpoint{}, fmt.Errorf("%w: malformed root", ErrCheckpoint)
	}
	return Checkpoint{Origin: lines[0], Size: size, Root: merkle.Hash(root)}, nil
}
