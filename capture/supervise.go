package capture

// The life of a camera's workers: start, watch, end, start again.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"edgeagent/internal/pipeline"
	"edgeagent/internal/source"
	"edgeagent/internal/worker"
)

const (
	tickStart = 20 * time.Millisecond  // how often a worker is looked at until its first frame
	tickWatch = 200 * time.Millisecond // and after that
	slack     = time.Second            // what a worker is given beyond its own deadlines
	stopWait  = time.Second            // for a worker to end by itself when nobody waits for it

	maxSide = 1 << 16               // no picture has more pixels in a row
	fastest = 10 * time.Microsecond // no source gives frames faster
)

// errEnd ends supervision: the recording is over for every view.
var errEnd = errors.New("the recording is over")

// stallError says that a worker was ended because nothing came from it.
type stallError struct{ text string }

func (e *stallError) Error() string { return e.text }

// session is the life of one worker, from Opened to its reaping.
type session struct {
	cam    *Camera
	p      *worker.Process
	shelf  []*shelf // of each view, as attached
	first  uint64   // seq before its first frame
	began  int64    // CLOCK_MONOTONIC ns
	opened int64

	kick chan error // why it must end, from a view

	mu   sync.Mutex // also orders notes: whoever reads one has used it before the next is read
	info source.Info
	lost string

	blob blob // where snapshots go

	over    chan struct{} // closed when it has been torn down
	reaped  bool          // valid then: its slots are ours again
	grabbed uint64        // valid then: seq of its last frame
}

// supervise runs workers, one after the other, until the camera is closed or its
// recording is over.
func (c *Camera) supervise() {
	defer c.wg.Done()
	if c.conf.Binary == nil {
		text := c.conf.Missing
		if text == "" {
			_, _, err := FindBinary("")
			text = fmt.Sprint(err)
		}
		c.away(pipeline.CameraOffline, errors.New(text), 0)
		return
	}
	wait := worker.Backoff{Initial: 200 * time.Millisecond, Max: 30 * time.Second, Healthy: 3 * time.Second}
	hasty := 0 // tries in vain, one after the other, that did not wait because the source seemed to be back
	for {
		toggled := c.toggling()
		if !c.whileOff() {
			return
		}
		began := time.Now()
		s, err := c.start()
		if err == nil {
			err = c.watch(s)
			c.end(s, err)
			if errors.Is(err, errEnd) {
				c.over()
				return
			}
		} else {
			began = time.Now() // it did not live at all
		}
		if c.stopped.Err() != nil {
			return
		}
		if errors.Is(err, errDisabled) || !c.Enabled() {
			continue
		}
		again := wait.Next(time.Since(began))
		st := pipeline.CameraOffline
		var stall *stallError
		if errors.As(err, &stall) {
			st = pipeline.CameraStalled
			if s == nil {
				// Its deadline was wait enough, and an open under way when the source is
				// back is the quickest way to a frame.
				again = min(again, wait.Initial)
			}
		}
		c.away(st, err, again)
		if s != nil {
			hasty = 0
		}
		// What came back while the worker was on its way to say that it was away is here
		// now, and was not at the last look. That this worker can reach it as well is a
		// guess: after a few that were wrong the pause is kept.
		if c.rest(again, source.Absent(err) && hasty < maxHasty, toggled) {
			hasty++
		}
	}
}

// maxHasty bounds how often a source is tried at once because it seems to be back.
const maxHasty = 5

// rest waits before the next worker: for so long, or until the source is seen to
// have come back, which it says; or the camera was switched, or closed. absent says
// that the last worker found nothing where the source should be.
func (c *Camera) rest(again time.Duration, absent bool, toggled <-chan struct{}) bool {
	ctx, cancel := context.WithTimeout(c.stopped, again)
	defer cancel()
	back := make(chan struct{})
	early := false
	go func() {
		defer close(back)
		c.src.AwaitReturn(ctx, absent)
		early = ctx.Err() == nil
	}()
	select {
	case <-back:
	case <-toggled:
	}
	cancel()
	<-back
	return early
}

