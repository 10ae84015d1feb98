package httpwasm

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/tetratelabs/wazero/api"

	"github.com/gatewright/gatewright/wasm/abi"
)

// memory is a guest's, as far as the host uses it.
type memory struct {
	api.Memory
	b []byte
}

func (m *memory) Read(at, size uint32) ([]byte, bool) {
	if uint64(at)+uint64(size) > uint64(len(m.b)) {
		return nil, false
	}
	return m.b[at : at+size : at+size], true
}

func (m *memory) WriteString(at uint32, s string) bool {
	if uint64(at)+uint64(len(s)) > uint64(len(m.b)) {
		return false
	}
	copy(m.b[at:], s)
	return true
}

// FuzzHTTPWasm runs whatever calls a guest can make of the host. Each byte string is a guest: its first half is its memory, and
// each 21 bytes of the rest are a call, of a function by number with five arguments, before or after the next handler.
func FuzzHTTPWasm(f *testing.F) {
	for i := range Functions() {
		call := make([]byte, 21)
		call[0] = byte(i)
		binary.LittleEndian.PutUint32(call[9:], 1)
		binary.LittleEndian.PutUint32(call[17:], 9)
		f.Add([]byte("x\x00ab content-type"), append(call, call...))
	}
	functions := Functions()
	f.Fuzz(func(t *testing.T, ram, calls []byte) {
		if len(ram) > 1<<12 || len(calls) > 64*21 {
			return
		}
		m := &memory{b: ram}
		x := &Exchange{Method: "POST", URI: "/a/b", Protocol: "HTTP/1.1", Source: "1.2.3.4:5", Config: []byte("config"), MaxBody: 1 << 10, Fixed: len(ram)%2 == 0}
		x.Request = Message{Header: Header{{"content-type", "application/json"}}, Body: []byte(`{"a":1}`)}
		x.Log = func(level int32, text []byte) {
			if level < 0 || level > 3 || len(text) > len(ram) {
				t.Errorf("level %d, %d bytes", level, len(text))
			}
		}
		for ; len(calls) >= 21; calls = calls[21:] {
			var stack [5]uint64
			for i := range stack {
				stack[i] = uint64(binary.LittleEndian.Uint32(calls[1+4*i:]))
			}
			if calls[0]&0x80 != 0 && !x.after {
				x.Response = Message{Body: []byte(`{"b":2}`)}
				x.After()
			}
			units, err := functions[int(calls[0]&0x7f)%len(functions)].Run(x, m, stack[:])
			if _, refused := errors.AsType[*abi.Refusal](err); err != nil && !refused && !errors.Is(err, abi.ErrPointer) {
				t.Errorf("an error of another kind: %v", err)
			}
			if units < callPrice {
				t.Errorf("a call for %d units", units)
			}
			if err != nil {
				return
			}
			sound(t, x)
		}
	})
}

// sound holds an exchange to what no guest can do to it.
func sound(t *testing.T, x *Exchange) {
	t.Helper()
	if len(x.Request.New) > x.MaxBody || len(x.Response.New) > x.MaxBody || !x.Request.Changed && x.Request.New != nil {
		t.Errorf("bodies of %d and %d bytes", len(x.Request.New), len(x.Response.New))
	}
	if x.Fixed && (x.Method != "POST" || x.URI != "/a/b") {
		t.Errorf("%q %q", x.Method, x.URI)
	}
	for _, h := range []Header{x.Request.Header, x.Response.Header} {
		if len(h) > maxFields || h.size() > maxHeader {
			t.Errorf("%d fields of %d bytes", len(h), h.size())
		}
		for _, f := range h {
			if !isToken(f.Name) || !isValue(f.Value) {
				t.Errorf("%q: %q", f.Name, f.Value)
			}
		}
	}
	if !isToken(x.Method) || !isValue(x.URI) || x.URI == "" {
		t.Errorf("%q %q", x.Method, x.URI)
	}
}

func TestPath(t *testing.T) {
	t.Parallel()
	for want, call := range map[string][3]string{
		"/files/tools/call/read":        {"files", "tools/call", "read"},
		"/a%2Fb/tools/call/c%20d":       {"a/b", "tools/call", "c d"},
		"/%2E%2E/tools/call/%2E":        {"..", "tools/call", "."},
		"/%3F%23/prompts/get/%C3%A9%00": {"?#", "prompts/get", "é\x00"},
	} {
		if got := path(call[0], call[1], call[2]); got != want {
			t.Errorf("%q: %s, want %s", call, got, want)
		}
	}
}

// TestSharedMemory: what the guest does to its memory later does not change what it has written.
func TestSharedMemory(t *testing.T) {
	t.Parallel()
	m := &memory{b: []byte("namevaluebody")}
	x := &Exchange{MaxBody: 100}
	for _, c := range []struct {
		name  string
		stack []uint64
	}{{"set_header_value", []uint64{1, 0, 4, 4, 5}}, {"write_body", []uint64{1, 9, 4}}} {
		for _, f := range Functions() {
			if f.Name == c.name {
				if _, err := f.Run(x, m, c.stack); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	clear(m.b)
	if f := x.Response.Header[0]; f.Name != "name" || f.Value != "value" || string(x.Response.Final()) != "body" {
		t.Errorf("%+v", x.Response)
	}
}
