package conformance_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gatewright/gatewright/conformance/built"
)

// What follows runs the gateway as a user does: the built binary, an empty working directory, free ports, and nothing
// known of it but its ready line and its data folder.

// patience bounds every wait for something that happens at once on an idle machine.
const patience = 60 * time.Second

// patientLedger lets the gateways of tests wait for a disk that the rest of the machine keeps busy.
const patientLedger = "GATEWRIGHT_CFG_LEDGER__DEADLINE=1m"

// made are the programs built for this run of the tests, in a folder that TestMain removes.
var made struct {
	sync.Once
	dir, gateway, everything, suite string
	err                             error
}

// common is the gateway that tests share which leave no trace for others.
var common struct {
	sync.Once
	g   *Gateway
	err error
}

func TestMain(m *testing.M) {
	switch os.Getenv(program) {
	case "changing":
		playChanging()
		return
	case "tasks":
		playTasks()
		return
	}
	code := m.Run()
	if common.g != nil {
		_ = common.g.Kill()
		_ = os.RemoveAll(filepath.Dir(common.g.Dir))
	}
	if made.dir != "" {
		_ = os.RemoveAll(made.dir)
	}
	os.Exit(code)
}

// build compiles the gateway and go-sdk's test server.
func build(t testing.TB) {
	t.Helper()
	made.Do(func() {
		made.err = func() (err error) {
			if made.dir, err = os.MkdirTemp("", "gatewright-conformance"); err != nil { //nolint:usetesting // outlives the test that needs it first
				return err
			}
			made.gateway, made.everything = filepath.Join(made.dir, "gatewright"), filepath.Join(made.dir, "everything-server")
			made.suite = filepath.Join(made.dir, "suite-client")
			return built.Compile(map[string]string{
				made.gateway: built.Gateway, made.everything: "github.com/modelcontextprotocol/go-sdk/conformance/everything-server",
				made.suite: "./conformance/suite/client",
			})
		}()
	})
	if made.err != nil {
		t.Fatal(made.err)
	}
}

func moduleRoot() (string, error) { return built.Root() }

// Setup says how a gateway is started.
type Setup struct {
	HCL  string   // gateway.hcl in the working directory; empty: none
	Dir  string   // data folder; empty: a new one
	Args []string // after the flags every start has
	Env  []string // NAME=value, beside PATH and HOME
}

// Gateway is a gateway process with its data folder. It can be stopped, killed and started again on the same folder.
type Gateway struct {
	Dir, Work    string            // data folder, working directory
	URL, Control string            // as the ready line says
	Env          map[string]string // demo.env, empty in production mode
	Setup        Setup

	cmd    *exec.Cmd
	out    lines
	log    lines
	exited chan struct{}
	code   int
}

// lines keeps what a process writes.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// Out and Log are all that the gateway wrote to standard output and standard error, over all its starts.
func (g *Gateway) Out() string { return g.out.String() }
func (g *Gateway) Log() string { return g.log.String() }

// start starts a gateway for one test and stops it at the test's end.
func start(t testing.TB, s Setup) *Gateway {
	t.Helper()
	build(t)
	base := t.TempDir()
	g := &Gateway{Dir: s.Dir, Work: filepath.Join(base, "empty"), Setup: s}
	if g.Dir == "" {
		g.Dir = filepath.Join(base, "data")
	}
	if err := g.begin(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Kill() })
	return g
}

// shared is a gateway in development mode for tests that make agents, plans and calls of their own.
func shared(t testing.TB) *Gateway {
	t.Helper()
	build(t)
	common.Do(func() {
		base, err := os.MkdirTemp("", "gatewright-shared") //nolint:usetesting // outlives the test that needs it first
		if err != nil {
			common.err = err
			return
		}
		common.g = &Gateway{Dir: filepath.Join(base, "data"), Work: filepath.Join(base, "empty")}
		common.err = common.g.begin()
	})
	if common.err != nil {
		t.Fatal(common.err)
	}
	return common.g
}

// refusedStart starts a gateway that must not come up, and returns its exit code and standard error.
func refusedStart(t testing.TB, s Setup) (int, string) {
	t.Helper()
	build(t)
	base := t.TempDir()
	g := &Gateway{Dir: s.Dir, Work: filepath.Join(base, "empty"), Setup: s}
	if g.Dir == "" {
		g.Dir = filepath.Join(base, "data")
	}
	if err := g.begin(); err == nil {
		_ = g.Kill()
		t.Fatalf("the gateway came up:\n%s%s", g.Out(), g.Log())
	}
	return g.code, g.Log()
}

var readyLine = regexp.MustCompile(`(?m)^gatewright ready listen=(\S+) control=(\S+)$`)

