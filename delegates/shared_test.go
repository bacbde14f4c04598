package delegates

// Several models on a device that one process alone can own: one worker has them all,
// its death sends all of them to CPU, and only who it died of is broken.

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"edgeagent/internal/pipeline"
	"edgeagent/internal/testplugin"
	"edgeagent/internal/worker"
)

// tenant is a model on the device, with a camera.
type tenant struct {
	*Chain
	ev   *events
	pump *pump
}

// tenants opens a chain for each set of options, all on one made-up device.
func tenants(t *testing.T, change func(*Config), options ...map[string]string) []*tenant {
	t.Helper()
	lib, err := OpenTFLite(testplugin.TFLite(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lib.Close() })
	devices, lives := NewDevices(), 0
	var all []*tenant
	for i, given := range options {
		o := map[string]string{"device": t.Name()}
		maps.Copy(o, given)
		cfg, ev := config(t, reluModel())
		cfg.Model, cfg.TFLite, cfg.Devices = "model-"+string(rune('a'+i)), lib, devices
		cfg.Delegates = []Delegate{{Kind: External, Library: testplugin.Build(t), Options: o, Device: "npu"}}
		begin := cfg.Start // of this device one worker at a time, so that lives is nobody else's
		cfg.Start = func(ctx context.Context, spec worker.Spec) (*worker.Process, error) {
			if strings.HasSuffix(spec.Name, "npu") {
				lives++
				spec.Env = append([]string{"EDGE_AGENT_TEST_LIFE=" + strconv.Itoa(lives)}, spec.Env...)
			}
			return begin(ctx, spec)
		}
		if change != nil {
			change(&cfg)
		}
		c := openArmed(t, cfg)
		all = append(all, &tenant{c, ev, &pump{t: t, c: c, cam: newCamera(t, c)}})
		if i == 0 {
			is(t, c, External, Active)
		}
	}
	return all
}

func pidOf(t *tenant) int { return t.State()[0].PID }

// told counts the events of a kind about the delegate (not cpu).
func (t *tenant) told(kind string) (n int) {
	t.ev.mu.Lock()
	defer t.ev.mu.Unlock()
	for _, e := range t.ev.all {
		if e.Kind == kind && e.Delegate == External {
			n++
		}
	}
	return n
}

func TestOneWorkerADevice(t *testing.T) {
	all := tenants(t, nil, nil, nil, nil)
	for _, one := range all {
		is(t, one.Chain, External, Active)
		one.pump.run(answeredBy(External, 20))
	}
	pid := pidOf(all[0])
	if pid == 0 || pidOf(all[1]) != pid || pidOf(all[2]) != pid {
		t.Errorf("workers %d, %d and %d", pid, pidOf(all[1]), pidOf(all[2]))
	}
	closeChain(t, all[1].Chain) // the others stay where they are
	for _, one := range []*tenant{all[0], all[2]} {
		one.pump.run(answeredBy(External, 40))
		if pidOf(one) != pid || one.told("delegate-back")+one.told("delegate-broken") > 0 {
			t.Errorf("another model was closed: worker %d, was %d, events %v", pidOf(one), pid, one.ev.kinds())
		}
	}
}

// TestDeviceHasOneOwner: without a shared worker the second model does not get it.
func TestDeviceHasOneOwner(t *testing.T) {
	all := tenants(t, func(c *Config) { c.Devices = nil }, nil, nil)
	if st := is(t, all[1].Chain, External, Absent); !strings.Contains(st.Reason, "another process has the device") {
		t.Error(st.Reason)
	}
}

