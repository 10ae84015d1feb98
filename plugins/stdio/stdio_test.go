package stdio_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gatewright/gatewright/plugins/connector"
	"github.com/gatewright/gatewright/plugins/stdio"
)

func TestAServerThatCannotBeGreetedIsNotStarted(t *testing.T) {
	for part, want := range map[string]string{
		"mute": "in time", "exit": "exit status 3", "closed": "closed its output", "version": "no protocol version", "oldest": "no protocol version",
	} {
		for _, era := range []string{stdio.Auto, stdio.Legacy, stdio.Modern} {
			if part == "version" && era == stdio.Legacy || part == "oldest" && era != stdio.Auto {
				continue
			}
			t.Run(part+" "+era, func(t *testing.T) {
				c := config(part)
				c.Era, c.ProbeTimeout = era, 200*time.Millisecond
				if part == "mute" {
					c.StartTimeout = 500 * time.Millisecond
				}
				log := &noise{}
				s, err := stdio.New(t.Context(), c, log)
				if err == nil {
					s.Close()
					t.Fatal("was started")
				}
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v, want %q in it", err, want)
				}
				nothingLeft(t, anyMark)
			})
		}
	}
}

func TestAServerOfAnotherEraThanConfiguredIsNotStarted(t *testing.T) {
	for part, era := range map[string]string{"legacy": stdio.Modern, "modern": stdio.Legacy} {
		c := config(part)
		c.Era = era
		if s, err := stdio.New(t.Context(), c, &noise{}); err == nil {
			s.Close()
			t.Errorf("a %s server was started as %s", part, era)
		}
		nothingLeft(t, anyMark)
	}
}

func TestAStartEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	before := time.Now()
	if _, err := stdio.New(ctx, config("mute"), &noise{}); err == nil || time.Since(before) > 2*time.Second {
		t.Errorf("%v after %s", err, time.Since(before))
	}
	nothingLeft(t, anyMark)
}

func TestAConfigWithoutBoundsIsRefused(t *testing.T) {
	for i, spoil := range []func(*stdio.Config){
		func(c *stdio.Config) { c.Path = "" }, func(c *stdio.Config) { c.Era = "new" }, func(c *stdio.Config) { c.Era = "" },
		func(c *stdio.Config) { c.SHA256 = []byte("short") }, func(c *stdio.Config) { c.Env = []string{"NOVALUE"} }, func(c *stdio.Config) { c.Env = []string{"=x"} },
		func(c *stdio.Config) { c.StartTimeout = 0 }, func(c *stdio.Config) { c.ProbeTimeout = -1 }, func(c *stdio.Config) { c.StopTimeout = 0 },
		func(c *stdio.Config) { c.Silence = 0 }, func(c *stdio.Config) { c.MaxMessage = 0 }, func(c *stdio.Config) { c.JSONDepth = 0 },
		func(c *stdio.Config) { c.JSONValues = 0 }, func(c *stdio.Config) { c.InFlight = 0 }, func(c *stdio.Config) { c.MaxNoise = 0 },
		func(c *stdio.Config) { c.MaxUnasked = 0 },
	} {
		c := config("legacy")
		spoil(&c)
		if s, err := stdio.New(t.Context(), c, &noise{}); err == nil {
			s.Close()
			t.Errorf("case %d was accepted: %+v", i, c)
		}
	}
}

func TestAConfigurationIsReadStrictly(t *testing.T) {
	for _, text := range []string{
		``, `[]`, `null`, `{}`, `{"path":"/x","paths":1}`, `{"Path":"/x"}`, `{"path":"/x","path":"/y"}`, `{"path":"/x","PATH":"/y"}`,
		`{"path":"/x"} {}`, `{"path":7}`, `{"path":"/x","era":"new"}`, `{"path":"/x","in_flight":-1}`, `{"path":"/x","max_message":1.5}`, `{"path":"/x","ſilence":1}`,
	} {
		if c, err := stdio.ParseConfig([]byte(text)); err == nil {
			t.Errorf("%s was read as %+v", text, c)
		}
	}
	want := config("x")
	want.Dir, want.SHA256, want.Args = "/tmp", make([]byte, 32), []string{"a", ""}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := stdio.ParseConfig(text); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%+v, %v\nwant %+v", got, err, want)
	}
	text, _ = json.Marshal(stdio.Config{Path: "/x"})
	want = stdio.DefaultConfig()
	want.Path = "/x"
	if got, err := stdio.ParseConfig(text); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %+v, %v", text, got, err)
	}
}

