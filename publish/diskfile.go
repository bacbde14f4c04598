package publish

// The queue's file: the only place that calls bbolt.

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

const (
	queueFile = "queue.db"
	// asideMark stands between the name of a file that was set aside and the time.
	asideMark = ".corrupt-"
	// keptAside is how many such files are kept, so that they do not fill the disk.
	keptAside = 2

	// readPatience is how long a file that the medium cannot give is tried.
	readPatience = time.Minute

	// growth is by how much the file grows at once.
	growth = 1 << 20
	// A file is written anew at open when it is larger than slackFloor and than
	// slackFactor times its content, for bbolt never gives space back.
	slackFloor  = 4 << 20
	slackFactor = 4
	// copyStep is how much one transaction of such a copy holds.
	copyStep = 1 << 20
)

// errShut says that the file is not open at the moment.
var errShut = errors.New("the queue's file is not open")

// panicked is what bbolt panicked with.
type panicked struct{ value any }

func (p panicked) Error() string { return fmt.Sprintf("bbolt: %v", p.value) }

// diskFile is a bbolt file of messages by number. One goroutine opens, commits and
// rewrites; any may read meanwhile.
type diskFile struct {
	dir string

	mu  sync.RWMutex // for reading to use db, for writing to replace it
	db  *bolt.DB     // nil while the file is not open
	raw *os.File     // db's own

	// suspect: a write failed in a way that leaves open what the medium holds. After
	// a failed sync the kernel takes the pages for clean, so a second sync that
	// succeeds proves nothing: all must be written again.
	suspect  bool
	unread   time.Time // since when the medium cannot give the file; zero: it can
	panicked bool      // db must not be touched any more, its locks may be held

	written, commits atomic.Uint64
	committing       timing // a transaction
	accepting        timing // from offer to accepted
}

// found is a message in the file, without its payload.
type found struct {
	key  uint64
	rec  record
	size int64
	bad  bool
}

func (f *diskFile) path() string { return filepath.Join(f.dir, queueFile) }

// guarded calls f, which calls bbolt. bbolt panics when its tree does not hold
// together, and a mapped page that the medium cannot give is a fault: both are
// errors here.
func guarded(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if v := recover(); v != nil {
			err = panicked{v}
		}
	}()
	return f()
}

// open opens the file, or makes it, and lists what it holds, in order. One that is
// damaged is renamed first, to the name that aside gives.
func (f *diskFile) open() (list []found, aside string, err error) {
	_ = os.Remove(f.path() + ".new") // of a rewriting that did not end
	err = checkFile(f.path())
	if err == nil {
		list, err = f.load()
	}
	if !errors.As(err, new(damage)) && !errors.As(err, new(panicked)) && !f.givenUp(err) {
		return list, "", err
	}
	if aside, err = f.setAside(err); err == nil {
		list, err = f.load()
	}
	return list, aside, err
}

// givenUp says whether the medium has not given the file for so long that a new one
// is better than none.
func (f *diskFile) givenUp(err error) bool {
	switch {
	case !errors.Is(err, unix.EIO):
		f.unread = time.Time{}
	case f.unread.IsZero():
		f.unread = time.Now()
	}
	return !f.unread.IsZero() && time.Since(f.unread) > readPatience
}

// load opens a file that passed checkFile.
func (f *diskFile) load() (list []found, err error) {
	db, raw, err := openBolt(f.path())
	if err != nil {
		return nil, err
	}
	content := int64(0)
	err = guarded(func() error {
		return db.View(func(tx *bolt.Tx) error {
			b := tx.Bucket(bucketName)
			if k, _ := b.Cursor().Last(); k != nil && binary.BigEndian.Uint64(k) > b.Sequence() {
				return damaged("message %d lies beyond the last number given, %d: new ones would take its place", binary.BigEndian.Uint64(k), b.Sequence())
			}
			return b.ForEach(func(k, v []byte) error {
				content += int64(len(k) + len(v) + elementSize)
				r, bad := parseRecord(v)
				size := r.size()
				r.payload = nil // it lies in the map
				list = append(list, found{key: binary.BigEndian.Uint64(k), rec: r, size: size, bad: bad != nil})
				return nil
			})
		})
	})
	f.mu.Lock()
	f.db, f.raw, f.panicked = db, raw, errors.As(err, new(panicked))
	f.mu.Unlock()
	if err != nil {
		f.close()
		return nil, err
	}
	if info, err := raw.Stat(); err == nil && info.Size() > max(slackFloor, slackFactor*content) {
		// It works as it is, too, when there is no room for a copy.
		_ = f.rewrite(func(uint64) bool { return true })
	}
	return list, nil
}

