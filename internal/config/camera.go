// A camera's block: the source and how it is read, what is done to its pictures,
// and when they are kept for people.

package config

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"edgeagent/internal/source"
)

// Camera is a source of frames and the models that look at them.
type Camera struct {
	Source Source   `yaml:"source"`
	Models []string `yaml:"models"`
	FPS    float64  `yaml:"fps" min:"0" max:"1000"` // inferences a second, each model; 0: as fast as it goes
	Pace   string   `yaml:"pace" one:"realtime lockstep"`
	Loop   bool     `yaml:"loop"` // files and folders begin again at their end

	Weight   int    `yaml:"weight" min:"1" max:"1000"` // share of a busy model, against its other cameras
	Priority string `yaml:"priority" one:"normal high"`

	// Wished of a V4L2 or CSI camera; 0 or empty: its own choice.
	Width       int     `yaml:"width" min:"0" max:"16384"`
	Height      int     `yaml:"height" min:"0" max:"16384"`
	DeviceFPS   float64 `yaml:"device_fps" min:"0" max:"1000"`
	PixelFormat string  `yaml:"pixel_format"`

	// How streams are read.
	Transport    string   `yaml:"transport" one:"tcp udp"`
	Backend      string   `yaml:"backend" one:"auto ffmpeg gstreamer"`
	Username     string   `yaml:"username"`
	Password     Secret   `yaml:"password" from:"env"` // from EDGE_AGENT_CAMERAS_…_PASSWORD only
	PasswordFile Path     `yaml:"password_file"`
	Poll         Duration `yaml:"poll"`  // the URL is one JPEG, fetched so often
	Watch        bool     `yaml:"watch"` // pictures that come into the folder are read as they come

	OpenTimeout Duration `yaml:"open_timeout"`
	ReadTimeout Duration `yaml:"read_timeout"` // without a frame, until the camera counts as stalled
	MaxAge      Interval `yaml:"max_age"`      // older frames are dropped; 0: none
	Frozen      Interval `yaml:"frozen"`       // the same picture for so long: stalled; 0: never
	LensWatch   bool     `yaml:"lens_watch"`   // tell a dark, covered, blurred or moved camera

	// What is done to every picture before anybody sees it.
	Crop   Box      `yaml:"crop"`
	Rotate int      `yaml:"rotate"`
	Flip   string   `yaml:"flip" one:"horizontal vertical both"`
	Mask   Polygons `yaml:"mask"`

	Regions  map[string]Region `yaml:"regions"` // parts that are looked at, each by itself, instead of the whole
	Motion   Motion            `yaml:"motion"`
	Snapshot Snapshot          `yaml:"snapshot"`
	Smooth   Smooth            `yaml:"smooth"`
}

// Region is a part of a camera's picture that models look at on its own.
type Region struct {
	Box    Box      `yaml:"box"`
	Models []string `yaml:"models"` // of the camera's; empty: all of them
}

// Motion lets frames through to the models only while something moves.
type Motion struct {
	On        bool     // the block is there
	Threshold int      `yaml:"threshold" min:"1" max:"254"`   // gray values by which a pixel has changed
	MinArea   float64  `yaml:"min_area" min:"0.0001" max:"1"` // fraction of the picture, or of the region
	Hold      Duration `yaml:"hold"`                          // goes on for so long after the last motion
	Every     Interval `yaml:"every"`                         // a frame goes through at least so often; 0: only with motion
}

// Snapshot is when pictures are published, and how.
type Snapshot struct {
	On      bool     // the block is there
	Every   Interval `yaml:"every"`    // 0: not by time
	OnLabel bool     `yaml:"on_label"` // when the label changes
	Quality int      `yaml:"quality" min:"1" max:"100"`
	Width   int      `yaml:"width" min:"0" max:"16384"` // wider pictures are made smaller; 0: as they are
	Boxes   bool     `yaml:"boxes"`                     // regions, boxes and labels are drawn
	Retain  bool     `yaml:"retain"`
}

// defaults fills a Camera as if its block were empty.
func (c *Camera) defaults() {
	*c = Camera{
		Source: "auto", FPS: 10, Pace: "realtime", Loop: true, Weight: 1, Priority: "normal", Transport: "tcp", Backend: "auto",
		OpenTimeout: Duration(10e9), ReadTimeout: Duration(2500e6), MaxAge: Interval(10e9), Frozen: Interval(60e9), LensWatch: true,
	}
	c.Smooth.defaults()
}

