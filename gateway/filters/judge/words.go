package judge

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/gatewright/gatewright/merkle"
)

// Errors a caller branches on. Their texts end with what to do.
var (
	// ErrRejected: the module did not pass. The error is a *Rejection.
	ErrRejected = errors.New("filter rejected")
	// ErrInvalid: a name, a vector or a config that cannot be.
	ErrInvalid = errors.New("not valid")
	// ErrUnavailable: nothing can be judged here, or not now.
	ErrUnavailable = errors.New("filters cannot be uploaded here")
)

// Stage is a step in a filter's life.
type Stage string

// The stages, in their order.
const (
	Scan       Stage = "scan"       // read strictly, as a stream
	Meter      Stage = "meter"      // rewritten, so that every instruction is paid for
	Compile    Stage = "compile"    // made native code, in a child process
	Init       Stage = "init"       // instantiated, gw_init included
	SelfTest   Stage = "selftest"   // asked its vectors, twice
	Crosscheck Stage = "crosscheck" // asked them once more, by an interpreter
	Keep       Stage = "keep"       // put on record and into the store
)

// Stages lists them all in their order.
func Stages() []Stage { return []Stage{Scan, Meter, Compile, Init, SelfTest, Crosscheck, Keep} }

// Step tells of a stage that is over, for those who wait. A rejected module ends with the step that rejected it.
type Step struct {
	Stage  Stage
	OK     bool
	Took   time.Duration
	Detail string // what was found, for people; never a byte of the module's data
}

// Rejection is why a module did not pass.
type Rejection struct {
	Stage  Stage  `json:"stage"`
	Reason string `json:"reason"`
	Offset int64  `json:"offset"` // byte of the module, or -1 where no one byte is to blame
	Hint   string `json:"hint"`   // what to change
}

func (r *Rejection) Error() string {
	at := ""
	if r.Offset >= 0 {
		at = fmt.Sprintf(" at byte %d", r.Offset)
	}
	return fmt.Sprintf("%v: %s%s: %s (%s)", ErrRejected, r.Stage, at, r.Reason, r.Hint)
}

// Unwrap returns ErrRejected.
func (r *Rejection) Unwrap() error { return ErrRejected }

// Upload is a module handed in.
type Upload struct {
	Name    string // 1 to 64 of a-z, 0-9, '.', '_' and '-'
	Module  []byte
	Config  json.RawMessage // an object that gw_init is shown; none: empty
	Vectors []Vector        // at most 64; none: an empty call, which must get some verdict
}

// Vector is a call and the verdict that it has to get.
type Vector struct {
	Name      string          `json:"name,omitempty"`
	Phase     string          `json:"phase,omitempty"` // "request", also when left out, or "response"
	Agent     string          `json:"agent,omitempty"`
	User      string          `json:"user,omitempty"`
	Op        string          `json:"op,omitempty"` // left out: "tools/call"
	Server    string          `json:"server,omitempty"`
	Tool      string          `json:"tool,omitempty"`
	Now       int64           `json:"now,omitempty"` // unix milliseconds
	Labels    []string        `json:"labels,omitempty"`
	Arguments json.RawMessage `json:"arguments,omitempty"` // of a request; left out: {}
	Result    json.RawMessage `json:"result,omitempty"`    // of a response; left out: {}
	Want      Want            `json:"want"`
}

// Want is what a vector expects. What is left out may be anything.
type Want struct {
	Verdict string           `json:"verdict,omitempty"` // pass, deny or rewrite
	Reason  string           `json:"reason,omitempty"`
	Labels  []string         `json:"labels,omitempty"`
	Scores  map[string]int64 `json:"scores,omitempty"`
	Body    json.RawMessage  `json:"body,omitempty"` // of a rewrite, compared as JSON
}

// Report is what judging a module found.
type Report struct {
	Digest    merkle.Hash
	Size      int    // bytes
	Dialect   string // gw, gw-flat, http-wasm or opa
	Class     string // small or large
	Functions int
	Memory    int   // of a fresh instance, in bytes
	Fuel      int64 // that its costliest vector took, in units
	Response  bool  // it looks at results too
	Vectors   int
	Took      time.Duration
}
