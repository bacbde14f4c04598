package capture

// A camera can be switched off and on while the agent runs.

import (
	"errors"

	"edgeagent/internal/pipeline"
)

// errDisabled ends a session whose camera was switched off.
var errDisabled = errors.New("the camera is disabled")

// Enable switches the camera on or off. It returns at once: a camera that is
// switched off ends its worker, lets its source go and has the status disabled;
// fills wait until it is on again.
func (c *Camera) Enable(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.off == !on {
		return
	}
	c.off = !on
	close(c.toggled)
	c.toggled = make(chan struct{})
	if c.off && c.cur != nil {
		c.cur.fail(errDisabled)
	}
}

// Enabled says whether the camera is switched on.
func (c *Camera) Enabled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.off
}

// whileOff waits until the camera is on; false when it was closed.
func (c *Camera) whileOff() bool {
	for {
		c.mu.Lock()
		off, toggled := c.off, c.toggled
		if off {
			c.info.FPS, c.info.LastError = 0, ""
		}
		c.mu.Unlock()
		if !off {
			return true
		}
		c.setStatus(pipeline.CameraDisabled)
		select {
		case <-toggled:
		case <-c.stopped.Done():
			return false
		}
	}
}

// toggling is closed at the next Enable that changes something.
func (c *Camera) toggling() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.toggled
}
