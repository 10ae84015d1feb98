package immunity_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/conformance/built"
)

// patience bounds every wait for something that happens at once on an idle machine.
const patience = 60 * time.Second

// made is the program under test, and the gateway that tests share which leave no trace for others.
var made struct {
	build, boot sync.Once
	dir         string
	common      *gateway
	buildErr    error
	bootErr     error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if made.common != nil {
		made.common.kill()
	}
	if made.dir != "" {
		_ = os.RemoveAll(made.dir)
	}
	os.Exit(code)
}

func program(t testing.TB) string {
	t.Helper()
	made.build.Do(func() {
		if made.dir, made.buildErr = os.MkdirTemp("", "gatewright-immunity"); made.buildErr == nil { //nolint:usetesting // outlives the test that needs it first
			made.buildErr = built.Compile(map[string]string{filepath.Join(made.dir, "gatewright"): built.Gateway})
		}
	})
	if made.buildErr != nil {
		t.Fatal(made.buildErr)
	}
	return filepath.Join(made.dir, "gatewright")
}

// text keeps what a process writes.
type text struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *text) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *text) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// gateway is the built program as a process, started as a user starts it.
type gateway struct {
	dir, url, control string
	admin             string // of the demo organisation
	log               text   // all that the process wrote
	cmd               *exec.Cmd
	exited            chan struct{}
}

var readyLine = regexp.MustCompile(`(?m)^gatewright ready listen=(\S+) control=(\S+)$`)

// start starts a gateway for one test.
func start(t testing.TB, hcl string, env ...string) *gateway {
	t.Helper()
	g, err := begin(program(t), t.TempDir(), hcl, env...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.kill)
	return g
}

// shared is a gateway in development mode for tests that make agents, plans and servers of their own. It gives up slow
// senders soon.
func shared(t testing.TB) *gateway {
	t.Helper()
	bin := program(t)
	made.boot.Do(func() {
		made.common, made.bootErr = begin(bin, filepath.Join(made.dir, "common"), "proxy {\n  read_timeout = \"2s\"\n}\n")
	})
	if made.bootErr != nil {
		t.Fatal(made.bootErr)
	}
	return made.common
}

func begin(bin, base, hcl string, env ...string) (*gateway, error) {
	work := filepath.Join(base, "work")
	if err := os.MkdirAll(work, 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(work, "gateway.hcl"), []byte(hcl), 0o600); err != nil {
		return nil, err
	}
	g := &gateway{dir: filepath.Join(base, "data"), exited: make(chan struct{})}
	g.cmd = exec.Command(bin, "--data", g.dir, "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0")
	g.cmd.Dir = work
	g.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + work, "GATEWRIGHT_CFG_LEDGER__DEADLINE=1m"}, env...)
	g.cmd.Stderr = &g.log
	pipe, err := g.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := g.cmd.Start(); err != nil {
		return nil, err
	}
	ready := make(chan []string, 1)
	go func() {
		for r := bufio.NewReader(pipe); ; {
			line, err := r.ReadString('\n')
			_, _ = io.WriteString(&g.log, line)
			if m := readyLine.FindStringSubmatch(line); m != nil {
				ready <- m
			}
			if err != nil {
				break
			}
		}
		_ = g.cmd.Wait()
		close(g.exited)
	}()
	select {
	case m := <-ready:
		g.url, g.control = m[1], m[2]
	case <-g.exited:
		return nil, fmt.Errorf("the gateway ended before it was ready:\n%s", g.log.String())
	case <-time.After(patience):
		g.kill()
		return nil, fmt.Errorf("the gateway was not ready in %s:\n%s", patience, g.log.String())
	}
	demo, err := os.ReadFile(filepath.Join(g.dir, "demo.env"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if m := regexp.MustCompile(`(?m)^export GATEWRIGHT_ADMIN_KEY=(\S+)$`).FindSubmatch(demo); m != nil {
		g.admin = string(m[1])
	}
	return g, nil
}

func (g *gateway) kill() {
	_ = g.cmd.Process.Kill()
	<-g.exited
}

// answer is what came back.
type answer struct {
	status int
	head   http.Header
	body   string
}

func (a answer) String() string { return fmt.Sprintf("%d %.600s", a.status, a.body) }

// code is the reason code of a refusal, from the body of either port.
func (a answer) code() string {
	var m struct {
		Code  string
		Error struct{ Data struct{ Reason string } }
	}
	if json.Unmarshal([]byte(a.body), &m) != nil {
		var rpc struct {
			Error struct{ Data struct{ Reason string } }
		}
		_ = json.Unmarshal([]byte(a.body), &rpc)
		return rpc.Error.Data.Reason
	}
	return m.Code + m.Error.Data.Reason
}

// result is the JSON-RPC result; empty when there is none.
func (a answer) result() string {
	var m struct{ Result json.RawMessage }
	_ = json.Unmarshal([]byte(a.body), &m)
	return string(m.Result)
}

var web = &http.Client{
	Timeout:       patience,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// send makes one request with these headers and no others of its own.
func send(t testing.TB, method, url string, h map[string]string, body string) answer {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body == "" {
		req.Body = nil
	}
	for name, value := range h {
		req.Header.Set(name, value)
	}
	resp, err := web.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

// ask makes a call on the control port with a management key.
func (g *gateway) ask(t testing.TB, key, method, path string, in any) answer {
	t.Helper()
	h, body := map[string]string{}, ""
	if key != "" {
		h["Authorization"] = "Bearer " + key
	}
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		h["Content-Type"], body = "application/json", string(b)
	}
	return send(t, method, g.control+path, h, body)
}

// manage is a control call of the demo organisation's admin that must succeed.
func (g *gateway) manage(t testing.TB, method, path string, in, out any) {
	t.Helper()
	g.manageAs(t, g.admin, method, path, in, out)
}

func (g *gateway) manageAs(t testing.TB, key, method, path string, in, out any) {
	t.Helper()
	a := g.ask(t, key, method, path, in)
	if a.status < 200 || a.status > 299 {
		t.Fatalf("%s %s: %s", method, path, a)
	}
	if out != nil {
		if err := json.Unmarshal([]byte(a.body), out); err != nil {
			t.Fatalf("%s %s: %v in %s", method, path, err, a)
		}
	}
}
