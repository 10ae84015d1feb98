// Package judge takes a filter's module through what it has to pass before it may see a call: it is scanned, metered, compiled,
// started, and asked its test vectors twice, and once more by an engine of another make.
package judge

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/wasm"
	"github.com/gatewright/gatewright/wasm/build"
	"github.com/gatewright/gatewright/wasm/meter"
	"github.com/gatewright/gatewright/wasm/scan"
)

// Config is what modules are judged with, and what they then run with.
type Config struct {
	// Wasm is how filters run. Without its Compiler native code is made in this process, which is for those alone who judge
	// their own modules.
	Wasm wasm.Config
	// Large lets modules of the large class in: what Go makes of a filter, up to 8 MiB. They are slow to compile and to start.
	Large bool
	// Parallel bounds how many modules are judged at once; default 2. One tenant has all of them only where it is 1.
	Parallel int
	// Time bounds each of the runs of the vectors; default 20s.
	Time time.Duration
}

// DefaultConfig is what an empty configuration means.
func DefaultConfig() Config {
	return Config{Wasm: wasm.DefaultConfig(), Large: true, Parallel: 2, Time: 20 * time.Second}
}

// Judge takes modules through the stages that they have to pass before they may see a call. It is safe for concurrent use.
type Judge struct {
	cfg     Config
	limits  scan.Limits
	runtime *wasm.Runtime // of uploads
	own     *wasm.Runtime // of what came with the gateway, compiled in this process
	queue   *build.Queue
}

// Bounds of how many uploads wait to be judged, and how many of one tenant wait or are judged. They hold what was uploaded in
// memory meanwhile. A tenant that waits with several gives way to one that waits with none, see build.Queue.
const (
	maxWaiting   = 32
	maxPerTenant = 4
)

// New makes the engines. Close frees them.
func New(ctx context.Context, c Config) (*Judge, error) {
	if c.Parallel < 1 || c.Time <= 0 {
		return nil, errors.New("filters: a judge needs a bound of how many and how long")
	}
	j := &Judge{cfg: c, limits: scan.Small(), queue: build.NewQueue(c.Parallel, maxWaiting, maxPerTenant)}
	if c.Large {
		j.limits = scan.Large()
	}
	j.limits.MaxPages, j.limits.MaxDepth = c.Wasm.MemoryPages, c.Wasm.Depth
	j.cfg.Wasm.MaxModule = j.limits.MaxModule
	var err error
	if j.runtime, err = wasm.New(ctx, j.cfg.Wasm); err != nil {
		return nil, err
	}
	own := j.cfg.Wasm
	own.Compiler = nil
	if j.own, err = wasm.New(ctx, own); err != nil {
		return nil, errors.Join(err, j.runtime.Close(ctx))
	}
	return j, nil
}

// Close frees the engines with everything that was loaded by them.
func (j *Judge) Close(ctx context.Context) error {
	return errors.Join(j.runtime.Close(ctx), j.own.Close(ctx))
}

// Runtime is where uploads are loaded.
func (j *Judge) Runtime() *wasm.Runtime { return j.runtime }

// Own is where modules are loaded that came with the gateway: this process compiles them.
func (j *Judge) Own() *wasm.Runtime { return j.own }

// Bounded tells whether something bounds the compilation of uploads.
func (j *Judge) Bounded() bool { return j.cfg.Wasm.Compiler != nil }

// Check takes a module through all stages but the last, Keep. An error is a *Rejection, or ErrInvalid of what came with the
// module, or the context's. progress may be nil.
func (j *Judge) Check(ctx context.Context, u Upload, progress func(Step)) (Report, error) {
	if err := u.Validate(); err != nil {
		return Report{}, err
	}
	return j.Try(ctx, "", u, nil, progress)
}

