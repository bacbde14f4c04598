package board

// Users and groups, by the machine's own files.

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// field is a line of a file in the form of passwd(5), by the value of one of its fields.
func (r Root) field(file string, key int, value string) []string {
	for l := range strings.Lines(r.text(file)) {
		f := strings.Split(strings.TrimSpace(l), ":")
		if len(f) > key && f[key] == value {
			return f
		}
	}
	return nil
}

// groupName is the name of the group with this number, else the number.
func (r Root) groupName(gid string) string {
	if f := r.field("/etc/group", 2, gid); f != nil {
		return f[0]
	}
	return gid
}

// HasGroup says whether there is a group of this name.
func (r Root) HasGroup(name string) bool { return r.field("/etc/group", 0, name) != nil }

// GroupID is the number of the group of this name.
func (r Root) GroupID(name string) (gid int, ok bool) {
	f := r.field("/etc/group", 0, name)
	if len(f) < 3 {
		return 0, false
	}
	gid, err := strconv.Atoi(f[2])
	return gid, err == nil
}

// HasUser says whether there is a user of this name.
func (r Root) HasUser(name string) bool { return r.field("/etc/passwd", 0, name) != nil }

// GroupsOf lists the groups of a user of this machine, by name and sorted.
func (r Root) GroupsOf(user string) []string {
	var names []string
	if f := r.field("/etc/passwd", 0, user); len(f) > 3 {
		names = append(names, r.groupName(f[3]))
	}
	for l := range strings.Lines(r.text("/etc/group")) {
		f := strings.Split(strings.TrimSpace(l), ":")
		if len(f) > 3 && slices.Contains(strings.Split(f[3], ","), user) {
			names = append(names, f[0])
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// OwnGroups lists the groups of this process, as far as the machine names them.
func (r Root) OwnGroups() []string {
	gids, _ := os.Getgroups() // fails never on Linux
	names := []string{r.groupName(fmt.Sprint(os.Getegid()))}
	for _, g := range gids {
		names = append(names, r.groupName(fmt.Sprint(g)))
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Open says whether a member of these groups, who does not own n, may read and write it.
func (n Node) Open(groups []string) bool {
	const everybody, group = 0o006, 0o060
	return n.Mode.Perm()&everybody == everybody || n.Mode.Perm()&group == group && slices.Contains(groups, n.Group)
}

// Hostname is the machine's own name.
func (r Root) Hostname() string { return r.text("/proc/sys/kernel/hostname") }
