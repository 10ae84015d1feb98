package filters

import (
	"context"

	"github.com/gatewright/gatewright/gateway/filters/judge"
	"github.com/gatewright/gatewright/gateway/filters/lines"
	"github.com/gatewright/gatewright/gateway/filters/place"
	"github.com/gatewright/gatewright/policies/manifest"
)

type (
	// Judge takes modules through the stages.
	Judge = judge.Judge
	// JudgeConfig is what modules are judged with, and then run with.
	JudgeConfig = judge.Config
	// Upload is a module handed in.
	Upload = judge.Upload
	// Vector is a call and the verdict that it has to get.
	Vector = judge.Vector
	// Want is what a vector expects.
	Want = judge.Want
	// Report is what judging found.
	Report = judge.Report
	// Rejection is why a module did not pass.
	Rejection = judge.Rejection
	// Stage is a step on the way.
	Stage = judge.Stage
	// Step tells of a stage that is over.
	Step = judge.Step
)

type (
	// Unit is one filter.
	Unit = place.Unit
	// Placed is one and where it looks.
	Placed = place.Placed
	// Set is all of a tenant, in their order.
	Set = place.Set
	// Stats is what a filter has done.
	Stats = place.Stats
	// Line is what a filter wrote, or what was noted about it.
	Line = lines.Line
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