// over tells the end of a recording.
func (c *Camera) over() {
	c.mu.Lock()
	c.info.LastError, c.info.FPS = errEnd.Error(), 0
	c.mu.Unlock()
	c.setStatus(pipeline.CameraOffline)
	c.conf.Log.Info("recording over", "camera", c.conf.ID)
	c.event(EventEnd, errEnd.Error())
}

// start starts a worker, gives it the pools, and has it open the source.
func (c *Camera) start() (*session, error) {
	src, err := c.src.Resolve(c.conf.Demo)
	if err != nil {
		return nil, err
	}
	if c.conf.Pace == Lockstep && src.Live() {
		return nil, fmt.Errorf("%s is a live camera, which lockstep cannot wait for", src)
	}
	// Each of the listed pictures is one frame: a new worker goes on behind the last.
	src.Files = src.Files[min(int(c.seq), len(src.Files)):]
	p, err := c.conf.Spawner.Start(c.stopped, worker.Spec{
		Kind: "capture", Name: "capture " + c.conf.ID, Binary: c.conf.Binary,
		Env: environment(src, c.conf.Cache), Build: c.conf.Build, Log: c.conf.Log,
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(c.stopped, c.conf.OpenTimeout+slack) // of the source: the worker has come up
	defer cancel()
	s := &session{cam: c, p: p, first: c.seq, began: pipeline.Now(), kick: make(chan error, 1), over: make(chan struct{})}
	for _, v := range c.views {
		if err == nil {
			err = s.attach(ctx, v)
		}
	}
	if err == nil {
		err = s.attachBlob(ctx)
	}
	if err == nil {
		began := time.Now()
		err = s.open(ctx, src, c.opening.limit(c.conf.OpenTimeout))
		c.opening.took(time.Since(began), err)
	}
	if err != nil {
		c.end(s, err)
		return nil, err
	}
	s.opened = pipeline.Now()
	c.setSession(s)
	if !c.Enabled() {
		s.fail(errDisabled) // switched off while it was opened
	}
	return s, nil
}

// attach hands a view's pool to the worker.
func (s *session) attach(ctx context.Context, v *View) error {
	sh, err := v.ready()
	if err != nil {
		return err
	}
	s.shelf = append(s.shelf, sh)
	info, f := sh.pool.Writable()
	_, _, err = s.p.Call(ctx, worker.Message{Type: worker.Attach, View: info.View},
		source.Attach{PoolInfo: info, Recipe: v.conf.Recipe, Box: v.conf.Box}, f)
	return err
}

// open has the worker open the source, within limit.
func (s *session) open(ctx context.Context, src source.Source, limit time.Duration) error {
	c := s.cam
	ctx, cancel := context.WithTimeout(ctx, limit+slack)
	defer cancel()
	_, body, err := s.p.Call(ctx, worker.Message{Type: worker.Open}, source.Open{
		Source: src, Lockstep: c.conf.Pace == Lockstep, Loop: c.conf.Loop || src.Demo, FirstSeq: s.first,
		OpenMS: int(limit.Milliseconds()), ReadMS: int(c.conf.ReadTimeout.Milliseconds()),
		Picture: c.conf.Picture, Motion: c.conf.Motion, Pixels: c.conf.Pixels,
		FrozenMS: int(c.conf.Frozen.Milliseconds()), Lens: c.conf.Lens && src.Live(),
	})
	if errors.Is(err, context.DeadlineExceeded) && c.stopped.Err() == nil {
		return &stallError{fmt.Sprintf("%s did not open within %v", src, limit.Round(100*time.Millisecond))}
	}
	if err != nil {
		return err
	}
	var i source.Info
	if err := json.Unmarshal(body, &i); err != nil {
		return fmt.Errorf("opened: %w", err)
	}
	s.take(i)
	return nil
}

// take keeps what the worker says of its source.
func (s *session) take(i source.Info) {
	if i.Width < 0 || i.Height < 0 || i.Width > maxSide || i.Height > maxSide {
		i.Width, i.Height = 0, 0
	}
	s.info = i
	if i.Lost != "" {
		s.lost = i.Lost
	}
	s.cam.learn(i)
}

// hear reads what the worker has told by now. It never waits. A worker tells a new
// size before the first frame of it, so hearing after a reply is in time.
func (s *session) hear() source.Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		select {
		case n, ok := <-s.p.Notes():
			if !ok {
				return s.info
			}
			var i source.Info
			if json.Unmarshal(n.Body, &i) == nil { // what cannot be read changes nothing
				s.take(i)
			}
		default:
			return s.info
		}
	}
}

