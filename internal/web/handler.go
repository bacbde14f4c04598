// What is served under which path.

package web

import (
	"context"
	"log/slog"
	"net/http"

	"golang.org/x/time/rate"
)

// siteParts is what the handlers have in common.
type siteParts struct {
	parts Parts
	gate  *gate
	album *album
	log   *slog.Logger
}

// handler is the whole site. When ctx ends, nobody waits for a turn any more.
func handler(ctx context.Context, p Parts, g *gate, profiles bool, log *slog.Logger) http.Handler {
	s := &siteParts{parts: p, gate: g, album: newAlbum(ctx, p.Pictures), log: log}
	site := http.NewServeMux()
	addFiles(site)
	site.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		send(w, http.StatusOK, "text/plain; charset=utf-8", []byte("ok\n"))
	})
	site.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) { ready(w, p.Ready, log) })
	if p.Metrics != nil {
		site.Handle("/metrics", p.Metrics)
	}
	site.HandleFunc("/api/session", s.serveSession)
	site.HandleFunc("POST /api/login", s.serveLogin)
	site.HandleFunc("POST /api/logout", s.serveLogout)
	if p.Live != nil {
		site.HandleFunc("/api/state", g.only(readers, func(w http.ResponseWriter, _ *http.Request) { p.Live.serveState(w, log) }))
		site.HandleFunc("/api/events", g.only(readers, p.Live.serveEvents))
	}
	if p.Pictures != nil {
		site.HandleFunc("/api/snapshot/{camera}", g.only(insiders, s.serveSnapshot))
	}
	if p.Details != nil {
		site.HandleFunc("/api/config", g.only(insiders, s.serveConfig))
		site.HandleFunc("/api/log", g.only(insiders, s.serveLog))
		site.HandleFunc("/api/model/{model}", g.only(insiders, s.serveModel))
		site.HandleFunc("/api/model/{model}/page", g.only(insiders, s.serveModelPage))
	}
	if p.Command != nil {
		limit := rate.NewLimiter(commandsASeconds, commandsAtOnce)
		for _, path := range commandPaths {
			site.HandleFunc("POST "+path, g.only(actors, s.serveCommand(limit)))
		}
	}
	if profiles {
		s.addProfiles(site)
	}
	sameSite := http.NewCrossOriginProtection() // no other site's page does anything in a user's name
	return readOnly(guard(sameHost(g.loopback, sameSite.Handler(site))))
}

// readOnly refuses every method that could be meant to change something, but where
// something can be changed.
func readOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reads := r.Method == http.MethodGet || r.Method == http.MethodHead
		if !reads && (r.Method != http.MethodPost || !takesPOST(r.URL.Path)) {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "only GET and HEAD are served here", http.StatusMethodNotAllowed)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// guard tells browsers to run nothing but our own script, to be framed by nobody and
// to let no other site read along.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// readiness is the answer of /readyz.
type readiness struct {
	Ready   bool      `json:"ready"`
	Missing []Missing `json:"missing"` // never null, so that a script can count it
}

// ready answers 200 when nothing is missing, else 503 and what is.
func ready(w http.ResponseWriter, r Readiness, log *slog.Logger) {
	missing := []Missing{{Part: "agent", Why: "it is still starting"}}
	if r != nil {
		missing = append([]Missing{}, r.Missing()...)
	}
	code := http.StatusOK
	if len(missing) > 0 {
		code = http.StatusServiceUnavailable
	}
	sendJSON(w, code, readiness{Ready: len(missing) == 0, Missing: missing}, log)
}

// send writes a whole answer. Whether the client still listens is its own
// affair.
func send(w http.ResponseWriter, code int, kind string, body []byte) {
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(code)
	_, _ = w.Write(body)
}
