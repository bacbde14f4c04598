// Package config turns config.yaml, EDGE_AGENT_… variables and command-line
// flags into one checked structure, and tells everything that is wrong with them
// at once, each with file:line:column or with the name of the variable or flag.
package config

import (
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ShareDir is where the package installs models and the demo clip; files that the
// config mentions are searched there when they are not beside the config file.
const ShareDir = "/usr/share/edge-agent"

// defaultDataDir is agent.data_dir where nothing is said.
const defaultDataDir = "/var/lib/edge-agent"

// Config is everything that can be set. Every value has been checked; every
// value that was left out has its default. Nothing in it is shared or watched: a
// changed file is read by a new Load.
//
// The struct tags are the whole schema: `yaml` is the key, `one` the words that a
// text may be, `min` and `max` the range of a number.
type Config struct {
	Version int   `yaml:"version" min:"1"`
	Agent   Agent `yaml:"agent"`
	MQTT    MQTT  `yaml:"mqtt"`
	// Commands are what may be asked of the agent over MQTT.
	Commands Commands          `yaml:"commands"`
	Models   map[string]Model  `yaml:"models"`
	Cameras  map[string]Camera `yaml:"cameras"`
	// Pixels is where pictures may go: "none", "local" (our own page) or "mqtt".
	Pixels  string  `yaml:"pixels" one:"none local mqtt"`
	Thermal Thermal `yaml:"thermal"`
	Runtime Runtime `yaml:"runtime"`
	// CaptureBinary is edge-agent-capture; empty: searched beside the agent, then
	// in /usr/lib/edge-agent.
	CaptureBinary Path `yaml:"capture_binary"`
	Web           Web  `yaml:"web"`
	Log           Log  `yaml:"log"`

	dir  string // absolute directory of the config file
	file string // the config file, absolute
	text []byte // of the config file
}

// Agent is this machine.
type Agent struct {
	ID      string `yaml:"id"`       // never empty after Load
	DataDir Path   `yaml:"data_dir"` // absolute after Load; not made by Load
}

// MQTT is where results go and how much is kept while they cannot.
type MQTT struct {
	// Broker is "embedded" or a URL with scheme tcp, tls, ws or wss; after Load
	// the URL always has a port.
	Broker string `yaml:"broker"`
	// Fallbacks are brokers for when Broker is away, in order.
	Fallbacks    []string `yaml:"fallbacks"`
	Embedded     Embedded `yaml:"embedded"`
	Prefix       string   `yaml:"prefix"` // first level or levels of every topic
	Username     string   `yaml:"username"`
	Password     Secret   `yaml:"password" from:"env"` // from EDGE_AGENT_MQTT_PASSWORD only, never from the file
	PasswordFile Path     `yaml:"password_file"`
	TLS          TLS      `yaml:"tls"`
	Results      Class    `yaml:"results"`
	Events       Class    `yaml:"events"`
	Queue        Queue    `yaml:"queue"`
	// HomeAssistant is told what the agent is by MQTT discovery.
	HomeAssistant HomeAssistant `yaml:"homeassistant"`
}

// HomeAssistant is how the agent describes itself to it.
type HomeAssistant struct {
	Enabled     bool     `yaml:"enabled"`
	Prefix      string   `yaml:"prefix"`                     // of its topics, as it is set there
	Form        string   `yaml:"form" one:"entities device"` // a message an entity, or (since 2024.11) one a device
	ExpireAfter Duration `yaml:"expire_after"`               // without a state for so long, an entity is unavailable
	Labels      []string `yaml:"labels"`                     // each has a binary sensor: is it what is seen?
}

// Embedded is the agent's own broker; it runs when MQTT.Broker is "embedded".
type Embedded struct {
	Listen    string `yaml:"listen"`    // host:port
	Websocket string `yaml:"websocket"` // host:port; empty: none
}

// TLS is for the schemes tls and wss.
type TLS struct {
	CA       Path `yaml:"ca"` // PEM; empty: the system's own
	Cert     Path `yaml:"cert"`
	Key      Path `yaml:"key"`
	Insecure bool `yaml:"insecure"` // the broker's certificate is not checked
}

// Class is how one class of messages is treated.
type Class struct {
	QoS        int    `yaml:"qos" min:"0" max:"2"`
	Durability string `yaml:"durability" one:"disk memory none"`
	Drop       string `yaml:"drop" one:"thin oldest"`
	Spill      bool   `yaml:"spill"` // durability memory: to disk while the broker is away
}

// Queue bounds what waits for the broker, results and events together.
type Queue struct {
	MaxBytes Size     `yaml:"max_bytes"`
	MaxAge   Duration `yaml:"max_age"`
}

// Model is a network. Either Manifest says what the file is, or File and the
// keys below it do; of those an empty value means the default of package infer.
type Model struct {
	Manifest Path `yaml:"manifest"`

	File          Path      `yaml:"file"`
	Labels        Path      `yaml:"labels"`
	LabelOffset   int       `yaml:"label_offset" min:"-1000" max:"1000"`
	Task          string    `yaml:"task" one:"classification detection segmentation pose embedding raw"`
	Resize        string    `yaml:"resize" one:"stretch crop letterbox"`
	Crop          float64   `yaml:"crop" min:"0.01" max:"1"`
	Interpolation string    `yaml:"interpolation" one:"nearest linear area cubic"`
	Colour        string    `yaml:"colour" one:"rgb bgr gray"`
	Layout        string    `yaml:"layout" one:"nhwc nchw"`
	Mean          []float64 `yaml:"mean"` // in pixel values 0..255; one, or one a channel
	Std           []float64 `yaml:"std"`
	Output        string    `yaml:"output" one:"logits probabilities"`
	Format        string    `yaml:"format" one:"ssd ssd-anchors yolov5 yolov8 efficientdet"` // of a detection
	Gallery       Path      `yaml:"gallery"`                                                 // of an embedding

	// Engine runs the file: LiteRT (empty), or TensorFlow as SavedModel says.
	Engine     string     `yaml:"engine" one:"litert savedmodel"`
	SavedModel SavedModel `yaml:"savedmodel"`

	// These hold with a manifest too.
	Threads   int     `yaml:"threads" min:"0" max:"256"` // 0: as many as cores, at most 4
	Top       int     `yaml:"top" min:"0" max:"1000"`    // labels in a result; 0: 5
	Threshold float64 `yaml:"threshold"`                 // labels below it are left out
	// By label, as the model's label file has it, or by group:
	Thresholds LabelScores `yaml:"thresholds"` // instead of Threshold
	Allow      []string    `yaml:"allow"`      // only these; empty: all
	Deny       []string    `yaml:"deny"`       // never these
	Groups     LabelGroups `yaml:"groups"`     // labels told under one name
	Delegates  []Delegate  `yaml:"delegates"`  // in order of preference; the last is always cpu

	Order      string   `yaml:"order" one:"listed measured"` // measured: what is slower than cpu stays on standby
	CheckEvery Duration `yaml:"check_every"`                 // a live frame is also run on cpu this often, and compared
	Standby    bool     `yaml:"standby"`                     // cpu's worker stays while another delegate answers
}

// SavedModel says what of a SavedModel (a folder) or frozen graph (a .pb file) answers.
type SavedModel struct {
	Signature string   `yaml:"signature"`  // empty: serving_default, or the only one
	Tags      []string `yaml:"tags"`       // empty: serve
	Input     string   `yaml:"input"`      // of a frozen graph; empty: its only placeholder
	Outputs   []string `yaml:"outputs"`    // of a frozen graph; empty: the only node that no other reads
	GPUGrowth bool     `yaml:"gpu_growth"` // GPU memory is taken as it is needed, not all at once
}

// LabelScores has a score for each label.
type LabelScores map[string]float64

// LabelGroups has the labels of each group.
type LabelGroups map[string][]string

func (LabelScores) anyNames() {}
func (LabelGroups) anyNames() {}

// Delegate is one way to run a model.
type Delegate struct {
	Kind    string `yaml:"kind" one:"cpu gpu edgetpu external"`
	Threads int    `yaml:"threads" min:"0" max:"256"` // of the CPU; 0: the model's

	// These are for the others.
	File      Path            `yaml:"file"`                      // the model made for this delegate; empty: the model's own
	Library   Path            `yaml:"library"`                   // the delegate's library
	Options   DelegateOptions `yaml:"options"`                   // handed to the library as they are
	Device    string          `yaml:"device"`                    // external: what one process alone can own; entries of one name share a worker
	Precision string          `yaml:"precision" one:"fp32 fp16"` // fp16: it may compute in half precision, and is judged by that
}

// DelegateOptions are a delegate library's own.
type DelegateOptions map[string]string

func (DelegateOptions) anyNames() {}

// maxDelegates is how many delegates a model may have.
const maxDelegates = 16

// Smooth is how single answers become the label topic, which changes only when it is
// stable.
type Smooth struct {
	Method string   `yaml:"method" one:"none ewma majority"`
	Alpha  float64  `yaml:"alpha" min:"0.001" max:"1"` // ewma: weight of the newest answer
	Window int      `yaml:"window" min:"1" max:"1000"` // majority: answers that vote
	On     float64  `yaml:"on" min:"0" max:"1"`        // a label comes when its score reaches this
	Off    float64  `yaml:"off" min:"0" max:"1"`       // and goes when it falls below this
	Frames int      `yaml:"frames" min:"1" max:"10000"`
	For    Duration `yaml:"for"` // as an alternative to frames; 0: frames alone count
}

// Runtime is the inference library.
type Runtime struct {
	Library Path `yaml:"library"` // libLiteRt.so; empty: searched beside the agent, then in /usr/lib/edge-agent
	// TFLite is a TFLite C library, for delegates that are TFLite plugins; empty:
	// searched in the folder tflite beside the agent, then in /usr/lib/edge-agent.
	TFLite Path `yaml:"tflite"`
	// TensorFlow is edge-infer-tf, for models with engine: savedmodel; empty: searched
	// beside the agent, then in /usr/lib/edge-agent.
	TensorFlow Path `yaml:"tensorflow"`
	// WorkerMemory is the resident memory above which a worker is replaced, between
	// two frames; 0: half of the machine's (WorkerLimit).
	WorkerMemory Size `yaml:"worker_memory"`
}

// WorkerLimit is the resident memory in bytes above which a worker is replaced: what
// the config says, else half of the machine's memory, else (it could not be asked)
// 0, no limit.
func (r Runtime) WorkerLimit() uint64 {
	if r.WorkerMemory > 0 {
		return uint64(r.WorkerMemory)
	}
	var i unix.Sysinfo_t
	if err := unix.Sysinfo(&i); err != nil {
		return 0
	}
	return i.Totalram * uint64(i.Unit) / 2
}

// Web is the page, /metrics, /healthz and /readyz.
type Web struct {
	Listen string `yaml:"listen"` // host:port; empty: none
	// Username and PasswordFile are of who may log in; the file holds a hash, as
	// "edge-agent passwd" writes it.
	Username     string `yaml:"username"`
	PasswordFile Path   `yaml:"password_file"`
	TLS          WebTLS `yaml:"tls"`
	Pprof        bool   `yaml:"pprof"` // profiles of the daemon, on this machine only
}

// WebTLS makes the page's protocol https.
type WebTLS struct {
	Cert     Path `yaml:"cert"` // PEM, with the chain
	Key      Path `yaml:"key"`
	ClientCA Path `yaml:"client_ca"` // PEM; who has no certificate of it is not let in
}

// Log is what is told and how.
type Log struct {
	Level  string `yaml:"level" one:"debug info warn error"`
	Format string `yaml:"format" one:"auto text json journal"` // auto: text on a terminal, else the journal's or JSON
}

// Thermal is the governor that has models asked less often on a hot machine.
type Thermal struct {
	Limit float64 `yaml:"limit" min:"0" max:"120"` // degrees Celsius of the hottest zone; 0: none
}

// thermalLimit is below what a Raspberry Pi's firmware throttles at (80); processors
// of other machines may be as hot as that all day.
var thermalLimit = map[string]float64{"arm64": 75}

// defaults fills a Config as if its file said nothing.
func (c *Config) defaults() {
	*c = Config{
		Version: 1,
		Agent:   Agent{DataDir: defaultDataDir},
		MQTT: MQTT{
			Broker:        "embedded",
			Embedded:      Embedded{Listen: "127.0.0.1:1883", Websocket: "127.0.0.1:9001"},
			Prefix:        "edge",
			Results:       Class{QoS: 1, Durability: "memory", Drop: "thin", Spill: true},
			Events:        Class{QoS: 1, Durability: "disk", Drop: "oldest", Spill: true},
			Queue:         Queue{MaxBytes: 64 << 20, MaxAge: Duration(24 * hour)},
			HomeAssistant: HomeAssistant{Prefix: "homeassistant", Form: "entities", ExpireAfter: Duration(time.Minute)},
		},
		Pixels:  "local",
		Thermal: Thermal{Limit: thermalLimit[runtime.GOARCH]},
		Web:     Web{Listen: "127.0.0.1:8080"},
		Log:     Log{Level: "info", Format: "auto"},
	}
}

// defaults fills a Model as if its block were empty.
func (m *Model) defaults() {
	*m = Model{Order: "listed", CheckEvery: Duration(time.Minute), Standby: true}
}

// defaults fills a Smooth as if its block were empty.
func (s *Smooth) defaults() { *s = Smooth{Method: "none", Alpha: 0.4, Window: 5, Frames: 3} }

// CPUThreads is the number of threads with which m runs on its delegate d (which
// may be the zero Delegate): the delegate's own, else the model's, else one a
// core and at most four, where more of them rarely help a small network.
func (m Model) CPUThreads(d Delegate) int {
	switch {
	case d.Threads > 0:
		return d.Threads
	case m.Threads > 0:
		return m.Threads
	}
	return min(runtime.NumCPU(), 4)
}

// File is the config file, as an absolute path.
func (c *Config) File() string { return c.file }

// Text is the config file as Load read it, without what variables and flags said.
func (c *Config) Text() []byte { return c.text }

// CameraIDs gives the cameras in the order of their names.
func (c *Config) CameraIDs() []string { return slices.Sorted(maps.Keys(c.Cameras)) }

// ModelIDs gives the models in the order of their names.
func (c *Config) ModelIDs() []string { return slices.Sorted(maps.Keys(c.Models)) }

// ofService begins a path that names a credential of the service instead of a
// file; see systemd.exec(5), LoadCredential.
const ofService = "credential:"

// Resolve finds a file that the config mentions: beside the config file, then
// under ShareDir. "credential:NAME" is the file that systemd laid down for the
// service. When it is in neither place found is empty and searched says
// where it was looked for, as full paths. An empty p gives nothing at all.
func (c *Config) Resolve(p Path) (found string, searched []string) {
	if p == "" {
		return "", nil
	}
	searched = c.places(p)
	for _, place := range searched {
		if _, err := os.Stat(place); err == nil {
			return place, searched
		}
	}
	return "", searched
}

// places is where Resolve looks for p.
func (c *Config) places(p Path) []string {
	if name, ok := strings.CutPrefix(string(p), ofService); ok {
		dir := os.Getenv("CREDENTIALS_DIRECTORY")
		if dir == "" {
			dir = "/run/credentials/edge-agent.service" // for the complaint, and for root who tries
		}
		return []string{filepath.Join(dir, filepath.Base(name))}
	}
	if filepath.IsAbs(string(p)) {
		return []string{filepath.Clean(string(p))}
	}
	return []string{filepath.Join(c.dir, string(p)), filepath.Join(ShareDir, string(p))}
}
