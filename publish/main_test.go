package publish

// No test may leave a goroutine; and the test binary is also a process to be
// killed.

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if addr := os.Getenv(childAddr); addr != "" {
		child(addr)
		return
	}
	goleak.VerifyTestMain(m)
}
