package build

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// supported says whether this system bounds a child well enough.
const supported = true

// ownProgram is the file this process runs, also when another was put in its place: the fork looks it up.
const ownProgram = "/proc/self/exe"

// pinned names our own program so that nothing put in its place is started instead.
func pinned(self []string) []string {
	if len(self) == 0 {
		return []string{ownProgram}
	}
	mine, err := os.Stat(ownProgram)
	other, errOther := os.Stat(self[0])
	if err != nil || errOther != nil || !os.SameFile(mine, other) {
		return self
	}
	return append([]string{ownProgram}, self[1:]...)
}

const (
	// sample is how often a child is looked at. The kernel bounds it; this is for figures, and should the kernel's idea of
	// memory and ours differ.
	sample = 5 * time.Millisecond
	// slack is resident memory beyond the bound, in bytes, that belongs to the program itself.
	slack = 256 << 20
	// mostErrors is how much of a child's standard error is kept.
	mostErrors = 4 << 10
)

// run is one child.
type run struct {
	bounds Bounds
	cmd    *exec.Cmd
	out    *capped
	errs   *capped
	peak   int64
	why    *Error // why it was killed; nil when it was not
}

// child compiles a module in a process of its own, and returns when that is gone.
func (c *Compiler) child(ctx context.Context, j Job, b Bounds) (Artifact, error) {
	self := c.options.Self
	if self[0] == ownProgram && !hooked.Load() {
		return Artifact{}, refuse(Fault, Usage{}, "this program's main does not call build.Hook: a child would do what its parent does")
	}
	r := &run{bounds: b, out: &capped{most: answerHead + b.Code}, errs: &capped{most: mostErrors, drop: true}}
	r.cmd = &exec.Cmd{
		Path: self[0], Dir: "/", Env: []string{}, Stdin: bytes.NewReader(j.Module), Stdout: r.out, Stderr: r.errs,
		Args: slices.Concat(self, []string{
			command, strconv.FormatInt(int64(b.CPU/time.Second), 10), strconv.FormatInt(b.Memory, 10),
			strconv.FormatInt(b.Code, 10), strconv.FormatUint(uint64(j.Pages), 10),
		}),
		SysProcAttr: &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}, WaitDelay: time.Second,
	}
	begun := time.Now()
	over := make(chan error, 1)
	started := make(chan error, 1)
	go r.live(started, over)
	if err := <-started; err != nil {
		return Artifact{}, refuse(Fault, Usage{}, fmt.Sprintf("start a child: %v", err))
	}
	err := r.watch(ctx, over)
	return r.judge(c.engine, err, time.Since(begun))
}

// live starts the child and waits for its end. It keeps its thread: the kernel sends Pdeathsig when the thread that forked
// ends, not the process.
func (r *run) live(started, over chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := closeLeaked()
	if err == nil {
		err = r.cmd.Start()
	}
	started <- err
	if err == nil {
		over <- r.cmd.Wait()
	}
}

// closeLeaked keeps from the child what our own parent left open. Go opens its own close-on-exec.
func closeLeaked() error {
	err := unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC)
	if err == nil {
		return nil
	}
	entries, err := os.ReadDir("/proc/self/fd") // before Linux 5.11
	if err != nil {
		return fmt.Errorf("seal descriptors: %w", err)
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
	return nil
}

