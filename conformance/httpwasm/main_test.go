package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// handler is an http-wasm module whose handle_request returns next, and whose handle_response does nothing.
func handler(next byte) []byte {
	return []byte("\x00asm\x01\x00\x00\x00" +
		"\x01\x0a\x02\x60\x00\x01\x7e\x60\x02\x7f\x7f\x00" + // types () -> i64 and (i32, i32)
		"\x03\x03\x02\x00\x01" + // functions
		"\x05\x03\x01\x00\x01" + // memory
		"\x07\x2d\x03\x06memory\x02\x00\x0ehandle_request\x00\x00\x0fhandle_response\x00\x01" +
		"\x0a\x09\x02\x04\x00\x42" + string(next) + "\x0b\x02\x00\x0b")
}

func TestAFilterStandsInFrontOfAServer(t *testing.T) {
	t.Parallel()
	back := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.Header().Add("X-Seen", r.Method+" "+r.RequestURI+" "+r.Header.Get("X-Sent"))
		w.WriteHeader(http.StatusAccepted)
		_, _ = w.Write(b)
	}))
	defer back.Close()
	for next, want := range map[byte]string{
		1: "202 PUT /a%2Fb?c=d x body",
		0: "200  ",
		2: "500  filter filter: verdict: next is neither 0 nor 1\n",
	} {
		status, seen, body := through(t, handler(next), back.URL)
		if got := strings.Join([]string{status, seen, body}, " "); got != want {
			t.Errorf("next %d: %q, want %q", next, got, want)
		}
	}
}

// through sends a request to a server behind a filter.
func through(t *testing.T, module []byte, back string) (status, seen, body string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "filter.wasm")
	if err := os.WriteFile(path, module, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	out, in := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := run(ctx, []string{"-filter", path, "-next", back}, in)
		_ = in.CloseWithError(err)
		done <- err
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+strings.TrimSpace(line[strings.LastIndex(line, " ")+1:])+"/a%2Fb?c=d", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Sent", "x")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	stop()
	if served := <-done; err != nil || served != nil {
		t.Fatal(err, served)
	}
	return answer.Status[:3], answer.Header.Get("X-Seen"), string(b)
}

func TestWrongArgumentsAreRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "filter.wasm")
	if err := os.WriteFile(path, []byte("no module"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{}, {"-filter", path}, {"-filter", path, "-next", "nowhere"}, {"-filter", path, "-next", "http://127.0.0.1:1"}} {
		if err := run(t.Context(), args, io.Discard); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
}
