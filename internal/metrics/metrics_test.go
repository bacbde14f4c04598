// What the histograms, the pulled accounts and the handler show, and that noting a frame costs no memory.

package metrics

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"go.uber.org/goleak"

	"edgeagent/internal/pipeline"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// result is an answered frame whose stages are 1, 2, 3, 4 and 5 ms.
func result(delegate string) *pipeline.Result {
	ms := time.Millisecond
	return &pipeline.Result{
		Camera: "front", Model: "objects", Delegate: delegate, Seq: 7,
		Latency:  pipeline.Latency{Queue: ms, Capture: 2 * ms, Preprocess: 3 * ms, Invoke: 4 * ms, Postprocess: 5 * ms, Total: 15 * ms},
		Invoked:  3500 * time.Microsecond,
		FrameAge: 15 * ms,
	}
}

// full is a Metrics in which every family has a value.
func full() *Metrics {
	m := New(Build{Version: "1.2.3", Commit: "abc"})
	m.Line("front", "objects").Observe(result("cpu"))
	m.Attach(Sources{
		Frames: func() []Frames {
			return []Frames{{Camera: "front", Model: "objects", Counts: pipeline.Counts{
				Captured: 20, Answered: 10, Thinned: 4, Skipped: 3, Failed: 2, InFlight: 1,
				Reasons: map[string]uint64{"deadline": 1, "stale": 1},
			}}}
		},
		Cameras: func() []Camera {
			return []Camera{{Name: "front", Status: "online", Up: true, Reconnects: 1}, {Name: "yard", Status: "offline"}}
		},
		Delegates: func() []Delegate {
			return []Delegate{
				{Model: "objects", Delegate: "gpu", State: "quarantined", Falls: 1, Agreed: 3, Disagreed: 1, Distance: 0.5},
				{Model: "objects", Delegate: "cpu", Active: true, State: "active", Deadline: 10 * time.Second},
			}
		},
		Workers: func() []Worker {
			return []Worker{{Kind: "infer", Name: "objects/cpu", Resident: 30 << 20, Restarts: map[string]uint64{"died": 2}}}
		},
		Agent: func() Agent {
			return Agent{Degraded: true, ConfigGood: true, Rate: 0.75, Throttled: true, Temperatures: map[string]float64{"cpu-thermal": 61.5}, Viewers: 2}
		},
		MQTT: func() MQTT {
			timing := Timing{Sum: 5 * time.Millisecond, Bounds: []time.Duration{time.Millisecond, 2 * time.Millisecond}, Buckets: []uint64{1, 1, 2}}
			return MQTT{
				Connected: true, Messages: 3, Bytes: 1200, Oldest: 1500 * time.Millisecond, Reconnects: 1, DiskWritten: 4096,
				Classes: []Class{{Name: "results", Accepted: 18, Published: 11, Acked: 10, Dropped: map[string]uint64{"full": 5}}},
				Encode:  timing, Handover: timing, Puback: timing,
			}
		},
	})
	return m
}

