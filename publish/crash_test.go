package publish

// Power cuts: a process that publishes is killed again and again, its network cut,
// its broker stopped. What it had accepted on disk must have reached the broker.

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
)

// The environment of a test binary that plays the process to be killed.
const (
	childAddr  = "EDGE_AGENT_TEST_CHILD" // of the broker
	childDir   = "EDGE_AGENT_TEST_DIR"
	childBoot  = "EDGE_AGENT_TEST_BOOT"
	childQuiet = "EDGE_AGENT_TEST_QUIET" // puts nothing: it only sends what is there
	longTests  = "EDGE_AGENT_TEST_LONG"
)

// child publishes until it is killed. Each result that was accepted it names on
// its standard output: "<boot> <seq>".
func child(addr string) {
	c := testConfig("tcp://" + addr)
	c.Boot, c.Dir, c.Results.Durability, c.Events.Durability = os.Getenv(childBoot), os.Getenv(childDir), Disk, Disk
	c.lockWait, c.retryWait, c.AckTimeout, c.MaxBytes = patience, 20*time.Millisecond, 500*time.Millisecond, 256<<20
	p, err := Open(c, quietLog())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("open")
	if os.Getenv(childQuiet) != "" {
		select {}
	}
	var mu sync.Mutex
	var seq uint64
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for {
				mu.Lock()
				seq++
				r := sampleResult()
				r.Seq = seq
				mu.Unlock()
				err := p.Result(r)
				mu.Lock()
				if err == nil {
					fmt.Println(c.Boot, r.Seq)
				} else {
					fmt.Println("refused:", err)
				}
				mu.Unlock()
				if err != nil {
					time.Sleep(10 * time.Millisecond)
				}
			}
		})
	}
	wg.Wait()
}

// victim is a running child.
type victim struct {
	cmd      *exec.Cmd
	accepted []string // "<boot> <seq>"
	count    atomic.Int64
	refused  atomic.Pointer[string] // the last error
	opened   chan struct{}
	read     chan struct{} // all that it said has been read
	stderr   strings.Builder
}

func spawn(t *testing.T, addr, dir, boot string, more ...string) *victim {
	t.Helper()
	return spawnBy(t, exec.Command(os.Args[0]), addr, dir, boot, more...)
}

// spawnBy starts a child by cmd, which runs the test binary.
func spawnBy(t *testing.T, cmd *exec.Cmd, addr, dir, boot string, more ...string) *victim {
	t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // cmd may be another program that runs it
	v := &victim{cmd: cmd, opened: make(chan struct{}), read: make(chan struct{})}
	v.cmd.Env = append(os.Environ(), append(more, childAddr+"="+addr, childDir+"="+dir, childBoot+"="+boot)...)
	v.cmd.Stderr = &v.stderr
	out, err := v.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := v.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.kill() })
	go func() {
		defer close(v.read)
		s := bufio.NewScanner(out)
		for s.Scan() {
			if s.Text() == "open" {
				close(v.opened)
			} else if why, ok := strings.CutPrefix(s.Text(), "refused: "); ok {
				v.refused.Store(&why)
			} else if f := strings.Fields(s.Text()); len(f) == 2 { // the last line may be cut
				v.accepted = append(v.accepted, s.Text())
				v.count.Add(1)
			}
		}
	}()
	select {
	case <-v.opened:
	case <-v.read:
		t.Fatalf("the child ended: %s", &v.stderr)
	case <-time.After(patience):
		t.Fatal("the child does not start")
	}
	return v
}

// kill ends the child as a power cut would, and gives what it had accepted.
func (v *victim) kill() []string {
	_ = syscall.Kill(-v.cmd.Process.Pid, syscall.SIGKILL)
	<-v.read
	_ = v.cmd.Wait()
	return v.accepted
}

// ledger counts what a broker took over, by "<boot> <seq>".
type ledger struct {
	mu    sync.Mutex
	taken map[string]int
	again int // of these, came with replayed: true although they had come before
	total int
}

func (l *ledger) note(payload []byte) {
	var m struct {
		Boot     string `json:"boot"`
		Seq      uint64 `json:"seq"`
		Replayed bool   `json:"replayed"`
	}
	if json.Unmarshal(payload, &m) != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	id := fmt.Sprint(m.Boot, " ", m.Seq)
	if l.taken[id] > 0 && m.Replayed {
		l.again++
	}
	l.taken[id]++
	l.total++
}

