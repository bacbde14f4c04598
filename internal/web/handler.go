// What is served under which path.

package web

import (
	"encoding/json"
	"log/slog"
	"net/http"
)

// handler is the whole site. loopback: only this machine is listened to.
func handler(p Parts, loopback bool, log *slog.Logger) http.Handler {
	site := http.NewServeMux()
	addFiles(site)
	site.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		send(w, http.StatusOK, "text/plain; charset=utf-8", []byte("ok\n"))
	})
	site.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) { ready(w, p.Ready, log) })
	if p.Metrics != nil {
		site.Handle("/metrics", p.Metrics)
	}
	if p.Live != nil {
		site.HandleFunc("/api/state", func(w http.ResponseWriter, _ *http.Request) { p.Live.serveState(w, log) })
		site.HandleFunc("/api/events", p.Live.serveEvents)
	}
	return readOnly(guard(sameHost(loopback, site)))
}

// readOnly refuses every method that could be meant to change something.
func readOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
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
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
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
	body, err := json.Marshal(readiness{Ready: len(missing) == 0, Missing: missing})
	if err != nil { // strings and a bool: cannot happen
		log.Error("readiness could not be encoded", "error", err)
		http.Error(w, "readiness could not be encoded", http.StatusInternalServerError)
		return
	}
	send(w, code, "application/json", append(body, '\n'))
}

// send writes a whole answer. Whether the client still listens is its own
// affair.
func send(w http.ResponseWriter, code int, kind string, body []byte) {
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(code)
	_, _ = w.Write(body)
}
