// Percentiles of the recent past, in fixed memory, for the state message.

package metrics

import (
	"math/bits"
	"sync"
	"time"
)

// Buckets of whole microseconds: every value below 64 µs has its own, and above
// each power of two is cut into 32 (log-linear, as in HdrHistogram). A value
// stands for the middle of its bucket, so it is off by at most MaxError.
const (
	subBits     = 5
	largestBits = 26 // 2^26 µs, about 67 s: longer than any deadline here
	bucketCount = (largestBits-subBits)<<subBits + 1<<subBits
	fifths      = 5
)

// MaxError is the relative error of a percentile between 1 µs and 67 s, beyond
// the fraction of a microsecond that is cut off.
const MaxError = 1.0 / (2 << subBits)

// Percentiles keeps the durations of the last while, in about 14 KiB. The window
// moves on by a fifth of its length at a time, so at any reading it reaches back
// between four fifths and the whole of it. It may be used from several
// goroutines; a plain mutex, held for some nanoseconds, is what keeps the moving
// on simple.
type Percentiles struct {
	step time.Duration

	mu    sync.Mutex
	parts [fifths]part
}

// part holds one fifth of the window.
type part struct {
	turn    int64 // which fifth of all time it holds
	n       uint32
	longest time.Duration
	counts  [bucketCount]uint32
}

// Quantiles are nearest-rank percentiles in milliseconds, each within MaxError.
// Max is exact.
type Quantiles struct {
	N   uint64  `json:"n"` // durations in the window
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// NewPercentiles makes one that looks back for window, which must be positive.
func NewPercentiles(window time.Duration) *Percentiles {
	return &Percentiles{step: max(window/fifths, 1)}
}

// Add notes d at the instant now, counted from any fixed moment and never
// negative. It allocates nothing.
func (p *Percentiles) Add(now, d time.Duration) {
	d = max(d, 0)
	turn := int64(now / p.step)
	b := bucketOf(d)
	p.mu.Lock()
	s := &p.parts[turn%fifths]
	if turn > s.turn {
		*s = part{turn: turn}
	}
	if turn == s.turn { // a straggler of a fifth that is gone is left out
		s.n++
		s.counts[b]++
		s.longest = max(s.longest, d)
	}
	p.mu.Unlock()
}

// Quantiles reads the window that ends now. It is zero when nothing was noted.
func (p *Percentiles) Quantiles(now time.Duration) Quantiles {
	var counts [bucketCount]uint64
	var q Quantiles
	var longest time.Duration
	oldest := int64(now/p.step) - fifths
	p.mu.Lock()
	for i := range p.parts {
		s := &p.parts[i]
		if s.turn <= oldest || s.n == 0 {
			continue
		}
		q.N += uint64(s.n)
		longest = max(longest, s.longest)
		for b, c := range s.counts {
			counts[b] += uint64(c)
		}
	}
	p.mu.Unlock()
	if q.N == 0 {
		return q
	}
	at := func(percent uint64) float64 {
		rank := (q.N*percent + 99) / 100 // nearest rank, from 1
		var seen uint64
		for b, c := range counts {
			if seen += c; seen >= rank {
				return milliseconds(min(middleOf(b), longest))
			}
		}
		return milliseconds(longest)
	}
	q.P50, q.P95, q.P99, q.Max = at(50), at(95), at(99), milliseconds(longest)
	return q
}

// bucketOf is the bucket of d; what is longer than the largest falls into the
// last.
func bucketOf(d time.Duration) int {
	us := uint64(d / time.Microsecond)
	if us < 2<<subBits {
		return int(us)
	}
	shift := bits.Len64(us) - subBits - 1
	return min(shift<<subBits+int(us>>shift), bucketCount-1)
}

// middleOf is the middle of the whole microseconds that share bucket b.
func middleOf(b int) time.Duration {
	if b < 2<<subBits {
		return time.Duration(b) * time.Microsecond
	}
	shift := b>>subBits - 1
	low := time.Duration(b-shift<<subBits) << shift * time.Microsecond
	return low + (time.Duration(1)<<shift-1)*time.Microsecond/2
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
