package web

// Who may see and do what: nobody needs a login on this machine itself, until the
// config names one.

import (
	"net"
	"net/http"
	"strings"
)

// access is what a path asks for.
type access int

const (
	everybody access = iota // nothing that is anybody's secret
	readers                 // names of cameras and labels
	insiders                // pictures, the config, the log
	actors                  // something is done
)

// gate decides on requests.
type gate struct {
	login    *Login // nil: there is none
	certs    bool   // whoever connects has shown a certificate that was verified
	loopback bool   // only this machine is listened to
	sessions *Sessions
	cookie   string // its name; cookies know no ports, so it has ours
	secure   bool   // TLS
}

// Why something is refused where there is no login.
const (
	whyAlone   = "this page is open to other machines and has no login, so it shows neither pictures nor the config nor the log; see edge-agent passwd --help"
	whyNoLogin = "nothing can be done here without a login; see edge-agent passwd --help"
)

// locked says whether one has to be somebody at all.
func (g *gate) locked() bool { return g.login != nil || g.certs }

// who is the user of a request; ok: there is one.
func (g *gate) who(r *http.Request) (name string, ok bool) {
	if g.certs && r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		return r.TLS.VerifiedChains[0][0].Subject.CommonName, true
	}
	if g.login == nil {
		return "", false
	}
	if c, err := r.Cookie(g.cookie); err == nil && g.sessions.valid(c.Value, g.login) {
		return g.login.User, true
	}
	if user, password, given := r.BasicAuth(); given && g.sessions.check(r.Context(), g.login, user, password, remote(r)) == nil {
		return g.login.User, true
	}
	return "", false
}

// refusal is why a request may not have what it asks for; code 0: it may.
func (g *gate) refusal(need access, r *http.Request) (code int, why string) {
	switch {
	case need == everybody:
		return 0, ""
	case g.locked():
		if _, ok := g.who(r); ok {
			return 0, ""
		}
		return http.StatusUnauthorized, "log in first"
	case need == actors:
		return http.StatusForbidden, whyNoLogin
	case need == insiders && !g.loopback:
		return http.StatusForbidden, whyAlone
	}
	return 0, ""
}

// only lets through who may.
func (g *gate) only(need access, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		code, why := g.refusal(need, r)
		if code == 0 {
			next(w, r)
			return
		}
		if code == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", challenge(r))
		}
		http.Error(w, why, code)
	}
}

// challenge names a way to log in. A browser that hears of Basic would ask by itself,
// over the page's own form.
func challenge(r *http.Request) string {
	if r.Header.Get("Sec-Fetch-Mode") != "" {
		return `Session realm="edge-agent"`
	}
	return `Basic realm="edge-agent", charset="UTF-8"`
}

// remote is who asks, for the count of tries: an address, of IPv6 the network.
func remote(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	if ip := net.ParseIP(strings.Split(host, "%")[0]); ip != nil && ip.To4() == nil {
		return ip.Mask(net.CIDRMask(64, 128)).String()
	}
	return host
}
