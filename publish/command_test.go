package publish

// Commands: what passes, what is refused in which words, what no payload can do.

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

var everyTarget = []Target{{}, {TargetCamera, "front"}, {TargetModel, "objects"}, {TargetDelegates, "objects"}}

func TestParseCommand(t *testing.T) {
	agent, cam, mod, del := everyTarget[0], everyTarget[1], everyTarget[2], everyTarget[3]
	for _, c := range []struct {
		target Target
		in     string
		err    string // "": it passes
	}{
		{agent, `{"log_level":"debug"}`, ""},
		{agent, `{"id":"a-1","restart":true}`, ""},
		{cam, ` { "id" : "x" , "enabled" : false, "fps": 2.5 } `, ""},
		{cam, `{"snapshot":true}`, ""},
		{mod, `{"threshold":0.25}`, ""},
		{del, `{"force":"gpu"}`, ""},
		{del, `{"check":"edgetpu:0"}`, ""},

		{cam, ``, "it is no JSON object"},
		{cam, `[]`, "it is no JSON object"},
		{cam, `null`, "it is no JSON object"},
		{cam, `{"fps":1`, "it is no JSON object"},
		{cam, `{"fps":1,}`, "it is no JSON object"},
		{cam, `{"fps":01}`, "it is no JSON object"},
		{cam, `{"fps":NaN}`, "it is no JSON object"},
		{cam, `{"fps":1} {"fps":2}`, "something follows the JSON object"},
		{cam, `{"fps":1,"fps":2}`, `"fps" is there twice`},
		{cam, `{}`, "it sets nothing; there are enabled, fps, snapshot"},
		{cam, `{"id":"x"}`, "it sets nothing; there are enabled, fps, snapshot"},
		{cam, `{"FPS":1}`, `there is no setting "FPS" here; there are enabled, fps, snapshot`},
		{cam, `{"source":"/etc/passwd"}`, `there is no setting "source" here; there are enabled, fps, snapshot`},
		{cam, `{"fps":"1"}`, "fps: a number from 0 to 1000 is needed"},
		{cam, `{"fps":-1}`, "fps: a number from 0 to 1000 is needed"},
		{cam, `{"fps":1e9}`, "fps: a number from 0 to 1000 is needed"},
		{cam, `{"fps":1e999}`, "fps: a number from 0 to 1000 is needed"},
		{cam, `{"fps":null}`, "fps: a number from 0 to 1000 is needed"},
		{cam, `{"enabled":"yes"}`, "enabled: true or false is needed"},
		{cam, `{"enabled":null}`, "enabled: true or false is needed"},
		{cam, `{"snapshot":false}`, "snapshot: true is needed"},
		{cam, `{"id":"","fps":1}`, "id: 1 to 64 letters, digits and . _ : - are needed"},
		{cam, `{"id":7,"fps":1}`, "id: 1 to 64 letters, digits and . _ : - are needed"},
		{cam, `{"id":"a b","fps":1}`, "id: 1 to 64 letters, digits and . _ : - are needed"},
		{cam, `{"id":"` + strings.Repeat("x", 65) + `","fps":1}`, "id: 1 to 64 letters, digits and . _ : - are needed"},
		{agent, `{"log_level":"loud"}`, "log_level: one of debug, info, warn, error is needed"},
		{agent, `{"log_level":["debug"]}`, "log_level: one of debug, info, warn, error is needed"},
		{agent, `{"restart":1}`, "restart: true is needed"},
		{agent, `{"fps":1}`, `there is no setting "fps" here; there are log_level, restart`},
		{mod, `{"threshold":1.5}`, "threshold: a number from 0 to 1 is needed"},
		{mod, `{"file":"http://x/y.tflite"}`, `there is no setting "file" here; there are threshold`},
		{del, `{"force":"../../x"}`, "force: a delegate's name is needed, as in the delegate state"},
		{del, `{"force":"gpu","release":"gpu"}`, "one of force, release and check at a time"},
		{cam, `{"` + strings.Repeat("x", 5000) + `":1}`, "a command has at most 4096 bytes, this one 5006"},
	} {
		got, err := ParseCommand(c.target, []byte(c.in))
		if fmt.Sprint(err) != c.err && (err != nil || c.err != "") {
			t.Errorf("%s %.80s\n got %v\nwant %s", c.target, c.in, err, c.err)
		}
		if err == nil && len(got.Settings) == 0 {
			t.Errorf("%s: %+v", c.in, got)
		}
	}
	c, err := ParseCommand(cam, []byte(`{"id":"x","fps":2.5,"enabled":false}`))
	if err != nil || c.ID != "x" || *c.FPS != 2.5 || *c.Enabled || fmt.Sprint(c.Settings) != "[fps enabled]" {
		t.Errorf("%+v %v", c, err)
	}
}

