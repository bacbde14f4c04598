package web

// Who gets in and who does not: logins, sessions, certificates, other sites, limits.

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

const secret = "correct horse"

// admin is a login whose password is cheap to check.
func admin(t *testing.T) *Login {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(secret), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return &Login{User: "admin", Hash: h}
}

// parts are a whole site that notes its commands.
func parts(did *[]string) Parts {
	return Parts{
		Live: still(), Ready: waiting{}, Pictures: pictures{}, Details: details{}, Allowed: []string{"enabled"},
		Command: func(topic string, body []byte, by string) (int, any) {
			*did = append(*did, topic+" "+string(body)+" "+by)
			return http.StatusOK, map[string]bool{"ok": true}
		},
	}
}

type details struct{}

func (details) Config() any          { return map[string]string{"text": "secret-config"} }
func (details) Log(after uint64) any { return after }
func (details) Model(id string) (any, error) {
	if id != "objects" {
		return nil, &RefusalError{http.StatusNotFound, "no such model"}
	}
	return id, nil
}
func (details) ModelPage(id string) ([]byte, error) { return []byte("<p>" + id), nil }

// siteFor is a handler without a socket, as a listener beyond this machine would have it.
func siteFor(t *testing.T, loopback bool, l *Login, did *[]string) http.Handler {
	t.Helper()
	g := &gate{login: l, loopback: loopback, sessions: NewSessions(), cookie: "edge-agent-1"}
	return handler(t.Context(), parts(did), g, true, quiet())
}

// ask sends a request to a handler; header lines are "Name: value".
func ask(h http.Handler, method, path, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://localhost:1"+path, strings.NewReader(body))
	for _, l := range header {
		name, value, _ := strings.Cut(l, ": ")
		r.Header.Set(name, value)
	}
	a := httptest.NewRecorder()
	h.ServeHTTP(a, r)
	return a
}

const isJSON = "Content-Type: application/json"

// TestWhoSeesWhat holds every path against every way to be there.
func TestWhoSeesWhat(t *testing.T) {
	var did []string
	sites := map[string]http.Handler{
		"here": siteFor(t, true, nil, &did), "beyond": siteFor(t, false, nil, &did),
		"locked": siteFor(t, true, admin(t), &did), "beyond, locked": siteFor(t, false, admin(t), &did),
	}
	for path, want := range map[string]map[string]int{
		"/":                       {"here": 200, "beyond": 200, "locked": 200, "beyond, locked": 200},
		"/healthz":                {"here": 200, "beyond": 200, "locked": 200, "beyond, locked": 200},
		"/readyz":                 {"here": 200, "beyond": 200, "locked": 200, "beyond, locked": 200},
		"/api/session":            {"here": 200, "beyond": 200, "locked": 200, "beyond, locked": 200},
		"/api/state":              {"here": 200, "beyond": 200, "locked": 401, "beyond, locked": 401},
		"/api/snapshot/front":     {"here": 200, "beyond": 403, "locked": 401, "beyond, locked": 401},
		"/api/config":             {"here": 200, "beyond": 403, "locked": 401, "beyond, locked": 401},
		"/api/log":                {"here": 200, "beyond": 403, "locked": 401, "beyond, locked": 401},
		"/api/model/objects":      {"here": 200, "beyond": 403, "locked": 401, "beyond, locked": 401},
		"/api/model/objects/page": {"here": 200, "beyond": 403, "locked": 401, "beyond, locked": 401},
		"/debug/pprof/cmdline":    {"here": 200, "beyond": 403, "locked": 401, "beyond, locked": 401},
	} {
		for name, code := range want {
			if a := ask(sites[name], "GET", path, ""); a.Code != code {
				t.Errorf("%s, GET %s: %d, want %d", name, path, a.Code, code)
			} else if code >= 400 && strings.Contains(a.Body.String(), "secret") {
				t.Errorf("%s, GET %s is refused and tells %s", name, path, a.Body)
			}
		}
	}
	for name, code := range map[string]int{"here": 403, "beyond": 403, "locked": 401, "beyond, locked": 401} {
		for _, path := range []string{"/api/set", "/api/camera/front/set", "/api/model/m/set", "/api/model/m/delegate/set"} {
			if a := ask(sites[name], "POST", path, "{}", isJSON); a.Code != code {
				t.Errorf("%s, POST %s: %d, want %d", name, path, a.Code, code)
			}
		}
	}
	if len(did) > 0 {
		t.Errorf("done without a login: %v", did)
	}
}

