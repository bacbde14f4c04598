package worker

// The cage, tried from inside by threads made before and after it.

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// probes try what a cage should refuse or allow; each runs in the caged worker.
var probes = map[string]func(paths map[string]string) error{
	"read allowed":      func(p map[string]string) error { return read(p["allowed"]) },
	"read allowed file": func(p map[string]string) error { return read(p["allowed file"]) },
	"read outside":      func(p map[string]string) error { return read(p["outside"]) },
	"read own proc":     func(map[string]string) error { return read("/proc/self/statm") },
	"read parent proc":  func(map[string]string) error { return read("/proc/1/stat") },
	"read libc cache":   func(map[string]string) error { return read("/etc/ld.so.cache") },
	"read cpus":         func(map[string]string) error { return read("/sys/devices/system/cpu/online") },
	"write null":        func(map[string]string) error { return os.WriteFile("/dev/null", []byte("x"), 0) },
	"write cache":       func(p map[string]string) error { return os.WriteFile(p["cache"]+"/new", []byte("x"), 0o600) },
	"mkdir in cache":    func(p map[string]string) error { _, err := os.MkdirTemp(p["cache"], ""); return err },
	"write allowed":     func(p map[string]string) error { return os.WriteFile(p["allowed"], []byte("x"), 0o600) },
	"write outside":     func(p map[string]string) error { return os.WriteFile(p["outside"]+".new", []byte("x"), 0o600) },
	"inet socket":       func(map[string]string) error { return socket(unix.AF_INET) },
	"inet6 socket":      func(map[string]string) error { return socket(unix.AF_INET6) },
	"packet socket":     func(map[string]string) error { return socket(unix.AF_PACKET) },
	"netlink socket":    func(map[string]string) error { return socket(unix.AF_NETLINK) },
	"unix socket":       func(map[string]string) error { return socket(unix.AF_UNIX) },
	"execve":            func(map[string]string) error { return syscall.Exec("/bin/true", []string{"true"}, nil) },
	"ptrace":            func(map[string]string) error { return unix.PtraceAttach(os.Getppid()) },
	"signal parent":     func(map[string]string) error { return unix.Kill(os.Getppid(), 0) },
	"signal self":       func(map[string]string) error { return unix.Kill(os.Getpid(), 0) },
	"unshare":           func(map[string]string) error { return unix.Unshare(unix.CLONE_NEWUSER) },
	"mount":             func(map[string]string) error { return unix.Mount("none", "/", "tmpfs", 0, "") },
	"fchmod":            func(map[string]string) error { return unix.Fchmod(0, 0o666) },
	"new user space": func(map[string]string) error {
		_, _, errno := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.CLONE_NEWUSER), 0, 0, 0, 0, 0)
		return nilErrno(errno)
	},
	"clone3": func(map[string]string) error {
		_, _, errno := unix.RawSyscall(unix.SYS_CLONE3, 0, 0, 0)
		return nilErrno(errno)
	},
	"io_uring": func(map[string]string) error {
		_, _, errno := unix.RawSyscall(unix.SYS_IO_URING_SETUP, 1, 0, 0)
		return nilErrno(errno)
	},
	"bpf": func(map[string]string) error {
		_, _, errno := unix.RawSyscall(unix.SYS_BPF, 0, 0, 0)
		return nilErrno(errno)
	},
	"dumpable": func(map[string]string) error {
		if n, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err != nil || n != 0 {
			return errors.New("dumpable")
		}
		return nil
	},
}

func nilErrno(e unix.Errno) error {
	if e == 0 {
		return nil
	}
	return e
}

func read(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	_, err = f.Read(make([]byte, 1))
	return err
}

func socket(family int) error {
	fd, err := unix.Socket(family, unix.SOCK_DGRAM, 0)
	if err == nil {
		_ = unix.Close(fd)
	}
	return err
}

// probeCage restricts the worker and runs all probes on three threads: this one,
// one that was there before and one that was made after.
func probeCage(c *Child, o order) (Cage, map[string]string) {
	var mu sync.Mutex
	got := map[string]string{}
	probe := func(thread string) {
		for name, f := range probes {
			word := "ok"
			if err := f(o.Paths); err != nil {
				var errno unix.Errno
				if word = err.Error(); errors.As(err, &errno) {
					word = unix.ErrnoName(errno)
				}
			}
			mu.Lock()
			got[thread+": "+name] = word
			mu.Unlock()
		}
	}
	thread := func(name string, begin <-chan struct{}) <-chan struct{} {
		there, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			runtime.LockOSThread() // the thread ends with the goroutine
			close(there)
			<-begin
			probe(name)
		}()
		<-there
		return done
	}
	begin := make(chan struct{})
	before := thread("before", begin)
	cage := c.Restrict(o.Caging)
	close(begin)
	<-before
	<-thread("after", begin)
	probe("self")
	for _, tid := range threads() { // and every other thread there is
		b, err := os.ReadFile("/proc/self/task/" + tid + "/status")
		if err == nil && (!strings.Contains(string(b), "NoNewPrivs:\t1") || !strings.Contains(string(b), "Seccomp:\t2")) {
			got["thread "+tid] = "free"
		}
	}
	return cage, got
}