// openBolt opens or makes a bbolt file with our bucket.
func openBolt(path string) (db *bolt.DB, raw *os.File, err error) {
	err = guarded(func() (err error) {
		db, err = bolt.Open(path, 0o600, &bolt.Options{
			Timeout:  time.Second,
			PageSize: pageSize, // not the machine's: some have 16 KiB, and a write is never smaller
			// Stored, the list of free pages would be written with each transaction: 128
			// KiB of it after 64 MiB have been sent.
			NoFreelistSync: true, FreelistType: bolt.FreelistMapType,
			OpenFile: func(name string, flag int, mode os.FileMode) (_ *os.File, failed error) {
				raw, failed = os.OpenFile(name, flag, mode)
				return raw, failed
			},
		})
		if err != nil {
			return err
		}
		db.AllocSize = growth
		have := false
		_ = db.View(func(tx *bolt.Tx) error { have = tx.Bucket(bucketName) != nil; return nil })
		if have {
			return nil
		}
		return db.Update(func(tx *bolt.Tx) error {
			_, err := tx.CreateBucket(bucketName)
			return err
		})
	})
	if err != nil && raw != nil {
		_ = raw.Close() // a bbolt that is half open or has panicked cannot be asked to
	}
	return db, raw, err
}

// setAside renames a damaged file, keeps the newest few of them, and gives the new
// name.
func (f *diskFile) setAside(why error) (string, error) {
	name := queueFile + asideMark + time.Now().UTC().Format("20060102T150405.000000000Z")
	if err := os.Rename(f.path(), filepath.Join(f.dir, name)); err != nil {
		return "", fmt.Errorf("%s is damaged (%w) and cannot be renamed: %w", f.path(), why, err)
	}
	old, _ := filepath.Glob(f.path() + asideMark + "*") // the pattern is well formed
	slices.Sort(old)
	for _, p := range old[:max(0, len(old)-keptAside)] {
		_ = os.Remove(p)
	}
	return name + ": " + why.Error(), nil
}

// commit writes puts and deletes gone in one transaction, and returns when both
// are on the medium. The puts have consecutive keys from first on. An error means
// that nothing of it counts.
func (f *diskFile) commit(puts []*receipt, gone []uint64) (first uint64, err error) {
	var alloc int64
	begun := time.Now()
	err = f.use(func(db *bolt.DB) error {
		return db.Update(func(tx *bolt.Tx) error {
			tx.OnCommit(func() { s := tx.Stats(); alloc = s.GetPageAlloc() })
			b := tx.Bucket(bucketName)
			first = b.Sequence() + 1
			return change(b, puts, gone)
		})
	})
	switch {
	case err == nil:
		f.commits.Add(1)
		f.written.Add(uint64(alloc) + pageSize) // the pages and the meta page
		f.committing.add(time.Since(begun))
	case errors.Is(err, errShut):
	case errors.As(err, new(panicked)):
		f.suspect, f.panicked = true, true
	case !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EDQUOT) && !errors.Is(err, unix.EROFS):
		f.suspect = true
	}
	return first, err
}

// change puts and deletes, keys from the bucket's sequence on.
func change(b *bolt.Bucket, puts []*receipt, gone []uint64) error {
	b.FillPercent = 0.95 // keys only rise
	for _, k := range gone {
		if err := b.Delete(keyOf(k)); err != nil {
			return err
		}
	}
	for _, r := range puts {
		n, err := b.NextSequence()
		if err != nil {
			return err
		}
		if err := b.Put(keyOf(n), appendRecord(nil, &r.record)); err != nil {
			return err
		}
	}
	return nil
}

