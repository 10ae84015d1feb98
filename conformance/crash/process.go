package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// upTime bounds a start: after it the gateway counts as not coming up again.
const upTime = 60 * time.Second

// process is the built gateway on one data folder, started again and again.
type process struct {
	bin, dir, work string
	log            *os.File // what all starts wrote to standard error
	env            []string

	cmd    *exec.Cmd
	began  time.Time
	ready  chan [2]string // the addresses of the ready line
	exited chan struct{}
	text   string // standard output of this start but the ready line
}

var readyLine = regexp.MustCompile(`^gatewright ready listen=(\S+) control=(\S+)$`)

// build compiles the gateway of the module that the working directory is in.
func build(ctx context.Context, dir string) (string, error) {
	bin := filepath.Join(dir, "gatewright")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", bin, "github.com/gatewright/gatewright/gateway")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the gateway: %w\n%s", err, out)
	}
	return bin, nil
}

// launch starts the process in a group of its own and does not wait for it.
func (p *process) launch(more ...string) error {
	p.cmd = exec.Command(p.bin, "--data", p.dir, "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0")
	p.cmd.Dir, p.cmd.Stderr = p.work, p.log
	p.cmd.Env = append(append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.work}, p.env...), more...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	pipe, err := p.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	p.ready, p.exited, p.text = make(chan [2]string, 1), make(chan struct{}), ""
	p.began = time.Now()
	if err := p.cmd.Start(); err != nil {
		return err
	}
	go p.watch(pipe)
	return nil
}

func (p *process) watch(pipe io.Reader) {
	var text strings.Builder
	for lines := bufio.NewScanner(pipe); lines.Scan(); {
		if m := readyLine.FindStringSubmatch(lines.Text()); m != nil {
			p.text = text.String() // the channel hands it over
			p.ready <- [2]string{m[1], m[2]}
			continue
		}
		text.WriteString(lines.Text() + "\n")
	}
	_ = p.cmd.Wait() // the state says how it ended
	close(p.exited)
}

// start starts the gateway and waits for its ready line. It tells how long that took from exec on.
func (p *process) start(more ...string) (*session, time.Duration, error) {
	if err := p.launch(more...); err != nil {
		return nil, 0, err
	}
	select {
	case a := <-p.ready:
		took := time.Since(p.began)
		keys, err := p.demoKeys()
		return &session{url: a[0], control: a[1], client: newClient(), keys: keys}, took, err
	case <-p.exited:
		return nil, 0, fmt.Errorf("the gateway ended with %d before it was ready", p.cmd.ProcessState.ExitCode())
	case <-time.After(upTime):
		p.kill()
		return nil, 0, fmt.Errorf("the gateway was not ready in %s", upTime)
	}
}

// startAndKill kills the gateway so long after exec, ready or not. An end of its own before is an error.
func (p *process) startAndKill(after time.Duration) error {
	if err := p.launch(); err != nil {
		return err
	}
	select {
	case <-time.After(after):
	case <-p.exited:
		return fmt.Errorf("the gateway ended with %d before it was ready", p.cmd.ProcessState.ExitCode())
	}
	p.kill()
	return nil
}

// kill kills the whole process group as a crash does, and waits until it is gone.
func (p *process) kill() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // gone already is gone
	<-p.exited
}

// signal asks the gateway to end.
func (p *process) signal() error { return p.cmd.Process.Signal(syscall.SIGTERM) }

// stop ends the gateway as an operator does.
func (p *process) stop() error {
	if err := p.signal(); err != nil {
		return err
	}
	select {
	case <-p.exited:
	case <-time.After(upTime):
		p.kill()
		return fmt.Errorf("the gateway did not end in %s after SIGTERM", upTime)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("the gateway ended with %d after SIGTERM", code)
	}
	return nil
}

// demoKeys reads the keys of the demo tenant, which development mode makes anew at every start.
func (p *process) demoKeys() (map[string]string, error) {
	b, err := os.ReadFile(filepath.Join(p.dir, "demo.env"))
	if errors.Is(err, os.ErrNotExist) {
		return map[string]string{}, nil // production mode
	}
	keys := map[string]string{}
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(strings.TrimSpace(strings.TrimPrefix(line, "export ")), "=")
		if name == "GATEWRIGHT_ADMIN_KEY" {
			keys[demo] = value
		}
	}
	return keys, err
}

// verify runs the offline verification of the whole ledger, which must not be in use.
func (p *process) verify(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, p.bin, "ledger", "verify", "--data", p.dir, "--k0", filepath.Join(p.dir, "keys", "ledger.k0"))
	cmd.Dir, cmd.Env = p.work, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.work}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("ledger verify: %w\n%.4000s", err, out)
	}
	if !strings.Contains(string(out), "signatures checked, chain checked") {
		return fmt.Errorf("ledger verify did not check everything:\n%.4000s", out)
	}
	return nil
}

// leftBehind finds processes of the gateway's binary that outlived it. It looks for a moment: the kernel ends
// connectors when their parent is gone, which takes a while.
func (p *process) leftBehind() (pids []string) {
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		pids = nil
		exes, _ := filepath.Glob("/proc/[0-9]*/exe")
		for _, exe := range exes {
			if to, err := os.Readlink(exe); err == nil && to == p.bin {
				pids = append(pids, filepath.Base(filepath.Dir(exe)))
			}
		}
		if len(pids) == 0 {
			return nil
		}
	}
	return pids
}

// session is one life of the gateway as its clients see it.
type session struct {
	url, control string
	client       *http.Client
	keys         map[string]string // admin keys of this life by tenant
}

func newClient() *http.Client {
	return &http.Client{Timeout: upTime, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
}