// logIn gives the cookie of a session.
func logIn(t *testing.T, h http.Handler) string {
	t.Helper()
	a := ask(h, "POST", "/api/login", `{"username":"admin","password":"`+secret+`"}`, isJSON)
	if a.Code != http.StatusNoContent {
		t.Fatalf("login: %d %s", a.Code, a.Body)
	}
	c := a.Result().Cookies()[0]
	if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.MaxAge != 0 || len(c.Value) < 40 {
		t.Errorf("the session's cookie is %v", c)
	}
	return "Cookie: " + c.Name + "=" + c.Value
}

func TestLoginAndCommand(t *testing.T) {
	var did []string
	h := siteFor(t, false, admin(t), &did)
	for _, body := range []string{
		`{"username":"admin","password":"wrong"}`, `{"username":"root","password":"` + secret + `"}`,
	} {
		if a := ask(h, "POST", "/api/login", body, isJSON); a.Code != 401 || len(a.Result().Cookies()) > 0 {
			t.Errorf("%s: %d", body, a.Code)
		}
	}
	cookie := logIn(t, h)
	for _, path := range []string{"/api/state", "/api/snapshot/front", "/api/config"} {
		if a := ask(h, "GET", path, "", cookie); a.Code != 200 {
			t.Errorf("logged in, %s: %d %s", path, a.Code, a.Body)
		}
	}
	var me account
	if err := json.Unmarshal(ask(h, "GET", "/api/session", "", cookie).Body.Bytes(), &me); err != nil {
		t.Fatal(err)
	}
	if me.User != "admin" || !me.Read || !me.Private || len(me.Act) != 1 || me.Why != "" {
		t.Errorf("session: %+v", me)
	}
	if a := ask(h, "POST", "/api/camera/front/set", `{"enabled":false}`, cookie, isJSON); a.Code != 200 {
		t.Errorf("command: %d %s", a.Code, a.Body)
	}
	if want := `camera/front/set {"enabled":false} admin on the page, from 192.0.2.1`; len(did) != 1 || did[0] != want {
		t.Errorf("did %q, want %q", did, want)
	}
	if a := ask(h, "POST", "/api/logout", "", cookie, isJSON); a.Code != 204 {
		t.Errorf("logout: %d", a.Code)
	}
	if a := ask(h, "GET", "/api/state", "", cookie); a.Code != 401 {
		t.Errorf("after the logout: %d", a.Code)
	}
}

// TestOtherSites: a page of another site can do nothing in the name of who is logged
// in, whatever a browser lets it send.
func TestOtherSites(t *testing.T) {
	var did []string
	h := siteFor(t, true, admin(t), &did)
	cookie := logIn(t, h)
	for _, c := range []struct {
		name   string
		code   int
		header []string
	}{
		{"fetch metadata", 403, []string{isJSON, "Sec-Fetch-Site: cross-site"}},
		{"a sister host", 403, []string{isJSON, "Sec-Fetch-Site: same-site"}},
		{"an old browser", 403, []string{isJSON, "Origin: http://attacker.example"}},
		{"a form", 415, []string{"Content-Type: application/x-www-form-urlencoded"}},
		{"plain text", 415, []string{"Content-Type: text/plain"}},
		{"our own page", 200, []string{isJSON, "Sec-Fetch-Site: same-origin"}},
	} {
		a := ask(h, "POST", "/api/camera/front/set", `{"enabled":false}`, append(c.header, cookie)...)
		if a.Code != c.code {
			t.Errorf("%s: %d %s, want %d", c.name, a.Code, a.Body, c.code)
		}
		if a = ask(h, "POST", "/api/login", `{"username":"admin","password":"`+secret+`"}`, c.header...); (a.Code == 204) != (c.code == 200) {
			t.Errorf("%s may log in: %d", c.name, a.Code)
		}
	}
	if len(did) != 1 {
		t.Errorf("done: %v", did)
	}
	if a := ask(h, "GET", "/api/camera/front/set", "", cookie); a.Code != 405 {
		t.Errorf("a GET that sets: %d", a.Code)
	}
}

