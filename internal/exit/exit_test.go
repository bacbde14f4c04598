// The code of an error is found wherever it is wrapped.

package exit

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"
)

func TestCode(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("x"), 70},
		{With(NoInput, fs.ErrNotExist), 66},
		{fmt.Errorf("model: %w", With(NoInput, fs.ErrNotExist)), 66},
		{Errorf(Data, "model %d: %w", 1, fs.ErrInvalid), 65},
		{With(Config, nil), 0},
	} {
		if got := Code(c.err); got != c.want {
			t.Errorf("Code(%v) = %d, want %d", c.err, got, c.want)
		}
	}
	err := Errorf(Data, "model: %w", fs.ErrInvalid)
	if err.Error() != "model: invalid argument" || !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("the code hides the error: %v", err)
	}
}
