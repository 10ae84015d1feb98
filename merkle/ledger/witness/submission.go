package witness

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// submission is the body of add-checkpoint: an old size line, proof lines, an empty line, and a checkpoint.
type submission struct {
	ledger.Checkpoint
	old   uint64
	proof []merkle.Hash
	body  []byte // the checkpoint's text
	sigs  []ledger.NoteSignature
}

var errSubmission = errors.New("the request is malformed")

func parseSubmission(b []byte) (*submission, error) {
	head, note, ok := bytes.Cut(b, []byte("\n\n"))
	if !ok {
		return nil, fmt.Errorf("%w: no empty line before the checkpoint", errSubmission)
	}
	lines := strings.Split(string(head), "\n")
	text, ok := strings.CutPrefix(lines[0], "old ")
	sub := &submission{}
	var err error
	if sub.old, err = parseSize(text); !ok || err != nil {
		return nil, fmt.Errorf("%w: the first line is not an old size", errSubmission)
	}
	if sub.proof, err = parseProof(lines[1:]); err != nil {
		return nil, err
	}
	if sub.body, sub.sigs, err = ledger.ReadNote(note); err != nil {
		return nil, err
	}
	if len(sub.sigs) > maxLines {
		return nil, fmt.Errorf("%w: more than %d signature lines", errSubmission, maxLines)
	}
	if bytes.Contains(sub.body, []byte("\n\n")) {
		return nil, fmt.Errorf("%w: an empty line in the checkpoint", errSubmission)
	}
	sub.Checkpoint, err = ledger.ReadCheckpoint(note)
	return sub, err
}

// parseSize reads a size as the protocol writes it: decimal, no sign, no leading zero, below 2^63.
func parseSize(text string) (uint64, error) {
	n, err := strconv.ParseUint(text, 10, 63)
	if err == nil && strconv.FormatUint(n, 10) != text {
		err = strconv.ErrSyntax
	}
	if err != nil {
		return 0, fmt.Errorf("%w: not a size", errSubmission)
	}
	return n, nil
}

func parseProof(lines []string) ([]merkle.Hash, error) {
	if len(lines) > maxProofLines {
		return nil, fmt.Errorf("%w: more than %d proof lines", errSubmission, maxProofLines)
	}
	proof := make([]merkle.Hash, 0, len(lines))
	for _, line := range lines {
		h, err := base64.StdEncoding.Strict().DecodeString(line)
		if err != nil || len(h) != merkle.HashSize || strings.Contains(line, "\r") {
			return nil, fmt.Errorf("%w: a proof line is no hash", errSubmission)
		}
		proof = append(proof, merkle.Hash(h))
	}
	return proof, nil
}

// appendSubmission writes the body of add-checkpoint.
func appendSubmission(dst []byte, old uint64, proof []merkle.Hash, note []byte) []byte {
	dst = strconv.AppendUint(append(dst, "old "...), old, 10)
	dst = append(dst, '\n')
	for i := range proof {
		dst = append(base64.StdEncoding.AppendEncode(dst, proof[i][:]), '\n')
	}
	return append(append(dst, '\n'), note...)
}

// signedBy returns the signature lines that keys of the log made, the first one of each key: anybody can repeat a line. It
// fails when there is none, and when one that claims to be of such a key is wrong.
func (sub *submission) signedBy(keys ledger.VerifierKeys) ([]byte, error) {
	type signer struct {
		name string
		hash uint32
	}
	var lines []byte
	kept, seen := map[signer]bool{}, map[string]bool{}
	for _, s := range sub.sigs {
		if seen[s.Line] {
			continue
		}
		seen[s.Line] = true
		k, _, ok, err := keys.Find(sub.body, s)
		if err != nil {
			return nil, err
		}
		if by := (signer{k.Name, k.Hash}); ok && !kept[by] {
			kept[by] = true
			lines = append(lines, s.Line...)
		}
	}
	if lines == nil {
		return nil, errors.New("no key known for this origin signed the checkpoint")
	}
	return lines, nil
}
