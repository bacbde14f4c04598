// Package capture is the daemon's side of a camera: it starts the worker that
// reads the source, lends it slots of the frame pool, notices when it dies, stalls
// or loses its source, replaces it, and keeps the account of every frame. It links
// no OpenCV: that is the worker's (capture/opencv).
package capture

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"edgeagent/internal/pipeline"
	"edgeagent/internal/source"
	"edgeagent/internal/worker"
)

// ErrClosed says that the camera was closed.
var ErrClosed = errors.New("the camera is closed")

// Pace says who waits for whom.
type Pace string

// The paces.
const (
	Realtime Pace = "realtime" // frames come when they come; the newest wins
	Lockstep Pace = "lockstep" // the next frame is grabbed when every view has taken this one
)

// The defaults of Config.
const (
	DefaultOpenTimeout = 10 * time.Second
	DefaultReadTimeout = 2500 * time.Millisecond
	DefaultSlots       = 3
)

// Starter starts workers: *worker.Spawner, and in tests something of their own.
type Starter interface {
	// Start forks a worker and exchanges greetings, within ctx.
	Start(ctx context.Context, s worker.Spec) (*worker.Process, error)
}

// Config says what to read and how.
type Config struct {
	ID     string
	Source string   // as source.Parse reads it
	Files  []string // pictures by absolute path, read in this order, instead of Source
	Width  int      // wished of a V4L2 device, in pixels; 0: its own choice
	Height int
	// SourceFPS is the rate wished of a V4L2 device, or at which still pictures
	// follow each other; 0: the source's own. (How often a model is asked is its
	// scheduler's business.)
	SourceFPS float64

	// Options are those of the source that its text does not say. (Kind and Where are
	// the text's.)
	Options source.Options

	Picture source.Picture // what is done to every frame before anybody sees it
	Motion  *source.Motion // nil: models get frames whether anything moves or not
	Pixels  source.Pixels  // where pictures may go; "" is none
	Frozen  time.Duration  // a live source that shows the same picture for so long is lost; 0: never
	Lens    bool           // tell when a live camera is dark, covered, blurred or moved
	MaxAge  time.Duration  // an older frame is dropped; 0: none is. Not in lockstep, where nothing is old.

	Pace Pace   // "" is Realtime
	Loop bool   // recordings begin again at their end
	Demo string // the clip that stands in for a camera when source is auto and none is there

	Spawner Starter
	Binary  *worker.Binary // edge-agent-capture; nil: this installation reads no pictures
	Missing string         // with no Binary: why, in a sentence (FindBinary's error)
	Build   string         // our build id
	Cache   string         // folder for what may be made anew at any time; "": none
	Log     *slog.Logger

	MaxResident uint64        // bytes of resident memory above which the worker is replaced; 0: no limit
	OpenTimeout time.Duration // until the source must be open; 0 means DefaultOpenTimeout
	ReadTimeout time.Duration // without a frame, until the source counts as stalled; 0 means DefaultReadTimeout
}

// ViewConfig is one look at the camera: a model's input, of a region.
type ViewConfig struct {
	Model, Region string
	Box           source.Box // the region's part of the picture; zero: all of it
	Recipe        pipeline.Recipe
	Slots         int // 0 means DefaultSlots

	// OnPool, if not nil, is told of a pool that takes the place of an older one,
	// before the first frame of it. It is called on a goroutine of the camera.
	OnPool func(*worker.Pool)
}

// Info is what is known of a camera at one moment.
type Info struct {
	Status      pipeline.CameraStatus `json:"status"`
	LastError   string                `json:"last_error,omitempty"` // why it is or was away
	LastErrorAt time.Time             `json:"last_error_at,omitzero"`
	Source      string                `json:"source"` // what is read, without secrets
	Backend     string                `json:"backend,omitempty"`
	Granted     string                `json:"granted,omitempty"` // what the device made of our wishes
	Demo        bool                  `json:"demo,omitempty"`
	Width       int                   `json:"width,omitempty"`
	Height      int                   `json:"height,omitempty"`
	FPS         float64               `json:"fps"`        // frames grabbed a second, lately
	Captured    uint64                `json:"captured"`   // frames grabbed since the agent's start
	Decode      time.Duration         `json:"-"`          // processor time that reading and decoding took a frame, lately
	Decoding    time.Duration         `json:"-"`          // and all frames since the agent's start
	LastGrab    int64                 `json:"-"`          // CLOCK_MONOTONIC ns; 0: no frame yet
	Reconnects  uint64                `json:"reconnects"` // workers after the first that gave frames
	Stalls      uint64                `json:"stalls"`     // workers ended because no frame came or they did not answer
	Losses      uint64                `json:"losses"`     // workers that ended otherwise: died, lost their source, were replaced
	Generation  uint32                `json:"generation,omitempty"`
	PID         int                   `json:"pid,omitempty"`
	Resident    uint64                `json:"resident_bytes,omitempty"` // of the worker, as it says
	Motion      bool                  `json:"motion,omitempty"`         // something moves (with a motion gate)
	Lens        source.Lens           `json:"lens,omitempty"`           // what is wrong with what it sees
}

