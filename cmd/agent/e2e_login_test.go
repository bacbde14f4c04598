package main

// The page behind its login, end to end: pictures with what MQTT says of the same
// frame, commands by the same rules as over MQTT, a reload that is refused.

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image/jpeg"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// visitor is a browser of few words.
type visitor struct {
	t    *testing.T
	page string
	http *http.Client
}

func newVisitor(t *testing.T, page string) *visitor {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return &visitor{t, page, &http.Client{Jar: jar}}
}

// ask sends a request, with a JSON body if there is one.
func (v *visitor) ask(path, body string) (code int, answer []byte, h http.Header) {
	v.t.Helper()
	method := http.MethodGet
	if body != "" {
		method = http.MethodPost
	}
	r, err := http.NewRequestWithContext(v.t.Context(), method, v.page+path, strings.NewReader(body))
	if err != nil {
		v.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	a, err := v.http.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer func() { _ = a.Body.Close() }()
	if answer, err = io.ReadAll(a.Body); err != nil {
		v.t.Fatal(err)
	}
	return a.StatusCode, answer, a.Header
}

// want asks and wants a code and a part of the answer.
func (v *visitor) want(path, body string, code int, part string) {
	v.t.Helper()
	if got, answer, _ := v.ask(path, body); got != code || !strings.Contains(string(answer), part) {
		v.t.Errorf("%s %s: %d %.300s; want %d %s", path, body, got, answer, code, part)
	}
}

// loginRoad is an agent with a login, whose page stays at its port.
func loginRoad(t *testing.T) *road {
	t.Helper()
	r := newRoad(t, "embedded", realtime).changed(`web: {listen: "127.0.0.1:0"}`,
		fmt.Sprintf("commands: {allow: [enabled, snapshot, delegate]}\nweb: {listen: \"127.0.0.1:%s\", username: admin, password_file: hash, pprof: true}", freePort(t)))
	var out bytes.Buffer
	if code := run([]string{"passwd", filepath.Join(r.dir, "hash")}, strings.NewReader("correct horse\n"), &out, &out); code != 0 {
		t.Fatal(out.String())
	}
	r.detached = true // SIGHUP is a reload
	r.layClip()
	r.start()
	return r
}

func TestPageBehindALogin(t *testing.T) {
	t.Parallel()
	r := loginRoad(t)
	w := watch(t, r.embedded(), "edge/#", "login-watcher")
	v := newVisitor(t, r.page())
	for _, path := range []string{"/api/state", "/api/events", "/api/snapshot/clip", "/api/config", "/api/log", "/api/model/objects", "/debug/pprof/heap"} {
		v.want(path, "", 401, "log in first")
	}
	v.want("/api/camera/clip/set", `{"enabled":false}`, 401, "log in first")
	v.want("/api/login", `{"username":"admin","password":"wrong"}`, 401, "wrong name or password")
	v.want("/api/login", `{"username":"admin","password":"correct horse"}`, 204, "")
	v.want("/api/session", "", 200, `"user":"admin"`)

	checkPictures(t, v, w)
	v.want("/api/model/objects", "", 200, `"golden":{"input":"manifest","answered":true}`)
	v.want("/api/model/objects/page", "", 200, "<html")
	v.want("/api/log", "", 200, "model ready")
	v.want("/debug/pprof/heap?debug=1", "", 200, "heap profile")

	set := func(path, body string, code int, part string) {
		t.Helper()
		v.want(path, body, code, part)
	}
	set("/api/camera/clip/set", `{"id":"p1","enabled":false}`, 200, `"ok":true`)
	await(t, "the camera to be off, as MQTT tells it", func() bool { r.alive(); return w.last("camera/clip/status") == "disabled" })
	await(t, "the outcome", func() bool { o := w.outcomeOn("camera/clip/state"); return o.ID == "p1" && o.OK })
	await(t, "the last picture to be too old", func() bool { code, _, _ := v.ask("/api/snapshot/clip", ""); return code != http.StatusOK })
	v.want("/api/snapshot/clip", "", 503, "camera clip is disabled")
	set("/api/camera/clip/set", `{"id":"p2","enabled":true}`, 200, `"ok":true`)
	set("/api/camera/clip/set", `{"fps":1}`, 403, "the config does not allow it (add fps to commands.allow)")
	set("/api/camera/clip/set", `{"device":"/dev/sda"}`, 400, "there is no setting")
	set("/api/camera/nobody/set", `{"enabled":true}`, 404, "there is no camera nobody")
	set("/api/camera/clip/set", `{"snapshot":true}`, 409, "lets no picture go to MQTT")
	set("/api/model/objects/delegate/set", `{"check":"cpu"}`, 409, "cpu is what the others are held against")

	refusedReload(t, r, v)
	if s := r.stderr.String() + r.stdout.String(); strings.Contains(s, "horse") || strings.Contains(s, "$2a$") {
		t.Error("the password or its hash was told")
	}
	if kinds, _ := w.events(); !slices.Contains(kinds, "command") {
		t.Errorf("events: %v", kinds)
	}
	v.want("/api/logout", "{}", 204, "")
	v.want("/api/state", "", 401, "")
	r.stop()
}

// checkPictures wants pictures that move, of the size that the page has, and with
// each what MQTT says of the same frame.
func checkPictures(t *testing.T, v *visitor, w *watcher) {
	t.Helper()
	same := map[uint64]bool{}
	await(t, "three pictures with the results of their frames", func() bool {
		code, picture, h := v.ask("/api/snapshot/clip", "")
		if code == http.StatusServiceUnavailable {
			return false // the camera has just come
		}
		var view pictureView
		text, err := url.PathUnescape(h.Get("Edge-View"))
		if err == nil {
			err = json.Unmarshal([]byte(text), &view)
		}
		if code != http.StatusOK || err != nil {
			t.Fatalf("%d %v %s", code, err, text)
		}
		if c, err := jpeg.DecodeConfig(bytes.NewReader(picture)); err != nil || c.Width > pageWidth {
			t.Fatalf("%+v %v", c, err)
		}
		if len(view.Sights) != 1 || view.Sights[0].Seq != view.Seq {
			return false
		}
		rs := w.results("clip", "objects")
		i := slices.IndexFunc(rs, func(r result) bool { return r.Seq == view.Seq })
		if i < 0 {
			return false // on its way
		}
		if rs[i].top() != view.Sights[0].Label {
			t.Fatalf("frame %d: the picture says %s, MQTT %s", view.Seq, view.Sights[0].Label, rs[i].top())
		}
		same[view.Seq] = true
		return len(same) >= 3
	})
}

// refusedReload breaks the config: the page shows where, and who is logged in stays
// so, then and after a good one.
func refusedReload(t *testing.T, r *road, v *visitor) {
	t.Helper()
	schemas, err := loadSchemas()
	if err != nil {
		t.Fatal(err)
	}
	good := r.config()
	reload := func(text string) {
		t.Helper()
		write(t, filepath.Join(r.dir, "config.yaml"), text)
		if err := syscall.Kill(r.pid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	reload(strings.Replace(good, "fps: 10", "fpss: 10", 1) + "# rtsp://user:hunter2@camera/\n")
	var c configView
	await(t, "the refused config", func() bool {
		code, answer, _ := v.ask("/api/config", "")
		if code != http.StatusOK {
			t.Fatalf("%d %s", code, answer)
		}
		if err := schemas.Validate(answer); err != nil {
			t.Fatalf("%v\n%s", err, answer)
		}
		c = configView{}
		return json.Unmarshal(answer, &c) == nil && c.Status == configRefused
	})
	if len(c.Problems) != 1 || !strings.Contains(strings.Split(c.Text, "\n")[c.Problems[0].Line-1], "fpss") {
		t.Errorf("%+v in\n%s", c.Problems, c.Text)
	}
	if strings.Contains(c.Text, "hunter2") {
		t.Error("a password of the config is shown")
	}
	boot := func() (s struct{ State struct{ Boot string } }) {
		code, answer, _ := v.ask("/api/state", "")
		if code != http.StatusOK {
			t.Fatalf("%d %s", code, answer)
		}
		_ = json.Unmarshal(answer, &s)
		return s
	}
	was := boot().State.Boot
	reload(good)
	await(t, "the agent of the good config", func() bool {
		r.alive()
		if strings.Count(r.stdout.String(), "Page: ") < 2 {
			return false
		}
		b := boot().State.Boot
		return b != "" && b != was
	})
	v.want("/api/config", "", 200, `"status":"in use"`)
}

// TestPasswd: what it takes and leaves.
func TestPasswd(t *testing.T) {
	for _, c := range []struct {
		args  []string
		stdin string
		code  int
		says  string
	}{
		{[]string{"passwd"}, "", 64, "name one file"},
		{[]string{"passwd", "a", "b"}, "", 64, "name one file"},
		{[]string{"passwd", filepath.Join(t.TempDir(), "hash")}, "short\n", 65, "a password has 8 to 72 bytes, this one 5"},
		{[]string{"passwd", filepath.Join(t.TempDir(), "no", "hash")}, "correct horse", 74, "no such file or directory"},
		{[]string{"passwd", filepath.Join(t.TempDir(), "hash")}, "correct horse", 0, "written: "},
	} {
		var out bytes.Buffer
		if code := run(c.args, strings.NewReader(c.stdin), &out, &out); code != c.code || !strings.Contains(out.String(), c.says) {
			t.Errorf("%v: %d %s; want %d %s", c.args, code, out.String(), c.code, c.says)
		}
	}
}
