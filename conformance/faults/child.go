package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"

	"github.com/gatewright/gatewright/plugins/connector"
)

// The variables that make this program a connector: which part it plays, and the file in which its server notes each call
// that has its effect.
const (
	partVariable = "GATEWRIGHT_FAULTS_PART"
	seenVariable = "GATEWRIGHT_FAULTS_SEEN"
)

// obedient is the part that is a good connector, but for calls whose path asks for something else.
const obedient = "obedient"

// play is the whole life of a child.
func play(part string) int {
	if act, ok := startParts()[part]; ok {
		return act()
	}
	if act, ok := wireParts()[part]; ok {
		return serveWire(act)
	}
	return connector.Serve(connector.Info{Name: "faults", Version: "1"}, tool{})
}

// startParts never become a connector.
func startParts() map[string]func() int {
	says := func(line string) func() int {
		return func() int {
			fmt.Println(strings.ReplaceAll(line, "DIR", os.Getenv("PLUGIN_UNIX_SOCKET_DIR")))
			time.Sleep(time.Minute)
			return 0
		}
	}
	return map[string]func() int{
		"exits":             func() int { return 3 },
		"exits as if done":  func() int { return 0 },
		"killed":            func() int { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL); return 0 },
		"silent":            func() int { time.Sleep(time.Minute); return 0 },
		"closes its stdout": func() int { os.Stdout.Close(); time.Sleep(time.Minute); return 0 },
		"another cookie": func() int {
			if err := os.Setenv(connector.Handshake.MagicCookieKey, "other"); err != nil {
				return 4
			}
			return connector.Serve(connector.Info{}, tool{})
		},
		"garbage":            says("Hello, I am a connector!"),
		"another core":       says("2|1|unix|DIR/x|grpc|"),
		"another version":    says("1|2|unix|DIR/x|grpc|"),
		"a TCP address":      says("1|1|tcp|127.0.0.1:1|grpc|"),
		"a foreign socket":   says("1|1|unix|/var/run/docker.sock|grpc|"),
		"no certificate":     says("1|1|unix|DIR/x|grpc|"),
		"another protocol":   says("1|1|unix|DIR/x|netrpc|"),
		"a line without end": func() int { fmt.Print(strings.Repeat("x", 1<<20)); time.Sleep(time.Minute); return 0 },
	}
}

// tool is the server of the obedient part.
type tool struct{}

func (tool) Call(ctx context.Context, r *connector.Request) (connector.Reply, error) {
	var args struct{ Path string }
	if err := json.Unmarshal(r.Arguments, &args); err != nil {
		return connector.Reply{}, err
	}
	part, _, _ := strings.Cut(strings.TrimPrefix(args.Path, "/"), "/")
	if part == "dies before its effect" {
		os.Exit(1)
	}
	if err := effect(args.Path); err != nil {
		return connector.Reply{}, err
	}
	if act, ok := callParts()[part]; ok {
		return act(ctx)
	}
	if kind, ok := strings.CutPrefix(part, "failure-"); ok {
		number, sent, _ := strings.Cut(kind, "-")
		n, err := strconv.Atoi(number)
		return connector.Reply{}, errors.Join(err, &connector.Failure{Kind: connector.Kind(n), Detail: "injected", Sent: sent == "sent"}) //nolint:gosec // ours
	}
	return connector.Reply{Result: []byte(`{"content":[]}`)}, nil
}

// effect notes that a call had its effect.
func effect(path string) error {
	f, err := os.OpenFile(os.Getenv(seenVariable), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, path)
	return errors.Join(err, f.Close())
}

// callParts are what the obedient connector does on a call instead of answering it.
func callParts() map[string]func(context.Context) (connector.Reply, error) {
	type reply = connector.Reply
	parts := map[string]func(context.Context) (reply, error){
		"dies before its effect": nil, // see tool.Call
		"dies after its effect":  func(context.Context) (reply, error) { os.Exit(1); return reply{}, nil },
		"is killed": func(context.Context) (reply, error) {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			return reply{}, nil
		},
		"stops": func(ctx context.Context) (reply, error) {
			_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
			<-ctx.Done()
			return reply{}, ctx.Err()
		},
		"hangs until the deadline": func(ctx context.Context) (reply, error) { <-ctx.Done(); return reply{}, ctx.Err() },
		"answers late":             func(context.Context) (reply, error) { time.Sleep(2 * timeout); return reply{Result: []byte(`{}`)}, nil },
		"panics":                   func(context.Context) (reply, error) { panic("injected panic") },
		"fails":                    func(context.Context) (reply, error) { return reply{}, errInjected },
		"fails as canceled":        func(context.Context) (reply, error) { return reply{}, context.Canceled },
		"fails as nil failure":     func(context.Context) (reply, error) { return reply{}, (*connector.Failure)(nil) },
		"answers nothing":          func(context.Context) (reply, error) { return reply{}, nil },
		"answers twice over":       func(context.Context) (reply, error) { return reply{Result: []byte(`{}`), Error: []byte(`{}`)}, nil },
		"error is no object":       func(context.Context) (reply, error) { return reply{Error: []byte(`"no"`)}, nil },
		"closes its descriptors": func(context.Context) (reply, error) {
			for fd := range 64 {
				_ = syscall.Close(fd)
			}
			time.Sleep(time.Minute)
			return reply{}, nil
		},
	}
	for name, body := range badAnswers() {
		parts["result "+name] = func(context.Context) (reply, error) { return reply{Result: []byte(body)}, nil }
	}
	return parts
}

