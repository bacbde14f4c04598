package delegates

// The chain with a delegate that misbehaves: every frame is answered once, and
// rightly; the daemon falls back in time, and returns.

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"edgeagent/internal/pipeline"
)

// fakeConfig is a chain of a fake delegate and CPU; options are the fake's.
func fakeConfig(tb testing.TB, options map[string]string) (Config, *events) {
	tb.Helper()
	cfg, ev := config(tb, reluModel())
	cfg.Start = withFake(cfg.Start)
	cfg.Delegates = []Delegate{{Kind: fakeKind, Options: options}}
	return cfg, ev
}

// openArmed opens a chain and gives it a judge of two inputs.
func openArmed(tb testing.TB, cfg Config) *Chain {
	tb.Helper()
	c := openChain(tb, cfg)
	c.Arm(fakeJudge(floats(1, -2, 3.14159), floats(-7.77, 1e3, 0.333)))
	return c
}

// is waits for the state of a delegate.
func is(tb testing.TB, c *Chain, delegate string, want State) Status {
	tb.Helper()
	var st Status
	end := time.Now().Add(20 * time.Second)
	for {
		for _, s := range c.State() {
			if s.Delegate == delegate {
				st = s
			}
		}
		if st.State == want {
			return st
		}
		if time.Now().After(end) {
			tb.Fatalf("waited in vain for %s to be %s: %+v", delegate, want, c.State())
		}
		time.Sleep(time.Millisecond)
	}
}

// pump sends frames, one ahead, as the scheduler does.
type pump struct {
	t        *testing.T
	c        *Chain
	cam      *camera
	answered []string        // the delegates, by frame
	gaps     []time.Duration // between answers
	last     time.Time
}

type flown struct {
	f    *pipeline.Frame
	v    float32
	a    pipeline.Answer
	done chan error
}

// run sends frames until stop says so of what was answered; each must be right.
func (p *pump) run(stop func(delegates []string) bool) {
	p.t.Helper()
	var before *flown
	end := time.Now().Add(20 * time.Second)
	p.last = time.Now()
	for v := float32(len(p.answered) + 1); ; v++ {
		now := &flown{v: v * 1.2345, done: make(chan error, 1)}
		now.f = p.cam.frame(now.v, -now.v)
		wait := p.c.Start(p.t.Context(), now.f, &now.a)
		go func() { now.done <- wait() }()
		if before != nil {
			p.land(before)
		}
		before = now
		if stop(p.answered) {
			break
		}
		if time.Now().After(end) {
			p.t.Errorf("gave up after %d frames: %+v", len(p.answered), p.c.State())
			break
		}
	}
	p.land(before)
}

func (p *pump) land(fl *flown) {
	p.t.Helper()
	err := <-fl.done
	fl.f.Release()
	if err != nil {
		p.t.Errorf("frame %d: %v", len(p.answered)+1, err)
	} else if want := floats(fl.v, 0); len(fl.a.Tensors) != 1 || !bytes.Equal(fl.a.Tensors[0], want) {
		p.t.Errorf("frame %d: %s answered %v, want %v", len(p.answered)+1, fl.a.Delegate, fl.a.Tensors, want)
	}
	p.gaps = append(p.gaps, time.Since(p.last))
	p.last = time.Now()
	p.answered = append(p.answered, fl.a.Delegate)
}

// afterwardsBy says that the last n frames were answered by a delegate.
func answeredBy(delegate string, n int) func([]string) bool {
	return func(all []string) bool {
		return len(all) >= n && !slices.ContainsFunc(all[len(all)-n:], func(d string) bool { return d != delegate })
	}
}

