package delegates

// Real delegate plugins in real, caged workers: they answer, and what they die of
// is survived and told.

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"edgeagent/internal/pipeline"
	"edgeagent/internal/testplugin"
)

// pluginConfig is a chain of the fault delegate, in TFLite, and CPU.
func pluginConfig(t *testing.T, options map[string]string) (Config, *events) {
	t.Helper()
	cfg, ev := config(t, reluModel())
	lib, err := OpenTFLite(testplugin.TFLite(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lib.Close() })
	cfg.TFLite = lib
	cfg.Delegates = []Delegate{{Kind: External, Library: testplugin.Build(t), Options: options}}
	return cfg, ev
}

// tell says whether an event has these words.
func (e *events) tell(words string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.ContainsFunc(e.all, func(ev pipeline.Event) bool { return strings.Contains(ev.Text, words) })
}

func TestPluginsFaults(t *testing.T) {
	for _, tt := range []struct{ fault, why string }{
		{"fail-invoke", "fails as it was told to"},
		{"abort-at", "SIGABRT"},
		{"segfault-at", "SIGSEGV"},
		{"corrupt-heap-at", "SIG"},
		{"exit-at", "exit status 3"},
		{"hang-at", "no answer within"},
	} {
		t.Run(tt.fault, func(t *testing.T) {
			if tt.fault == "hang-at" && os.Getenv("EDGE_AGENT_TEST_LONG") == "" {
				t.Skip("in make test-delegates only: its deadline is 5 s")
			}
			cfg, ev := pluginConfig(t, map[string]string{tt.fault: "20"})
			c := openArmed(t, cfg)
			is(t, c, External, Active)
			p := &pump{t: t, c: c, cam: newCamera(t, c)}
			p.run(answeredBy(CPU, 3))
			if p.answered[0] != External {
				t.Errorf("the first frame was answered by %s", p.answered[0])
			}
			for end := time.Now().Add(10 * time.Second); !ev.tell(tt.why); {
				if time.Now().After(end) {
					t.Fatalf("no event tells %q: %v", tt.why, ev.kinds())
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
}

func TestPluginsThatAreAbsent(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*Config)
		why    string
	}{
		"no device":  {func(c *Config) { c.Delegates[0].Options = map[string]string{"absent": "1"} }, "there is no such device"},
		"no library": {func(c *Config) { c.Delegates[0].Library = "/nowhere/plugin.so" }, "its library /nowhere/plugin.so is not there"},
		"not named":  {func(c *Config) { c.Delegates[0].Library = "" }, "needs its library"},
		"no TFLite":  {func(c *Config) { c.TFLite = nil }, "it runs in a TFLite C library"},
		"crashes":    {func(c *Config) { c.Delegates[0].Options = map[string]string{"create": "abort"} }, "SIGABRT"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, _ := pluginConfig(t, nil)
			tt.change(&cfg)
			c := openArmed(t, cfg)
			want := Absent
			if name == "crashes" {
				want = Broken
			}
			if st := is(t, c, External, want); !strings.Contains(st.Reason, tt.why) {
				t.Errorf("%q, want %q", st.Reason, tt.why)
			}
			(&pump{t: t, c: c, cam: newCamera(t, c)}).run(answeredBy(CPU, 3))
		})
	}
}
