//go:build linux

package plugins_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gatewright/gatewright/plugins"
)

const readyLine = "ready http://127.0.0.1:4711/mcp"

func play(part string) {
	switch part {
	case "silent":
	case "exit":
		os.Exit(3)
	case "crash":
		fmt.Println(readyLine)
		os.Exit(4)
	case "long line":
		fmt.Print("ready http://127.0.0.1:1/" + strings.Repeat("a", 1<<20))
	case "chatty":
		fmt.Println(readyLine)
		for range 1000 {
			fmt.Println(strings.Repeat("x", 1000))
		}
		fmt.Fprintln(os.Stderr, strings.Repeat("y", 1<<20))
		for i := range 500 {
			fmt.Fprintf(os.Stderr, "line %d \xff\n", i)
		}
		os.Exit(0)
	case "orderly":
		term := make(chan os.Signal, 1)
		signal.Notify(term, syscall.SIGTERM)
		fmt.Println(readyLine)
		<-term
		os.Exit(0)
	case "deaf":
		signal.Ignore(syscall.SIGTERM)
		fmt.Println(readyLine)
	case "report":
		fmt.Println(readyLine)
		fmt.Fprintf(os.Stderr, "env %q\n", os.Environ())
		entries, _ := os.ReadDir("/proc/self/fd")
		for _, e := range entries {
			if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
				fmt.Fprintf(os.Stderr, "fd %s %s\n", e.Name(), to)
			}
		}
	case "parent":
		grandchild := exec.Command(os.Args[0])
		grandchild.Env = []string{"CHILD=silent"}
		grandchild.Stderr = os.Stderr // keeps our pipe open
		if err := grandchild.Start(); err != nil {
			os.Exit(5)
		}
		fmt.Println(readyLine)
		fmt.Fprintf(os.Stderr, "grandchild %d\n", grandchild.Process.Pid)
	default:
		fmt.Println(part) // anything else is said as the first line
	}
	time.Sleep(time.Minute)
}

// logs is a concurrency-safe buffer behind a slog text handler.
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

func options(part string, out io.Writer) plugins.Options {
	config := plugins.DefaultConfig()
	config.ReadyTimeout = 5 * time.Second
	config.StopTimeout = 5 * time.Second
	config.BackoffMin, config.BackoffMax = time.Millisecond, 4*time.Millisecond
	return plugins.Options{
		Config:  config,
		Command: plugins.Command{Name: "test", Path: os.Args[0], Env: []string{"CHILD=" + part}},
		Logger:  slog.New(slog.NewTextHandler(out, nil)),
		Now:     time.Now,
	}
}

func start(t *testing.T, opts plugins.Options) *plugins.Process {
	t.Helper()
	p, err := plugins.Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Stop() })
	return p
}

func gone(pid int) bool {
	return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}

func TestAChildThatDoesNotAnnounceItselfProperlyIsRefused(t *testing.T) {
	for _, part := range []string{
		"exit", "long line", "hello", "ready", "ready ", "READY http://127.0.0.1:1/",
		"ready http://example.com:80/mcp", "ready http://10.0.0.1:80/", "ready http://localhost:80/",
		"ready https://127.0.0.1:80/", "ready http://127.0.0.1/", "ready http://u:p@127.0.0.1:1/",
		"ready http://127.0.0.1:1/?x=1", "ready unix:///tmp/x", "ready http://0.0.0.0:1/", "ready http://[::]:1/", "ready ://",
	} {
		t.Run(part, func(t *testing.T) {
			p, err := plugins.Start(t.Context(), options(part, io.Discard))
			if err == nil {
				p.Stop()
				t.Fatal("was started")
			}
		})
	}
}

func TestASilentChildIsKilledAfterTheReadyTimeout(t *testing.T) {
	opts := options("silent", io.Discard)
	opts.Config.ReadyTimeout = 50 * time.Millisecond
	if _, err := plugins.Start(t.Context(), opts); err == nil || !strings.Contains(err.Error(), "no ready line") {
		t.Fatalf("got %v", err)
	}
}

func TestStartEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := plugins.Start(ctx, options("silent", io.Discard)); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
}

func TestAMissingProgramIsAnError(t *testing.T) {
	opts := options("x", io.Discard)
	opts.Command.Path = "/nonexistent/program"
	if _, err := plugins.Start(t.Context(), opts); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("got %v", err)
	}
}

