package ledger

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// ErrWitness is a note that witnesses did not cosign as asked, or whose cosignatures cannot be checked.
var ErrWitness = errors.New("cosignatures are not valid")

// errSignature is a signature that its key did not make.
var errSignature = errors.New("signature is wrong")

const (
	// cosignatureHead starts what an Ed25519 cosigner signs (C2SP tlog-cosignature).
	cosignatureHead = "cosignature/v1\ntime "
	// subtreeHead starts what an ML-DSA-44 cosigner signs, its last byte a zero.
	subtreeHead = "subtree/v1\n\x00"
	// maxShort is the longest name or origin an ML-DSA-44 cosigner can sign for.
	maxShort = math.MaxUint8
	// stamp counts the bytes of a cosignature's time, before the signature proper.
	stamp = 8
)

// Scheme checks signatures of a kind that the standard library does not have. Package merkle/ledger/mldsa has that of
// ML-DSA-44; without it keys of that type can be read and printed, and verify nothing. Implementations are safe for
// concurrent use.
type Scheme interface {
	KeyType() KeyType
	Verify(key, message, sig []byte) bool
}

// CosignedMessage returns what a cosigner of that type and name signs for a checkpoint's text at a time, in seconds since
// 1970 (C2SP tlog-cosignature). For type 0x06 the text must be that of a checkpoint; its extension lines are not signed.
func CosignedMessage(typ KeyType, name string, body []byte, at uint64) ([]byte, error) {
	if at > math.MaxInt64 {
		return nil, fmt.Errorf("%w: time %d", ErrWitness, at)
	}
	if typ == KeyCosignature {
		b := strconv.AppendUint([]byte(cosignatureHead), at, 10)
		return append(append(b, '\n'), body...), nil
	}
	cp, err := parseBody(body)
	if err != nil {
		return nil, err
	}
	if typ != KeyMLDSA44 || len(name) > maxShort || len(cp.Origin) > maxShort || name == "" {
		return nil, fmt.Errorf("%w: nothing to sign for a key of type %#02x", ErrWitness, byte(typ))
	}
	b := append([]byte(subtreeHead), byte(len(name)))
	b = append(b, name...)
	b = binary.BigEndian.AppendUint64(b, at)
	b = append(append(b, byte(len(cp.Origin))), cp.Origin...)
	b = binary.BigEndian.AppendUint64(b, 0)
	b = binary.BigEndian.AppendUint64(b, cp.Size)
	return append(b, cp.Root[:]...), nil
}

// VerifyNote checks a signature line's bytes after the key hash over a note's text. For cosigners it returns the time of
// the cosignature; the zero time when the cosigner stated none, or the key is of a type that states none.
func (k VerifierKey) VerifyNote(body, sig []byte) (time.Time, error) {
	if k.Type() == KeyEd25519 {
		if len(k.Key) != ed25519.PublicKeySize || !ed25519.Verify(k.Key, body, sig) {
			return time.Time{}, errSignature
		}
		return time.Time{}, nil
	}
	if len(sig) < stamp {
		return time.Time{}, errSignature
	}
	at := binary.BigEndian.Uint64(sig)
	message, err := CosignedMessage(k.Type(), k.Name, body, at)
	if err != nil {
		return time.Time{}, err
	}
	if !k.cosigner.verify(message, sig[stamp:]) {
		return time.Time{}, errSignature
	}
	if at == 0 {
		return time.Time{}, nil
	}
	return time.Unix(int64(at), 0), nil //nolint:gosec // CosignedMessage holds it to 63 bits
}

// NoteSignature is one signature line of a note.
type NoteSignature struct {
	Name string
	Hash uint32
	Sig  []byte // what follows the key hash
	Line string // as it stands, with its line end
}

// ReadNote takes a signed note apart without checking who signed it: its text, and its signature lines. It is strict
// about the form (C2SP signed-note).
func ReadNote(note []byte) (body []byte, sigs []NoteSignature, err error) {
	if !utf8.Valid(note) || bytes.ContainsFunc(note, func(r rune) bool { return r < ' ' && r != '\n' }) {
		return nil, nil, fmt.Errorf("%w: not a signed note", ErrCheckpoint)
	}
	body, lines, err := splitNote(note)
	if err != nil {
		return nil, nil, err
	}
	sigs, err = ReadSignatures(lines)
	return body, sigs, err
}

// ReadSignatures takes signature lines apart; each must end in a line end.
func ReadSignatures(lines []byte) ([]NoteSignature, error) {
	var sigs []NoteSignature
	for line := range strings.Lines(string(lines)) {
		name, raw, err := signatureLine(line)
		if err != nil {
			return nil, err
		}
		if !strings.HasSuffix(line, "\n") {
			return nil, fmt.Errorf("%w: a signature line does not end", ErrCheckpoint)
		}
		sigs = append(sigs, NoteSignature{Name: name, Hash: binary.BigEndian.Uint32(raw), Sig: raw[4:], Line: line})
	}
	return sigs, nil
}

