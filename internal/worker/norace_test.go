//go:build !race

package worker

// raceEnabled: see race_test.go.
const raceEnabled = false
