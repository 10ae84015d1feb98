package stdio

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"time"
)

// hostMark is the variable by which the gateway finds the processes of a
// connector. It is passed on to what the connector starts.
const hostMark = "GATEWRIGHT_CONNECTOR_PROCESS"

// ownMark is the variable of the environment by which the processes that the
// server started are found, wherever they went.
const ownMark = "GATEWRIGHT_STDIO_MARK"

// child is one run of the program.
type child struct {
	cmd    *exec.Cmd
	stdin  *os.File
	stdout *os.File
	mark   string        // NAME=value, in the environment of all that it starts
	exited chan struct{} // closed when it is reaped

	mu   sync.Mutex // guards gone
	gone bool       // the process is reaped: its number may be another's
}

// launch starts the program. What it writes to its stderr goes to log.
func launch(c Config, log io.Writer) (p *child, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("start the server: %w", err)
		}
	}()
	if err := sealDescriptors(); err != nil {
		return nil, err
	}
	theirIn, stdin, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	stdout, theirOut, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, theirIn.Close(), stdin.Close())
	}
	p = &child{stdin: stdin, stdout: stdout, mark: ownMark + "=" + rand.Text(), exited: make(chan struct{})}
	p.cmd = &exec.Cmd{
		Path: c.Path, Args: append([]string{c.Path}, c.Args...), Dir: c.Dir, Env: append(c.environment(), p.mark),
		Stdin: theirIn, Stdout: theirOut, Stderr: log, SysProcAttr: isolate(),
		WaitDelay: settleTime, // for whoever keeps a stderr that is no file
	}
	started := make(chan error, 1)
	go p.live(c.SHA256, started)
	err = errors.Join(<-started, theirIn.Close(), theirOut.Close())
	if err != nil {
		p.stop(0)
		return nil, err
	}
	return p, nil
}

// live starts the program and waits for its end. It keeps its OS thread: the
// kernel sends Pdeathsig when the thread that forked ends, not the process.
func (p *child) live(pin []byte, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(p.exited)
	if err := startPinned(p.cmd, pin); err != nil {
		p.gone = true
		started <- err
		return
	}
	started <- nil
	awaitExit(p.cmd.Process.Pid)
	p.mu.Lock()
	killGroup(p.cmd.Process.Pid) // while the number is still its own
	p.gone = true
	p.mu.Unlock()
	_ = p.cmd.Wait() // ProcessState tells more
}

// exit says how the process ended, once it has.
func (p *child) exit() error {
	return fmt.Errorf("the server's process ended: %s", p.cmd.ProcessState)
}

// await waits for the process's end, but not longer than d.
func (p *child) await(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-p.exited:
		return true
	case <-timer.C:
		return false
	}
}

// signal sends to the process's group, unless it is gone.
func (p *child) signal(send func(pid int)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.gone {
		send(p.cmd.Process.Pid)
	}
}

// stop ends the process and all that it started, and returns when they are
// gone: input closed, SIGTERM after half of patience, SIGKILL after the rest.
func (p *child) stop(patience time.Duration) {
	_ = p.stdin.Close() // closed already is as good
	if patience > 0 && !p.await(patience/2) {
		p.signal(terminateGroup)
		p.await(patience / 2)
	}
	p.signal(killGroup)
	sweep(p.mark)
	<-p.exited
	_ = p.stdout.Close()
}

// environment builds the program's whole environment.
func (c Config) environment() []string {
	env := append(make([]string, 0, len(c.Env)+len(c.PassEnv)+2), c.Env...)
	for _, name := range append([]string{hostMark}, c.PassEnv...) {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// startPinned starts the program if its file has the pinned content; nil pins
// nothing.
func startPinned(cmd *exec.Cmd, pin []byte) error {
	if len(pin) == 0 {
		return cmd.Start()
	}
	f, err := os.Open(cmd.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return err
	}
	if !bytes.Equal(sum.Sum(nil), pin) {
		return fmt.Errorf("the program %q is not the one that is pinned", cmd.Path)
	}
	path, release, err := samePath(cmd.Path, f)
	if err != nil {
		return err
	}
	defer release()
	cmd.Path = path
	return cmd.Start()
}
