package config

// The page: what is wrong with its keys, and its secrets.

import (
	"net"
	"strings"
)

// LoggedIn says whether there is a way to log in on the page: a password or a
// client's certificate.
func (w Web) LoggedIn() bool {
	return w.Listen != "" && (w.PasswordFile != "" || w.TLS.ClientCA != "")
}

func (w Web) check(p *collector) {
	if (w.Username == "") != (w.PasswordFile == "") {
		p.key("web", "username and password_file belong together; one of them is missing")
	}
	if strings.Contains(w.Username, ":") {
		p.key("web.username", "has a colon, which HTTP does not allow in a name")
	}
	switch t := w.TLS; {
	case (t.Cert == "") != (t.Key == ""):
		p.key("web.tls", "cert and key belong together; one of them is missing")
	case t.ClientCA != "" && t.Cert == "":
		p.key("web.tls.client_ca", "needs cert and key as well: certificates are shown over TLS only")
	}
	if host, _, err := net.SplitHostPort(w.Listen); w.Pprof && (err != nil || !isLoopback(host)) {
		p.key("web.pprof", "profiles are served to this machine only; listen on 127.0.0.1, or leave pprof out")
	}
}

// isLoopback says whether only this machine reaches host.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// WebPassword reads the hash of the page's password; empty when there is none.
func (c *Config) WebPassword() (Secret, error) {
	return c.secret("web.password_file", Secret{}, c.Web.PasswordFile)
}
