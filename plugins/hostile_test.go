//go:build linux

package plugins_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers protobuf
	"google.golang.org/protobuf/proto"

	"github.com/gatewright/gatewright/plugins"
	"github.com/gatewright/gatewright/plugins/connector"
	"path/filepath"
)

// hostiles are parts that speak on the wire themselves, as its description says, and then do not keep to it.
var hostiles = map[string]func(raw) error{
	"liar": func(s raw) error { // has its effect, and says that there was none
		return s.each(func(kind byte, id uint64) []byte {
			switch kind {
			case 2:
				if err := os.WriteFile(filepath.Join(os.Getenv("EFFECTS"), strconv.Itoa(os.Getpid())), nil, 0o600); err != nil {
					return nil
				}
				time.Sleep(700 * time.Millisecond)
				return frame(4, id, string([]byte{byte(connector.Unreachable), 0}))
			case 6:
				return frame(7, id, "")
			}
			return nil
		})
	},
	"leaver": func(s raw) error { // says that it leaves, and stays
		hello := append([]byte{1, 0, 0, 0, 0, 0, 0, 4}, make([]byte, 12)...)
		return errors.Join(s.SendMsg(frame(1, 0, string(hello))), s.SendMsg(frame(8, 0, "")), s.wait())
	},
	"no hello": func(s raw) error { return s.wait() },
	"odd hello": func(s raw) error {
		return errors.Join(s.SendMsg(frame(1, 0, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00")), s.wait())
	},
	"wrong id": func(s raw) error {
		return s.each(func(kind byte, id uint64) []byte {
			switch kind {
			case 2:
				return frame(3, id+1, "\x00{}")
			case 6:
				return frame(7, id, "")
			}
			return nil
		})
	},
	"huge reply": func(s raw) error {
		return s.each(func(_ byte, id uint64) []byte { return frame(3, id, "\x00"+strings.Repeat(" ", 64<<20)) })
	},
	"no pong": func(s raw) error {
		return s.each(func(kind byte, id uint64) []byte {
			if kind == 2 {
				return frame(3, id, "\x00{}")
			}
			return nil
		})
	},
	"babble": func(s raw) error {
		return s.each(func(byte, uint64) []byte { return []byte("no frame at all") })
	},
}

// raw is the stream as a connector sees it.
type raw struct{ grpc.ServerStream }

// each answers every frame of the gateway.
func (s raw) each(answer func(kind byte, id uint64) []byte) error {
	hello := binary.LittleEndian.AppendUint32(nil, 1)
	hello = binary.LittleEndian.AppendUint32(hello, 64<<20)
	hello = append(hello, make([]byte, 12)...)
	if err := s.SendMsg(frame(1, 0, string(hello))); err != nil {
		return err
	}
	for {
		var m []byte
		if err := s.RecvMsg(&m); err != nil {
			return err
		}
		for len(m) > 0 {
			n := 4 + binary.LittleEndian.Uint32(m)
			if m[4] != 1 {
				if a := answer(m[4], binary.LittleEndian.Uint64(m[5:])); a != nil {
					if err := s.SendMsg(a); err != nil {
						return err
					}
				}
			}
			m = m[n:]
		}
	}
}

func (s raw) wait() error {
	<-s.Context().Done()
	return nil
}

func frame(kind byte, id uint64, body string) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(9+len(body)))
	return append(binary.LittleEndian.AppendUint64(append(b, kind), id), body...)
}

// rawCodec leaves []byte as it is.
type rawCodec struct{}

func (rawCodec) Marshal(v any) ([]byte, error) {
	if b, ok := v.([]byte); ok {
		return b, nil
	}
	return proto.Marshal(v.(proto.Message))
}

func (rawCodec) Unmarshal(data []byte, v any) error {
	if b, ok := v.(*[]byte); ok {
		*b = append([]byte(nil), data...)
		return nil
	}
	return proto.Unmarshal(data, v.(proto.Message))
}

func (rawCodec) Name() string { return "proto" }

var _ encoding.Codec = rawCodec{}

type rawPlugin struct {
	plugin.NetRPCUnsupportedPlugin
	serve func(raw) error
}

func (p rawPlugin) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	s.RegisterService(&grpc.ServiceDesc{ServiceName: "gatewright.connector.v1.Connector", HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{{
		StreamName: "Exchange", ServerStreams: true, ClientStreams: true,
		Handler: func(_ any, s grpc.ServerStream) error { return p.serve(raw{s}) },
	}}}, nil)
	return nil
}