// AppendSignature appends the signature line of a key.
func AppendSignature(dst []byte, name string, hash uint32, sig []byte) []byte {
	raw := append(binary.BigEndian.AppendUint32(nil, hash), sig...)
	dst = append(dst, sigPrefix+name+" "...)
	dst = base64.StdEncoding.AppendEncode(dst, raw)
	return append(dst, '\n')
}

// Find returns the key under which a line stands, and whether the signature is right. As the note format demands, a line
// of no key is to be passed over, and a wrong signature under a known key refuses the note: that is an error.
func (ks VerifierKeys) Find(body []byte, s NoteSignature) (VerifierKey, time.Time, bool, error) {
	err := error(nil)
	for _, k := range ks {
		if k.Hash != s.Hash || k.Name != s.Name {
			continue
		}
		at, bad := k.VerifyNote(body, s.Sig)
		if bad == nil {
			return k, at, true, nil
		}
		err = fmt.Errorf("%w: the signature of %q: %w", ErrCheckpoint, clip(s.Name), bad)
	}
	return VerifierKey{}, time.Time{}, false, err
}

// WitnessPolicy says which witnesses a verifier knows and how many of them must have seen a checkpoint. The zero policy
// asks for none.
type WitnessPolicy struct {
	Keys []VerifierKey // of types 0x04 and 0x06; a witness may have several under its name
	Need int           // k of n, counted by name
}

// Validate refuses a policy that could not be met, or not be checked.
func (p WitnessPolicy) Validate() error {
	var names []string
	owner := map[string]string{} // of a key's bytes: type 0x04 does not sign the name, one key must not count as two
	for _, k := range p.Keys {
		if k.Type() == KeyEd25519 {
			return fmt.Errorf("%w: %q is no key of a witness", ErrWitness, clip(k.Name))
		}
		if !k.cosigner.usable() {
			return fmt.Errorf("%w: the key of %q is of type %#02x, which is not built in here", ErrWitness, clip(k.Name), byte(k.Type()))
		}
		if name, known := owner[k.cosigner.key]; known && name != k.Name {
			return fmt.Errorf("%w: %q and %q have the same key", ErrWitness, clip(name), clip(k.Name))
		}
		owner[k.cosigner.key] = k.Name
		if !slices.Contains(names, k.Name) {
			names = append(names, k.Name)
		}
	}
	if p.Need < 0 || p.Need > len(names) {
		return fmt.Errorf("%w: %d of %d witnesses", ErrWitness, p.Need, len(names))
	}
	return nil
}

// Check counts the known witnesses that cosigned a note, and returns their names. Signatures of others are passed over; a
// wrong one under a known key refuses the note; a cosignature that states no time does not count. It does not look who
// signed the checkpoint itself: OpenCheckpoint does. Errors are ErrWitness and ErrCheckpoint.
func (p WitnessPolicy) Check(note []byte) (seen []string, err error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	body, sigs, err := ReadNote(note)
	if err != nil {
		return nil, err
	}
	for _, s := range sigs {
		k, at, ok, err := VerifierKeys(p.Keys).Find(body, s)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrWitness, err)
		}
		if ok && !at.IsZero() && !slices.Contains(seen, k.Name) {
			seen = append(seen, k.Name)
		}
	}
	if len(seen) < p.Need {
		return seen, fmt.Errorf("%w: %d witnesses cosigned, %d must have", ErrWitness, len(seen), p.Need)
	}
	return seen, nil
}

// Cosigner is a witness's Ed25519 key: it signs checkpoints with the time (type 0x04). The zero value signs nothing.
type Cosigner struct {
	public  VerifierKey
	private ed25519.PrivateKey
}

// NewCosigner names a private key. The same key must not serve under another name, nor sign anything else.
func NewCosigner(name string, key ed25519.PrivateKey) (Cosigner, error) {
	if len(key) != ed25519.PrivateKeySize {
		return Cosigner{}, fmt.Errorf("%w: %d bytes", ErrKey, len(key))
	}
	pub, err := NewWitnessKey(name, KeyCosignature, key.Public().(ed25519.PublicKey))
	return Cosigner{public: pub, private: key}, err
}

// Public is the key under which the cosignatures verify.
func (c Cosigner) Public() VerifierKey { return c.public }

// KeyName is the name in the signature line.
func (c Cosigner) KeyName() string { return c.public.Name }

// KeyHash is the key hash in the signature line.
func (c Cosigner) KeyHash() uint32 { return c.public.Hash }

// SignNote signs a checkpoint's text at a time, in whole seconds after 1970, and returns the bytes after the key hash.
func (c Cosigner) SignNote(body []byte, at time.Time) ([]byte, error) {
	if len(c.private) != ed25519.PrivateKeySize || at.Unix() <= 0 {
		return nil, fmt.Errorf("%w: no key or no time to sign with", ErrWitness)
	}
	sec := uint64(at.Unix()) //nolint:gosec // positive
	message, err := CosignedMessage(KeyCosignature, c.public.Name, body, sec)
	if err != nil {
		return nil, err
	}
	return append(binary.BigEndian.AppendUint64(nil, sec), ed25519.Sign(c.private, message)...), nil
}
