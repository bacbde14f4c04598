package publish

// A broker that is broken or means harm: it costs its connection, never the process.

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// newHostile starts a broker that answers each packet with what say makes of it; nil: as a
// good broker would.
func newHostile(t testing.TB, say func(p packets.ControlPacket) []byte) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			answer(c, say)
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String()
}

// answer serves one connection, for ten seconds at most.
func answer(c net.Conn, say func(p packets.ControlPacket) []byte) {
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	for {
		p, err := packets.ReadPacket(c)
		if err != nil {
			return
		}
		b := say(p)
		if b == nil {
			b = goodAnswer(p)
		}
		if _, err := c.Write(b); err != nil {
			return
		}
	}
}

// goodAnswer is what a broker answers.
func goodAnswer(p packets.ControlPacket) []byte {
	var b bytes.Buffer
	switch p := p.(type) {
	case *packets.ConnectPacket:
		_ = packets.NewControlPacket(packets.Connack).Write(&b)
	case *packets.SubscribePacket:
		a := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
		a.MessageID, a.ReturnCodes = p.MessageID, p.Qoss
		_ = a.Write(&b)
	case *packets.PublishPacket:
		a := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
		a.MessageID = p.MessageID
		_ = a.Write(&b)
	case *packets.PingreqPacket:
		_ = packets.NewControlPacket(packets.Pingresp).Write(&b)
	}
	return b.Bytes()
}

// TestHostileBroker: each of these ends the connection in words, and the client goes on.
func TestHostileBroker(t *testing.T) {
	for name, c := range map[string]struct {
		say  []byte // in place of the answer to the first subscription
		want string
	}{
		"codes too many": {[]byte{0x90, 9, 0, 1, 1, 1, 1, 1, 1, 1, 1}, "a SUBACK of 9 bytes"},
		"no code":        {[]byte{0x90, 2, 0, 1}, "a SUBACK of 2 bytes"},
		"cut SUBACK":     {[]byte{0x90, 1, 0}, "a SUBACK of 1 bytes"},
		"a quarter GiB":  {[]byte{0x90, 0xff, 0xff, 0xff, 0x7f}, "a SUBACK of 268435455 bytes"},
		"endless length": {[]byte{0x90, 0xff, 0xff, 0xff, 0xff, 0xff}, "a length of more than four bytes"},
		"a CONNECT":      {[]byte{0x10, 0}, "packets of type 1"},
		"type 0":         {[]byte{0x00, 0}, "packets of type 0"},
		"type 15":        {[]byte{0xf0, 0}, "packets of type 15"},
		"QoS 3":          {[]byte{0x36, 5, 0, 1, 'a', 0, 1}, "a message of QoS 3"},
		"flags":          {[]byte{0x91, 3, 0, 1, 1}, "flags 1"},
		"empty PUBLISH":  {[]byte{0x30, 0}, "a PUBLISH of 0 bytes"},
		"long PUBACK":    {[]byte{0x40, 3, 0, 1, 1}, "a PUBACK of 3 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			bad := true
			addr := newHostile(t, func(p packets.ControlPacket) []byte {
				if _, ok := p.(*packets.SubscribePacket); ok && bad {
					bad = false
					return c.say
				}
				return nil
			})
			log := &lines{}
			p := openLogging(t, testConfig("tcp://"+addr), log)
			put(t, p, 1, 5)
			await(t, "the next connection to take all", func() bool { return p.Stats().Messages == 0 })
			if !strings.Contains(log.String(), c.want) || !strings.Contains(log.String(), "the broker does not keep to MQTT 3.1.1") {
				t.Errorf("log: %s", log)
			}
		})
	}
}

