//go:build linux

package plugins_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gatewright/gatewright/plugins"
	"github.com/gatewright/gatewright/plugins/connector"
)

func TestWhatCannotBeStartedIsRefusedAtOnce(t *testing.T) {
	dir := t.TempDir()
	plain, fifo := filepath.Join(dir, "plain"), filepath.Join(dir, "fifo")
	if err := os.WriteFile(plain, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(fifo, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		spoil func(o *plugins.Options)
		want  string
	}{
		"no name":           {func(o *plugins.Options) { o.Command.Name = "" }, "a name and a program are required"},
		"no program":        {func(o *plugins.Options) { o.Command.Path = "" }, "a name and a program are required"},
		"missing":           {func(o *plugins.Options) { o.Command.Path = filepath.Join(dir, "none") }, "find the program"},
		"a bare name":       {func(o *plugins.Options) { o.Command.Path = "sh" }, "find the program"},
		"a folder":          {func(o *plugins.Options) { o.Command.Path = dir }, "is not a file"},
		"a pipe":            {func(o *plugins.Options) { o.Command.Path = fifo }, "is not a file"},
		"not executable":    {func(o *plugins.Options) { o.Command.Path = plain }, "is not executable"},
		"wrong checksum":    {func(o *plugins.Options) { o.Command.SHA256 = make([]byte, 32) }, "SHA-256 is not the one"},
		"half a checksum":   {func(o *plugins.Options) { o.Command.SHA256 = make([]byte, 16) }, "want 32"},
		"no folder":         {func(o *plugins.Options) { o.Command.Dir = filepath.Join(dir, "none") }, "find the working directory"},
		"a file as folder":  {func(o *plugins.Options) { o.Command.Dir = plain }, "is not a folder"},
		"variable":          {func(o *plugins.Options) { o.Command.Env = []string{"A"} }, "NAME=value"},
		"nameless":          {func(o *plugins.Options) { o.Command.Env = []string{"=a"} }, "not a name"},
		"zero byte":         {func(o *plugins.Options) { o.Command.Env = []string{"A=\x00"} }, "NAME=value"},
		"passed value":      {func(o *plugins.Options) { o.Command.PassEnv = []string{"A=b"} }, "not a name"},
		"our marker":        {func(o *plugins.Options) { o.Command.Env = []string{"GATEWRIGHT_CONNECTOR_PROCESS=x"} }, "runtime's own"},
		"our cookie":        {func(o *plugins.Options) { o.Command.PassEnv = []string{"GATEWRIGHT_CONNECTOR"} }, "runtime's own"},
		"go-plugin's":       {func(o *plugins.Options) { o.Command.Env = []string{"PLUGIN_CLIENT_CERT=x"} }, "runtime's own"},
		"no socket folder":  {func(o *plugins.Options) { o.SocketDir = filepath.Join(dir, "none") }, "find the folder for sockets"},
		"a file for one":    {func(o *plugins.Options) { o.SocketDir = plain }, "is not a folder"},
		"too long a folder": {func(o *plugins.Options) { o.SocketDir = "/" + strings.Repeat("x", 80) }, "too long a name"},
		"no clock":          {func(o *plugins.Options) { o.Now = nil }, "clock"},
		"no bound":          {func(o *plugins.Options) { o.Config.Memory = 0 }, "memory must be positive"},
		"negative bound":    {func(o *plugins.Options) { o.Config.Files = -1 }, "every bound"},
		"no time":           {func(o *plugins.Options) { o.Config.PingTimeout = 0 }, "every duration"},
		"backoff":           {func(o *plugins.Options) { o.Config.BackoffMax = 1 }, "backoff_max"},
		"small messages":    {func(o *plugins.Options) { o.Config.MaxMessage = 100 }, "max_message"},
		"too many calls":    {func(o *plugins.Options) { o.Config.InFlight = 1 << 20 }, "in_flight"},
	} {
		t.Run(name, func(t *testing.T) {
			o := quick("", "good", io.Discard)
			c.spoil(&o)
			got, err := plugins.New(o)
			if err == nil {
				_ = got.Stop(context.Background())
				t.Fatal("was accepted")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestTheDefaultsAreValid(t *testing.T) {
	if err := plugins.DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
}

func TestAConnectorServes(t *testing.T) {
	var out logs
	o := quick(unchanged(t), "good", &out)
	var states []plugins.State
	o.OnChange = func(s plugins.State) { states = append(states, s) }
	c := run(t, o)
	if got := must(t, c, "echo", `{"a":[1]}`); got != `{"a":[1]}` {
		t.Errorf("got %s", got)
	}
	until(t, "it answers pings", func() bool { return c.Stats().Pings > 1 })
	s := c.Stats()
	if s.Name != "test" || s.Tenant != "acme" || s.State != plugins.Running || s.Since.IsZero() || s.PID == 0 || s.Starts != 1 || s.Pong <= 0 ||
		s.Crashes != 0 || s.Err != nil || s.InFlight != 0 || s.Info != (connector.Info{Name: "test", Version: "1.2"}) {
		t.Errorf("stats: %+v", s)
	}
	if err := c.Stop(context.Background()); err != nil {
		t.Error(err)
	}
	if s := c.Stats(); s.State != plugins.Stopped || s.PID != 0 || !gone(s.PID) && s.PID != 0 {
		t.Errorf("stats after the end: %+v", s)
	}
	if want := []plugins.State{plugins.Running, plugins.Stopped}; !slices.Equal(states, want) {
		t.Errorf("states %v", states)
	}
	if !strings.Contains(out.String(), "connector=test tenant=acme pid=") {
		t.Errorf("the log: %s", out.String())
	}
}

func TestAnOrderlyProcessIsNotKilled(t *testing.T) {
	o := quick(unchanged(t), "good", io.Discard)
	o.Config.StopTimeout = time.Minute
	c := run(t, o)
	began := time.Now()
	if err := c.Stop(context.Background()); err != nil || time.Since(began) > 10*time.Second {
		t.Errorf("%v after %s", err, time.Since(began))
	}
}

func TestStopLetsCallsUnderWayEnd(t *testing.T) {
	c := run(t, quick(unchanged(t), "good", io.Discard))
	slept := make(chan error, 1)
	go func() {
		_, err := ask(context.Background(), c, "sleep", "300")
		slept <- err
	}()
	until(t, "the call is under way", func() bool { return c.Stats().InFlight == 1 })
	if err := c.Stop(context.Background()); err != nil {
		t.Error(err)
	}
	if err := <-slept; err != nil {
		t.Error(err)
	}
}

func TestStopWhileItStarts(t *testing.T) {
	for _, wait := range []time.Duration{0, time.Millisecond, 5 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond} {
		for _, part := range []string{"good", "silent", "no hello", "exit"} {
			t.Run(fmt.Sprint(part, wait), func(t *testing.T) {
				c := open(t, quick(unchanged(t), part, io.Discard))
				time.Sleep(wait)
				began := time.Now()
				if err := c.Stop(context.Background()); err != nil || time.Since(began) > 8*time.Second {
					t.Errorf("%v after %s", err, time.Since(began))
				}
			})
		}
	}
}

// TestARestartFailsNoCall: one process takes over from another while calls come in as fast as they can.
func TestARestartFailsNoCall(t *testing.T) {
	o := quick(unchanged(t), "good", io.Discard)
	o.Config.InFlight = 4 // so that calls wait, too
	c := run(t, o)
	var (
		wg    sync.WaitGroup
		calls atomic.Int64
		over  = make(chan struct{})
	)
	for n := range 16 {
		wg.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				name, args := "echo", `{"a":1}`
				if n == 0 {
					name, args = "sleep", "20"
				}
				if _, err := ask(context.Background(), c, name, args); err != nil {
					t.Errorf("call %d: %v", calls.Load(), err)
					return
				}
				calls.Add(1)
			}
		})
	}
	pids := map[int]bool{}
	for range 5 {
		time.Sleep(50 * time.Millisecond)
		if err := c.Restart(t.Context()); err != nil {
			t.Error(err)
		}
		pids[c.Stats().PID] = true
	}
	close(over)
	wg.Wait()
	if s := c.Stats(); len(pids) != 5 || s.Starts != 6 || s.Crashes != 0 || calls.Load() < 100 {
		t.Errorf("%d calls, processes %v, %+v", calls.Load(), pids, s)
	}
	until(t, "the old processes are gone", func() bool { return len(look().processes) == 1 })
}

func TestAFailedRestartLeavesTheOldProcess(t *testing.T) {
	o := quick(unchanged(t), "once", io.Discard)
	o.Command.Env = append(o.Command.Env, "MARK="+filepath.Join(t.TempDir(), "mark"))
	c := run(t, o)
	before := c.Stats().PID
	held := make(chan error, 1)
	go func() {
		_, err := ask(context.Background(), c, "sleep", "500")
		held <- err
	}()
	until(t, "a call is under way", func() bool { return c.Stats().InFlight == 1 })
	if err := c.Restart(t.Context()); err == nil || err.Error() != "the process ended: exit status 5" {
		t.Errorf("got %v", err)
	}
	if err := <-held; err != nil {
		t.Error(err)
	}
	must(t, c, "echo", "{}")
	if s := c.Stats(); s.PID != before || s.State != plugins.Running || s.Crashes != 0 || s.Err == nil {
		t.Errorf("stats: %+v", s)
	}
}

// copyProgram copies the test binary, so that it can be changed.
func copyProgram(t *testing.T, path string) (sum []byte) {
	t.Helper()
	b, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o700); err != nil {
		t.Fatal(err)
	}
	h := sha256.Sum256(b)
	return h[:]
}

func TestAPinnedProgramRunsAndNoOther(t *testing.T) {
	o := quick(unchanged(t), "good", io.Discard)
	o.Command.Path = filepath.Join(t.TempDir(), "program")
	o.Command.SHA256 = copyProgram(t, o.Command.Path)
	c := run(t, o)
	if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", c.Stats().PID)); err != nil || exe != o.Command.Path {
		t.Errorf("it runs %q, %v", exe, err)
	}
	if cmdline := must(t, c, "status", `"cmdline"`); !strings.Contains(cmdline, o.Command.Path) {
		t.Errorf("command line %s", cmdline)
	}
	if files := must(t, c, "files", "0"); strings.Contains(files, o.Command.Path) {
		t.Errorf("it holds its own program: %s", files)
	}
	other := o.Command.Path + ".new"
	copyProgram(t, other)
	f, err := os.OpenFile(other, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = f.WriteString("x")
	f.Close()
	if err := os.Rename(other, o.Command.Path); err != nil {
		t.Fatal(err)
	}
	if err := c.Restart(t.Context()); err == nil || !strings.Contains(err.Error(), "SHA-256 is not the one") {
		t.Errorf("another program was started: %v", err)
	}
	must(t, c, "echo", "{}")
}

func TestAPinnedScriptRuns(t *testing.T) {
	o := quick(unchanged(t), "good", io.Discard)
	script := []byte("#!/bin/sh\nexec " + os.Args[0] + "\n")
	o.Command.Path = filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(o.Command.Path, script, 0o700); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(script)
	o.Command.SHA256 = sum[:]
	must(t, run(t, o), "echo", "{}")
}

// TestACrashLoopDelaysNobodyElse: one connector crashes as often as it can while another is called, started and
// restarted.
func TestACrashLoopDelaysNobodyElse(t *testing.T) {
	sockets := unchanged(t)
	bad := quick(sockets, "exit", io.Discard)
	bad.Config.MaxCrashes = 1 << 20
	crashing, good := open(t, bad), run(t, quick(sockets, "good", io.Discard))
	until(t, "it crashes", func() bool { return crashing.Stats().Crashes > 5 })
	var took []time.Duration
	for begin := time.Now(); time.Since(begin) < time.Second; {
		t0 := time.Now()
		must(t, good, "echo", "{}")
		took = append(took, time.Since(t0))
	}
	slices.Sort(took)
	if p99 := took[len(took)*99/100]; p99 > 200*time.Millisecond {
		t.Errorf("of %d calls one in a hundred took over %s", len(took), p99)
	}
	began := time.Now()
	if err := good.Restart(t.Context()); err != nil || time.Since(began) > 5*time.Second {
		t.Errorf("a restart took %s: %v", time.Since(began), err)
	}
	if s := crashing.Stats(); s.Crashes < 10 || s.State != plugins.Starting {
		t.Errorf("it did not crash on: %+v", s)
	}
}

func TestManyConnectorsRunSideBySide(t *testing.T) {
	sockets := unchanged(t)
	var all []*plugins.Connector
	for range 8 {
		all = append(all, open(t, quick(sockets, "good", io.Discard)))
	}
	pids := map[string]bool{}
	for _, c := range all {
		if err := c.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		pids[must(t, c, "pid", "0")] = true
	}
	if len(pids) != len(all) {
		t.Errorf("processes %v", pids)
	}
	// One that is stopped takes nothing of the others with it.
	must(t, all[0], "offspring", "0")
	if err := all[0].Stop(context.Background()); err != nil {
		t.Error(err)
	}
	for _, c := range all[1:] {
		must(t, c, "echo", "{}")
		if s := c.Stats(); s.Crashes != 0 {
			t.Errorf("stats: %+v", s)
		}
	}
}

// TestOrphansThatComeToUsAreReaped: as process number 1, in a container, the gateway inherits what its connectors leave.
func TestOrphansThatComeToUsAreReaped(t *testing.T) {
	sockets := unchanged(t)
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Skip("cannot become a reaper:", err)
	}
	t.Cleanup(func() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) })
	for _, end := range []func(*plugins.Connector){
		func(c *plugins.Connector) { _ = syscall.Kill(c.Stats().PID, syscall.SIGKILL) },
		func(c *plugins.Connector) { _ = c.Stop(context.Background()) },
	} {
		o := quick(sockets, "good", io.Discard)
		o.Config.MaxCrashes = 1
		c := run(t, o)
		must(t, c, "offspring", "0")
		until(t, "they were seen while they had their parent", func() bool { return c.Stats().Processes >= 6 })
		end(c)
		until(t, "it has ended", func() bool { s := c.Stats().State; return s == plugins.Broken || s == plugins.Stopped })
		if left := look().processes; len(left) != 0 {
			t.Errorf("left: %v", left)
		}
	}
}

