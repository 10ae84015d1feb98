package stdio_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatewright/gatewright/plugins/connector"
	"github.com/gatewright/gatewright/plugins/stdio"
)

// TestMain is also the servers that the tests talk to: the test binary is started again with STDIO_PART set.
func TestMain(m *testing.M) {
	switch part := os.Getenv("STDIO_PART"); part {
	case "":
	case "library":
		playLibrary()
		return
	case "keeper":
		playKeeper()
		return
	case "fast":
		playFast()
		return
	default:
		play(part)
		return
	}
	goleak.VerifyTestMain(m)
}

// actor is a server that follows a script.
type actor struct {
	in *bufio.Scanner
}

// heard is what a server was told.
type heard struct {
	ID     json.RawMessage
	Method string
	Params struct {
		Name      string
		Arguments json.RawMessage
		Responses json.RawMessage `json:"inputResponses"`
		State     json.RawMessage `json:"requestState"`
		Meta      json.RawMessage `json:"_meta"`
		RequestID json.RawMessage `json:"requestId"`
	}
	Error  json.RawMessage
	Result json.RawMessage
}

func say(format string, args ...any) { fmt.Printf(format+"\n", args...) }

func (a *actor) hear() heard {
	if !a.in.Scan() {
		os.Exit(0)
	}
	var h heard
	if err := json.Unmarshal(a.in.Bytes(), &h); err != nil {
		fmt.Fprintf(os.Stderr, "was told %q\n", a.in.Bytes())
		os.Exit(9)
	}
	return h
}

// initialize plays the handshake of the older era, as a server that knows no other.
func (a *actor) initialize() {
	for {
		switch h := a.hear(); h.Method {
		case "initialize":
			say(`{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"x","version":"1"}}}`, h.ID)
		case "notifications/initialized":
			return
		default:
			say(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"Method not found"}}`, h.ID)
		}
	}
}

// discover plays a modern server's start.
func (a *actor) discover() {
	for {
		h := a.hear()
		if h.Method == "server/discover" {
			say(`{"jsonrpc":"2.0","id":%s,"result":{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{}}}`, h.ID)
			return
		}
		say(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"Method not found"}}`, h.ID)
	}
}

// next returns the next tools/call; pings it answers.
func (a *actor) next() heard {
	for {
		h := a.hear()
		switch h.Method {
		case "tools/call":
			return h
		case "ping":
			say(`{"jsonrpc":"2.0","id":%s,"result":{}}`, h.ID)
		}
	}
}

const done = `{"content":[{"type":"text","text":"done"}]}`

func answer(id json.RawMessage) { say(`{"jsonrpc":"2.0","id":%s,"result":%s}`, id, done) }

// play is the whole life of a server. Its part is a word for the start, and one for what it does with calls.
func play(part string) {
	a := &actor{in: bufio.NewScanner(os.Stdin)}
	a.in.Buffer(nil, 64<<20)
	start, act, _ := strings.Cut(part, " ")
	switch start {
	case "legacy":
		a.initialize()
	case "modern":
		a.discover()
	default:
		playStart(a, start)
	}
	playCalls(a, act)
}

