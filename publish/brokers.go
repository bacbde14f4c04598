package publish

// Several brokers in order: the first that accepts us is used, and those before it are
// tried again meanwhile.

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// run connects, serves and waits, over and over, until Close has had its way.
func (p *Client) run() {
	defer close(p.done)
	wait := &backoff.ExponentialBackOff{
		InitialInterval: p.cfg.MinBackoff, MaxInterval: p.cfg.MaxBackoff, Multiplier: 2, RandomizationFactor: 0.5,
	}
	wait.Reset()
	taken := false // a rival uses our id
	for !p.finished() {
		l, err := p.reach(len(p.urls))
		for err == nil {
			var better *link
			if better, err = p.serve(l); err == nil && better == nil {
				return // drained and disconnected
			}
			lasted := time.Since(l.born)
			if lasted > min(steady, p.cfg.MaxBackoff) {
				wait.Reset()
			}
			taken = taken && lasted < settled
			if l = better; err == nil {
				continue
			}
			if boot, found := p.rival.closed(time.Now()); found {
				taken = true
				p.tellRival(boot)
			}
		}
		if p.ctx.Err() != nil {
			return
		}
		d := wait.NextBackOff()
		if taken {
			d = p.cfg.TakenBackoff/2 + rand.N(p.cfg.TakenBackoff)
		}
		if p.link.down(err) {
			p.log.Warn("no broker; messages wait in the queue", "error", err, "retry", d.Round(time.Millisecond))
		}
		p.sleep(d)
	}
}

// reach tries the first n brokers in order, each once. Without one, the error tells
// what each of them said.
func (p *Client) reach(n int) (l *link, err error) {
	for place, u := range p.urls[:n] {
		l, failed := p.dialOnce(u)
		if failed == nil {
			l.place = place
			return l, nil
		}
		if err == nil {
			err = failed
		} else {
			err = fmt.Errorf("%w; %w", err, failed)
		}
		if p.finished() {
			break
		}
	}
	return nil, err
}

// dialOnce connects, and gives up early when Close finds nothing to send.
func (p *Client) dialOnce(u *url.URL) (*link, error) {
	ctx, cancel := context.WithCancel(p.ctx)
	defer cancel()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-p.draining:
			if p.finished() {
				cancel()
			}
		case <-ctx.Done():
		}
	}()
	l, err := p.connect(ctx, u)
	cancel()
	<-watched
	return l, err
}

// lookout tries the brokers before the one that is used, now and then, until one of
// them accepts us.
type lookout struct {
	found  chan *link
	cancel context.CancelFunc
	done   chan struct{}
}

// lookBack begins to look for a better broker than that of l; for the first there is
// none to be found.
func (p *Client) lookBack(l *link) *lookout {
	ctx, cancel := context.WithCancel(p.ctx)
	o := &lookout{found: make(chan *link, 1), cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(o.done)
		for l.place > 0 {
			select {
			case <-time.After(p.cfg.FailBack/2 + rand.N(p.cfg.FailBack)):
			case <-p.draining:
				return
			case <-ctx.Done():
				return
			}
			for place, u := range p.urls[:l.place] {
				if better, err := p.connect(ctx, u); err == nil {
					better.place = place
					o.found <- better
					return
				}
			}
		}
	}()
	return o
}

// end stops looking and gives what was found meanwhile, nil for nothing.
func (o *lookout) end() *link {
	o.cancel()
	<-o.done
	select {
	case l := <-o.found:
		return l
	default:
		return nil
	}
}

// arrived tells that the messages go to another broker than before.
func (p *Client) arrived(l *link) {
	before := p.place
	p.place = l.place
	switch l.place {
	case before:
	case 0:
		p.tell("broker-back", fmt.Sprintf("connected to %s again, the first of %d brokers", l.url, len(p.urls)))
	default:
		p.tell("broker-fallback", fmt.Sprintf("connected to %s, number %d of %d brokers: those before it cannot be reached", l.url, l.place+1, len(p.urls)))
	}
}
