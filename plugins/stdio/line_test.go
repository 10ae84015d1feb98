package stdio_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/plugins/connector"
	"github.com/gatewright/gatewright/plugins/stdio"
)

var limits = canon.Limits{Bytes: 1 << 20, Depth: 16, Values: 1000}

func TestALineThatIsNoMessageIsRefused(t *testing.T) {
	for _, line := range []string{
		"", " ", "hello", "null", "1", `"x"`, `[]`, `[{"jsonrpc":"2.0","id":1,"result":{}}]`, `{}`, `{`, "\ufeff" + `{"jsonrpc":"2.0","id":1,"result":{}}`,
		`{"jsonrpc":"2.0","id":1,"result":{}} {}`, `{"jsonrpc":"2.0","id":1,"result":{}`, `{"id":1,"result":{}}`, `{"jsonrpc":2.0,"id":1,"result":{}}`,
		`{"jsonrpc":"1.0","id":1,"result":{}}`, `{"JSONRPC":"2.0","id":1,"result":{}}`, `{"jsonrpc":"2.0","ID":1,"result":{}}`,
		`{"jsonrpc":"2.0","id":1}`, `{"jsonrpc":"2.0","id":1,"result":{},"error":{}}`, `{"jsonrpc":"2.0","id":1,"result":null}`,
		`{"jsonrpc":"2.0","id":1,"result":[]}`, `{"jsonrpc":"2.0","id":1,"result":"x"}`, `{"jsonrpc":"2.0","id":1,"error":"x"}`,
		`{"jsonrpc":"2.0","result":{}}`, `{"jsonrpc":"2.0","id":null,"result":{}}`, `{"jsonrpc":"2.0","id":"1","result":{}}`,
		`{"jsonrpc":"2.0","id":1.0,"result":{}}`, `{"jsonrpc":"2.0","id":1e0,"result":{}}`, `{"jsonrpc":"2.0","id":0,"result":{}}`,
		`{"jsonrpc":"2.0","id":-1,"result":{}}`, `{"jsonrpc":"2.0","id":[1],"result":{}}`, `{"jsonrpc":"2.0","id":true,"result":{}}`,
		`{"jsonrpc":"2.0","id":1,"id":2,"result":{}}`, `{"jsonrpc":"2.0","id":1,"i\u0064":2,"result":{}}`, `{"jsonrpc":"2.0","id":1,"result":{"a":1,"a":2}}`,
		`{"jsonrpc":"2.0","id":1,"result":{"a":"` + "\xff" + `"}}`, `{"jsonrpc":"2.0","id":1,"result":{"a":"\ud800"}}`, `{"jsonrpc":"2.0","id":1,"result":{"a":1e999}}`,
		`{"jsonrpc":"2.0","id":1,"result":` + strings.Repeat(`{"a":`, 20) + "1" + strings.Repeat("}", 20) + `}`,
		`{"jsonrpc":"2.0","method":7}`, `{"jsonrpc":"2.0","method":null,"id":1,"result":{}}`, `{"jsonrpc":"2.0","method":"x","result":{}}`,
		`{"jsonrpc":"2.0","method":"x","id":null}`, `{"jsonrpc":"2.0","method":"x","id":{}}`, `{"jsonrpc":"2.0","method":"x","params":1}`,
		`{"jsonrpc":"2.0","method":"x","id":"` + strings.Repeat("x", 300) + `"}`,
	} {
		if m, err := stdio.ParseLine([]byte(line), limits); err == nil {
			t.Errorf("%q was understood as %+v", line, m)
		}
	}
}

func TestMessagesAreUnderstood(t *testing.T) {
	for line, want := range map[string]stdio.Line{
		`{"jsonrpc":"2.0","id":7,"result":{"a":[1]}}`:                   {Kind: "answer", ID: 7, Result: `{"a":[1]}`},
		` {"error":{"code":-1,"message":"no"},"jsonrpc":"2.0","id":7} `: {Kind: "answer", ID: 7, Failure: `{"code":-1,"message":"no"}`},
		`{"jsonrpc":"2.0","id":"x-1","method":"ping"}`:                  {Kind: "request", RawID: `"x-1"`, Method: "ping"},
		`{"jsonrpc":"2.0","id":0,"method":"roots/list","params":{}}`:    {Kind: "request", RawID: `0`, Method: "roots/list"},
		`{"jsonrpc":"2.0","method":"notifications/message"}`:            {Kind: "notice", Method: "notifications/message"},
	} {
		if m, err := stdio.ParseLine([]byte(line), limits); err != nil || m != want {
			t.Errorf("%s: %+v, %v", line, m, err)
		}
	}
}

