package worker

// What the boundary between two processes costs.

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"testing"
	"time"

	seccomparch "github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/sys/unix"
)

// knownCalls are the names of system calls of the architectures we build for.
func knownCalls() map[string]bool {
	known := map[string]bool{}
	for _, a := range []*seccomparch.Info{seccomparch.X86_64, seccomparch.AARCH64, seccomparch.ARM, seccomparch.I386} {
		for name := range a.SyscallNames {
			known[name] = true
		}
	}
	return known
}

// BenchmarkRoundTrip is what the boundary costs a frame: one request and one reply
// of the hot kind between two processes. "paced" waits 5 ms between them, as a
// camera does, so that both sides have gone to sleep.
func BenchmarkRoundTrip(b *testing.B) {
	for name, pause := range map[string]time.Duration{"flat-out": 0, "paced": 5 * time.Millisecond} {
		b.Run(name, func(b *testing.B) {
			t := newBench(b)
			p := t.start()
			ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
			defer cancel()
			timeTrips(b, pause, func() error {
				_, _, err := p.Call(ctx, Message{Type: Fill, Seq: 1}, nil)
				return err
			})
		})
		b.Run("floor-"+name, func(b *testing.B) { timeTrips(b, pause, echoes(b)) })
	}
}

// timeTrips reports the percentiles of a round trip, made with a pause between two.
func timeTrips(b *testing.B, pause time.Duration, trip func() error) {
	took := make([]time.Duration, 0, 1<<17)
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		begun := time.Now()
		if err := trip(); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(begun))
		time.Sleep(pause)
	}
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1e3, "p50-us")
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds())/1e3, "p99-us")
}

// echoes is the floor: the same bytes over the same kind of socket between two
// processes that do nothing but block in read and write. What it takes is the
// kernel's and the machine's; what a round trip takes beyond it is ours.
func echoes(b *testing.B) func() error {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "echo")
	cmd := exec.Command(os.Args[0])
	cmd.Env, cmd.ExtraFiles = []string{roleVar + "=echo"}, []*os.File{theirs}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	_ = theirs.Close()
	b.Cleanup(func() {
		_ = unix.Close(fds[0])
		_ = cmd.Wait()
	})
	var buf [HeadSize]byte
	return func() error {
		if _, err := unix.Write(fds[0], buf[:]); err != nil {
			return err
		}
		_, err := unix.Read(fds[0], buf[:])
		return err
	}
}

// echoMain is the other end of echoes.
func echoMain() {
	runtime.LockOSThread()
	var buf [HeadSize]byte
	for {
		n, err := unix.Read(socketFD, buf[:])
		if err != nil || n == 0 {
			os.Exit(0)
		}
		if _, err := unix.Write(socketFD, buf[:n]); err != nil {
			os.Exit(0)
		}
	}
}

// The steady path allocates nothing, on either side.
func TestRoundTripAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	b := newBench(t)
	p := b.start()
	ctx := b.ctx()
	fill := func() {
		if _, _, err := p.Call(ctx, Message{Type: Fill, Seq: 1}, nil); err != nil {
			t.Fatal(err)
		}
	}
	const calls = 2000
	before := b.must(p, order{Do: "mallocs"}).Number
	if n := testing.AllocsPerRun(calls, fill); n != 0 {
		t.Errorf("daemon: %.2f allocations a call", n)
	}
	// The two orders themselves allocate in the worker, as JSON does.
	if n := b.must(p, order{Do: "mallocs"}).Number - before; n > calls/10 {
		t.Errorf("worker: %d allocations in %d calls", n, calls)
	}
}
