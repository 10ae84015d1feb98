package export

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/gatewright/gatewright/merkle"
)

// The proof is text: a line that names the format, the size of the tree, a line for each run of indices ("7" or "9-12"),
// an empty line, and the hashes of the multiproof in base64, one a line. An export without records has neither runs nor
// hashes.
const proofHead = "gatewright/multiproof/v1\n"

// maxProofLine bounds a line: two numbers, or a hash.
const maxProofLine = 64

// writeProof writes the proof of the runs. No hash is kept.
func writeProof(w io.Writer, size uint64, runs []Run, subtree merkle.Subtree) error {
	line := strconv.AppendUint([]byte(proofHead), size, 10)
	line = append(line, '\n')
	for _, r := range runs {
		line = strconv.AppendUint(line, r.First, 10)
		if r.Last > r.First {
			line = strconv.AppendUint(append(line, '-'), r.Last, 10)
		}
		line = append(line, '\n')
		if len(line) < page {
			continue
		}
		if _, err := w.Write(line); err != nil {
			return err
		}
		line = line[:0]
	}
	if _, err := w.Write(append(line, '\n')); err != nil {
		return err
	}
	if len(runs) == 0 {
		return nil
	}
	p := merkle.NewProver(size, subtree, func(h merkle.Hash) error {
		line = append(base64.StdEncoding.AppendEncode(line[:0], h[:]), '\n')
		_, err := w.Write(line)
		return err
	})
	for _, r := range runs {
		if err := p.Leaves(r.First, r.Last); err != nil {
			return err
		}
	}
	return p.Close()
}

// proofReader reads a proof's two lists side by side, each from a reader of its own.
type proofReader struct {
	runs, nodes *bufio.Scanner
	run         Run
	left        bool // run is not used up
	any         bool // there was a run
}

// newProof opens a proof about the tree of that size. Both readers give the same bytes.
func newProof(runs, nodes io.Reader, size uint64) (*proofReader, error) {
	p := &proofReader{runs: lines(runs, maxProofLine), nodes: lines(nodes, maxProofLine)}
	for _, s := range []*bufio.Scanner{p.runs, p.nodes} {
		head, n := text(s), text(s)
		if head+"\n" != proofHead || n != strconv.FormatUint(size, 10) {
			return nil, fmt.Errorf("%w: the proof is not about %d records", ErrExport, size)
		}
	}
	for text(p.nodes) != "" { // to the empty line; a missing one shows at the first hash
		continue
	}
	return p, p.advance()
}

// lines reads lines that end in a line feed, no line being longer than most.
func lines(r io.Reader, most int) *bufio.Scanner {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, min(most+1, 4096)), most+1)
	s.Split(func(data []byte, atEOF bool) (int, []byte, error) {
		for i, c := range data {
			if c == '\n' {
				return i + 1, data[:i], nil
			}
		}
		if atEOF && len(data) > 0 {
			return 0, nil, errors.New("the last line has no end")
		}
		return 0, nil, nil
	})
	return s
}

// text is the next line, "" at the end and at an error.
func text(s *bufio.Scanner) string {
	if !s.Scan() {
		return ""
	}
	return s.Text()
}

// next returns the next index that the proof is about, and false behind the last.
func (p *proofReader) next() (uint64, bool, error) {
	if !p.left {
		return 0, false, nil
	}
	index := p.run.First
	if p.run.First == p.run.Last {
		return index, true, p.advance()
	}
	p.run.First++
	return index, true, nil
}

// advance reads the next run: ascending, and never one that could have been part of the one before.
func (p *proofReader) advance() error {
	before := p.run.Last
	if !p.runs.Scan() {
		return fmt.Errorf("%w: the proof ends early: %w", ErrExport, orEOF(p.runs.Err()))
	}
	line := p.runs.Text()
	p.left = line != ""
	if !p.left {
		return nil
	}
	first, last, ranged := strings.Cut(line, "-")
	from, err := parseIndex([]byte(first))
	to := from
	if err == nil && ranged {
		if to, err = parseIndex([]byte(last)); to <= from {
			err = strconv.ErrRange
		}
	}
	if err != nil || p.any && from <= before+1 {
		return fmt.Errorf("%w: the proof's run %q", ErrExport, line)
	}
	p.run, p.any = Run{from, to}, true
	return nil
}

// node returns the next hash.
func (p *proofReader) node() (h merkle.Hash, err error) {
	if !p.nodes.Scan() {
		return h, fmt.Errorf("%w: the proof ends early: %w", ErrExport, orEOF(p.nodes.Err()))
	}
	raw, err := base64.StdEncoding.Strict().AppendDecode(nil, p.nodes.Bytes())
	if err != nil || len(raw) != len(h) || strings.ContainsRune(p.nodes.Text(), '\r') {
		return h, fmt.Errorf("%w: a malformed hash in the proof", ErrExport)
	}
	return merkle.Hash(raw), nil
}

// end refuses hashes that nobody asked for.
func (p *proofReader) end() error {
	if p.nodes.Scan() {
		return fmt.Errorf("%w: the proof has more hashes than it needs", ErrExport)
	}
	if err := p.nodes.Err(); err != nil {
		return fmt.Errorf("%w: proof: %w", ErrExport, err)
	}
	return nil
}

func orEOF(err error) error {
	if err == nil {
		return io.ErrUnexpectedEOF
	}
	return err
}
