#!/usr/bin/env bash
# Shows the messages of the agent that `make run` started, at the address that it wrote down.

. "$(dirname "$0")/lib.sh"

file=$root/build/run/mqtt-address
[ -s "$file" ] || die "no agent has left its address in build/run: start one with 'make run'"
address=$(<"$file")
say "messages at $address (all topics, edge/#); Ctrl-C stops"
exec mosquitto_sub -h "${address%:*}" -p "${address##*:}" -t 'edge/#' -v
