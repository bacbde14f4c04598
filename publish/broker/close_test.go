package broker

// The broker's end: what was published last reaches the subscribers.

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestCloseDelivers(t *testing.T) {
	for round := range 10 {
		b, err := Open(config(), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		var in [2]inbox
		for qos := range byte(2) {
			c := mustConnect(t, "tcp://"+b.Addr(), "", "")
			if k := c.Subscribe("edge/#", qos, in[qos].take); !k.WaitTimeout(patience) || k.Error() != nil {
				t.Fatal(k.Error())
			}
		}
		agent := mustConnect(t, "tcp://"+b.Addr(), "agent", secret)
		var want []string
		for i := range 100 { // not retained: those may come twice to who has just subscribed
			payload := fmt.Sprint(i)
			want = append(want, "edge/a/event="+payload)
			if k := agent.Publish("edge/a/event", 1, false, payload); i == 99 && !k.WaitTimeout(patience) {
				t.Fatal("no acknowledgement")
			}
		}
		agent.Disconnect(100)
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		for i := range in {
			t.Logf("round %d, QoS %d", round, i)
			in[i].await(t, strings.Join(want, " "))
		}
	}
}
