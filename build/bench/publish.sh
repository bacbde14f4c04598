#!/usr/bin/env bash
# Measures the queue and the MQTT client beside what others offer in their place, and writes docs/publish-benchmarks.md.
# `make bench-publish` calls it, with the settings of env.sh. The medium is the one of build/cache. The figures last.

. "$(dirname "$0")/../lib.sh"
cd "$root"
export PATH=$PATH:/usr/sbin

bench=$(build/tools.sh queuebench)
figures=$cache/figures.publish-bench
load=$(cut -d' ' -f1 /proc/loadavg)
scratch=$(mktemp -d "$cache/.bench.XXXXXX") # a name that the go command passes by
chmod 755 "$scratch"                          # mosquitto becomes another user
broker=
trap '[ -z "$broker" ] || kill "$broker"; rm -rf "$scratch"' EXIT

{
	TMPDIR=$scratch go test -run '^$' -bench 'Durable|Offer|Encode' -benchtime 1s ./publish | tee "$cache/bench.log" | bench_figures
	TMPDIR=$scratch go test -run '^$' -bench 'Puback' -benchtime 300x ./publish | tee "$cache/bench.log" | bench_figures
	TMPDIR=$scratch go test -run '^$' -bench 'Drain' -benchtime 3x ./publish | tee "$cache/bench.log" | bench_figures
	for kind in paho autopaho; do
		for batch in 1 32; do
			"$bench" queue $kind "$scratch/$kind-$batch" $batch 1000
		done
	done
	printf 'allow_anonymous true\nlistener 18839 127.0.0.1\n' >"$scratch/mosquitto.conf"
	mosquitto -c "$scratch/mosquitto.conf" 2>/dev/null &
	broker=$!
	sleep 1
	for window in 1 16; do
		for kind in v3 v5 v5-alias; do
			"$bench" client $kind 127.0.0.1:18839 20000 $window
		done
	done
} >"$figures"

# of NAME: a figure's value.
of() { awk -v name="$1:" '$1 == name { printf "%s", $2 }' "$figures"; }

cat >docs/publish-benchmarks.md <<PAGE
# What the queue and the client cost

Written by \`make bench-publish\` on $(nproc) cores of a virtual machine ($(awk -F ': ' '/model name/ { print $2; exit }' /proc/cpuinfo)), $(findmnt -no FSTYPE -T "$cache") on a virtual disk, Go $(go env GOVERSION | cut -c3-); the load average was $load when it began (0 on a quiet machine). A card is slower by far; what holds there too is the number of bytes.

## The queue's file

Messages of 256 bytes. Bytes written are those given to the medium: for the agent's own file as it counts them, for the others as the kernel counts them. The agent's queue has synced a message before it is accepted; the others never sync, and are fast for that reason: after a power cut what they held may be gone.

| | puts a second | bytes written a put | taken off a second |
|---|---|---|---|
| edge-agent (bbolt, synced), 1 a transaction | $(of durable_1_puts_per_s) | $(of durable_1_b_written_per_put) | $(of durable_1_deletes_per_s) |
| edge-agent (bbolt, synced), 32 a transaction | $(of durable_32_puts_per_s) | $(of durable_32_b_written_per_put) | $(of durable_32_deletes_per_s) |
| paho.mqtt.golang 1.5.1, FileStore, one by one | $(of paho_file_1_puts_per_s) | $(of paho_file_1_b_written_per_put) | $(of paho_file_1_drains_per_s) |
| paho.mqtt.golang 1.5.1, FileStore, 32 in a row | $(of paho_file_32_puts_per_s) | $(of paho_file_32_b_written_per_put) | $(of paho_file_32_drains_per_s) |
| autopaho 0.23.0, queue/file, one by one | $(of autopaho_file_1_puts_per_s) | $(of autopaho_file_1_b_written_per_put) | $(of autopaho_file_1_drains_per_s) |
| autopaho 0.23.0, queue/file, 32 in a row | $(of autopaho_file_32_puts_per_s) | $(of autopaho_file_32_b_written_per_put) | $(of autopaho_file_32_drains_per_s) |

Neither of the two has transactions, so 32 in a row is 32 times one. autopaho reads its whole folder for each message that it takes off.

A backlog of 5000 results on disk, read, sent to Mosquitto on this machine, acknowledged and deleted: $(of drain_drains_per_s) a second, without the limit of 1000 that holds otherwise.

## What a frame pays

| | |
|---|---|
| a result is encoded | $(of encode_ns_per_op) ns, $(of encode_allocs_per_op) allocations |
| encoded and handed over, durability memory | $(of offer_memory_wait_false_ns_per_op) ns |
| encoded and handed over, durability disk | $(of offer_disk_wait_false_ns_per_op) ns |
| the same, and waited for until it is on the medium, which no frame does | $(of offer_disk_wait_true_ns_per_op) ns |
| a live result until its PUBACK, durability memory | $(of puback_memory_puback_us) µs |
| a live result until its PUBACK, durability disk | $(of puback_disk_puback_us) µs |

## MQTT 3.1.1 and MQTT 5

Messages of 600 bytes on a result's topic, QoS 1, to Mosquitto on this machine.

| | messages a second | PUBACK, half within | 99 % within | bytes sent a message | processor time a message | allocations a message |
|---|---|---|---|---|---|---|
$(for window in 1 16; do
	for kind in v3 v5 v5_alias; do
		case $kind in
		v3) name='paho.mqtt.golang, 3.1.1' ;;
		v5) name='paho.golang, 5' ;;
		*) name='paho.golang, 5, topic alias' ;;
		esac
		p=${kind}_window_${window}_
		echo "| $name, $window at once | $(of "${p}msgs_per_s") | $(of "${p}puback_p50_us") µs | $(of "${p}puback_p99_us") µs | $(of "${p}b_sent_per_msg") | $(of "${p}cpu_us_per_msg") µs | $(of "${p}allocs_per_msg") |"
	done
done)
PAGE

printf '\n== figures\n'
cat "$figures"