func TestAnotherProgramThanThePinnedIsNotStarted(t *testing.T) {
	program, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(program)
	c := config("legacy")
	c.SHA256 = sum[:]
	s, _ := start(t, c)
	if got, fail := call(t, s); fail != nil || got != done {
		t.Errorf("%s, %v", got, fail)
	}
	c.SHA256 = append([]byte{sum[0] ^ 1}, sum[1:]...)
	if s, err := stdio.New(t.Context(), c, &noise{}); err == nil || !strings.Contains(err.Error(), "not the one that is pinned") {
		t.Errorf("%v", err)
		s.Close()
	}
	c.SHA256, c.Path = nil, "/nonexistent/server"
	if _, err := stdio.New(t.Context(), c, &noise{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing program: %v", err)
	}
}

func TestTheEraIsFoundOut(t *testing.T) {
	for part, want := range map[string]string{
		"legacy": stdio.Legacy, "modern": stdio.Modern, "downgrade": stdio.Legacy, "deaf-to-others": stdio.Legacy,
		"touchy": stdio.Legacy, "slow-modern": stdio.Modern, "noisy": stdio.Legacy,
	} {
		t.Run(part, func(t *testing.T) {
			c := config(part)
			if part == "deaf-to-others" || part == "slow-modern" {
				c.ProbeTimeout = 100 * time.Millisecond
			}
			s, _ := start(t, c)
			if s.Era() != want {
				t.Errorf("found %s, want %s", s.Era(), want)
			}
			for range 3 {
				if got, fail := call(t, s); fail != nil || got != done {
					t.Errorf("%s, %v", got, fail)
				}
			}
			if s.Err() != nil {
				t.Errorf("it has ended: %v", s.Err())
			}
		})
	}
}

// TestWhatABadAnswerCosts: the call it was meant for fails at once and says why; the server lives on.
func TestWhatABadAnswerCosts(t *testing.T) {
	for act, want := range map[string]struct {
		kind connector.Kind
		text string
	}{
		"text-id":        {connector.Malformed, "id"},
		"both":           {connector.Malformed, "exactly one"},
		"duplicate-keys": {connector.Malformed, "duplicate"},
		"surrogate":      {connector.Malformed, "surrogate"},
		"deep":           {connector.TooLarge, "depth"},
		"half-line-end":  {connector.Malformed, "strict JSON"},
		"huge":           {connector.TooLarge, "longer than"},
		"huge-backwards": {connector.TooLarge, "longer than"},
	} {
		for _, start1 := range []string{"legacy ", "modern "} {
			t.Run(start1+act, func(t *testing.T) {
				s, _ := start(t, config(start1+act))
				got, fail := call(t, s)
				if fail == nil || fail.Kind != want.kind || !fail.Sent || !strings.Contains(fail.Detail, want.text) {
					t.Fatalf("%s, %v", got, fail)
				}
				if s.Err() != nil {
					t.Errorf("it has ended: %v", s.Err())
				}
				if strings.HasPrefix(act, "huge") {
					if got, fail := call(t, s); fail != nil || got != done {
						t.Errorf("the next call: %s, %v", got, fail)
					}
				}
			})
		}
	}
}

func TestLinesThatAreNoAnswersAreIgnored(t *testing.T) {
	for act, lines := range map[string]int{"garbage": 9, "wrong-ids": 8, "batch": 2} {
		t.Run(act, func(t *testing.T) {
			s, log := start(t, config("legacy "+act))
			if got, fail := call(t, s); fail != nil || got != done {
				t.Errorf("%s, %v", got, fail)
			}
			if n := strings.Count(log.String(), "a line was ignored"); n != lines {
				t.Errorf("%d lines were logged, want %d", n, lines)
			}
			if text := log.String(); strings.Contains(text, "\xff") || strings.Contains(text, "\x00") || strings.Contains(text, "jsonrpc") {
				t.Errorf("logged %q", text)
			}
		})
	}
}

func TestAnAnswerIsGivenOnce(t *testing.T) {
	s, _ := start(t, config("legacy twice"))
	for range 2 {
		if got, fail := call(t, s); fail != nil || got != done {
			t.Errorf("%s, %v", got, fail)
		}
	}
}

// TestWhatEndsAServer: every call under way fails once and says why, later ones fail at once and were not sent, and
// nothing is left.
func TestWhatEndsAServer(t *testing.T) {
	for act, want := range map[string]string{
		"die": "exit status 7", "killed": "signal: killed", "half": "exit status 5", "no-line-end": "exit status 0",
		"close-stdout": "closed its output", "endless-garbage": "lines in a minute", "endless-line": "without an end",
		"notices": "answer no call", "asks-endlessly": "answer no call",
	} {
		t.Run(act, func(t *testing.T) {
			c := config("legacy " + act)
			c.MaxUnasked = 1000
			s, log := start(t, c)
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					got, fail := call(t, s)
					if fail == nil || fail.Kind != connector.Unreachable || !strings.Contains(fail.Detail, want) {
						t.Errorf("%s, %v", got, fail)
					}
				})
			}
			wg.Wait()
			if why := ended(t, s); !strings.Contains(why, want) {
				t.Errorf("ended because %s", why)
			}
			nothingLeft(t, anyMark)
			if got, fail := call(t, s); fail == nil || fail.Kind != connector.Unreachable || fail.Sent || !strings.Contains(fail.Detail, want) {
				t.Errorf("a later call: %s, %v", got, fail)
			}
			if n := len(log.String()); n > 64<<10 {
				t.Errorf("%d bytes were logged", n)
			}
		})
	}
}

