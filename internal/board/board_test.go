package board_test

// What is read of boards that are not at hand, and that the machine under the test
// reads at all.

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"edgeagent/internal/board"
	"edgeagent/internal/board/fake"
)

func TestBoards(t *testing.T) {
	type seen struct {
		model, cpu, os, camera, gpu, medium string
		maker                               board.Maker
		cores, cameras, tpus                int
		page                                int64
		csi, dotProducts, slow              bool
		throttling                          board.Throttling
		hottest                             float64
	}
	for _, c := range []struct {
		name string
		tree fake.Tree
		want seen
	}{
		{"Pi 4", fake.Pi4(), seen{
			model: "Raspberry Pi 4 Model B Rev 1.4", cpu: "Cortex-A72", os: "Debian GNU/Linux 12 (bookworm)", maker: board.RaspberryPi,
			camera: "/dev/video0 HD Pro Webcam C920", gpu: "v3d", medium: "SD card", cores: 4, cameras: 1, page: 4096, hottest: 71.575,
			throttling: board.Throttling{Known: true, UnderVoltage: true, Throttled: true, WasUnderVoltage: true, WasThrottled: true},
		}},
		{"Pi 5", fake.Pi5(), seen{
			model: "Raspberry Pi 5 Model B Rev 1.0", cpu: "Cortex-A76", os: "Debian GNU/Linux 13 (trixie)", maker: board.RaspberryPi,
			camera: "/dev/video0 rp1-cfe-csi2_ch0", csi: true, gpu: "v3d", medium: "NVMe", cores: 4, cameras: 1, page: 16384, dotProducts: true, hottest: 52.35,
			throttling: board.Throttling{Known: true},
		}},
		{"Jetson Orin", fake.Orin(), seen{
			model: "NVIDIA Jetson Orin Nano Developer Kit", cpu: "Cortex-A78AE", os: "Ubuntu 22.04.5 LTS", maker: board.Jetson,
			camera: "/dev/video0 HD Pro Webcam C920", medium: "NVMe", cores: 6, cameras: 1, page: 4096, dotProducts: true, hottest: 86.5,
			throttling: board.Throttling{Known: true, WasThrottled: true, Events: 7},
		}},
		{"Coral on USB 2", fake.CoralUSB2(), seen{
			model: "ASUSTeK COMPUTER INC. MINIPC PN50", cpu: "AMD Ryzen 5 4500U", os: "Debian GNU/Linux 12 (bookworm)", maker: board.Other,
			medium: "disk", cores: 2, page: 4096, tpus: 1, slow: true,
		}},
		{"an empty one", fake.Tree{}, seen{maker: board.Other}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := c.tree.Lay(t)
			b := r.Board()
			got := seen{
				model: b.Model, cpu: b.CPU, os: b.OS, maker: b.Maker, cores: b.Cores, page: b.PageSize,
				dotProducts: b.Has("asimddp"), throttling: r.Throttling(), gpu: r.GPUDriver(),
			}
			cams := r.Cameras()
			if got.cameras = len(cams); got.cameras > 0 {
				got.camera, got.csi = cams[0].Node.Path+" "+cams[0].Name, cams[0].CSI
			}
			tpus := r.EdgeTPUs()
			if got.tpus = len(tpus); got.tpus > 0 {
				got.slow = tpus[0].Speed == 480 && tpus[0].Fresh && tpus[0].Node.Path == "/dev/bus/usb/001/004"
			}
			for _, v := range r.Temperatures() {
				got.hottest = max(got.hottest, v)
			}
			if m, ok := r.MountOf("/var/lib/edge-agent"); ok {
				got.medium = r.Medium(m)
			}
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(seen{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestGroups(t *testing.T) {
	r := fake.Pi5().Lay(t)
	if diff := cmp.Diff([]string{"edge-agent", "plugdev", "render", "video"}, r.GroupsOf("edge-agent")); diff != "" {
		t.Error(diff)
	}
	if r.HasUser("pi") || !r.HasGroup("video") || r.HasGroup("vide") {
		t.Error("users or groups are found that are not there, or not those that are")
	}
	for _, c := range []struct {
		mode   os.FileMode
		groups []string
		want   bool
	}{
		{0o660, []string{"video"}, true},
		{0o660, []string{"render"}, false},
		{0o640, []string{"video"}, false},
		{0o600, []string{"video"}, false},
		{0o666, nil, true},
	} {
		if got := (board.Node{Mode: c.mode, Group: "video"}).Open(c.groups); got != c.want {
			t.Errorf("%o by %v: %v", c.mode, c.groups, got)
		}
	}
}

func TestMountOf(t *testing.T) {
	r := fake.Tree{
		"/proc/self/mountinfo": "" +
			"1 0 179:2 / / rw - ext4 /dev/mmcblk0p2 rw\n" +
			"2 1 0:40 / /var/lib/edge\\040agent ro,noatime - tmpfs tmpfs rw\n" +
			"3 1 0:41 / /var/lib/edge rw - ext4 /dev/sda1 rw\n" +
			"rubbish\n",
		"/sys/block/mmcblk0/device/type": "MMC",
	}.Lay(t)
	for path, want := range map[string]board.Mount{
		"/":                       {Device: "/dev/mmcblk0p2", Type: "ext4"},
		"/var/lib/edge-agent":     {Device: "/dev/mmcblk0p2", Type: "ext4"},
		"/var/lib/edge agent/x/y": {Device: "tmpfs", Type: "tmpfs", ReadOnly: true},
		"/var/lib/edge/x":         {Device: "/dev/sda1", Type: "ext4"},
	} {
		if got, ok := r.MountOf(path); !ok || got != want {
			t.Errorf("%s: %+v", path, got)
		}
	}
	if m, _ := r.MountOf("/"); r.Medium(m) != "eMMC" {
		t.Error(r.Medium(m))
	}
}

// TestThisMachine: whatever it is, it has a kernel, cores, memory and pages.
func TestThisMachine(t *testing.T) {
	b := board.Root("/").Board()
	if b.Kernel == "" || b.Cores == 0 || b.Memory == 0 || b.PageSize != int64(os.Getpagesize()) || len(b.Features) == 0 {
		t.Errorf("%+v", b)
	}
	if _, err := board.Formats("/dev/null/none"); err == nil {
		t.Error("formats of nothing")
	}
	if f, err := board.Formats("/dev/null"); err != nil || len(f) != 0 {
		t.Errorf("formats of /dev/null: %v %v", f, err)
	}
}