// text tells the source and its size to people.
func (s *session) text() string {
	i := s.hear()
	text := fmt.Sprintf("%s (%s %dx%d)", i.Source, i.Backend, i.Width, i.Height)
	if i.Demo {
		text += ", the demo clip"
	}
	return text
}

// header reads the worker's own words from the pools: the highest seq, the last
// grab, its resident set. A seq that no source could have reached is not believed.
func (s *session) header() (grabbed uint64, last int64, resident uint64) {
	now := pipeline.Now()
	most := s.first + uint64((now-s.began)/int64(fastest))
	grabbed = s.first
	for _, sh := range s.shelf {
		h := sh.pool.Header()
		if h.Generation.Load() != s.p.Generation() {
			continue // what an older worker left there
		}
		if g := h.Grabbed.Load(); g <= most {
			grabbed = max(grabbed, g)
		}
		last = max(last, min(now, h.LastGrab.Load()))
		resident = h.Resident.Load()
	}
	return grabbed, last, resident
}

// decoding is the processor time that the worker spent on reading and decoding, as it
// says; what a machine of so many processors could not have spent is not believed.
func (s *session) decoding() time.Duration {
	spent := time.Duration(0)
	for _, sh := range s.shelf {
		if h := sh.pool.Header(); h.Generation.Load() == s.p.Generation() {
			spent = max(spent, time.Duration(h.Decoding.Load()))
		}
	}
	return min(spent, time.Duration(pipeline.Now()-s.began)*time.Duration(runtime.NumCPU()))
}

// fail ends the session for a reason that a view found.
func (s *session) fail(err error) {
	select {
	case s.kick <- err:
	default: // another reason was first
	}
}

// watch waits until the session must end and says why; nil: the camera is closed.
func (c *Camera) watch(s *session) error {
	tick := time.NewTicker(tickStart)
	defer tick.Stop()
	m := meter{at: pipeline.Now(), seq: s.first}
	on := false
	for {
		select {
		case <-c.stopped.Done():
			return nil
		case <-s.p.Gone():
			return s.death()
		case err := <-s.kick:
			var f *worker.Failure
			if errors.As(err, &f) && f.Kind == source.FailStall {
				return &stallError{f.Text}
			}
			return err
		case <-tick.C:
		}
		s.hear()
		grabbed, last, resident := s.header()
		if most := c.conf.MaxResident; most > 0 && resident > most {
			return fmt.Errorf("the capture worker used %d MiB, more than the %d MiB it may", resident>>20, most>>20)
		}
		if !on && grabbed > s.first {
			on = true
			tick.Reset(tickWatch)
			c.online(s)
		}
		if fps, decode, ok := m.read(grabbed, s.decoding()); ok {
			c.rate(fps, decode)
		}
		if err := c.check(s, last); err != nil {
			return err
		}
	}
}

// death gives the words for a worker that is gone by itself.
func (s *session) death() error {
	s.hear()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.lost != "" && s.info.Stalled:
		return &stallError{s.lost}
	case s.lost != "":
		return errors.New(s.lost)
	}
	select {
	case <-s.p.Done():
		return fmt.Errorf("the capture worker ended: %s", s.p.Exit())
	case <-time.After(slack):
		return errors.New("the capture worker hung up")
	}
}

