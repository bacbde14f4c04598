package publish

// What a broker may send. The library behind us believes every packet: an answer to a
// subscription with a code too many ends the process, a length is memory at once.

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// maxIncoming is how much of a message is read. Commands are shorter by far, and so
// are our own status and state, the only other topics that we listen to; of a longer
// one the rest is thrown away, so that it is refused as a command and not sent again.
const maxIncoming = 128 << 10

// errPacket is the end of a connection whose broker does not keep to MQTT.
var errPacket = errors.New("the broker does not keep to MQTT 3.1.1")

// guard is a connection that gives out only packets that a broker may send, each with
// a length that fits its kind. One goroutine reads.
type guard struct {
	net.Conn
	in      *bufio.Reader
	most    int                   // of a message, in bytes; of a longer one the rest is thrown away
	filters atomic.Int32          // of the subscription that waits for its answer
	head    []byte                // of a packet, to be given out
	body    int                   // bytes of it that follow
	rest    int                   // bytes to be thrown away after them
	broken  atomic.Pointer[error] // all that Read tells from now on
}

func newGuard(c net.Conn) *guard {
	return &guard{Conn: c, in: bufio.NewReader(c), most: maxIncoming}
}

// Read gives out what of a packet there is.
func (g *guard) Read(b []byte) (int, error) {
	for len(g.head) == 0 && g.body == 0 {
		if why := g.broken.Load(); why != nil {
			return 0, *why
		}
		if err := g.next(); err != nil {
			g.broken.Store(&err)
			return 0, err
		}
	}
	if len(g.head) > 0 {
		n := copy(b, g.head)
		g.head = g.head[n:]
		return n, nil
	}
	n, err := g.in.Read(b[:min(len(b), g.body)])
	g.body -= n
	return n, err
}

// blame gives what the broker has done against MQTT, if it has, and otherwise err:
// the library may tell a consequence of it first.
func (g *guard) blame(err error) error {
	if why := g.broken.Load(); why != nil && errors.Is(*why, errPacket) {
		return *why
	}
	return err
}

// next reads the head of the next packet and says what is wrong with it.
func (g *guard) next() error {
	if g.rest > 0 {
		n, err := g.in.Discard(g.rest)
		g.rest -= n
		if err != nil {
			return err
		}
	}
	first, err := g.in.ReadByte()
	if err != nil {
		return err
	}
	length, err := readLength(g.in)
	if err != nil {
		return err
	}
	if err := g.check(first, length); err != nil {
		return err
	}
	g.body = min(length, g.most)
	g.rest = length - g.body
	g.head = binary.AppendUvarint(append(g.head[:0], first), uint64(g.body)) // MQTT's lengths are of this form
	return nil
}

// check holds a packet's kind, flags and length against MQTT 3.1.1, chapter 3.
func (g *guard) check(first byte, length int) error {
	kind, flags := first>>4, first&0xf
	least, most, want := 2, 2, byte(0)
	switch kind {
	case packets.Connack, packets.Puback, packets.Pubrec, packets.Pubcomp, packets.Unsuback:
	case packets.Pubrel:
		want = 2
	case packets.Pingresp:
		least, most = 0, 0
	case packets.Suback:
		least, most = 3, 2+int(g.filters.Load())
	case packets.Publish:
		least, most, want = 3, length, flags
		if qos := flags >> 1 & 3; qos == 3 {
			return fmt.Errorf("%w: a message of QoS 3", errPacket)
		} else if qos > 0 {
			least = 5
		}
	default:
		return fmt.Errorf("%w: it sends packets of type %d", errPacket, kind)
	}
	if flags != want || length < least || length > most {
		return fmt.Errorf("%w: a %s of %d bytes, flags %d", errPacket, packets.PacketNames[kind], length, flags)
	}
	return nil
}

// readLength reads MQTT's variable length, of at most four bytes.
func readLength(in io.ByteReader) (n int, err error) {
	for shift := 0; shift < 28; shift += 7 {
		b, err := in.ReadByte()
		if err != nil {
			return 0, err
		}
		n |= int(b&0x7f) << shift
		if b < 0x80 {
			return n, nil
		}
	}
	return 0, fmt.Errorf("%w: a length of more than four bytes", errPacket)
}
