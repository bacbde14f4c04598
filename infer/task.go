// The tasks: what a model's outputs mean, and who reads them.

package infer

import (
	"maps"
	"slices"
	"strings"

	"edgeagent/internal/pipeline"
)

// The tasks by their names in manifests and in the config.
const (
	Classification = "classification"
	Detection      = "detection"
	Segmentation   = "segmentation"
	Pose           = "pose"
	Embedding      = "embedding"
	Raw            = "raw"
)

// Decoder reads a model's outputs. It reuses its own memory and the result's, so one
// goroutine uses it at a time; after the first frames it allocates nothing.
type Decoder interface {
	// Settle sees the answer to the golden input and decides what the file did not say;
	// its error is a DataError.
	Settle(a *pipeline.Answer) error
	// Decode writes the answer into r, with places in pixels of the picture that fit
	// leads back to. A *pipeline.FrameError concerns this frame only.
	Decode(r *pipeline.Result, fit pipeline.Fit, a *pipeline.Answer) error
	// Labels are the names of the classes by their index; nil without classes.
	Labels() []string
	// Kind says in a word or two how outputs are read, for people.
	Kind() string
}

// tasks makes the decoders. It is the one place to add to.
var tasks = map[string]func(*Spec, pipeline.Recipe, []pipeline.TensorInfo) (Decoder, error){
	Classification: newClassification,
	Detection:      newDetection,
	Segmentation:   newSegmentation,
	Pose:           newPose,
	Embedding:      newEmbedding,
	Raw:            newRaw,
}

// Tasks are the names of all tasks.
func Tasks() []string { return slices.Sorted(maps.Keys(tasks)) }

// guess is the task of a model that does not say it, where its outputs leave no doubt.
func guess(in pipeline.Recipe, outs []pipeline.TensorInfo) (string, bool) {
	if len(outs) == 4 && strings.Contains(outs[0].Name, "TFLite_Detection_PostProcess") {
		return Detection, true
	}
	if len(outs) != 1 {
		return "", false
	}
	o := outs[0]
	switch n, s := o.Elements(), o.Shape; {
	case slices.ContainsFunc(s, func(d int) bool { return d == n }):
		return Classification, true // one dimension holds it all
	case slices.Equal(s, []int{1, 1, 17, 3}):
		return Pose, true
	case len(s) == 3 && s[1] == in.Height && s[2] == in.Width && (o.Type == pipeline.Int64 || o.Type == pipeline.Int32):
		return Segmentation, true // a whole number for each pixel
	}
	return "", false
}

// newDecoder makes the decoder of the Spec's task, or of the guessed one.
func newDecoder(s *Spec, r pipeline.Recipe, outs []pipeline.TensorInfo) (d Decoder, task string, guessed bool, err error) {
	for _, o := range outs {
		if o.Type.Size() == 0 {
			return nil, "", false, bad("output %s has elements of a type that cannot be read", o)
		}
	}
	task = s.Task
	if task == "" {
		if task, guessed = guess(r, outs); !guessed {
			return nil, "", false, bad("what its outputs %v mean is not clear: say task: %s", outs, strings.Join(Tasks(), ", "))
		}
	}
	make, ok := tasks[task]
	if !ok {
		return nil, "", false, bad("task %q is not known; there are %s", task, strings.Join(Tasks(), ", "))
	}
	d, err = make(s, r, outs)
	return d, task, guessed, err
}

// one demands a single output.
func one(task string, outs []pipeline.TensorInfo) (pipeline.TensorInfo, error) {
	if len(outs) != 1 {
		return pipeline.TensorInfo{}, bad("%d outputs (%v): a %s has one", len(outs), outs, task)
	}
	return outs[0], nil
}

// errNotFinite is the failure of a frame whose answer holds NaN or infinity.
var errNotFinite = &pipeline.FrameError{Reason: "not-finite"}
