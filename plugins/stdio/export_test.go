package stdio

import (
	"io"

	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/plugins/connector"
)

// Line is a line of a server as parseLine understood it.
type Line struct {
	Kind            string
	ID              uint64
	RawID, Method   string
	Result, Failure string
}

// ParseLine is parseLine for tests.
func ParseLine(line []byte, l canon.Limits) (Line, error) {
	m, bad := parseLine(line, l)
	if bad != nil {
		return Line{}, bad
	}
	names := map[kind]string{answer: "answer", request: "request", notice: "notice"}
	return Line{names[m.kind], m.id, string(m.rawID), m.method, string(m.result), string(m.failure)}, nil
}

// GuessID is guessID for tests.
func GuessID(line []byte) (uint64, bool) { return guessID(line) }

// ReadLines cuts a stream into lines; a line that was too long comes as its
// length in dots.
func ReadLines(r io.Reader, longest int) (out []string, err error) {
	in := newLines(r, longest)
	for {
		line, cut, err := in.next()
		if err != nil {
			return out, err
		}
		if cut {
			out = append(out, "cut "+string(line[:8])+".."+string(line[len(line)-8:]))
			continue
		}
		out = append(out, string(line))
	}
}

// Compose is appendRequest for tests.
func Compose(id uint64, r *connector.Request, modern bool) (string, error) {
	b, fail := appendRequest(nil, id, r, modern)
	if fail != nil {
		return "", fail
	}
	return string(b), nil
}

// PID is the number of the server's process.
func (s *Server) PID() int { return s.session.child.cmd.Process.Pid }

// Mark is what all of the server's processes have in their environment.
func (s *Server) Mark() string { return s.session.child.mark }