// defaults fills the gate of a block that is there.
func (m *Motion) defaults() {
	*m = Motion{On: true, Threshold: 25, MinArea: 0.005, Hold: Duration(2e9), Every: Interval(60e9)}
}

// defaults fills the snapshots of a block that is there.
func (s *Snapshot) defaults() { *s = Snapshot{On: true, Quality: 80} }

// Box is [left, top, width, height] in fractions of the picture.
type Box source.Box

// Polygons are areas, each a list of corners [x, y] in fractions of the picture. One
// area may be written without the outer list.
type Polygons []source.Polygon

// shaped is a type that reads itself from a node that is no single word.
type shaped interface {
	shape(d *decoder, n *yaml.Node, key string)
}

// shape reads four numbers.
func (b *Box) shape(d *decoder, n *yaml.Node, key string) {
	f := d.numbers(n, key, 4, "[left, top, width, height] in fractions of the picture, as in [0.25, 0, 0.5, 1]")
	if f == nil {
		return
	}
	*b = Box(f)
	if err := source.Box(*b).Check(); err != nil {
		d.at(n, key, "%v", err)
	}
}

const polygonForm = "a list of corners in fractions of the picture, as in [[0, 0], [0.3, 0], [0.3, 0.2], [0, 0.2]], or a list of such lists"

// shape reads one polygon, or a list of them.
func (p *Polygons) shape(d *decoder, n *yaml.Node, key string) {
	all := []*yaml.Node{n}
	first := func(n *yaml.Node) *yaml.Node {
		if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
			return &yaml.Node{}
		}
		return n.Content[0]
	}
	if n.Kind != yaml.SequenceNode {
		d.at(n, key, "takes %s", polygonForm)
		return
	}
	if first(first(n)).Kind != yaml.ScalarNode {
		all = n.Content
	}
	for i, area := range all {
		at := key
		if area != n {
			at = key + "[" + strconv.Itoa(i) + "]"
		}
		var polygon source.Polygon
		if area.Kind != yaml.SequenceNode || len(area.Content) > source.MaxCorners {
			d.at(area, at, "takes %s; at most %d corners", polygonForm, source.MaxCorners)
			continue
		}
		for _, corner := range area.Content {
			if f := d.numbers(corner, at, 2, polygonForm); f != nil {
				polygon = append(polygon, source.Point(f))
			}
		}
		if len(polygon) < len(area.Content) {
			continue // told
		}
		if err := polygon.Check(); err != nil {
			d.at(area, at, "%v", err)
		}
		*p = append(*p, polygon)
	}
}

// numbers reads a list of so many numbers; nil when it is none, which is told.
func (d *decoder) numbers(n *yaml.Node, key string, want int, form string) []float64 {
	if n.Kind == yaml.ScalarNode && d.origin[n] != "" {
		n = &yaml.Node{Kind: yaml.SequenceNode, Content: d.split(n), Line: n.Line, Column: n.Column}
	}
	if n.Kind != yaml.SequenceNode || len(n.Content) != want || !d.spend(n) {
		d.at(n, key, "takes %s", form)
		return nil
	}
	var all []float64
	for _, e := range n.Content {
		f, err := strconv.ParseFloat(e.Value, 64)
		if e.Kind != yaml.ScalarNode || err != nil {
			d.at(e, key, "takes %s", form)
			return nil
		}
		all = append(all, f)
	}
	return all
}

// isShaped says whether values of t read themselves.
func isShaped(t reflect.Type) bool { return reflect.PointerTo(t).Implements(reflect.TypeFor[shaped]()) }

// Picture is what is done to the camera's pictures.
func (c Camera) Picture() source.Picture {
	return source.Picture{Crop: source.Box(c.Crop), Rotate: c.Rotate, Flip: source.Flip(c.Flip), Masks: c.Mask}
}

// Gate is the camera's motion gate; nil: there is none.
func (c Camera) Gate() *source.Motion {
	if !c.Motion.On {
		return nil
	}
	return &source.Motion{
		Threshold: c.Motion.Threshold, MinArea: c.Motion.MinArea,
		HoldMS: int(c.Motion.Hold.Std().Milliseconds()), EveryMS: int(c.Motion.Every.Std().Milliseconds()),
	}
}

