package publish

// TLS against a real Mosquitto that wants a client's certificate: whom the client
// refuses, and what it says when it is refused itself.

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
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

// lay signs a certificate, lays it down with its key, and gives the files.
func (a *authority) lay(t testing.TB, dir, name string, c *x509.Certificate) (cert, key string, serial *big.Int) {
	t.Helper()
	c.Subject = pkix.Name{CommonName: name}
	der, k := a.sign(t, c)
	cert, key = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
	for path, block := range map[string]*pem.Block{
		cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "EC PRIVATE KEY", Bytes: must(x509.MarshalECPrivateKey(k))},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key, c.SerialNumber
}

func TestTLSRefusals(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	home := x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	elsewhere := x509.Certificate{DNSNames: []string{"elsewhere"}, ExtKeyUsage: home.ExtKeyUsage}
	expired := home
	expired.NotBefore, expired.NotAfter = time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour)
	client := x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	dir := t.TempDir()
	good, goodKey, _ := ca.lay(t, dir, "good", &client)
	gone, goneKey, serial := ca.lay(t, dir, "gone", &client)
	crl := must(x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(time.Hour),
		RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: serial, RevocationTime: time.Now().Add(-time.Minute)}},
	}, ca.cert, ca.key))

	for name, c := range map[string]struct {
		server x509.Certificate
		scheme string
		tls    TLSConfig
		fails  string // "": it connects
	}{
		"all is well":       {home, "tls", TLSConfig{CA: ca.file, Cert: good, Key: goodKey}, ""},
		"wrong host":        {elsewhere, "tls", TLSConfig{CA: ca.file, Cert: good, Key: goodKey}, "check the host's name in mqtt.broker and mqtt.tls.ca"},
		"expired":           {expired, "tls", TLSConfig{CA: ca.file, Cert: good, Key: goodKey}, "certificate has expired"},
		"unknown CA":        {home, "tls", TLSConfig{CA: other.file, Cert: good, Key: goodKey}, "certificate signed by unknown authority"},
		"revoked client":    {home, "tls", TLSConfig{CA: ca.file, Cert: gone, Key: goneKey}, "revoked"},
		"no client's paper": {home, "tls", TLSConfig{CA: ca.file}, "certificate required"},
		"plain text":        {home, "tcp", TLSConfig{}, "; if this port is for TLS, write tls:// in mqtt.broker"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMosquitto(t).(*mosquitto)
			cert, key, _ := ca.lay(t, m.dir, "server", &c.server)
			list := filepath.Join(m.dir, "crl.pem")
			_, port, _ := net.SplitHostPort(m.plain)
			conf := fmt.Sprintf("persistence false\nallow_anonymous true\nlistener %s 127.0.0.1\ncafile %s\ncertfile %s\nkeyfile %s\ncrlfile %s\nrequire_certificate true\n",
				port, filepath.Join(m.dir, "ca.pem"), cert, key, list)
			for path, b := range map[string][]byte{
				filepath.Join(m.dir, "ca.pem"): must(os.ReadFile(ca.file)), filepath.Join(m.dir, "conf"): []byte(conf),
				list: pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: crl}),
			} {
				if err := os.WriteFile(path, b, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			m.launch(t, func() bool {
				conn, err := net.Dial("tcp", m.plain)
				if err == nil {
					_ = conn.Close()
				}
				return err == nil
			})
			conf2 := testConfig(c.scheme + "://" + m.plain)
			conf2.Username, conf2.Password = "", ""
			conf2.ConnectTimeout = 2 * time.Second
			if c.scheme == "tls" {
				conf2.TLS = must(c.tls.Load())
			}
			p := open(t, conf2)
			put(t, p, 1, 1)
			if c.fails == "" {
				await(t, "the result to be taken", func() bool { return p.Stats().Messages == 0 })
				return
			}
			await(t, "the refusal", func() bool { return strings.Contains(p.Stats().LastError, c.fails) })
			if s := p.Stats(); s.Messages != 1 || s.Connected {
				t.Errorf("%+v", s)
			}
		})
	}
}
