package web

// What can be done from the page: commands, under the paths that their MQTT topics
// have, with the same bodies and the same answers.

import (
	"net/http"
	"strings"

	"golang.org/x/time/rate"
)

// Command does what a body asks of the part that a topic names: "set" (the agent),
// "camera/front/set", "model/objects/set", "model/objects/delegate/set". by is who
// asks. The answer is encoded as JSON.
type Command func(topic string, body []byte, by string) (code int, answer any)

// As many commands are taken as over MQTT.
const (
	commandsAtOnce   = 10
	commandsASeconds = 2
)

// commandPaths are where commands may be sent to.
var commandPaths = []string{
	"/api/set",
	"/api/camera/{camera}/set",
	"/api/model/{model}/set",
	"/api/model/{model}/delegate/set",
}

// takesPOST says whether a path is one where something can be done.
func takesPOST(path string) bool {
	return path == "/api/login" || path == "/api/logout" || strings.HasPrefix(path, "/api/") && strings.HasSuffix(path, "/set")
}

// serveCommand answers them all.
func (s *siteParts) serveCommand(limit *rate.Limiter) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, ok := readBody(w, r)
		if !ok {
			return
		}
		if !limit.Allow() {
			w.Header().Set("Retry-After", "1")
			http.Error(w, "too many commands; wait a little", http.StatusTooManyRequests)
			return
		}
		by, _ := s.gate.who(r)
		code, answer := s.parts.Command(strings.TrimPrefix(r.URL.Path, "/api/"), body, by+" on the page, from "+remote(r))
		sendJSON(w, code, answer, s.log)
	}
}
