package absence

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/export"
)

// maxHits bounds how many records a Result names one by one.
const maxHits = 100

// Hit is a record that the question is about.
type Hit struct {
	Index  uint64 `json:"index"`
	ID     string `json:"id"`
	Kind   string `json:"kind"`
	Server string `json:"server,omitempty"`
	Tool   string `json:"tool,omitempty"`
	Code   string `json:"code,omitempty"`
}

// Result is what all records between two sizes of a tenant's tree say.
type Result struct {
	Question
	Origin, Tenant, Instance string
	Size                     uint64 // of the checkpoint that the records lead to
	SinceSigned              bool   // a checkpoint of From records was there and fits
	Records                  uint64 // all of them
	Earliest, Latest         int64  // unix microseconds of their times
	Calls                    uint64 // records of calls that were let through: admitted or settled
	Refused                  uint64 // refusals of calls that the question is about
	Nameless                 uint64 // refusals of this agent before its tool was known
	Mentions                 uint64 // other records that name the agent and the tool, as approvals do
	Unknown                  uint64 // records of a kind or version that this program does not know
	AgentRecords             uint64 // records that name the agent, whatever else they say
	ToolRecords              uint64 // records of anybody that name the tool, or the server when no tool is asked for
	Hits                     []Hit  // the first of all these but Unknown
}

// Absent reports whether it is proved that no call the question is about was let through.
func (r *Result) Absent() bool { return r.Calls == 0 && r.Unknown == 0 }

// Claim says in words what is proved.
func (r *Result) Claim() string {
	what := r.what()
	switch {
	case r.Calls > 0:
		return fmt.Sprintf("NOT ABSENT: %d records between %d and %d of %s are of calls by %q of %s that were let through", r.Calls, r.From, r.To, r.Origin, r.Agent, what)
	case r.Unknown > 0:
		return fmt.Sprintf("NOT PROVED: %d records between %d and %d of %s are of a kind this version does not know, and any of them may be a call", r.Unknown, r.From, r.To, r.Origin)
	case r.Refused > 0:
		return fmt.Sprintf("PROVED: between records %d and %d of %s no call by %q of %s was let through; %d were tried and refused; %s", r.From, r.To, r.Origin, r.Agent, what, r.Refused, r.occurs())
	}
	return fmt.Sprintf("PROVED: between records %d and %d of %s there is no call by %q of %s, neither let through nor refused; %s", r.From, r.To, r.Origin, r.Agent, what, r.occurs())
}

// occurs says how often the names occur at all: one that is misspelled never does.
func (r *Result) occurs() string {
	s := fmt.Sprintf("the agent occurs in %d of the %d records", r.AgentRecords, r.Records)
	if thing := r.thing(); thing != "" {
		s += fmt.Sprintf(", the %s in %d", thing, r.ToolRecords)
	}
	return s
}

func (r *Result) thing() string {
	switch {
	case r.Tool != "":
		return "tool"
	case r.Server != "":
		return "server"
	}
	return ""
}

// doubts are the names that no record of the range holds.
func (r *Result) doubts() []string {
	var out []string
	if r.AgentRecords == 0 {
		out = append(out, fmt.Sprintf("that there is an agent %q: no record of the range names it; check the spelling", r.Agent))
	}
	if thing := r.thing(); thing != "" && r.ToolRecords == 0 {
		out = append(out, fmt.Sprintf("that there is %s: no record of the range names it, whoever called; check the spelling of the %s", r.what(), thing))
	}
	return out
}

func (r *Result) what() string {
	switch {
	case r.Tool == "" && r.Server == "":
		return "any tool"
	case r.Tool == "":
		return fmt.Sprintf("any tool of server %q", r.Server)
	case r.Server == "":
		return fmt.Sprintf("tool %q of any server", r.Tool)
	}
	return fmt.Sprintf("tool %q of server %q", r.Tool, r.Server)
}

