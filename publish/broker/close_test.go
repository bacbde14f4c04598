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
		for i := range 100 {
			want = append(want, fmt.Sprintf("edge/a/status=%d", i))
			agent.Publish("edge/a/status", 1, true, fmt.Sprint(i))
		}
		want = append(want, "edge/a/status=stopped")
		if err := publish(t, agent, "edge/a/status", "stopped"); err != nil {
			t.Fatal(err)
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
