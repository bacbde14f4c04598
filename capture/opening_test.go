package capture

// What a source is given to open, after what it took before.

import (
	"errors"
	"testing"
	"time"
)

func TestOpeningLimit(t *testing.T) {
	const most = 10 * time.Second
	var o opening
	want := func(what string, d time.Duration) {
		t.Helper()
		if got := o.limit(most); got != d {
			t.Errorf("%s: %v, want %v", what, got, d)
		}
	}
	want("never opened", most)
	o.took(time.Second, &stallError{"hangs"})
	want("never opened, hung", most)
	o.took(300*time.Millisecond, nil)
	want("quick", 2*time.Second)
	o.took(time.Second, errors.New("refused"))
	want("quick, refused", 2*time.Second)
	o.took(time.Second, &stallError{"hangs"})
	want("quick, hung once", 4*time.Second)
	for range 100 {
		o.took(time.Second, &stallError{"hangs"})
	}
	want("quick, hangs", most)
	o.took(4*time.Second, nil)
	want("slow", most)
	o.took(1500*time.Millisecond, nil)
	want("in between", 6*time.Second)
	if got := o.limit(time.Second); got != time.Second {
		t.Errorf("more than is allowed: %v", got)
	}
}