// check finds a worker that has lost its source, gets no frames or does not answer.
func (c *Camera) check(s *session, last int64) error {
	s.mu.Lock()
	lost, stalled, fps, over := s.lost, s.info.Stalled, s.info.FPS, s.info.Over || s.info.Quiet
	s.mu.Unlock()
	switch {
	case lost != "" && stalled:
		return &stallError{lost}
	case lost != "":
		return errors.New(lost)
	}
	now := pipeline.Now()
	limit := c.conf.ReadTimeout
	if fps > 0 {
		limit = max(limit, time.Duration(3*float64(time.Second)/fps))
	}
	since := max(last, s.opened)
	if c.conf.Pace == Lockstep {
		// Nothing is grabbed until all have taken: only then must a frame come.
		for _, v := range c.views {
			asked := v.asked.Load()
			if asked == 0 || v.ended.Load() {
				since = now
			}
			since = max(since, asked)
		}
	}
	if quiet := time.Duration(now - since); quiet > limit && !over && len(c.views) > 0 {
		return &stallError{fmt.Sprintf("no frame for %v", quiet.Round(100*time.Millisecond))}
	}
	for _, v := range c.views {
		if d := v.deadline.Load(); d != 0 && now > d+int64(slack) {
			return &stallError{"the capture worker does not answer"}
		}
	}
	return nil
}

// end takes a session down: the worker is ended and reaped or written off, its
// slots come back or are given up, and every frame it grabbed is accounted for.
func (c *Camera) end(s *session, why error) {
	c.setSession(nil)
	if !c.Enabled() && why != nil && !errors.Is(why, errEnd) {
		why = errDisabled
	}
	if why == nil || errors.Is(why, errEnd) || errors.Is(why, errDisabled) {
		c.mu.Lock()
		grace := c.grace
		c.mu.Unlock()
		if grace == nil {
			grace = context.Background()
		}
		ctx, cancel := context.WithTimeout(grace, stopWait)
		s.reaped = s.p.Stop(ctx)
		cancel()
	} else {
		s.reaped = s.p.End()
	}
	s.grabbed, _, _ = s.header()
	c.mu.Lock()
	c.seq = max(c.seq, s.grabbed)
	c.info.Decoding += s.decoding()
	var stall *stallError
	switch {
	case why == nil, errors.Is(why, errEnd), errors.Is(why, errDisabled), c.stopped.Err() != nil: // on purpose
	case errors.As(why, &stall):
		c.info.Stalls++
	default:
		c.info.Losses++
	}
	c.mu.Unlock()
	if !s.reaped {
		c.conf.Log.Error("capture worker cannot be ended; its frame pools are given up", "camera", c.conf.ID, "pid", s.p.PID())
		c.event(EventPool, fmt.Sprintf("the capture worker %d hangs in the kernel; its frame pools are given up and made anew", s.p.PID()))
	}
	for _, v := range c.views {
		v.settle(c.seq, s.reaped, why == nil || errors.Is(why, errDisabled))
	}
	close(s.over)
	s.closeBlob()
}

// meter measures a frame rate over a second or more, and what a frame's decoding took.
type meter struct {
	at    int64
	seq   uint64
	spent time.Duration
}

func (m *meter) read(seq uint64, spent time.Duration) (fps float64, decode time.Duration, ok bool) {
	now := pipeline.Now()
	d := time.Duration(now - m.at)
	if d < time.Second {
		return 0, 0, false
	}
	n := seq - m.seq
	fps = float64(n) / d.Seconds()
	if n > 0 {
		decode = (spent - m.spent) / time.Duration(n)
	}
	m.at, m.seq, m.spent = now, seq, spent
	return fps, decode, true
}
