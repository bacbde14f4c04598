package web

// What the page shows when one opens it up: the config, the log, the models.

import (
	"net/http"
	"strconv"
)

// Details is what can be looked at closer. Its methods are called from any goroutine
// and what they give is encoded as JSON.
type Details interface {
	// Config is the config that was read last and what is wrong with it.
	Config() any
	// Log are the lines after the n-th.
	Log(after uint64) any
	// Model takes a model apart; for one that is not there the error is a *RefusalError.
	Model(id string) (any, error)
	// ModelPage is the same as a page of HTML with a style and without a script.
	ModelPage(id string) ([]byte, error)
}

func (s *siteParts) serveConfig(w http.ResponseWriter, _ *http.Request) {
	sendJSON(w, http.StatusOK, s.parts.Details.Config(), s.log)
}

func (s *siteParts) serveLog(w http.ResponseWriter, r *http.Request) {
	after := uint64(0)
	if text := r.URL.Query().Get("after"); text != "" {
		var err error
		if after, err = strconv.ParseUint(text, 10, 63); err != nil {
			http.Error(w, "after is a number, as next of the last answer", http.StatusBadRequest)
			return
		}
	}
	sendJSON(w, http.StatusOK, s.parts.Details.Log(after), s.log)
}

func (s *siteParts) serveModel(w http.ResponseWriter, r *http.Request) {
	m, err := s.parts.Details.Model(r.PathValue("model"))
	if err != nil {
		sendRefusal(w, err)
		return
	}
	sendJSON(w, http.StatusOK, m, s.log)
}

func (s *siteParts) serveModelPage(w http.ResponseWriter, r *http.Request) {
	page, err := s.parts.Details.ModelPage(r.PathValue("model"))
	if err != nil {
		sendRefusal(w, err)
		return
	}
	// It carries its own style and pictures, and runs nothing.
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; sandbox")
	send(w, http.StatusOK, "text/html; charset=utf-8", page)
}
