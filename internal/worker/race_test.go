//go:build race

package worker

// raceEnabled: the race detector allocates and slows down.
const raceEnabled = true
