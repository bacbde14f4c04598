package main

// The text that init writes: short, with each key explained, and what was seen of
// the board beside what may be done with it.

import (
	"fmt"
	"strings"
	"time"

	"edgeagent/internal/config"
)

// initText is the config; %s are the day, the board, the name, the data folder, the
// broker, what to do with accelerators, the model, and the source.
const initText = `# Written by "edge-agent init" on %s for: %s
#
#   edge-agent validate -c FILE      tells everything that is wrong with it
#   edge-agent doctor -c FILE        looks at the whole machine
#   systemctl reload edge-agent      applies a change to the running service
#
# Only what init chose stands here. All keys, with their defaults, are in config.yaml
# of the project, which documents itself.

version: 1

agent:
  id: %s                # in every topic
  data_dir: %s

mqtt:
  # embedded, or the address of a broker of your own: tcp://host:1883, tls://host:8883
  broker: %s
  embedded:
    listen: 127.0.0.1:1883          # 0.0.0.0:1883 lets other machines in: there are no passwords
  # For a broker that wants to know who comes:
  # username: porch
  # password_file: credential:edge-agent.mqtt-password   # of the systemd service; or a path

models:
  objects:
    manifest: %s
%s
cameras:
  front:
    # auto (the first camera, else the demo clip), /dev/video0, rtsp://host/path, a clip, a folder
    source: %s
    models: [objects]
    fps: 10                         # inferences a second; 0: as fast as it goes

web:
  listen: 127.0.0.1:8080            # the page, /metrics, /healthz, /readyz
`

// compose writes the config of these answers.
func compose(s *survey, a choices) string {
	model := defaultModel
	if found, _ := findShipped(defaultModel); found != "" && !strings.HasPrefix(found, config.ShareDir) {
		model = asAbsolute(found)
	}
	return fmt.Sprintf(initText, time.Now().Format(time.DateOnly), orDash(s.board.Model), a.id, dataDirFor(s), yamlText(a.broker),
		yamlText(model), accelerators(s), yamlText(a.source))
}

// accelerators says as comments what was seen that could run the model.
func accelerators(s *survey) string {
	if len(s.seen) == 0 {
		return "    # No accelerator was seen: the model runs on the processor.\n"
	}
	var b strings.Builder
	for _, t := range s.seen {
		fmt.Fprintf(&b, "    # Seen on this board: %s.\n", t)
	}
	b.WriteString("    # What runs the model, the best first; cpu is always the last:\n    # delegates:\n    #   - kind: cpu\n")
	return b.String()
}

// yamlText is a word as YAML reads it back, in quotes where it must be.
func yamlText(v string) string {
	if strings.Trim(v, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./") == "" {
		return v
	}
	return "'" + strings.ReplaceAll(v, "'", "''") + "'"
}