func TestTheCallOfABrokenAnswerIsFound(t *testing.T) {
	long := strings.Repeat("x", 2000)
	for line, want := range map[string]uint64{
		`{"jsonrpc":"2.0","id":7,"result":{"a":"` + long:                     7,
		`{"id":7,"jsonrpc":"2.0","error":{"a":"` + long:                      7,
		`{ "jsonrpc" : "2.0" , "id" : "7" , "result" : {"a":"` + long:        7,
		`{"result":{"a":"` + long + `"},"jsonrpc":"2.0","id":7}`:             7,
		`{"jsonrpc":"2.0","result":{"a":"` + long + `"},"id":7}`:             7,
		`{"result":{"a":"` + long + `"},"id":7,"jsonrpc":"2.0"}` + "\r":      7,
		`{"jsonrpc":"2.0","id":7,"method":"x","params":"` + long + `"}`:      0,
		`{"jsonrpc":"2.0","method":"x","params":{"result":{"a":1}},"id":7}`:  0,
		`{"jsonrpc":"2.0","params":{"id":7,"result":1},"method":"x","id":7}`: 0,
		`{"jsonrpc":"2.0","id":99999999999999999999,"result":{"a":"` + long:  0,
		`{"jsonrpc":"2.0","id":-7,"result":{"a":"` + long:                    0,
		`7`:             0,
		long:            0,
		`{"id":7,` + "": 0,
	} {
		if id, ok := stdio.GuessID([]byte(line)); id != want || ok != (want != 0) {
			t.Errorf("%.60s: %d, %v", line, id, ok)
		}
	}
}

func TestLinesAreCutAndBounded(t *testing.T) {
	const longest = 100_000
	fits, over := strings.Repeat("f", longest), "head-----"+strings.Repeat("o", longest)+"---tail!"
	text := "a\n\nb\r\n" + fits + "\n" + over + "\n" + "c\n" + strings.Repeat("x", longest+1) + "\nd\nhalf"
	for name, r := range map[string]io.Reader{
		"whole": strings.NewReader(text), "halves": iotest.HalfReader(strings.NewReader(text)), "bytes": iotest.OneByteReader(strings.NewReader(text)),
	} {
		got, err := stdio.ReadLines(r, longest)
		want := []string{"a", "", "b\r", fits, "cut head----..---tail!", "c", "cut xxxxxxxx..xxxxxxxx", "d"}
		if !errors.Is(err, io.EOF) || len(got) != len(want) {
			t.Fatalf("%s: %d lines, %v", name, len(got), err)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%s: line %d is %.40q, want %.40q", name, i, got[i], want[i])
			}
		}
	}
	if lines, err := stdio.ReadLines(&endless{}, 1000); err == nil || !strings.Contains(err.Error(), "without an end") || len(lines) != 0 {
		t.Errorf("an endless line: %d lines, %v", len(lines), err)
	}
}

// endless never writes a line end, and fails when it is read for too long.
type endless struct{ n int }

func (e *endless) Read(b []byte) (int, error) {
	if e.n += len(b); e.n > 4<<20 {
		return 0, errors.New("was read for too long")
	}
	for i := range b {
		b[i] = 'x'
	}
	return len(b), nil
}

