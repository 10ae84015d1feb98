package upstream_test

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/gateway/upstream"
	"github.com/gatewright/gatewright/plugins/demo/demotest"
)

func pinOf(c *x509.Certificate) string {
	digest := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return "sha256/" + base64.StdEncoding.EncodeToString(digest[:])
}

func TestAServerMustHoldAKeyThatIsPinned(t *testing.T) {
	rec := &recorder{next: demotest.Handler()}
	s := httptest.NewTLSServer(rec)
	t.Cleanup(s.Close)
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	client := newClient(t, func(o *upstream.Options) { o.Config.RootCAFile = file })
	right, wrong := pinOf(s.Certificate()), "sha256/"+strings.Repeat("A", 43)+"="
	call := func(c *upstream.Client, pins ...string) error {
		target := &upstream.Target{Tenant: "demo", Name: "tls", URL: s.URL + demotest.Path, AllowPrivate: true, Pins: pins}
		return c.Call(t.Context(), target, &upstream.Request{Method: "tools/list", Principal: "agt_1"}, new(upstream.Reply))
	}
	for _, pins := range [][]string{nil, {right}, {wrong, right}} {
		if err := call(client, pins...); err != nil {
			t.Errorf("%q: %v", pins, err)
		}
	}
	asked := len(rec.heads)
	// The connections that stand from before carry nothing for a target with other pins.
	if e := wantKind(t, call(client, wrong), upstream.Unreachable); e.Sent || !strings.Contains(e.Detail, "pinned") || len(rec.heads) != asked {
		t.Errorf("got %+v", e)
	}
	// A pin does not stand for a valid chain.
	if e := wantKind(t, call(newClient(t, nil), right), upstream.Unreachable); !strings.Contains(e.Detail, "certificate") {
		t.Errorf("got %+v", e)
	}
	for _, bad := range []string{"", "sha256/", right[7:], "sha1/" + right[7:], right + "=", right[:len(right)-2] + "==", strings.ToUpper(right[:6]) + right[6:], "sha256/" + strings.Repeat("A", 42) + "B="} {
		wantKind(t, call(client, right, bad), upstream.Invalid)
	}
	wantKind(t, call(client, right, right, right, right, right, right, right, right, right), upstream.Invalid)
	plain := &upstream.Target{Tenant: "demo", Name: "plain", URL: "http://127.0.0.1/", AllowPrivate: true, Pins: []string{right}}
	wantKind(t, client.Call(t.Context(), plain, toolCall(), new(upstream.Reply)), upstream.Invalid)
}