// TestOnlyTheCulpritIsBroken drives two models while one of them brings the worker down.
func TestOnlyTheCulpritIsBroken(t *testing.T) {
	for fault, why := range map[string]string{
		"abort-at": "SIGABRT", "segfault-at": "SIGSEGV", "exit-at": "exit status 3", "hang-at": "no answer within", "fail-invoke": "fails as it was told to",
	} {
		t.Run(fault, func(t *testing.T) {
			all := tenants(t, func(c *Config) { c.Deadline = time.Second }, nil, map[string]string{fault: "30", "recover-after": "1"})
			good, bad := all[0], all[1]
			is(t, bad.Chain, External, Active)
			done := make(chan struct{})
			over := make(chan struct{})
			go func() { // the good one is busy all the time
				defer close(over)
				good.pump.run(func([]string) bool {
					select {
					case <-done:
						return true
					default:
						return false
					}
				})
			}()
			bad.pump.run(func(all []string) bool { return slices.Contains(all, CPU) && answeredBy(External, 20)(all) })
			waitFor(t, "the good one to be back", func() bool { return good.State()[0].State == Active && pidOf(good) == pidOf(bad) })
			close(done)
			<-over
			if !bad.ev.tell(why) || bad.told("delegate-broken") != 1 || bad.told("delegate-back") != 1 {
				t.Errorf("the culprit's events: %v, want one delegate-broken with %q", bad.ev.kinds(), why)
			}
			if good.told("delegate-broken") != 0 || good.told("delegate-quarantined") != 0 || good.told("delegate-back") != 1 || !good.ev.tell("ended for model-b/external") {
				good.ev.mu.Lock()
				t.Errorf("the other's events: %+v", good.ev.all)
				good.ev.mu.Unlock()
			}
			st := good.State()[0]
			if st.Falls != 0 || st.Restarts == 0 {
				t.Errorf("falls %d, restarts %d", st.Falls, st.Restarts)
			}
			figureOf(t, "delegate_shared_gap_"+strings.ReplaceAll(fault, "-", "_")+"_ms", slices.Max(good.pump.gaps))
		})
	}
}

// figureOf reports a duration to whoever runs the tests.
func figureOf(t *testing.T, name string, d time.Duration) {
	t.Helper()
	t.Logf("figure: %s: %d", name, d.Milliseconds())
}

// TestQuarantineOnADevice: who answers wrongly is quarantined, the other goes on.
func TestQuarantineOnADevice(t *testing.T) {
	all := tenants(t, func(c *Config) { c.CheckEvery = 10 * time.Millisecond }, nil, map[string]string{"wrong-from": "30"})
	good, bad := all[0], all[1]
	is(t, bad.Chain, External, Active)
	waitFor(t, "the quarantine", func() bool {
		f := bad.pump.cam.frame(1, 2, -3)
		defer f.Release()
		if err := bad.Start(t.Context(), f, new(pipeline.Answer))(); err != nil {
			t.Fatal(err)
		}
		return bad.State()[0].State == Quarantined
	})
	is(t, good.Chain, External, Active)
	good.pump.run(answeredBy(External, 20))
	if good.told("delegate-broken")+good.told("delegate-quarantined") > 0 {
		t.Errorf("the other's events: %v", good.ev.kinds())
	}
}

// TestOpeningBesideOthers: a model that the device does not take leaves the others alone.
func TestOpeningBesideOthers(t *testing.T) {
	all := tenants(t, nil, nil, map[string]string{"fail-prepare": "1"})
	pid := pidOf(all[0])
	if st := is(t, all[1].Chain, External, Broken); !strings.Contains(st.Reason, "prepare fails as it was told to") {
		t.Error(st.Reason)
	}
	all[0].pump.run(answeredBy(External, 20))
	if pidOf(all[0]) != pid || all[0].told("delegate-back") > 0 {
		t.Errorf("worker %d, was %d; events %v", pidOf(all[0]), pid, all[0].ev.kinds())
	}
}

// TestKilledDeviceWorker: a death that is nobody's fault has all of them back.
func TestKilledDeviceWorker(t *testing.T) {
	all := tenants(t, nil, nil, nil)
	is(t, all[1].Chain, External, Active)
	pid := pidOf(all[0])
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for _, one := range all {
		waitFor(t, "it to be back", func() bool { p := pidOf(one); return p != pid && p > 0 && one.State()[0].State == Active })
		one.pump.run(answeredBy(External, 10))
	}
	if pidOf(all[0]) != pidOf(all[1]) {
		t.Error("two workers")
	}
}
