package web

// Profiles of the daemon itself (net/http/pprof), where the config asks for them and
// to this machine only.

import (
	"context"
	"net/http"
	"net/http/pprof"
	"time"
)

// addProfiles serves /debug/pprof/.
func (s *siteParts) addProfiles(mux *http.ServeMux) {
	for path, h := range map[string]http.HandlerFunc{
		"/debug/pprof/": pprof.Index, "/debug/pprof/cmdline": pprof.Cmdline, "/debug/pprof/profile": pprof.Profile,
		"/debug/pprof/symbol": pprof.Symbol, "/debug/pprof/trace": pprof.Trace,
	} {
		mux.HandleFunc(path, s.gate.only(insiders, patient(h)))
	}
}

// patient lifts the limit of time off an answer: a profile takes as long as it is
// asked to. pprof looks at the server's own limit, so it is shown one without.
func patient(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
		next(w, r.WithContext(context.WithValue(r.Context(), http.ServerContextKey, &http.Server{ReadHeaderTimeout: headerTimeout})))
	}
}
