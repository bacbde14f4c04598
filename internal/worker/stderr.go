package worker

import (
	"bufio"
	"bytes"
	"os"
	"strings"
)

// maxLine bounds what one line of a worker's stderr can take in our log.
const maxLine = 2 << 10

// readLog brings the worker's stderr into the daemon's log, a line each, under
// the worker's name. Native libraries write there whatever they like.
func (p *Process) readLog(r *os.File) {
	defer p.wg.Done()
	defer func() { _ = r.Close() }()
	br := bufio.NewReaderSize(r, maxLine)
	for {
		line, more, err := br.ReadLine()
		if err != nil {
			return
		}
		text := strings.ToValidUTF8(string(bytes.TrimSpace(line)), "?")
		for more && err == nil { // the rest of an overlong line
			_, more, err = br.ReadLine()
		}
		if text != "" && p.spec.Log != nil {
			p.spec.Log.Info(text, "worker", p.spec.Name, "pid", p.cmd.Process.Pid)
		}
	}
}
