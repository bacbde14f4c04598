package infer

// What may change while the scheduler runs.

import "time"

// setFPS sets how many frames a second are asked for at most; 0: as fast as it goes.
func (l *line) setFPS(fps float64) {
	period := int64(0)
	if fps > 0 {
		period = int64(float64(time.Second) / fps)
	}
	l.period.Store(period)
}

// SetFPS changes the rate of all views of a camera, in inferences a second; 0: as
// fast as it goes. The frame that is due next by the old rate still comes by it. Any
// goroutine may call it.
func (s *Scheduler) SetFPS(camera string, fps float64) {
	for _, l := range s.lines {
		if l.View.Camera() == camera {
			l.setFPS(fps)
		}
	}
}
