package broker

// One client after the other when two use the same id.

import (
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// usher sees the former client of an id out before the new one comes in. mochi
// 2.7.9 lets both overlap: the former one's last will may then come after the
// new one's `online`, and its leaving may strike the new one from the list of
// clients (attachClient asks IsTakenOver before inheritClientSession has set
// it), which hears nothing from then on.
type usher struct {
	mqtt.HookBase
	server *mqtt.Server
	doors  []*door
}

// seeingOut bounds the wait for the former client's goroutine, which only has
// to notice that its connection is closed.
const seeingOut = 2 * time.Second

// ID names the hook.
func (*usher) ID() string { return "usher" }

// Provides says what the usher is called for.
func (*usher) Provides(b byte) bool { return b == mqtt.OnSessionEstablish }

// OnSessionEstablish comes after the password check and before the take-over.
// The former connection is closed without a word: writing to a peer that is dead
// could hold up its successor.
func (u *usher) OnSessionEstablish(cl *mqtt.Client, _ packets.Packet) {
	former, ok := u.server.Clients.Get(cl.ID)
	if !ok || former == cl {
		return
	}
	former.Stop(packets.ErrSessionTakenOver)
	for _, d := range u.doors {
		select {
		case <-d.left(former.Net.Conn):
		case <-time.After(seeingOut):
		}
	}
}
