package proxy_test

import (
	"testing"

	"github.com/gatewright/gatewright/gateway/proxy"
)

// TestAnAbsoluteTargetLeadsNowhere: in absolute form the target names the host, whatever the Host header says (RFC 9112 3.2.2).
// Such a target is no plain path, so that it leads nowhere and cannot be read in two ways.
func TestAnAbsoluteTargetLeadsNowhere(t *testing.T) {
	addr := port(t, nil)
	for _, target := range []string{"http://localhost/health", "http://evil.example/health", "https://localhost/health", "http:///health", "//localhost/health", "localhost:80", "*", "/health/../health", "/%68ealth", "/health/", "/health?x", "/HEALTH"} {
		want := 401
		if target == "/health?x" {
			want = 200
		}
		statuses, _ := speak(t, addr, "GET "+target+" HTTP/1.1\r\n"+host+"\r\n", 1)
		if len(statuses) != 1 || statuses[0] != want && !(statuses[0] == 400 && want == 401) {
			t.Errorf("%s: %v, want %d", target, statuses, want)
		}
	}
}

// panicking is a dialect with a defect.
type panicking struct{}

func (panicking) Serve(*proxy.Exchange) { panic("defect at /secret") }

func TestADefectInADialectEndsOneConnectionAndNotTheGateway(t *testing.T) {
	_, addr, _ := open(t, func() error { return nil }, map[string]proxy.Route{"mcp": panicking{}}, proxy.Config{})
	statuses, _ := speak(t, addr, "POST /mcp HTTP/1.1\r\n"+host+"Content-Length: 0\r\n\r\n"+second, 2)
	if len(statuses) > 0 && statuses[0] != 500 {
		t.Errorf("answered %v", statuses)
	}
	if statuses, _ := speak(t, addr, "GET /health HTTP/1.1\r\n"+host+"\r\n", 1); len(statuses) != 1 || statuses[0] != 200 {
		t.Fatalf("after it: %v", statuses)
	}
}