// begin starts the process and waits for its ready line.
func (g *Gateway) begin() error {
	if err := os.MkdirAll(g.Work, 0o700); err != nil {
		return err
	}
	if g.Setup.HCL != "" {
		if err := os.WriteFile(filepath.Join(g.Work, "gateway.hcl"), []byte(g.Setup.HCL), 0o600); err != nil {
			return err
		}
	}
	args := append([]string{"--data", g.Dir, "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0"}, g.Setup.Args...)
	g.cmd = exec.Command(made.gateway, args...)
	g.cmd.Dir = g.Work
	g.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + g.Work, patientLedger}, g.Setup.Env...)
	g.cmd.Stderr = &g.log
	pipe, err := g.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := g.cmd.Start(); err != nil {
		return err
	}
	ready := make(chan []string, 1)
	g.exited = make(chan struct{})
	go func() {
		for r := bufio.NewReader(pipe); ; {
			line, err := r.ReadString('\n')
			_, _ = io.WriteString(&g.out, line)
			if m := readyLine.FindStringSubmatch(line); m != nil {
				ready <- m
			}
			if err != nil {
				break
			}
		}
		_ = g.cmd.Wait()
		g.code = g.cmd.ProcessState.ExitCode()
		close(g.exited)
	}()
	select {
	case m := <-ready:
		g.URL, g.Control = m[1], m[2]
		return g.readEnv()
	case <-g.exited:
		return fmt.Errorf("the gateway ended with %d before it was ready:\n%s", g.code, g.Log())
	case <-time.After(patience):
		_ = g.Kill()
		return fmt.Errorf("the gateway was not ready in %s:\n%s", patience, g.Log())
	}
}

// readEnv reads demo.env, whose lines are "export NAME=value" and nothing else.
func (g *Gateway) readEnv() error {
	g.Env = map[string]string{}
	b, err := os.ReadFile(filepath.Join(g.Dir, "demo.env"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for line := range strings.Lines(string(b)) {
		rest, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "export ")
		name, value, ok2 := strings.Cut(rest, "=")
		if !ok || !ok2 {
			return fmt.Errorf("demo.env has the line %q", line)
		}
		g.Env[name] = value
	}
	return err
}

// Key and Admin are the keys of demo.env.
func (g *Gateway) Key() string   { return g.Env["GATEWRIGHT_API_KEY"] }
func (g *Gateway) Admin() string { return g.Env["GATEWRIGHT_ADMIN_KEY"] }

// Stop asks the gateway to end as an operator does, and returns its exit code.
func (g *Gateway) Stop(t testing.TB) int {
	t.Helper()
	if err := g.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-g.exited:
	case <-time.After(patience):
		_ = g.Kill()
		t.Fatalf("the gateway did not end in %s after SIGTERM", patience)
	}
	return g.code
}

// Kill ends the process as a crash does.
func (g *Gateway) Kill() error {
	if g.cmd == nil || g.cmd.Process == nil {
		return nil
	}
	err := g.cmd.Process.Kill()
	if g.exited != nil {
		<-g.exited
	}
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// Restart starts the gateway again on its data folder, after Stop or Kill. Its ports change.
func (g *Gateway) Restart(t testing.TB) {
	t.Helper()
	select {
	case <-g.exited:
	default:
		t.Fatal("the gateway still runs")
	}
	if err := g.begin(); err != nil {
		t.Fatal(err)
	}
}

// ran is how a command of the binary went.
type ran struct {
	code     int
	out, err string
}

// run runs a command of the binary with the environment of demo.env and what is given besides.
func (g *Gateway) run(t testing.TB, stdin string, env []string, args ...string) ran {
	t.Helper()
	cmd := exec.Command(made.gateway, args...)
	cmd.Dir = g.Work
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + g.Work}
	for name, value := range g.Env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.Env = append(cmd.Env, env...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return ran{cmd.ProcessState.ExitCode(), out.String(), errOut.String()}
}

// verifyLedger verifies the whole ledger offline, chain included. One that others write to meanwhile can end in a record
// that is being written, and is looked at again.
func (g *Gateway) verifyLedger(t testing.TB) (r ran) {
	t.Helper()
	for range 5 {
		r = g.run(t, "", nil, "ledger", "verify", "--data", g.Dir, "--k0", filepath.Join(g.Dir, "keys", "ledger.k0"))
		if r.code == 0 || !strings.Contains(r.err, "a ledger in use may end in a record that is being written") {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	return r
}

// child starts another program for the length of a test.
func child(t testing.TB, cmd *exec.Cmd) *lines {
	t.Helper()
	var log lines
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s wrote:\n%.2000s", filepath.Base(cmd.Path), log.String())
		}
	})
	return &log
}

// freePort finds a port of the loopback interface for a program that cannot take port 0 itself.
func freePort(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// waitFor polls until ok says yes.
func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s did not happen in %s", what, patience)
		}
	}
}

// waitPort waits until something listens.
func waitPort(t testing.TB, addr string) {
	t.Helper()
	waitFor(t, "listening on "+addr, func() bool {
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}

// missing skips a test whose outside program is not installed; where everything must be installed it fails.
func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing", what)
	}
	t.Skipf("%s is missing; .ci/run installs it", what)
}
