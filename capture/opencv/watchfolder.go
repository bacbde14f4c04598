package opencv

// A folder that is watched: its pictures in the order of their names, and then those
// that come, as they come.

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"edgeagent/internal/pipeline"
	"edgeagent/internal/source"
)

// rescan is how often the folder is read. (inotify tells nothing of network folders,
// and a listing of a thousand names costs a millisecond.)
const rescan = 200 * time.Millisecond

// folderWatch gives the pictures of a folder, for ever.
type folderWatch struct {
	images
	dir   string
	seen  map[string]bool  // given, or there at a restart
	sizes map[string]int64 // at the last scan: a file that grows is still being written
	stop  chan struct{}    // closed by Interrupt
}

func openFolderWatch(o source.Open) (grabber, error) {
	dir := o.Source.Where
	if err := readable(dir); err != nil {
		return nil, err
	}
	g := &folderWatch{images: images{loaded: -1}, dir: dir, seen: map[string]bool{}, sizes: map[string]int64{}, stop: make(chan struct{})}
	if o.FirstSeq > 0 { // the worker before this one gave what is there
		names, err := g.scan()
		if err != nil {
			return nil, err
		}
		for n := range names {
			g.seen[n] = true
		}
	}
	return g, nil
}

// scan lists the pictures with their sizes.
func (g *folderWatch) scan() (map[string]int64, error) {
	entries, err := os.ReadDir(g.dir)
	if err != nil {
		return nil, fail(source.FailRead, "the folder cannot be read: %v", err)
	}
	names := map[string]int64{}
	for _, e := range entries {
		if e.IsDir() || !source.IsPicture(e.Name()) {
			continue
		}
		if i, err := e.Info(); err == nil {
			names[e.Name()] = i.Size()
		}
	}
	return names, nil
}

// Grab waits for the next picture that is whole: of the same size at two scans.
func (g *folderWatch) Grab() (int64, error) {
	for g.next == len(g.files) {
		names, err := g.scan()
		if err != nil {
			return 0, err
		}
		g.files, g.next, g.loaded = g.files[:0], 0, -1
		for n, size := range names {
			if was, ok := g.sizes[n]; ok && was == size && size > 0 && !g.seen[n] {
				g.files = append(g.files, filepath.Join(g.dir, n))
				g.seen[n] = true
			}
		}
		slices.Sort(g.files)
		g.sizes = names
		for n := range g.seen { // what is gone may come again under its name
			if _, ok := names[n]; !ok {
				delete(g.seen, n)
			}
		}
		if len(g.files) == 0 {
			select {
			case <-g.stop:
				return 0, errClosed
			case <-time.After(rescan):
			}
		}
	}
	g.next++
	return pipeline.Now(), nil
}

// Interrupt ends a Grab that waits.
func (g *folderWatch) Interrupt() { close(g.stop) }

// Info tells that silence is no stall here.
func (g *folderWatch) Info() source.Info { return source.Info{Backend: "imread", Quiet: true} }

// Period leaves the pace to the folder.
func (g *folderWatch) Period() time.Duration { return 0 }

// Rewind is never needed: there is no end.
func (g *folderWatch) Rewind() error { return io.EOF }
