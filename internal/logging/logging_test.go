// The formats, and the limiter by a clock that stands still when nobody waits.

package logging

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// recorder gives a limited logger and what it wrote, without times.
func recorder() (*slog.Logger, *bytes.Buffer) {
	var b bytes.Buffer
	h := slog.NewTextHandler(&b, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})
	return slog.New(Limit(h)), &b
}

func TestLimitCountsWhatItHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, out := recorder()
		for range 30 { // three seconds at 10 a second: told at 0, 1 and 2 s
			log.Warn("frame lost", "camera", "front", "err", time.Now().String())
			time.Sleep(100 * time.Millisecond)
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != 3 {
			t.Fatalf("30 records in 3 s gave %d lines, want 3:\n%s", len(lines), out)
		}
		if strings.Contains(lines[0], "repeated") {
			t.Errorf("the first line says repeated: %s", lines[0])
		}
		for _, l := range lines[1:] {
			if !strings.HasSuffix(l, "repeated=9") {
				t.Errorf("want repeated=9 at the end of %s", l)
			}
		}
		time.Sleep(5 * time.Second)
		log.Warn("frame lost", "camera", "front")
		log.Warn("frame lost", "camera", "front")
		if got := strings.Count(out.String(), "\n"); got != 4 {
			t.Errorf("%d lines after a pause, want 4:\n%s", got, out)
		}
	})
}

func TestLimitTellsLinesApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, out := recorder()
		for range 3 {
			log.Warn("lost", "camera", "front")
			log.Warn("lost", "camera", "back")
			log.Error("lost", "camera", "front")
			log.Warn("found", "camera", "front")
			log.With("camera", "side").Warn("lost")
			log.With("model", "a").Warn("lost")
			log.WithGroup("g").Warn("lost")
		}
		if got := strings.Count(out.String(), "\n"); got != 7 {
			t.Errorf("%d lines, want 7:\n%s", got, out)
		}
	})
}

func TestLimitForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lines{seen: map[string]*line{}}
		for i := range maxLines {
			l.pass("old"+strconv.Itoa(i), time.Now())
		}
		time.Sleep(forgotten)
		l.pass("new", time.Now())
		if len(l.seen) != 1 {
			t.Errorf("%d lines remembered, want the new one only", len(l.seen))
		}
		for i := range 10 * maxLines {
			l.pass("more"+strconv.Itoa(i), time.Now())
		}
		if len(l.seen) > maxLines {
			t.Errorf("%d lines remembered, bound is %d", len(l.seen), maxLines)
		}
	})
}

func TestJournalLines(t *testing.T) {
	var b bytes.Buffer
	log := slog.New(newJournal(&b, slog.LevelDebug))
	log.Debug("d")
	log.Info("i", "camera", "front")
	log.With("a", 1).WithGroup("g").Warn("w", "b", "two words")
	log.Error("two\nlines", "err", "x\ny")
	want := "<7>d\n<6>i camera=front\n<4>w a=1 g.b=\"two words\"\n<3>two\\nlines err=\"x\\ny\"\n"
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}

func TestChoose(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	own := strconv.FormatUint(st.Dev, 10) + ":" + strconv.FormatUint(st.Ino, 10)
	for _, c := range []struct {
		terminal bool
		stream   string
		want     string
	}{
		{true, "", Text}, {true, own, Text}, {false, "", JSON}, {false, own, Journal}, {false, "1:1", JSON},
	} {
		if got := choose(f, c.terminal, c.stream); got != c.want {
			t.Errorf("terminal %v, JOURNAL_STREAM %q: %s, want %s", c.terminal, c.stream, got, c.want)
		}
	}
}

func TestNew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	log, err := New(f, "warn", Auto)
	if err != nil {
		t.Fatal(err)
	}
	log.Info("not told")
	log.Warn("told", "n", 1)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var line struct {
		Level, Msg string
		N          int
	}
	if err = json.Unmarshal(data, &line); err != nil || line.Level != "WARN" || line.Msg != "told" || line.N != 1 {
		t.Errorf("%s: %v", data, err)
	}
	if log, err = New(f, "info", Text); err != nil {
		t.Fatal(err)
	}
	log.Info("plain", "camera", "front")
	data, _ = os.ReadFile(path)
	if !bytes.Contains(data, []byte("INF plain camera=front\n")) {
		t.Errorf("text has colours or another form: %q", data)
	}
	for _, bad := range [][2]string{{"loud", Auto}, {"info", "xml"}} {
		if _, err := New(f, bad[0], bad[1]); err == nil {
			t.Errorf("New took %v", bad)
		}
	}
}