// keyOf writes keys so that they sort as numbers do.
func keyOf(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// read gives a copy of the payload with this key.
func (f *diskFile) read(key uint64) (payload []byte, err error) {
	err = f.use(func(db *bolt.DB) error {
		return db.View(func(tx *bolt.Tx) error {
			r, bad := parseRecord(tx.Bucket(bucketName).Get(keyOf(key)))
			payload = slices.Clone(r.payload)
			return bad
		})
	})
	return payload, err
}

// use calls do with the open file.
func (f *diskFile) use(do func(db *bolt.DB) error) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.db == nil {
		return errShut
	}
	return guarded(func() error { return do(f.db) })
}

// rewrite copies what keep wants into a new file and puts it in place of the old
// one. Every byte of it has been written and synced anew.
func (f *diskFile) rewrite(keep func(key uint64) bool) error {
	path := f.path() + ".new"
	_ = os.Remove(path)
	db, raw, err := openBolt(path)
	if err != nil {
		return err
	}
	err = f.use(func(from *bolt.DB) error { return f.copyTo(db, from, keep) })
	if err == nil {
		if err = os.Rename(path, f.path()); err == nil {
			err = syncDir(f.dir)
		}
	}
	if err != nil {
		_ = guarded(db.Close)
		_ = os.Remove(path)
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.shut()
	f.db, f.raw, f.suspect = db, raw, false
	return nil
}

// copyTo copies the bucket in steps of a bounded size; one sync at the end is
// enough, as nobody knows the new file before.
func (f *diskFile) copyTo(db, from *bolt.DB, keep func(key uint64) bool) error {
	db.NoSync = true
	defer func() { db.NoSync = false }()
	err := from.View(func(src *bolt.Tx) error {
		b := src.Bucket(bucketName)
		c := b.Cursor()
		k, v := c.First()
		for last := false; !last; {
			err := db.Update(func(tx *bolt.Tx) error {
				tx.OnCommit(func() { s := tx.Stats(); f.written.Add(uint64(s.GetPageAlloc()) + pageSize) })
				to := tx.Bucket(bucketName)
				to.FillPercent = 0.95
				for n := 0; k != nil && n < copyStep; k, v = c.Next() {
					if !keep(binary.BigEndian.Uint64(k)) {
						continue
					}
					n += len(k) + len(v)
					if err := to.Put(k, v); err != nil {
						return err
					}
				}
				last = k == nil
				return to.SetSequence(b.Sequence())
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return db.Sync()
}

// size is how large the file is, in bytes.
func (f *diskFile) size() int64 {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.db == nil {
		return 0
	}
	info, err := f.raw.Stat()
	if err != nil {
		return 0
	}
	return info.Size()
}

// usable says whether commit may be tried without opening or rewriting first.
func (f *diskFile) usable() bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.db != nil && !f.suspect
}

// finish closes the file, and removes it when it holds nothing.
func (f *diskFile) finish() {
	empty := false
	err := f.use(func(db *bolt.DB) error {
		return db.View(func(tx *bolt.Tx) error {
			k, _ := tx.Bucket(bucketName).Cursor().First()
			empty = k == nil
			return nil
		})
	})
	f.close()
	if err == nil && empty {
		_ = os.Remove(f.path())
	}
}

func (f *diskFile) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.shut()
}

// shut closes the file under mu. After a panic bbolt may hold its own locks for
// ever: then only the file is closed, and its map stays until the process ends.
func (f *diskFile) shut() {
	switch {
	case f.db == nil:
	case f.panicked:
		_ = f.raw.Close()
	default:
		_ = guarded(f.db.Close)
	}
	f.db, f.raw, f.panicked = nil, nil, false
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	return d.Sync()
}

// lockDir keeps other processes from the folder's queue while the file that it
// gives is open. The lock is on the folder, for the queue's file is replaced by
// others of its name. A process that is just ending is waited for. A file system
// that knows no such locks has none; bbolt locks its own file as well.
func lockDir(dir string, patience time.Duration) (*os.File, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		err := unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return d, nil
		}
		if time.Now().After(end) {
			_ = d.Close()
			return nil, fmt.Errorf("%s: %w", dir, ErrInUse)
		}
	}
}
