package connector_test

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"github.com/gatewright/gatewright/plugins/connector"
	"pgregory.net/rapid"
)

func TestACallSurvivesTheWire(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		field := func(name string) []byte {
			if b := rapid.SliceOfN(rapid.Byte(), 0, 50).Draw(t, name); len(b) > 0 {
				return b
			}
			return nil
		}
		want := connector.Request{
			Method: rapid.String().Draw(t, "method"), Name: rapid.String().Draw(t, "name"), Principal: rapid.String().Draw(t, "principal"),
			Params: field("params"), Arguments: field("arguments"), Meta: field("meta"),
		}
		for range rapid.IntRange(0, 5).Draw(t, "headers") {
			want.Headers = append(want.Headers, [2]string{rapid.String().Draw(t, "header"), rapid.String().Draw(t, "value")})
		}
		id, ms := rapid.Uint64().Draw(t, "id"), rapid.Uint32().Draw(t, "ms")
		kinds, ids, bodies, err := connector.ReadFrames(connector.CallFrame(id, &want, ms))
		if err != nil || len(kinds) != 1 || kinds[0] != connector.KindCall || ids[0] != id {
			t.Fatalf("frames %v %v, %v", kinds, ids, err)
		}
		var got connector.Request
		timeout, err := connector.ParseCall(bodies[0], &got)
		if err != nil || !reflect.DeepEqual(got, want) || uint32(timeout.Milliseconds()) != ms {
			t.Fatalf("got %+v, %v, %v", got, timeout, err)
		}
	})
}

// TestWhatMayHoldCredentialsIsWiped when it is kept for another use.
func TestWhatMayHoldCredentialsIsWiped(t *testing.T) {
	for name, release := range map[string]func([]byte){"a batch": connector.ReleaseBatch, "a call": connector.ReleaseCall} {
		b := bytes.Repeat([]byte("secret"), 50<<10)
		release(b)
		if bytes.Contains(b, []byte("s")) {
			t.Errorf("%s is not wiped", name)
		}
	}
}

// FuzzFrame reads messages as both ends would. What is read must be within the
// message and say again, written anew, what it said.
func FuzzFrame(f *testing.F) {
	full := connector.Request{
		Method: "tools/call", Name: "x", Principal: "p", Params: []byte("{}"), Arguments: []byte("{}"), Meta: []byte("{}"),
		Headers: [][2]string{{"a", "b"}, {"", ""}},
	}
	f.Add(connector.CallFrame(1, &full, 30))
	f.Add(append(connector.CallFrame(2, &tool, 0), connector.Frame(connector.KindCancel, 2)...))
	f.Add(connector.Frame(connector.KindFailure, 3, []byte("\x01\x00gone")...))
	f.Add(connector.Frame(connector.KindReply, 4, []byte("\x00{}")...))
	f.Add(hello)
	f.Fuzz(func(t *testing.T, message []byte) {
		kinds, ids, bodies, err := connector.ReadFrames(message)
		if err != nil {
			return
		}
		var again []byte
		for i, kind := range kinds {
			again = append(again, connector.Frame(kind, ids[i], bodies[i]...)...)
			switch kind {
			case connector.KindCall:
				var r connector.Request
				if timeout, err := connector.ParseCall(bodies[i], &r); err == nil {
					if frame := connector.CallFrame(ids[i], &r, uint32(timeout.Milliseconds())); !bytes.Equal(frame[13:], bodies[i]) {
						t.Errorf("a call read as %+v is %q, was %q", r, frame[13:], bodies[i])
					}
				}
			case connector.KindFailure:
				if fail, err := connector.ParseFailure(bodies[i]); (err == nil) != (fail != nil) || fail != nil && errors.Unwrap(fail) != nil {
					t.Errorf("a failure is read as %+v, %v", fail, err)
				}
			}
		}
		if !bytes.Equal(again, message) {
			t.Errorf("%q became %q", message, again)
		}
	})
}
