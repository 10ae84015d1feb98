package conformance_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const checkpointsOrigin = "gatewright.local/ledger/_checkpoints/main"

// witnessedBy is a gateway.hcl of a ledger with one witness.
func witnessedBy(url, key string, required bool) string {
	return fmt.Sprintf("ledger {\n  witness \"peer\" {\n    url = %q\n    key = %q\n    required = %v\n  }\n}\n", url, key, required)
}

// pairOfPeers are a gateway and another that witnesses its ledger.
func pairOfPeers(t *testing.T) (g, peer *Gateway) {
	t.Helper()
	g = start(t, Setup{})
	g.Stop(t)
	peer = start(t, Setup{HCL: watching(checkpointsOrigin, g.instanceKey(t))})
	g.Setup.HCL = witnessedBy(peer.Control+"/witness", peer.ownKeys(t)[0], false)
	g.Restart(t)
	return g, peer
}

// cosigned waits until the peer cosigned a checkpoint beyond a size, and returns its size.
func (g *Gateway) cosigned(t *testing.T, peer *Gateway, beyond int) (size int) {
	t.Helper()
	waitFor(t, "a cosignature", func() bool {
		who := g.newAgent(t)
		_, tok := who.planned(t, step("demo", "calculate", `{"expression":"1"}`))
		who.call(t, "demo", "calculate", `{"expression":"1"}`, tok.Token).ok(t)
		size = seenBy(t, peer)
		time.Sleep(500 * time.Millisecond)
		return size > beyond
	})
	return size
}

// seenBy is the size of the latest checkpoint that the peer cosigned, 0 before the first.
func seenBy(t *testing.T, peer *Gateway) int {
	t.Helper()
	status, note := fetch(t, peer.Control+"/witness/"+originHash(checkpointsOrigin)+"/checkpoint", "")
	if status != http.StatusOK {
		return 0
	}
	return checkpointSize(t, note)
}

// TestALedgerThatWasPutBackIsRefused: an older copy of the whole data folder is sound in itself; only the witness knows
// better. What it cosigned is read by others' programs, and a ledger that grew goes on.
func TestALedgerThatWasPutBackIsRefused(t *testing.T) {
	t.Parallel()
	referees(t)
	g, peer := pairOfPeers(t)
	first := g.cosigned(t, peer, 0)
	published := filepath.Join(g.Dir, "ledger", "_checkpoints", "checkpoint")
	waitFor(t, "a published cosignature", func() bool {
		return verdictOf(t, []byte(content(t, published)), nil, "note", g.instanceKey(t), peer.ownKeys(t)[0]).ok
	})
	if r := g.run(t, "", nil, "ledger", "witness", "--now", "--url", g.Control); r.code != 0 || !strings.Contains(r.out, "peer") {
		t.Errorf("ledger witness --now: %+v", r)
	}
	g.Stop(t)
	older := filepath.Join(t.TempDir(), "older")
	must(t, os.CopyFS(older, os.DirFS(g.Dir)))
	g.Restart(t) // a ledger as it was cosigned starts
	g.cosigned(t, peer, first+2)
	g.Stop(t) // which publishes once more
	last := seenBy(t, peer)
	newer := filepath.Join(t.TempDir(), "newer")
	must(t, os.Rename(g.Dir, newer))
	must(t, os.CopyFS(g.Dir, os.DirFS(older)))
	for range 2 { // refusing changes nothing
		code, text := refusedStart(t, Setup{Dir: g.Dir, HCL: g.Setup.HCL})
		line := text[strings.LastIndex(strings.TrimSpace(text), "\n")+1:]
		for _, want := range []string{"behind what was cosigned", fmt.Sprintf("checkpoint of %d", last), "gatewright ledger restore"} {
			if code != 1 || !strings.Contains(line, want) {
				t.Fatalf("exit %d, no %q in %q", code, want, text)
			}
		}
	}
	must(t, os.RemoveAll(g.Dir))
	must(t, os.Rename(newer, g.Dir))
	g.Restart(t)
	g.Stop(t)
	peer.Stop(t)
	g.Restart(t) // its witness is away, and not required
	g.Stop(t)
	if code, text := refusedStart(t, Setup{Dir: g.Dir, HCL: strings.Replace(g.Setup.HCL, "required = false", "required = true", 1)}); code != 1 || !strings.Contains(text, "a required witness did not answer") {
		t.Errorf("exit %d: %s", code, text)
	}
	if v := g.verifyLedger(t); v.code != 0 {
		t.Errorf("ledger verify: %+v", v)
	}
}