func TestAServerThatReadsNoMoreIsEnded(t *testing.T) {
	s, _ := start(t, config("legacy close-stdin"))
	if got, fail := call(t, s); fail != nil || got != done {
		t.Errorf("%s, %v", got, fail)
	}
	if _, fail := call(t, s); fail == nil || fail.Kind != connector.Unreachable {
		t.Errorf("%v", fail)
	}
	if why := ended(t, s); !strings.Contains(why, "write to the server") {
		t.Errorf("ended because %s", why)
	}
}

func TestACallThatIsLeftIsCancelled(t *testing.T) {
	s, log := start(t, config("legacy never"))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if got, fail := callIn(ctx, t, s); fail == nil || fail.Kind != connector.Timeout || !fail.Sent {
		t.Errorf("%s, %v", got, fail)
	}
	ctx, cancel = context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if got, fail := callIn(ctx, t, s); fail == nil || fail.Kind != connector.Canceled || !fail.Sent {
		t.Errorf("%s, %v", got, fail)
	}
	for deadline := time.Now().Add(5 * time.Second); strings.Count(log.String(), "cancelled ") < 1; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the server was not told:\n%s", log)
		}
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	if _, fail := callIn(ctx, t, s); fail == nil || s.Err() != nil {
		t.Errorf("%v, %v", fail, s.Err())
	}
}

// TestCallsToAServerThatReadsNothingEnd: its pipe fills up, and later calls were not sent.
func TestCallsToAServerThatReadsNothingEnd(t *testing.T) {
	c := config("legacy hang")
	c.MaxMessage = 1 << 20
	s, _ := start(t, c)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			_, err := s.Call(ctx, &connector.Request{Method: "tools/call", Name: "act", Arguments: []byte(`{"a":"` + strings.Repeat("x", 1<<19) + `"}`)})
			if fail, ok := errors.AsType[*connector.Failure](err); !ok || fail.Kind != connector.Timeout {
				t.Errorf("%v", err)
			}
		})
	}
	wg.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, fail := callIn(ctx, t, s); fail == nil || fail.Kind != connector.Timeout || fail.Sent {
		t.Errorf("behind a full pipe: %v", fail)
	}
}

// TestACallThatWasNotSentSaysSo: it waited behind a full pipe when the server died.
func TestACallThatWasNotSentSaysSo(t *testing.T) {
	c := config("legacy hang")
	c.MaxMessage = 1 << 20
	s, _ := start(t, c)
	fails := make(chan *connector.Failure, 3)
	ask := func(size int) {
		_, err := s.Call(t.Context(), &connector.Request{Method: "tools/call", Name: "act", Arguments: []byte(`{"a":"` + strings.Repeat("x", size) + `"}`)})
		fail, _ := errors.AsType[*connector.Failure](err)
		fails <- fail
	}
	for _, size := range []int{1, 1 << 19, 1} { // it stops reading after the first, the second fills the pipe
		go ask(size)
		time.Sleep(300 * time.Millisecond)
	}
	_ = syscall.Kill(s.PID(), syscall.SIGKILL)
	sent := 0
	for range 3 {
		switch fail := <-fails; {
		case fail == nil || fail.Kind != connector.Unreachable || !strings.Contains(fail.Detail, "killed"):
			t.Errorf("%v", fail)
		case fail.Sent:
			sent++
		}
	}
	if sent != 2 {
		t.Errorf("%d calls say that they were sent, want 2", sent)
	}
}

