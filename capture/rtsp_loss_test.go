package capture

// RTSP through a network that loses packets, cuts connections, or takes them and says
// nothing: a proxy of the tests' own, and two hundred reconnects.

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"edgeagent/internal/pipeline"
	"edgeagent/internal/source"
)

// lossy relays RTSP to a server, and RTP over UDP with losses.
type lossy struct {
	t    *testing.T
	l    net.Listener
	to   string
	loss float64

	mu      sync.Mutex
	rng     *rand.Rand
	sent    int
	dropped int
	conns   []net.Conn
	wg      sync.WaitGroup
}

// startLossy listens on a port of its own until the test ends.
func startLossy(t *testing.T, to string, loss float64) *lossy {
	t.Helper()
	p := &lossy{t: t, to: to, loss: loss, rng: rand.New(rand.NewPCG(5, 5))}
	p.listen("127.0.0.1:0")
	t.Cleanup(func() {
		p.cut()
		p.wg.Wait()
	})
	return p
}

func (p *lossy) listen(addr string) {
	p.t.Helper()
	var err error
	until(p.t, "the proxy's port", func() bool { p.l, err = net.Listen("tcp", addr); return err == nil })
	p.wg.Add(1)
	go func(l net.Listener) {
		defer p.wg.Done()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s, err := net.Dial("tcp", p.to)
			if err != nil {
				_ = c.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, c, s)
			p.mu.Unlock()
			r := &relay{p: p}
			p.wg.Add(2)
			go r.run(c, s, r.request)
			go r.run(s, c, r.answer)
		}
	}(p.l)
}

// cut closes the port and all connections.
func (p *lossy) cut() {
	_ = p.l.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
}

// relay is one RTSP connection.
type relay struct {
	p            *lossy
	mu           sync.Mutex
	client, ours [2]int // ports of RTP and RTCP
}

func (r *relay) run(from, to net.Conn, change func([]byte) []byte) {
	defer r.p.wg.Done()
	defer func() { _ = from.Close(); _ = to.Close() }()
	b := make([]byte, 1<<16)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		if _, err := to.Write(change(b[:n])); err != nil { // messages here are of one packet
			return
		}
	}
}

var clientPort = regexp.MustCompile(`client_port=(\d+)-(\d+)`)

// request puts the proxy's ports in place of the client's.
func (r *relay) request(b []byte) []byte {
	m := clientPort.FindSubmatch(b)
	if m == nil {
		return b
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range 2 {
		r.client[i], _ = strconv.Atoi(string(m[i+1]))
		u, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			r.p.t.Error(err)
			return b
		}
		r.ours[i] = u.LocalAddr().(*net.UDPAddr).Port
		r.p.mu.Lock()
		r.p.conns = append(r.p.conns, u)
		r.p.mu.Unlock()
		r.p.wg.Add(1)
		go r.p.forward(u, r.client[i])
	}
	return clientPort.ReplaceAll(b, fmt.Appendf(nil, "client_port=%d-%d", r.ours[0], r.ours[1]))
}

// answer puts the client's ports back, and the proxy's in place of the server's.
func (r *relay) answer(b []byte) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ours[0] == 0 || !clientPort.Match(b) {
		return b
	}
	b = clientPort.ReplaceAll(b, fmt.Appendf(nil, "client_port=%d-%d", r.client[0], r.client[1]))
	return regexp.MustCompile(`server_port=\d+-\d+`).ReplaceAll(b, fmt.Appendf(nil, "server_port=%d-%d", r.ours[0], r.ours[1]))
}

// forward sends on what the network does not lose.
func (p *lossy) forward(u *net.UDPConn, to int) {
	defer p.wg.Done()
	b := make([]byte, 1<<16)
	for {
		n, from, err := u.ReadFromUDP(b)
		if err != nil {
			return
		}
		if from.Port == to {
			continue // the client's own reports
		}
		p.mu.Lock()
		p.sent++
		lost := p.rng.Float64() < p.loss
		if lost {
			p.dropped++
		}
		p.mu.Unlock()
		if !lost {
			_, _ = u.WriteToUDP(b[:n], &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: to})
		}
	}
}

