package build_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gatewright/gatewright/wasm/build"
)

func bound(err error, want build.Bound) bool {
	var e *build.Error
	return errors.As(err, &e) && e.Bound == want && e.Hint != ""
}

// endless is a module that compiles for longer than any test waits.
func endless() []byte { return bombs()["blocks, 100,000 deep"] }

// children are the processes that this one, or pid, has started.
func children(t *testing.T, pid int) (found []int) {
	t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lists {
		b, _ := os.ReadFile(l) // a thread may have ended
		for f := range strings.FieldsSeq(string(b)) {
			n, err := strconv.Atoi(f)
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, n)
		}
	}
	return found
}

// eventually waits until f holds.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// begin compiles something endless, and returns its process once that has given up what it gives up, and its result.
func begin(ctx context.Context, t *testing.T, c *build.Compiler) (int, <-chan error) {
	t.Helper()
	result := make(chan error, 1)
	go func() {
		_, err := c.Compile(ctx, job(endless()))
		result <- err
	}()
	pid := 0
	eventually(t, "a confined child", func() bool {
		if all := children(t, os.Getpid()); len(all) == 1 {
			pid = all[0]
		}
		return pid != 0 && strings.Contains(proc(pid, "limits"), "Max open files            0")
	})
	return pid, result
}

func proc(pid int, what string) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, what)) // empty shows
	return string(b)
}

// ticks is the processor time a process has taken, in hundredths of a second.
func ticks(t *testing.T, pid int) int {
	t.Helper()
	_, rest, ok := strings.Cut(proc(pid, "stat"), ") ")
	if !ok {
		return 0 // it is gone
	}
	n, err := strconv.Atoi(strings.Fields(rest)[11]) // the 14th field of proc_pid_stat(5)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestAChildHasNextToNothing: what /proc tells of one at work.
func TestAChildHasNextToNothing(t *testing.T) {
	t.Setenv("GATEWRIGHT_SECRET", "do not pass on")
	leak, err := syscall.Open("/etc/passwd", syscall.O_RDONLY, 0) // without close-on-exec, as a careless parent leaves it
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(leak)
	ctx, cancel := context.WithCancel(t.Context())
	pid, result := begin(ctx, t, open(t, nil))
	defer func() { cancel(); <-result }()
	if env := proc(pid, "environ"); env != "" {
		t.Errorf("its environment: %q", env)
	}
	limits := proc(pid, "limits")
	for _, want := range []string{"Max cpu time              5                    5", "Max file size             0                    0", "Max core file size        0                    0"} {
		if !strings.Contains(limits, want) {
			t.Errorf("not in its limits: %s", want)
		}
	}
	for _, never := range []string{"Max data size             unlimited", "Max address space         unlimited"} {
		if strings.Contains(limits, never) {
			t.Errorf("in its limits: %s", never)
		}
	}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		to, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, fd.Name())) // empty shows
		own := strings.HasPrefix(to, "pipe:") || strings.HasPrefix(to, "anon_inode:[event") || strings.HasSuffix(to, "/status")
		if !own && !strings.HasPrefix(to, "/sys/fs/cgroup/") {
			t.Errorf("descriptor %s is %s", fd.Name(), to)
		}
	}
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil || len(tasks) == 0 {
		t.Fatal(err)
	}
	for _, task := range tasks {
		b, _ := os.ReadFile(task) // a thread may have ended
		_, rest, ok := strings.Cut(string(b), ") ")
		if f := strings.Fields(rest); ok && f[16] != "19" { // the 19th field of proc_pid_stat(5)
			t.Errorf("thread %s has niceness %s", task, f[16])
		}
	}
}

// TestAChildThatIsKilledIsAnError that says so, and the next one works.
func TestAChildThatIsKilledIsAnError(t *testing.T) {
	c := open(t, nil)
	pid, result := begin(t.Context(), t, c)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-result; !bound(err, build.Killed) {
		t.Errorf("got %v", err)
	}
	if _, err := c.Compile(t.Context(), job(small(1))); err != nil {
		t.Error(err)
	}
}