func TestAConfigWithoutBoundsIsRefused(t *testing.T) {
	for _, spoil := range []func(*plugins.Config){
		func(c *plugins.Config) { c.ReadyTimeout = 0 },
		func(c *plugins.Config) { c.StopTimeout = -1 },
		func(c *plugins.Config) { c.BackoffMax = c.BackoffMin - 1 },
		func(c *plugins.Config) { c.MaxCrashes = 0 },
		func(c *plugins.Config) { c.LinesPerSecond = 0 },
		func(c *plugins.Config) { c.CrashWindow = 0 },
	} {
		opts := options("orderly", io.Discard)
		spoil(&opts.Config)
		if _, err := plugins.Start(t.Context(), opts); err == nil {
			t.Errorf("%+v was accepted", opts.Config)
		}
	}
}

func TestAChildThatKeepsCrashingIsGivenUp(t *testing.T) {
	opts := options("crash", io.Discard)
	opts.Config.MaxCrashes = 3
	p := start(t, opts)
	<-p.Done()
	s := p.Stats()
	if s.State != plugins.Broken || s.Starts != 3 || !errors.Is(s.Err, plugins.ErrBroken) {
		t.Errorf("got %+v", s)
	}
	if _, ok := p.URL(); ok {
		t.Error("a broken process has a URL")
	}
}

func TestAChildThatDiesIsReplaced(t *testing.T) {
	urls := make(chan string, 4)
	opts := options("orderly", io.Discard)
	opts.OnReady = func(url string) { urls <- url }
	p := start(t, opts)
	first, pid := <-urls, p.Stats().PID
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-urls
	if p.Stats().PID == pid || p.Stats().Starts != 2 {
		t.Errorf("got %+v after %s", p.Stats(), first)
	}
}

func TestAnOrderlyChildEndsOnStop(t *testing.T) {
	p := start(t, options("orderly", io.Discard))
	pid := p.Stats().PID
	p.Stop()
	p.Stop() // again is harmless
	if s := p.Stats(); s.State != plugins.Stopped || s.URL != "" || !gone(pid) {
		t.Errorf("got %+v", s)
	}
}

func TestADeafChildIsKilled(t *testing.T) {
	opts := options("deaf", io.Discard)
	opts.Config.StopTimeout = 50 * time.Millisecond
	p := start(t, opts)
	pid := p.Stats().PID
	p.Stop()
	if !gone(pid) {
		t.Error("it still runs")
	}
}

func TestWhatAChildLeavesBehindIsKilled(t *testing.T) {
	var out logs
	p := start(t, options("parent", &out))
	var pid int
	for pid == 0 {
		if _, after, ok := strings.Cut(out.String(), "grandchild "); ok {
			if number, _, ok := strings.Cut(after, "\""); ok {
				pid, _ = strconv.Atoi(number)
			}
		}
		time.Sleep(time.Millisecond)
	}
	p.Stop()
	// The orphan is reaped by whoever adopted it, so it may be a zombie here.
	for range 1000 {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || bytes.Contains(status, []byte(") Z ")) {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Error("the grandchild still runs")
}

func TestAChildInheritsNothingItWasNotGiven(t *testing.T) {
	t.Setenv("SECRET", "do-not-pass")
	t.Setenv("WANTED", "pass")
	leaked, err := syscall.Open("/dev/null", syscall.O_RDONLY, 0) // no O_CLOEXEC, as a careless parent leaves it
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(leaked)
	var out logs
	opts := options("report", &out)
	opts.Command.PassEnv = []string{"WANTED", "NOT_SET"}
	p := start(t, opts)
	for !strings.Contains(out.String(), "fd 2 ") || !strings.Contains(out.String(), "fd") {
		time.Sleep(time.Millisecond)
	}
	p.Stop()
	if text := out.String(); !strings.Contains(text, "WANTED=pass") || strings.Contains(text, "do-not-pass") || strings.Contains(text, "NOT_SET") {
		t.Errorf("environment: %s", text)
	}
	if fd := fmt.Sprintf("fd %d /dev/null", leaked); strings.Contains(out.String(), fd) {
		t.Errorf("descriptor %d was inherited", leaked)
	}
}

func TestWhatAChildPrintsIsBounded(t *testing.T) {
	var out logs
	opts := options("chatty", &out)
	opts.Config.MaxCrashes = 1
	p := start(t, opts)
	<-p.Done()
	text := out.String()
	if n := strings.Count(text, "child says\""); n < 100 || n > 120 {
		t.Errorf("%d lines were logged", n)
	}
	if len(text) > 64<<10 {
		t.Errorf("%d bytes were logged", len(text))
	}
	if !strings.Contains(text, "cut=true") || !strings.Contains(text, "child says too much") || strings.Contains(text, "\xff") {
		t.Error("cutting, dropping or cleaning is missing")
	}
}