func (rawPlugin) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, nil
}

func serveRaw(serve func(raw) error) int {
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: connector.Handshake,
		Plugins:         plugin.PluginSet{"raw": rawPlugin{serve: serve}},
		GRPCServer: func(o []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(o, grpc.ForceServerCodec(rawCodec{}))...)
		},
		Logger: hclog.NewNullLogger(),
	})
	return 0
}

// TestAProcessThatDoesNotBecomeAConnectorIsKilledAndToldOf: every way to fail before the first call, with a reason, and
// without what the process printed.
func TestAProcessThatDoesNotBecomeAConnectorIsKilledAndToldOf(t *testing.T) {
	line := func(s string) string { return "says " + s }
	for part, want := range map[string]string{
		"exit":                            "the process ended: exit status 3",
		"garbage":                         "the first line on its stdout is not a connector's handshake",
		"endless line":                    "the first line on its stdout is not a connector's handshake",
		"shut":                            "handshake: ",
		"silent":                          "not ready within 300ms",
		"deaf silent":                     "not ready within 300ms",
		"no hello":                        "not ready within 300ms",
		"odd hello":                       "the peer speaks protocol 4294967295",
		"no certificate":                  "its handshake has no certificate",
		"other cookie":                    "the process ended: exit status 2",
		line("1|2|unix|DIR/x|grpc|"):      "handshake: incompatible API version",
		line("2|1|unix|DIR/x|grpc|"):      "handshake: incompatible core API version",
		line("1|1|tcp|127.0.0.1:1|grpc|"): "a socket in the folder it was given",
		line("1|1|unix|/var/run/docker.sock|grpc|"):                 "a socket in the folder it was given",
		line("1|1|unix|DIR/../x|grpc|"):                             "a socket in the folder it was given",
		line("1|1|unix|DIR/x|grpc|"):                                "find its socket",
		line("1|1|unix||grpc|"):                                     "a socket in the folder it was given",
		line("1|1|unix|DIR/x|netrpc|"):                              "find its socket",
		line("hunter2|1|unix|DIR/x|grpc|"):                          "is not a connector's handshake",
		line("1|1|unix|DIR/x|hunter2|"):                             "is not a connector's handshake",
		line("|||||"):                                               "is not a connector's handshake",
		line("1|1|unix|DIR/x|grpc|" + strings.Repeat("A", 100_000)): "is not a connector's handshake",
		line("1|1|unix|DIR/x|grpc|" + strings.Repeat("A", 4_000)):   "handshake",
	} {
		t.Run(part[:min(len(part), 40)], func(t *testing.T) {
			t.Parallel()
			sockets := socketDir(t) // the rest could be another test's
			o := quick(sockets, part, io.Discard)
			o.Config.MaxCrashes = 1
			if strings.Contains(want, "not ready within") {
				o.Config.StartTimeout = 300 * time.Millisecond
			}
			c := open(t, o)
			err := c.Ready(t.Context())
			if !errors.Is(err, plugins.ErrBroken) || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %s", err, want)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error tells what the process printed: %v", err)
			}
			if s := c.Stats(); s.State != plugins.Broken || s.Crashes != 1 || s.Starts != 1 || s.Next.IsZero() || s.PID != 0 {
				t.Errorf("stats: %+v", s)
			}
			if _, err := ask(t.Context(), c, "echo", "{}"); failed(err) != (connector.Failure{Kind: connector.Unreachable}) {
				t.Errorf("a call: %v", err)
			}
		})
	}
}

func TestACallThatHangsEndsWithItsCaller(t *testing.T) {
	c := run(t, quick(unchanged(t), "good", io.Discard))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := ask(ctx, c, "hang", "0"); failed(err) != (connector.Failure{Kind: connector.Timeout, Sent: true}) || time.Since(began) > 5*time.Second {
		t.Errorf("got %v after %s", err, time.Since(began))
	}
	if got := must(t, c, "echo", `{"a":1}`); got != `{"a":1}` {
		t.Errorf("got %s", got)
	}
	if s := c.Stats(); s.Starts != 1 || s.Crashes != 0 {
		t.Errorf("stats: %+v", s)
	}
}

