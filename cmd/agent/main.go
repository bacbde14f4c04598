//go:build !man

// Command edge-agent classifies camera frames on ARM boards and publishes what it
// sees, with the latency of every frame, over MQTT.
package main

import "os"

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