func TestEveryPulledAndPushedValue(t *testing.T) {
	want := `
# HELP edge_agent_camera_status 1 for the status that the camera has: online, stalled, offline or disabled.
# TYPE edge_agent_camera_status gauge
edge_agent_camera_status{camera="front",status="online"} 1
edge_agent_camera_status{camera="yard",status="offline"} 1
# HELP edge_agent_clock_synced 1 while the machine's clock is synchronised.
# TYPE edge_agent_clock_synced gauge
edge_agent_clock_synced 0
# HELP edge_agent_config_in_use 1 while the config that was read last is in use; 0 after a refused reload and in safe mode.
# TYPE edge_agent_config_in_use gauge
edge_agent_config_in_use 1
# HELP edge_agent_degraded 1 while something in the agent is not well; its state says what.
# TYPE edge_agent_degraded gauge
edge_agent_degraded 1
# HELP edge_agent_mqtt_queue_oldest_seconds Time that the oldest message in the queue has waited.
# TYPE edge_agent_mqtt_queue_oldest_seconds gauge
edge_agent_mqtt_queue_oldest_seconds 1.5
# HELP edge_agent_page_viewers Pages that are open.
# TYPE edge_agent_page_viewers gauge
edge_agent_page_viewers 2
# HELP edge_agent_soc_temperature_celsius Temperature of a thermal zone.
# TYPE edge_agent_soc_temperature_celsius gauge
edge_agent_soc_temperature_celsius{zone="cpu-thermal"} 61.5
# HELP edge_agent_soc_throttled 1 while the firmware holds the processor back, for heat or a weak supply.
# TYPE edge_agent_soc_throttled gauge
edge_agent_soc_throttled 1
# HELP edge_agent_thermal_rate_ratio Part of the models' rate that the thermal governor leaves; 1 is all of it.
# TYPE edge_agent_thermal_rate_ratio gauge
edge_agent_thermal_rate_ratio 0.75
# HELP edge_agent_camera_up 1 while frames come from the camera.
# TYPE edge_agent_camera_up gauge
edge_agent_camera_up{camera="front"} 1
edge_agent_camera_up{camera="yard"} 0
# HELP edge_agent_delegate_active 1 for the delegate that answers the model's live frames.
# TYPE edge_agent_delegate_active gauge
edge_agent_delegate_active{delegate="cpu",model="objects"} 1
edge_agent_delegate_active{delegate="gpu",model="objects"} 0
# HELP edge_agent_frames_captured_total Frames that a camera grabbed for a model.
# TYPE edge_agent_frames_captured_total counter
edge_agent_frames_captured_total{camera="front",model="objects",region=""} 20
# HELP edge_agent_frames_failed_total Failed frames, by reason.
# TYPE edge_agent_frames_failed_total counter
edge_agent_frames_failed_total{camera="front",model="objects",reason="deadline",region=""} 1
edge_agent_frames_failed_total{camera="front",model="objects",reason="stale",region=""} 1
# HELP edge_agent_frames_in_flight Frames that are captured and not yet settled.
# TYPE edge_agent_frames_in_flight gauge
edge_agent_frames_in_flight{camera="front",model="objects",region=""} 1
# HELP edge_agent_frames_total Frames whose fate is settled: answered, thinned on purpose, skipped for a newer one, or failed. Together with frames_in_flight they are frames_captured_total.
# TYPE edge_agent_frames_total counter
edge_agent_frames_total{camera="front",model="objects",region="",result="answered"} 10
edge_agent_frames_total{camera="front",model="objects",region="",result="failed"} 2
edge_agent_frames_total{camera="front",model="objects",region="",result="skipped"} 3
edge_agent_frames_total{camera="front",model="objects",region="",result="thinned"} 4
# HELP edge_agent_inferences_total Frames answered, by the delegate that ran the model.
# TYPE edge_agent_inferences_total counter
edge_agent_inferences_total{delegate="cpu",model="objects"} 1
# HELP edge_agent_mqtt_dropped_total Messages that were given up, by class and reason.
# TYPE edge_agent_mqtt_dropped_total counter
edge_agent_mqtt_dropped_total{class="results",reason="full"} 5
# HELP edge_agent_mqtt_puback_seconds Time from sending a message until the broker acknowledged it; with QoS 0, until it was written.
# TYPE edge_agent_mqtt_puback_seconds histogram
edge_agent_mqtt_puback_seconds_bucket{le="0.001"} 1
edge_agent_mqtt_puback_seconds_bucket{le="0.002"} 2
edge_agent_mqtt_puback_seconds_bucket{le="+Inf"} 4
edge_agent_mqtt_puback_seconds_sum 0.005
edge_agent_mqtt_puback_seconds_count 4
# HELP edge_agent_mqtt_queue_bytes Size of the messages that wait for the broker.
# TYPE edge_agent_mqtt_queue_bytes gauge
edge_agent_mqtt_queue_bytes 1200
# HELP edge_agent_worker_resident_bytes Resident memory of a worker process, as it reports itself.
# TYPE edge_agent_worker_resident_bytes gauge
edge_agent_worker_resident_bytes{kind="infer",name="objects/cpu"} 3.145728e+07
# HELP edge_agent_worker_restarts_total Worker processes that were replaced, by reason.
# TYPE edge_agent_worker_restarts_total counter
edge_agent_worker_restarts_total{kind="infer",name="objects/cpu",reason="died"} 2
`
	var names []string
	for line := range strings.Lines(want) {
		if f := strings.Fields(line); len(f) > 2 && f[1] == "TYPE" {
			names = append(names, f[2])
		}
	}
	if err := testutil.GatherAndCompare(full().registry, strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
}

func TestNamesAndHelpPassPromlint(t *testing.T) {
	problems, err := testutil.GatherAndLint(full().registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// families gathers and gives the families by name.
func families(t *testing.T, g prometheus.Gatherer) map[string]*dto.MetricFamily {
	t.Helper()
	all, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*dto.MetricFamily{}
	for _, f := range all {
		out[f.GetName()] = f
	}
	return out
}

// stageSums is the sum of each stage's histogram in seconds.
func stageSums(f *dto.MetricFamily) map[string]float64 {
	out := map[string]float64{}
	for _, m := range f.GetMetric() {
		for _, l := range m.GetLabel() {
			if l.GetName() == "stage" {
				out[l.GetValue()] += m.GetHistogram().GetSampleSum()
			}
		}
	}
	return out
}

func TestLineNotesEachStageUnderItsName(t *testing.T) {
	m := full()
	want := map[string]float64{
		"queue": 0.001, "capture": 0.002, "preprocess": 0.003, "invoke": 0.004, "postprocess": 0.005, "total": 0.015,
	}
	got := stageSums(families(t, m.registry)["edge_agent_stage_duration_seconds"])
	recent := m.Line("front", "objects").Recent()
	for stage, seconds := range want {
		if got[stage] != seconds {
			t.Errorf("%s: histogram has %v s, want %v", stage, got[stage], seconds)
		}
		if q := recent[stage]; q.N != 1 || q.Max != seconds*1000 {
			t.Errorf("%s: recent is %+v, want one of %v ms", stage, q, seconds*1000)
		}
	}
	if len(got) != len(want) || len(recent) != len(want) {
		t.Errorf("stages: %v and %v, want those of %v", got, recent, want)
	}
}

func TestLineOfTheSameNamesIsTheSame(t *testing.T) {
	m := New(Build{})
	first := m.Line("front", "objects")
	if m.Line("front", "objects") != first {
		t.Error("a second Line was made for the same names")
	}
	if m.Line("front", "faces") == first {
		t.Error("two models share a Line")
	}
	if r := m.Line("front", "faces").Recent(); len(r) != 0 {
		t.Errorf("a Line without frames tells %v", r)
	}
}

func TestReplayedResultsAreNotCountedAgain(t *testing.T) {
	m := New(Build{})
	r := result("cpu")
	r.Replayed = true
	m.Line("front", "objects").Observe(r)
	if f := families(t, m.registry)["edge_agent_inferences_total"]; f != nil {
		t.Errorf("a replayed result was counted: %v", f)
	}
}

func TestNegativeAgeLeavesTheSumAlone(t *testing.T) {
	m := New(Build{})
	r := result("cpu")
	r.FrameAge = -time.Second
	m.Line("front", "objects").Observe(r)
	h := families(t, m.registry)["edge_agent_frame_age_seconds"].GetMetric()[0].GetHistogram()
	if h.GetSampleSum() != 0 || h.GetSampleCount() != 1 {
		t.Errorf("count %d, sum %v; want 1 and 0", h.GetSampleCount(), h.GetSampleSum())
	}
}

func TestLineCountsDelegatesConcurrently(t *testing.T) {
	m := New(Build{})
	l := m.Line("front", "objects")
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			r := result([]string{"cpu", "gpu", "edgetpu"}[i%3])
			for range 100 {
				l.Observe(r)
			}
		})
	}
	wg.Wait()
	for _, c := range families(t, m.registry)["edge_agent_inferences_total"].GetMetric() {
		if c.GetCounter().GetValue() != 200 {
			t.Errorf("%v: want 200", c)
		}
	}
	if n := len(*l.delegates.Load()); n != 3 {
		t.Errorf("%d delegates are known, want 3", n)
	}
}