func TestAnAnswerWithAnotherIdAnswersNobody(t *testing.T) {
	c := run(t, quick(unchanged(t), "wrong id", io.Discard))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if got, err := ask(ctx, c, "echo", "{}"); failed(err) != (connector.Failure{Kind: connector.Timeout, Sent: true}) {
		t.Errorf("got %q, %v", got, err)
	}
	until(t, "the stray is counted and the process lives", func() bool { s := c.Stats(); return s.Strays == 1 && s.Pings > 0 && s.Crashes == 0 })
}

// crashes makes a call that costs the process and returns its failure and what Stats says of the end.
func crashes(t *testing.T, c *plugins.Connector, name, args string) (connector.Failure, string) {
	t.Helper()
	before := c.Stats().Crashes
	_, err := ask(t.Context(), c, name, args)
	until(t, "the crash is counted", func() bool { return c.Stats().Crashes > before })
	return failed(err), fmt.Sprint(c.Stats().Err)
}

func TestAProcessThatDiesInACallFailsItOnceAndIsStartedAgain(t *testing.T) {
	c := run(t, quick(unchanged(t), "good", io.Discard))
	first := must(t, c, "pid", "0")
	held := make(chan error, 1)
	go func() {
		_, err := ask(t.Context(), c, "hang", "0")
		held <- err
	}()
	until(t, "the other call is under way", func() bool { return c.Stats().InFlight == 1 })
	if f, why := crashes(t, c, "exit", "7"); f != (connector.Failure{Kind: connector.Unreachable, Sent: true}) || why != "the process ended: exit status 7" {
		t.Errorf("got %+v, %s", f, why)
	}
	if f := failed(<-held); f != (connector.Failure{Kind: connector.Unreachable, Sent: true}) {
		t.Errorf("the other call: %+v", f)
	}
	until(t, "it runs again", func() bool { return c.Stats().State == plugins.Running })
	if second := must(t, c, "pid", "0"); second == first {
		t.Error("the same process serves")
	}
}

func TestAProcessThatIsToldToEndByOthersIsStartedAgain(t *testing.T) {
	c := run(t, quick(unchanged(t), "good", io.Discard))
	_ = syscall.Kill(c.Stats().PID, syscall.SIGTERM)
	until(t, "another runs", func() bool { s := c.Stats(); return s.Starts == 2 && s.State == plugins.Running })
	if s := c.Stats(); s.Crashes != 1 || fmt.Sprint(s.Err) != "the process ended: exit status 0" {
		t.Errorf("stats: %+v", s)
	}
}

func TestAProcessThatSendsTooMuchOrNonsenseLosesItsSession(t *testing.T) {
	for part, want := range map[string]connector.Kind{"huge reply": connector.TooLarge, "babble": connector.Malformed} {
		t.Run(part, func(t *testing.T) {
			o := quick(unchanged(t), part, io.Discard)
			o.Config.PingEvery = time.Hour
			c := run(t, o)
			f, why := crashes(t, c, "echo", "{}")
			if f != (connector.Failure{Kind: want, Sent: true}) || !strings.Contains(why, want.String()) {
				t.Errorf("got %+v, %s", f, why)
			}
		})
	}
}

func TestALargeReplyWithinTheBoundArrives(t *testing.T) {
	o := quick(unchanged(t), "good", io.Discard)
	o.Config.MaxMessage, o.Config.Memory = 64<<20, 8<<30
	c := run(t, o)
	n := 63 << 20
	if got := must(t, c, "big", strconv.Itoa(n)); len(got) != n+len(`{"x":""}`) {
		t.Errorf("%d bytes", len(got))
	}
	if _, err := ask(t.Context(), c, "big", strconv.Itoa(64<<20)); failed(err) != (connector.Failure{Kind: connector.TooLarge, Sent: true}) {
		t.Errorf("got %v", err)
	}
	if s := c.Stats(); s.Crashes != 0 {
		t.Errorf("stats: %+v", s)
	}
}

// TestAStoppedProcessIsKilledAndReplaced: SIGSTOP looks like a hang from outside, and go-plugin's own Kill waits for ever
// for it.
func TestAStoppedProcessIsKilledAndReplaced(t *testing.T) {
	for name, end := range map[string]func(c *plugins.Connector) (connector.Failure, string){
		"of itself": func(c *plugins.Connector) (connector.Failure, string) { return crashes(t, c, "stop", "0") },
		"from outside": func(c *plugins.Connector) (connector.Failure, string) {
			_ = syscall.Kill(c.Stats().PID, syscall.SIGSTOP)
			return crashes(t, c, "hang", "0")
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := quick(unchanged(t), "good", io.Discard)
			o.Config.PingTimeout = 300 * time.Millisecond
			c := run(t, o)
			if f, why := end(c); f != (connector.Failure{Kind: connector.Unreachable, Sent: true}) || why != "no sign of life within 300ms" {
				t.Errorf("got %+v, %s", f, why)
			}
			until(t, "it runs again", func() bool { return c.Stats().State == plugins.Running })
		})
	}
}

