//go:build race

package publish

// raceEnabled says that this test binary was built with -race.
const raceEnabled = true