// Try is Check for a tenant and an upload that Validate let pass. said takes what the module writes; it may be nil.
func (j *Judge) Try(ctx context.Context, tenant string, u Upload, said func(level int, text string), progress func(Step)) (Report, error) {
	leave, err := j.queue.Enter(ctx, tenant)
	switch {
	case err != nil && ctx.Err() != nil:
		return Report{}, fmt.Errorf("judge filter: %w", context.Cause(ctx))
	case err != nil:
		return Report{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer leave()
	if progress == nil {
		progress = func(Step) {}
	}
	if said == nil {
		said = func(int, string) {} // a line costs the same whoever listens
	}
	t := &trial{judge: j, tenant: tenant, upload: u, progress: progress, begun: time.Now()}
	t.said = func(level int, text string) {
		t.last = text
		said(level, text)
	}
	defer t.close()
	t.report = Report{Digest: merkle.Hash(sha256.Sum256(u.Module)), Size: len(u.Module), Vectors: len(u.Vectors)}
	if len(u.Vectors) == 0 {
		t.upload.Vectors = []Vector{{}}
	}
	for _, s := range []struct {
		stage Stage
		do    func(context.Context) (string, error)
	}{{Scan, t.scan}, {Meter, t.meter}, {Compile, t.compile}, {Init, t.init}, {SelfTest, t.selfTest}, {Crosscheck, t.crosscheck}} {
		if err := t.step(ctx, s.stage, s.do); err != nil {
			return Report{}, err
		}
	}
	t.report.Took = time.Since(t.begun)
	return t.report, nil
}

// trial is one module being judged.
type trial struct {
	judge    *Judge
	tenant   string
	upload   Upload
	said     func(level int, text string)
	last     string // what it wrote last; one call runs at a time
	progress func(Step)
	begun    time.Time

	report  Report
	filter  *wasm.Filter
	loadErr error // of starting it, kept from compile for init
	answers []answer
}

func (t *trial) close() {
	if t.filter != nil {
		_ = t.filter.Close(context.Background()) // frees memory, and has nothing else to fail at
	}
}

// step takes one stage, and says how it went.
func (t *trial) step(ctx context.Context, stage Stage, do func(context.Context) (string, error)) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("judge filter: %w", err)
	}
	begun := time.Now()
	detail, err := do(ctx)
	if err != nil {
		detail = err.Error()
		if r, ok := errors.AsType[*Rejection](err); ok {
			r.Stage = stage
			detail = r.Reason
		}
	}
	t.progress(Step{Stage: stage, OK: err == nil, Took: time.Since(begun), Detail: detail})
	return err
}

// reject makes a rejection without a place.
func reject(hint, format string, args ...any) *Rejection {
	return &Rejection{Reason: fmt.Sprintf(format, args...), Offset: -1, Hint: hint}
}

func (t *trial) scan(context.Context) (string, error) {
	r, err := scan.Scan(bytes.NewReader(t.upload.Module), t.judge.limits)
	if e, ok := errors.AsType[*scan.Error](err); ok {
		return "", &Rejection{Reason: fmt.Sprintf("%v: %s", e.Unwrap(), e.Detail), Offset: int64(e.Offset), Hint: e.Hint}
	}
	if err != nil {
		return "", reject("upload it again", "%v", err)
	}
	t.report.Dialect, t.report.Class, t.report.Functions = string(r.Dialect), string(r.Class), r.Functions
	detail := fmt.Sprintf("%d bytes, %d functions, dialect %s, class %s", len(t.upload.Module), r.Functions, r.Dialect, r.Class)
	if r.Class == scan.LargeClass {
		detail += " (" + r.Large + ": slow to compile and to start)"
	}
	return detail, nil
}

func (t *trial) meter(context.Context) (string, error) {
	l := t.judge.limits
	l.ExportStart = true
	metered, _, err := meter.Rewrite(t.upload.Module, l)
	if err != nil {
		return "", reject("build it for WebAssembly 2.0 without SIMD, threads, tail calls and exceptions", "%v", err)
	}
	return fmt.Sprintf("%d bytes with its fuel", len(metered)), nil
}

// compile loads the module. What fails once it is native code is init's.
func (t *trial) compile(ctx context.Context) (string, error) {
	f, err := t.judge.runtime.LoadFor(ctx, t.tenant, t.upload.Name, t.upload.Module, t.upload.Config, wasm.WithLog(t.said))
	if _, trapped := errors.AsType[*wasm.Trap](err); trapped {
		t.loadErr = err
		return "native code is made", nil
	}
	if e, ok := errors.AsType[*build.Error](err); ok {
		switch e.Bound {
		case build.Busy, build.Canceled, build.Killed, build.Platform, build.Fault:
			return "", fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		return "", reject(e.Hint, "%s: %s", e.Bound, e.Detail)
	}
	if err != nil {
		return "", reject("check it against the ABI (wasm/README.md)", "%v", err)
	}
	t.filter = f
	return "native code is made", nil
}

func (t *trial) init(ctx context.Context) (string, error) {
	if trap, ok := errors.AsType[*wasm.Trap](t.loadErr); ok {
		if ctx.Err() != nil {
			return "", fmt.Errorf("judge filter: %w", ctx.Err())
		}
		return "", t.stillborn(trap)
	}
	s := t.filter.Stats()
	t.report.Memory, t.report.Response = s.Memory, t.filter.HasResponse()
	return fmt.Sprintf("%d KiB of memory", s.Memory>>10), nil
}