// lacks counts which of ids are missing.
func (l *ledger) lacks(ids map[string]struct{}) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range ids {
		if l.taken[id] == 0 {
			n++
		}
	}
	return n
}

// crashBroker is what the harness needs of a broker.
type crashBroker interface {
	addr() string
	stop(t *testing.T)
	begin(t *testing.T)
	ledger() *ledger
}

// oracle is a broker that does nothing but note each result before its PUBACK: at
// the PUBACK our promise ends.
type oracle struct {
	*silent
	l    *ledger
	port string
}

func newOracle(t *testing.T) *oracle {
	o := &oracle{l: &ledger{taken: map[string]int{}}}
	o.begin(t)
	return o
}

func (o *oracle) addr() string    { return o.port }
func (o *oracle) ledger() *ledger { return o.l }

func (o *oracle) begin(t *testing.T) {
	t.Helper()
	s := &silent{acks: true, conns: map[net.Conn]struct{}{}, taken: func(p *packets.PublishPacket) {
		if p.TopicName == resultTopic {
			o.l.note(p.Payload)
		}
	}}
	at := o.port
	if at == "" {
		at = "127.0.0.1:0"
	}
	await(t, "the port", func() bool {
		l, err := net.Listen("tcp", at)
		s.listener = l
		return err == nil
	})
	o.silent, o.port = s, s.listener.Addr().String()
	s.start(t)
}

func (o *oracle) stop(*testing.T) { o.end() }

// TestKilledAgain is the crash harness: nothing accepted is lost, few come twice,
// and those can be recognised.
func TestKilledAgain(t *testing.T) {
	seeds, life := []uint64{1}, 350*time.Millisecond
	if os.Getenv(longTests) != "" {
		seeds, life = []uint64{1, 2, 3}, 3*time.Second
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint("oracle-", seed), func(t *testing.T) { killedAgain(t, newOracle(t), seed, life) })
	}
	if os.Getenv(longTests) == "" {
		t.Logf("a real Mosquitto takes part with %s=1 only", longTests)
		return
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint("mosquitto-", seed), func(t *testing.T) { killedAgain(t, newPersistent(t), seed, life) })
	}
}

// killedAgain kills eight times, each after about life, with a fault of the network
// or the broker in between now and then.
func killedAgain(t *testing.T, b crashBroker, seed uint64, life time.Duration) {
	const kills = 8
	rng := rand.New(rand.NewPCG(seed, seed))
	about := func(d time.Duration) time.Duration { return d/2 + time.Duration(rng.Int64N(int64(d))) }
	g := newGate(t, b.addr(), nil)
	dir := fastDir(t) // what a killed process has written stays, on any file system
	accepted := map[string]struct{}{}
	cuts, restarts := 0, 0
	for k := range kills {
		v := spawn(t, g.addr(), dir, fmt.Sprint("boot", k))
		for end := time.Now().Add(about(life)); time.Now().Before(end); {
			time.Sleep(about(life / 4)) // the moment of the fault is the point of this test
			switch rng.IntN(3) {
			case 0:
				cuts++
				g.hold(true) // acknowledgements are swallowed for a moment
				time.Sleep(about(20 * time.Millisecond))
				g.close()
				g.hold(false)
				g.open()
			case 1:
				restarts++
				b.stop(t)
				time.Sleep(about(30 * time.Millisecond))
				b.begin(t)
			}
		}
		for _, id := range v.kill() {
			accepted[id] = struct{}{}
		}
	}
	spawn(t, g.addr(), dir, "last", childQuiet+"=1")
	l := b.ledger()
	end := time.Now().Add(2 * patience)
	for l.lacks(accepted) > 0 && time.Now().Before(end) {
		time.Sleep(20 * time.Millisecond)
	}
	lost := l.lacks(accepted)
	l.mu.Lock()
	defer l.mu.Unlock()
	twice := l.total - len(l.taken)
	share := 100 * float64(twice) / float64(len(l.taken))
	t.Logf("%d kills, %d restarts of the broker, %d cuts", kills, restarts, cuts)
	for _, f := range []struct {
		name  string
		value any
	}{{"accepted", len(accepted)}, {"lost", lost}, {"duplicates_percent", fmt.Sprintf("%.2f", share)}} {
		t.Logf("figure: publish_crash_%s_%s: %v", strings.ReplaceAll(filepath.Base(t.Name()), "-", "_"), f.name, f.value)
	}
	if lost > 0 {
		t.Errorf("%d of %d accepted messages were lost", lost, len(accepted))
	}
	if len(accepted) < 20*kills {
		t.Errorf("only %d messages were accepted: this tests nothing", len(accepted))
	}
	// A fault repeats what was in flight, and a kill also what was acknowledged and
	// whose deletion waited for a transaction. The share depends on how dense the
	// faults are: here many a second, in the long form one in a second or two.
	if most := (kills+restarts+cuts)*windowMax + kills*2*batchMax; twice > most || life > time.Second && share > 3 {
		t.Errorf("%d of %d messages came twice", twice, len(l.taken))
	}
	// Mosquitto itself repeats what its subscriber had not acknowledged.
	if _, exact := b.(*oracle); exact && l.again != twice {
		t.Errorf("%d messages came twice, %d of them say replayed", twice, l.again)
	}
}

