package broker

// Retained messages for new subscribers, without the data race that mochi has there.

import (
	"slices"
	"strings"
	"sync"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// greeter sends retained messages to new subscribers in mochi's place. mochi
// 2.7.9 looks for them without the lock under which it stores them
// (TopicsIndex.scanMessages reads particle.retainPath), and a string read while
// it is written can bring the whole daemon down. So mochi is told that nobody
// wants them, and they are taken from its list of retained messages, which has a
// lock of its own.
type greeter struct {
	mqtt.HookBase
	server *mqtt.Server

	mu      sync.Mutex
	waiting map[*mqtt.Client][]packets.Subscription // between SUBSCRIBE and SUBACK
}

// never is the retain handling of a subscriber that wants no retained messages
// (MQTT 5, 3.8.3.1); once is that of one that wants them for new subscriptions.
const (
	once  = 1
	never = 2
)

// ID names the hook.
func (*greeter) ID() string { return "greeter" }

// Provides says what the greeter is called for.
func (*greeter) Provides(b byte) bool {
	return b == mqtt.OnSubscribe || b == mqtt.OnSubscribed || b == mqtt.OnPacketProcessed
}

// OnSubscribe keeps mochi from sending retained messages itself.
func (g *greeter) OnSubscribe(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	wanted := slices.Clone(pk.Filters)
	for i, s := range wanted {
		if _, known := cl.State.Subscriptions.Get(s.Filter); known && s.RetainHandling == once {
			wanted[i].RetainHandling = never
		}
		pk.Filters[i].RetainHandling = never
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting[cl] = wanted
	return pk
}

// OnSubscribed strikes out what the broker refused.
func (g *greeter) OnSubscribed(cl *mqtt.Client, _ packets.Packet, codes []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, c := range codes {
		if c >= packets.ErrUnspecifiedError.Code {
			g.waiting[cl][i].RetainHandling = never
		} else {
			g.waiting[cl][i].Qos = c
		}
	}
}

// OnPacketProcessed comes after the SUBACK, on the client's own goroutine.
func (g *greeter) OnPacketProcessed(cl *mqtt.Client, pk packets.Packet, err error) {
	if pk.FixedHeader.Type != packets.Subscribe {
		return
	}
	g.mu.Lock()
	wanted := g.waiting[cl]
	delete(g.waiting, cl)
	g.mu.Unlock()
	if err != nil {
		return
	}
	kept := g.server.Topics.Retained.GetAll()
	topics := make([]string, 0, len(kept))
	for t := range kept {
		topics = append(topics, t)
	}
	slices.Sort(topics)
	for _, s := range wanted {
		for _, t := range topics {
			if s.RetainHandling != never && matches(s.Filter, t) {
				message := kept[t]
				if g.send(cl, s, &message) != nil {
					return // the connection is gone
				}
			}
		}
	}
}

// send writes a retained message to a subscriber, with the lesser QoS of the two.
func (g *greeter) send(cl *mqtt.Client, s packets.Subscription, message *packets.Packet) error {
	out := message.Copy(false)
	out.FixedHeader.Retain = true
	out.FixedHeader.Qos = min(out.FixedHeader.Qos, s.Qos)
	if s.Identifier > 0 {
		out.Properties.SubscriptionIdentifier = []int{s.Identifier}
	}
	if out.FixedHeader.Qos == 0 {
		return cl.WritePacket(out)
	}
	id, err := cl.NextPacketID()
	if err != nil || cl.State.Inflight.Len() >= maxInflight {
		return nil //nolint:nilerr // this one is dropped, as mochi does for a client that acknowledges nothing
	}
	out.PacketID = uint16(id)
	full := cl.Properties.Props.ReceiveMaximum > 0 && cl.State.Inflight.Len() >= int(cl.Properties.Props.ReceiveMaximum)
	if full {
		out.Expiry = -1 // mochi's mark for: send it when another one is acknowledged
	}
	cl.State.Inflight.Set(out)
	if full {
		return nil
	}
	cl.State.Inflight.DecreaseSendQuota()
	return cl.WritePacket(out)
}

// matches says whether a topic filter covers a topic (MQTT 3.1.1, 4.7).
func matches(filter, topic string) bool {
	for {
		f, moreFilter, deeper := strings.Cut(filter, "/")
		if f == "#" {
			return true
		}
		t, moreTopic, more := strings.Cut(topic, "/")
		if f != "+" && f != t {
			return false
		}
		if !more {
			return !deeper || moreFilter == "#" // "a/#" covers "a" itself
		}
		if !deeper {
			return false
		}
		filter, topic = moreFilter, moreTopic
	}
}