// FuzzCommand: whatever passes is within its bounds and reads the same when it is
// written again; whatever does not has an error of one line.
func FuzzCommand(f *testing.F) {
	for _, s := range []string{`{"id":"a","enabled":true,"fps":5}`, `{"threshold":0.5}`, `{"force":"gpu"}`, `{"log_level":"warn","restart":true}`, `{"fps":1,"fps":2}`, `{"\u0066ps":1}`, `{"a":[[[[]]]]}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, target := range everyTarget {
			c, err := ParseCommand(target, b)
			if err != nil {
				if strings.Contains(err.Error(), "\n") || len(err.Error()) > 300 {
					t.Errorf("%q", err)
				}
				continue
			}
			if len(b) > maxCommand || !json.Valid(b) || len(c.Settings) == 0 || len(c.ID) > 64 || c.FPS != nil && (*c.FPS < 0 || *c.FPS > 1000) ||
				c.Threshold != nil && (*c.Threshold < 0 || *c.Threshold > 1) || len(c.Delegate) > 63 || strings.ContainsAny(c.Delegate, "/ \x00") {
				t.Errorf("%q: %+v", b, c)
			}
			for _, s := range c.Settings {
				if !slices.Contains(Settings(), Allow(s)) {
					t.Errorf("%s is no setting", s)
				}
			}
		}
	})
}

// handled notes what a handler gets.
type handled struct {
	mu   sync.Mutex
	list []string
}

func (h *handled) handle(c Command, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		h.list = append(h.list, fmt.Sprintf("%s %s refused", c.Target, c.ID))
		return
	}
	h.list = append(h.list, fmt.Sprintf("%s %s %v", c.Target, c.ID, c.Settings))
}

func (h *handled) all() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.list)
}

// sender is a client that may write commands.
func sender(t *testing.T, addr, user, password string) func(topic string, retained bool, payload string) {
	t.Helper()
	c := login(t, addr, user, password)
	return func(topic string, retained bool, payload string) {
		t.Helper()
		if k := c.Publish(base+topic, 1, retained, payload); !k.WaitTimeout(patience) || k.Error() != nil {
			t.Fatal(k.Error())
		}
	}
}

// tries publishes what a broker may refuse, by closing the connection too.
func tries(t *testing.T, addr, user, password, topic, payload string) {
	t.Helper()
	login(t, addr, user, password).Publish(base+topic, 1, false, payload).WaitTimeout(patience)
}

func login(t *testing.T, addr, user, password string) mqtt.Client {
	t.Helper()
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + addr).SetProtocolVersion(4).SetAutoReconnect(false).
		SetUsername(user).SetPassword(password))
	if k := c.Connect(); !k.WaitTimeout(patience) || k.Error() != nil {
		t.Fatal("sender:", k.Error())
	}
	t.Cleanup(func() { c.Disconnect(100) })
	return c
}

// TestCommands arrive once, in order, only when they are fresh.
func TestCommands(t *testing.T) {
	onEach(t, func(t *testing.T, b testBroker) {
		send := sender(t, b.addr(), testOperator, testPassword)
		o := observe(t, b.addr())
		send("camera/front/set", true, `{"id":"old","enabled":false}`) // before the agent is there
		await(t, "the broker to have passed it on", func() bool { return o.last(base+"camera/front/set") != "" })
		h := &handled{}
		c := testConfig("tcp://" + b.addr())
		c.Commands = h.handle
		p := open(t, c)
		await(t, "the retained one to be ignored", func() bool { return p.Stats().Commands.Ignored == 1 })
		send("set", false, `{"id":"1","log_level":"warn"}`)
		send("camera/front/set", false, `{"id":"2","fps":5}`)
		send("camera/front/set", false, `{"id":"2","fps":5}`) // delivered twice
		send("model/objects/set", false, `{"id":"2","threshold":0.5}`)
		send("model/objects/delegate/set", false, `{"force":"gpu"}`)
		send("camera/front/set", false, `{"id":"3","fps":5,"shell":"rm"}`)
		send("camera/front/set", false, `{"id":"4","fps":`+strings.Repeat(" ", 5000)+`5}`)
		await(t, "all commands", func() bool { return len(h.all()) == 6 })
		want := []string{" 1 [log_level]", "camera/front 2 [fps]", "model/objects 2 [threshold]", "model/objects/delegate  [force]", "camera/front 3 refused", "camera/front  refused"}
		if got := h.all(); !slices.Equal(got, want) {
			t.Errorf("%q", got)
		}
		if s := p.Stats().Commands; s.Taken != 4 || s.Refused != 2 || s.Ignored != 2 || s.Limited != 0 {
			t.Errorf("%+v", s)
		}
		for i := range 50 { // a flood costs nothing but itself
			send("camera/front/set", false, fmt.Sprintf(`{"id":"f%d","fps":1}`, i))
		}
		await(t, "the flood to be over", func() bool {
			s := p.Stats().Commands
			return s.Taken+s.Limited == 54 && s.Limited >= 30
		})
	})
}

// TestNoCommandsUnlessAsked: without a handler nothing is subscribed to.
func TestNoCommandsUnlessAsked(t *testing.T) {
	onEach(t, func(t *testing.T, b testBroker) {
		p := open(t, testConfig("tcp://"+b.addr()))
		await(t, "a connection", func() bool { return p.Stats().Connected })
		sender(t, b.addr(), testOperator, testPassword)("camera/front/set", false, `{"fps":1}`)
		put(t, p, 1, 1)
		await(t, "the result", func() bool { return p.Stats().Messages == 0 })
		if s := p.Stats().Commands; s != (CommandStats{}) {
			t.Errorf("%+v", s)
		}
	})
}

// TestCommandWithoutTheRight does nothing: the broker does not pass it on.
func TestCommandWithoutTheRight(t *testing.T) {
	t.Run("embedded", func(t *testing.T) {
		b := &embedded{}
		b.start(t)
		h := &handled{}
		c := testConfig("tcp://" + b.addr())
		c.Commands = h.handle
		p := open(t, c)
		await(t, "a connection", func() bool { return p.Stats().Connected })
		tries(t, b.addr(), "", "", "camera/front/set", `{"id":"bad","enabled":false}`)
		tries(t, b.addr(), testOperator, testPassword, "status", "offline") // an operator writes commands and nothing else
		operator := sender(t, b.addr(), testOperator, testPassword)
		operator("camera/front/set", false, `{"id":"good","enabled":false}`)
		await(t, "the good one", func() bool { return len(h.all()) > 0 })
		if got := h.all(); !slices.Equal(got, []string{"camera/front good [enabled]"}) {
			t.Errorf("%q", got)
		}
		if s := observe(t, b.addr()); s.last(base+"status") == "offline" {
			t.Error("the operator wrote the status")
		}
	})
	t.Run("mosquitto", func(t *testing.T) {
		m := newMosquitto(t).(*mosquitto)
		acl := filepath.Join(m.dir, "acl")
		rules := "topic read edge/#\nuser " + testUser + "\ntopic readwrite edge/#\nuser " + testOperator + "\ntopic read edge/#\ntopic write edge/+/set\ntopic write edge/+/camera/+/set\n"
		conf := string(must(os.ReadFile(filepath.Join(m.dir, "conf"))))
		for path, text := range map[string]string{acl: rules, filepath.Join(m.dir, "conf"): "acl_file " + acl + "\n" + conf} {
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		m.start(t)
		h := &handled{}
		c := testConfig("tcp://" + m.addr())
		c.Commands = h.handle
		p := open(t, c)
		await(t, "a connection", func() bool { return p.Stats().Connected })
		tries(t, m.addr(), "", "", "camera/front/set", `{"id":"bad","enabled":false}`)
		operator := sender(t, m.addr(), testOperator, testPassword)
		operator("model/objects/set", false, `{"id":"bad","threshold":1}`) // its rules do not name this one
		operator("camera/front/set", false, `{"id":"good","enabled":false}`)
		await(t, "the good one", func() bool { return len(h.all()) > 0 })
		if got := h.all(); !slices.Equal(got, []string{"camera/front good [enabled]"}) {
			t.Errorf("%q", got)
		}
	})
}

// TestBrokerForbidsCommands: results go on, and the log says which right is missing.
func TestBrokerForbidsCommands(t *testing.T) {
	m := newMosquitto(t).(*mosquitto)
	if _, err := exec.LookPath("mosquitto_sub"); err != nil {
		t.Skip("no mosquitto_sub here: install the package mosquitto-clients")
	}
	acl := filepath.Join(m.dir, "acl")
	conf := string(must(os.ReadFile(filepath.Join(m.dir, "conf"))))
	for path, text := range map[string]string{acl: "topic read edge/#\nuser " + testUser + "\ntopic write edge/#\n", filepath.Join(m.dir, "conf"): "acl_file " + acl + "\n" + conf} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	m.start(t)
	h := &handled{}
	c := testConfig("tcp://" + m.addr())
	c.Commands = h.handle
	p := open(t, c)
	put(t, p, 1, 3)
	await(t, "the results", func() bool { return p.Stats().Messages == 0 })
	sender(t, m.addr(), "", "")("camera/front/set", false, `{"fps":1}`)
	time.Sleep(50 * time.Millisecond) // for what must not come
	if got := h.all(); len(got) != 0 {
		t.Errorf("%q", got)
	}
}