func TestStrangeNamesDoNotPanic(t *testing.T) {
	m := New(Build{Version: "\xff"})
	m.Line("\xfe", "a\x80b").Observe(result("\xff"))
	m.Attach(Sources{Cameras: func() []Camera { return []Camera{{Name: "\xff"}} }})
	if f := families(t, m.registry)["edge_agent_camera_up"]; len(f.GetMetric()) != 1 {
		t.Errorf("camera_up is %v", f)
	}
}

func get(t *testing.T, h http.Handler, accept string) (int, http.Header, []byte) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Header(), w.Body.Bytes()
}

func TestHandlerSpeaksTextAndNativeHistograms(t *testing.T) {
	h := full().Handler(quiet())
	code, _, body := get(t, h, "text/plain")
	if code != http.StatusOK || !bytes.Contains(body, []byte(`edge_agent_stage_duration_seconds_bucket{camera="front",model="objects",stage="total",le="0.025"} 1`)) {
		t.Errorf("text: %d\n%s", code, body)
	}
	for _, runtime := range []string{"go_goroutines ", "process_start_time_seconds ", `edge_agent_build_info{commit="abc"`} {
		if !bytes.Contains(body, []byte(runtime)) {
			t.Errorf("text has no %s", runtime)
		}
	}

	_, header, body := get(t, h, string(expfmt.NewFormat(expfmt.TypeProtoDelim)))
	decoder := expfmt.NewDecoder(bytes.NewReader(body), expfmt.ResponseFormat(header))
	for {
		var f dto.MetricFamily
		if err := decoder.Decode(&f); errors.Is(err, io.EOF) {
			t.Fatal("protobuf has no frame_age_seconds")
		} else if err != nil {
			t.Fatal(err)
		}
		if f.GetName() != "edge_agent_frame_age_seconds" {
			continue
		}
		age := f.GetMetric()[0].GetHistogram()
		if age.GetSchema() != 3 || len(age.GetPositiveSpan()) == 0 || len(age.GetBucket()) != len(buckets) {
			t.Errorf("frame_age_seconds is not native and classic at once: %v", age)
		}
		return
	}
}

