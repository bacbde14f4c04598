// Ids of agents, cameras and models, and the id of an agent that was given none.

package config

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// idForm is what an id may be: it stands in MQTT topics, file names and metrics.
var idForm = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// CheckID says what is wrong with an id.
func CheckID(id string) error {
	if idForm.MatchString(id) {
		return nil
	}
	hint := ""
	if s := sanitise(id); s != "" {
		hint = ", did you mean " + s + "?"
	}
	return fmt.Errorf("%s cannot be a name: a to z, 0 to 9, _ and -, at most 63, a letter or number first%s", shown(id), hint)
}

// sanitise makes an id of s, or "" where nothing of s can stand in one.
func sanitise(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '_':
			return r
		case r < 0x20:
			return -1
		}
		return '-'
	}, strings.ToLower(s))
	for strings.Contains(s, "--") {
		s = strings.ReplaceAll(s, "--", "-")
	}
	s = strings.Trim(s, "-_")
	return strings.TrimRight(s[:min(len(s), 63)], "-_")
}

// defaultHosts are names that distributions give: two boards from the same image
// share them, and would throw each other off the broker.
var defaultHosts = []string{
	"alarm", "alpine", "archlinux", "armbian", "beaglebone", "buildroot", "coral", "debian", "dietpi",
	"fedora", "jetson", "jetson-nano", "jetson-orin", "linaro-alip", "linux", "localhost", "mendel", "nano",
	"nixos", "odroid", "openwrt", "orangepi", "orin", "pi", "raspberry", "raspberrypi", "raspbian", "rock",
	"rock-5b", "tegra-ubuntu", "ubuntu", "yocto",
}

// DefaultID is an agent's id when the config names none: the host name up to its
// first dot, as far as it can stand in an id. A distribution's default name gets
// six hex digits of a keyed hash of the machine id, which itself is not to be
// shown to others (machine-id(5)).
func DefaultID(hostname, machineID string) string {
	short, _, _ := strings.Cut(hostname, ".")
	id := sanitise(short)
	if id == "" {
		id = "agent"
	} else if !slices.Contains(defaultHosts, id) {
		return id
	}
	if machineID = strings.TrimSpace(machineID); machineID == "" {
		return id
	}
	mac := hmac.New(sha256.New, []byte(machineID))
	mac.Write([]byte("edge-agent default id"))
	return id + "-" + hex.EncodeToString(mac.Sum(nil))[:6]
}