// Camera is a source under supervision. Its methods are safe for several
// goroutines.
type Camera struct {
	conf   Config
	src    source.Source
	views  []*View
	events func(pipeline.Event)
	status func(pipeline.CameraStatus)

	stopped context.Context // done when Close was called
	stop    context.CancelFunc
	grace   context.Context // how long Close lets the worker end by itself
	wg      sync.WaitGroup  // the supervisor
	opening opening         // the supervisor's

	mu      sync.Mutex // guards what follows
	cur     *session
	changed chan struct{} // closed when cur changes, and made anew
	info    Info
	told    bool          // status has been called
	frames  bool          // some worker has given frames
	seq     uint64        // of the last frame that ended workers grabbed
	ended   int           // views that have seen the end of the recording
	off     bool          // disabled
	toggled chan struct{} // closed when off changes, and made anew
}

// Open starts to supervise a camera and returns at once, whether its source is
// there or not; an error means that the configuration cannot work. events and
// status are called on a goroutine of the camera, one call at a time, and must not
// wait for it.
func Open(c Config, views []ViewConfig, events func(pipeline.Event), status func(pipeline.CameraStatus)) (*Camera, error) {
	src, err := source.Parse(c.Source)
	if len(c.Files) > 0 {
		src, err = source.Source{Kind: source.Images, Files: c.Files}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("camera %s: %w", c.ID, err)
	}
	if c.Pace == Lockstep && (src.Live() || src.Kind == source.Auto) {
		return nil, fmt.Errorf("camera %s: pace lockstep is for files, folders and testpattern:, for a live camera does not wait", c.ID)
	}
	if src.Kind != source.Pattern { // which says its own
		src.Width, src.Height, src.FPS = c.Width, c.Height, c.SourceFPS
	}
	src.Options = c.Options
	check := source.Open{Source: src, Picture: c.Picture, Motion: c.Motion}
	if err := check.Check(); err != nil {
		return nil, fmt.Errorf("camera %s: %w", c.ID, err)
	}
	if c.OpenTimeout <= 0 {
		c.OpenTimeout = DefaultOpenTimeout
	}
	if c.ReadTimeout <= 0 {
		c.ReadTimeout = DefaultReadTimeout
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	cam := &Camera{
		conf: c, src: src, events: events, status: status,
		changed: make(chan struct{}), toggled: make(chan struct{}),
		info: Info{Status: pipeline.CameraOffline, Source: src.String()},
	}
	cam.stopped, cam.stop = context.WithCancel(context.Background())
	for _, vc := range views {
		v, err := newView(cam, vc)
		if err != nil {
			cam.closeViews()
			cam.stop()
			return nil, fmt.Errorf("camera %s, model %s: %w", c.ID, vc.Model, err)
		}
		cam.views = append(cam.views, v)
	}
	cam.wg.Add(1)
	go cam.supervise()
	return cam, nil
}

// ID is the camera's name in the configuration.
func (c *Camera) ID() string { return c.conf.ID }

// View is the look at the camera that a model has, of a region; nil when there is none.
func (c *Camera) View(model, region string) *View {
	for _, v := range c.views {
		if v.conf.Model == model && v.conf.Region == region {
			return v
		}
	}
	return nil
}

// Views are all looks at the camera, in the order given to Open.
func (c *Camera) Views() []*View { return c.views }

// Info tells how the camera is.
func (c *Camera) Info() Info {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := c.info
	i.Captured = c.seq
	if s := c.cur; s != nil {
		i.Generation, i.PID = s.p.Generation(), s.p.PID()
		grabbed, last, resident := s.header()
		i.Captured, i.LastGrab, i.Resident = max(i.Captured, grabbed), last, resident
		i.Decoding += s.decoding()
	}
	return i
}

// Close ends the worker, by force when ctx is done, and waits for the camera's
// goroutine. Fills under way return ErrClosed. A pool whose frames are not all
// released yet is let go when they are.
func (c *Camera) Close(ctx context.Context) {
	c.mu.Lock()
	if c.grace == nil {
		c.grace = ctx
	}
	c.mu.Unlock()
	c.stop()
	c.wg.Wait()
	c.closeViews()
}

func (c *Camera) closeViews() {
	for _, v := range c.views {
		v.retire()
	}
}

// await gives the session that reads now, and waits for one as long as ctx and the
// camera live.
func (c *Camera) await(ctx context.Context) (*session, error) {
	for {
		c.mu.Lock()
		s, changed := c.cur, c.changed
		c.mu.Unlock()
		if s != nil {
			return s, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-c.stopped.Done():
			return nil, ErrClosed
		}
	}
}

// setSession makes s the one that fills are asked of; nil: none.
func (c *Camera) setSession(s *session) {
	c.mu.Lock()
	c.cur = s
	close(c.changed)
	c.changed = make(chan struct{})
	c.mu.Unlock()
}

// setStatus tells a status that is new.
func (c *Camera) setStatus(st pipeline.CameraStatus) {
	c.mu.Lock()
	is := !c.told || c.info.Status != st
	c.told, c.info.Status = true, st
	c.mu.Unlock()
	if is && c.status != nil {
		c.status(st)
	}
}

// event tells what happened.
func (c *Camera) event(kind, text string) {
	if c.events != nil {
		c.events(pipeline.Event{Time: time.Now(), Kind: kind, Camera: c.conf.ID, Text: text})
	}
}

// The kinds of a camera's events.
const (
	EventLost = "camera-lost" // no frames come; told once until they come back
	EventBack = "camera-back"
	EventEnd  = "camera-end" // the recording is over
	EventPool = "pool-written-off"
	EventLens = "camera-view" // it sees nothing, not sharply, something else, or is clear again
)

// online notes that frames come.
func (c *Camera) online(s *session) {
	c.mu.Lock()
	was, again := c.info.Status, c.frames
	lost := c.told && was != pipeline.CameraOnline
	if again {
		c.info.Reconnects++
	}
	c.frames = true
	c.mu.Unlock()
	c.setStatus(pipeline.CameraOnline)
	text := s.text()
	c.conf.Log.Info("camera online", "camera", c.conf.ID, "source", text)
	if lost {
		c.event(EventBack, text)
	}
}

// away notes that no frames come and why. Of the same reason again and again only
// the first is logged.
func (c *Camera) away(st pipeline.CameraStatus, err error, again time.Duration) {
	c.mu.Lock()
	lost := !c.told || c.info.Status == pipeline.CameraOnline
	same := c.info.LastError == err.Error() && !lost
	c.info.LastError, c.info.LastErrorAt, c.info.FPS = err.Error(), time.Now(), 0
	c.mu.Unlock()
	c.setStatus(st)
	level := slog.LevelWarn
	if same {
		level = slog.LevelDebug
	}
	c.conf.Log.Log(context.Background(), level, "camera gives no frames", "camera", c.conf.ID, "status", st, "error", err, "again_in", again.Round(time.Millisecond))
	if lost {
		c.event(EventLost, err.Error())
	}
}

// rate keeps the measured frame rate, and what a frame's decoding took.
func (c *Camera) rate(fps float64, decode time.Duration) {
	c.mu.Lock()
	c.info.FPS, c.info.Decode = math.Round(fps*100)/100, decode
	c.mu.Unlock()
}

// lensTexts tell people what the lens watch found.
var lensTexts = map[source.Lens]string{
	source.LensClear:   "clear: it sees again",
	source.LensDark:    "dark: the picture is black",
	source.LensCovered: "covered: nothing can be made out in the picture",
	source.LensBlurred: "blurred: the picture is far less sharp than it was",
	source.LensMoved:   "moved: it sees something else than before",
}

// learn keeps what a worker said of its source.
func (c *Camera) learn(i source.Info) {
	c.mu.Lock()
	c.info.Source, c.info.Backend, c.info.Granted, c.info.Demo = i.Source, i.Backend, i.Granted, i.Demo
	c.info.Width, c.info.Height, c.info.Motion = i.Width, i.Height, i.Motion
	was := c.info.Lens
	text, known := lensTexts[i.Lens]
	if known {
		c.info.Lens = i.Lens
	}
	c.mu.Unlock()
	if known && was != i.Lens {
		c.conf.Log.Info("camera's view", "camera", c.conf.ID, "is", text)
		c.event(EventLens, text)
	}
}
