package worker

// The wire form: round trips, fixed bytes, and what is refused.

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestTypeNames(t *testing.T) {
	if len(typeNames) != int(messageTypes) {
		t.Fatalf("%d names for %d types", len(typeNames), messageTypes)
	}
	if got := Filled.String(); got != "filled" {
		t.Errorf("Filled is %q", got)
	}
	if got := Type(200).String(); got != "type 200" {
		t.Errorf("unknown type is %q", got)
	}
}

func TestMessageRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := Message{
			Type:       Type(rapid.Uint16Range(1, uint16(messageTypes)-1).Draw(t, "type")),
			Generation: rapid.Uint32().Draw(t, "generation"),
			Request:    rapid.Uint64().Draw(t, "request"),
			Seq:        rapid.Uint64().Draw(t, "seq"),
			View:       rapid.Uint16().Draw(t, "view"),
			Slot:       rapid.Uint16().Draw(t, "slot"),
			N:          rapid.Uint32().Draw(t, "n"),
		}
		for i := range in.T {
			in.T[i] = rapid.Int64().Draw(t, "time")
		}
		var b [HeadSize]byte
		in.put(b[:])
		var out Message
		if err := out.parse(b[:]); err != nil || out != in {
			t.Fatalf("%+v became %+v, %v", in, out, err)
		}
	})
}

// The wire form is fixed: little endian at these places.
func TestMessageBytes(t *testing.T) {
	m := Message{Type: Filled, Generation: 2, Request: 3, Seq: 4, View: 5, Slot: 6, N: 7, T: [4]int64{8, 9, 10, -1}}
	var b [HeadSize]byte
	m.put(b[:])
	want := []byte("\x08\x00\x00\x00\x02\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00" +
		"\x04\x00\x00\x00\x00\x00\x00\x00\x05\x00\x06\x00\x07\x00\x00\x00" +
		"\x08\x00\x00\x00\x00\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00\x00" +
		"\x0a\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff")
	if !bytes.Equal(b[:], want) {
		t.Errorf("got  % x\nwant % x", b, want)
	}
}

func TestMessageRefused(t *testing.T) {
	for name, b := range map[string][]byte{
		"empty":     nil,
		"short":     make([]byte, HeadSize-1),
		"type 0":    make([]byte, HeadSize),
		"type high": append([]byte{byte(messageTypes)}, make([]byte, HeadSize)...),
	} {
		if err := new(Message).parse(b); err == nil || !strings.HasPrefix(err.Error(), "unreadable packet: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzMessage(f *testing.F) {
	var b [HeadSize]byte
	(&Message{Type: Invoke, Generation: 1, Request: 2}).put(b[:])
	f.Add(b[:])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, in []byte) {
		var m Message
		if m.parse(in) != nil {
			return
		}
		var out [HeadSize]byte
		m.put(out[:])
		if !bytes.Equal(in[:HeadSize], out[:]) {
			t.Errorf("% x became % x", in[:HeadSize], out)
		}
	})
}

func TestAnsweredBy(t *testing.T) {
	answers := map[Type][]Type{
		Hello: {Hello, Failed}, Open: {Opened, Failed}, Attach: {Attached, Failed},
		Fill: {Filled, Empty, Failed}, Invoke: {Invoked, Failed}, Snap: {Snapped, Empty, Failed},
		Close: {Closed, Failed}, Profile: {Profiled, Failed},
	}
	for typ := range messageTypes {
		for reply := range messageTypes {
			want := false
			for _, a := range answers[typ] {
				want = want || a == reply
			}
			if typ.answeredBy(reply) != want {
				t.Errorf("%s answered by %s: %v", typ, reply, !want)
			}
		}
	}
}

// TestCrashLinesAreToldBriefly holds the levels at which a dying worker's words
// reach the log.
func TestCrashLinesAreToldBriefly(t *testing.T) {
	l := &logReader{}
	for _, c := range []struct {
		line string
		want slog.Level
	}{
		{"a library's remark", slog.LevelInfo},
		{"fatal error: unexpected signal during runtime execution", slog.LevelError},
		{"[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x1]", slog.LevelError},
		{"goroutine 1 [running]:", slog.LevelDebug},
		{"rax    0x2f", slog.LevelDebug},
	} {
		if got := l.remember(c.line); got != c.want {
			t.Errorf("%q at %v, want %v", c.line, got, c.want)
		}
	}
	if !strings.HasPrefix(l.last, "[signal SIGSEGV") {
		t.Errorf("the end is told as %q", l.last)
	}
}