// TestFaultsFallBackAndReturn has a delegate fail in every way in which a process
// can, after some live frames.
func TestFaultsFallBackAndReturn(t *testing.T) {
	const died, hung = 200 * time.Millisecond, 300 * time.Millisecond
	tests := []struct {
		fault  string
		within time.Duration // from the fault to the next answer
		why    string
	}{
		{"fail", died, "an invoke failed: as it was told to"},
		{"abort", died, "SIGABRT"},
		{"segfault", died, "SIG"},
		{"exit", died, "exit status 3"},
		{"hang", 5*time.Second + hung, "no answer within 5s"},
	}
	for _, tt := range tests {
		t.Run(tt.fault, func(t *testing.T) {
			t.Parallel()
			cfg, ev := fakeConfig(t, map[string]string{
				"fault": tt.fault, "at": "22", "until": "1", "file": filepath.Join(t.TempDir(), "tries"),
			})
			c := openArmed(t, cfg)
			p := &pump{t: t, c: c, cam: newCamera(t, c)}
			is(t, c, fakeKind, Active)
			p.run(answeredBy(CPU, 10)) // two checks and 19 frames before
			if n := len(p.answered); !slices.Equal(p.answered[:19], slices.Repeat([]string{fakeKind}, 19)) || slices.Contains(p.answered[19:n], fakeKind) {
				t.Errorf("answered by %v", p.answered)
			}
			worst := slices.Max(p.gaps)
			t.Logf("figure: chain_fault_gap_%s_ms: %.1f", tt.fault, float64(worst.Microseconds())/1000)
			if worst > 10*tt.within { // told as a figure; a loaded machine must not fail here
				t.Errorf("%v without an answer, want %v", worst, tt.within)
			}
			is(t, c, fakeKind, Active)
			p.run(answeredBy(fakeKind, 5))
			waitFor(t, "the story to be told", func() bool { return len(ev.kinds()) >= 8 })
			if want := strings.Fields("delegate-warming delegate-checking delegate-active delegate-broken delegate-fell-back " +
				"delegate-warming delegate-checking delegate-back"); !slices.Equal(ev.kinds(), want) {
				t.Errorf("events %v, want %v", ev.kinds(), want)
			}
			if text := ev.all[3].Text; !strings.Contains(text, tt.why) {
				t.Errorf("broken for %q, want %q", text, tt.why)
			}
			st := is(t, c, fakeKind, Active)
			if st.Restarts != 1 || st.Falls != 1 || st.Checks.Agreed != 4 {
				t.Errorf("%+v", st)
			}
		})
	}
}

// TestWrongAnswersAreQuarantined: at the start, in a live frame, and by drift.
func TestWrongAnswersAreQuarantined(t *testing.T) {
	tests := []struct {
		name    string
		options map[string]string
		edit    func(*Config)
		why     string
	}{
		{"wrong from the start", map[string]string{"fault": "wrong"}, nil, "check input 1: it is"},
		{"wrong in the second check", map[string]string{"fault": "wrong", "at": "2"}, nil, "check input 2: it is"},
		{"half precision", map[string]string{"fault": "half"}, nil, "check input 1: it is"},
		{"not finite at the start", map[string]string{"fault": "nan"}, nil, "not finite"},
		{"not finite in a frame", map[string]string{"fault": "nan", "at": "20"}, nil, "it answered a live frame with what cannot be"},
		{"wrong later", map[string]string{"fault": "wrong", "at": "20"}, func(c *Config) { c.CheckEvery = time.Nanosecond }, "it drifted away from cpu: it is"},
		{"drifts", map[string]string{"fault": "drift", "at": "20"}, func(c *Config) { c.CheckEvery = time.Nanosecond }, "it drifted away from cpu: it is"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg, ev := fakeConfig(t, tt.options)
			if tt.edit != nil {
				tt.edit(&cfg)
			}
			c := openArmed(t, cfg)
			cam := newCamera(t, c)
			end := time.Now().Add(20 * time.Second)
			for st := c.State()[0]; st.State != Quarantined; st = c.State()[0] {
				f := cam.frame(2, -2)
				var a pipeline.Answer
				if err := c.Start(t.Context(), f, &a)(); err != nil {
					t.Fatal(err)
				}
				f.Release()
				if a.Delegate == CPU && !bytes.Equal(a.Tensors[0], floats(2)) {
					t.Fatalf("cpu answered %v", a.Tensors)
				}
				if time.Now().After(end) {
					t.Fatalf("never quarantined: %+v", st)
				}
			}
			mustAnswer(t, c, cam, 3)
			waitFor(t, "the event", func() bool { return slices.Contains(ev.kinds(), "delegate-quarantined") })
			if st := c.State()[0]; !strings.Contains(st.Reason, tt.why) || !st.NextTry.IsZero() || st.PID != 0 {
				t.Errorf("%+v, want %q", st, tt.why)
			}
			c.Rescan() // a device that comes back does not make a liar honest
			if err := c.Command(Recheck, fakeKind); err != nil {
				t.Fatal(err)
			}
			waitFor(t, "another try", func() bool { return slices.Contains(after(ev.kinds(), "delegate-quarantined"), "delegate-checking") })
			closeChain(t, c)
		})
	}
}