// TestHugeMessage: a message of many megabytes on a topic of ours costs little memory
// and is acknowledged, so that it does not come again.
func TestHugeMessage(t *testing.T) {
	const size = 16 << 20
	acked := make(chan struct{}, 1)
	sent := false
	addr := newHostile(t, func(p packets.ControlPacket) []byte {
		switch p := p.(type) {
		case *packets.SubscribePacket:
			if sent {
				return nil
			}
			sent = true
			head := packets.FixedHeader{MessageType: packets.Publish, Qos: 1}
			topic := base + "status"
			b := append(goodAnswer(p), head.MessageType<<4|head.Qos<<1)
			for n := 2 + len(topic) + 2 + size; n > 0; n >>= 7 {
				more := byte(0)
				if n >= 0x80 {
					more = 0x80
				}
				b = append(b, byte(n&0x7f)|more)
			}
			b = append(append(append(b, 0, byte(len(topic))), topic...), 0, 7)
			return append(b, make([]byte, size)...)
		case *packets.PubackPacket:
			if p.MessageID == 7 {
				acked <- struct{}{}
			}
		}
		return nil
	})
	p := open(t, testConfig("tcp://"+addr))
	select {
	case <-acked:
	case <-time.After(patience):
		t.Fatal("the message is not acknowledged")
	}
	put(t, p, 1, 5)
	await(t, "all to be taken", func() bool { return p.Stats().Messages == 0 })
	if s := p.Stats(); s.Reconnects != 0 {
		t.Errorf("%+v", s)
	}
}

// TestGuardGivesPackets: what a broker may send comes out as it went in, however it is
// cut into pieces.
func TestGuardGivesPackets(t *testing.T) {
	var in bytes.Buffer
	for _, p := range []packets.ControlPacket{
		&packets.ConnectPacket{}, // replaced below
		&packets.PublishPacket{FixedHeader: packets.FixedHeader{MessageType: packets.Publish, Qos: 1}, TopicName: "a/b", MessageID: 3, Payload: bytes.Repeat([]byte("x"), 3000)},
		&packets.PublishPacket{FixedHeader: packets.FixedHeader{MessageType: packets.Publish}, TopicName: "a", Payload: []byte{}},
		&packets.SubackPacket{FixedHeader: packets.FixedHeader{MessageType: packets.Suback}, MessageID: 1, ReturnCodes: []byte{1, 0x80}},
		packets.NewControlPacket(packets.Pingresp), packets.NewControlPacket(packets.Puback), packets.NewControlPacket(packets.Pubrec),
		packets.NewControlPacket(packets.Pubcomp), packets.NewControlPacket(packets.Unsuback), packets.NewControlPacket(packets.Pubrel),
	} {
		if _, ok := p.(*packets.ConnectPacket); ok {
			p = packets.NewControlPacket(packets.Connack)
		}
		if err := p.Write(&in); err != nil {
			t.Fatal(err)
		}
	}
	want := bytes.Clone(in.Bytes())
	near, far := net.Pipe()
	defer func() { _ = near.Close() }()
	g := newGuard(near)
	g.filters.Store(2)
	go func() {
		defer func() { _ = far.Close() }()
		for in.Len() > 0 {
			_, _ = far.Write(in.Next(7))
		}
	}()
	got, err := io.ReadAll(g)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%v: %d bytes of %d", err, len(got), len(want))
	}
}

// FuzzBroker: no bytes from a broker end the process or stop the client.
func FuzzBroker(f *testing.F) {
	f.Add([]byte{0x90, 4, 0, 1, 1, 1})
	f.Add([]byte{0x90, 9, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0x40, 2, 0, 1})
	f.Add(append([]byte{0x32, 30, 0, 21}, base+"status\x00\x01offl"...))
	f.Add([]byte{0x62, 2, 0, 1, 0x50, 2, 0, 1, 0x70, 2, 0, 1, 0xd0, 0, 0xb0, 2, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		turns := 0
		addr := newHostile(t, func(p packets.ControlPacket) []byte {
			switch p.(type) {
			case *packets.ConnectPacket:
				turns++
			case *packets.SubscribePacket:
				if turns == 1 {
					return b
				}
			}
			return nil
		})
		c := testConfig("tcp://" + addr)
		c.MinBackoff, c.MaxBackoff, c.AckTimeout = time.Millisecond, time.Millisecond, 20*time.Millisecond
		c.Commands = func(Command, error) {}
		p := open(t, c)
		put(t, p, 1, 2)
		await(t, fmt.Sprintf("the messages to be taken after %x", b), func() bool { return p.Stats().Messages == 0 })
	})
}

// TestGuardFails for good once it has failed.
func TestGuardFails(t *testing.T) {
	near, far := net.Pipe()
	defer func() { _ = near.Close(); _ = far.Close() }()
	g := newGuard(near)
	go func() { _, _ = far.Write([]byte{0xf0, 0, 0xd0, 0}) }()
	for range 2 {
		if n, err := g.Read(make([]byte, 10)); n != 0 || !errors.Is(err, errPacket) {
			t.Errorf("%d %v", n, err)
		}
	}
}
