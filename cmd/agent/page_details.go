package main

// What the page shows when one opens it up: the config with its problems marked, the
// log's tail, the models taken apart; and commands that come from it.

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"sync"

	"edgeagent/infer/inspect"
	"edgeagent/internal/config"
	"edgeagent/internal/logging"
	"edgeagent/internal/web"
	"edgeagent/publish"
)

// wrongConfig is a config that could not be used, as it was then.
type wrongConfig struct {
	text     []byte
	problems config.Problems
}

// readWrong keeps a config with what is wrong with it.
func readWrong(file string, ps config.Problems) *wrongConfig {
	text, _ := os.ReadFile(file) // not readable: that is what is wrong
	return &wrongConfig{text, ps}
}

// The ways in which a config can stand there.
const (
	configInUse   = "in use"
	configRefused = "refused" // at a reload; the one before goes on
	configSafe    = "safe mode"
)

// configView is what /api/config answers (docs/schemas/edge.config.1.json).
type configView struct {
	Schema   string          `json:"schema"`
	File     string          `json:"file"`
	Status   string          `json:"status"`
	Why      string          `json:"why"`      // "" when it is in use
	Text     string          `json:"text"`     // without passwords
	Problems config.Problems `json:"problems"` // never null
}

// Config serves /api/config: the config in use, or the newer one that could not be
// used.
func (a *agent) Config() any {
	v := configView{Schema: "edge.config/1", File: a.cfg.File(), Status: configInUse, Problems: config.Problems{}}
	text := a.cfg.Text()
	why, wrong := a.refused.Load(), a.wrong.Load()
	switch safe := a.options.safe; {
	case why != nil:
		v.Status, v.Why = configRefused, *why
		if wrong != nil {
			text, v.Problems = wrong.text, append(v.Problems, wrong.problems...)
		}
	case safe != nil:
		v.Status, v.Why, v.File = configSafe, safe.text(), safe.file
		text = readWrong(safe.file, nil).text
		v.Problems = append(v.Problems, safe.problems...)
	}
	v.Text = (&redactor{}).text(redactedConfig(text))
	return v
}

// logView is what /api/log answers.
type logView struct {
	Lines []logging.TailLine `json:"lines"`
	Next  uint64             `json:"next"` // for ?after=
}

// Log serves /api/log.
func (*agent) Log(after uint64) any {
	lines, last := logTail.After(after)
	return logView{lines, last}
}

// modelReports keeps what inspect found, for files do not change while a model is
// open.
type modelReports struct {
	mu sync.Mutex
	of map[string]*inspect.Report
}

// modelView is what /api/model/{model} answers.
type modelView struct {
	State   any             `json:"state"` // edge.model-state/1
	Golden  goldenView      `json:"golden"`
	Inspect *inspect.Report `json:"inspect"`
}

// goldenView is how the model was tried when it was opened.
type goldenView struct {
	Input    string `json:"input"`    // "manifest" or "random"
	Answered bool   `json:"answered"` // as the manifest says; to a random input: soundly
}

// report takes a model apart, once.
func (a *agent) report(id string) (*model, *inspect.Report, error) {
	if !a.opened() {
		return nil, nil, &web.RefusalError{Code: http.StatusServiceUnavailable, Text: "the agent is still starting"}
	}
	m, err := a.modelNamed(id)
	if err != nil {
		return nil, nil, &web.RefusalError{Code: http.StatusNotFound, Text: err.Error()}
	}
	a.reports.mu.Lock()
	defer a.reports.mu.Unlock()
	if r := a.reports.of[id]; r != nil {
		return m, r, nil
	}
	r, err := inspect.Read(m.spec.File)
	if err != nil {
		return nil, nil, &web.RefusalError{Code: http.StatusConflict, Text: "the model's file cannot be taken apart: " + err.Error()}
	}
	if a.reports.of == nil {
		a.reports.of = map[string]*inspect.Report{}
	}
	a.reports.of[id] = r
	return m, r, nil
}

// Model serves /api/model/{model}.
func (a *agent) Model(id string) (any, error) {
	m, r, err := a.report(id)
	if err != nil {
		return nil, err
	}
	v := modelView{State: a.client.Stamped(a.modelState(m, newRates())), Golden: goldenView{"random", true}, Inspect: r}
	if m.golden {
		v.Golden.Input = "manifest"
	}
	return v, nil
}

// ModelPage serves /api/model/{model}/page: inspect's own.
func (a *agent) ModelPage(id string) ([]byte, error) {
	_, r, err := a.report(id)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := r.HTML(&b); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// pageCommand does a command that came from the page, exactly as one from MQTT.
func (a *agent) pageCommand(topic string, body []byte, by string) (code int, answer any) {
	target, ok := publish.TargetOf(topic)
	if !ok { // not with the page's own paths
		return http.StatusNotFound, publish.Outcome{Error: "there is no such topic"}
	}
	c, err := publish.ParseCommand(target, body)
	unread := err != nil
	out, err := a.do(c, by, err)
	if r := (*refusal)(nil); errors.As(err, &r) {
		return r.code, out
	}
	switch {
	case err == nil:
		return http.StatusOK, out
	case unread:
		return http.StatusBadRequest, out
	}
	return http.StatusConflict, out
}
