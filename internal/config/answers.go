// Single answers, checked as they would be in a file, for who asks for them.

package config

import "errors"

// CheckSource says what is wrong with a camera's source.
func CheckSource(text string) error { return Source(text).check() }

// CheckBroker says what is wrong with mqtt.broker.
func CheckBroker(text string) error {
	c := &collector{seen: map[string]bool{}}
	checkBroker(c, "mqtt.broker", text)
	if ps := c.sorted(); len(ps) > 0 {
		return errors.New(ps[0].Text)
	}
	return nil
}