func TestAStoppedProcessCanBeStopped(t *testing.T) {
	o := quick(unchanged(t), "good", io.Discard)
	o.Config.PingEvery, o.Config.StopTimeout, o.Config.DrainTimeout = time.Hour, 100*time.Millisecond, 100*time.Millisecond
	c := run(t, o)
	_ = syscall.Kill(c.Stats().PID, syscall.SIGSTOP)
	began := time.Now()
	if err := c.Stop(context.Background()); err != nil || time.Since(began) > 5*time.Second {
		t.Errorf("%v after %s", err, time.Since(began))
	}
}

func TestAProcessThatAnswersNoPingIsKilled(t *testing.T) {
	o := quick(unchanged(t), "no pong", io.Discard)
	o.Config.PingEvery, o.Config.PingTimeout, o.Config.MaxCrashes = 20*time.Millisecond, 100*time.Millisecond, 1
	c := run(t, o)
	until(t, "it is broken", func() bool { return c.Stats().State == plugins.Broken })
	if s := c.Stats(); fmt.Sprint(s.Err) != "no sign of life within 100ms" {
		t.Errorf("got %v", s.Err)
	}
}

func TestAProcessThatIgnoresEverythingIsKilled(t *testing.T) {
	o := quick(unchanged(t), "deaf", io.Discard)
	o.Config.StopTimeout = 100 * time.Millisecond
	c := run(t, o)
	go func() { _, _ = ask(t.Context(), c, "hang", "0") }()
	until(t, "a call is under way", func() bool { return c.Stats().InFlight == 1 })
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := c.Stop(ctx); err != nil || time.Since(began) > 5*time.Second {
		t.Errorf("%v after %s", err, time.Since(began))
	}
	if _, err := ask(t.Context(), c, "echo", "{}"); failed(err) != (connector.Failure{Kind: connector.Unreachable}) {
		t.Errorf("a call after the end: %v", err)
	}
}

// TestAFloodOnStderrIsBounded: in the log and in what is kept, while calls go on.
func TestAFloodOnStderrIsBounded(t *testing.T) {
	var out logs
	o := quick(unchanged(t), "chatty", &out)
	o.Config.LogLines = 50
	c := run(t, o)
	for range 20 {
		must(t, c, "echo", "{}")
		time.Sleep(10 * time.Millisecond)
	}
	if n := strings.Count(out.String(), "connector says\""); n < 100 || n > 400 {
		t.Errorf("%d lines were logged", n)
	}
	kept := c.Logs(1000)
	if len(kept) != 50 || c.Stats().Dropped < 1000 {
		t.Errorf("%d lines were kept, %d dropped", len(kept), c.Stats().Dropped)
	}
	for _, l := range kept {
		if !utf8.ValidString(l.Text) || strings.ContainsAny(l.Text, "\x1b\u202e") || !strings.HasPrefix(l.Text, "line ") || l.PID != c.Stats().PID || l.Time.IsZero() {
			t.Fatalf("kept %+v; %+v", l, c.Stats())
		}
	}
	if got := c.Logs(2); len(got) != 2 || got[1] != c.Logs(1)[0] && c.Stats().Dropped == 0 {
		t.Errorf("the last two are %v", got)
	}
}

func TestWhatAProcessPrintsOnStdoutIsIgnored(t *testing.T) {
	c := run(t, quick(unchanged(t), "good", io.Discard))
	must(t, c, "noise", "0")
	for range 30 {
		must(t, c, "echo", "{}")
		time.Sleep(20 * time.Millisecond)
	}
	must(t, c, "print", "10000000")
	if s := c.Stats(); s.Crashes != 0 || len(c.Logs(10)) != 0 {
		t.Errorf("stats %+v, logs %v", s, c.Logs(10))
	}
}

func TestLinesOfStderrAreKeptInOrder(t *testing.T) {
	c := run(t, quick(unchanged(t), "good", io.Discard))
	must(t, c, "say", "30")
	until(t, "the lines are kept", func() bool { return len(c.Logs(100)) == 30 })
	for i, l := range c.Logs(10) {
		if want := fmt.Sprintf("said %d", 20+i); l.Text != want {
			t.Errorf("line %d is %q", i, l.Text)
		}
	}
}

