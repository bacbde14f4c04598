package eval

// Labelled pictures: folders, name prefixes, CSV, COCO.

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Item is a picture and what is true of it.
type Item struct {
	Path    string   // as it can be opened
	Name    string   // as it is told: relative to the data set
	Class   int      // of a classification; -1: it has objects
	Objects []Object // of a detection
}

// Dataset is a set of labelled pictures.
type Dataset struct {
	Form  string // "folders", "prefix", "csv", "coco"
	Items []Item
	Notes []string // what was left out and why, for people
}

// Labels turns a label into its class, the index in the model's output: by name (in
// any case; one of the words between commas will do) or by number.
type Labels struct {
	byName map[string]int
	n      int
	offset int // class = number + offset
}

// NewLabels takes the model's labels by class. offset is added to truths that are
// numbers, where the model has a background class before the others.
func NewLabels(names []string, offset int) *Labels {
	l := &Labels{byName: map[string]int{}, n: len(names), offset: offset}
	for i, n := range names {
		words := []string{n}
		if parts := strings.Split(n, ","); len(parts) > 1 {
			words = append(words, parts...)
		}
		for _, w := range words {
			w = plain(w)
			if _, taken := l.byName[w]; !taken && w != "" {
				l.byName[w] = i
			}
		}
	}
	return l
}

// plain makes names comparable: "Egyptian_cat" and "Egyptian cat" are one.
func plain(s string) string {
	return strings.Join(strings.Fields(strings.ToLower(strings.NewReplacer("_", " ", "-", " ").Replace(s))), " ")
}

// Alike says whether two labels name one thing: the same words in any case, or the same
// first of several between commas.
func Alike(a, b string) bool {
	first := func(s string) string { word, _, _ := strings.Cut(s, ","); return plain(word) }
	return first(a) == first(b)
}

// Class of a label; -1 when the model has none of it.
func (l *Labels) Class(label string) int {
	if i, ok := l.byName[plain(label)]; ok {
		return i
	}
	if n, err := strconv.Atoi(strings.TrimSpace(label)); err == nil {
		return l.number(n)
	}
	return -1
}

func (l *Labels) number(n int) int {
	if n += l.offset; n < 0 || n >= l.n {
		return -1
	}
	return n
}

// pictureTypes are the endings that count as pictures.
var pictureTypes = []string{".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}

func isPicture(name string) bool {
	return !strings.HasPrefix(name, ".") && slices.Contains(pictureTypes, strings.ToLower(filepath.Ext(name)))
}

// maxItems bounds a data set.
const maxItems = 1_000_000

// Read reads the data set at path: a folder with a sub-folder a label; a folder whose
// pictures are called NNN_…, NNN the class; a .csv with lines of picture and label; a
// .json of COCO's form, with the pictures in images (its own folder when empty).
func Read(path, images string, l *Labels) (*Dataset, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	var d *Dataset
	switch ext := strings.ToLower(filepath.Ext(path)); {
	case st.IsDir():
		d, err = readFolder(path, l)
	case ext == ".csv":
		d, err = readCSV(path, images, l)
	case ext == ".json":
		d, err = readCOCO(path, images, l)
	default:
		err = fmt.Errorf("%s is no data set: give a folder, a .csv or a .json of COCO's form", path)
	}
	if err != nil {
		return nil, err
	}
	if len(d.Items) == 0 {
		return nil, fmt.Errorf("%s holds no labelled pictures%s", path, first(d.Notes))
	}
	slices.SortStableFunc(d.Items, func(a, b Item) int { return cmpText(a.Name, b.Name) })
	return d, nil
}

func first(notes []string) string {
	if len(notes) == 0 {
		return ""
	}
	return " (" + notes[0] + ")"
}

// noted keeps at most a few notes of a kind.
func (d *Dataset) note(format string, args ...any) {
	const most = 20
	switch len(d.Notes) {
	case most:
		d.Notes = append(d.Notes, "and more")
	case most + 1:
	default:
		d.Notes = append(d.Notes, fmt.Sprintf(format, args...))
	}
}

func readFolder(dir string, l *Labels) (*Dataset, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return !e.IsDir() && isPicture(e.Name()) && prefix(e.Name()) >= 0 }) {
		return readPrefixed(dir, entries, l), nil
	}
	d := &Dataset{Form: "folders"}
	for _, e := range entries {
		if !e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		class := l.Class(e.Name())
		if class < 0 {
			d.note("folder %s: the model has no such label", e.Name())
			continue
		}
		err := filepath.WalkDir(filepath.Join(dir, e.Name()), func(path string, f fs.DirEntry, err error) error {
			if err != nil || f.IsDir() || !isPicture(f.Name()) {
				return err
			}
			name, err := filepath.Rel(dir, path)
			if err != nil {
				return err
			}
			return d.add(Item{Path: path, Name: name, Class: class})
		})
		if err != nil {
			return nil, err
		}
	}
	return d, nil
}

func (d *Dataset) add(i Item) error {
	if len(d.Items) == maxItems {
		return fmt.Errorf("more than %d pictures", maxItems)
	}
	d.Items = append(d.Items, i)
	return nil
}

// prefix is the number before the first _ of a name; -1 when there is none.
func prefix(name string) int {
	digits, _, ok := strings.Cut(name, "_")
	if !ok || len(digits) > 6 {
		return -1
	}
	n, err := strconv.Atoi(digits)
	if err != nil || n < 0 {
		return -1
	}
	return n
}

func readPrefixed(dir string, entries []fs.DirEntry, l *Labels) *Dataset {
	d := &Dataset{Form: "prefix"}
	for _, e := range entries {
		if e.IsDir() || !isPicture(e.Name()) {
			continue
		}
		class := -1
		if n := prefix(e.Name()); n >= 0 {
			class = l.number(n)
		}
		if class < 0 {
			d.note("%s: its name begins with no class of the model", e.Name())
			continue
		}
		d.Items = append(d.Items, Item{Path: filepath.Join(dir, e.Name()), Name: e.Name(), Class: class})
	}
	return d
}

// readCSV reads lines of picture and label; a first line whose picture is not there is
// a heading.
func readCSV(path, images string, l *Labels) (*Dataset, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if images == "" {
		images = filepath.Dir(path)
	}
	r := csv.NewReader(f)
	r.FieldsPerRecord, r.TrimLeadingSpace = -1, true
	d := &Dataset{Form: "csv"}
	for line := 1; ; line++ {
		rec, err := r.Read()
		if errors.Is(err, io.EOF) {
			return d, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if len(rec) < 2 {
			return nil, fmt.Errorf("%s: line %d has no label: a line is picture,label", path, line)
		}
		name, label := strings.TrimPrefix(rec[0], "\ufeff"), rec[1]
		at := name
		if !filepath.IsAbs(at) {
			at = filepath.Join(images, name)
		}
		if _, err := os.Stat(at); err != nil {
			if line > 1 {
				d.note("line %d: %s is not there", line, at)
			}
			continue
		}
		class := l.Class(label)
		if class < 0 {
			d.note("line %d: the model has no label %q", line, label)
			continue
		}
		if err := d.add(Item{Path: at, Name: name, Class: class}); err != nil {
			return nil, err
		}
	}
}

// cocoFile is what we read of COCO's form.
type cocoFile struct {
	Images []struct {
		ID   int    `json:"id"`
		File string `json:"file_name"`
	} `json:"images"`
	Annotations []struct {
		Image    int        `json:"image_id"`
		Category int        `json:"category_id"`
		Box      [4]float64 `json:"bbox"` // left, top, width, height
		Crowd    int        `json:"iscrowd"`
	} `json:"annotations"`
	Categories []struct {
		ID   int    `json:"id"`
		Name string `json:"name"`
	} `json:"categories"`
}

func readCOCO(path, images string, l *Labels) (*Dataset, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var c cocoFile
	if err := json.Unmarshal(b, &c); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if images == "" {
		images = filepath.Dir(path)
	}
	d := &Dataset{Form: "coco"}
	class := map[int]int{}
	for _, k := range c.Categories {
		if class[k.ID] = l.Class(k.Name); class[k.ID] < 0 {
			d.note("category %s: the model has no such label", k.Name)
		}
	}
	index := map[int]int{}
	for _, i := range c.Images {
		if i.File == "" || filepath.IsAbs(i.File) || !filepath.IsLocal(i.File) {
			return nil, fmt.Errorf("%s: image %d has the file name %q: it must lie below the folder of pictures", path, i.ID, i.File)
		}
		index[i.ID] = len(d.Items)
		if err := d.add(Item{Path: filepath.Join(images, i.File), Name: i.File, Class: -1, Objects: []Object{}}); err != nil {
			return nil, err
		}
	}
	for n, a := range c.Annotations {
		i, ok := index[a.Image]
		k, known := class[a.Category]
		switch {
		case !ok:
			return nil, fmt.Errorf("%s: annotation %d is of image %d, which is not in the file", path, n, a.Image)
		case !known:
			return nil, fmt.Errorf("%s: annotation %d has category %d, which is not in the file", path, n, a.Category)
		case k < 0:
			continue
		}
		x := a.Box
		d.Items[i].Objects = append(d.Items[i].Objects, Object{Class: k, Box: [4]float64{x[0], x[1], x[0] + x[2], x[1] + x[3]}, Crowd: a.Crowd != 0})
	}
	return d, nil
}
