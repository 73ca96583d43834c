//go:build failpoint

package failpoint

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// hits counts how often the step in OFFLOAD_FAILPOINT was come to.
var hits atomic.Int64

// At kills this process without a word when it comes to the step that OFFLOAD_FAILPOINT names: "deleted", or "deleted:3"
// for the third time.
func At(step string) {
	name, count, _ := strings.Cut(os.Getenv("OFFLOAD_FAILPOINT"), ":")
	if name != step {
		return
	}
	n, err := strconv.ParseInt(count, 10, 64)
	if err != nil {
		n = 1
	}
	if hits.Add(1) == n {
		die()
	}
}

// File kills this process when it begins a file whose path holds what OFFLOAD_FAILPOINT_FILE says.
func File(path string) {
	if part := os.Getenv("OFFLOAD_FAILPOINT_FILE"); part != "" && strings.Contains(path, part) {
		die()
	}
}

func die() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // the signal is on its way: not one step further
}