// TestNothingAProcessStartedIsLeft: children that stay, that ignore signals, that leave the session, that are nobody's
// child; zombies; files in the socket's folder. However the process ends.
func TestNothingAProcessStartedIsLeft(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, c *plugins.Connector){
		"stopped": func(t *testing.T, c *plugins.Connector) { _ = c.Stop(context.Background()) },
		"killed": func(t *testing.T, c *plugins.Connector) {
			pid := c.Stats().PID
			_ = syscall.Kill(pid, syscall.SIGKILL)
			until(t, "another runs", func() bool { s := c.Stats(); return s.State == plugins.Running && s.PID != pid })
			if n := len(look().processes); n != 1 {
				t.Errorf("%d processes: %v", n, look().processes)
			}
		},
		"exits": func(t *testing.T, c *plugins.Connector) { crashes(t, c, "exit", "1") },
		"restarted": func(t *testing.T, c *plugins.Connector) {
			if err := c.Restart(t.Context()); err != nil {
				t.Error(err)
			}
			until(t, "only the new one is there", func() bool { return len(look().processes) == 1 })
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := run(t, quick(unchanged(t), "good", io.Discard))
			if got := must(t, c, "offspring", "0"); got != `{"v":"0"}` {
				t.Fatalf("offspring: %s", got)
			}
			if n := len(look().processes); n < 4 {
				t.Errorf("only %d processes were started: %v", n, look().processes)
			}
			end(t, c)
		})
	}
}

func TestMemoryIsBounded(t *testing.T) {
	for _, how := range []string{"eat", "eat elsewhere"} { // of itself, and of what it started
		t.Run(how, func(t *testing.T) {
			o := quick(unchanged(t), "good", io.Discard)
			o.Config.Memory = 150 << 20
			c := run(t, o)
			until(t, "memory is looked at", func() bool { return c.Stats().Memory > 1<<20 && c.Stats().Processes == 1 })
			must(t, c, "eat", "10")
			_, _ = ask(t.Context(), c, how, "300") // it may be killed before it answers
			until(t, "it is killed", func() bool { return c.Stats().Crashes == 1 })
			if why := fmt.Sprint(c.Stats().Err); !strings.Contains(why, "MiB of memory, the bound is 150 MiB") {
				t.Errorf("got %s", why)
			}
			until(t, "it runs again", func() bool { return c.Stats().State == plugins.Running })
		})
	}
}

func TestMemoryIsBoundedBeforeTheHandshake(t *testing.T) {
	o := quick(unchanged(t), "eats at start", io.Discard)
	o.Config.Memory, o.Config.MaxCrashes = 100<<20, 1
	if err := open(t, o).Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "the bound is 100 MiB") {
		t.Errorf("got %v", err)
	}
}

func TestProcessesAreBounded(t *testing.T) {
	o := quick(unchanged(t), "good", io.Discard)
	o.Config.Processes = 4
	c := run(t, o)
	until(t, "processes are looked at", func() bool { return c.Stats().Processes == 1 })
	_, _ = ask(t.Context(), c, "offspring", "0")
	until(t, "it is killed", func() bool { return c.Stats().Crashes == 1 })
	if why := fmt.Sprint(c.Stats().Err); !strings.Contains(why, "processes, the bound is 4") {
		t.Errorf("got %s", why)
	}
}

func TestOpenFilesAreBounded(t *testing.T) {
	o := quick(unchanged(t), "good", io.Discard)
	o.Config.Files = 64
	c := run(t, o)
	var n int
	if _, err := fmt.Sscanf(must(t, c, "open", "100"), `{"v":%d}`, &n); err != nil || n >= 64 || n < 20 {
		t.Errorf("opened %d files: %v", n, err)
	}
}

