//go:build linux

package plugins_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatewright/gatewright/plugins"
	"github.com/gatewright/gatewright/plugins/connector"
)

// TestMain is also the child: with PART set, the test binary plays a part.
func TestMain(m *testing.M) {
	if part := os.Getenv("PART"); part != "" {
		os.Exit(act(part))
	}
	goleak.VerifyTestMain(m)
}

// act is the whole life of a child. Parts that are not connectors come first.
func act(part string) int {
	switch part {
	case "sleeper": // a descendant that does nothing
		time.Sleep(time.Minute)
	case "deaf sleeper":
		signal.Ignore(syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT)
		time.Sleep(time.Minute)
	case "daemon": // leaves one behind that is nobody's child
		return spawn("deaf sleeper", true)
	case "hopper": // starts its successor and ends, so that nobody who looks sees it
		n, _ := strconv.Atoi(os.Getenv("HOPS"))
		if n > 0 {
			return spawn("hopper", n%2 == 0, "HOPS="+strconv.Itoa(n-1))
		}
		time.Sleep(time.Minute)
	case "gateway":
		return standIn()
	case "exit":
		return 3
	case "garbage":
		fmt.Println("Hello, I am a connector! password=hunter2")
		time.Sleep(time.Minute)
	case "endless line":
		for {
			fmt.Print(strings.Repeat("x", 1<<16))
		}
	case "silent":
		time.Sleep(time.Minute)
	case "shut":
		os.Stdout.Close()
		time.Sleep(time.Minute)
	case "deaf silent":
		signal.Ignore(syscall.SIGTERM)
		time.Sleep(time.Minute)
	case "eater":
		eat(300 << 20)
	case "eats at start":
		eat(1 << 30)
	case "no certificate":
		os.Unsetenv("PLUGIN_CLIENT_CERT")
		return connector.Serve(connector.Info{Name: "test"}, server{})
	case "other cookie":
		os.Setenv(connector.Handshake.MagicCookieKey, "other")
		return connector.Serve(connector.Info{Name: "test"}, server{})
	default:
		if line, ok := strings.CutPrefix(part, "says "); ok {
			fmt.Println(strings.ReplaceAll(line, "DIR", os.Getenv("PLUGIN_UNIX_SOCKET_DIR")))
			time.Sleep(time.Minute)
			return 0
		}
		if raw, ok := hostiles[part]; ok {
			return serveRaw(raw)
		}
		return actServing(part)
	}
	return 0
}

// actServing plays the parts that are connectors, with a flaw.
func actServing(part string) int {
	switch part {
	case "deaf":
		signal.Ignore(syscall.SIGTERM)
		go func() {
			connector.Serve(connector.Info{Name: "deaf"}, server{})
		}()
		time.Sleep(time.Minute)
	case "chatty":
		stderr := os.Stderr // go-plugin puts a pipe there
		go func() {
			for i := 0; ; i++ {
				fmt.Fprintf(stderr, "line %d \xff \x1b[31m\u202e\n", i)
			}
		}()
	case "once": // the first process serves, those after it fail
		if _, err := os.Stat(os.Getenv("MARK")); err == nil {
			return 5
		}
		if err := os.WriteFile(os.Getenv("MARK"), nil, 0o600); err != nil {
			return 6
		}
	}
	return connector.Serve(connector.Info{Name: "test", Version: "1.2"}, server{})
}

// standIn is a gateway that runs one connector, until it is killed outright.
func standIn() int {
	c, err := plugins.New(quick(os.Getenv("SOCKETS"), "deaf", io.Discard))
	if err != nil {
		return 1
	}
	if err := c.Ready(context.Background()); err != nil {
		return 2
	}
	fmt.Println(c.Stats().PID)
	time.Sleep(time.Minute)
	return 3
}

// spawn starts this binary again in another part.
func spawn(part string, setsid bool, env ...string) int {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), env...), "PART="+part)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: setsid}
	if err := cmd.Start(); err != nil {
		return 4
	}
	return 0
}

