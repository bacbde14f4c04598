// Command qemucpu is what the kernel starts for arm64 programs where a test wants a certain processor: it hands them to
// qemu-user with -cpu, which the kernel itself cannot do. Which qemu and which processor is set when it is linked.
package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"syscall"
)

// qemu and cpu are set by -ldflags "-X main.qemu=… -X main.cpu=…".
var qemu, cpu string

// execFD is the key of the auxiliary vector under which the kernel tells the descriptor of the program that it has opened
// for its interpreter (flag O of binfmt_misc).
const execFD = 2

func main() {
	args, err := handedOn(os.Args)
	if err == nil {
		err = syscall.Exec(qemu, args, os.Environ()) //nolint:gosec // to run what it is told to is all that it is for
	}
	fmt.Fprintln(os.Stderr, "qemucpu:", err)
	os.Exit(126)
}

// handedOn makes qemu's command line of the kernel's: interpreter, path of the program, its own first argument (flag P),
// the others.
func handedOn(args []string) ([]string, error) {
	if len(args) < 3 {
		return nil, fmt.Errorf("%d arguments: register it with flags FOP", len(args))
	}
	program := args[1]
	auxv, err := os.ReadFile("/proc/self/auxv")
	if err != nil {
		return nil, err
	}
	for ; len(auxv) >= 16; auxv = auxv[16:] {
		if binary.NativeEndian.Uint64(auxv) == execFD {
			program = fmt.Sprintf("/proc/self/fd/%d", binary.NativeEndian.Uint64(auxv[8:]))
		}
	}
	return append([]string{qemu, "-cpu", cpu, "-0", args[2], program}, args[3:]...), nil
}