func TestAProcessHasOnlyWhatItWasGiven(t *testing.T) {
	t.Setenv("SECRET", "do-not-pass")
	t.Setenv("WANTED", "pass")
	leaked, err := syscall.Open("/dev/null", syscall.O_RDONLY, 0) // no O_CLOEXEC, as a careless parent leaves it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(leaked) })
	o := quick(unchanged(t), "good", io.Discard)
	o.Command.PassEnv = []string{"WANTED", "NOT_SET"}
	o.Command.Args = []string{"-x", "$HOME;echo"}
	c := run(t, o)
	env := must(t, c, "env", "0")
	for _, name := range []string{"PART", "TEST_RUN", "WANTED", "GATEWRIGHT_CONNECTOR", "GATEWRIGHT_CONNECTOR_PROCESS", "PLUGIN_MIN_PORT", "PLUGIN_MAX_PORT", "PLUGIN_PROTOCOL_VERSIONS", "PLUGIN_CLIENT_CERT", "PLUGIN_UNIX_SOCKET_DIR"} {
		if strings.Count(env, `"`+name+`=`) != 1 {
			t.Errorf("%s is missing in %s", name, env)
		}
	}
	if n := strings.Count(env, `","`) + 1; n != 10 || strings.Contains(env, "do-not-pass") {
		t.Errorf("%d variables: %s", n, env)
	}
	files := must(t, c, "files", "0")
	for _, want := range []string{`"0":"/dev/null"`, `"1":"pipe:`, `"2":"pipe:`} {
		if !strings.Contains(files, want) {
			t.Errorf("%s is missing in %s", want, files)
		}
	}
	if strings.Count(files, "/dev/null") != 1 {
		t.Errorf("descriptor %d was inherited: %s", leaked, files)
	}
	status := must(t, c, "status", `"status"`)
	if !strings.Contains(status, `NoNewPrivs:\t1`) {
		t.Errorf("it may gain privileges: %s", status)
	}
	if limits := must(t, c, "status", `"limits"`); !strings.Contains(limits, "Max core file size        0                    0") {
		t.Errorf("limits: %s", limits)
	}
	if oom := must(t, c, "status", `"oom_score_adj"`); oom != `{"v":"500\n"}` {
		t.Errorf("out of memory, it is chosen at %s", oom)
	}
	var pid, parent, group, session int
	stat := must(t, c, "status", `"stat"`)
	if _, err := fmt.Sscanf(stat[strings.LastIndex(stat, ")")+4:], "%d %d %d", &parent, &group, &session); err != nil {
		t.Fatal(err, stat)
	}
	if pid = c.Stats().PID; parent != os.Getpid() || group != pid || session != pid {
		t.Errorf("process %d has parent %d, group %d, session %d", pid, parent, group, session)
	}
	cmdline := must(t, c, "status", `"cmdline"`)
	if !strings.Contains(cmdline, `\u0000-x\u0000$HOME;echo\u0000`) {
		t.Errorf("command line: %s", cmdline)
	}
}

// TestTheSocketIsGoneOnceBothSidesAreConnected, so that nothing is left when the gateway is killed outright.
func TestTheSocketIsGoneOnceBothSidesAreConnected(t *testing.T) {
	sockets := unchanged(t)
	c := run(t, quick(sockets, "good", io.Discard))
	if left, err := os.ReadDir(sockets); err != nil || len(left) != 0 {
		t.Errorf("%v, %v", left, err)
	}
	must(t, c, "echo", "{}")
}

// TestACallIsNeverMadeTwiceOnAConnectorsWord: a connector that says "not sent" while it is replaced may have had the effect.
func TestACallIsNeverMadeTwiceOnAConnectorsWord(t *testing.T) {
	dir := t.TempDir()
	o := quick(unchanged(t), "liar", io.Discard)
	o.Command.Env = append(o.Command.Env, "EFFECTS="+dir)
	c := run(t, o)
	done := make(chan error, 1)
	go func() {
		_, err := ask(t.Context(), c, "transfer", "{}")
		done <- err
	}()
	until(t, "the effect", func() bool { list, _ := os.ReadDir(dir); return len(list) == 1 })
	if err := c.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := <-done
	if f, ok := errors.AsType[*connector.Failure](err); !ok || !f.Told() || f.Sent {
		t.Errorf("the call: %v", err)
	}
	if list, _ := os.ReadDir(dir); len(list) != 1 {
		t.Errorf("one call had its effect in %d processes", len(list))
	}
}

// TestAConnectorThatLeavesAndStaysIsReplaced: it takes no calls, so it must not count as running.
func TestAConnectorThatLeavesAndStaysIsReplaced(t *testing.T) {
	if testing.Short() {
		t.Skip("takes as long as a connector may stay")
	}
	c := run(t, quick(unchanged(t), "leaver", io.Discard))
	until(t, "another process", func() bool { return c.Stats().Starts > 1 })
}