func TestAServerThatHangsIsEnded(t *testing.T) {
	c := config("legacy hang")
	c.Silence = time.Second
	s, _ := start(t, c)
	if got, fail := call(t, s); fail == nil || fail.Kind != connector.Unreachable || !strings.Contains(fail.Detail, "silent") || !fail.Sent {
		t.Errorf("%s, %v", got, fail)
	}
	ended(t, s)
}

func TestAServerThatIsBusyButAnswersPingsIsNotEnded(t *testing.T) {
	for _, part := range []string{"legacy busy", "modern never"} {
		c := config(part)
		c.Silence = time.Second
		s, _ := start(t, c)
		got, fail := call(t, s)
		if part == "legacy busy" && (fail != nil || got != done) || part == "modern never" && (fail == nil || !strings.Contains(fail.Detail, "silent")) {
			t.Errorf("%s: %s, %v", part, got, fail)
		}
	}
}

func TestAServerThatOwesNothingMaySaySo(t *testing.T) {
	c := config("legacy")
	c.Silence = 500 * time.Millisecond
	s, _ := start(t, c)
	if got, fail := call(t, s); fail != nil || got != done {
		t.Errorf("%s, %v", got, fail)
	}
	time.Sleep(1200 * time.Millisecond)
	if got, fail := call(t, s); fail != nil || got != done {
		t.Errorf("after a while: %s, %v", got, fail)
	}
}

func TestAFloodOnStderrHarmsNobody(t *testing.T) {
	s, log := start(t, config("legacy stderr"))
	if got, fail := call(t, s); fail != nil || got != done {
		t.Errorf("%s, %v", got, fail)
	}
	if n := len(log.String()); n < 1<<20 {
		t.Errorf("%d bytes came through", n)
	}
}

func TestAServerMayAskForAPingAndNothingElse(t *testing.T) {
	s, _ := start(t, config("legacy asks"))
	got, fail := call(t, s)
	no := `{\"code\":-32601,\"message\":\"Method not found\"}`
	want := `{"got":"\"q0\" {}; \"q1\" ` + no + `; \"q2\" ` + no + `; \"q3\" ` + no + `; \"q4\" ` + no + `"}`
	if fail != nil || got != want {
		t.Errorf("%s, %v\nwant %s", got, fail, want)
	}
	modern, log := start(t, config("modern asks"))
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if got, fail := callIn(ctx, t, modern); fail == nil || fail.Kind != connector.Timeout || !strings.Contains(log.String(), "ask nothing") {
		t.Errorf("a modern server's question was answered: %s, %v", got, fail)
	}
}

func TestWhatIsSentIsWhatWasGiven(t *testing.T) {
	legacy, _ := start(t, config("legacy echo"))
	modern, _ := start(t, config("modern echo"))
	r := &connector.Request{
		Method: "tools/call", Name: "t\"\n", Principal: "p", Arguments: []byte("{\"b\": 1.50,\n\r\"a\":\"\\u00e9\"}"),
		Meta: []byte(`{"trace":"x","progressToken":7,"io.modelcontextprotocol/clientInfo":{"name":"evil"}}`), Headers: [][2]string{{"Authorization", "secret"}},
	}
	for s, want := range map[*stdio.Server]string{
		legacy: `{"name":"t\"\n","arguments":{"b": 1.50,  "a":"\u00e9"},"meta":{"trace":"x"}}`,
		modern: `{"name":"t\"\n","arguments":{"b": 1.50,  "a":"\u00e9"},"meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"gatewright","version":"1"},"io.modelcontextprotocol/clientCapabilities":{},"trace":"x"}}`,
	} {
		reply, err := s.Call(t.Context(), r)
		if err != nil || string(reply.Result) != want {
			t.Errorf("%s: %s, %v\nwant %s", s.Era(), reply.Result, err, want)
		}
	}
	if reply, err := legacy.Call(t.Context(), &connector.Request{Method: "server/discover"}); err != nil || string(reply.Result) != `{"capabilities":{"tools":{}}}` {
		t.Errorf("what the server declares: %s%s, %v", reply.Result, reply.Error, err)
	}
	for _, method := range []string{"", "initialize", "notifications/cancelled", "subscriptions/listen"} {
		if reply, err := legacy.Call(t.Context(), &connector.Request{Method: method}); err != nil || reply.Result != nil || !strings.Contains(string(reply.Error), "-32601") {
			t.Errorf("%q: %s%s, %v", method, reply.Result, reply.Error, err)
		}
	}
	long := []byte(`{"a":"` + strings.Repeat("x", 70<<10) + `"}`)
	_, err := legacy.Call(t.Context(), &connector.Request{Method: "tools/call", Name: "t", Arguments: long})
	if fail, ok := errors.AsType[*connector.Failure](err); !ok || fail.Kind != connector.TooLarge || fail.Sent {
		t.Errorf("a long request: %v", err)
	}
}

