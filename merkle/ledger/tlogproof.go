package ledger

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/canon"
)

// Proof shows offline that an entry stands in a log: its index, the way from its leaf to the root, and the checkpoint
// that the log signed. Its text is a C2SP tlog-proof, by custom in a file that ends in .tlog-proof.
//
// # Cosigned proofs
//
// Witnesses do not see tenants' logs. They see the log of checkpoints, each leaf of which is
//
//	SHA-256(0x00 || salt || text of a tenant's checkpoint)
//
// with a salt of 32 bytes that hides it from everyone else. So a tenant's proof that is to show what witnesses saw carries,
// in its extra line, the way on: the RFC 8785 form of a JSON object with the members
//
//	checkpoints  the tlog-proof of that leaf in the log of checkpoints, whose checkpoint has the cosignatures
//	salt         the salt, in base64
//	typ          "gatewright/cosigned/v1"
//
// Nothing in the extra line is trusted: it is an address, and Verify follows it down to signatures.
type Proof struct {
	Extra      []byte // empty: none
	Index      uint64
	Hashes     []merkle.Hash // from the leaf upwards (RFC 6962, section 2.1.1)
	Checkpoint []byte        // the signed note, as it was given
}

// ErrProof is a proof that is malformed or does not prove what is asked.
var ErrProof = errors.New("log proof is not valid")

// SaltSize is the length of a salt in the log of checkpoints, in bytes.
const SaltSize = 32

const (
	proofHead   = "c2sp.org/tlog-proof@v1\n"
	proofExtra  = "extra "
	proofIndex  = "index "
	cosignedTyp = "gatewright/cosigned/v1"
	// maxHashes is the longest way in a tree of at most 2^63 leaves.
	maxHashes = 63
	// maxInner bounds the text of a proof without an extra line: the note, the hashes and the lines before them.
	maxInner = maxNote + maxHashes*45 + 64
	// maxExtra bounds an extra line's bytes: a proof as a JSON string, whose line ends take two bytes, and the salt.
	maxExtra = maxInner + maxInner/8 + 256
	// MaxProof bounds the text of a proof in bytes.
	MaxProof = maxInner + maxExtra*4/3 + 16
)

// Text returns the tlog-proof.
func (p *Proof) Text() []byte {
	out := []byte(proofHead)
	if len(p.Extra) > 0 {
		out = append(out, proofExtra...)
		out = base64.StdEncoding.AppendEncode(out, p.Extra)
		out = append(out, '\n')
	}
	out = append(out, proofIndex...)
	out = strconv.AppendUint(out, p.Index, 10)
	out = append(out, '\n')
	for i := range p.Hashes {
		out = base64.StdEncoding.AppendEncode(out, p.Hashes[i][:])
		out = append(out, '\n')
	}
	out = append(out, '\n')
	return append(out, p.Checkpoint...)
}

// ParseProof reads a tlog-proof. It checks the form only, and no two texts are read as one proof: what it returns proves
// nothing before Verify. Errors are ErrProof.
func ParseProof(text []byte) (*Proof, error) {
	if len(text) > MaxProof {
		return nil, fmt.Errorf("%w: %d bytes", ErrProof, len(text))
	}
	head, note, ok := bytes.Cut(text, []byte("\n\n"))
	rest, named := bytes.CutPrefix(append(bytes.Clone(head), '\n'), []byte(proofHead))
	if !ok || !named {
		return nil, fmt.Errorf("%w: not a tlog-proof", ErrProof)
	}
	p := &Proof{Checkpoint: bytes.Clone(note)}
	if err := p.parseLines(strings.SplitAfter(string(rest), "\n")); err != nil {
		return nil, err
	}
	body, _, err := ReadNote(p.Checkpoint)
	if err == nil {
		_, err = parseBody(body)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProof, err)
	}
	if !bytes.Equal(p.Text(), text) {
		return nil, fmt.Errorf("%w: another spelling", ErrProof)
	}
	return p, nil
}

// parseLines reads what stands before the checkpoint; the last of lines is what follows the last line end.
func (p *Proof) parseLines(lines []string) (err error) {
	if extra, ok := strings.CutPrefix(lines[0], proofExtra); ok {
		if p.Extra, err = strictBase64(extra); err != nil || len(p.Extra) == 0 || len(p.Extra) > maxExtra {
			return fmt.Errorf("%w: malformed extra line", ErrProof)
		}
		lines = lines[1:]
	}
	digits, ok := strings.CutPrefix(lines[0], proofIndex)
	p.Index, err = strconv.ParseUint(strings.TrimSuffix(digits, "\n"), 10, 63)
	if !ok || err != nil {
		return fmt.Errorf("%w: malformed index", ErrProof)
	}
	lines = lines[1 : len(lines)-1]
	if len(lines) > maxHashes {
		return fmt.Errorf("%w: %d hashes", ErrProof, len(lines))
	}
	for _, line := range lines {
		h, err := strictBase64(line)
		if err != nil || len(h) != merkle.HashSize {
			return fmt.Errorf("%w: malformed hash", ErrProof)
		}
		p.Hashes = append(p.Hashes, merkle.Hash(h))
	}
	return nil
}

