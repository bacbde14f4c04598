package publish

// What a crash costs is told by the next process.

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// crashed gives a folder as q's process would leave it if it were killed now, once the
// note there is as wanted.
func (q *testQueue) crashed(t *testing.T, dir, note string) (left string) {
	t.Helper()
	await(t, "the note "+note, func() bool {
		b, err := os.ReadFile(filepath.Join(dir, heldFile))
		return err == nil && string(b) == fmt.Sprintf("%-*s\n", heldSize-1, note)
	})
	left = fastDir(t)
	for _, name := range []string{heldFile, queueFile} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
			if err := os.WriteFile(filepath.Join(left, name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return left
}

// TestHeldIsTold: what stood in memory alone is told as lost, once; what the broker
// took, or the file has, is not.
func TestHeldIsTold(t *testing.T) {
	c := queueConfig()
	c.Dir, c.Events = fastDir(t), Class{Durability: Disk}
	q := newQueue(t, c, Memory)
	q.fill(t, events, 1, 3)
	for i := range 10 {
		q.mustPut(t, numbered(results, "topic", i, q.t))
	}
	q.take() // an event, to be sent again
	q.ack(q.take())
	q.ack(q.take())
	q.ack(q.take())
	after := c
	after.Dir = q.crashed(t, c.Dir, `{"results":9,"events":0}`)
	next := newQueue(t, after, Memory)
	tally := next.tallies()
	if got := tally[results].dropped; len(got) != 1 || got[reasonCrash] != 9 || len(tally[events].dropped) != 0 || tally[events].restored != 3 {
		t.Errorf("%+v", tally)
	}
	next = next.again(t, after)
	if got := next.tallies()[results].dropped; len(got) != 0 {
		t.Errorf("told again after an end in order: %v", got)
	}
	// An agent whose messages all go to disk tells it too.
	after.Dir, after.Results = q.crashed(t, c.Dir, `{"results":9,"events":0}`), Class{Durability: Disk}
	if got := newQueue(t, after, Disk).tallies()[results].dropped; got[reasonCrash] != 9 {
		t.Errorf("%v", got)
	}
}

// TestDamagedNote costs the telling and nothing else.
func TestDamagedNote(t *testing.T) {
	for _, note := range []string{"", "hello", `{"results":-1}`, `{"results":1e99}`, "\x00\x00", fmt.Sprintf("%1000d", 7)} {
		c := queueConfig()
		c.Dir = fastDir(t)
		if err := os.WriteFile(filepath.Join(c.Dir, heldFile), []byte(note), 0o600); err != nil {
			t.Fatal(err)
		}
		q := newQueue(t, c, Memory)
		q.mustPut(t, numbered(results, "topic", 1, q.t))
		if got := q.drain(); len(got) != 1 || len(q.tallies()[results].dropped) != 0 {
			t.Errorf("%q: %v, %v", note, got, q.tallies())
		}
		if left := q.crashed(t, c.Dir, `{"results":0,"events":0}`); left == "" {
			t.Errorf("%q stays", note)
		}
	}
}

// TestHeldBelongsToOne: a second process neither tells nor spoils the first one's note.
func TestHeldBelongsToOne(t *testing.T) {
	dir := fastDir(t)
	h, _ := openHeld(dir, quietLog())
	defer h.close()
	if other, left := openHeld(dir, quietLog()); other != nil || left != [classes]uint64{} {
		t.Errorf("%v %v", other, left)
	}
	var none *held
	none.add(results, 1)
	none.close()
}