func TestManyCallsAtOnceGetTheirOwnAnswers(t *testing.T) {
	c := config("modern echo")
	c.InFlight = 8
	s, _ := start(t, c)
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			for j := range 50 {
				args := fmt.Sprintf(`{"n":%d}`, 1000*i+j)
				reply, err := s.Call(t.Context(), &connector.Request{Method: "tools/call", Name: "t", Arguments: []byte(args)})
				if err != nil || !strings.Contains(string(reply.Result), `"arguments":`+args+`,`) {
					t.Errorf("%s: %s, %v", args, reply.Result, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestMoreCallsThanAllowedWait(t *testing.T) {
	c := config("legacy never")
	c.InFlight = 1
	s, _ := start(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = callIn(ctx, t, s) })
	var fail *connector.Failure
	for range 100 { // until the other call has the place
		short, cancelShort := context.WithTimeout(t.Context(), 20*time.Millisecond)
		_, fail = callIn(short, t, s)
		cancelShort()
		if fail == nil || fail.Kind == connector.Busy {
			break
		}
	}
	if fail == nil || fail.Kind != connector.Busy || fail.Sent {
		t.Errorf("%v", fail)
	}
	cancel()
	wg.Wait()
}

func TestCloseEndsAServerInOrder(t *testing.T) {
	c := config("legacy")
	c.StopTimeout = 20 * time.Second
	s, _ := start(t, c)
	pid, before := s.PID(), time.Now()
	s.Close()
	s.Close() // again is harmless
	if took := time.Since(before); took > 8*time.Second {
		t.Errorf("took %s, longer than the end of its input needs", took)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("it still runs: %v", err)
	}
	if why := ended(t, s); !strings.Contains(why, "stopping") {
		t.Errorf("ended because %s", why)
	}
	if _, fail := call(t, s); fail == nil || fail.Kind != connector.Unreachable || fail.Sent {
		t.Errorf("a call after Close: %v", fail)
	}
}

func TestAServerIsAskedBeforeItIsKilled(t *testing.T) {
	c := config("polite")
	c.StopTimeout = 4 * time.Second
	s, log := start(t, c)
	if got, fail := call(t, s); fail != nil || got != done {
		t.Errorf("%s, %v", got, fail)
	}
	s.Close()
	if !strings.Contains(log.String(), "bye") {
		t.Error("it was not asked")
	}
}

func TestAStubbornServerIsKilled(t *testing.T) {
	c := config("stubborn")
	c.StopTimeout = 200 * time.Millisecond
	s, log := start(t, c)
	for range 5000 { // it is begun when it has said so, which may be after the handshake
		if strings.Contains(log.String(), "stubborn") {
			break
		}
		time.Sleep(time.Millisecond)
	}
	before := time.Now()
	s.Close()
	if took := time.Since(before); took < 200*time.Millisecond || took > 5*time.Second {
		t.Errorf("took %s", took)
	}
}

func TestWhatAServerLeavesBehindIsKilled(t *testing.T) {
	for _, how := range []string{"closed", "died"} {
		t.Run(how, func(t *testing.T) {
			s, _ := start(t, config("legacy fork"))
			got, fail := call(t, s)
			if fail != nil {
				t.Fatal(fail)
			}
			var r struct{ PIDs string }
			if err := json.Unmarshal([]byte(got), &r); err != nil || len(strings.Fields(r.PIDs)) != 4 {
				t.Fatalf("%s: %v", got, err)
			}
			if how == "died" {
				_ = syscall.Kill(s.PID(), syscall.SIGKILL)
				if why := ended(t, s); !strings.Contains(why, "killed") {
					t.Errorf("ended because %s", why)
				}
			} else {
				s.Close()
			}
			for _, text := range strings.Fields(r.PIDs)[:3] {
				pid, _ := strconv.Atoi(text)
				if state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && !strings.Contains(string(state), ") Z ") {
					t.Errorf("process %d still runs: %s", pid, state)
				}
			}
			nothingLeft(t, anyMark)
		})
	}
}

func TestAServerSeesOnlyWhatItWasGiven(t *testing.T) {
	t.Setenv("SECRET", "do-not-pass")
	t.Setenv("WANTED", "pass")
	leaked, err := syscall.Open("/dev/null", syscall.O_RDONLY, 0) // no O_CLOEXEC, as a careless parent leaves it
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(leaked)
	c := config("legacy")
	c.PassEnv = []string{"WANTED", "NOT_SET"}
	s, _ := start(t, c)
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", s.PID()))
	if err != nil {
		t.Skipf("no /proc: %v", err)
	}
	names := []string{}
	for v := range strings.SplitSeq(strings.TrimSuffix(string(env), "\x00"), "\x00") {
		name, _, _ := strings.Cut(v, "=")
		names = append(names, name)
	}
	if got := strings.Join(names, " "); got != "STDIO_PART GORACE STDIO_RUN WANTED GATEWRIGHT_STDIO_MARK" {
		t.Errorf("it sees %s", got)
	}
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.PID()))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		to, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", s.PID(), e.Name()))
		if n, _ := strconv.Atoi(e.Name()); n > 2 && (to == "/dev/null" || strings.HasPrefix(to, "socket:")) {
			t.Errorf("descriptor %s is %s", e.Name(), to)
		}
	}
}

