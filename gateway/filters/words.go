package filters

import (
	"context"

	"github.com/gatewright/gatewright/gateway/filters/judge"
	"github.com/gatewright/gatewright/gateway/filters/lines"
	"github.com/gatewright/gatewright/gateway/filters/place"
	"github.com/gatewright/gatewright/policies/manifest"
)

// What is judged, and what comes of it.
type (
	Judge       = judge.Judge     // takes modules through the stages
	JudgeConfig = judge.Config    // what modules are judged with, and then run with
	Upload      = judge.Upload    // a module handed in
	Vector      = judge.Vector    // a call and the verdict that it has to get
	Want        = judge.Want      // what a vector expects
	Report      = judge.Report    // what judging found
	Rejection   = judge.Rejection // why a module did not pass
	Stage       = judge.Stage     // a step on the way
	Step        = judge.Step      // tells of a stage that is over
)

// What calls meet.
type (
	Unit   = place.Unit   // one filter
	Placed = place.Placed // and where it looks
	Set    = place.Set    // a tenant's, in their order
	Stats  = place.Stats  // what a filter has done
	Line   = lines.Line   // what a filter wrote, or what was noted about it
)

// The stages, in their order.
const (
	Scan       = judge.Scan
	Meter      = judge.Meter
	Compile    = judge.Compile
	Init       = judge.Init
	SelfTest   = judge.SelfTest
	Crosscheck = judge.Crosscheck
	Keep       = judge.Keep
)

// Errors of judging.
var (
	ErrRejected    = judge.ErrRejected
	ErrInvalid     = judge.ErrInvalid
	ErrUnavailable = judge.ErrUnavailable
)

// Stages lists all stages in their order.
func Stages() []Stage { return judge.Stages() }

// DefaultJudgeConfig is what an empty configuration means.
func DefaultJudgeConfig() JudgeConfig { return judge.DefaultConfig() }

// NewJudge is judge.New.
func NewJudge(ctx context.Context, c JudgeConfig) (*Judge, error) { return judge.New(ctx, c) }

// ParseVectors is judge.ParseVectors.
func ParseVectors(data []byte) ([]Vector, error) { return judge.ParseVectors(data) }

// NewSet is place.NewSet.
func NewSet(units ...Placed) *Set { return place.NewSet(units...) }

// Place is place.At.
func Place(u Unit, at *manifest.Filter) Placed { return place.At(u, at) }
