package main

// The demo clip from end to end: the right label for each scene, exact accounts,
// valid messages, metrics that agree, and ends that leave nothing behind.

import (
	"bufio"
	"encoding/json"
	"io"
	"maps"
	"math"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

// lockstep reads every frame of the clip once.
const lockstep = `
models: {objects: {manifest: MANIFEST, threads: 1}}
cameras: {clip: {source: CLIP, models: [objects], pace: lockstep, loop: false}}
`

// realtime reads the clip again and again at its own pace.
const realtime = `
models: {objects: {manifest: MANIFEST, threads: 1}}
cameras: {clip: {source: CLIP, models: [objects], fps: 10}}
`

// scene is a part of the demo clip and what may be seen in it.
type scene struct {
	Name   string
	Start  float64 `json:"start_s"`
	End    float64 `json:"end_s"`
	Accept []string
}

func scenes(t testing.TB) (all []scene) {
	t.Helper()
	b, err := os.ReadFile(inRepo(t, "models/demo/scenes.json"))
	if err == nil {
		err = json.Unmarshal(b, &all)
	}
	if err != nil || len(all) < 4 {
		t.Fatal(len(all), err)
	}
	return all
}

// checkWholeClip holds the results of a pass of the clip against its scenes, and
// the account and the retained label against the results.
func checkWholeClip(t *testing.T, w *watcher) {
	t.Helper()
	rs := w.results("clip", "objects")
	checkResults(t, rs)
	if len(rs) != clipFrames || rs[0].Seq != 1 || rs[len(rs)-1].Seq != clipFrames {
		t.Fatalf("%d results of %d frames", len(rs), clipFrames)
	}
	if c := w.settled("clip", "objects"); c.Captured != clipFrames || c.Answered != clipFrames {
		t.Errorf("not every frame of the clip was answered: %+v", c)
	}
	worst := 1.0
	for _, s := range scenes(t) {
		n, right := 0, 0
		for _, r := range rs {
			if at := float64(r.Seq-1) / clipRate; at >= s.Start && at < s.End {
				n++
				if slices.Contains(s.Accept, r.top()) {
					right++
				}
			}
		}
		share := float64(right) / float64(n)
		if worst = min(worst, share); n == 0 || share < 0.95 {
			t.Errorf("scene %s: %d of %d frames have one of its labels", s.Name, right, n)
		}
	}
	figure(t, "clip_right_labels_worst_scene", strconv.FormatFloat(worst, 'f', 3, 64))
	checkLabels(t, rs, w)
}

// stableAfter is how many results in a row must agree: cameras.*.smooth.frames where
// nothing is said.
const stableAfter = 3

// checkLabels computes which labels were stable, by the results. What was retained
// must be these, where one that was soon replaced may be missing.
func checkLabels(t *testing.T, rs []result, w *watcher) {
	t.Helper()
	var stable []string
	for i := stableAfter - 1; i < len(rs); i++ {
		same := true
		for _, r := range rs[i-stableAfter+1 : i] {
			same = same && r.top() == rs[i].top()
		}
		if same && (len(stable) == 0 || stable[len(stable)-1] != rs[i].top()) {
			stable = append(stable, rs[i].top())
		}
	}
	var got []string
	for _, m := range w.on("camera/clip/model/objects/label") {
		got = append(got, m.payload)
	}
	rest := stable
	for _, l := range got {
		i := slices.Index(rest, l)
		if i < 0 {
			t.Fatalf("label %s was published out of order: %v, want %v", l, got, stable)
		}
		rest = rest[i+1:]
	}
	if len(rest) > 0 {
		t.Errorf("the last label was not published: %v, want %v", got, stable)
	}
	for _, s := range scenes(t) {
		if !slices.ContainsFunc(got, func(l string) bool { return slices.Contains(s.Accept, l) }) {
			t.Errorf("no label of scene %s was published: %v", s.Name, got)
		}
	}
}

func TestClipOnMosquitto(t *testing.T) {
	t.Parallel()
	m := startMosquitto(t)
	r := newRoad(t, m.url, lockstep)
	r.layClip()
	w := watch(t, m.addr, "#", "watcher")
	r.start("--until-end")
	r.end(0)
	await(t, "stopped", func() bool { return w.last("status") == "stopped" })

	checkWholeClip(t, w)
	rs := w.results("clip", "objects")
	figure(t, "first_result_ms", ms(rs[0].at.Sub(r.began)))
	figure(t, "clip_lockstep_fps", strconv.FormatFloat(clipFrames/rs[len(rs)-1].at.Sub(rs[0].at).Seconds(), 'f', 1, 64))
	topics, _ := documented(t)
	used := w.checkMessages()
	for name := range topics {
		elsewhere := strings.Contains(name, "<region>") || strings.HasSuffix(name, "/snapshot") || strings.HasSuffix("/"+name, "/set")
		if !used[name] && !elsewhere { // what is published only where it is asked for has tests of its own
			t.Errorf("nothing was published on %s", name)
		}
	}
	if all := w.all(); all[len(all)-1].topic != base+"status" {
		t.Errorf("the last message is not the goodbye, but on %s", all[len(all)-1].topic)
	}
	// A late comer sees what is retained.
	late := watch(t, m.addr, "#", "late")
	await(t, "the retained topics", func() bool {
		return late.last("status") == "stopped" && late.last("state") != "" && late.last("camera/clip/status") != "" &&
			late.last("camera/clip/state") == w.last("camera/clip/state") && late.last("model/objects/state") != "" &&
			late.last("model/objects/delegate/state") != "" &&
			late.last("camera/clip/model/objects/label") == w.last("camera/clip/model/objects/label")
	})
	late.checkMessages()
	if n := late.seen(resultTopic("clip", "objects")) + late.seen("event"); n != 0 {
		t.Errorf("%d results and events were retained", n)
	}
	if got := m.clients(); !slices.Equal(got, []string{"edge-agent-e2e", "late", "watcher"}) {
		t.Errorf("clients of the broker: %v", got)
	}
	r.leavesNothing()
}

func TestClipOnEmbeddedBroker(t *testing.T) {
	t.Parallel()
	r := newRoad(t, "embedded", lockstep)
	r.start()
	w := watch(t, r.embedded(), "edge/#", "watcher")
	page := r.page()
	await(t, "the camera to be told away", func() bool { return w.last("camera/clip/status") == "offline" })
	status, body := get(t, page+"/readyz")
	if status != http.StatusServiceUnavailable || !strings.Contains(body, `"part":"camera","name":"clip"`) || !strings.Contains(body, "there is no such file or folder") {
		t.Errorf("/readyz without the camera: %d %s", status, body)
	}
	r.layClip() // now that all are watching
	await(t, "ready", func() bool { status, body = get(t, page+"/readyz"); return status == http.StatusOK })
	if strings.TrimSpace(body) != `{"ready":true,"missing":[]}` {
		t.Errorf("/readyz: %s", body)
	}
	if status, body = get(t, page+"/healthz"); status != http.StatusOK || body != "ok\n" {
		t.Errorf("/healthz: %d %s", status, body)
	}
	await(t, "every frame", func() bool { r.alive(); return w.seen(resultTopic("clip", "objects")) >= clipFrames })
	await(t, "the account of them", func() bool { return w.account("clip", "objects").Answered == clipFrames })
	await(t, "its end to be told", func() bool { return w.seen("event") == 3 })
	checkMetrics(t, page, w)
	r.stop()
	await(t, "stopped", func() bool { return w.last("status") == "stopped" })
	checkWholeClip(t, w)
	w.checkMessages()
	kinds, texts := w.events()
	if !slices.Equal(kinds, []string{"camera-lost", "camera-back", "camera-end"}) {
		t.Errorf("events:\n%s", texts)
	}
	r.leavesNothing()
}

// get asks the agent's page.
func get(t testing.TB, url string) (int, string) {
	t.Helper()
	code, text, err := tryGet(url)
	if err != nil {
		t.Fatal(err)
	}
	return code, text
}

// tryGet is get from who may not be there.
func tryGet(url string) (code int, text string, err error) {
	resp, err := http.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// scrape reads /metrics; each value by its name and labels.
func scrape(t testing.TB, page string) (values map[string]float64, text string) {
	t.Helper()
	status, text := get(t, page+"/metrics")
	if status != http.StatusOK {
		t.Fatalf("/metrics: %d %s", status, text)
	}
	values = map[string]float64{}
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		l := lines.Text()
		i := strings.LastIndexByte(l, ' ')
		if strings.HasPrefix(l, "#") || i < 0 {
			continue
		}
		v, err := strconv.ParseFloat(l[i+1:], 64)
		if err != nil {
			t.Fatalf("%s: %v", l, err)
		}
		values[l[:i]] = v
	}
	return values, text
}

// checkMetrics holds /metrics against what MQTT told of a clip that is over.
func checkMetrics(t *testing.T, page string, w *watcher) {
	t.Helper()
	values, text := scrape(t, page)
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("/metrics: %s: %s", p.Metric, p.Text)
	}
	c, rs := w.account("clip", "objects"), w.results("clip", "objects")
	want := map[string]float64{
		`edge_agent_frames_captured_total{camera="clip",model="objects",region=""}`:                        float64(c.Captured),
		`edge_agent_frames_total{camera="clip",model="objects",region="",result="answered"}`:               float64(c.Answered),
		`edge_agent_frames_total{camera="clip",model="objects",region="",result="thinned"}`:                float64(c.Thinned),
		`edge_agent_frames_total{camera="clip",model="objects",region="",result="skipped"}`:                float64(c.Skipped),
		`edge_agent_frames_total{camera="clip",model="objects",region="",result="failed"}`:                 float64(c.Failed),
		`edge_agent_frames_in_flight{camera="clip",model="objects",region=""}`:                             float64(c.InFlight),
		`edge_agent_inferences_total{delegate="cpu",model="objects"}`:                                      float64(len(rs)),
		`edge_agent_worker_invoke_seconds_count{delegate="cpu",model="objects"}`:                           float64(len(rs)),
		`edge_agent_frame_age_seconds_count{camera="clip",model="objects"}`:                                float64(len(rs)),
		`edge_agent_mqtt_accepted_total{class="results"}`:                                                  float64(len(rs)),
		`edge_agent_mqtt_acknowledged_total{class="results"}`:                                              float64(len(rs)),
		`edge_agent_mqtt_published_total{class="results"}`:                                                 float64(len(rs)),
		`edge_agent_mqtt_accepted_total{class="events"}`:                                                   float64(w.seen("event")),
		`edge_agent_mqtt_encode_seconds_count`:                                                             float64(len(rs)),
		`edge_agent_mqtt_queue_messages`:                                                                   0,
		`edge_agent_mqtt_connected`:                                                                        1,
		`edge_agent_delegate_active{delegate="cpu",model="objects"}`:                                       1,
		`edge_agent_worker_restarts_total{kind="infer",name="objects/cpu",reason="replaced"}`:              0,
		`edge_agent_camera_up{camera="clip"}`:                                                              0, // it is over
		`edge_agent_stage_duration_seconds_count{camera="clip",model="objects",stage="total"}`:             float64(len(rs)),
		`edge_agent_stage_duration_seconds_count{camera="clip",model="objects",stage="queue"}`:             float64(len(rs)),
		`edge_agent_stage_duration_seconds_bucket{camera="clip",model="objects",stage="invoke",le="+Inf"}`: float64(len(rs)),
	}
	for name, v := range want {
		if got, ok := values[name]; !ok || got != v {
			t.Errorf("%s is %v (%v), want %v", name, got, ok, v)
		}
	}
	// The sums of the stages are those of the messages.
	sums := map[string]float64{}
	for _, r := range rs {
		for stage, n := range r.Latency {
			us, err := micros(n)
			if err != nil {
				t.Fatal(err)
			}
			sums[stage] += float64(us) / 1e6
		}
	}
	for stage, sum := range sums {
		name := `edge_agent_stage_duration_seconds_sum{camera="clip",model="objects",stage="` + stage + `"}`
		if math.Abs(values[name]-sum) > 1e-6*sum+1e-9 {
			t.Errorf("%s is %v, the messages add up to %v", name, values[name], sum)
		}
	}
	for name := range maps.Keys(values) {
		if math.IsNaN(values[name]) || values[name] < 0 {
			t.Errorf("%s is %v", name, values[name])
		}
	}
}