// Limits says in words what is not proved, whatever the claim.
func (r *Result) Limits() []string {
	out := append(r.doubts(),
		"only calls through this gateway are in its ledger: what reaches a tool by another way is not",
		fmt.Sprintf("only instance %q: each instance of a gateway has a ledger of its own, and each needs a proof of its own", r.Instance),
		fmt.Sprintf("only agent %q: another agent's id, and a call with no valid credential, stand for somebody else; refusals of callers that nobody could identify are in the instance's own log and name no agent", r.Agent),
		fmt.Sprintf("only records %d to %d: what was recorded before or since is not looked at", r.From, r.To),
		"the gateway recorded what it did: the proof shows that the record is whole, not that the program was honest when it wrote it",
		"records that retention has pruned cannot be part of any proof",
	)
	if r.Nameless > 0 {
		out = append(out, fmt.Sprintf("%d calls of this agent were refused before anybody knew which tool they meant; none was let through", r.Nameless))
	}
	if r.From > 0 && !r.SinceSigned {
		out = append(out, fmt.Sprintf("no signed checkpoint of %d records is part of the proof: when the range began is told by the records' own times alone", r.From))
	}
	return out
}

// Verify reads a proof and looks at every record in it. It returns an error wrapping ErrProof when the records do not lead
// to the root of a checkpoint that a pinned key of the instance signed; a Result only means something without one. That
// the agent did call the tool is no error: ask Result.Absent.
func Verify(ctx context.Context, r io.Reader, keys ledger.VerifierKeys) (Result, error) {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 64<<10), maxHead+1)
	s.Split(wholeLines)
	if !s.Scan() {
		return Result{}, fmt.Errorf("%w: no head: %w", ErrProof, orEOF(s.Err()))
	}
	h, err := parseHead(s.Bytes())
	if err != nil {
		return Result{}, err
	}
	v := &verifier{head: h, res: Result{Question: h.Question, Tenant: h.Tenant}}
	if err := v.open(keys); err != nil {
		return v.res, err
	}
	for s.Scan() {
		if ctx.Err() != nil {
			return v.res, context.Cause(ctx)
		}
		if err := v.record(s.Bytes()); err != nil {
			return v.res, err
		}
	}
	if err := s.Err(); err != nil {
		return v.res, fmt.Errorf("%w: %w", ErrProof, err)
	}
	return v.res, v.end()
}

// wholeLines splits at line feeds and refuses a last line without one.
func wholeLines(data []byte, atEOF bool) (int, []byte, error) {
	for i, c := range data {
		if c == '\n' {
			return i + 1, data[:i], nil
		}
	}
	if atEOF && len(data) > 0 {
		return 0, nil, errors.New("the last line has no end")
	}
	return 0, nil, nil
}

func orEOF(err error) error {
	if err == nil {
		return io.ErrUnexpectedEOF
	}
	return err
}

type verifier struct {
	head       *head
	checkpoint ledger.Checkpoint
	root       *merkle.Rooter
	nodes      []merkle.Hash
	res        Result
}

// open checks the checkpoints and gets ready to compute the root.
func (v *verifier) open(keys ledger.VerifierKeys) error {
	c, err := ledger.ReadCheckpoint([]byte(v.head.Checkpoint))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrProof, err)
	}
	_, tenant, instance, ok := ledger.ParseOrigin(c.Origin)
	if !ok || tenant != v.head.Tenant {
		return fmt.Errorf("%w: %q is no log of tenant %q", ErrProof, c.Origin, v.head.Tenant)
	}
	pinned := export.KeysFor(keys, c.Origin)
	if c, err = ledger.OpenCheckpoint([]byte(v.head.Checkpoint), pinned); err != nil {
		return fmt.Errorf("%w: %w", ErrProof, err)
	}
	if v.head.To > c.Size {
		return fmt.Errorf("%w: the checkpoint is of %d records, not of %d", ErrProof, c.Size, v.head.To)
	}
	if v.head.Since != "" {
		since, err := ledger.OpenCheckpoint([]byte(v.head.Since), pinned)
		if err != nil {
			return fmt.Errorf("%w: since: %w", ErrProof, err)
		}
		if err := v.head.since(since, c.Origin, ErrProof); err != nil {
			return err
		}
		v.res.SinceSigned = true
	}
	v.checkpoint, v.nodes = c, append(append([]merkle.Hash(nil), v.head.Before...), v.head.After...)
	v.root = merkle.NewRooter(c.Size, v.node)
	v.res.Origin, v.res.Instance, v.res.Size = c.Origin, instance, c.Size
	return nil
}