func TestARequestIsOneLine(t *testing.T) {
	for _, c := range []struct {
		r            connector.Request
		modern       bool
		want, refuse string
	}{
		{r: connector.Request{Method: "tools/list"}, want: `{"jsonrpc":"2.0","id":3,"method":"tools/list"}`},
		{r: connector.Request{Method: "tools/call", Name: "a\nb"}, want: `{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"a\nb"}}`},
		{
			r:    connector.Request{Method: "tools/call", Name: "t", Arguments: []byte("{\n\"a\":\r\n1}"), Meta: []byte("{\"k\":\n1,\"progressToken\":2,\"gatewright/intent\":\"secret\",\"io.modelcontextprotocol/x\":3}")},
			want: `{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"t","arguments":{ "a":  1},"_meta":{"k":1}}}`,
		},
		{r: connector.Request{Method: "resources/read", Name: "file:///x"}, want: `{"jsonrpc":"2.0","id":3,"method":"resources/read","params":{"uri":"file:///x"}}`},
		{
			r:    connector.Request{Method: "prompts/get", Name: "p", Params: []byte(`{"name":"p","_meta":{"a":1},"arguments":{"x":"y"}}`)},
			want: `{"jsonrpc":"2.0","id":3,"method":"prompts/get","params":{"name":"p","arguments":{"x":"y"},"_meta":{"a":1}}}`,
		},
		{
			r: connector.Request{Method: "tools/list", Params: []byte(`{"cursor":"c"}`)}, modern: true,
			want: `{"jsonrpc":"2.0","id":3,"method":"tools/list","params":{"cursor":"c","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"gatewright","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}}}`,
		},
		{r: connector.Request{Method: "tools/call", Name: "t", Arguments: []byte(`[]`)}, refuse: "arguments are not an object"},
		{r: connector.Request{Method: "tools/call", Name: "t", Params: []byte(`[]`)}, refuse: "params are not an object"},
		{r: connector.Request{Method: "tools/call", Name: "t", Params: []byte(`{"name":"u"}`)}, refuse: "disagree"},
		{r: connector.Request{Method: "tools/call", Name: "t", Params: []byte(`{"name":1}`)}, refuse: "disagree"},
		{r: connector.Request{Method: "tools/call", Name: "t", Meta: []byte(`1`)}, refuse: "_meta is not an object"},
	} {
		got, err := stdio.Compose(3, &c.r, c.modern)
		switch {
		case c.refuse != "":
			if f, ok := errors.AsType[*connector.Failure](err); !ok || f.Kind != connector.Refused || f.Sent || !strings.Contains(f.Detail, c.refuse) {
				t.Errorf("%+v: %q, %v", c.r, got, err)
			}
		case err != nil || got != c.want+"\n":
			t.Errorf("%+v\n got %s (%v)\nwant %s", c.r, got, err, c.want)
		case strings.Count(got, "\n") != 1 || !json.Valid([]byte(got)):
			t.Errorf("%q is not one line of JSON", got)
		}
	}
}

// FuzzLine feeds a server's line. What is understood must be a JSON-RPC message
// for encoding/json too, and say the same there; whatever is not must neither
// panic nor be taken for the answer to more than one call.
func FuzzLine(f *testing.F) {
	for _, s := range []string{
		`{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"x"}]}}`, `{"result":{},"jsonrpc":"2.0","id":7}`,
		`{"jsonrpc":"2.0","id":7,"error":{"code":-32601,"message":"no"}}`, `{"jsonrpc":"2.0","id":"a","method":"ping"}`,
		`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":2}}`, `[{"jsonrpc":"2.0"}]`,
		"Server listening\r", `{"jsonrpc":"2.0","id":7,"result":{"a":"\ud800"}}`, `{"jsonrpc":"2.0","id":"7","result":{}}`, `{"i\u0064":1}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		id, guessed := stdio.GuessID(line)
		if guessed && (id == 0 || !bytes.Contains(line, []byte(`"id"`))) {
			t.Fatalf("%q is guessed to be of %d", line, id)
		}
		m, err := stdio.ParseLine(line, limits)
		if err != nil {
			return
		}
		var theirs map[string]json.RawMessage // a struct's names would be folded
		if err := json.Unmarshal(line, &theirs); err != nil || string(theirs["jsonrpc"]) != `"2.0"` {
			t.Fatalf("%q: encoding/json says %s, %v", line, theirs, err)
		}
		switch m.Kind {
		case "answer":
			var n uint64
			if json.Unmarshal(theirs["id"], &n) != nil || n != m.ID || m.ID == 0 || (m.Result == "") == (m.Failure == "") {
				t.Fatalf("%q: %+v", line, m)
			}
			if object := m.Result + m.Failure; object[0] != '{' || !json.Valid([]byte(object)) {
				t.Fatalf("%q: %+v", line, m)
			}
			if guessed && id != m.ID && bytes.Count(line, []byte(`"id"`)) == 1 {
				t.Fatalf("%q answers %d, guessed %d", line, m.ID, id)
			}
		case "request", "notice":
			var method string
			if json.Unmarshal(theirs["method"], &method) != nil || method != m.Method || (m.RawID == "") != (m.Kind == "notice") {
				t.Fatalf("%q: %+v", line, m)
			}
		default:
			t.Fatalf("%q: %+v", line, m)
		}
	})
}