// playStart plays servers that are odd from the beginning.
func playStart(a *actor, start string) {
	switch start {
	case "mute":
		time.Sleep(time.Minute)
	case "exit":
		os.Exit(3)
	case "closed":
		os.Stdout.Close()
		time.Sleep(time.Minute)
	case "version":
		h := a.hear()
		say(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32022,"message":"no","data":{"supported":["2099-01-01"],"requested":"2026-07-28"}}}`, h.ID)
		a.hear()
		os.Exit(8) // it must not be asked anything else
	case "downgrade":
		h := a.hear()
		say(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32022,"message":"no","data":{"supported":["2099-01-01","2025-06-18"],"requested":"2026-07-28"}}}`, h.ID)
		a.initialize()
	case "oldest":
		a.hear()
		h := a.hear()
		say(`{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2099-01-01"}}`, h.ID)
	case "deaf-to-others": // answers nothing but initialize, as some do
		for a.hear().Method != "initialize" {
		}
		say(`{"jsonrpc":"2.0","id":2,"result":{"protocolVersion":"2024-11-05"}}`)
		a.hear()
	case "touchy": // ends when the first thing it hears is not initialize
		if h := a.hear(); h.Method == "initialize" {
			say(`{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-06-18"}}`, h.ID)
			a.hear()
			return
		}
		os.Exit(4)
	case "slow-modern": // answers late, and knows no initialize
		first := a.hear()
		second := a.hear()
		say(`{"jsonrpc":"2.0","id":%s,"result":{"supportedVersions":["2026-07-28"]}}`, first.ID)
		say(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"no"}}`, second.ID)
		a.discover()
	case "noisy":
		for i := range 5 {
			say("starting %d", i)
		}
		a.initialize()
	case "polite": // ignores the end of its input, but not SIGTERM
		term := make(chan os.Signal, 1)
		signal.Notify(term, syscall.SIGTERM)
		a.initialize()
		answer(a.next().ID)
		<-term
		fmt.Fprintln(os.Stderr, "bye")
		os.Exit(0)
	case "stubborn": // ignores the end of its input and SIGTERM
		signal.Ignore(syscall.SIGTERM)
		a.initialize()
		fmt.Fprintln(os.Stderr, "stubborn from now on")
		for range 6000 {
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// playCalls plays what a server does with calls.
func playCalls(a *actor, act string) {
	if act == "tells" {
		playTelling(a)
	}
	h := a.next()
	switch act {
	case "":
		for ; ; h = a.next() {
			answer(h.ID)
		}
	case "echo": // tells what it was told
		for ; ; h = a.next() {
			say(`{"jsonrpc":"2.0","id":%s,"result":{"name":%q,"arguments":%s,"meta":%s}}`, h.ID, h.Params.Name, orNull(h.Params.Arguments), orNull(h.Params.Meta))
		}
	case "garbage":
		fmt.Printf("Debugger listening\n\n\r\n{\n}\n\x00\xff\n[1,2]\n\"text\"\nnull\n")
		answer(h.ID)
	case "endless-garbage":
		for i := 0; ; i++ {
			say("line %d", i)
		}
	case "half":
		fmt.Printf(`{"jsonrpc":"2.0","id":%s,"result":{"content"`, h.ID)
		os.Exit(5)
	case "half-line-end":
		say(`{"jsonrpc":"2.0","id":%s,"result":{"content"`, h.ID)
	case "no-line-end":
		fmt.Printf(`{"jsonrpc":"2.0","id":%s,"result":%s}`, h.ID, done)
		os.Exit(0)
	case "huge":
		say(`{"jsonrpc":"2.0","id":%s,"result":{"text":"%s"}}`, h.ID, strings.Repeat("x", 1<<20))
		answer(a.next().ID)
	case "huge-backwards":
		say(`{"result":{"text":"%s"},"jsonrpc":"2.0","id":%s}`, strings.Repeat("x", 1<<20), h.ID)
		answer(a.next().ID)
	case "endless-line":
		for {
			fmt.Print(strings.Repeat("x", 1<<16))
		}
	case "wrong-ids":
		for _, id := range []string{"999", "0", "null", `"x"`, "-1", "1.5", "{}"} {
			answer(json.RawMessage(id))
		}
		say(`{"jsonrpc":"2.0","result":{}}`)
		answer(h.ID)
	case "text-id":
		answer(json.RawMessage(strconv.Quote(string(h.ID))))
	case "twice":
		answer(h.ID)
		say(`{"jsonrpc":"2.0","id":%s,"result":{"second":true}}`, h.ID)
		answer(a.next().ID)
	case "both":
		say(`{"jsonrpc":"2.0","id":%s,"result":{},"error":{}}`, h.ID)
	case "duplicate-keys":
		say(`{"jsonrpc":"2.0","id":%s,"result":{"a":1,"a":2}}`, h.ID)
	case "surrogate":
		say(`{"result":{"a":"\ud800"},"jsonrpc":"2.0","id":%s}`, h.ID)
	case "deep":
		say(`{"jsonrpc":"2.0","id":%s,"result":%s1%s}`, h.ID, strings.Repeat(`{"a":`, 100), strings.Repeat("}", 100))
	case "batch":
		say(`[{"jsonrpc":"2.0","id":%s,"result":{}}]`, h.ID)
		say(`[{"jsonrpc":"2.0","id":1,"method":"ping"}]`)
		answer(h.ID)
	case "progress":
		playProgress(a, h)
	case "rounds":
		playRounds(a, h)
	case "asks":
		playAsking(a, h)
	case "question", "two", "given-up", "idle", "takes-back", "roots", "task", "for-ever":
		playQuestions(a, act, h)
	case "never":
		for {
			if got := a.hear(); got.Method == "notifications/cancelled" {
				fmt.Fprintf(os.Stderr, "cancelled %s\n", got.Params.RequestID)
			}
		}
	case "hang": // reads nothing any more
		time.Sleep(time.Minute)
	case "busy": // works for long but answers pings
		go func() {
			time.Sleep(2500 * time.Millisecond)
			answer(h.ID)
		}()
		a.next()
	case "die":
		os.Exit(7)
	case "killed":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "close-stdout":
		os.Stdout.Close()
		time.Sleep(time.Minute)
	case "close-stdin":
		os.Stdin.Close()
		answer(h.ID)
		time.Sleep(time.Minute)
	case "stderr":
		flood := strings.Repeat(strings.Repeat("e", 1000)+"\n", 4000)
		fmt.Fprint(os.Stderr, flood)
		answer(h.ID)
		a.next()
	case "notices":
		for {
			say(`{"jsonrpc":"2.0","method":"notifications/message","params":{}}`)
		}
	case "asks-endlessly":
		for i := 0; ; i++ {
			say(`{"jsonrpc":"2.0","id":%d,"method":"ping"}`, i)
		}
	case "fork":
		playForking(h)
	}
	a.next()
}

func orNull(b json.RawMessage) string {
	if b == nil {
		return "null"
	}
	return string(b)
}

// playAsking asks the client for all kinds of things and tells what came of it.
func playAsking(a *actor, call heard) {
	var got []string
	for i, method := range []string{"ping", "sampling/createMessage", "elicitation/create", "roots/list", "x"} {
		say(`{"jsonrpc":"2.0","id":"q%d","method":%q}`, i, method)
		h := a.hear()
		got = append(got, fmt.Sprintf("%s %s%s", h.ID, h.Result, h.Error))
	}
	text, _ := json.Marshal(strings.Join(got, "; "))
	say(`{"jsonrpc":"2.0","id":%s,"result":{"got":%s}}`, call.ID, text)
	a.next()
}

// playForking leaves processes behind: one in its group, one there without a mark, one in a session of its own, one whose
// parent is gone, each with the pipes of this one.
func playForking(call heard) {
	var pids []string
	for _, script := range []string{"exec sleep 60", "exec env -i sleep 60", "exec setsid sleep 60", "setsid sleep 60 & exit 0"} {
		cmd := exec.Command("sh", "-c", script)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		cmd.Env = append(os.Environ(), "STDIO_PART=")
		if err := cmd.Start(); err != nil {
			os.Exit(6)
		}
		pids = append(pids, strconv.Itoa(cmd.Process.Pid))
	}
	say(`{"jsonrpc":"2.0","id":%s,"result":{"pids":"%s"}}`, call.ID, strings.Join(pids, " "))
}

// noise is a log that may be read while it is written.
type noise struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (n *noise) Write(b []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.buf.Write(b)
}

func (n *noise) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.buf.String()
}

func config(part string) stdio.Config {
	c := stdio.DefaultConfig()
	c.Path, c.Env, c.PassEnv = os.Args[0], []string{"STDIO_PART=" + part, "GORACE=atexit_sleep_ms=0", anyMark}, []string{"PATH"}
	c.StartTimeout, c.ProbeTimeout, c.StopTimeout = 20*time.Second, 5*time.Second, time.Second
	c.MaxMessage = 64 << 10
	return c
}

// start runs a server, and sees to it that nothing of it is left after the test.
func start(t *testing.T, c stdio.Config) (*stdio.Server, *noise) {
	t.Helper()
	log := &noise{}
	s, err := stdio.New(t.Context(), c, log)
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	t.Cleanup(func() {
		s.Close()
		nothingLeft(t, s.Mark())
		if t.Failed() {
			t.Logf("the log says:\n%.4000s", log)
		}
	})
	return s, log
}

// anyMark is in the environment of all servers that this run of the tests has started, and of no other process.
var anyMark = "STDIO_RUN=" + rand.Text()

// nothingLeft fails the test when a process with the mark still runs. Tests of this package do not run in parallel.
func nothingLeft(t *testing.T, mark string) {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return // not Linux
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		if env, err := os.ReadFile("/proc/" + e.Name() + "/environ"); err == nil && bytes.Contains(env, []byte(mark)) {
			command, _ := os.ReadFile("/proc/" + e.Name() + "/cmdline")
			t.Errorf("process %d is left: %q", pid, command)
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// call makes one call within a second and returns the result, or the error's JSON, or the failure.
func call(t *testing.T, s *stdio.Server) (string, *connector.Failure) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	return callIn(ctx, t, s)
}

func callIn(ctx context.Context, t *testing.T, s *stdio.Server) (string, *connector.Failure) {
	t.Helper()
	reply, err := s.Call(ctx, &connector.Request{Method: "tools/call", Name: "act", Principal: "p", Arguments: []byte(`{}`)})
	if err == nil {
		return string(reply.Result) + string(reply.Error), nil
	}
	fail, ok := errors.AsType[*connector.Failure](err)
	if !ok || len(reply.Result)+len(reply.Error) != 0 {
		t.Fatalf("%v is no Failure, or comes with a reply", err)
	}
	return "", fail
}

// ended waits for the server's end and returns why.
func ended(t *testing.T, s *stdio.Server) string {
	t.Helper()
	select {
	case <-s.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("the server has not ended")
	}
	if s.Err() == nil {
		t.Fatal("the server has ended for no reason")
	}
	return s.Err().Error()
}

// playKeeper runs a server itself, tells its number and waits.
func playKeeper() {
	s, err := stdio.New(context.Background(), config("stubborn"), os.Stderr) // the end of its input does not end it
	if err != nil {
		os.Exit(1)
	}
	say("%d", s.PID())
	time.Sleep(time.Minute)
}

// playFast answers with as little work as can be, for the benchmark.
func playFast() {
	in, out := bufio.NewReaderSize(os.Stdin, 1<<20), bufio.NewWriterSize(os.Stdout, 1<<20)
	text := strings.Repeat("x", 1000)
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return
		}
		_, rest, _ := bytes.Cut(line, []byte(`"id":`))
		id, _, _ := bytes.Cut(rest, []byte(","))
		fmt.Fprintf(out, `{"jsonrpc":"2.0","id":%s,"result":{"supportedVersions":["2026-07-28"],"text":"%s"}}`+"\n", id, text)
		if in.Buffered() == 0 {
			out.Flush()
		}
	}
}
