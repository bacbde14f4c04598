// Package worker runs native code where it can hurt nobody: in child processes
// that may be killed, limited and replaced. It holds what both sides share: the
// protocol, the frame pool, the cage, and the daemon's hold on its children.
//
// A worker is a child of the daemon with one SOCK_SEQPACKET socket. Each packet is
// a fixed 64-byte head, for the messages that carry more followed by a JSON body.
// Secrets travel in bodies, never in argv or the environment.
package worker

import (
	"encoding/binary"
	"fmt"
)

// Protocol is the version of the wire form. Daemon and workers are built
// together; hello refuses any other.
const Protocol = 1

// HeadSize is the size of every packet's head in bytes; MaxBody bounds the JSON
// behind it.
const (
	HeadSize = 64
	MaxBody  = 64 << 10
)

// Type says what a message is.
type Type uint16

// The messages. D→W: the daemon asks. W→D: the worker answers with the same
// Request, or tells of its own accord with Request 0.
const (
	_            Type = iota
	Hello             // D→W, W→D: body Greeting
	Open              // D→W: body and files by kind: what to open
	Opened            // W→D: body by kind
	Attach            // D→W: body PoolInfo, one file: a pool to map
	Attached          // W→D
	Detach            // D→W: View: unmap that pool; no answer
	Fill              // D→W (capture): View, Slot; T[0] not before, T[1] deadline
	Filled            // W→D: View, Slot, Seq, N = frames thinned since the last; T = captured, retrieve start, retrieve end, ready
	Empty             // W→D: no frame until the deadline
	Invoke            // D→W (infer): View, Slot, N = slot of the attached output pool for the outputs
	Invoked           // W→D: T[0] = nanoseconds of the invoke itself
	Failed            // W→D: body Failure: the request could not be done
	Info              // W→D, unasked: body by kind: what the worker wants known
	Bye               // D→W: end cleanly
	Snap              // D→W (capture): View = the blob's, T[1] deadline; body by kind: encode a picture into it
	Snapped           // W→D: View, Seq, N = bytes, T[0] = captured
	Profile           // D→W (infer): body by kind: run the model some times and tell what took how long
	Profiled          // W→D: body by kind
	Close             // D→W (infer): Model: close it, and unmap its pools
	Closed            // W→D
	messageTypes      // their number
)

var typeNames = [...]string{"", "hello", "open", "opened", "attach", "attached", "detach", "fill", "filled", "empty", "invoke", "invoked", "failed", "info", "bye", "snap", "snapped", "profile", "profiled", "close", "closed"}

// String names the type for logs.
func (t Type) String() string {
	if t > 0 && int(t) < len(typeNames) {
		return typeNames[t]
	}
	return fmt.Sprintf("type %d", uint16(t))
}

// answeredBy says whether a reply of type reply fits a request of type t.
func (t Type) answeredBy(reply Type) bool {
	switch t {
	case Hello:
		return reply == Hello || reply == Failed
	case Open:
		return reply == Opened || reply == Failed
	case Attach:
		return reply == Attached || reply == Failed
	case Fill:
		return reply == Filled || reply == Empty || reply == Failed
	case Snap:
		return reply == Snapped || reply == Empty || reply == Failed
	case Invoke:
		return reply == Invoked || reply == Failed
	case Profile:
		return reply == Profiled || reply == Failed
	case Close:
		return reply == Closed || reply == Failed
	}
	return false
}

// Message is a packet's head. Which fields mean something depends on Type.
type Message struct {
	Type       Type
	Model      uint16 // (infer) which of the worker's models; replies echo it
	Generation uint32 // of the worker; a reply of another generation is dropped
	Request    uint64 // chosen by the daemon, echoed by the worker; 0: unasked
	Seq        uint64
	View       uint16 // pool; replies echo it and the slot
	Slot       uint16
	N          uint32
	T          [4]int64 // CLOCK_MONOTONIC nanoseconds, or durations
}

// put writes the head into b, which holds at least HeadSize bytes.
func (m *Message) put(b []byte) {
	le := binary.LittleEndian
	le.PutUint16(b[0:], uint16(m.Type))
	le.PutUint16(b[2:], m.Model)
	le.PutUint32(b[4:], m.Generation)
	le.PutUint64(b[8:], m.Request)
	le.PutUint64(b[16:], m.Seq)
	le.PutUint16(b[24:], m.View)
	le.PutUint16(b[26:], m.Slot)
	le.PutUint32(b[28:], m.N)
	for i, t := range m.T {
		le.PutUint64(b[32+8*i:], uint64(t))
	}
}

// parse reads the head from b.
func (m *Message) parse(b []byte) error {
	if len(b) < HeadSize {
		return fmt.Errorf("%w: %d bytes, shorter than its head", errGarbage, len(b))
	}
	le := binary.LittleEndian
	m.Type = Type(le.Uint16(b[0:]))
	if m.Type == 0 || m.Type >= messageTypes {
		return fmt.Errorf("%w: unknown type %d", errGarbage, uint16(m.Type))
	}
	m.Model = le.Uint16(b[2:])
	m.Generation = le.Uint32(b[4:])
	m.Request = le.Uint64(b[8:])
	m.Seq = le.Uint64(b[16:])
	m.View = le.Uint16(b[24:])
	m.Slot = le.Uint16(b[26:])
	m.N = le.Uint32(b[28:])
	for i := range m.T {
		m.T[i] = int64(le.Uint64(b[32+8*i:]))
	}
	return nil
}

// Greeting is the body of hello.
type Greeting struct {
	Protocol int    `json:"protocol"`
	Build    string `json:"build"` // version and commit, the same in all our binaries
	Kind     string `json:"kind"`  // "capture" or "infer"
	PID      int    `json:"pid,omitempty"`
	Cage     Cage   `json:"cage"` // W→D: what took effect
}

// PoolInfo is the body of Attach: a sealed memfd of one header page and Slots
// slots, each Stride bytes apart, of which Size are used.
type PoolInfo struct {
	View     uint16 `json:"view"`
	Slots    int    `json:"slots"`
	Size     int    `json:"size"`
	Stride   int    `json:"stride"`
	Header   int    `json:"header"` // bytes of the header page
	Writable bool   `json:"writable"`
}

// Failure is the body of Failed. Kind is a word that the daemon acts on, by kind
// of worker; Text is for people.
type Failure struct { //nolint:errname // a message like the others first, an error where it arrives
	Kind string `json:"kind"`
	Text string `json:"text"`
}

// Error makes a Failure an error.
func (f *Failure) Error() string { return f.Text }