// TestNobodyWaits: when the last of those who wait goes, the child goes; not before.
func TestNobodyWaits(t *testing.T) {
	c := open(t, nil)
	first, cancelFirst := context.WithCancel(t.Context())
	second, cancelSecond := context.WithCancel(t.Context())
	defer cancelSecond()
	pid, one := begin(first, t, c)
	two := make(chan error, 1)
	go func() {
		_, err := c.Compile(second, job(endless()))
		two <- err
	}()
	eventually(t, "both wait", func() bool { return c.Waiting() == 2 })
	cancelFirst()
	if err := <-one; !bound(err, build.Canceled) {
		t.Errorf("got %v", err)
	}
	select {
	case err := <-two:
		t.Errorf("the child is gone though somebody waits: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	if now := children(t, os.Getpid()); !slices.Equal(now, []int{pid}) {
		t.Errorf("children %d instead of %d", now, pid)
	}
	cancelSecond()
	if err := <-two; !bound(err, build.Canceled) {
		t.Errorf("got %v", err)
	}
	eventually(t, "no child", func() bool { return len(children(t, os.Getpid())) == 0 })
}

// TestNobodyGivesWayWithAnother: who asks for a module that a tenant waits for already, has a turn of its own.
func TestNobodyGivesWayWithAnother(t *testing.T) {
	c := open(t, func(o *build.Options) {
		o.Self = []string{"/bin/sh", "-c", "exec sleep 600"} // a child that does not come to an end
		o.Parallel, o.Queue, o.TenantQueue = 1, 2, 3
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	compile := func(tenant, module string) chan error {
		result := make(chan error, 1)
		go func() {
			_, err := c.Compile(ctx, build.Job{Module: []byte(module), Tenant: tenant, Pages: 1})
			result <- err
		}()
		return result
	}
	var shared chan error
	for i, module := range []string{"runs", "waits", "shared"} {
		shared = compile("many", module)
		eventually(t, "a place in the queue", func() bool { return c.Tickets() == i+1 })
	}
	one := compile("one", "shared")
	eventually(t, "it waits, or has the room of the first tenant's newest", func() bool { return c.Waiting() == 4 || len(shared) == 1 })
	two := compile("two", "other")
	if err := <-shared; !bound(err, build.Busy) {
		t.Errorf("the newest of the tenant with most: %v", err)
	}
	select {
	case err := <-one:
		t.Fatalf("a tenant that waits with one module gives way: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	cancel()
	for _, result := range []<-chan error{one, two} {
		if err := <-result; err == nil {
			t.Error("no error")
		}
	}
}

func TestCloseKillsChildren(t *testing.T) {
	c := open(t, nil)
	_, result := begin(t.Context(), t, c)
	c.Close()
	if left := children(t, os.Getpid()); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if err := <-result; err == nil {
		t.Error("compiled")
	}
	if _, err := c.Compile(t.Context(), job(small(1))); err == nil {
		t.Error("a closed compiler compiles")
	}
}

// TestTimeByTheClockIsBounded, and so is the code.
func TestTimeByTheClockIsBounded(t *testing.T) {
	c := open(t, func(o *build.Options) { o.Small.Wall = 300 * time.Millisecond })
	if _, err := c.Compile(t.Context(), job(endless())); !bound(err, build.Wall) {
		t.Errorf("got %v", err)
	}
	c = open(t, func(o *build.Options) { o.Small.Code = 100 })
	if _, err := c.Compile(t.Context(), job(small(1))); !bound(err, build.Code) {
		t.Errorf("got %v", err)
	}
	large := job(small(1))
	large.Large = true
	if _, err := c.Compile(t.Context(), large); err != nil {
		t.Errorf("of the large class: %v", err)
	}
}

// TestStrangeChildrenAreFaults: a program that is missing, ends, says nothing, too much or nonsense.
func TestStrangeChildrenAreFaults(t *testing.T) {
	for name, self := range map[string][]string{
		"missing": {"/nonexistent"}, "ends": {"/bin/false"}, "says nothing": {"/bin/true"},
		"talks":     {"/bin/sh", "-c", "cat >/dev/null; echo 0123456789012345678901234567890123456789012345678901234567890123456789"},
		"echoes":    {"/bin/sh", "-c", "cat"},
		"complains": {"/bin/sh", "-c", "cat >/dev/null; head -c 100000 /dev/zero >&2; exit 3"},
	} {
		c := open(t, func(o *build.Options) { o.Self, o.Small.Wall = self, 5*time.Second })
		if _, err := c.Compile(t.Context(), job(small(1))); !bound(err, build.Fault) {
			t.Errorf("%s: %v", name, err)
		}
	}
	c := open(t, func(o *build.Options) { o.Self = []string{"/bin/sh", "-c", "yes"} })
	if _, err := c.Compile(t.Context(), job(small(1))); !bound(err, build.Code) {
		t.Errorf("endless: %v", err)
	}
}

// TestAProgramWithoutTheHookIsNotStarted: it would begin to do all that its parent does. By whatever name it is known.
func TestAProgramWithoutTheHookIsNotStarted(t *testing.T) {
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(os.Args[0], link); err != nil {
		t.Fatal(err)
	}
	defer build.Unhook()()
	for _, self := range [][]string{nil, {os.Args[0]}, {link}} {
		c := open(t, func(o *build.Options) { o.Self = self })
		if _, err := c.Compile(t.Context(), job(small(1))); !bound(err, build.Fault) || !strings.Contains(err.Error(), "build.Hook") {
			t.Errorf("%q: %v", self, err)
		}
	}
}

// gatewayEnv makes the tests' program play a gateway that compiles something endless into the folder it names.
const gatewayEnv = "GATEWRIGHT_TEST_BUILD_DIR"

func playGateway(dir string) {
	c, err := build.New(build.Options{Dir: dir, Key: key, Small: build.Bounds{CPU: time.Minute, Wall: time.Minute}})
	if err == nil {
		_, err = c.Compile(context.Background(), job(endless()))
	}
	fmt.Println("ended:", err)
	os.Exit(1)
}

// TestTheGatewaysDeathIsItsChildrens: killed without a chance to clean up, it leaves no process and no file.
func TestTheGatewaysDeathIsItsChildrens(t *testing.T) {
	dir := t.TempDir()
	gateway := exec.Command(os.Args[0])
	gateway.Env = append(os.Environ(), gatewayEnv+"="+dir)
	if err := gateway.Start(); err != nil {
		t.Fatal(err)
	}
	child := 0
	eventually(t, "the gateway has a child", func() bool {
		if all := children(t, gateway.Process.Pid); len(all) == 1 {
			child = all[0]
		}
		return child != 0 && ticks(t, child) > 20 // it compiles: it has read all it was given
	})
	if err := gateway.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = gateway.Wait() // killed
	eventually(t, "the child is gone", func() bool {
		stat := proc(child, "stat")
		return stat == "" || strings.Contains(stat, ") Z ")
	})
	if left := entries(t, dir); len(left) != 0 {
		t.Errorf("left: %q", left)
	}
}