// TestRealtime: what the rate of inference leaves out is counted, and SIGTERM in
// the middle of the clip leaves nothing behind.
func TestRealtime(t *testing.T) {
	t.Parallel()
	m := startMosquitto(t)
	r := newRoad(t, m.url, realtime)
	r.layClip()
	w := watch(t, m.addr, "#", "watcher")
	r.start()
	page := r.page()
	await(t, "three seconds of results", func() bool { r.alive(); return w.seen(resultTopic("clip", "objects")) >= 30 })
	lasted := time.Since(r.began)
	if r.shared() == 0 {
		t.Error("the agent maps no frame pool")
	}
	r.stop()
	await(t, "stopped", func() bool { return w.last("status") == "stopped" })
	figure(t, "stop_ms", ms(time.Since(r.began)-lasted))
	r.leavesNothing()
	if c, err := net.Dial("tcp", strings.TrimPrefix(page, "http://")); err == nil {
		_ = c.Close()
		t.Errorf("somebody still listens on %s", page)
	}
	rs := w.results("clip", "objects")
	checkResults(t, rs)
	w.checkMessages()
	c := w.settled("clip", "objects")
	// 25 frames come a second and 10 are wanted.
	if c.Thinned == 0 || float64(c.Answered) > 10*lasted.Seconds()+2 || float64(c.Captured) > clipRate*lasted.Seconds()+2 {
		t.Errorf("at 10 of 25 frames a second for %v: %+v", lasted, c)
	}
	if c.Failed != 0 {
		t.Errorf("frames failed: %+v", c)
	}
}

// TestKilled: when the agent is killed its workers die with it, and the broker
// tells its last will.
func TestKilled(t *testing.T) {
	t.Parallel()
	m := startMosquitto(t)
	r := newRoad(t, m.url, realtime)
	r.layClip()
	w := watch(t, m.addr, "#", "watcher")
	r.start()
	await(t, "results", func() bool { r.alive(); return w.seen(resultTopic("clip", "objects")) >= 5 })
	if n := len(r.workers(inferWorker)) + len(r.workers(captureWorker)); n != 2 {
		t.Fatalf("%d workers", n)
	}
	killed := time.Now()
	if err := r.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r.end(-1)
	await(t, "the workers' end", func() bool { return len(r.left()) == 0 })
	if d := time.Since(killed); d > time.Second {
		t.Errorf("the workers outlived the agent by %v", d)
	}
	await(t, "the last will", func() bool { return w.last("status") == "offline" })
	figure(t, "last_will_ms", ms(time.Since(killed)))
	w.checkMessages()
	rs := w.results("clip", "objects")
	checkResults(t, rs)
	w.accounts("clip", "objects")
}