// watch kills the child when its time is over or nobody waits for it, and returns once it is gone.
func (r *run) watch(ctx context.Context, over <-chan error) error {
	wall := time.NewTimer(r.bounds.Wall)
	defer wall.Stop()
	tick := time.NewTicker(sample)
	defer tick.Stop()
	// Without it there are no figures, but the kernel bounds the child all the same.
	status, err := unix.Open(fmt.Sprintf("/proc/%d/status", r.cmd.Process.Pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		defer func() { _ = unix.Close(status) }()
	}
	ended := ctx.Done()
	for {
		select {
		case err := <-over:
			return err
		case <-wall.C:
			r.kill(Wall, fmt.Sprintf("it takes longer than %v", r.bounds.Wall))
		case <-ended:
			r.kill(Canceled, "nobody waits for it any more")
			ended = nil
		case <-tick.C:
			r.look(status)
		}
	}
}

func (r *run) look(status int) {
	m, err := readStatus(status)
	if err != nil {
		return // it is ending, or status could not be opened
	}
	r.peak = max(r.peak, int64(m.peak)) //nolint:gosec // far from overflowing
	if r.peak > r.bounds.Memory+slack {
		r.kill(Memory, tooMuch(r.bounds))
	}
}

func (r *run) kill(b Bound, why string) {
	if r.why == nil {
		r.why = refuse(b, Usage{}, why)
	}
	_ = r.cmd.Process.Kill() // it may have ended
}

func tooMuch(b Bounds) string {
	return fmt.Sprintf("it takes more than %d MiB of memory", b.Memory>>20)
}

// judge makes an artifact of what the child answered, or an error of how it ended.
func (r *run) judge(e engine, ended error, wall time.Duration) (Artifact, error) {
	u := Usage{Wall: wall, Peak: r.peak}
	state := r.cmd.ProcessState
	if state != nil {
		u.CPU = state.UserTime() + state.SystemTime()
	}
	switch {
	case r.why != nil:
		return Artifact{}, refuse(r.why.Bound, u, r.why.Detail)
	case r.out.over:
		return Artifact{}, refuse(Code, u, fmt.Sprintf("more than %d bytes of native code", r.bounds.Code))
	case ended != nil || state == nil:
		return Artifact{}, r.died(state, ended, u)
	}
	return r.read(e, u)
}

// died names the bound that ended the child.
func (r *run) died(state *os.ProcessState, ended error, u Usage) error {
	said := string(r.errs.b)
	killed := false
	if state != nil {
		status, ok := state.Sys().(syscall.WaitStatus)
		killed = ok && status.Signaled() && status.Signal() == syscall.SIGKILL
	}
	switch {
	case killed && u.CPU >= r.bounds.CPU/5*4: // the kernel's two ways to count differ by some percent
		return refuse(CPU, u, fmt.Sprintf("it takes more than %v of processor time", r.bounds.CPU))
	case killed:
		return refuse(Killed, u, "something killed the child")
	case outOfMemory(said), crashed(said) && u.Peak >= r.bounds.Memory/2: // Go's runtime does not check each allocation of its own
		return refuse(Memory, u, tooMuch(r.bounds))
	case strings.Contains(said, "stack overflow") || strings.Contains(said, "exceeds 268435456-byte limit"):
		return refuse(Memory, u, "it is nested too deeply for the compiler's stack")
	case crashed(said):
		return refuse(Engine, u, fmt.Sprintf("the compiler fell over it: %.200q", said))
	}
	return refuse(Fault, u, fmt.Sprintf("the child ended: %v: %.200q", ended, said))
}

// outOfMemory knows the words of the runtime, and of the race detector, for memory that the kernel refused.
func outOfMemory(said string) bool {
	for _, words := range []string{"out of memory", "cannot allocate memory", "errno=12", "failed to allocate"} {
		if strings.Contains(said, words) {
			return true
		}
	}
	return false
}

// crashed knows how a Go program ends that a fault ends.
func crashed(said string) bool {
	for _, word := range []string{"fatal error: ", "SIG", "panic: ", "runtime: "} {
		if strings.HasPrefix(said, word) {
			return true
		}
	}
	return false
}

// read takes the child's answer apart.
func (r *run) read(e engine, u Usage) (Artifact, error) {
	b := r.out.b
	if len(b) < answerHead || binary.BigEndian.Uint64(b[answerHead-8:]) != uint64(len(b)-answerHead) {
		return Artifact{}, refuse(Fault, u, "the child's answer is cut off")
	}
	u.Peak = max(u.Peak, int64(binary.BigEndian.Uint64(b[1:]))) //nolint:gosec // our own program's figure
	body := b[answerHead:]
	switch {
	case b[0] == answerCode && !bytes.HasPrefix(body, e.head):
		return Artifact{}, refuse(Fault, u, "the child has another version of the engine")
	case b[0] == answerCode:
		return Artifact{Usage: u, slot: [slotSize]byte(b[9:]), code: body}, nil
	case b[0] == answerTooMuch:
		return Artifact{}, refuse(Code, u, string(body))
	case outOfMemory(string(body)):
		return Artifact{}, refuse(Memory, u, tooMuch(r.bounds))
	}
	return Artifact{}, refuse(Engine, u, fmt.Sprintf("%.300q", body)) // its text quotes the module
}

// capped keeps what is written to it up to most bytes. Then it fails, or drops the rest.
type capped struct {
	b    []byte
	most int64
	drop bool
	over bool
}

var errFull = errors.New("more than was asked for")

func (c *capped) Write(p []byte) (int, error) {
	room := int(c.most) - len(c.b)
	if len(p) <= room {
		c.b = append(c.b, p...)
		return len(p), nil
	}
	c.b = append(c.b, p[:room]...)
	c.over = !c.drop
	if c.drop {
		return len(p), nil
	}
	return room, errFull
}
