// The percentiles held against exact ones.

package metrics

import (
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestBucketsAreContiguousAndContainTheirMiddle(t *testing.T) {
	last := 0
	for us := range uint64(1 << 17) {
		b := bucketOf(time.Duration(us) * time.Microsecond)
		if b != last && b != last+1 {
			t.Fatalf("%d µs falls into bucket %d, its neighbour into %d", us, b, last)
		}
		last = b
	}
	for b := range bucketCount {
		if got := bucketOf(middleOf(b)); got != b {
			t.Errorf("the middle of bucket %d, %v, falls into %d", b, middleOf(b), got)
		}
	}
	if b := bucketOf(math.MaxInt64); b != bucketCount-1 {
		t.Errorf("the longest duration falls into bucket %d, want the last", b)
	}
}

// exact is the nearest-rank percentile of whole microseconds, in milliseconds.
func exact(sorted []time.Duration, percent int) float64 {
	rank := (len(sorted)*percent + 99) / 100
	return milliseconds(sorted[rank-1].Truncate(time.Microsecond))
}

func TestPercentilesAgreeWithExactOnes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// Durations over all magnitudes, not only the large ones.
		one := rapid.Custom(func(t *rapid.T) time.Duration {
			return time.Duration(rapid.Int64Range(0, 1<<rapid.IntRange(0, 35).Draw(t, "bits")).Draw(t, "ns"))
		})
		all := rapid.SliceOfN(one, 1, 300).Draw(t, "durations")
		p := NewPercentiles(time.Minute)
		for i, d := range all {
			p.Add(time.Duration(i)*100*time.Millisecond, d) // 30 s at most
		}
		q := p.Quantiles(30 * time.Second)
		slices.Sort(all)
		if q.N != uint64(len(all)) {
			t.Fatalf("N = %d, want %d", q.N, len(all))
		}
		if want := milliseconds(all[len(all)-1]); q.Max != want {
			t.Fatalf("Max = %v, want %v", q.Max, want)
		}
		for _, c := range []struct {
			percent int
			got     float64
		}{{50, q.P50}, {95, q.P95}, {99, q.P99}} {
			want := exact(all, c.percent)
			if math.Abs(c.got-want) > want*MaxError+1e-9 {
				t.Fatalf("p%d of %v = %v ms, exact %v ms", c.percent, all, c.got, want)
			}
		}
	})
}

func TestPercentilesForgetWhatIsOlderThanTheWindow(t *testing.T) {
	p := NewPercentiles(5 * time.Minute)
	p.Add(0, time.Second)
	for _, c := range []struct {
		now  time.Duration
		want uint64
	}{{0, 1}, {4*time.Minute + 59*time.Second, 1}, {5 * time.Minute, 0}, {10 * time.Hour, 0}} {
		if got := p.Quantiles(c.now).N; got != c.want {
			t.Errorf("after %v the window holds %d, want %d", c.now, got, c.want)
		}
	}
	p.Add(5*time.Minute, 50*time.Microsecond) // takes the place of the first minute
	p.Add(time.Second, time.Hour)             // a straggler
	if q := p.Quantiles(5 * time.Minute); q.N != 1 || q.Max != 0.05 || q.P50 != 0.05 {
		t.Errorf("the new minute holds %+v, want the one of 50 µs alone", q)
	}
	if q := NewPercentiles(time.Minute).Quantiles(time.Hour); q != (Quantiles{}) {
		t.Errorf("an empty window reads %+v", q)
	}
}

func TestPercentilesCountEveryConcurrentAdd(t *testing.T) {
	p := NewPercentiles(time.Minute)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 1000 {
				p.Add(time.Second, time.Duration(i)*time.Microsecond)
				if i%100 == 0 {
					p.Quantiles(time.Second)
				}
			}
		})
	}
	wg.Wait()
	if n := p.Quantiles(time.Second).N; n != 4000 {
		t.Errorf("N = %d, want 4000", n)
	}
}
