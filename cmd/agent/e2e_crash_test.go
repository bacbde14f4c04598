package main

// Power cuts of the real agent: it is killed again and again while its network is cut
// and swallows, and its broker restarts. What it had accepted on disk reaches the
// broker; what it held in memory is lost and told by the next start.

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// busy answers every frame of a test pattern, as fast as it goes: the results of a
// boot are numbered without a gap.
const busy = `
models: {objects: {manifest: MANIFEST, threads: 1}}
cameras: {clip: {source: "testpattern:320x240", models: [objects], pace: lockstep, fps: 0}}
`

const acceptedResults = `edge_agent_mqtt_accepted_total{class="results"}`

var bootInLog = regexp.MustCompile(`"msg":"edge-agent starts".*"boot":"([0-9a-f]+)"`)

// meter reads an agent's own count of what it has accepted, again and again.
type meter struct {
	mu       sync.Mutex
	accepted uint64
	dropped  uint64
	stop     chan struct{}
	done     chan struct{}
}

func startMeter(page string) *meter {
	m := &meter{stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(m.done)
		for {
			m.read(page)
			select {
			case <-m.stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	return m
}

// read takes a reading; an agent that is being killed gives none.
func (m *meter) read(page string) {
	_, text, err := tryGet(page + "/metrics")
	if err != nil {
		return
	}
	var accepted, dropped float64
	for l := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(l), "} ")
		v, err := strconv.ParseFloat(value, 64)
		switch {
		case err != nil:
		case name+"}" == acceptedResults:
			accepted = v
		case strings.HasPrefix(name, `edge_agent_mqtt_dropped_total{class="results"`) && !strings.Contains(name, `"crash"`):
			dropped += v
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.accepted, m.dropped = max(m.accepted, uint64(accepted)), max(m.dropped, uint64(dropped))
}

// count is the newest reading of what was accepted.
func (m *meter) count() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.accepted
}

// end gives the last reading.
func (m *meter) end() (accepted, dropped uint64) {
	close(m.stop)
	<-m.done
	return m.accepted, m.dropped
}

// onDisk reads which results an agent that was killed has left in its queue's file.
func onDisk(t *testing.T, r *road) (frames []frame) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(r.dir, "data", "queue.db"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "queue.db")
	if err = os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	err = db.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(_ []byte, bucket *bolt.Bucket) error {
			return bucket.ForEach(func(_, v []byte) error {
				i := bytes.Index(v, []byte(`{"schema":"edge.result/1"`))
				if i < 0 {
					return nil
				}
				var f struct {
					Boot string `json:"boot"`
					Seq  uint64 `json:"seq"`
				}
				wrong := json.Unmarshal(v[i:], &f)
				frames = append(frames, frame{f.Boot, f.Seq})
				return wrong
			})
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return frames
}

// TestCrash is the crash harness on the real agent. The short form has neither
// toxiproxy nor more than one seed.
func TestCrash(t *testing.T) {
	if os.Getenv(longTests) == "" {
		t.Parallel()
		t.Run("short", func(t *testing.T) { crash(t, 1, 3, 1500*time.Millisecond, false) })
		return
	}
	seeds, kills := 3, 8
	if n, err := strconv.Atoi(os.Getenv("EDGE_AGENT_TEST_SOAK_KILLS")); err == nil {
		seeds, kills = 1, n
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed", seed+1), func(t *testing.T) { crash(t, uint64(seed+1), kills, 3*time.Second, true) })
	}
}

// apart is how many results are accepted, about, from one fault to the next in the
// long form. By the clock a busy machine, which answers fewer frames, would have more
// faults a result, and with them a larger share of results that come twice.
const apart = 250

// crash kills the agent after lives of about the given length (short form) or of some
// faults, with faults of network and broker in between, and then holds what arrived
// against what was accepted.
func crash(t *testing.T, seed uint64, kills int, life time.Duration, toxic bool) {
	rng := rand.New(rand.NewPCG(seed, seed))
	about := func(d time.Duration) time.Duration { return d/2 + time.Duration(rng.Int64N(int64(d))) }
	b := newKeeper(t)
	l := keepLedger(t, b.addr)
	addr := b.addr
	var net *toxi
	if toxic {
		net = startToxi(t, b.addr)
		addr = net.addr
	}
	r := newRoad(t, "tcp://"+addr, busy).changed("mqtt: {", "mqtt: {results: {qos: 1, durability: disk}, ")
	config := r.config()
	accepted := map[frame]struct{}{} // seen on the disk of a killed agent
	counted := map[string]uint64{}   // by the agent itself, by boot
	var refused uint64
	cuts, holes, restarts := 0, 0, 0
	for k := range kills {
		r = r.again(config)
		r.start()
		page := r.page()
		await(t, "results", func() bool { r.alive(); v, _ := scrape(t, page); return v[acceptedResults] > 0 })
		m := startMeter(page)
		boot := bootInLog.FindStringSubmatch(r.stderr.String())[1]
		end, faults := time.Now().Add(about(life)), 2+rng.IntN(4)
		for n := 0; net == nil && time.Now().Before(end) || net != nil && n < faults; n++ {
			if net == nil {
				time.Sleep(about(life / 4)) // the moment of the fault is the point of this test
			} else {
				next := m.count() + apart/2 + rng.Uint64N(apart)
				await(t, "results between two faults", func() bool { r.alive(); return m.count() >= next })
			}
			switch f := rng.IntN(4); {
			case f == 0 && net != nil:
				cuts++
				net.cut()
			case f == 1 && net != nil: // acknowledgements, or all, are swallowed for a moment
				holes++
				streams := []string{"downstream", "upstream"}[:1+rng.IntN(2)]
				net.hole(streams...)
				time.Sleep(about(50 * time.Millisecond))
				net.cut()
				net.fill(streams...)
			case f == 2:
				restarts++
				b.stop()
				time.Sleep(about(100 * time.Millisecond))
				b.begin()
			}
		}
		if net != nil && k == kills/2 { // a hole that the agent must notice by itself
			holes++
			blackHole(t, r, net)
		}
		_ = r.cmd.Process.Kill()
		<-r.exited
		var d uint64
		counted[boot], d = m.end()
		refused += d
		for _, f := range onDisk(t, r) {
			accepted[f] = struct{}{}
		}
	}
	last := r.again(strings.Replace(config, `"testpattern:320x240"`, "nothing.mp4", 1)) // it only sends what is there
	last.start()
	last.page()
	short := func() (n uint64) {
		for boot, want := range counted {
			n += want - min(want, l.of(boot))
		}
		return n
	}
	for end := time.Now().Add(2 * patience); time.Now().Before(end) && (l.lacks(accepted) > 0 || short() > 0); {
		time.Sleep(20 * time.Millisecond)
	}
	lost := uint64(l.lacks(accepted)) + short()
	last.stop()
	checkCrash(t, l, lost, refused, len(accepted))
	t.Logf("%d kills, %d cuts, %d holes, %d restarts of the broker; the broker repeated %d to its subscriber", kills, cuts, holes, restarts, l.again)
}

// blackHole swallows everything until the agent has given the connection up.
func blackHole(t *testing.T, r *road, net *toxi) {
	t.Helper()
	page := r.page()
	await(t, "a connection", func() bool { v, _ := scrape(t, page); return v["edge_agent_mqtt_connected"] == 1 })
	began := time.Now()
	net.hole("downstream", "upstream")
	await(t, "the agent to notice the hole", func() bool { v, _ := scrape(t, page); return v["edge_agent_mqtt_connected"] == 0 })
	figure(t, "publish_agent_hole_noticed_s", fmt.Sprintf("%.1f", time.Since(began).Seconds()))
	net.fill("downstream", "upstream")
	await(t, "another connection", func() bool { v, _ := scrape(t, page); return v["edge_agent_mqtt_connected"] == 1 })
}

// checkCrash holds the ledger against the promise.
func checkCrash(t *testing.T, l *ledger, lost, refused uint64, left int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	gaps := uint64(0)
	for boot, last := range l.last {
		for seq := uint64(1); seq <= last; seq++ {
			if l.taken[frame{boot, seq}] == 0 {
				gaps++
			}
		}
	}
	distinct := len(l.taken)
	share := 100 * float64(l.twice) / float64(distinct)
	name := "publish_agent_crash_" + filepath.Base(t.Name()) + "_"
	figure(t, name+"accepted", distinct+int(lost))
	figure(t, name+"lost", lost)
	figure(t, name+"duplicates_percent", fmt.Sprintf("%.2f", share))
	figure(t, name+"left_on_disk_at_kills", left)
	if lost > 0 {
		t.Errorf("%d accepted results were lost", lost)
	}
	if gaps > refused {
		t.Errorf("%d results are missing between others; %d were refused and counted", gaps, refused)
	}
	if distinct < 20*len(l.last) {
		t.Errorf("%d results of %d agents: this tests nothing", distinct, len(l.last))
	}
	if share > 3 && os.Getenv(longTests) != "" { // the short form has many faults and few results
		t.Errorf("%.2f %% came twice", share)
	}
	if l.replayed != l.twice {
		t.Errorf("%d results came twice, %d of the second copies say replayed", l.twice, l.replayed)
	}
}

// pictures writes n small pictures and gives their folder.
func pictures(t *testing.T, n int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for i := range n {
		img := image.NewRGBA(image.Rect(0, 0, 64, 64))
		img.Set(i%64, i/64%64, color.White)
		var b bytes.Buffer
		if err := png.Encode(&b, img); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%04d.png", i)), b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestCrashOfMemory: results of durability memory are lost with the process, and the
// next start tells exactly how many.
func TestCrashOfMemory(t *testing.T) {
	t.Parallel()
	const frames = 400
	b := newKeeper(t)
	l := keepLedger(t, b.addr)
	r := newRoad(t, "tcp://"+b.addr, `
models: {objects: {manifest: MANIFEST, threads: 1}}
cameras: {clip: {source: "`+pictures(t, frames)+`", models: [objects], pace: lockstep, loop: false}}
`).changed("mqtt: {", "mqtt: {results: {durability: memory, spill: false}, ")
	config := r.config()
	r.start()
	page := r.page()
	boot := bootInLog.FindStringSubmatch(r.stderr.String())[1]
	await(t, "results", func() bool { r.alive(); return l.of(boot) >= 20 })
	b.stop()
	var v map[string]float64
	await(t, "every picture to be answered", func() bool { v, _ = scrape(t, page); return v[acceptedResults] == frames })
	acked := uint64(v[`edge_agent_mqtt_acknowledged_total{class="results"}`])
	held := filepath.Join(r.dir, "data", "queue.held")
	await(t, "the note of what waits", func() bool {
		b, _ := os.ReadFile(held)
		return strings.HasPrefix(string(b), fmt.Sprintf(`{"results":%d,`, frames-acked))
	})
	_ = r.cmd.Process.Kill()
	<-r.exited

	b.begin()
	next := r.again(config)
	next.start()
	await(t, "the state to tell the loss", func() bool {
		next.alive()
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.dropped["crash"] > 0
	})
	lost := frames - l.of(boot)
	l.mu.Lock()
	told := l.dropped["crash"]
	l.mu.Unlock()
	figure(t, "publish_agent_memory_lost_in_crash", lost)
	figure(t, "publish_agent_memory_told_after_crash", told)
	// What the broker took and could not acknowledge any more is told as lost and is not.
	if told != frames-acked || lost > told || told-lost > 64 {
		t.Errorf("%d accepted, %d acknowledged, %d lost, %d told", frames, acked, lost, told)
	}
	if lost < frames/4 {
		t.Errorf("only %d results were lost: this tests little", lost)
	}
	next.stop()
	if _, err := os.Stat(held); err == nil {
		t.Error("an agent that ended in order has left a note")
	}
}

// TestDropsOfMemory: what a full queue drops is what the state says that it dropped.
func TestDropsOfMemory(t *testing.T) {
	t.Parallel()
	const frames = 200
	b := newKeeper(t)
	l := keepLedger(t, b.addr)
	b.stop()
	r := newRoad(t, "tcp://"+b.addr, `
models: {objects: {manifest: MANIFEST, threads: 1}}
cameras: {clip: {source: "`+pictures(t, frames)+`", models: [objects], pace: lockstep, loop: false}}
`).changed("mqtt: {", "mqtt: {results: {durability: memory, drop: oldest}, queue: {max_bytes: 64KiB}, ")
	r.start()
	page := r.page()
	boot := bootInLog.FindStringSubmatch(r.stderr.String())[1]
	await(t, "every picture to be answered", func() bool { v, _ := scrape(t, page); return v[acceptedResults] == frames })
	b.begin()
	await(t, "all that was kept", func() bool {
		v, _ := scrape(t, page)
		return v["edge_agent_mqtt_queue_messages"] == 0 && v["edge_agent_mqtt_connected"] == 1
	})
	r.stop()
	await(t, "the state", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return l.drops > 0 && l.dropped["full"] > 0 })
	lost := frames - l.of(boot)
	figure(t, "publish_agent_memory_dropped", lost)
	if lost != l.dropped["full"] || lost < frames/4 || len(l.dropped) != 1 {
		t.Errorf("%d of %d did not come, the state tells %v", lost, frames, l.dropped)
	}
}
