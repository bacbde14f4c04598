package broker

// Asks whether the program on a taken port speaks MQTT.

import (
	"io"
	"net"
	"time"
)

// connectPacket is an MQTT 3.1.1 CONNECT with a clean session, no client id and
// a keep-alive of 10 s; connackPacket begins the answer (MQTT 3.1.1, sections
// 3.1 and 3.2). Whether the broker accepts us does not matter.
var connectPacket = []byte{0x10, 12, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 10, 0, 0}

const connackPacket = 0x20

// probeTimeout bounds how long a program that is no broker can hold us up.
const probeTimeout = time.Second

// Answers says whether something at addr speaks MQTT.
func Answers(addr string) bool {
	c, err := net.DialTimeout("tcp", addr, probeTimeout)
	if err != nil {
		return false
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(probeTimeout))
	if _, err := c.Write(connectPacket); err != nil {
		return false
	}
	var answer [4]byte
	if _, err := io.ReadFull(c, answer[:]); err != nil {
		return false
	}
	_, _ = c.Write([]byte{0xe0, 0}) // DISCONNECT
	return answer[0] == connackPacket && answer[1] == 2
}