// eat takes n bytes of memory and holds them.
func eat(n int) {
	held := make([]byte, n)
	for i := 0; i < len(held); i += 4096 {
		held[i] = 1
	}
	time.Sleep(time.Minute)
	fmt.Fprintln(io.Discard, held[0])
}

// stdout is the true one; go-plugin puts a pipe there.
var stdout = os.Stdout

// server does what the calls of a test ask for.
type server struct{}

func (server) Call(ctx context.Context, r *connector.Request) (connector.Reply, error) {
	var n int
	_ = json.Unmarshal(r.Arguments, &n)
	switch r.Name {
	case "echo":
		return connector.Reply{Result: r.Arguments}, nil
	case "pid":
		return result(os.Getpid())
	case "sleep":
		time.Sleep(time.Duration(n) * time.Millisecond)
	case "hang":
		<-ctx.Done()
		return connector.Reply{}, ctx.Err()
	case "exit":
		os.Exit(n)
	case "stop":
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		<-ctx.Done()
	case "say":
		for i := range n {
			fmt.Fprintf(os.Stderr, "said %d\n", i)
		}
	case "noise": // on stdout, past what go-plugin put there
		go func() {
			out := bufio.NewWriter(stdout)
			for {
				fmt.Fprintln(out, "1|1|tcp|127.0.0.1:1|grpc|", strings.Repeat("y", 1<<17))
			}
		}()
	case "print":
		_, err := stdout.Write(make([]byte, n))
		return connector.Reply{Result: []byte("{}")}, err
	case "env":
		return result(os.Environ())
	case "files":
		return result(descriptors("self"))
	case "status":
		b, err := os.ReadFile("/proc/self/" + strings.Trim(string(r.Arguments), `"`))
		if err != nil {
			return connector.Reply{}, err
		}
		return result(string(b))
	case "open":
		return result(openFiles(n))
	case "eat":
		go eat(n << 20)
	case "eat elsewhere":
		return result(spawn("eater", true))
	case "big":
		return connector.Reply{Result: []byte(`{"x":"` + strings.Repeat("x", n) + `"}`)}, nil
	case "offspring":
		return result(offspring())
	case "hop":
		for range 3 {
			if spawn("hopper", true, "HOPS=100000") != 0 {
				return connector.Reply{}, errors.New("cannot hop")
			}
		}
	case "scrubbed": // a descendant without the marker, out of the session
		cmd := exec.Command(os.Args[0])
		cmd.Env = []string{"PART=deaf sleeper"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			return connector.Reply{}, err
		}
		return result(cmd.Process.Pid)
	}
	return connector.Reply{Result: []byte("{}")}, nil
}

// result is an object with one member.
func result(v any) (connector.Reply, error) {
	b, err := json.Marshal(map[string]any{"v": v})
	return connector.Reply{Result: b}, err
}

func openFiles(n int) int {
	for i := range n {
		if _, err := os.Open(os.DevNull); err != nil {
			return i
		}
	}
	return n
}

// offspring starts every kind of process that tries to outlive its parent, and leaves zombies and sockets.
func offspring() string {
	codes := spawn("sleeper", false) + spawn("deaf sleeper", true) + spawn("daemon", true) + spawn("daemon", false)
	codes += spawn("exit", false) // a zombie: nobody waits for it
	dir := os.Getenv("PLUGIN_UNIX_SOCKET_DIR")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		codes++
	}
	if _, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0); err != nil {
		codes++
	}
	if err := os.WriteFile(filepath.Join(dir, "left"), nil, 0o600); err != nil {
		codes++
	}
	time.Sleep(300 * time.Millisecond) // until the daemons have detached
	return strconv.Itoa(codes)
}

// descriptors returns what each descriptor of a process is.
func descriptors(pid string) map[string]string {
	all := map[string]string{}
	entries, _ := os.ReadDir("/proc/" + pid + "/fd")
	for _, e := range entries {
		if to, err := os.Readlink("/proc/" + pid + "/fd/" + e.Name()); err == nil {
			all[e.Name()] = to
		}
	}
	return all
}

