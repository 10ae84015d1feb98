package immunity_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestC9TheDataPortSpeaksNoHTTP2: rapid reset (CVE-2023-44487) and CONTINUATION floods (CVE-2024-24549 and its like) cost a
// server of HTTP/2 what a client does not pay. The data port offers HTTP/1.1 alone: ALPN agrees on nothing else, and the
// preface on a TLS connection is an error after which it is closed. On plaintext the corpus says the same.
func TestC9TheDataPortSpeaksNoHTTP2(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert, private := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, private: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g := start(t, fmt.Sprintf("proxy {\n  tls_cert = %q\n  tls_key = %q\n}\n", cert, private))
	addr := strings.TrimPrefix(g.url, "https://")
	for _, offered := range [][]string{{"h2"}, {"h2", "http/1.1"}, nil} {
		conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, NextProtos: offered}) // the test made the certificate
		if err != nil {
			continue // it agrees on nothing that was offered
		}
		if p := conn.ConnectionState().NegotiatedProtocol; p == "h2" {
			t.Errorf("of %v it takes %q", offered, p)
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"))
		var said []byte
		for buf := make([]byte, 4096); ; {
			n, err := conn.Read(buf)
			said = append(said, buf[:n]...)
			if err != nil {
				if ne, ok := err.(net.Error); ok && ne.Timeout() { //nolint:errorlint // as net gives it
					t.Errorf("the connection stays open after the preface")
				}
				break
			}
		}
		if !strings.HasPrefix(string(said), "HTTP/1.1 4") {
			t.Errorf("the preface is answered %.100q", said)
		}
		_ = conn.Close()
	}
}
