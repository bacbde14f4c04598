package publish

// How a message lies in the queue's file.

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"
)

// record is a message in the file. Its value is: CRC-32C of all that follows (4
// bytes), version (1), class (1), time of put (8) and of the message (8) in
// nanoseconds since 1970, length of the topic (2), topic, payload; little endian.
// bbolt has no checksum of its own over data.
type record struct {
	message
	put time.Time // wall time: the file outlives the process
}

const (
	recordVersion = 1
	recordHeader  = 4 + 1 + 1 + 8 + 8 + 2
	maxTopic      = 1<<16 - 1
)

// classLetters name the classes in the file, whatever their order in memory.
var classLetters = [classes]byte{results: 'r', events: 'e'}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errBadRecord = errors.New("the record does not fit its checksum or form")

// appendRecord writes r. Its topic is at most maxTopic long, as MQTT wants it.
func appendRecord(b []byte, r *record) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0, recordVersion, classLetters[r.class])
	b = binary.LittleEndian.AppendUint64(b, uint64(r.put.UnixNano()))
	b = binary.LittleEndian.AppendUint64(b, uint64(r.time.UnixNano()))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(r.topic)))
	b = append(append(b, r.topic...), r.payload...)
	binary.LittleEndian.PutUint32(b[start:], crc32.Checksum(b[start+4:], castagnoli))
	return b
}

// parseRecord reads what appendRecord wrote. The payload is a part of b.
func parseRecord(b []byte) (r record, err error) {
	if len(b) < recordHeader || crc32.Checksum(b[4:], castagnoli) != binary.LittleEndian.Uint32(b) {
		return r, errBadRecord
	}
	if b[4] != recordVersion {
		return r, fmt.Errorf("the record has version %d; this edge-agent reads %d", b[4], recordVersion)
	}
	r.class = classes
	for c, letter := range classLetters {
		if letter == b[5] {
			r.class = class(c)
		}
	}
	topic := int(binary.LittleEndian.Uint16(b[22:]))
	if r.class == classes || len(b) < recordHeader+topic {
		return r, errBadRecord
	}
	r.put = time.Unix(0, int64(binary.LittleEndian.Uint64(b[6:])))
	r.time = time.Unix(0, int64(binary.LittleEndian.Uint64(b[14:])))
	r.topic = string(b[recordHeader : recordHeader+topic])
	r.payload = b[recordHeader+topic:]
	return r, nil
}