// TestDoubleFault: the connection drops before the PUBACK, the client comes back,
// the network swallows everything, the power fails; then all is well. A client
// that trusts its library's token after a reconnect loses a message here.
func TestDoubleFault(t *testing.T) {
	bad := &silent{conns: map[net.Conn]struct{}{}, dropFirst: true, listener: must(net.Listen("tcp", "127.0.0.1:0"))}
	bad.start(t)
	dir := fastDir(t)
	v := spawn(t, bad.listener.Addr().String(), dir, "boot0")
	await(t, "a second connection that got messages", func() bool {
		return bad.connections() >= 2 && bad.publishes() >= windowMin/2 && v.count.Load() > windowMax
	})
	ids := map[string]struct{}{}
	for _, id := range v.kill() {
		ids[id] = struct{}{}
	}
	good := newOracle(t)
	spawn(t, good.addr(), dir, "boot1", childQuiet+"=1")
	await(t, "every accepted message", func() bool { return good.l.lacks(ids) == 0 })
	t.Logf("figure: publish_double_fault_accepted: %d", len(ids))
	t.Logf("figure: publish_double_fault_lost: %d", good.l.lacks(ids))
}

// persistent is a real Mosquitto that keeps sessions over restarts, with a
// subscriber that never misses a message.
type persistent struct {
	*mosquitto
	l *ledger
}

func newPersistent(t *testing.T) *persistent {
	p := &persistent{mosquitto: newMosquitto(t).(*mosquitto), l: &ledger{taken: map[string]int{}}}
	conf := filepath.Join(p.dir, "conf")
	b := must(os.ReadFile(conf))
	text := strings.Replace(string(b), "persistence false", "persistence true\npersistence_location "+p.dir+"/\nmax_inflight_messages 100", 1)
	text = strings.Replace(text, "max_queued_messages 100000", "max_queued_messages 0", 1)
	if err := os.Chmod(p.dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	p.begin(t)
	subscribe(t, p.addr(), p.l)
	return p
}

func (p *persistent) ledger() *ledger    { return p.l }
func (p *persistent) begin(t *testing.T) { p.start(t) }

// stop ends Mosquitto in order: killed, it forgets what it has acknowledged, which
// is not ours to prevent.
func (p *persistent) stop(t *testing.T) {
	t.Helper()
	_ = p.process.Process.Signal(os.Interrupt)
	_ = p.process.Wait()
	p.process = nil
}

// subscribe notes all results in l, over restarts of the broker.
func subscribe(t *testing.T, addr string, l *ledger) {
	t.Helper()
	ready := make(chan struct{}, 100)
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + addr).SetClientID("ledger").SetCleanSession(false).
		SetAutoReconnect(true).SetMaxReconnectInterval(100 * time.Millisecond).SetOnConnectHandler(func(c mqtt.Client) {
		c.Subscribe(resultTopic, 1, func(_ mqtt.Client, m mqtt.Message) { l.note(m.Payload()) }).WaitTimeout(patience)
		ready <- struct{}{}
	}))
	if k := c.Connect(); !k.WaitTimeout(patience) || k.Error() != nil {
		t.Fatal(k.Error())
	}
	<-ready
	t.Cleanup(func() { c.Disconnect(1000) })
}
