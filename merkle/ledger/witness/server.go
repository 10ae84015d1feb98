// Package witness is the C2SP tlog-witness protocol, both sides. A Server remembers the newest tree of each log it
// watches and cosigns only what continues it; a Client asks one witness and believes nothing but its pinned key; a Group
// asks several; CheckStart refuses a log that witnesses have seen longer than it is.
package witness

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/disk"
)

// Cosigner signs what a witness has checked. ledger.Cosigner and mldsa.Cosigner are such. Implementations are safe for
// concurrent use.
type Cosigner interface {
	KeyName() string
	KeyHash() uint32
	// SignNote returns the signature's bytes after the key hash over a checkpoint's text, at a time.
	SignNote(body []byte, at time.Time) ([]byte, error)
	Public() ledger.VerifierKey
}

// Log is a log that a witness watches: its origin line, and the keys of which one must have signed.
type Log struct {
	Origin string
	Keys   ledger.VerifierKeys // of any type
}

// Options is what a server needs. Only FS and Report may be left out.
type Options struct {
	FS   disk.FS // nil: the operating system's
	Dir  string  // one state file for each log; it belongs to this server and these cosigners alone
	Logs []Log   // empty: every request is answered 404
	// Cosigners sign side by side. All belong to one witness.
	Cosigners []Cosigner
	Now       func() time.Time
	// Report is told what an operator should see: a damaged state file, a disk that fails, a log that signed two
	// histories. The texts hold what the log signed; they are no secret.
	Report func(origin string, err error)
}

// Server is a witness: an http.Handler for the submission and the monitoring prefix at once (POST /add-checkpoint and
// GET /ORIGIN HASH/checkpoint, below wherever it is mounted). It is safe for concurrent use.
type Server struct {
	opt  Options
	mux  *http.ServeMux
	logs map[string]*watched // by origin
	hash map[string]*watched // by the SHA-256 of the origin, in lower-case hex
}

// watched is one log with the newest checkpoint that was cosigned for it.
type watched struct {
	Log
	file string
	bad  error // the state file cannot be believed: nothing is signed

	turn sync.Mutex // held from the check of a size until the new one is durable; only its holder sets last
	mu   sync.Mutex // guards last, and is never held while the disk works
	last state
}

// maxRequest bounds a submission in bytes: the longest proof, and a checkpoint with some dozen signatures.
const maxRequest = 132 << 10

// maxLines bounds the signature lines of a submission: each may cost a verification. The note format wants 16 taken.
const maxLines = 64

// maxProofLines is the longest consistency proof a client may send (C2SP tlog-witness).
const maxProofLines = 63

// ErrState is a state file that cannot be believed. Its log is refused until an operator has looked: starting again at
// nothing would let the log show a second history.
var ErrState = errors.New("witness state is damaged")

// NewServer reads the state files. A damaged one is reported and its log refused; the others are served.
func NewServer(o Options) (*Server, error) {
	if o.FS == nil {
		o.FS = disk.OS{}
	}
	if o.Report == nil {
		o.Report = func(string, error) {}
	}
	if o.Now == nil || len(o.Cosigners) == 0 && len(o.Logs) > 0 {
		return nil, errors.New("witness: no clock, or no key to cosign with")
	}
	s := &Server{opt: o, mux: http.NewServeMux(), logs: map[string]*watched{}, hash: map[string]*watched{}}
	for _, l := range o.Logs {
		if err := s.watch(l); err != nil {
			return nil, err
		}
	}
	s.mux.HandleFunc("POST /add-checkpoint", s.addCheckpoint)
	s.mux.HandleFunc("GET /{origin}/checkpoint", s.latest)
	return s, nil
}

func (s *Server) watch(l Log) error {
	if l.Origin == "" || len(l.Keys) == 0 || s.logs[l.Origin] != nil {
		return fmt.Errorf("witness: log %q has no name or no key, or is there twice", l.Origin)
	}
	sum := sha256.Sum256([]byte(l.Origin))
	name := hex.EncodeToString(sum[:])
	w := &watched{Log: l, file: filepath.Join(s.opt.Dir, name+".state")}
	s.logs[l.Origin], s.hash[name] = w, w
	if w.last, w.bad = readState(s.opt.FS, w.file, l.Origin, s.opt.Cosigners); w.bad != nil {
		s.opt.Report(l.Origin, w.bad)
	}
	return nil
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// Keys are the keys under which the cosignatures verify.
func (s *Server) Keys() []ledger.VerifierKey {
	keys := make([]ledger.VerifierKey, 0, len(s.opt.Cosigners))
	for _, c := range s.opt.Cosigners {
		keys = append(keys, c.Public())
	}
	return keys
}

// refusal is an answer that is not 200: its status, and one line that says why.
type refusal struct {
	status int
	text   string
	kind   string // Content-Type; empty: plain text
}

func (e *refusal) Error() string { return e.text }

func refuse(status int, format string, args ...any) error {
	return &refusal{status: status, text: fmt.Sprintf(format, args...)}
}

func (s *Server) addCheckpoint(w http.ResponseWriter, r *http.Request) {
	lines, err := s.add(r)
	if err == nil {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write(lines) // whoever hung up asks again
		return
	}
	e := &refusal{status: http.StatusInternalServerError, text: "the witness cannot sign now"}
	_ = errors.As(err, &e)
	if e.kind == "" {
		e.kind = "text/plain; charset=utf-8"
	}
	w.Header().Set("Content-Type", e.kind)
	w.WriteHeader(e.status)
	_, _ = io.WriteString(w, e.text+"\n")
}

// add answers one submission, in the order of checks that the protocol gives.
func (s *Server) add(r *http.Request) ([]byte, error) {
	if len(s.logs) == 0 {
		return nil, refuse(http.StatusNotFound, "no log is witnessed here")
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRequest+1))
	if err != nil || len(body) > maxRequest {
		return nil, refuse(http.StatusBadRequest, "the request is not readable or larger than %d bytes", maxRequest)
	}
	sub, err := parseSubmission(body)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "%v", err)
	}
	log := s.logs[sub.Origin]
	if log == nil {
		return nil, refuse(http.StatusNotFound, "the origin is not known here")
	}
	signed, err := sub.signedBy(log.Keys)
	if err != nil {
		return nil, refuse(http.StatusForbidden, "%v", err)
	}
	if sub.old > sub.Size {
		return nil, refuse(http.StatusBadRequest, "the old size is above the checkpoint's")
	}
	log.turn.Lock()
	defer log.turn.Unlock()
	return s.advance(log, sub, signed)
}