func TestASourceThatRepeatsItselfDoesNotHideTheRest(t *testing.T) {
	m := full()
	m.Attach(Sources{
		Cameras: func() []Camera { return []Camera{{Name: "front"}, {Name: "front"}} },
		MQTT:    func() MQTT { return MQTT{Messages: 3} },
	})
	var told bytes.Buffer
	code, _, body := get(t, m.Handler(slog.New(slog.NewTextHandler(&told, nil))), "text/plain")
	if code != http.StatusOK || !bytes.Contains(body, []byte("edge_agent_mqtt_queue_messages 3")) {
		t.Errorf("%d\n%s", code, body)
	}
	if !strings.Contains(told.String(), "camera_up") {
		t.Errorf("the log does not name the metric: %s", told.String())
	}
}

func TestObserveAllocatesNothing(t *testing.T) {
	l := New(Build{}).Line("front", "objects")
	r := result("cpu")
	l.Observe(r) // the first frame of a delegate and of a native bucket may allocate
	if n := testing.AllocsPerRun(1000, func() { l.Observe(r) }); n != 0 {
		t.Errorf("%v allocations a frame, want 0", n)
	}
}

func BenchmarkObserve(b *testing.B) {
	l := New(Build{}).Line("front", "objects")
	r := result("cpu")
	b.ReportAllocs()
	for b.Loop() {
		l.Observe(r)
	}
}

func BenchmarkScrape(b *testing.B) {
	m := full()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.registry.Gather(); err != nil {
			b.Fatal(err)
		}
	}
}