// Kinds of frames, see the description of the wire in package connector.
const (
	helloFrame = 1
	callFrame  = 2
	replyFrame = 3
	failFrame  = 4
	pingFrame  = 6
	pongFrame  = 7
)

// wireParts speak the wire themselves, and answer each call with what they return.
func wireParts() map[string]func(id uint64) []byte {
	huge := strings.Repeat(" ", 1<<20)
	return map[string]func(id uint64) []byte{
		"another id":           func(id uint64) []byte { return frame(replyFrame, id+1, "\x00{}") },
		"huge reply":           func(id uint64) []byte { return frame(replyFrame, id, "\x00{"+huge+"}") },
		"no frame":             func(uint64) []byte { return []byte("no frame at all") },
		"unknown kind":         func(id uint64) []byte { return frame(99, id, "") },
		"a frame cut short":    func(id uint64) []byte { return frame(replyFrame, id, "\x00{}")[:10] },
		"an empty reply":       func(id uint64) []byte { return frame(replyFrame, id, "") },
		"neither result":       func(id uint64) []byte { return frame(replyFrame, id, "\x07{}") },
		"a failure of no kind": func(id uint64) []byte { return frame(failFrame, id, "\x63\x07x") },
		"a second hello":       func(uint64) []byte { return hello() },
		"no answer":            func(uint64) []byte { return nil },
	}
}

func hello() []byte {
	b := binary.LittleEndian.AppendUint32(nil, 1)
	b = binary.LittleEndian.AppendUint32(b, 64<<20)
	return frame(helloFrame, 0, string(append(b, make([]byte, 12)...)))
}

func frame(kind byte, id uint64, body string) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(9+len(body))) //nolint:gosec // small
	return append(binary.LittleEndian.AppendUint64(append(b, kind), id), body...)
}

// exchange is the stream as such a connector sees it.
func exchange(s grpc.ServerStream, answer func(id uint64) []byte) error {
	if err := s.SendMsg(hello()); err != nil {
		return err
	}
	for {
		var m []byte
		if err := s.RecvMsg(&m); err != nil {
			return err
		}
		for len(m) >= 13 {
			var a []byte
			switch id := binary.LittleEndian.Uint64(m[5:]); m[4] {
			case callFrame:
				a = answer(id)
			case pingFrame:
				a = frame(pongFrame, id, "")
			}
			if a != nil {
				if err := s.SendMsg(a); err != nil {
					return err
				}
			}
			m = m[4+binary.LittleEndian.Uint32(m):]
		}
	}
}

type wirePlugin struct {
	plugin.NetRPCUnsupportedPlugin
	answer func(id uint64) []byte
}

func (p wirePlugin) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	s.RegisterService(&grpc.ServiceDesc{ServiceName: "gatewright.connector.v1.Connector", HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{{
		StreamName: "Exchange", ServerStreams: true, ClientStreams: true,
		Handler: func(_ any, s grpc.ServerStream) error { return exchange(s, p.answer) },
	}}}, nil)
	return nil
}

func (wirePlugin) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.New("only a server")
}

func serveWire(answer func(id uint64) []byte) int {
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: connector.Handshake,
		Plugins:         plugin.PluginSet{connector.PluginName: wirePlugin{answer: answer}},
		GRPCServer: func(o []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(o, grpc.ForceServerCodecV2(rawCodec{}))...)
		},
		Logger: hclog.NewNullLogger(),
	})
	return 0
}

// rawCodec leaves bytes as they are.
type rawCodec struct{}

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.([]byte)
	if !ok {
		return nil, fmt.Errorf("marshal %T", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(b)}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("unmarshal %T", v)
	}
	*b = data.Materialize()
	return nil
}

func (rawCodec) Name() string { return proto.Name }
