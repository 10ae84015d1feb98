package plugins

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// markerName is the variable that marks every process of one start with the
// same random value. It finds those that left the session.
const markerName = "GATEWRIGHT_CONNECTOR_PROCESS"

// process is one child. It is go-plugin's runner, so that every step of a
// process's life is ours: go-plugin's own runner hands on our stdin, waits for
// ever for a process that is stopped, and leaves its children behind.
type process struct {
	command Command
	config  Config
	journal *journal
	env     []string // from go-plugin, besides the command's own
	dir     string   // where its socket is; removed by release

	hello  *io.PipeReader // the first line of stdout
	helloW *io.PipeWriter
	exited chan struct{} // closed when nothing of it is left

	mu      sync.Mutex // guards what follows
	cmd     *exec.Cmd  // nil until it runs
	tree    *tree
	begun   bool   // Start was called, so that exited will be closed
	line    string // the first line of stdout, once it was seen
	whole   bool   // it ended within maxHandshake
	took    usage  // at the last look
	killed  bool
	cause   error // why it was killed, if there is a reason
	err     error // of the start
	outcome error // of Wait, once exited is closed
}

func newProcess(c Command, config Config, j *journal) *process {
	p := &process{command: c, config: config, journal: j, exited: make(chan struct{})}
	p.hello, p.helloW = io.Pipe()
	return p
}

// Start runs the program; go-plugin calls it once.
func (p *process) Start(context.Context) error {
	p.mu.Lock()
	p.begun = true
	p.mu.Unlock()
	started := make(chan error, 1)
	go p.keep(started)
	return <-started
}

// keep is the process's parent from fork to burial. The kernel sends the
// parent-death signal when the thread that forked ends, so this one stays as
// long as the process does. It is never unlocked and ends with the goroutine,
// and with it what seal did to it.
func (p *process) keep(started chan<- error) {
	defer close(p.exited)
	runtime.LockOSThread()
	pipes, err := p.fork()
	started <- err
	if err != nil {
		_ = p.helloW.Close()
		return
	}
	go p.guard()
	var readers sync.WaitGroup
	readers.Go(func() { p.listen(pipes.outR) })
	readers.Go(func() { p.record(pipes.errR) })
	outcome := p.bury()
	cut := time.AfterFunc(pipeTime, pipes.close)
	readers.Wait()
	cut.Stop()
	pipes.close()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.outcome = outcome
}

// fork starts the program, unless it has been killed before.
func (p *process) fork() (pipes *pipes, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer func() { p.err = err }()
	if p.killed {
		return nil, errors.New("killed before it started")
	}
	pinned, err := p.command.verify()
	if err != nil {
		return nil, err
	}
	if pinned != nil {
		defer pinned.Close()
	}
	if pipes, err = openPipes(); err != nil {
		return nil, err
	}
	if err := p.run(pipes, pinned); err != nil {
		pipes.close()
		return nil, err
	}
	pipes.closeChild()
	return pipes, nil
}

// run is the fork itself. The lock is held.
func (p *process) run(pipes *pipes, pinned *os.File) error {
	path, release, err := pinnedPath(p.command.Path, pinned, pipes.highest())
	if err != nil {
		return err
	}
	defer release()
	marker := markerName + "=" + rand.Text()
	cmd := &exec.Cmd{
		Path: path, Args: append([]string{p.command.Path}, p.command.Args...), Dir: p.command.Dir,
		Env:   append(append(p.command.environment(), p.env...), marker),
		Stdin: pipes.null, Stdout: pipes.outW, Stderr: pipes.errW, SysProcAttr: apart(),
	}
	if err := seal(); err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the program: %w", err)
	}
	p.cmd, p.tree = cmd, newTree(cmd.Process.Pid, marker)
	if err := errors.Join(p.tree.check(), limit(cmd.Process.Pid, p.config.Files)); err != nil {
		p.killLocked(err)
	}
	return nil
}

