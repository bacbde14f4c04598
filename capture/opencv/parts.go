package opencv

// The parts of a multipart/x-mixed-replace stream (RFC 2046, 5.1), as cameras send
// them: with and without lengths, with lengths that are wrong, with a boundary that
// has its dashes already in the header. mime/multipart takes none of these.

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// The bounds of what a sender may send.
const (
	maxPart   = 32 << 20 // bytes of one JPEG
	maxHeader = 16 << 10 // bytes of one part's header
	maxJunk   = 33 << 20 // bytes until the next part: what a length that is too short leaves over
	lineSize  = 64 << 10
)

// parts reads the bodies of a stream's parts.
type parts struct {
	r     *bufio.Reader
	delim []byte // what the line in front of each part begins with
}

func newParts(r io.Reader, boundary string) *parts {
	delim := []byte(boundary)
	if !bytes.HasPrefix(delim, []byte("--")) {
		delim = append([]byte("--"), delim...)
	}
	return &parts{r: bufio.NewReaderSize(r, lineSize), delim: delim}
}

// next appends the body of the next part to b. io.EOF is the end of the stream.
func (p *parts) next(b []byte) ([]byte, error) {
	if err := p.findDelim(); err != nil {
		return b, err
	}
	length, err := p.header()
	if err != nil {
		return b, err
	}
	if length < 0 {
		return p.untilDelim(b)
	}
	if length > maxPart {
		return b, fmt.Errorf("the camera announces a picture of %d bytes; at most %d MiB are read", length, maxPart>>20)
	}
	// Grown as bytes come: a length alone must cost no memory.
	for length > 0 {
		n := min(length, lineSize)
		at := len(b)
		b = append(b, make([]byte, n)...)
		got, err := io.ReadFull(p.r, b[at:])
		if err != nil {
			return b[:at+got], noEOF(err)
		}
		length -= n
	}
	return b, nil
}

// findDelim reads up to the end of the next line that begins with the delimiter.
func (p *parts) findDelim() error {
	for junk := 0; junk <= maxJunk; {
		line, err := p.r.ReadSlice('\n')
		long := errors.Is(err, bufio.ErrBufferFull)
		if err != nil && !long {
			if len(line) == 0 || bytes.HasPrefix(line, p.delim) {
				return err
			}
			return noEOF(err)
		}
		if bytes.HasPrefix(line, p.delim) {
			if rest := bytes.TrimSpace(line[len(p.delim):]); bytes.Equal(rest, []byte("--")) {
				return io.EOF
			}
			return nil
		}
		junk += len(line)
		for long { // the rest of a long line is no line
			line, err = p.r.ReadSlice('\n')
			long = errors.Is(err, bufio.ErrBufferFull)
			if err != nil && !long {
				return noEOF(err)
			}
			if junk += len(line); junk > maxJunk {
				break
			}
		}
	}
	return fmt.Errorf("no picture within %d MiB of the stream", maxJunk>>20)
}

// header reads a part's header and gives its Content-Length, or -1.
func (p *parts) header() (int, error) {
	length := -1
	for size := 0; size <= maxHeader; {
		line, err := p.r.ReadSlice('\n')
		if err != nil {
			if errors.Is(err, bufio.ErrBufferFull) {
				break
			}
			return 0, noEOF(err)
		}
		size += len(line)
		text := strings.TrimSpace(string(line))
		if text == "" {
			return length, nil
		}
		name, value, ok := strings.Cut(text, ":")
		if ok && strings.EqualFold(strings.TrimSpace(name), "Content-Length") {
			if n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 62); err == nil && n > 0 {
				length = int(n)
			}
		}
	}
	return 0, fmt.Errorf("a part's header is longer than %d KiB", maxHeader>>10)
}

// untilDelim appends all that stands before the next line that is a delimiter.
func (p *parts) untilDelim(b []byte) ([]byte, error) {
	start := len(b)
	atLine := true
	for len(b)-start <= maxPart {
		if atLine {
			head, err := p.r.Peek(len(p.delim))
			if bytes.Equal(head, p.delim) {
				return b, nil
			}
			if err != nil {
				return b, noEOF(err)
			}
		}
		line, err := p.r.ReadSlice('\n')
		b = append(b, line...)
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return b, noEOF(err)
		}
		atLine = err == nil
	}
	return b, fmt.Errorf("a picture of more than %d MiB", maxPart>>20)
}

// noEOF tells an end in the middle from one between two parts.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
