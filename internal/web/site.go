package web

// The page's files, which are part of the program: nothing is fetched from anywhere
// else.

import (
	"embed"
	"io/fs"
	"net"
	"net/http"
	"strings"
)

//go:embed site
var site embed.FS

// files are the page's parts by path, with their types. uPlot (MIT, site/uplot/LICENSE)
// is version 1.6.32 as published in npm, unchanged.
var files = map[string]struct{ file, kind string }{
	"/{$}":           {"index.html", "text/html; charset=utf-8"},
	"/parts.js":      {"parts.js", "text/javascript; charset=utf-8"},
	"/account.js":    {"account.js", "text/javascript; charset=utf-8"},
	"/cameras.js":    {"cameras.js", "text/javascript; charset=utf-8"},
	"/details.js":    {"details.js", "text/javascript; charset=utf-8"},
	"/app.js":        {"app.js", "text/javascript; charset=utf-8"},
	"/style.css":     {"style.css", "text/css; charset=utf-8"},
	"/uplot.min.js":  {"uplot/uplot.min.js", "text/javascript; charset=utf-8"},
	"/uplot.min.css": {"uplot/uplot.min.css", "text/css; charset=utf-8"},
	"/uplot-licence": {"uplot/LICENSE", "text/plain; charset=utf-8"},
}

// addFiles serves them.
func addFiles(mux *http.ServeMux) {
	for path, f := range files {
		b, err := fs.ReadFile(site, "site/"+f.file)
		if err != nil {
			panic(err) // embedded: a test opens every one
		}
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { send(w, http.StatusOK, f.kind, b) })
	}
}

// sameHost refuses requests that name this machine by a foreign name when only this
// machine is listened to: a page of another site may have its own name point here
// (DNS rebinding) and would read along.
func sameHost(loopback bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if loopback && !local(r.Host) {
			http.Error(w, "this page is served to this machine only, as localhost or by its address", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// local says whether a Host header names this machine itself.
func local(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil
}