// TestRTSPLosesPackets: frames go on, and none is old.
func TestRTSPLosesPackets(t *testing.T) {
	t.Parallel()
	s := startRTSP(t)
	for _, b := range []source.Backend{source.FFmpeg, source.ByGStreamer} {
		if b == source.FFmpeg && !long {
			continue
		}
		t.Run(string(b), func(t *testing.T) {
			p := startLossy(t, "127.0.0.1:"+s.port, 0.02)
			n := 60
			if long {
				n = 600
			}
			cam, w := rtspCamera(t, "rtsp://"+p.l.Addr().String()+"/cam", source.Options{Backend: b, Transport: source.UDP})
			ages := w.take(t, n)
			w.checkAges(t)
			p.mu.Lock()
			sent, dropped := p.sent, p.dropped
			p.mu.Unlock()
			if dropped == 0 || sent == 0 {
				t.Errorf("%d packets of %d were lost: nothing was tried", dropped, sent)
			}
			name := string(b)
			t.Logf("figure: rtsp_udp_packets_lost_%s: %d of %d", name, dropped, sent)
			t.Logf("figure: rtsp_udp_frames_damaged_%s: %d of %d", name, w.damaged.Load(), w.damaged.Load()+w.frames.Load())
			figure(t, "rtsp_udp_latency_p50_ms_"+name, ages[len(ages)/2])
			figure(t, "rtsp_udp_oldest_frame_ms_"+name, time.Duration(w.oldest.Load()))
			t.Logf("figure: rtsp_udp_reconnects_%s: %d", name, cam.Info().Reconnects)
		})
	}
}

// TestRTSPReconnects cuts the connection again and again: neither memory nor
// descriptors of the daemon grow.
func TestRTSPReconnects(t *testing.T) {
	if !long {
		t.Skip("two hundred reconnects take minutes: make test-cameras")
	}
	s := startRTSP(t)
	p := startLossy(t, "127.0.0.1:"+s.port, 0)
	addr := p.l.Addr().String()
	cam, w := rtspCamera(t, "rtsp://"+addr+"/cam", source.Options{})
	round := func() {
		p.cut()
		untilStatus(t, cam, pipeline.CameraOnline, false)
		// Away for long enough to be seen so: a port that is back before the first knock
		// is waited for by the backoff alone.
		time.Sleep(300 * time.Millisecond)
		p.listen(addr)
		w.returns(t)
	}
	for range 20 {
		round()
	}
	files, before := openFiles(t), resident(t)
	for range 200 {
		round()
	}
	after := resident(t)
	t.Logf("figure: rtsp_200_reconnects_daemon_growth_kib: %d", (after-before)>>10)
	if now := openFiles(t); now > files+2 || after-before > 16<<20 {
		t.Errorf("%d files after, %d before; %d MiB more", now, files, (after-before)>>20)
	}
	w.checkAges(t)
}

// resident is this process's resident set in bytes.
func resident(t *testing.T) int64 {
	t.Helper()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(b))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// TestOpenHangs has a GStreamer pipeline whose open never returns: a server that takes
// the connection and says nothing. It is killed and told within its deadline.
func TestOpenHangs(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	c := realConfig(t)
	c.OpenTimeout = 1500 * time.Millisecond
	c.Source = "gstreamer:tcpclientsrc host=127.0.0.1 port=" + port + " ! jpegdec ! videoconvert ! video/x-raw,format=BGR ! appsink drop=true max-buffers=1 sync=false"
	began := time.Now()
	cam, _, _ := openCamera(t, c, ViewConfig{Model: "m", Recipe: square(16)})
	until(t, "an end", func() bool { return cam.Info().LastError != "" })
	took := time.Since(began)
	i := cam.Info()
	if strings.Contains(i.LastError, "gst-launch") {
		t.Skip("GStreamer has no tcpclientsrc or jpegdec here: build/setup.sh cameras installs them")
	}
	if i.Status != pipeline.CameraStalled || !strings.Contains(i.LastError, "did not open within 1.5s") {
		t.Errorf("%+v", i)
	}
	figure(t, "hanging_open_told_ms", took)
	if took > c.OpenTimeout+slack+slackOfTests {
		t.Errorf("told after %v", took)
	}
}