func TestFewTries(t *testing.T) {
	h := siteFor(t, true, admin(t), new([]string))
	wrong := `{"username":"admin","password":"guess"}`
	codes := map[int]int{}
	for range 3 * triesAtOnce {
		a := ask(h, "POST", "/api/login", wrong, isJSON)
		if codes[a.Code]++; a.Code == http.StatusTooManyRequests && a.Header().Get("Retry-After") == "" {
			t.Error("it is not said when to try again")
		}
	}
	if codes[401] != triesAtOnce || codes[429] != 2*triesAtOnce {
		t.Errorf("by code: %v", codes)
	}
	// Basic is no way around it.
	if a := ask(h, "GET", "/api/state", "", "Authorization: Basic YWRtaW46Z3Vlc3M="); a.Code != 401 {
		t.Errorf("Basic: %d", a.Code)
	}
	s := NewSessions()
	for i := range 3 * mostRemotes { // an attacker with many addresses
		_ = s.check(t.Context(), admin(t), "admin", "guess", fmt.Sprint(i))
	}
	if len(s.remotes) > mostRemotes {
		t.Errorf("%d addresses are remembered", len(s.remotes))
	}
}

// TestBasic: programs log in with every request, which must not cost a hash each.
func TestBasic(t *testing.T) {
	l := admin(t)
	h := siteFor(t, true, l, new([]string))
	r := func(password string) int {
		q := httptest.NewRequest("GET", "http://localhost/api/state", nil)
		q.SetBasicAuth("admin", password)
		a := httptest.NewRecorder()
		h.ServeHTTP(a, q)
		if a.Code == 401 && !strings.HasPrefix(a.Header().Get("WWW-Authenticate"), "Basic ") {
			t.Errorf("WWW-Authenticate: %s", a.Header().Get("WWW-Authenticate"))
		}
		return a.Code
	}
	for range 4 * triesAtOnce {
		if code := r(secret); code != 200 {
			t.Fatalf("the right password: %d", code)
		}
	}
	if code := r("wrong"); code != 401 {
		t.Errorf("a wrong one: %d", code)
	}
	if code := r(secret); code != 200 {
		t.Errorf("the right one again: %d", code)
	}
	if a := ask(h, "GET", "/api/state", "", "Sec-Fetch-Mode: cors"); strings.Contains(a.Header().Get("WWW-Authenticate"), "Basic") {
		t.Error("a browser would put its own question over the page")
	}
}

func TestSessionsEnd(t *testing.T) {
	l, s := admin(t), NewSessions()
	first := s.begin(l)
	if !s.valid(first, l) || s.valid("", l) || s.valid("x", l) {
		t.Error("a session is not what it was opened as")
	}
	changed := admin(t)
	if other := s.begin(l); s.valid(other, changed) {
		t.Error("it outlives a changed password")
	}
	s.open[s.digest(first)].used = time.Now().Add(-sessionLasts - time.Second)
	if s.valid(first, l) {
		t.Error("it never ends")
	}
	for range 2 * mostSessions {
		first = s.begin(l)
	}
	if len(s.open) > mostSessions || !s.valid(first, l) {
		t.Errorf("%d sessions", len(s.open))
	}
}

func TestHashes(t *testing.T) {
	if _, err := HashPassword("short"); err == nil {
		t.Error("a short password is taken")
	}
	if _, err := HashPassword(strings.Repeat("x", 73)); err == nil {
		t.Error("a password is taken of which bcrypt would read a part")
	}
	h, err := HashPassword(secret)
	if err != nil || CheckHash(h) != nil {
		t.Errorf("%s: %v, %v", h, err, CheckHash(h))
	}
	for _, bad := range []string{"", secret, "$2a$31$" + strings.Repeat("a", 53)} {
		if CheckHash([]byte(bad)) == nil {
			t.Errorf("%q passes for a hash", bad)
		}
	}
}

func TestLoginBodies(t *testing.T) {
	h := siteFor(t, true, admin(t), new([]string))
	for body, code := range map[string]int{
		"": 400, "[]": 400, "{": 400, `{"username":"a"}`: 400, `{"username":1,"password":2}`: 400, strings.Repeat("x", maxBody+1): 413,
	} {
		if a := ask(h, "POST", "/api/login", body, isJSON); a.Code != code {
			t.Errorf("%.20q: %d, want %d", body, a.Code, code)
		}
	}
	if a := ask(siteFor(t, true, nil, new([]string)), "POST", "/api/login", "{}", isJSON); a.Code != 403 {
		t.Errorf("without a login: %d", a.Code)
	}
}

