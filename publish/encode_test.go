package publish

// The wire form against golden messages, and that a result costs no allocation.

import (
	"bytes"
	"encoding/json"
	"flag"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"edgeagent/internal/pipeline"
)

// update writes golden files anew. Those under testdata/v1 have been published:
// they may be added to, never changed.
var update = flag.Bool("update", false, "write golden files that do not exist yet")

const boot = "5f3c9a2e11d04b77"

var captureTime = time.Date(2026, 3, 14, 15, 9, 26, 535_897_932, time.UTC)

func sampleResult() *pipeline.Result {
	return &pipeline.Result{
		Camera: "front", Model: "objects", Seq: 4711, Time: captureTime, ClockSynced: true, Delegate: "cpu",
		Labels: []pipeline.Label{{Index: 967, Name: "espresso", Score: 0.8125}, {Index: 504, Name: `a "coffee" mug`, Score: 0.0390625}},
		Latency: pipeline.Latency{
			Queue: 1204 * time.Microsecond, Capture: 3007 * time.Microsecond, Preprocess: 850 * time.Microsecond,
			Invoke: 21_999 * time.Microsecond, Postprocess: 40 * time.Microsecond, Total: 27_100 * time.Microsecond,
		},
		Invoked: 21_950 * time.Microsecond, FrameAge: 27_111 * time.Microsecond,
	}
}

func sampleEvent() pipeline.Event {
	return pipeline.Event{Time: captureTime, Kind: "delegate-fell-back", Camera: "front", Model: "objects", Delegate: "gpu", Text: "gpu did not answer within 200 ms; cpu took over"}
}

