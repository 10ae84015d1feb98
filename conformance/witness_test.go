package conformance_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// ownKeys are the gateway's keys as a witness, as the control port shows them.
func (g *Gateway) ownKeys(t testing.TB) []string {
	t.Helper()
	status, body := fetch(t, g.Control+"/api/v1/ledger/witnesses", g.Admin())
	var standing struct{ Keys []string }
	if err := json.Unmarshal([]byte(body), &standing); err != nil || status != http.StatusOK || len(standing.Keys) != 2 {
		t.Fatal(status, body, err)
	}
	return standing.Keys
}

// watching is a gateway.hcl of a witness for one log.
func watching(origin, key string) string {
	return fmt.Sprintf("witness {\n  rate = 1000\n  burst = 1000\n  log \"x\" {\n    origin = %q\n    keys = [%q]\n  }\n}\n", origin, key)
}

// TestTesseraIsWitnessedByTheGateway lets Tessera write a log and ask the gateway to cosign it, with Tessera's own
// client; the answers are read by others' note packages, and the gateway remembers over a kill.
func TestTesseraIsWitnessedByTheGateway(t *testing.T) {
	t.Parallel()
	referees(t)
	const origin = "tessera.example/log"
	base := t.TempDir()
	log, twin := filepath.Join(base, "log"), filepath.Join(base, "twin")
	logKey := strings.TrimSpace(accepted(t, nil, nil, "hand", twin, origin, "3"))
	edit(t, twin+".key", func(b []byte) []byte { put(t, log+".key", b); return b })
	g := start(t, Setup{HCL: watching(origin, logKey)})
	keys := g.ownKeys(t)
	size := 0
	for range 3 {
		out := accepted(t, nil, nil, "log", log, origin, "20", g.Control+"/witness", keys[0])
		_, published, _ := strings.Cut(out, "\n")
		if read := accepted(t, []byte(published), nil, "note", logKey, keys[0]); !strings.Contains(read, " at ") {
			t.Errorf("no time in %q", read)
		}
		status, seen := fetch(t, g.Control+"/witness/"+originHash(origin)+"/checkpoint", "")
		if status != http.StatusOK {
			t.Fatal(status, seen)
		}
		accepted(t, []byte(seen), nil, "note", logKey, keys[0], keys[1])
		now := checkpointSize(t, seen)
		if now <= size {
			t.Errorf("after %d leaves %d", size, now)
		}
		size = now
		if err := g.Kill(); err != nil {
			t.Fatal(err)
		}
		g.Restart(t)
		if _, again := fetch(t, g.Control+"/witness/"+originHash(origin)+"/checkpoint", ""); again != seen {
			t.Errorf("after a kill:\n%s\nbefore:\n%s", again, seen)
		}
	}
	accepted(t, nil, nil, "fsck", log, origin, logKey)

	// The twin is another log under the same name and key: what a log shows whom it wants to deceive.
	for _, old := range []int{0, 3, size} {
		body := fmt.Sprintf("old %d\n\n%s", old, content(t, filepath.Join(twin, "checkpoint")))
		status, answer := post(t, g.Control+"/witness/add-checkpoint", body)
		if status != http.StatusConflict && status != http.StatusBadRequest || strings.Contains(answer, "\u2014") {
			t.Errorf("old %d: %d %s", old, status, answer)
		}
	}
	if status, answer := post(t, g.Control+"/witness/add-checkpoint", "old 0\n\n"+strings.Replace(content(t, filepath.Join(log, "checkpoint")), origin, "unknown.example", 1)); status != http.StatusNotFound {
		t.Error("an unknown log:", status, answer)
	}
}

// TestAGatewayWithoutLogsWitnessesNothing: whoever asks, and for whatever, it is not there.
func TestAGatewayWithoutLogsWitnessesNothing(t *testing.T) {
	t.Parallel()
	g := shared(t)
	for _, path := range []string{"add-checkpoint", originHash("x") + "/checkpoint"} {
		if status, answer := post(t, g.Control+"/witness/"+path, "old 0\n\nx\n0\nx\n\n"); status != http.StatusNotFound && status != http.StatusMethodNotAllowed {
			t.Error(path, status, answer)
		}
		if status, answer := fetch(t, g.Control+"/witness/"+path, ""); status != http.StatusNotFound && status != http.StatusMethodNotAllowed {
			t.Error(path, status, answer)
		}
	}
}

// TestTheRateOfSubmissionsIsBounded by address, before anything is read.
func TestTheRateOfSubmissionsIsBounded(t *testing.T) {
	t.Parallel()
	g := start(t, Setup{HCL: strings.Replace(watching("x.example", "x.example/log+3588b00f+AQV3kb0n83lG9dY9k+HjF0Onm9wcHrPUrKBVGR8jRkKO"), "rate = 1000\n  burst = 1000", "rate = 0.1\n  burst = 2", 1)})
	var got []int
	for range 4 {
		status, _ := post(t, g.Control+"/witness/add-checkpoint", "")
		got = append(got, status)
	}
	if fmt.Sprint(got) != "[400 400 429 429]" {
		t.Error(got)
	}
}

// post sends a body without a key.
func post(t testing.TB, url, body string) (int, string) {
	t.Helper()
	res, err := http.Post(url, "text/plain", strings.NewReader(body)) //nolint:noctx // a test's own deadline holds
	must(t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	must(t, err)
	return res.StatusCode, string(b)
}

func content(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	must(t, err)
	return string(b)
}

func put(t testing.TB, name string, b []byte) {
	t.Helper()
	must(t, os.WriteFile(name, b, 0o600))
}

// checkpointSize reads the second line of a checkpoint.
func checkpointSize(t testing.TB, note string) (n int) {
	t.Helper()
	_, err := fmt.Sscan(strings.SplitN(note, "\n", 3)[1], &n)
	must(t, err)
	return n
}