// certificate makes one, signed by parent or itself.
func certificate(t *testing.T, name string, parent *tls.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: parent == nil, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	by, with := c, any(key)
	if parent != nil {
		by, with = parent.Leaf, parent.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, c, by, key.Public(), with)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// TestTLS: https with a login has a secure cookie; with client certificates nobody
// else gets so far as to ask.
func TestTLS(t *testing.T) {
	ca := certificate(t, "ca", nil)
	pool := x509.NewCertPool()
	pool.AddCert(ca.Leaf)
	server := &tls.Config{Certificates: []tls.Certificate{certificate(t, "server", &ca)}, MinVersion: tls.VersionTLS12}
	get := func(s *Server, mine ...tls.Certificate) (*http.Response, string, error) {
		jar, _ := cookiejar.New(nil)
		c := &http.Client{Jar: jar, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "localhost", Certificates: mine}}}
		defer c.CloseIdleConnections()
		a, err := c.Get(s.URL() + "api/session")
		if err != nil {
			return nil, "", err
		}
		defer a.Body.Close()
		b, err := io.ReadAll(a.Body)
		return a, string(b), err
	}
	start := func(c Config) *Server {
		t.Helper()
		c.Listen = "127.0.0.1:0"
		s, err := Open(c, parts(new([]string)), quiet())
		if err != nil {
			t.Fatal(err)
		}
		ctx := context.WithoutCancel(t.Context())
		t.Cleanup(func() { _ = s.Close(ctx) })
		return s
	}
	s := start(Config{TLS: server, Login: admin(t)})
	if !strings.HasPrefix(s.URL(), "https://") {
		t.Errorf("the address is %s", s.URL())
	}
	if _, body, err := get(s); err != nil || !strings.Contains(body, `"login":"password"`) {
		t.Errorf("https: %s %v", body, err)
	}
	mutual := server.Clone()
	mutual.ClientCAs, mutual.ClientAuth = pool, tls.RequireAndVerifyClientCert
	s = start(Config{TLS: mutual})
	if _, _, err := get(s); err == nil {
		t.Error("let in without a certificate")
	}
	other := certificate(t, "other-ca", nil)
	if _, _, err := get(s, certificate(t, "mallory", &other)); err == nil {
		t.Error("let in with a certificate of somebody else")
	}
	_, body, err := get(s, certificate(t, "alice", &ca))
	if err != nil || !strings.Contains(body, `"login":"certificate","user":"alice","read":true,"private":true,"act":["enabled"]`) {
		t.Errorf("alice: %s %v", body, err)
	}
}

// pictures is a camera named front; "away" is one that is away.
type pictures struct{}

func (pictures) Picture(_ context.Context, camera string, _ bool) (*Picture, error) {
	switch camera {
	case "front":
		return &Picture{JPEG: []byte("\xff\xd8jpeg"), Tag: "a-1", View: map[string]string{"label": "Tür"}}, nil
	case "away":
		return nil, errors.New("it is away")
	}
	return nil, &RefusalError{http.StatusNotFound, "no such camera"}
}

// TestOpenBeyond: who opens the page to other machines is told what that means.
func TestOpenBeyond(t *testing.T) {
	for _, c := range []struct {
		config Config
		says   string
	}{
		{Config{Listen: "127.0.0.1:0"}, ""},
		{Config{Listen: "127.0.0.1:0", Login: admin(t)}, ""},
		{Config{Listen: "0.0.0.0:0"}, "whoever reaches the web page can read"},
		{Config{Listen: "0.0.0.0:0", Login: admin(t)}, "password goes over the network as it is"},
	} {
		var told bytes.Buffer
		s, err := Open(c.config, Parts{}, slog.New(slog.NewTextHandler(&told, nil)))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if got := told.String(); (got == "") != (c.says == "") || !strings.Contains(got, c.says) {
			t.Errorf("%s: %q, want %q", c.config.Listen, got, c.says)
		}
	}
}