// after is what follows the first of a kind.
func after(kinds []string, kind string) []string {
	return kinds[slices.Index(kinds, kind)+1:]
}

func TestHalfPrecisionIsTakenWhereItIsAllowed(t *testing.T) {
	cfg, _ := fakeConfig(t, map[string]string{"fault": "half"})
	cfg.Delegates[0].Precision = "fp16"
	c := openArmed(t, cfg)
	is(t, c, fakeKind, Active)
}

// TestNeverOpened: what is wrong with a delegate at its start never fails Open, and
// CPU answers meanwhile.
func TestNeverOpened(t *testing.T) {
	tests := []struct {
		fault string
		state State
		why   string
	}{
		{"absent", Absent, "no such device"},
		{"illegal", Absent, "made for another processor"},
		{"crash-open", Broken, "its worker ended while it opened"},
		{"model", Broken, "as it was told to"},
		{"other-shape", Broken, "output 0 is out float32[8], not "},
		{"other-type", Broken, "its type is another"},
	}
	for _, tt := range tests {
		t.Run(tt.fault, func(t *testing.T) {
			t.Parallel()
			cfg, _ := fakeConfig(t, map[string]string{"fault": tt.fault})
			c := openArmed(t, cfg)
			cam := newCamera(t, c)
			st := is(t, c, fakeKind, tt.state)
			if !strings.Contains(st.Reason, tt.why) || strings.Contains(st.Reason, "\n") {
				t.Errorf("%q, want %q", st.Reason, tt.why)
			}
			mustAnswer(t, c, cam, 3)
		})
	}
}

// TestSlowerThanCPU: in the order that was measured, and when a command says so.
func TestSlowerThanCPU(t *testing.T) {
	cfg, ev := fakeConfig(t, map[string]string{"fault": "slow"})
	cfg.Measured, cfg.Cache = true, t.TempDir()
	c := openArmed(t, cfg)
	cam := newCamera(t, c)
	st := is(t, c, fakeKind, Standby)
	if !strings.Contains(st.Reason, "slower than cpu: ") || st.Median < 5*time.Millisecond {
		t.Errorf("%+v", st)
	}
	mustAnswer(t, c, cam, 1)
	if err := c.Command(Force, fakeKind); err != nil {
		t.Fatal(err)
	}
	is(t, c, fakeKind, Active)
	if err := c.Command(Release, fakeKind); err != nil {
		t.Fatal(err)
	}
	is(t, c, CPU, Active)
	closeChain(t, c)
	if files, _ := filepath.Glob(filepath.Join(cfg.Cache, "measured-*")); len(files) != 1 {
		t.Errorf("kept figures: %v", files)
	}
	cfg.Delegates[0].Options = maps.Clone(cfg.Delegates[0].Options)
	again := openArmed(t, cfg) // with the figures that were kept
	if got := is(t, again, fakeKind, Standby); got.Median != st.Median {
		t.Errorf("measured %v, kept was %v", got.Median, st.Median)
	}
	if !slices.Contains(ev.kinds(), "delegate-standby") {
		t.Errorf("events %v", ev.kinds())
	}
}

