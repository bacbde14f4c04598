package publish

// Snapshots: pictures on a topic of their own, never in the queue.

import "errors"

// ErrAway says that the broker is not connected, and that what was to be published
// is not kept for later.
var ErrAway = errors.New("the broker is away, and pictures are not kept for later")

// Snapshot publishes a camera's picture, a JPEG that the client keeps; with retain
// it stays at the broker until the next one, and is published again at each connect.
// Without, it is refused while the broker is away: an old picture is no news.
func (p *Client) Snapshot(camera string, jpeg []byte, retain bool) error {
	topic := p.base + "camera/" + camera + "/snapshot"
	if retain {
		p.retained.set(topic, jpeg)
	} else {
		if !p.Stats().Connected {
			return ErrAway
		}
		p.retained.setOnce(topic, jpeg)
	}
	p.poke()
	return nil
}
