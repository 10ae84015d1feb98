package cli_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestProgramsAreSignedInOverTheControlPort(t *testing.T) {
	h := newHouse(t)
	var seen []string
	h.control.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		seen = append(seen, strings.TrimSpace(r.Method+" "+r.URL.Path+" "+string(b)))
		one := `{"code":"BCDF-GHJK","state":"STATE","source":"192.0.2.1\u001b[31m","created":"2026-01-01T00:00:00Z","expires":"2026-01-01T00:10:00Z","agent":"agt_1","key":"key_1"}`
		switch {
		case strings.Contains(r.URL.Path, "ZZZZ"):
			answer(w, 404, `{"code":"not_found","detail":"there is no such thing in this organisation","record":"rec_1"}`)
		case strings.HasSuffix(r.URL.Path, "/approve"):
			answer(w, 200, strings.Replace(one, "STATE", "approved", 1))
		case strings.HasSuffix(r.URL.Path, "/deny"):
			answer(w, 200, strings.Replace(one, "STATE", "denied", 1))
		default:
			answer(w, 200, strings.Replace(one, "STATE", "pending", 1))
		}
	})
	asked := "BCDF-GHJK: a program at 192.0.2.1[31m asked at 2026-01-01T00:00:00Z\n"
	for _, c := range []struct {
		out, errOut string
		args        []string
	}{
		{"BCDF-GHJK approved agt_1 key_1\n", asked + "hint: gatewright agent revoke-key key_1 takes it back\n", []string{"agent", "approve", "bcdfghjk", "--agent", "agt_1"}},
		{"BCDF-GHJK approved agt_1 key_1\n", asked + "hint: gatewright agent revoke-key key_1 takes it back\n", []string{"agent", "approve", "BCDF-GHJK", "--name", "laptop"}},
		{"BCDF-GHJK denied\n", asked, []string{"agent", "deny", "bcdf-ghjk"}},
	} {
		if o := h.run(t, c.args...); o.code != 0 || o.out != c.out || o.errOut != c.errOut {
			t.Errorf("%q:\n got %q (exit %d, %q)\nwant %q", c.args, o.out, o.code, o.errOut, c.out)
		}
	}
	h.fails(t, 1, "not_found", "agent", "approve", "ZZZZ-ZZZZ")
	h.fails(t, 2, "is no code", "agent", "approve", "BCDF")
	h.fails(t, 2, "is no code", "agent", "deny", "1234-5678")
	h.fails(t, 2, "--agent", "agent", "approve", "BCDF-GHJK", "--agent", "agt_1", "--name", "x")
	want := strings.Join([]string{
		"GET /api/v1/device-codes/BCDF-GHJK", `POST /api/v1/device-codes/BCDF-GHJK/approve {"agent":"agt_1"}`,
		"GET /api/v1/device-codes/BCDF-GHJK", `POST /api/v1/device-codes/BCDF-GHJK/approve {"name":"laptop"}`,
		"GET /api/v1/device-codes/BCDF-GHJK", "POST /api/v1/device-codes/BCDF-GHJK/deny", "GET /api/v1/device-codes/ZZZZ-ZZZZ",
	}, "\n")
	if got := strings.Join(seen, "\n"); got != want {
		t.Errorf("sent\n%s\nwant\n%s", got, want)
	}
}
