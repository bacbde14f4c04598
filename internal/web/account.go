package web

// Logging in and out, and what a page is told of itself.

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
)

// maxBody is how long the body of a request may be, in bytes.
const maxBody = 8 << 10

// account is the answer of /api/session: who asks, and what may be had.
type account struct {
	Login   string   `json:"login"`   // "none", "password" or "certificate"
	User    string   `json:"user"`    // "": nobody
	Read    bool     `json:"read"`    // the state may be read
	Private bool     `json:"private"` // pictures, config and log may be read
	Act     []string `json:"act"`     // settings that may be changed: words of commands.allow
	Why     string   `json:"why"`     // why not all of it, for people
}

// account tells a request what it may.
func (s *siteParts) account(r *http.Request) account {
	a := account{Login: "none", Act: []string{}}
	switch {
	case s.gate.certs:
		a.Login = "certificate"
	case s.gate.login != nil:
		a.Login = "password"
	}
	a.User, _ = s.gate.who(r)
	code, why := s.gate.refusal(readers, r)
	a.Read = code == 0
	if a.Read {
		code, why = s.gate.refusal(insiders, r)
	}
	a.Private = code == 0
	if code, no := s.gate.refusal(actors, r); code != 0 {
		if why == "" {
			why = no
		}
	} else {
		a.Act = append(a.Act, s.parts.Allowed...)
		if len(a.Act) == 0 {
			why = "the config allows no command (commands.allow)"
		}
	}
	a.Why = why
	return a
}

// serveSession answers /api/session.
func (s *siteParts) serveSession(w http.ResponseWriter, r *http.Request) {
	sendJSON(w, http.StatusOK, s.account(r), s.log)
}

// serveLogin answers POST /api/login.
func (s *siteParts) serveLogin(w http.ResponseWriter, r *http.Request) {
	if s.gate.login == nil {
		http.Error(w, "there is no login here", http.StatusForbidden)
		return
	}
	body, ok := readBody(w, r)
	if !ok {
		return
	}
	var in struct {
		Username *string `json:"username"`
		Password *string `json:"password"`
	}
	if err := json.Unmarshal(body, &in); err != nil || in.Username == nil || in.Password == nil {
		http.Error(w, `{"username": "…", "password": "…"} is needed`, http.StatusBadRequest)
		return
	}
	switch err := s.gate.sessions.check(r.Context(), s.gate.login, *in.Username, *in.Password, remote(r)); {
	case errors.Is(err, errOften):
		w.Header().Set("Retry-After", "10")
		http.Error(w, err.Error(), http.StatusTooManyRequests)
	case err != nil:
		s.log.Warn("a login was refused", "from", remote(r))
		w.Header().Set("WWW-Authenticate", challenge(r))
		http.Error(w, errWrong.Error(), http.StatusUnauthorized)
	default:
		s.log.Info("logged in", "user", s.gate.login.User, "from", remote(r))
		http.SetCookie(w, s.gate.newCookie(s.gate.sessions.begin(s.gate.login)))
		w.WriteHeader(http.StatusNoContent)
	}
}

// newCookie carries a session's token; the empty one deletes it.
func (g *gate) newCookie(token string) *http.Cookie {
	//nolint:gosec // Secure is set where there is https; without it a browser would never send the cookie back
	c := &http.Cookie{Name: g.cookie, Value: token, Path: "/", HttpOnly: true, Secure: g.secure, SameSite: http.SameSiteStrictMode}
	if token == "" {
		c.MaxAge = -1
	}
	return c
}

// serveLogout answers POST /api/logout.
func (s *siteParts) serveLogout(w http.ResponseWriter, r *http.Request) {
	if c, err := r.Cookie(s.gate.cookie); err == nil {
		s.gate.sessions.end(c.Value)
		http.SetCookie(w, s.gate.newCookie(""))
	}
	w.WriteHeader(http.StatusNoContent)
}

// readBody reads a body that must be JSON: a form of another site cannot send that
// without being asked first. It has answered when ok is false.
func readBody(w http.ResponseWriter, r *http.Request) (body []byte, ok bool) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		http.Error(w, "Content-Type: application/json is needed", http.StatusUnsupportedMediaType)
		return nil, false
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		code := http.StatusBadRequest
		if tooLong := (*http.MaxBytesError)(nil); errors.As(err, &tooLong) {
			code = http.StatusRequestEntityTooLarge
		}
		http.Error(w, "the body cannot be read, or is too long", code)
		return nil, false
	}
	return body, true
}

// sendJSON writes an answer as a line of JSON.
func sendJSON(w http.ResponseWriter, code int, v any, log *slog.Logger) {
	body, err := json.Marshal(v)
	if err != nil { // of our own types: cannot happen
		log.Error("an answer could not be encoded", "error", err)
		http.Error(w, "the answer could not be encoded", http.StatusInternalServerError)
		return
	}
	send(w, code, "application/json", append(body, '\n'))
}