// world is what a test may not change.
type world struct {
	files     map[string]string
	processes []string
	threads   int
}

// ours marks what this run of the tests started: others may run beside it.
var ours = "TEST_RUN=" + strconv.Itoa(os.Getpid())

// look sees our descriptors, and every process that is our child or carries our mark.
func look() (w world) {
	w.files = descriptors("self")
	tasks, _ := os.ReadDir("/proc/self/task")
	w.threads = len(tasks)
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		stat, _ := os.ReadFile(dir + "/stat")
		env, _ := os.ReadFile(dir + "/environ")
		f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(f) > 1 && f[1] == strconv.Itoa(os.Getpid()) || bytes.Contains(env, []byte(ours+"\x00")) {
			w.processes = append(w.processes, filepath.Base(dir)+" "+string(bytes.SplitN(stat, []byte(")"), 2)[0])+" "+strings.Join(f[:min(2, len(f))], " "))
		}
	}
	return w
}

// socketDir is a folder in which nothing may be left when the test has ended.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "gw") //nolint:usetesting // a test's own folder has too long a name for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Errorf("%v are left in the folder for sockets", left)
		}
		os.RemoveAll(dir)
	})
	return dir
}

// unchanged fails the test unless, when it has ended, nothing is left of what it started: no process, no descriptor, no
// goroutine, no file.
func unchanged(t *testing.T) (sockets string) {
	t.Helper()
	sockets = socketDir(t)
	current := goleak.IgnoreCurrent()
	before := look()
	t.Cleanup(func() {
		if err := goleak.Find(current); err != nil {
			t.Error(err)
		}
		var after world
		for range 200 {
			if after = look(); len(after.files) == len(before.files) && len(after.processes) == len(before.processes) {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if len(after.files) != len(before.files) {
			t.Errorf("descriptors: %d before, %d after: %v", len(before.files), len(after.files), slices.Sorted(maps.Values(after.files)))
		}
		if len(after.processes) != len(before.processes) {
			t.Errorf("processes: %v before, %v after", before.processes, after.processes)
		}
	})
	return sockets
}

// play-time configuration: everything quick, nothing that a busy machine breaks.
func quick(sockets, part string, out io.Writer) plugins.Options {
	config := plugins.DefaultConfig()
	config.StartTimeout, config.StopTimeout = 20*time.Second, 5*time.Second
	config.BackoffMin, config.BackoffMax = time.Millisecond, 4*time.Millisecond
	config.PingEvery, config.PingTimeout = 200*time.Millisecond, 10*time.Second
	config.WatchEvery = 20 * time.Millisecond
	return plugins.Options{
		Config: config, Tenant: "acme", SocketDir: sockets,
		Command: plugins.Command{Name: "test", Path: os.Args[0], Env: []string{"PART=" + part, ours}},
		Logger:  slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Now:     time.Now,
	}
}

// open starts supervising and sees to the end.
func open(t *testing.T, o plugins.Options) *plugins.Connector {
	t.Helper()
	c, err := plugins.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return c
}

// run is open, and waits until it serves.
func run(t *testing.T, o plugins.Options) *plugins.Connector {
	t.Helper()
	c := open(t, o)
	if err := c.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// ask makes one call.
func ask(ctx context.Context, c *plugins.Connector, name, args string) (string, error) {
	var reply connector.Reply
	err := c.Call(ctx, &connector.Request{Method: "tools/call", Name: name, Principal: "p", Arguments: []byte(args)}, &reply)
	return string(reply.Result), err
}

// must is ask that may not fail.
func must(t *testing.T, c *plugins.Connector, name, args string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	got, err := ask(ctx, c, name, args)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return got
}

// failed is what kind of failure an error is.
func failed(err error) connector.Failure {
	if f, ok := errors.AsType[*connector.Failure](err); ok {
		return connector.Failure{Kind: f.Kind, Sent: f.Sent}
	}
	return connector.Failure{}
}

// until waits for a condition.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 2000 {
		if ok() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("it never came to this: %s", what)
}

// logs is a buffer that may be written while it is read.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func gone(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }
