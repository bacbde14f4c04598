// Package infer turns tensors into answers: what a model is and wants (Spec,
// Model), how its outputs are read (Decoder), and which camera it looks at next
// (Scheduler). Pure Go: pixels are capture's, native code is the delegates'.
package infer

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"edgeagent/internal/pipeline"
)

// OutputKind says what a classification's output means.
type OutputKind string

// The output kinds.
const (
	AutoOutput    OutputKind = ""              // from the output's quantization, when that leaves no doubt
	Probabilities OutputKind = "probabilities" // 0 to 1, as they are
	Logits        OutputKind = "logits"        // softmax is ours to apply
)

// Spec is what is known of a model before it is opened: from its manifest, or
// from the config's own keys.
type Spec struct {
	ID     string // as the config calls it
	Name   string // as the manifest calls it; else the file's name
	File   string // the .tflite
	SHA256 string // of File in hex, of a folder its saved_model.pb; empty: not checked
	// SavedModel is what TensorFlow is told of File; nil: File is a .tflite, for LiteRT.
	SavedModel *SavedModel
	Task       string // one of Tasks; empty: guessed where the outputs leave no doubt

	Labels      []string // empty: numbers
	LabelsFile  string   // where they came from, for messages
	LabelOffset *int     // label line = output index + offset; nil: none was given, so sizes must be equal

	Policy        pipeline.Policy
	Crop          float64
	Interpolation pipeline.Interpolation
	Colour        pipeline.Colour
	Layout        pipeline.Layout // empty: from the input's shape
	Pad           [3]uint8
	Mean, Std     []float64 // per channel or one for all; real = (byte - mean) / std; empty: bytes are stored as they are

	Output  OutputKind
	Top     int // labels or boxes a result, at most; 0: the task's own
	Filter  Filter
	Boxes   Boxes    // of a detection
	Points  []string // names of a pose's points; empty: the 17 of COCO
	Mask    string   // of a segmentation: "runs" (or empty) publishes the class map, "none" the shares only
	Gallery string   // file of an embedding's known vectors; empty: none
	Tensors string   // of raw: "json", "base64"; empty: json for up to 256 elements

	Golden *Golden
}

// Golden is an input with a known answer.
type Golden struct {
	Path      string // .bin: the tensor's bytes; .png: its RGB bytes, at the model's own size
	SHA256    string
	Top1      int
	Score     float64
	Tolerance float64 // of Score; 0 means 0.05
}

// DataError says that a model, its labels or its answers are not usable: exit 65.
type DataError struct{ Err error }

// Error is the cause's.
func (e *DataError) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *DataError) Unwrap() error { return e.Err }

// bad makes a DataError.
func bad(format string, args ...any) error { return &DataError{fmt.Errorf(format, args...)} }

// Check looks at the files: they are there (an error that wraps fs.ErrNotExist or
// fs.ErrPermission else) and they are the ones the manifest means.
func (s *Spec) Check() error {
	if _, ok := tasks[s.Task]; s.Task != "" && !ok {
		return bad("model %s: task %q is not known; there are %s", s.ID, s.Task, strings.Join(Tasks(), ", "))
	}
	file := s.File
	if s.SavedModel != nil {
		file = s.SavedModel.graph(file)
	}
	if err := checkSum(file, s.SHA256); err != nil {
		return fmt.Errorf("model %s: %w", s.ID, err)
	}
	return nil
}

// checkSum opens the file and, with a sum, compares it.
func checkSum(path, sum string) error {
	switch st, err := os.Stat(path); { // before it is opened: that of a pipe would wait
	case err == nil && st.IsDir():
		return bad("%s is a folder, not a file", path)
	case err == nil && !st.Mode().IsRegular():
		return bad("%s is no regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if sum == "" {
		return nil
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); !strings.EqualFold(got, sum) {
		return bad("%s: sha256 is %s, the manifest says %s: the file was changed or is another one", path, got, sum)
	}
	return nil
}

// maxLabels bounds a label file.
const maxLabels = 100_000

// ReadLabels reads a label file: one a line, UTF-8, CRLF and a byte order mark
// tolerated.
func ReadLabels(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, 16<<20))
	if err != nil {
		return nil, fmt.Errorf("labels %s: %w", path, err)
	}
	labels, err := parseLabels(string(b))
	if err != nil {
		return nil, bad("labels %s: %w", path, err)
	}
	return labels, nil
}

func parseLabels(s string) ([]string, error) {
	if strings.HasPrefix(s, "\xff\xfe") || strings.HasPrefix(s, "\xfe\xff") {
		return nil, errors.New("the file is UTF-16: save it as UTF-8")
	}
	s = strings.TrimPrefix(s, "\ufeff")
	if strings.ToValidUTF8(s, "") != s || strings.ContainsRune(s, 0) {
		return nil, errors.New("not a text file in UTF-8")
	}
	s = strings.TrimRight(s, "\r\n")
	if strings.TrimSpace(s) == "" {
		return nil, errors.New("the file is empty")
	}
	lines := strings.Split(s, "\n")
	if len(lines) > maxLabels {
		return nil, fmt.Errorf("%d lines, at most %d", len(lines), maxLabels)
	}
	for i, l := range lines {
		lines[i] = strings.TrimSpace(l)
	}
	return lines, nil
}
