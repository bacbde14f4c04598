// Non-maximum suppression: of candidates that overlap, the best stays.

package infer

// nmsMethods take a detector's found, sorted by falling score, to its keep. What is
// left out lies outside of the picture at most, so keep may be longer than top.
var nmsMethods = map[string]func(*detector){
	"hard": (*detector).hardNMS,
	"soft": (*detector).softNMS,
	"none": (*detector).noNMS,
}

// noNMS keeps all: the model has thinned them out itself.
func (d *detector) noNMS() { d.keep = append(d.keep[:0], d.found...) }

// maxKept bounds NMS: beyond it no result goes, whatever a head may find.
const maxKept = 1000

// hardNMS keeps a candidate that overlaps no better one of its class by more than
// d.iou. Comparing with what is kept only, it is as quick as the scene is simple.
func (d *detector) hardNMS() {
	d.keep = d.keep[:0]
next:
	for i := range d.found {
		c := &d.found[i]
		for j := range d.keep {
			if k := &d.keep[j]; k.class == c.class && overlap(k, c) > d.iou {
				continue next
			}
		}
		if d.keep = append(d.keep, *c); len(d.keep) == maxKept {
			return
		}
	}
}

// softNMS lowers the scores of what overlaps a better one of its class instead, by
// exp(-iou²/sigma), and gives up what falls below the floor (Bodla et al., "Soft-NMS",
// ICCV 2017, the Gaussian form).
func (d *detector) softNMS() {
	d.keep = d.keep[:0]
	rest := d.found
	for len(rest) > 0 && len(d.keep) < maxKept {
		best := 0
		for i := range rest {
			if byScore(rest[i], rest[best]) < 0 {
				best = i
			}
		}
		b := rest[best]
		rest[best] = rest[len(rest)-1]
		rest = rest[:len(rest)-1]
		d.keep = append(d.keep, b)
		left := 0
		for i := range rest {
			c := rest[i]
			if c.class == b.class {
				if o := overlap(&b, &c); o > 0 {
					c.score *= expNeg(o * o / d.sigma)
				}
			}
			if c.score >= d.classes.least[c.class] {
				rest[left] = c
				left++
			}
		}
		rest = rest[:left]
	}
}

// overlap is the intersection over the union of two candidates.
func overlap(a, b *candidate) float32 {
	w := min(a.x1, b.x1) - max(a.x0, b.x0)
	h := min(a.y1, b.y1) - max(a.y0, b.y0)
	if !(w > 0 && h > 0) {
		return 0
	}
	in := w * h
	return in / ((a.x1-a.x0)*(a.y1-a.y0) + (b.x1-b.x0)*(b.y1-b.y0) - in)
}
