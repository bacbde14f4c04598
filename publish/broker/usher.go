package broker

// One client after the other when several use the same id.

import (
	"sync"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// usher sees the former client of an id out before the new one comes in, and lets
// one new one in at a time. mochi 2.7.9 lets them overlap: the former one's last will
// may then come after the new one's `online`; its leaving may strike the new one
// from the list of clients (attachClient asks IsTakenOver before
// inheritClientSession has set it), which hears nothing from then on; and of two
// that come at once, each finds nobody to throw out, so that both stay.
type usher struct {
	mqtt.HookBase
	server *mqtt.Server
	doors  []*door

	mu       sync.Mutex
	entering map[string]entry // by client id
}

// entry is a client between the password check and its place on mochi's list.
type entry struct {
	client *mqtt.Client
	inside chan struct{} // closed when it has its place
}

// seeingOut bounds the wait for another client's goroutine, which only has
// to notice that its connection is closed, or to take its place.
const seeingOut = 2 * time.Second

// ID names the hook.
func (*usher) ID() string { return "usher" }

// Provides says what the usher is called for.
func (*usher) Provides(b byte) bool {
	return b == mqtt.OnSessionEstablish || b == mqtt.OnSessionEstablished
}

// OnSessionEstablish comes after the password check and before the take-over.
// The former connection is closed without a word: writing to a peer that is dead
// could hold up its successor.
func (u *usher) OnSessionEstablish(cl *mqtt.Client, _ packets.Packet) {
	for late := time.After(seeingOut); ; {
		other, ours := u.enter(cl)
		if ours {
			break
		}
		select {
		case <-other.inside:
		case <-u.left(other.client): // before it had its place
			u.entered(other.client)
		case <-late:
			u.entered(other.client)
		}
	}
	former, ok := u.server.Clients.Get(cl.ID)
	if !ok || former == cl {
		return
	}
	former.Stop(packets.ErrSessionTakenOver)
	select {
	case <-u.left(former):
	case <-time.After(seeingOut):
	}
}

// OnSessionEstablished comes when the client has its place.
func (u *usher) OnSessionEstablished(cl *mqtt.Client, _ packets.Packet) { u.entered(cl) }

// enter notes that a client comes in, or gives the one that does under its id.
func (u *usher) enter(cl *mqtt.Client) (other entry, ours bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, e := range u.entering { // whoever hangs up on the way in is told of by nobody
		if e.client.Closed() {
			u.strike(e)
		}
	}
	if other, busy := u.entering[cl.ID]; busy {
		return other, false
	}
	u.entering[cl.ID] = entry{client: cl, inside: make(chan struct{})}
	return entry{}, true
}

// entered notes that a client no longer comes in.
func (u *usher) entered(cl *mqtt.Client) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if e := u.entering[cl.ID]; e.client == cl {
		u.strike(e)
	}
}

// strike takes an entry away; the caller holds the lock.
func (u *usher) strike(e entry) {
	close(e.inside)
	delete(u.entering, e.client.ID)
}

// left gives a channel that is closed when a client has left.
func (u *usher) left(cl *mqtt.Client) <-chan struct{} {
	for _, d := range u.doors {
		if d.id == cl.Net.Listener {
			return d.left(cl.Net.Conn)
		}
	}
	gone := make(chan struct{}) // it came through no door
	close(gone)
	return gone
}
