package broker

// The broker's access rules.

import (
	"bytes"
	"context"
	"crypto/subtle"
	"log/slog"
	"strings"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// guard decides who may do what: the agent reads and writes under the prefix, the
// operator reads there and writes commands, clients without a name read there,
// everything else is denied.
type guard struct {
	mqtt.HookBase
	prefix, user, password     string
	operator, operatorPassword string // "": there is none
	discovery                  string // Home Assistant's prefix; "": none
}

// agentID is how the agents' client ids begin. Who takes one over throws its
// owner out.
const agentID = "edge-agent-"

// ID names the hook.
func (*guard) ID() string { return "guard" }

// Provides says which questions the guard answers.
func (*guard) Provides(b byte) bool {
	return b == mqtt.OnConnectAuthenticate || b == mqtt.OnACLCheck
}

// OnConnectAuthenticate lets the agent in by its password, and clients without a
// user name. These may have no last will, but Home Assistant's own: mochi publishes
// wills without asking OnACLCheck.
func (g *guard) OnConnectAuthenticate(_ *mqtt.Client, pk packets.Packet) bool {
	if pk.Connect.UsernameFlag && len(pk.Connect.Username) > 0 {
		if is(pk, g.operator, g.operatorPassword) && g.operator != "" && g.operatorPassword != "" {
			return g.will(pk) && !strings.HasPrefix(pk.Connect.ClientIdentifier, agentID)
		}
		return is(pk, g.user, g.password) && (!pk.Connect.WillFlag || g.under(pk.Connect.WillTopic))
	}
	return g.will(pk) && !strings.HasPrefix(pk.Connect.ClientIdentifier, agentID)
}

// will says whether somebody who is not the agent may have this last will.
func (g *guard) will(pk packets.Packet) bool {
	return !pk.Connect.WillFlag || g.birth(pk.Connect.WillTopic)
}

// birth says whether a topic is where Home Assistant tells that it comes and goes.
func (g *guard) birth(topic string) bool { return g.discovery != "" && topic == g.discovery+"/status" }

// is says whether a client has given this name and password.
func is(pk packets.Packet, user, password string) bool {
	return subtle.ConstantTimeCompare(pk.Connect.Username, []byte(user))&
		subtle.ConstantTimeCompare(pk.Connect.Password, []byte(password)) == 1
}

// OnACLCheck is asked for every publish, every subscription and every delivery.
func (g *guard) OnACLCheck(cl *mqtt.Client, topic string, write bool) bool {
	name := cl.Properties.Username
	switch {
	case write && g.birth(topic):
		return true
	case !g.under(topic) && !below(topic, g.discovery):
		return false
	case !write, bytes.Equal(name, []byte(g.user)):
		return true
	}
	return g.operator != "" && bytes.Equal(name, []byte(g.operator)) && g.under(topic) && strings.HasSuffix(topic, "/set")
}

// under says whether a topic or filter can only match topics under the prefix.
func (g *guard) under(topic string) bool { return below(topic, g.prefix) }

func below(topic, prefix string) bool {
	rest, ok := strings.CutPrefix(topic, prefix)
	return prefix != "" && ok && (rest == "" || rest[0] == '/')
}

// quiet keeps mochi's log down: what it calls a warning (a client that left
// without goodbye, a short keep-alive) is nothing that the agent's user can act
// on, and its information repeats ours.
func quiet(log *slog.Logger) *slog.Logger { return slog.New(quietHandler{log.Handler()}) }

type quietHandler struct{ slog.Handler }

// Enabled lets errors pass, and warnings where debugging is on.
func (h quietHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelError || l >= slog.LevelWarn && h.Handler.Enabled(ctx, slog.LevelDebug)
}

// Handle lowers warnings to debug and errors to warnings.
func (h quietHandler) Handle(ctx context.Context, r slog.Record) error {
	level := slog.LevelDebug
	if r.Level >= slog.LevelError {
		level = slog.LevelWarn
	}
	out := slog.NewRecord(r.Time, level, "embedded broker: "+r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "error" || a.Key == "client" { // others hold whole packets, with passwords
			out.AddAttrs(a)
		}
		return true
	})
	return h.Handler.Handle(ctx, out)
}

// WithAttrs keeps the wrapper around the derived handler.
func (h quietHandler) WithAttrs(a []slog.Attr) slog.Handler {
	return quietHandler{h.Handler.WithAttrs(a)}
}

// WithGroup keeps the wrapper around the derived handler.
func (h quietHandler) WithGroup(name string) slog.Handler {
	return quietHandler{h.Handler.WithGroup(name)}
}