// advance checks a checkpoint against the last one, makes it the last one, and then gives the cosignatures away. The
// caller holds the log's turn.
func (s *Server) advance(log *watched, sub *submission, signed []byte) ([]byte, error) {
	if log.bad != nil {
		return nil, refuse(http.StatusInternalServerError, "the witness cannot read what it saw of this log; its operator must look")
	}
	if last := log.last.Size; sub.old != last {
		return nil, &refusal{http.StatusConflict, strconv.FormatUint(last, 10), sizeType}
	}
	if err := sub.consistent(log.last.Root); err != nil {
		s.opt.Report(log.Origin, fmt.Errorf("the log signed size %d with root %s: %w", sub.Size, sub.Root, err))
		return nil, refuse(http.StatusUnprocessableEntity, "%v", err)
	}
	now := s.opt.Now()
	if now.Before(log.last.at) {
		now = log.last.at // a clock set back must not make an earlier statement about a later tree
	}
	if log.last.repeats(sub.body, now) {
		return log.last.lines, nil
	}
	next, err := cosign(sub, signed, s.opt.Cosigners, now)
	if err == nil {
		if _, bad := ledger.ReadCheckpoint(next.note); bad != nil { // what readers refuse is never kept, nor served
			return nil, refuse(http.StatusBadRequest, "the checkpoint leaves no room for this witness's cosignatures")
		}
		err = disk.ReplaceFile(s.opt.FS, log.file, next.file())
	}
	if err != nil {
		s.opt.Report(log.Origin, fmt.Errorf("keep checkpoint of size %d: %w", sub.Size, err))
		return nil, err // nothing was given away, so the last one still stands, whichever of the two is on the disk
	}
	log.mu.Lock()
	log.last = next
	log.mu.Unlock()
	return next.lines, nil
}

// sizeType is the content type of a 409: the size that the witness holds.
const sizeType = "text/x.tlog.size"

func (s *Server) latest(w http.ResponseWriter, r *http.Request) {
	log := s.hash[r.PathValue("origin")]
	if log == nil {
		http.NotFound(w, r)
		return
	}
	log.mu.Lock()
	note, bad := log.last.note, log.bad
	log.mu.Unlock()
	switch {
	case bad != nil:
		http.Error(w, "the witness cannot read what it saw of this log; its operator must look", http.StatusInternalServerError)
	case note == nil:
		http.NotFound(w, r)
	default:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write(note)
	}
}

// LogStatus is what a witness holds of one log.
type LogStatus struct {
	Origin string
	Size   uint64
	At     time.Time // of the last cosignature; zero: none yet
	Err    error     // why the log is refused; nil: it is not
}

// Status lists the watched logs in the order of Options.
func (s *Server) Status() []LogStatus {
	out := make([]LogStatus, 0, len(s.opt.Logs))
	for _, l := range s.opt.Logs {
		w := s.logs[l.Origin]
		w.mu.Lock()
		out = append(out, LogStatus{Origin: l.Origin, Size: w.last.Size, At: w.last.at, Err: w.bad})
		w.mu.Unlock()
	}
	return out
}

// consistent checks that the submitted tree continues one of the old size with that root.
func (sub *submission) consistent(root merkle.Hash) error {
	switch {
	case sub.Size == 0 && sub.Root != merkle.EmptyRoot():
		return errors.New("the root of an empty tree is the hash of nothing")
	case sub.old == 0 && len(sub.proof) > 0:
		return errors.New("from an empty tree there is nothing to prove")
	case sub.old == 0:
		return nil
	case sub.old == sub.Size && (sub.Root != root || len(sub.proof) > 0):
		return errors.New("a tree of this size with another root was cosigned")
	case sub.old == sub.Size:
		return nil
	}
	if err := merkle.VerifyConsistency(sub.old, sub.Size, sub.proof, root, sub.Root); err != nil {
		return fmt.Errorf("the consistency proof does not lead from the tree that was cosigned: %w", err)
	}
	return nil
}
