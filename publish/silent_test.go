package publish

// A broker that acknowledges late or never: nothing accepted may be forgotten.

import (
	"net"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// silent is a broker that accepts everything and acknowledges publishes only
// when told to: the kind with which a client that trusts its library loses
// messages.
type silent struct {
	listener  net.Listener
	dropFirst bool                           // the first connection is cut at its first result
	taken     func(p *packets.PublishPacket) // sees what will be acknowledged

	mu       sync.Mutex
	acks     bool
	conns    map[net.Conn]struct{}
	accepted int // connections
	seen     int // publishes of results
	wg       sync.WaitGroup
}

func newSilent(t *testing.T) *silent {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &silent{listener: l, conns: map[net.Conn]struct{}{}}
	s.start(t)
	return s
}

// start accepts connections until end or the end of the test.
func (s *silent) start(t *testing.T) {
	t.Helper()
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		for {
			c, err := s.listener.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns[c] = struct{}{}
			s.accepted++
			first := s.accepted == 1
			s.mu.Unlock()
			s.wg.Add(1)
			go s.talk(c, first)
		}
	}()
	t.Cleanup(s.end)
}

// end closes the listener and all connections.
func (s *silent) end() {
	_ = s.listener.Close()
	s.cut()
	s.wg.Wait()
}

func (s *silent) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted
}

func (s *silent) talk(c net.Conn, first bool) {
	defer s.wg.Done()
	defer func() { _ = c.Close() }()
	for {
		p, err := packets.ReadPacket(c)
		if err != nil {
			return
		}
		switch p := p.(type) {
		case *packets.ConnectPacket:
			_ = packets.NewControlPacket(packets.Connack).Write(c)
		case *packets.SubscribePacket:
			a := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
			a.MessageID, a.ReturnCodes = p.MessageID, []byte{1, 1}
			_ = a.Write(c)
		case *packets.PingreqPacket:
			_ = packets.NewControlPacket(packets.Pingresp).Write(c)
		case *packets.PublishPacket:
			s.mu.Lock()
			acks := s.acks
			if p.TopicName == resultTopic {
				s.seen++
			}
			s.mu.Unlock()
			if s.dropFirst && first && p.TopicName == resultTopic {
				return
			}
			if acks && s.taken != nil {
				s.taken(p)
			}
			if acks && p.Qos > 0 {
				a := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
				a.MessageID = p.MessageID
				_ = a.Write(c)
			}
		}
	}
}

// cut closes all connections.
func (s *silent) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.Close()
	}
	clear(s.conns)
}

func (s *silent) publishes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}

// TestNoPubackNoForgetting: an entry leaves the queue only by the PUBACK of its
// own connection, whatever a cut makes of the library's tokens.
func TestNoPubackNoForgetting(t *testing.T) {
	s := newSilent(t)
	p := open(t, testConfig("tcp://"+s.listener.Addr().String()))
	await(t, "a connection", func() bool { return p.Stats().Connected })
	put(t, p, 1, 200)
	for round := 1; round <= 3; round++ {
		// One of the window is the retained status; afterwards all is backlog.
		want := windowMin - 1 + (round-1)*backlogShare(windowMin)
		await(t, "a full window", func() bool { return s.publishes() == want })
		if st := p.Stats(); st.Messages != 200 || st.Classes["results"].Acked != 0 {
			t.Fatalf("%d of 200 messages left after %d publishes without one PUBACK", st.Messages, s.publishes())
		}
		s.cut()
	}
	s.mu.Lock()
	s.acks = true
	s.mu.Unlock()
	s.cut()
	await(t, "all to be acknowledged", func() bool { return p.Stats().Messages == 0 })
	if c := p.Stats().Classes["results"]; c.Acked != 200 {
		t.Errorf("%+v", c)
	}
}

// TestBrokerThatOnlyPings is given up after AckTimeout.
func TestBrokerThatOnlyPings(t *testing.T) {
	s := newSilent(t)
	c := testConfig("tcp://" + s.listener.Addr().String())
	c.AckTimeout = 10 * time.Millisecond
	p := open(t, c)
	put(t, p, 1, 1)
	await(t, "another connection", func() bool { return p.Stats().Reconnects >= 1 })
	if n := p.Stats().Messages; n != 1 {
		t.Errorf("%d messages in the queue", n)
	}
}

// TestCloseIsBounded: Close returns soon after its context is done, connected to
// a broker that does not answer, or to none.
func TestCloseIsBounded(t *testing.T) {
	s := newSilent(t)
	dead, err := net.Listen("tcp", "127.0.0.1:0") // accepts, says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = dead.Close() }()
	for name, addr := range map[string]string{"silent": s.listener.Addr().String(), "dead": dead.Addr().String(), "refused": "127.0.0.1:1"} {
		t.Run(name, func(t *testing.T) {
			p := open(t, testConfig("tcp://"+addr))
			put(t, p, 1, 3)
			if name == "silent" {
				await(t, "a connection", func() bool { return p.Stats().Connected })
			}
			start := time.Now()
			closeNow(t, p)
			if d := time.Since(start); d > 5*time.Second {
				t.Errorf("Close took %v", d)
			}
			st := p.Stats()
			if st.Messages != 0 || st.Classes["results"].Dropped[reasonClosed] != 3 {
				t.Errorf("%+v", st)
			}
		})
	}
}
