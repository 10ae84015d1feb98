package server_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/config"
)

// authority signs client certificates.
type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T, file string) *authority {
	t.Helper()
	a := &authority{t: t}
	a.key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "clients"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	a.cert, _ = x509.ParseCertificate(der)
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}

// client makes a client's certificate with a name in it.
func (a *authority) client(uri string, more ...func(*x509.Certificate)) *tls.Certificate {
	a.t.Helper()
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	at, _ := url.Parse(uri)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), URIs: []*url.URL{at},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	for _, change := range more {
		change(c)
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	leaf, _ := x509.ParseCertificate(der)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// ask lists tools with a certificate and headers, and gives the status; 0 when there is no connection.
func (r *running) ask(cert *tls.Certificate, head map[string]string) int {
	r.t.Helper()
	roots := x509.NewCertPool()
	b, _ := os.ReadFile(r.options.Config.Proxy.TLSCert)
	roots.AppendCertsFromPEM(b)
	conf := &tls.Config{RootCAs: roots}
	if cert != nil {
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil } // whatever is asked for
	}
	way := &http.Transport{TLSClientConfig: conf}
	defer way.CloseIdleConnections()
	q, _ := http.NewRequestWithContext(r.t.Context(), http.MethodPost, r.g.URL()+"/mcp", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`))
	q.Header.Set("Content-Type", "application/json")
	q.Header.Set("Accept", "application/json, text/event-stream")
	for k, v := range head {
		q.Header.Set(k, v)
	}
	resp, err := way.RoundTrip(q)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// mutual is a gateway under TLS that takes client certificates of an authority; the agent "worker" is the one of a name.
func mutual(t *testing.T, change func(*config.Config)) (r *running, ca *authority, worker, key, otherKey string) {
	t.Helper()
	dir := t.TempDir()
	certificate(t, dir, 1)
	ca = newAuthority(t, filepath.Join(dir, "clients.pem"))
	o, out, log := options(t, func(c *config.Config) {
		c.Proxy.TLSCert, c.Proxy.TLSKey, c.Proxy.ClientCA = filepath.Join(dir, "cert"), filepath.Join(dir, "key"), filepath.Join(dir, "clients.pem")
		c.ClientCertificates = map[string]config.ClientCertificate{"worker": {Tenant: "demo", Agent: "worker", SAN: "uri:spiffe://example/worker"}}
		if change != nil {
			change(c)
		}
	})
	r = run(t, o, out, log)
	admin := r.env["GATEWRIGHT_ADMIN_KEY"]
	var made struct{ ID string }
	r.control("POST", "/api/v1/agents", admin, `{"name":"worker"}`, 201, &made)
	r.control("PUT", "/api/v1/agents/"+made.ID+"/status", admin, `{"status":"active"}`, 200, nil)
	var shown struct{ Secret string }
	r.control("POST", "/api/v1/keys", admin, `{"agent":"`+made.ID+`","name":"k","mode":"test"}`, 201, &shown)
	return r, ca, made.ID, shown.Secret, r.env["GATEWRIGHT_API_KEY"]
}

func TestACertificateIsItsAgentAndNoOther(t *testing.T) {
	r, ca, worker, key, otherKey := mutual(t, nil)
	mine, strange := ca.client("spiffe://example/worker"), ca.client("spiffe://example/else")
	other := newAuthority(t, filepath.Join(t.TempDir(), "other.pem")).client("spiffe://example/worker")
	late := ca.client("spiffe://example/worker", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	server := ca.client("spiffe://example/worker", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
	bearer := func(key string) map[string]string { return map[string]string{"Authorization": "Bearer " + key} }
	for _, c := range []struct {
		name string
		cert *tls.Certificate
		head map[string]string
		want int
	}{
		{"its own, alone", mine, nil, 200},
		{"of another authority", other, nil, 0},
		{"of another authority, with a good key", other, bearer(key), 0},
		{"expired", late, nil, 0},
		{"not for clients", server, nil, 0},
		{"nobody's", strange, nil, 401},
		{"none and no key", nil, nil, 401},
		{"none, with a key", nil, bearer(key), 200},
		{"with its agent's key", mine, bearer(key), 200},
		{"with another agent's key", mine, bearer(otherKey), 401},
		{"nobody's, with a key", strange, bearer(key), 200},
		{"with a key that is none", mine, bearer("ak_test_nonsense"), 401},
		{"with a password", mine, map[string]string{"Authorization": "Basic eDp5"}, 401},
		{"with an empty key", mine, map[string]string{"X-API-Key": ""}, 401},
		{"with two keys", mine, map[string]string{"Authorization": "Bearer " + key, "X-API-Key": otherKey}, 401},
	} {
		if got := r.ask(c.cert, c.head); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
	r.control("PUT", "/api/v1/agents/"+worker+"/status", r.env["GATEWRIGHT_ADMIN_KEY"], `{"status":"suspended"}`, 200, nil)
	if got := r.ask(mine, nil); got != 401 {
		t.Errorf("its agent is suspended: %d", got)
	}
}

func TestAnOrganisationCanRequireCertificates(t *testing.T) {
	r, ca, _, key, otherKey := mutual(t, func(c *config.Config) { c.Proxy.ClientCertRequired = []string{"demo"} })
	mine, strange := ca.client("spiffe://example/worker"), ca.client("spiffe://example/else")
	bearer := func(key string) map[string]string { return map[string]string{"Authorization": "Bearer " + key} }
	if a, b, c, d, e := r.ask(nil, bearer(key)), r.ask(strange, bearer(key)), r.ask(mine, bearer(key)), r.ask(mine, nil), r.ask(mine, bearer(otherKey)); a != 401 || b != 401 || c != 200 || d != 200 || e != 401 {
		t.Errorf("key alone %d, with nobody's certificate %d, with its own %d, certificate alone %d, with another's key %d", a, b, c, d, e)
	}
}

func TestAPinnedKeyIsNotAName(t *testing.T) {
	var pinned string
	r, ca, _, _, _ := mutual(t, func(c *config.Config) {
		c.ClientCertificates = map[string]config.ClientCertificate{"worker": {Tenant: "demo", Agent: "worker", SPKI: strings.Repeat("00", 32)}}
		pinned = c.Data.Dir
	})
	mine := ca.client("spiffe://example/worker")
	if got := r.ask(mine, nil); got != 401 {
		t.Errorf("another key: %d", got)
	}
	r.stop()
	sum := sha256.Sum256(mine.Leaf.RawSubjectPublicKeyInfo)
	o := r.options
	o.Config.ClientCertificates = map[string]config.ClientCertificate{"worker": {Tenant: "demo", Agent: "worker", SPKI: hex.EncodeToString(sum[:])}}
	o.Config.Data.Dir = pinned
	r = run(t, o, r.out, r.log)
	if a, b := r.ask(mine, nil), r.ask(ca.client("spiffe://example/worker"), nil); a != 200 || b != 401 {
		t.Errorf("the pinned key %d, another of the same name %d", a, b)
	}
}

func TestATokenBoundToACertificateIsGoodWithItAlone(t *testing.T) {
	public, private, _ := ed25519.GenerateKey(rand.Reader)
	b64 := base64.RawURLEncoding.EncodeToString
	keys := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k1","x":"` + b64(public) + `"}]}`))
	}))
	defer keys.Close()
	r, ca, _, _, _ := mutual(t, func(c *config.Config) {
		s := config.DefaultAuthorizationServer()
		s.Tenant, s.Issuer, s.JWKSURL, s.AllowPrivate = "demo", "https://auth.example", keys.URL, true
		s.Agents = []string{"c1=worker"}
		c.AuthorizationServers = map[string]config.AuthorizationServer{"corp": s}
		c.ClientCertificates = nil
	})
	mine, other := ca.client("spiffe://example/a"), ca.client("spiffe://example/b")
	sum := sha256.Sum256(mine.Certificate[0])
	now := time.Now().Unix()
	claims, _ := json.Marshal(map[string]any{
		"iss": "https://auth.example", "aud": r.g.URL(), "client_id": "c1", "iat": now, "exp": now + 60, "cnf": map[string]any{"x5t#S256": b64(sum[:])},
	})
	text := b64([]byte(`{"alg":"EdDSA","typ":"at+jwt","kid":"k1"}`)) + "." + b64(claims)
	head := map[string]string{"Authorization": "Bearer " + text + "." + b64(ed25519.Sign(private, []byte(text)))}
	if a, b, c := r.ask(mine, head), r.ask(other, head), r.ask(nil, head); a != 200 || b != 401 || c != 401 {
		t.Errorf("its certificate %d, another %d, none %d", a, b, c)
	}
}

