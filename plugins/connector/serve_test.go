package connector_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gatewright/gatewright/plugins/connector"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
)

// role names what this test binary is when it is started as a connector.
const role = "CONNECTOR_TEST_ROLE"

func TestMain(m *testing.M) {
	if os.Getenv(role) != "" {
		s := &mortal{done: make(chan struct{}), kind: os.Getenv(role)}
		os.Exit(connector.Serve(connector.Info{Name: "child", Version: s.kind}, s))
	}
	goleak.VerifyTestMain(m)
}

// mortal is a connector's server for the tests of Serve.
type mortal struct {
	kind string
	once sync.Once
	done chan struct{}
}

func (m *mortal) Done() <-chan struct{} { return m.done }
func (m *mortal) Err() error            { return errors.New("its child is gone") }

func (m *mortal) Call(ctx context.Context, r *connector.Request) (connector.Reply, error) {
	switch r.Name {
	case "print":
		fmt.Println("garbage on stdout|1|2|3|4|5|6")
		fmt.Fprintln(os.Stderr, "a line for the log")
	case "slow":
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return connector.Reply{}, ctx.Err()
		}
	case "hang":
		<-ctx.Done()
		return connector.Reply{}, ctx.Err()
	case "deaf":
		time.Sleep(time.Hour)
	case "end":
		m.once.Do(func() { close(m.done) })
	}
	return connector.Reply{Result: []byte(`{}`)}, nil
}

// child is a connector's process under go-plugin alone.
type child struct {
	client  *plugin.Client
	cmd     *exec.Cmd
	dir     string
	log     *bytes.Buffer
	session *connector.Session
}

func start(t *testing.T) *child {
	t.Helper()
	c := &child{cmd: exec.Command(os.Args[0]), dir: t.TempDir(), log: new(bytes.Buffer)}
	c.cmd.Env = []string{role + "=plain"}
	var mu sync.Mutex
	c.client = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig: connector.Handshake, Plugins: plugin.PluginSet{connector.PluginName: &connector.Plugin{}},
		Cmd: c.cmd, AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC}, AutoMTLS: true, SkipHostEnv: true,
		Logger: hclog.NewNullLogger(), Stderr: lockedWriter{&mu, c.log}, UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: c.dir},
	})
	t.Cleanup(c.client.Kill)
	protocol, err := c.client.Client()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := protocol.Dispense(connector.PluginName)
	if err != nil {
		t.Fatal(err)
	}
	c.session, err = connector.Open(soon(t), conn.(grpc.ClientConnInterface), connector.Bounds{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.session.Close() })
	return c
}

// exited waits for the process's end and returns its code.
func (c *child) exited(t *testing.T) int {
	t.Helper()
	waitFor(t, c.client.Exited)
	return c.cmd.ProcessState.ExitCode()
}

type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (w lockedWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.w.Write(b)
}

func call(t *testing.T, s *connector.Session, name string) error {
	t.Helper()
	var reply connector.Reply
	return s.Call(soon(t), &connector.Request{Name: name}, &reply)
}

func TestServeIsAWholeConnector(t *testing.T) {
	c := start(t)
	if c.session.Info() != (connector.Info{Name: "child", Version: "plain"}) {
		t.Errorf("info is %+v", c.session.Info())
	}
	if err := call(t, c.session, "print"); err != nil {
		t.Error(err)
	}
	if err := call(t, c.session, "again"); err != nil {
		t.Error(err)
	}
	c.client.Kill()
	if code := c.exited(t); code != 0 {
		t.Errorf("the connector exited with %d", code)
	}
	for _, line := range []string{"garbage on stdout", "a line for the log"} {
		if !strings.Contains(c.log.String(), line) {
			t.Errorf("the log %q lacks %q", c.log, line)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(c.dir, "*", "*")); len(left) != 0 {
		t.Errorf("%v is left behind", left)
	}
}

func TestSIGTERMLetsACallUnderWayFinish(t *testing.T) {
	c := start(t)
	result := make(chan error, 1)
	go func() { result <- call(t, c.session, "slow") }()
	waitFor(t, func() bool { return c.session.InFlight() == 1 })
	if err := call(t, c.session, "quick"); err != nil { // the slow one has arrived before it
		t.Fatal(err)
	}
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-result; err != nil {
		t.Errorf("the call under way gave %v", err)
	}
	if code := c.exited(t); code != 0 {
		t.Errorf("the connector exited with %d, log %s", code, c.log)
	}
	<-c.session.Done()
	if err := c.session.Err(); err == nil || err.Error() != "unreachable: the connector ended" {
		t.Errorf("the session ended for %v", err)
	}
}

func TestSIGTERMAfterADrainEndsAConnectorAtOnce(t *testing.T) {
	c := start(t)
	if err := c.session.Drain(soon(t)); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-c.session.Done()
	if took := time.Since(began); took > 400*time.Millisecond { // it waits 500 ms for a gateway that does not close its side
		t.Errorf("it took %v", took)
	}
	if code := c.exited(t); code != 0 {
		t.Errorf("the connector exited with %d", code)
	}
}

func TestSIGTERMEndsAConnectorWhoseCallsHang(t *testing.T) {
	for name, kind := range map[string]connector.Kind{"hang": connector.Canceled, "deaf": connector.Unreachable} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := start(t)
			result := make(chan error, 1)
			go func() { result <- call(t, c.session, name) }()
			waitFor(t, func() bool { return c.session.InFlight() == 1 })
			if err := call(t, c.session, "quick"); err != nil {
				t.Fatal(err)
			}
			if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			var f *connector.Failure
			if err := <-result; !errors.As(err, &f) || !f.Sent || f.Kind != kind {
				t.Errorf("the call gave %v", err)
			}
			if code := c.exited(t); code != 0 {
				t.Errorf("the connector exited with %d", code)
			}
		})
	}
}

func TestAServerThatEndsEndsItsConnector(t *testing.T) {
	c := start(t)
	if err := call(t, c.session, "end"); err != nil {
		t.Error(err)
	}
	if code := c.exited(t); code != 1 {
		t.Errorf("the connector exited with %d", code)
	}
	if !strings.Contains(c.log.String(), "its child is gone") {
		t.Errorf("the log is %q", c.log)
	}
}

func TestAConnectorEndsWithItsGateway(t *testing.T) {
	c := start(t)
	_ = c.session.Close()
	if code := c.exited(t); code != 0 {
		t.Errorf("the connector exited with %d", code)
	}
}

func TestAKilledConnectorFailsItsCalls(t *testing.T) {
	c := start(t)
	result := make(chan error, 1)
	go func() { result <- call(t, c.session, "deaf") }()
	waitFor(t, func() bool { return c.session.InFlight() == 1 })
	if err := call(t, c.session, "quick"); err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	var f *connector.Failure
	if err := <-result; !errors.As(err, &f) || f.Kind != connector.Unreachable || !f.Sent {
		t.Errorf("the call gave %v", err)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestByHandAConnectorSaysWhatItIs(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{role + "=plain"}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 2 {
		t.Errorf("it ended with %v", err)
	}
	if lines := strings.Split(string(out), "\n"); len(lines) != 2 || !strings.Contains(lines[0], "is a Gatewright connector") {
		t.Errorf("it said %q", out)
	}
}
