package main

// The same faults on the Python program that the agent is compared with
// (build/bench/peer.py), as systemd would run it: started again 100 ms after its end,
// for ever. In make test-delegates only.

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"edgeagent/internal/testplugin"
)

// restartAfter is RestartSec's default in systemd.
const restartAfter = 100 * time.Millisecond

// peerRun is how long a peer is watched after its first result.
const peerRun = 15 * time.Second

func TestPeerUnderRestart(t *testing.T) {
	python := os.Getenv("EDGE_AGENT_TEST_PEER")
	if python == "" {
		t.Skip("in make test-delegates only: it needs a Python with what build/bench/requirements.txt names")
	}
	plugin, models := testplugin.Build(t), testModels(t)
	right := map[string]bool{} // the best labels of a run without a fault
	for _, c := range []struct {
		option string
		dies   bool
	}{
		{"", false},
		{"abort-at=60", true}, // after the warm-up of 20 invokes
		{"segfault-at=60", true},
		{"exit-at=60", true},
		{"fail-invoke=60", true},
		{"hang-at=60", false},
		{"wrong-from=60", false},
		{"drift-from=60", false},
	} {
		name := strings.NewReplacer("-", "_", "=", "_").Replace(c.option)
		t.Run("fault_"+name, func(t *testing.T) {
			m := startMosquitto(t)
			w := watch(t, m.addr, "#", "watcher")
			_, port := splitAddress(m.addr)
			args := []string{
				inRepo(t, "build/bench/peer.py"), "serial", "--clip", inRepo(t, "models/demo/demo.mp4"), "--fps", "10", "--frames", "100000",
				"--model", filepath.Join(models, "mobilenet_v1_0.25_128_quant.tflite"), "--resize", "stretch",
				"--port", port, "--topic", base + resultTopic("clip", "objects"), "--delegate", plugin,
			}
			if c.option != "" {
				args = append(args, "--delegate-option", c.option)
			}
			if c.dies { // the device is well again when the program is started anew
				args = append(args, "--delegate-option", "recover-after=1", "--delegate-option", "count-file="+filepath.Join(t.TempDir(), "count"))
			}
			p := keepRunning(t, python, args)
			topic := resultTopic("clip", "objects")
			await(t, "a first result", func() bool { return w.seen(topic) > 0 || p.starts() > 3 })
			time.Sleep(peerRun) // what is measured is what happens in this time
			over := time.Now()
			p.stop()
			rs := w.results("clip", "objects")
			if len(rs) == 0 {
				t.Fatalf("no results: %s", p.said.String())
			}
			wrong := 0
			for _, r := range rs {
				if c.option == "" {
					right[r.top()] = true
				} else if !right[r.top()] {
					wrong++
				}
			}
			gap := max(longestGap(rs), over.Sub(rs[len(rs)-1].at))
			if c.option == "" {
				name = "none"
			}
			figure(t, "peer_fault_"+name+"_gap_ms", ms(gap))
			figure(t, "peer_fault_"+name+"_starts", p.starts())
			if strings.HasPrefix(c.option, "wrong") || strings.HasPrefix(c.option, "drift") {
				figure(t, "peer_fault_"+name+"_wrong_answers_of_"+strconv.Itoa(len(rs)), wrong)
			}
			// The comparison is void if the fault did not happen to the peer.
			if c.dies && p.starts() < 2 || c.option == "wrong-from=60" && wrong == 0 || c.option == "hang-at=60" && gap < peerRun/2 {
				t.Errorf("the fault did not happen: %d starts, %d wrong answers, gap %v: %s", p.starts(), wrong, gap, p.said.String())
			}
		})
	}
}

// undying is a program that is started again whenever it ends.
type undying struct {
	said transcript
	quit chan struct{}
	done chan struct{}

	mu  sync.Mutex
	n   int
	now *exec.Cmd
}

// keepRunning runs a program as Restart=always does; the test's end ends it.
func keepRunning(t *testing.T, name string, args []string) *undying {
	t.Helper()
	p := &undying{quit: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(p.done)
		for {
			cmd := exec.Command(name, args...)
			cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
			cmd.Stdout, cmd.Stderr = &p.said, &p.said
			if p.begin(cmd) {
				_ = cmd.Wait()
			}
			select {
			case <-p.quit:
				return
			case <-time.After(restartAfter):
			}
		}
	}()
	t.Cleanup(p.stop)
	return p
}

// begin starts the program, unless it is to be kept no more.
func (p *undying) begin(cmd *exec.Cmd) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.quit:
		return false
	default:
	}
	p.n++
	p.now = cmd
	return cmd.Start() == nil
}

func (p *undying) starts() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n
}

// stop ends it for good; twice is harmless.
func (p *undying) stop() {
	p.mu.Lock()
	select {
	case <-p.quit:
	default:
		close(p.quit)
	}
	if p.now != nil && p.now.Process != nil {
		_ = p.now.Process.Kill()
	}
	p.mu.Unlock()
	<-p.done
}