func threads() (tids []string) {
	list, _ := os.ReadDir("/proc/self/task")
	for _, e := range list {
		tids = append(tids, e.Name())
	}
	return tids
}

// want is what each probe must say; the second word is what it says when the
// kernel has no Landlock.
func TestCage(t *testing.T) {
	b := newBench(t)
	dir := t.TempDir()
	paths := map[string]string{}
	for name, file := range map[string]string{"allowed": "in/a", "allowed file": "one/f", "outside": "out/b", "cache": "cache"} {
		paths[name] = filepath.Join(dir, file)
		if name == "cache" {
			if err := os.Mkdir(paths[name], 0o700); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.Mkdir(filepath.Dir(paths[name]), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(paths[name], []byte("secret"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	caging := Caging{Read: []string{filepath.Dir(paths["allowed"]), paths["allowed file"], "/no/such/file"}, Write: []string{paths["cache"]}}

	t.Run("infer", func(t *testing.T) {
		p := b.start()
		if want := (Cage{NoNewPrivs: true, NoDump: true, Seccomp: true}); p.Cage != want {
			t.Skipf("this kernel gives %s at the start, want %s", p.Cage, want)
		}
		pool := newTestPool(t, 1, 100)
		got := b.must(p, order{Do: "cage", Caging: caging, Paths: paths})
		checkCage(t, got, false)
		if err := p.Attach(b.ctx(), pool, true); err != nil {
			t.Errorf("a pool after Restrict: %v", err)
		}
		if pool.Header().Resident.Load() == 0 {
			t.Error("the caged worker cannot see its own memory")
		}
		t.Log(got.Cage)
	})
	t.Run("network", func(t *testing.T) {
		p := b.start()
		if !p.Cage.Seccomp {
			t.Skip("this kernel has no seccomp")
		}
		caging := caging
		caging.Network = true
		checkCage(t, b.must(p, order{Do: "cage", Caging: caging, Paths: paths}), true)
	})
	t.Run("netlink", func(t *testing.T) {
		p := b.start()
		if !p.Cage.Seccomp {
			t.Skip("this kernel has no seccomp")
		}
		got := b.must(p, order{Do: "cage", Caging: Caging{Netlink: true}, Paths: paths}).Got
		if got["self: netlink socket"] != "ok" || got["self: inet socket"] != "EPERM" {
			t.Errorf("netlink %s, inet %s", got["self: netlink socket"], got["self: inet socket"])
		}
	})
}

func checkCage(t *testing.T, got told, network bool) {
	t.Helper()
	inet := "EPERM"
	if network {
		inet = "ok"
	}
	want := map[string]string{
		"read allowed": "ok", "read allowed file": "ok", "read own proc": "ok", "read libc cache": "ok", "read cpus": "ok",
		"write null": "ok", "write cache": "ok",
		"mkdir in cache": "ok", "unix socket": "ok", "signal self": "ok", "dumpable": "ok",
		"read outside": "EACCES", "read parent proc": "EACCES", "write allowed": "EACCES", "write outside": "EACCES",
		"inet socket": inet, "inet6 socket": inet, "netlink socket": inet, "packet socket": "EPERM",
		"execve": "EPERM", "ptrace": "EPERM", "signal parent": "EPERM", "unshare": "EPERM", "mount": "EPERM",
		"fchmod": "EPERM", "new user space": "EPERM", "clone3": "ENOSYS", "io_uring": "EPERM", "bpf": "EPERM",
	}
	if len(want) != len(probes) {
		t.Fatalf("%d answers for %d probes", len(want), len(probes))
	}
	for _, thread := range []string{"self", "before", "after"} {
		for name, w := range want {
			if w == "EACCES" && got.Cage.Landlock == 0 {
				continue
			}
			if g := got.Got[thread+": "+name]; g != w {
				t.Errorf("thread %s: %s: %s, want %s", thread, name, g, w)
			}
		}
	}
	for name, word := range got.Got {
		if strings.HasPrefix(name, "thread ") {
			t.Errorf("%s: %s", name, word)
		}
	}
	if got.Cage.Landlock == 0 {
		t.Log("this kernel has no Landlock: files were not tried")
	}
	if !got.Cage.Sockets {
		t.Error("sockets are not restricted")
	}
}

func TestCageWords(t *testing.T) {
	for want, c := range map[string]Cage{
		"none":                                  {},
		"no new privileges, landlock 3":         {NoNewPrivs: true, Landlock: 3},
		"no dumps, seccomp, sockets restricted": {NoDump: true, Seccomp: true, Sockets: true},
	} {
		if got := c.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// Each name is one that some architecture knows: a typing error would refuse nothing.
func TestRefusedNames(t *testing.T) {
	known := knownCalls()
	for _, group := range refused {
		for _, name := range group {
			if !known[name] {
				t.Errorf("no architecture has %s", name)
			}
		}
	}
}