// guard looks at what the process and its offspring take, until it ends.
func (p *process) guard() {
	ticker := time.NewTicker(p.config.WatchEvery)
	defer ticker.Stop()
	for n := 1; ; n++ {
		select {
		case <-p.exited:
			return
		case <-ticker.C:
		}
		u := p.tree.look(n)
		if err := p.exceeds(u); err != nil {
			p.kill(err)
			return
		}
		p.mu.Lock()
		p.took = u
		p.mu.Unlock()
	}
}

// used is what the process and its offspring took at the last look.
func (p *process) used() usage {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.took
}

func (p *process) exceeds(u usage) error {
	const mib = 1 << 20
	switch c := p.config; {
	case u.memory > c.Memory:
		return fmt.Errorf("it and what it started held %d MiB of memory, the bound is %d MiB", u.memory/mib, c.Memory/mib)
	case u.processes > c.Processes:
		return fmt.Errorf("it and what it started were %d processes, the bound is %d", u.processes, c.Processes)
	}
	return nil
}

// kill ends the process and all it started, at once. The first cause that is
// given is kept as the reason.
func (p *process) kill(cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.killLocked(cause)
}

func (p *process) killLocked(cause error) {
	select {
	case <-p.exited:
		return // for a reason of its own
	default:
	}
	if p.cause == nil {
		p.cause = cause
	}
	p.killed = true
	if p.cmd != nil {
		p.tree.look(0)           // who is whose is forgotten when a parent ends
		_ = p.cmd.Process.Kill() // gone already is as good; keep sees to the rest
	}
}

// end asks the process to end and kills it when it has not within grace, or
// when ctx ends. It returns when nothing of it is left.
func (p *process) end(ctx context.Context, grace time.Duration) {
	p.mu.Lock()
	if p.cmd != nil {
		p.tree.look(0)
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
	}
	p.mu.Unlock()
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.exited:
		return
	case <-ctx.Done():
	case <-timer.C:
	}
	p.kill(nil)
	<-p.exited
}

// fault says why the process ended, once nothing of it is left.
func (p *process) fault() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.cause != nil:
		return p.cause
	case p.err != nil:
		return p.err
	case p.outcome != nil:
		return fmt.Errorf("the process ended: %w", p.outcome)
	}
	return errors.New("the process ended: exit status 0")
}

// pid is zero before the start.
func (p *process) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// release removes what the process's socket was in.
func (p *process) release() error {
	if p.dir == "" {
		return nil
	}
	if err := os.RemoveAll(p.dir); err != nil {
		return fmt.Errorf("remove the socket's folder: %w", err)
	}
	return nil
}

// Wait blocks until nothing of the process is left.
func (p *process) Wait(context.Context) error {
	<-p.exited
	return p.outcome
}

// Kill is what go-plugin calls when the handshake fails.
func (p *process) Kill(context.Context) error {
	p.kill(nil)
	return nil
}

// Stdout is the handshake and nothing else.
func (p *process) Stdout() io.ReadCloser { return p.hello }

// Stderr is nothing: go-plugin would parse it and log without a bound.
func (p *process) Stderr() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

// Diagnose has nothing to add.
func (p *process) Diagnose(context.Context) string { return "" }

// Name is for go-plugin's own messages.
func (p *process) Name() string { return p.command.Name }

// ID is the process's number.
func (p *process) ID() string { return strconv.Itoa(p.pid()) }

// PluginToHost lets a process point only to a socket in its own folder.
func (p *process) PluginToHost(network, address string) (string, string, error) {
	if network != "unix" || filepath.Dir(address) != p.dir {
		return "", "", errors.New("it does not serve on a socket in the folder it was given")
	}
	info, err := os.Lstat(address)
	if err != nil {
		return "", "", fmt.Errorf("find its socket: %w", err)
	}
	if info.Mode().Type() != os.ModeSocket {
		return "", "", errors.New("what it serves on is not a socket")
	}
	return network, address, nil
}

// HostToPlugin is for go-plugin's broker, which is not used.
func (p *process) HostToPlugin(string, string) (string, string, error) {
	return "", "", net.ErrClosed
}