func (v *verifier) node() (h merkle.Hash, err error) {
	if len(v.nodes) == 0 {
		return h, merkle.ErrProofLength
	}
	h, v.nodes = v.nodes[0], v.nodes[1:]
	return h, nil
}

func (v *verifier) record(line []byte) error {
	if len(line) > export.MaxLine {
		return fmt.Errorf("%w: a line of %d bytes", ErrProof, len(line))
	}
	index, leaf, err := export.ParseLine(line)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrProof, err)
	}
	if want := v.head.From + v.res.Records; index != want || index >= v.head.To {
		return fmt.Errorf("%w: record %d in place of %d", ErrProof, index, want)
	}
	if err := v.root.Leaf(index, merkle.LeafHash(leaf)); err != nil {
		return fmt.Errorf("%w: %w", ErrProof, err)
	}
	r, err := ledger.ParseRecord(leaf)
	if err != nil {
		return fmt.Errorf("%w: record %d: %w", ErrProof, index, err)
	}
	if r.Tenant != v.head.Tenant || !export.OfInstance(r.Instance, v.res.Origin) {
		return fmt.Errorf("%w: record %d is of tenant %q at instance %q", ErrProof, index, r.Tenant, r.Instance)
	}
	v.look(index, leaf, &r)
	return nil
}

// look counts a record for what it says about the question.
func (v *verifier) look(index uint64, leaf []byte, r *ledger.Record) {
	res := &v.res
	if res.Records == 0 {
		res.Earliest, res.Latest = r.Time, r.Time
	}
	res.Records++
	res.Earliest, res.Latest = min(res.Earliest, r.Time), max(res.Latest, r.Time)
	res.count(r)
	version, ok := canon.Get(leaf, "v")
	switch {
	case r.Kind == ledger.Unknown, !ok, string(version) != strconv.Itoa(recordVersion):
		res.Unknown++
		return
	case r.Kind == ledger.Refused && r.Agent == res.Agent && r.Tool == "" && res.Tool != "" && (res.Server == "" || r.Server == "" || r.Server == res.Server):
		res.Nameless++
	case !res.asks(r):
		return
	case r.Kind == ledger.Admitted, r.Kind == ledger.Settled:
		res.Calls++
	case r.Kind == ledger.Refused:
		res.Refused++
	default:
		res.Mentions++
	}
	if len(res.Hits) < maxHits {
		res.Hits = append(res.Hits, Hit{Index: index, ID: r.ID, Kind: r.Label(), Server: r.Server, Tool: r.Tool, Code: r.Code})
	}
}

// count notes whether a record names the agent, and the tool.
func (r *Result) count(rec *ledger.Record) {
	if rec.Agent == r.Agent {
		r.AgentRecords++
	}
	if (r.Tool != "" || r.Server != "") && (r.Server == "" || rec.Server == r.Server) && (r.Tool == "" || rec.Tool == r.Tool) {
		r.ToolRecords++
	}
}

// recordVersion is the version of records whose every member this program understands.
const recordVersion = 1

func (v *verifier) end() error {
	if want := v.head.To - v.head.From; v.res.Records != want {
		return fmt.Errorf("%w: %d records of %d: it was cut short", ErrProof, v.res.Records, want)
	}
	root, err := v.root.Root()
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrProof, err)
	case len(v.nodes) > 0:
		return fmt.Errorf("%w: more hashes than it needs", ErrProof)
	case root != v.checkpoint.Root:
		return fmt.Errorf("%w: the records do not lead to the root of the checkpoint", ErrProof)
	}
	return nil
}

// Span is when the records looked at were written, by their own times.
func (r *Result) Span() (first, last time.Time) {
	return time.UnixMicro(r.Earliest).UTC(), time.UnixMicro(r.Latest).UTC()
}
