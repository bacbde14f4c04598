// Command queuebench measures what others offer in place of the agent's queue and MQTT client: the file store of
// paho.mqtt.golang, the file queue of autopaho, and paho.golang's MQTT 5. One "name: value" a line.
//
//	queuebench queue paho|autopaho FOLDER BATCH COUNT
//	queuebench client v3|v5|v5-alias HOST:PORT COUNT WINDOW
package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/eclipse/paho.golang/autopaho/queue/file"
	packets5 "github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
)

func main() {
	var err error
	switch a := os.Args[1:]; {
	case len(a) == 5 && a[0] == "queue":
		err = benchQueue(a[1], a[2], number(a[3]), number(a[4]))
	case len(a) == 5 && a[0] == "client":
		err = benchClient(a[1], a[2], number(a[3]), number(a[4]))
	default:
		err = fmt.Errorf("usage: queuebench queue|client …; see the source")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "queuebench:", err)
		os.Exit(1)
	}
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		fmt.Fprintln(os.Stderr, "queuebench: not a number:", s)
		os.Exit(1)
	}
	return n
}

func tell(name string, value float64, digits int) {
	fmt.Printf("%s: %.*f\n", name, digits, value)
}

// queue is a store of messages by number.
type queue interface {
	put(payload []byte) error
	pop() error
}

// pahoStore is paho.mqtt.golang's file store.
type pahoStore struct {
	store     mqtt.Store
	in, taken int
}

func (q *pahoStore) put(b []byte) error {
	q.in++
	p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	p.Qos, p.TopicName, p.Payload, p.MessageID = 1, "edge/pi-kitchen/event", b, uint16(q.in)
	q.store.Put("o."+strconv.Itoa(q.in), p)
	return nil
}

func (q *pahoStore) pop() error {
	q.taken++
	q.store.Del("o." + strconv.Itoa(q.taken))
	return nil
}

// autoQueue is autopaho's file queue.
type autoQueue struct{ q *file.Queue }

func (q autoQueue) put(b []byte) error { return q.q.Enqueue(bytes.NewReader(b)) }

func (q autoQueue) pop() error {
	e, err := q.q.Peek()
	if err != nil {
		return err
	}
	return e.Remove()
}

// written is how many bytes this process has had written to media.
func written() float64 {
	b, _ := os.ReadFile("/proc/self/io")
	for l := range strings.Lines(string(b)) {
		if s, ok := strings.CutPrefix(l, "write_bytes: "); ok {
			n, _ := strconv.ParseFloat(strings.TrimSpace(s), 64)
			return n
		}
	}
	return 0
}

// benchQueue puts and takes messages of 256 bytes. Neither queue has transactions: a batch is only so many in a row.
func benchQueue(kind, dir string, batch, count int) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	var q queue
	switch kind {
	case "paho":
		s := mqtt.NewFileStore(dir)
		s.Open()
		q = &pahoStore{store: s}
	case "autopaho":
		f, err := file.New(dir, "q", ".msg")
		if err != nil {
			return err
		}
		q = autoQueue{f}
	default:
		return fmt.Errorf("no queue is called %s", kind)
	}
	payload := bytes.Repeat([]byte("x"), 256)
	name := fmt.Sprintf("%s_file_%d_", kind, batch)
	before, begun := written(), time.Now()
	for range count {
		if err := q.put(payload); err != nil {
			return err
		}
	}
	tell(name+"puts_per_s", float64(count)/time.Since(begun).Seconds(), 0)
	tell(name+"b_written_per_put", (written()-before)/float64(count), 0)
	begun = time.Now()
	for range count {
		if err := q.pop(); err != nil {
			return err
		}
	}
	tell(name+"drains_per_s", float64(count)/time.Since(begun).Seconds(), 0)
	return nil
}

// counted counts what is sent.
type counted struct {
	net.Conn
	sent atomic.Int64
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.sent.Add(int64(n))
	return n, err
}

// topic and size are those of a classification's result.
const (
	topic = "edge/pi-kitchen/camera/front/model/objects/result"
	size  = 600
)

// benchClient publishes with QoS 1, window messages at once.
func benchClient(kind, addr string, count, window int) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	c := &counted{Conn: conn}
	var publish func(payload []byte) error
	switch kind {
	case "v3":
		publish, err = three(c)
	case "v5", "v5-alias":
		publish, err = five(c, kind == "v5-alias")
	default:
		err = fmt.Errorf("no client is called %s", kind)
	}
	if err != nil {
		return err
	}
	payload := bytes.Repeat([]byte("x"), size)
	if err := publish(payload); err != nil {
		return err
	}
	took := make([]time.Duration, count)
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var m0, m1 runtime.MemStats
	runtime.ReadMemStats(&m0)
	sent, cpu, begun := c.sent.Load(), used(), time.Now()
	var wg sync.WaitGroup
	for range window {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(count); i = next.Add(1) - 1 {
				start := time.Now()
				if err := publish(payload); err != nil {
					failed.Store(&err)
				}
				took[i] = time.Since(start)
			}
		})
	}
	wg.Wait()
	elapsed, busy := time.Since(begun), used()-cpu
	runtime.ReadMemStats(&m1)
	if err := failed.Load(); err != nil {
		return *err
	}
	slices.Sort(took)
	name := fmt.Sprintf("%s_window_%d_", strings.ReplaceAll(kind, "-", "_"), window)
	n := float64(count)
	tell(name+"msgs_per_s", n/elapsed.Seconds(), 0)
	tell(name+"puback_p50_us", float64(took[count/2].Nanoseconds())/1e3, 1)
	tell(name+"puback_p99_us", float64(took[count*99/100].Nanoseconds())/1e3, 1)
	tell(name+"b_sent_per_msg", float64(c.sent.Load()-sent)/n, 1)
	tell(name+"cpu_us_per_msg", float64(busy.Nanoseconds())/1e3/n, 1)
	tell(name+"allocs_per_msg", float64(m1.Mallocs-m0.Mallocs)/n, 1)
	return nil
}

// used is the processor time of this process.
func used() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// three is paho.mqtt.golang as the agent uses it.
func three(c net.Conn) (func([]byte) error, error) {
	client := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://bench").SetClientID("bench3").SetProtocolVersion(4).
		SetCleanSession(true).SetAutoReconnect(false).
		SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) { return c, nil }))
	if t := client.Connect(); t.Wait() && t.Error() != nil {
		return nil, t.Error()
	}
	return func(b []byte) error {
		t := client.Publish(topic, 1, false, b)
		t.Wait()
		return t.Error()
	}, nil
}

// five is paho.golang, with a topic alias if asked for.
func five(c net.Conn, alias bool) (func([]byte) error, error) {
	// It writes a packet in pieces: two at once on a plain connection end it.
	client := paho.NewClient(paho.ClientConfig{Conn: packets5.NewThreadSafeConn(c), ClientID: "bench5"})
	if _, err := client.Connect(context.Background(), &paho.Connect{ClientID: "bench5", CleanStart: true, KeepAlive: 30}); err != nil {
		return nil, err
	}
	var known atomic.Bool
	return func(b []byte) error {
		p := &paho.Publish{Topic: topic, QoS: 1, Payload: b}
		if alias {
			n := uint16(1)
			p.Properties = &paho.PublishProperties{TopicAlias: &n}
			if known.Swap(true) {
				p.Topic = ""
			}
		}
		_, err := client.Publish(context.Background(), p)
		return err
	}, nil
}
