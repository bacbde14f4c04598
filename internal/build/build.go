// Package build says which build this is. The Makefile sets both variables with
// -ldflags "-X edgeagent/internal/build.Version=… -X edgeagent/internal/build.Commit=…".
package build

// Version and Commit are the same in all binaries of one build.
var (
	Version = "dev"
	Commit  = "unknown"
)

// ID names the build: a daemon and a worker of different ids refuse each other.
func ID() string { return Version + "+" + Commit }
