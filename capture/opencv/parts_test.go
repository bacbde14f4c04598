package opencv

// The parts of a multipart stream as cameras send them, and as nobody should.

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestParts(t *testing.T) {
	for _, c := range []struct {
		name, boundary, stream string
		want                   []string
		end                    error
	}{
		{"by the book", "b", "--b\r\nContent-Type: image/jpeg\r\nContent-Length: 3\r\n\r\nabc\r\n--b\r\nContent-Length: 2\r\n\r\nde\r\n--b--\r\n", []string{"abc", "de"}, io.EOF},
		{"without lengths", "b", "--b\r\n\r\nab\nc\r\n--b\r\n\r\nde\r\n--b--\r\n", []string{"ab\nc\r\n", "de\r\n"}, io.EOF},
		{"dashes in the header", "--b", "--b\r\ncontent-length:3\r\n\r\nabc\r\n--b\r\n", []string{"abc"}, io.ErrUnexpectedEOF},
		{"bare line feeds", "b", "--b\nContent-Length: 3\n\nabc\n--b--\n", []string{"abc"}, io.EOF},
		{"a preamble", "b", "hello\r\n\r\n--b\r\nContent-Length: 1\r\n\r\na", []string{"a"}, io.EOF},
		{"a length that is too short", "b", "--b\r\nContent-Length: 1\r\n\r\nabc\r\n--b\r\nContent-Length: 1\r\n\r\nd", []string{"a", "d"}, io.EOF},
		{"a length that is none", "b", "--b\r\nContent-Length: -5\r\n\r\nabc\r\n--b--", []string{"abc\r\n"}, io.EOF},
		{"cut off", "b", "--b\r\nContent-Length: 9\r\n\r\nabc", nil, io.ErrUnexpectedEOF},
		{"nothing", "b", "", nil, io.EOF},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newParts(strings.NewReader(c.stream), c.boundary)
			for i := 0; ; i++ {
				b, err := p.next(nil)
				if err != nil {
					if i != len(c.want) || !errors.Is(err, c.end) {
						t.Errorf("%d parts of %d, then %v, want %v", i, len(c.want), err, c.end)
					}
					return
				}
				if i >= len(c.want) || string(b) != c.want[i] {
					t.Fatalf("part %d is %q", i, b)
				}
			}
		})
	}
	long := "--b\r\n" + strings.Repeat("X: y\r\n", maxHeader)
	if _, err := newParts(strings.NewReader(long), "b").next(nil); err == nil || !strings.Contains(err.Error(), "header is longer") {
		t.Errorf("an endless header: %v", err)
	}
	if _, err := newParts(strings.NewReader("--b\r\nContent-Length: 99999999999\r\n\r\n"), "b").next(nil); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("a length of 100 GB: %v", err)
	}
}

// FuzzParts: no stream makes the reader fail in another way than by an error, or give
// more than it was sent.
func FuzzParts(f *testing.F) {
	f.Add("b", []byte("--b\r\nContent-Length: 3\r\n\r\nabc\r\n--b\r\n\r\nde\r\n--b--\r\n"))
	f.Add("--b", []byte("--b\n\n\n--b"))
	f.Add("", []byte("--\r\n\r\n--\r\n"))
	f.Fuzz(func(t *testing.T, boundary string, stream []byte) {
		p := newParts(bytes.NewReader(stream), boundary)
		total := 0
		for {
			b, err := p.next(nil)
			if total += len(b); total > len(stream) {
				t.Fatalf("%d bytes of %d", total, len(stream))
			}
			if err != nil {
				return
			}
		}
	})
}