// strictBase64 reads a line of base64 that has one spelling.
func strictBase64(line string) ([]byte, error) {
	text := strings.TrimSuffix(line, "\n")
	if strings.ContainsAny(text, "\r\n") {
		return nil, ErrProof // the decoder would pass over them
	}
	return base64.StdEncoding.Strict().DecodeString(text)
}

// Verify checks that a leaf stands in a log whose checkpoint a pinned key signed that may sign for it, and returns that
// checkpoint; whether its origin is the log that was meant is for the caller to see. With a policy that asks for
// witnesses, enough of them must have cosigned the checkpoint, or the log of checkpoints that holds it. Errors are
// ErrProof.
func (p *Proof) Verify(leaf merkle.Hash, keys VerifierKeys, witnesses WitnessPolicy) (Checkpoint, error) {
	cp, err := p.include(leaf, keys)
	if err == nil {
		err = p.cosigned(cp, keys, witnesses)
	}
	if err != nil && !errors.Is(err, ErrProof) {
		err = fmt.Errorf("%w: %w", ErrProof, err)
	}
	if err != nil {
		return Checkpoint{}, err
	}
	return cp, nil
}

// include checks signature and inclusion.
func (p *Proof) include(leaf merkle.Hash, keys VerifierKeys) (Checkpoint, error) {
	read, err := ReadCheckpoint(p.Checkpoint)
	if err != nil {
		return Checkpoint{}, err
	}
	var own VerifierKeys // a key of another instance says nothing about this log
	for i := range keys {
		if SignsFor(keys[i].Name, read.Origin) {
			own = append(own, keys[i])
		}
	}
	cp, err := OpenCheckpoint(p.Checkpoint, own)
	if err != nil {
		return Checkpoint{}, err
	}
	return cp, merkle.VerifyInclusion(leaf, p.Index, cp.Size, p.Hashes, cp.Root)
}

// cosigned checks the witnesses: of the checkpoint itself, or of the log of checkpoints that the extra line leads to. A
// wrong cosignature of a known witness refuses the proof in any case.
func (p *Proof) cosigned(cp Checkpoint, keys VerifierKeys, witnesses WitnessPolicy) error {
	if err := witnesses.Validate(); err != nil {
		return err
	}
	seen, err := WitnessPolicy{Keys: witnesses.Keys}.Check(p.Checkpoint)
	if err != nil || len(seen) >= witnesses.Need {
		return err
	}
	salt, inner, err := p.Cosigned()
	if err != nil {
		return fmt.Errorf("%w: %d witnesses cosigned, %d must have; %w", ErrWitness, len(seen), witnesses.Need, err)
	}
	body, _, err := ReadNote(p.Checkpoint)
	if err != nil {
		return err
	}
	log, err := inner.include(CheckpointLeaf(salt, body), keys)
	if err != nil {
		return fmt.Errorf("in the log of checkpoints: %w", err)
	}
	host, _, instance, ok := ParseOrigin(cp.Origin)
	if !ok || log.Origin != Origin(host, CheckpointsLog, instance) {
		return fmt.Errorf("%w: %q is not the log of checkpoints of %q", ErrProof, clip(log.Origin), clip(cp.Origin))
	}
	_, err = witnesses.Check(inner.Checkpoint)
	return err
}

// CheckpointLeaf is the leaf of a checkpoint's text in the log of checkpoints.
func CheckpointLeaf(salt, body []byte) merkle.Hash {
	return merkle.LeafHash(append(bytes.Clone(salt), body...))
}

// cosignedForm is the extra line of a cosigned proof.
type cosignedForm struct {
	Checkpoints string `json:"checkpoints"`
	Salt        []byte `json:"salt"`
	Typ         string `json:"typ"`
}

// Cosign gives the proof its extra line: the salt, and the proof of its checkpoint in the log of checkpoints.
func (p *Proof) Cosign(salt []byte, inner *Proof) error {
	extra, err := cosignedForm{string(inner.Text()), salt, cosignedTyp}.canonical()
	if err == nil && (len(salt) != SaltSize || len(extra) > maxExtra) {
		err = ErrProof
	}
	if err != nil {
		return fmt.Errorf("cosign proof: %w", err)
	}
	p.Extra = extra
	return nil
}

func (f cosignedForm) canonical() ([]byte, error) {
	b, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	return canon.AppendCanonical(nil, b, canon.DefaultLimits())
}

// Cosigned reads the extra line of a cosigned proof. It proves nothing by itself.
func (p *Proof) Cosigned() (salt []byte, inner *Proof, err error) {
	var f cosignedForm
	if len(p.Extra) == 0 || json.Unmarshal(p.Extra, &f) != nil || f.Typ != cosignedTyp || len(f.Salt) != SaltSize {
		return nil, nil, fmt.Errorf("%w: it does not lead to the log of checkpoints", ErrProof)
	}
	if again, err := f.canonical(); err != nil || !bytes.Equal(again, p.Extra) {
		return nil, nil, fmt.Errorf("%w: another spelling of the extra line", ErrProof)
	}
	if inner, err = ParseProof([]byte(f.Checkpoints)); err != nil {
		return nil, nil, err
	}
	if len(inner.Extra) > 0 {
		return nil, nil, fmt.Errorf("%w: an extra line inside the extra line", ErrProof)
	}
	return f.Salt, inner, nil
}
