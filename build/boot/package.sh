#!/usr/bin/env bash
# Runs inside a boot of build/test-install.sh, in a clean Debian: what dpkg does to the service. The packages are in
# /opt/debs/old and /opt/debs/new, two versions of the same; /opt/debs/more may hold an accelerator's.
#
# The first boot installs, upgrades and leaves the service installed; the second finds it up, removes and purges it. With
# the file /opt/boot/short there is one boot, without what is told only by the second, and without services that stand still.

. /opt/boot/helpers.sh

dpkg() { command dpkg "$@" >>/opt/boot/dpkg.log 2>&1; }
version_of() { dpkg-query -W -f '${Version}' "$1" 2>/dev/null; }
package_version() { dpkg-deb -f "/opt/debs/$1"/edge-agent_*.deb Version; }
journal() { journalctl --no-pager -o cat -u $agent; }
starts() { journal | grep -c 'edge-agent starts'; }
enabled() { systemctl --quiet is-enabled $agent; }
config_is() { grep -q "$1" $config; }
# each process runs the program that is at its place now, and not one that was replaced
same_file() { [ "$(stat -L -c %i "/proc/$1/exe")" = "$(stat -c %i "$2")" ]; }
current() {
	same_file "$(main)" /usr/bin/edge-agent && same_file "$(worker infer)" /usr/bin/edge-agent &&
		same_file "$(worker capture)" /usr/lib/edge-agent/edge-agent-capture
}

install() {
	say "-- install"
	since=$(micros)
	ok "dpkg -i" dpkg -i /opt/debs/old/*.deb
	[ $failed = 0 ] || exit
	figure install_dpkg_ms $((($(micros) - since) / 1000))
	ok "the service is up" await 60 active
	ok "results flow" results
	figure install_to_result_ms $((($(micros) - since) / 1000))
	ok "it starts at boot" enabled
	ok "the unit is the package's, without a drop-in" [ "$(show FragmentPath) $(show DropInPaths)" = "/lib/systemd/system/$agent " ]
	ok "the status tells rate, label and delegate" await 60 status_says '^[1-9][0-9.]* fps; front [A-Za-z ]+ \(cpu\)'
	say "  $(show StatusText)"
	ok "its log is in the journal" [ "$(starts)" = 1 ]
	ok "classify" into /opt/boot/classify.txt edge-agent classify --top 1 /usr/share/edge-agent/models/efficientnet_lite0/golden.png
	say "  $(sed -n 2p /opt/boot/classify.txt)"
	ok "doctor finds nothing broken" into /opt/boot/doctor.txt edge-agent doctor
	# The kernel's clock is this machine's: whatever it is, both must say the same.
	synced=$(timedatectl show --property=NTPSynchronized --value)
	clock_agrees() { message 'edge/+/state' | grep -q "\"clock_synced\":$([ "$synced" = yes ] && echo true || echo false)"; }
	ok "clock_synced is what timedatectl says ($synced)" clock_agrees
}

upgrade() {
	say "-- upgrade"
	sed -i 's/fps: 10/fps: 7/' $config
	pid=$(main)
	since=$(micros)
	ok "dpkg -i of a newer version" dpkg -i /opt/debs/new/*.deb
	ok "it is installed" [ "$(version_of edge-agent)" = "$(package_version new)" ]
	ok "the service is up" await 60 active
	ok "results flow" results
	figure upgrade_to_result_ms $((($(micros) - since) / 1000))
	ok "it was started anew, once" [ "$(main)" != "$pid" -a "$(starts)" = 2 ]
	ok "nothing crashed" is NRestarts 0
	ok "all processes run the new files" await 60 current
	ok "the config is the administrator's" config_is 'fps: 7'
	ok "and in force" await 60 status_says '^[67]\.[0-9] fps'
}

standing() {
	say "-- upgrades of a service that does not run"
	ok "stop, disable" systemctl --quiet disable --now $agent
	ok "dpkg -i of the older version" dpkg -i /opt/debs/old/*.deb
	ok "it stays stopped" not active
	ok "it stays disabled" not enabled
	sed -i 's/fps: 7/fsp: 7/' $config
	rm -f /var/lib/edge-agent/last-good.yaml
	systemctl start $agent 2>/dev/null
	ok "a config that is wrong" is ExecMainStatus 78
	ok "does not keep dpkg from its work" dpkg -i /opt/debs/new/*.deb
	ok "nor does a service that starts and fails" dpkg --force-confold -i /opt/debs/old/*.deb
	sed -i 's/fsp: 7/fps: 7/' $config
	ok "enable, start" systemctl --quiet enable --now $agent
	ok "results flow" results
}

accelerator() {
	[ -n "$(ls /opt/debs/more)" ] || return
	say "-- an accelerator's package"
	ok "dpkg -i" dpkg -i /opt/debs/more/*.deb
	ok "the agent is started anew, and can use it" await 60 eval '[ "$(starts)" = 3 ] && active'
	ok "remove" dpkg -r $(dpkg-deb -f /opt/debs/more/*.deb Package)
	ok "the agent is started anew, without it" await 60 eval '[ "$(starts)" = 4 ] && active'
	ok "results flow" results
}

next_boot() {
	say "-- the next boot"
	ok "the service is up by itself" await 60 active
	ok "results flow" results
}

remove() {
	say "-- remove"
	pid=$(main)
	ok "dpkg -r" dpkg -r edge-agent
	ok "the service is gone" [ ! -e "/proc/$pid" -a "$(show LoadState)" = not-found ]
	ok "no worker is left" [ "$(worker_count)" = 0 ]
	ok "the program is gone" [ ! -e /usr/bin/edge-agent -a ! -e /lib/systemd/system/$agent ]
	ok "the config is kept" config_is 'fps: 7'
	ok "the state is kept" [ -s /var/lib/edge-agent/last-good.yaml ]
	ok "dpkg -i" dpkg -i /opt/debs/$installed/edge-agent_*.deb
	ok "the service is up again" await 60 active
	ok "with the config that was kept" await 60 status_says '^[67]\.[0-9] fps'
}

purge() {
	say "-- purge"
	ok "dpkg -P of all" dpkg -P edge-agent $(dpkg-query -W -f '${Package} ' 'edge-agent-*')
	ok "the service is gone" [ "$(show LoadState)" = not-found ]
	find / -xdev \( -path /proc -o -path /sys -o -path /opt \) -prune -o -iname '*edge-agent*' -print | sort >/opt/boot/left
	find /run /tmp -iname '*edge-agent*' >>/opt/boot/left
	ok "no file is left: $(tr '\n' ' ' </opt/boot/left)" [ ! -s /opt/boot/left ]
	ok "no word is left in dpkg's records" [ -z "$(dpkg-query -W -f '${Package} ${Status}\n' 'edge-agent*' 2>/dev/null | grep -v ' not-installed$')" ]
	ok "the user is kept" into /dev/null getent passwd edge-agent
}

# Whatever happens, the boot ends.
trap 'systemctl exit $failed' EXIT
installed=old # where the packages are that the others' versions fit
if [ -e /opt/boot/short ]; then
	installed=new
	parts="install upgrade remove purge"
elif [ ! -e /opt/boot/booted ]; then
	touch /opt/boot/booted
	parts="install upgrade accelerator standing"
else
	parts="next_boot remove purge"
fi
for part in $parts; do
	"$part"
done