func TestACertificateThatIsTwoAgentsIsNobody(t *testing.T) {
	r, ca, _, key, _ := mutual(t, func(c *config.Config) {
		c.ClientCertificates["other"] = config.ClientCertificate{Tenant: "demo", Agent: "demo-agent", SAN: "dns:worker.example"}
	})
	both := ca.client("spiffe://example/worker", func(c *x509.Certificate) { c.DNSNames = []string{"worker.example"} })
	if a, b := r.ask(both, nil), r.ask(both, map[string]string{"Authorization": "Bearer " + key}); a != 401 || b != 401 {
		t.Errorf("alone %d, with a key %d", a, b)
	}
}

func TestKeysAreNotFetchedFromWhereTheGatewayAloneCanReach(t *testing.T) {
	public, private, _ := ed25519.GenerateKey(rand.Reader)
	b64 := base64.RawURLEncoding.EncodeToString
	asked := 0
	keys := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		_, _ = w.Write([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k1","x":"` + b64(public) + `"}]}`))
	}))
	defer keys.Close()
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: keys.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	status := func(allow bool) (int, string) {
		o, out, log := options(t, func(c *config.Config) {
			s := config.DefaultAuthorizationServer()
			s.Tenant, s.Issuer, s.JWKSURL, s.AllowPrivate, s.Agent, s.AgentClaim = "demo", "https://auth.example", keys.URL, allow, "demo-agent", ""
			c.AuthorizationServers, c.Upstream.RootCAFile = map[string]config.AuthorizationServer{"corp": s}, ca
		})
		r := run(t, o, out, log)
		now := time.Now().Unix()
		claims, _ := json.Marshal(map[string]any{"iss": "https://auth.example", "aud": r.g.URL(), "iat": now, "exp": now + 60})
		text := b64([]byte(`{"alg":"EdDSA","typ":"at+jwt","kid":"k1"}`)) + "." + b64(claims)
		return r.ask(nil, map[string]string{"Authorization": "Bearer " + text + "." + b64(ed25519.Sign(private, []byte(text)))}), log.String()
	}
	if got, log := status(false); got != 401 || asked != 0 || !strings.Contains(log, "loopback or private address") {
		t.Errorf("%d, asked %d times\n%s", got, asked, log)
	}
	if got, log := status(true); got != 200 || asked != 1 {
		t.Errorf("where it is allowed: %d, asked %d times\n%s", got, asked, log)
	}
}
