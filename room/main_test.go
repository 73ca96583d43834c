package room

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// rclone starts these once for a process and never ends them.
		goleak.IgnoreAnyFunction("github.com/rclone/rclone/lib/pacer.New"),
		goleak.IgnoreAnyFunction("go.opencensus.io/stats/view.(*worker).start"),
	)
}