// encodeResult encodes as the client does.
func encodeResult(t testing.TB, r *pipeline.Result) []byte {
	t.Helper()
	b := resultHead("pi-kitchen", boot, resultKey{r.Camera, r.Model, r.Region})
	b, err := appendResult(b, r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", "v1", name)
	want, err := os.ReadFile(file)
	if os.IsNotExist(err) && *update {
		if err = os.WriteFile(file, append(got, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.TrimSuffix(string(want), "\n"), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

func TestGoldenMessages(t *testing.T) {
	r := sampleResult()
	golden(t, "result.json", encodeResult(t, r))
	r.Region, r.Labels, r.ClockSynced = "door", nil, false
	golden(t, "result-region-empty.json", encodeResult(t, r))
	golden(t, "result-replayed.json", asReplayed(encodeResult(t, r)))
	e := sampleEvent()
	golden(t, "event.json", appendEvent(nil, "pi-kitchen", boot, 7, &e))
	golden(t, "event-plain.json", appendEvent(nil, "pi-kitchen", boot, 8, &pipeline.Event{Time: captureTime, Kind: "queue-dropped", Text: "12 messages"}))
}

func TestGoldenStates(t *testing.T) {
	h := Header{Agent: "pi-kitchen", Boot: boot, Time: captureTime}
	later := captureTime.Add(time.Minute)
	for name, s := range map[string]stamped{
		"state-empty.json": AgentState{},
		"state.json": AgentState{
			Versions: map[string]string{"agent": "0.1.0", "litert": "2.3.0"}, Uptime: 3600.5, ClockSynced: true,
			Degraded: true, Why: []string{"objects: gpu is broken: did not answer within 200 ms"},
			Models:       map[string]ModelBrief{"objects": {Delegate: "cpu", Degraded: true}},
			Cameras:      map[string]CameraBrief{"front": {Status: pipeline.CameraOnline, FPS: 9.97, Demo: true}},
			Queue:        QueueState{Messages: 3, Bytes: 2048, Oldest: 1.25, Dropped: map[string]map[string]uint64{"results": {"thinned": 40}}},
			Temperatures: map[string]float64{"cpu-thermal": 61.5},
			Latency:      map[string]StageLatency{"invoke": {P50: 21.9, P95: 23.4, P99: 30.1}},
		},
		"camera-state-empty.json": CameraState{Camera: "front", Status: pipeline.CameraDisabled},
		"camera-state.json": CameraState{
			Camera: "front", Status: pipeline.CameraOnline, Enabled: true, FPS: 29.97, Source: "/dev/video0",
			Counts: []ViewCounts{{Model: "objects", Region: "door", Counts: pipeline.Counts{
				Captured: 100, Answered: 60, Thinned: 20, Skipped: 15, Failed: 4, Reasons: map[string]uint64{"worker-died": 4}, InFlight: 1,
			}}},
			LastError: &LastError{Time: captureTime, Text: "no frame for 5 s"},
		},
		"model-state-empty.json": ModelState{Model: "objects", Task: "classification"},
		"model-state.json": ModelState{
			Model: "objects", Task: "classification", File: "models/efficientnet_lite0/model.tflite", SHA256: strings.Repeat("0f", 32),
			Delegate: "cpu", Input: "uint8[1 224 224 3]", Outputs: []string{"uint8[1 1000]"}, Labels: 1000, Answered: 60, Failed: 4, FPS: 9.9,
			Latency: map[string]StageLatency{"total": {P50: 27, P95: 30, P99: 41.5}}, LastError: &LastError{Time: captureTime, Text: "the worker died"},
		},
		"delegate-state.json": DelegateState{Model: "objects", Active: "cpu", Delegates: []DelegateLine{
			{Delegate: "edgetpu", State: "absent", Reason: "libedgetpu.so.1 is not installed"},
			{Delegate: "gpu", State: "broken", Reason: "did not answer within 200 ms", NextTry: &later},
			{Delegate: "cpu", State: "active"},
		}},
		"delegate-state-full.json": DelegateState{Model: "objects", Active: "external", Delegates: []DelegateLine{
			{
				Delegate: "gpu", State: "standby", Reason: "slower than cpu: 24ms an invoke, cpu takes 8ms", Since: captureTime, Falls: 2, Median: 24, Deadline: 200,
				Checks: &DelegateChecks{Agreed: 40, Last: captureTime, Distance: 0.0078125},
			},
			{Delegate: "external", State: "active", Since: captureTime, Forced: true, Deadline: 5000},
			{
				Delegate: "external-2", State: "quarantined", Reason: "it drifted away from cpu", Since: captureTime, Falls: 1,
				Checks: &DelegateChecks{Agreed: 3, Disagreed: 1, Last: captureTime, Distance: 0.5},
			},
			{Delegate: "cpu", State: "standby", Reason: "ready", Since: captureTime, Deadline: 10000},
		}},
	} {
		b, err := json.Marshal(s.stamp(h))
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, b)
	}
}

// anyString draws strings of which many are no valid UTF-8.
var anyString = rapid.OneOf(
	rapid.String(),
	rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
	rapid.StringOf(rapid.RuneFrom([]rune{'"', '\\', '\n', 0, 0x1f, 0x7f, 0x2028, 0x2029, 0xfffd, 'é', '😀', '<'})),
)

func TestStringsAreAsEncodingJSONWritesThem(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := anyString.Draw(t, "s")
		var want bytes.Buffer
		e := json.NewEncoder(&want)
		e.SetEscapeHTML(false)
		if err := e.Encode(s); err != nil {
			t.Fatal(err)
		}
		if got, want := string(appendString(nil, s)), strings.TrimSuffix(want.String(), "\n"); got != want {
			t.Fatalf("%q: got %s, want %s", s, got, want)
		}
	})
}

// wire is a result as a consumer reads it.
type wire struct {
	Schema, Agent, Boot, Camera, Model, Region, Delegate string
	Seq                                                  uint64
	Time                                                 time.Time
	ClockSynced                                          bool `json:"clock_synced"`
	Labels                                               []pipeline.Label
	Latency                                              map[string]json.Number `json:"latency_ms"`
	FrameAge                                             json.Number            `json:"frame_age_ms"`
	Replayed                                             bool
}

// parseMicros reads milliseconds with exactly three decimals.
func parseMicros(t *rapid.T, n json.Number) int64 {
	whole, part, ok := strings.Cut(n.String(), ".")
	if !ok || len(part) != 3 {
		t.Fatalf("%s has not three decimals", n)
	}
	v, err := strconv.ParseInt(whole+part, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestResultsReadBack(t *testing.T) {
	stage := rapid.Int64Range(0, 1e9)
	rapid.Check(t, func(t *rapid.T) {
		l := pipeline.Latency{}
		for _, d := range []*time.Duration{&l.Queue, &l.Capture, &l.Preprocess, &l.Invoke, &l.Postprocess} {
			*d = time.Duration(stage.Draw(t, "µs")) * time.Microsecond
			l.Total += *d
		}
		r := &pipeline.Result{
			Camera: anyString.Draw(t, "camera"), Model: anyString.Draw(t, "model"), Region: anyString.Draw(t, "region"),
			Seq: rapid.Uint64().Draw(t, "seq"), Time: time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "s"), rapid.Int64Range(0, 999999999).Draw(t, "ns")),
			ClockSynced: rapid.Bool().Draw(t, "synced"), Delegate: anyString.Draw(t, "delegate"), Latency: l,
			FrameAge: time.Duration(stage.Draw(t, "age")) * time.Microsecond, Replayed: rapid.Bool().Draw(t, "replayed"),
			Labels: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) pipeline.Label {
				return pipeline.Label{Index: rapid.Int().Draw(t, "i"), Name: anyString.Draw(t, "name"), Score: rapid.Float32().Draw(t, "score")}
			}), 0, 5).Draw(t, "labels"),
		}
		b := resultHead("a", "b", resultKey{r.Camera, r.Model, r.Region})
		b, err := appendResult(b, r)
		if err != nil {
			t.Fatal(err)
		}
		var w wire
		if err := json.Unmarshal(b, &w); err != nil {
			t.Fatalf("%v in %s", err, b)
		}
		valid := runewise
		want := []any{valid(r.Camera), valid(r.Model), valid(r.Region), r.Seq, valid(r.Delegate), r.ClockSynced, r.Replayed, len(r.Labels)}
		got := []any{w.Camera, w.Model, w.Region, w.Seq, w.Delegate, w.ClockSynced, w.Replayed, len(w.Labels)}
		if diff := cmp.Diff(want, got); diff != "" || !w.Time.Equal(r.Time) || w.Labels == nil {
			t.Fatalf("%s\n%s", diff, b)
		}
		for i, l := range r.Labels {
			if w.Labels[i].Index != l.Index || w.Labels[i].Score != l.Score || w.Labels[i].Name != valid(l.Name) {
				t.Fatalf("label %d: %+v became %+v", i, l, w.Labels[i])
			}
		}
		var sum int64
		for _, s := range []string{"queue", "capture", "preprocess", "invoke", "postprocess"} {
			sum += parseMicros(t, w.Latency[s])
		}
		if total := parseMicros(t, w.Latency["total"]); sum != total || total != r.Latency.Total.Microseconds() {
			t.Fatalf("stages add up to %d µs, total says %d, was %v", sum, total, r.Latency.Total)
		}
		if parseMicros(t, w.FrameAge) != r.FrameAge.Microseconds() {
			t.Fatalf("frame_age_ms %s, was %v", w.FrameAge, r.FrameAge)
		}
	})
}