// TestColdCPU lets CPU's worker end, and has it back in time for a fall.
func TestColdCPU(t *testing.T) {
	cfg, _ := fakeConfig(t, map[string]string{"fault": "abort", "at": "40", "until": "1", "file": filepath.Join(t.TempDir(), "tries")})
	cfg.Cold = true
	c := openArmed(t, cfg)
	is(t, c, fakeKind, Active)
	c.used.Store(pipeline.Now() - int64(2*idle)) // as if it had been idle for long
	waitFor(t, "cpu to sleep", func() bool { st := c.State()[1]; return st.PID == 0 && st.State == Standby })
	p := &pump{t: t, c: c, cam: newCamera(t, c)}
	p.run(func(all []string) bool { return c.State()[0].Falls == 1 && answeredBy(fakeKind, 5)(all) })
	t.Logf("figure: chain_fault_gap_cold_cpu_ms: %.1f", float64(slices.Max(p.gaps).Microseconds())/1000)
	if !slices.Contains(p.answered, CPU) {
		t.Error("cpu never answered")
	}
	is(t, c, fakeKind, Active)
}

func TestCommandsThatCannotBe(t *testing.T) {
	cfg, _ := fakeConfig(t, nil)
	cfg.Delegates = append(cfg.Delegates, Delegate{Kind: fakeKind, Options: map[string]string{"at": "1"}}, Delegate{Kind: "warp"})
	c := openArmed(t, cfg)
	for _, tt := range [][3]string{
		{"explode", CPU, "there are force, release, check"},
		{Force, "gpu", "it has fake, fake-2, warp, cpu"},
		{Force, "warp", "does not run warp"},
		{Recheck, CPU, "held against"},
	} {
		if err := c.Command(tt[0], tt[1]); err == nil || !strings.Contains(err.Error(), tt[2]) {
			t.Errorf("%s %s: %v, want %q", tt[0], tt[1], err, tt[2])
		}
	}
	is(t, c, fakeKind, Active)
	is(t, c, "fake-2", Standby)
	closeChain(t, c)
	if err := c.Command(Force, CPU); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestPaceFollowsTheHistory(t *testing.T) {
	var p pace
	if p.next() != longestInvoke {
		t.Errorf("%v without history", p.next())
	}
	for i := range historyEnough {
		p.took(time.Duration(i%100+1) * time.Millisecond)
	}
	if got := p.next(); got != 500*time.Millisecond {
		t.Errorf("%v for a 99th percentile of 100 ms", got)
	}
	for range window + often {
		p.took(time.Millisecond)
	}
	if got := p.next(); got != shortestInvoke {
		t.Errorf("%v for quick ones", got)
	}
	for range window + often {
		p.took(10 * time.Second)
	}
	if got := p.next(); got != longestInvoke {
		t.Errorf("%v for slow ones", got)
	}
}

// BenchmarkChain tells what the chain itself costs a healthy frame: the same worker
// is asked through the chain, with a judge and a drift watch, and directly, in turns,
// so that the load of the machine falls on both alike.
func BenchmarkChain(b *testing.B) {
	cfg, _ := fakeConfig(b, nil)
	cfg.CheckEvery = time.Minute
	c := openArmed(b, cfg)
	cam := newCamera(b, c)
	is(b, c, fakeKind, Active)
	f := cam.frame(1)
	defer f.Release()
	s := c.members[0].usable()
	var a pipeline.Answer
	var took [2][]time.Duration
	for b.Loop() {
		for way := range took {
			began := time.Now()
			var err error
			if way == 0 {
				err = s.await(b.Context(), s.launch(b.Context(), f, uint16(f.Slot.Pool), f.Slot.Index, true), &a)
			} else {
				err = c.Start(b.Context(), f, &a)()
			}
			took[way] = append(took[way], time.Since(began))
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	for way := range took {
		slices.Sort(took[way])
	}
	half := len(took[0]) / 2
	b.ReportMetric(float64((took[1][half]-took[0][half]).Nanoseconds())/1e3, "chain-µs")
	b.ReportMetric(float64(took[0][half].Nanoseconds())/1e3, "direct-µs")
}

func ExampleVerbs() {
	fmt.Println(Verbs())
	// Output: [force release check]
}
