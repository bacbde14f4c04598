#!/usr/bin/env bash
# Runs inside the boot of build/test-boot.sh, as a service of its systemd, and ends it with its own exit code.
# WatchdogSec is shorter here than in the unit; nothing else of the unit is changed.

. /opt/boot/helpers.sh

# in_unit COMMAND...: as a process that sees what the daemon sees of the file tree, with root's rights.
in_unit() { nsenter -t "$(main)" -m -r -- "$@"; }
refuses() { ! in_unit "$@" 2>/dev/null; }

# configure SED-SCRIPT: the config as it was installed, changed.
cp $config /opt/boot/config.yaml
configure() { sed "$1" /opt/boot/config.yaml >$config; }

# as installed: no camera, so the demo clip; the embedded broker
installed() {
	say "-- as installed: no camera, so the demo clip; the embedded broker"
	since=$(micros)
	ok "start: READY comes" systemctl start $agent
	figure boot_start_to_ready_ms $((($(micros) - since) / 1000))
	ok "active" active
	ok "results flow" results
	figure boot_start_to_result_ms $((($(micros) - since) / 1000))
	ok "status tells rate, label and delegate" await 15 status_says '^[1-9][0-9.]* fps; front [A-Za-z ]+ \(cpu\)'
	say "  $(show StatusText)"
	pid=$(main)
	ok "runs as edge-agent" [ "$(stat -c %U "/proc/$pid")" = edge-agent ]
	for process in "$pid" "$(worker infer)" "$(worker capture)"; do
		name=$(tr '\0' ' ' <"/proc/$process/cmdline" | cut -d' ' -f1,2)
		ok "$name: no new privileges, no capabilities, seccomp" awk '
			/^NoNewPrivs:/ { nnp = $2 } /^CapEff:/ { cap = $2 } /^Seccomp:/ { mode = $2 }
			END { exit !(nnp == 1 && cap ~ /^0+$/ && mode == 2) }' "/proc/$process/status"
	done
	ok "the workers' cage holds inside the unit's" logged '"cage":"no new privileges, no dumps, seccomp, sockets restricted'
	say "  $(grep -o '"cage":"[^"]*"' /opt/boot/agent.log | head -n 1)"
	ok "the groups of cameras and accelerators" [ "$(awk '/^Groups:/ { $1 = ""; print }' "/proc/$pid/status" | xargs)" = '44 46 105 990' ]
	for dir in /var/lib /var/cache /run; do
		ok "$dir/edge-agent is there, for it alone" [ "$(stat -c '%U %a' $dir/edge-agent)" = 'edge-agent 750' ]
	done
	ok "the state folder holds the last good config" [ -s /var/lib/edge-agent/last-good.yaml ]
	for place in /usr/x /etc/x /opt/x /var/x /etc/edge-agent/x; do
		ok "nothing can be written at $place" refuses touch $place
	done
	ok "but in the state folder" in_unit touch /var/lib/edge-agent/x
	ok "/proc shows no other processes" [ -z "$(nsenter -t "$pid" -m -r -S 990 -G 990 -- ls /proc/1/ 2>/dev/null)" ]
	# In the unit's control group root itself meets the list of devices; cgroup.procs takes who moves in.
	group=/sys/fs/cgroup$(show ControlGroup)
	device() { (echo "$BASHPID" >"$group/cgroup.procs" && : <"$1") 2>/dev/null; }
	ok "a device of every system can be opened" device /dev/null
	ok "one that is in no class of the unit cannot" not device /dev/kmsg
}

# reload
reload() {
	say "-- reload"
	configure 's/fps: 10/fsp: 10/'
	ok "systemctl reload of a wrong config returns" systemctl reload $agent
	ok "it is told" await 10 status_says 'reload refused: the config has 1 problem'
	ok "and the agent goes on" results
	configure 's/fps: 10/fps: 5/'
	ok "systemctl reload of a good one" systemctl reload $agent
	ok "it is applied" await 15 status_says '^[45]\.[0-9] fps'
	ok "in the same process" is MainPID "$pid"
	ok "nothing was restarted" is NRestarts 0
}

# without a camera, and without a broker
absent() {
	say "-- without a camera, and without a broker"
	configure 's#source: auto#source: /dev/video9#'
	ok "READY without the camera" systemctl restart $agent
	ok "the state says so" await 10 status_says 'front (offline|stalled)'
	configure 's#broker: embedded#broker: tcp://127.0.0.1:9#'
	ok "READY without the broker" systemctl restart $agent
	ok "the status says so" await 15 status_says 'no broker'
	ok "the watchdog is content with both" sleep 6
	ok "nothing was restarted" is NRestarts 0
	configure ''
	ok "back to the config as installed" systemctl restart $agent
}

# a credential
credential() {
	say "-- a credential"
	printf 'listener 1884 127.0.0.1\nallow_anonymous false\npassword_file /tmp/passwords\n' >/tmp/mosquitto.conf
	mosquitto_passwd -c -b /tmp/passwords me secret-of-the-boot 2>/dev/null
	chmod 0644 /tmp/passwords
	mosquitto -c /tmp/mosquitto.conf >/dev/null 2>&1 &
	broker=$!
	printf 'secret-of-the-boot' >/etc/credstore/edge-agent.mqtt-password
	chmod 0600 /etc/credstore/edge-agent.mqtt-password
	configure 's#broker: embedded#broker: tcp://127.0.0.1:1884\n  username: me\n  password_file: credential:edge-agent.mqtt-password#'
	ok "READY" systemctl restart $agent
	subscribe() { mosquitto_sub -h 127.0.0.1 -p 1884 -u me -P secret-of-the-boot -C 1 -W 20 -t 'edge/boot/status' 2>/dev/null; }
	online() { [ "$(subscribe)" = online ]; }
	ok "the broker takes the password of the credential" await 20 online
	kill $broker
	configure ''
	ok "back to the embedded broker" systemctl restart $agent
}

# workers that are stopped are the agent's matter
workers() {
	say "-- workers that are stopped are the agent's matter"
	restarts=$(show NRestarts)
	pid=$(main)
	for kind in infer capture; do
		ok "results flow" results
		old=$(worker $kind)
		kill -STOP "$old"
		ok "a stopped $kind worker is replaced" await 30 replaced $kind "$old"
	done
	ok "results flow again" results
	ok "the daemon is the same" is MainPID "$pid"
	ok "nothing was restarted" is NRestarts "$restarts"
}

# a daemon that is stopped is the watchdog's matter
watchdog() {
	say "-- a daemon that is stopped is the watchdog's matter"
	restarts=$(show NRestarts)
	pid=$(main)
	since=$(micros)
	kill -STOP "$pid"
	restarted() { [ "$(show NRestarts)" -gt "$restarts" ] && active && [ "$(main)" != "$pid" ]; }
	ok "systemd restarts it" await 30 restarted
	figure boot_watchdog_to_ready_ms $((($(micros) - since) / 1000))
	ok "its goroutines are in the log" logged 'SIGABRT: abort'
	gone() { [ ! -e "/proc/$pid" ] && [ "$(worker_count)" = 2 ]; }
	ok "its workers are gone with it" await 10 gone
	ok "results flow again" results
}

# a daemon that is killed
killed() {
	say "-- a daemon that is killed"
	restarts=$(show NRestarts)
	pid=$(main)
	since=$(micros)
	kill -KILL "$pid"
	ok "systemd restarts it" await 30 restarted
	figure boot_kill_to_ready_ms $((($(micros) - since) / 1000))
	ok "results flow again" results
}

# a config that only a person can mend
hopeless() {
	say "-- a config that only a person can mend"
	ok "stops" systemctl stop $agent
	ok "its end was in order" is Result success
	rm -f /var/lib/edge-agent/last-good.yaml
	configure 's/fps: 10/fsp: 10/'
	restarts=$(show NRestarts)
	ok "does not start" not systemctl start $agent 2>/dev/null
	ok "exit code 78" is ExecMainStatus 78
	sleep 4
	ok "and is not tried again" is ActiveState failed
}

# init and doctor beside a service
tools() {
	say "-- init and doctor beside a service"
	ok "doctor finds nothing broken while the agent runs" into /opt/boot/doctor.txt edge-agent doctor -c $config
	ok "and tells of the user of the service" grep -q '✓ user *edge-agent, in edge-agent, plugdev, render, video' /opt/boot/doctor.txt
	ok "init overwrites nothing" not edge-agent init --yes 2>/dev/null
	ok "stop" systemctl stop $agent
	ok "init --yes writes a config and tries it" grep -q 'tried: *it runs' <(edge-agent init --yes --force)
	ok "which validates" into /dev/null edge-agent validate -c $config
	ok "and runs as a service" systemctl start $agent
	ok "results flow" results
	configure ''
	ok "back to the config as installed" systemctl restart $agent
}

# The sections that were asked for, all by default; each leaves a running agent with the config as installed.
[ -s /opt/boot/sections ] || echo installed reload absent tools credential workers watchdog killed hopeless >/opt/boot/sections
for section in $(cat /opt/boot/sections); do
	[ "$section" = installed ] || active || systemctl start $agent
	"$section" || fail "the section $section"
done
systemctl exit $failed