// Options are those of the source. The password is given by who reads the files.
func (c Camera) Options() source.Options {
	backend := source.Backend(c.Backend)
	if c.Backend == "auto" {
		backend = ""
	}
	return source.Options{
		Transport: source.Transport(c.Transport), Backend: backend, User: c.Username,
		PixelFormat: c.PixelFormat, PollMS: int(c.Poll.Std().Milliseconds()), Watch: c.Watch,
	}
}

// RegionIDs gives the camera's regions in the order of their names; one empty name
// stands for the whole picture where there are none.
func (c Camera) RegionIDs() []string {
	if len(c.Regions) == 0 {
		return []string{""}
	}
	var all []string
	for id := range c.Regions {
		all = append(all, id)
	}
	slices.Sort(all)
	return all
}

// Looks says whether a model of the camera looks at one of its regions.
func (c Camera) Looks(model, region string) bool {
	if !slices.Contains(c.Models, model) {
		return false
	}
	r := c.Regions[region]
	return len(r.Models) == 0 || slices.Contains(r.Models, model)
}

// CameraPassword gives the password for a camera's stream: from the variable, else
// from password_file without the line end.
func (c *Config) CameraPassword(id string) (Secret, error) {
	cam := c.Cameras[id]
	return c.secret("cameras."+id+".password_file", cam.Password, cam.PasswordFile)
}

// checkPicture tells what is wrong with the picture's keys.
func (c Camera) checkPicture(p *collector, key string) {
	switch c.Rotate {
	case 0, 90, 180, 270:
	default:
		p.key(key+".rotate", "%d is not 0, 90, 180 or 270 (degrees clockwise)", c.Rotate)
	}
	if len(c.Mask) > source.MaxPolygons {
		p.key(key+".mask", "has %d areas; at most %d", len(c.Mask), source.MaxPolygons)
	}
	for _, id := range c.RegionIDs() {
		r := c.Regions[id]
		at := key + ".regions." + id
		if id != "" && r.Box == (Box{}) {
			p.key(at, "needs a box: [left, top, width, height] in fractions of the picture")
		}
		for i, m := range r.Models {
			if !slices.Contains(c.Models, m) {
				p.key(fmt.Sprintf("%s.models[%d]", at, i), "%s is not one of the camera's models", shown(m))
			}
		}
	}
	if c.Motion.On && c.Pace == "lockstep" {
		p.key(key+".motion", "leaves frames out, and pace: lockstep none; remove one of the two")
	}
}

// checkReading tells keys that do not go with the source.
func (c Camera) checkReading(p *collector, key string) {
	text := string(c.Source)
	kind := c.Source.Kind()
	given := func(k string) bool { return p.where[key+"."+k] != nil }
	rtsp := strings.HasPrefix(text, "rtsp://") || strings.HasPrefix(text, "rtsps://")
	for _, k := range []string{"transport", "backend"} {
		if given(k) && !rtsp {
			p.key(key+"."+k, "is for rtsp:// sources")
		}
	}
	if given("pixel_format") && kind != SourceV4L2 && kind != SourceAuto {
		p.key(key+".pixel_format", "is for /dev/video cameras")
	}
	if f := c.PixelFormat; f != "" && (len(f) != 4 || strings.ToUpper(f) != f) {
		p.key(key+".pixel_format", "%s is no pixel format; it has four letters, as MJPG or YUYV", shown(f))
	}
	if c.Watch && kind != SourceFile {
		p.key(key+".watch", "is for folders of pictures")
	}
	if c.Poll != 0 && (kind != SourceURL || rtsp) {
		p.key(key+".poll", "is for the http:// or https:// address of a single JPEG")
	}
	if (c.Username != "" || given("password_file") || given("password")) && kind != SourceURL {
		p.key(key+".username", "username and password are for rtsp://, http:// and https:// sources")
	}
	if c.Username == "" && (c.PasswordFile != "" || !c.Password.Empty()) {
		p.key(key+".password_file", "a password needs a username")
	}
	if c.Username != "" && strings.Contains(text, "@") {
		p.key(key+".username", "the source has a user name in it already; keep one of the two")
	}
	if !c.Password.Empty() && c.PasswordFile != "" {
		p.key(key+".password_file", "there is a password already; keep one of the two")
	}
	for k, v := range map[string]Duration{"open_timeout": c.OpenTimeout, "read_timeout": c.ReadTimeout} {
		if v < Duration(100e6) {
			p.key(key+"."+k, "%s is too short; at least 100ms", v)
		}
	}
}