// TestAServerDiesWithItsConnector: even when that is killed and can do nothing about it.
func TestAServerDiesWithItsConnector(t *testing.T) {
	keeper := exec.Command(os.Args[0])
	keeper.Env = []string{"STDIO_PART=keeper"}
	out, err := keeper.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := keeper.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	_, err = fmt.Fscan(out, &pid)
	_ = keeper.Process.Kill()
	_ = keeper.Wait()
	if err != nil || pid == 0 {
		t.Fatalf("the keeper told no number: %v", err)
	}
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells a child of its parent's death")
	}
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(state), ") Z ") {
			return // whoever adopted it may not have reaped it yet
		}
		if time.Now().After(deadline) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			t.Fatal("the server still runs")
		}
	}
}

func TestStartsLeaveNoDescriptor(t *testing.T) {
	open := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skipf("no /proc: %v", err)
		}
		return len(entries)
	}
	round := func() {
		s, _ := start(t, config("legacy"))
		if got, fail := call(t, s); fail != nil || got != done {
			t.Errorf("%s, %v", got, fail)
		}
		s.Close()
		for _, spoil := range []func(*stdio.Config){
			func(c *stdio.Config) { c.Path = "/nonexistent/server" }, func(c *stdio.Config) { c.SHA256 = make([]byte, 32) }, func(c *stdio.Config) { c.Env[0] = "STDIO_PART=exit" },
		} {
			c := config("legacy")
			spoil(&c)
			if _, err := stdio.New(t.Context(), c, &noise{}); err == nil {
				t.Error("was started")
			}
		}
	}
	round() // what is opened once stays
	before := open()
	for range 5 {
		round()
	}
	if after := open(); after > before {
		t.Errorf("%d descriptors are open, %d before", after, before)
	}
}

func BenchmarkCall(b *testing.B) {
	c := config("fast")
	s, err := stdio.New(b.Context(), c, os.Stderr)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	args := []byte(`{"text":"` + strings.Repeat("x", 1500) + `"}`)
	for _, at := range []int{1, 64} {
		b.Run(strconv.Itoa(at), func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(max(1, at/runtime.GOMAXPROCS(0)))
			one := func() {
				if _, err := s.Call(b.Context(), &connector.Request{Method: "tools/call", Name: "t", Principal: "p", Arguments: args}); err != nil {
					b.Fatal(err)
				}
			}
			if at == 1 {
				for b.Loop() {
					one()
				}
				return
			}
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					one()
				}
			})
		})
	}
}