// TestADescendantWithoutMarkerIsRemembered, though it left the session and its parent is dead.
func TestADescendantWithoutMarkerIsRemembered(t *testing.T) {
	o := quick(unchanged(t), "good", io.Discard)
	o.Config.MaxCrashes = 1
	c := run(t, o)
	var pid int
	if _, err := fmt.Sscanf(must(t, c, "scrubbed", "0"), `{"v":%d}`, &pid); err != nil || gone(pid) {
		t.Fatal(err, pid)
	}
	until(t, "it was seen", func() bool { return c.Stats().Processes == 2 })
	_ = syscall.Kill(c.Stats().PID, syscall.SIGKILL)
	until(t, "it has ended", func() bool { return c.Stats().State == plugins.Broken })
	until(t, "the descendant is gone", func() bool { return gone(pid) })
}

// TestNobodyOutrunsItsKiller: processes that fork and end, over and over, are gone when Stop returns.
func TestNobodyOutrunsItsKiller(t *testing.T) {
	c := run(t, quick(unchanged(t), "good", io.Discard))
	must(t, c, "hop", "0")
	time.Sleep(100 * time.Millisecond)
	if err := c.Stop(context.Background()); err != nil {
		t.Error(err)
	}
	if left := look().processes; len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// TestAConnectorDiesWithTheGateway, even when that is killed outright, and leaves no socket.
func TestAConnectorDiesWithTheGateway(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "PART=gateway", "SOCKETS="+unchanged(t))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	_, err = fmt.Fscan(out, &pid)
	if err != nil || gone(pid) {
		t.Errorf("process %d: %v", pid, err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	until(t, "the connector is gone", func() bool { return gone(pid) })
}

func TestRepeatedRestartsLeaveNothing(t *testing.T) {
	o := quick(unchanged(t), "good", io.Discard)
	c := run(t, o)
	if err := c.Restart(t.Context()); err != nil { // what a second process costs once
		t.Fatal(err)
	}
	until(t, "the old one is gone", func() bool { return len(look().processes) == 1 })
	before := look()
	for range 10 {
		if err := c.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "one process is left", func() bool { return len(look().processes) == 1 })
	until(t, "no descriptor is left", func() bool { return len(look().files) <= len(before.files) })
	until(t, "no thread is left", func() bool { return look().threads < before.threads+5 })
}

func TestCallsBeyondTheBoundWait(t *testing.T) {
	o := quick(unchanged(t), "good", io.Discard)
	o.Config.InFlight = 2
	c := run(t, o)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() { _, _ = ask(ctx, c, "hang", "0") })
	}
	until(t, "both are under way", func() bool { return c.Stats().InFlight == 2 })
	short, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if _, err := ask(short, c, "echo", "{}"); failed(err) != (connector.Failure{Kind: connector.Busy}) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	cancel()
	wg.Wait()
	must(t, c, "echo", "{}")
}
