package publish

// The latest value of each retained topic.

import (
	"bytes"
	"strings"
	"sync"
)

// retained holds the latest value of each retained topic. They are never queued:
// on connect all are published, and afterwards each that changed.
type retained struct {
	mu     sync.Mutex
	values map[string]*retainedValue
	topics []string // in the order of their first value
	dirty  []string // to be published, in order
}

type retainedValue struct {
	payload []byte
	dirty   bool
	once    bool // not retained: published while it is news, then forgotten
	gone    bool // an empty message is published next, which takes it off the broker
}

// set says whether payload is news. It keeps payload.
func (r *retained) set(topic string, payload []byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	v, ok := r.values[topic]
	switch {
	case !ok:
		if r.values == nil {
			r.values = map[string]*retainedValue{}
		}
		v = new(retainedValue)
		r.values[topic] = v
		r.topics = append(r.topics, topic)
	case bytes.Equal(v.payload, payload):
		return false
	}
	v.payload, v.once, v.gone = payload, false, false
	r.mark(topic, v)
	return true
}

// setOnce has payload published next, without the retained flag. The newest of a
// topic takes the place of one that still waits; a lost connection forgets it.
func (r *retained) setOnce(topic string, payload []byte) {
	r.set(topic, nil)
	r.set(topic, payload)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.values[topic].once = true
}

// remove has an empty message published next, by which the broker forgets the topic.
func (r *retained) remove(topic string) {
	r.set(topic, nil)
	r.mu.Lock()
	defer r.mu.Unlock()
	v := r.values[topic]
	v.gone = true
	r.mark(topic, v)
}

// touch has a topic published again, if it has a value.
func (r *retained) touch(topic string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if v, ok := r.values[topic]; ok {
		r.mark(topic, v)
	}
}

// all has every topic published again, and what was to be removed removed.
func (r *retained) all() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dirty = r.dirty[:0]
	for _, topic := range r.topics {
		v := r.values[topic]
		if v.dirty = !v.once && (!v.gone || v.dirty); v.dirty {
			r.dirty = append(r.dirty, topic)
		}
	}
}

// next takes a topic that is to be published, with the retained flag if keep.
func (r *retained) next() (topic string, payload []byte, keep, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.dirty) == 0 {
		return "", nil, false, false
	}
	topic = r.dirty[0]
	r.dirty = r.dirty[1:]
	v := r.values[topic]
	v.dirty = false
	payload = v.payload
	if v.once {
		v.payload = nil
	}
	return topic, payload, !v.once, true
}

// under gives the topics that begin and end so.
func (r *retained) under(begin, end string) (topics []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range r.topics {
		if strings.HasPrefix(t, begin) && strings.HasSuffix(t, end) && strings.Count(t[len(begin):], "/") == 1 {
			topics = append(topics, t)
		}
	}
	return topics
}

func (r *retained) mark(topic string, v *retainedValue) {
	if !v.dirty {
		v.dirty = true
		r.dirty = append(r.dirty, topic)
	}
}
