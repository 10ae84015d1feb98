package control_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/control"
)

func writePair(t *testing.T, dir string, serial int64) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// serial connects once and returns the serial number of the certificate it was shown.
func serial(t *testing.T, addr string, highest uint16) (int64, error) {
	t.Helper()
	conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, MaxVersion: highest}) //nolint:gosec // the test looks at the certificate itself
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64(), nil
}

func TestTLSRefusesOldVersionsAndReloadsItsCertificate(t *testing.T) {
	if _, _, err := control.TLSConfig("nowhere", "nowhere", tls.VersionTLS13); err == nil {
		t.Error("a missing certificate was accepted")
	}
	dir := t.TempDir()
	certFile, keyFile := writePair(t, dir, 1)
	if _, _, err := control.TLSConfig(certFile, keyFile, tls.VersionTLS11); err == nil {
		t.Error("TLS 1.1 was accepted")
	}
	cfg, cert, err := control.TLSConfig(certFile, keyFile, tls.VersionTLS13)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	srv := control.Server(w.api.Handler())
	srv.ErrorLog = log.New(io.Discard, "", 0) // failed handshakes are the point
	go func() { _ = srv.Serve(tls.NewListener(l, cfg)) }()
	t.Cleanup(func() { _ = srv.Close() })
	addr := l.Addr().String()
	if _, err := serial(t, addr, tls.VersionTLS12); err == nil {
		t.Error("a TLS 1.2 client got in")
	}
	if n, err := serial(t, addr, tls.VersionTLS13); err != nil || n != 1 {
		t.Errorf("serial %d, %v", n, err)
	}
	if err := os.WriteFile(certFile, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := cert.Reload(); err == nil {
		t.Error("a broken certificate was loaded")
	}
	if n, err := serial(t, addr, tls.VersionTLS13); err != nil || n != 1 {
		t.Errorf("after a failed reload: serial %d, %v", n, err)
	}
	writePair(t, dir, 2)
	if err := cert.Reload(); err != nil {
		t.Fatal(err)
	}
	if n, err := serial(t, addr, tls.VersionTLS13); err != nil || n != 2 {
		t.Errorf("after a reload: serial %d, %v", n, err)
	}
}