// runewise replaces each byte that is no valid UTF-8 by U+FFFD, as ranging over a
// string does.
func runewise(s string) string {
	var b strings.Builder
	for _, r := range s {
		b.WriteRune(r)
	}
	return b.String()
}

func TestMillis(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0.000", 999 * time.Nanosecond: "0.000", time.Microsecond: "0.001", 1500 * time.Microsecond: "1.500",
		time.Hour: "3600000.000", -1500 * time.Microsecond: "-1.500", -time.Microsecond: "-0.001",
	} {
		if got := string(appendMillis(nil, d)); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

func TestScoreThatIsNoNumberIsRefused(t *testing.T) {
	p := offlineClient(t)
	for _, f := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
		r := sampleResult()
		r.Labels[1].Score = f
		if err := p.Result(r); err == nil || !strings.Contains(err.Error(), "camera front, model objects, seq 4711") {
			t.Errorf("score %v: %v", f, err)
		}
	}
	if s := p.Stats(); s.Messages != 0 {
		t.Errorf("%d messages in the queue", s.Messages)
	}
}

// offlineClient has a broker that nobody answers for.
func offlineClient(t testing.TB) *Client {
	t.Helper()
	p, err := Open(Config{URL: "tcp://127.0.0.1:1", Prefix: "edge", Agent: "pi-kitchen", Boot: boot, MinBackoff: time.Hour, MaxBackoff: time.Hour, MaxBytes: 1 << 20, BacklogRate: 1e9},
		slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeNow(t, p) })
	return p
}

func TestResultAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	p := offlineClient(t)
	r := sampleResult()
	put := func() {
		r.Seq++
		if err := p.Result(r); err != nil {
			t.Fatal(err)
		}
		e, _ := p.outbox.next(backlogShare(windowMin))
		p.outbox.ack(e)
	}
	put()
	if n := testing.AllocsPerRun(1000, put); n != 0 {
		t.Errorf("%v allocations a result", n)
	}
}

func BenchmarkResult(b *testing.B) {
	p := offlineClient(b)
	r := sampleResult()
	b.ReportAllocs()
	for b.Loop() {
		r.Seq++
		if err := p.Result(r); err != nil {
			b.Fatal(err)
		}
		e, _ := p.outbox.next(backlogShare(windowMin))
		p.outbox.ack(e)
	}
}

func BenchmarkEncode(b *testing.B) {
	r := sampleResult()
	head := resultHead("pi-kitchen", boot, resultKey{r.Camera, r.Model, r.Region})
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		r.Seq++
		buf, _ = appendResult(append(buf[:0], head...), r)
	}
	b.SetBytes(int64(len(buf)))
}
