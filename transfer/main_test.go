package transfer_test

import (
	"context"
	"log/slog"
	"os"
	"testing"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/lib/atexit"

	"offload/internal/leaktest"
)

func TestMain(m *testing.M) {
	// What the engine and rclone say about the faults that tests put in their way is no news.
	slog.SetDefault(slog.New(slog.DiscardHandler))
	fs.GetConfig(context.Background()).LogLevel = fs.LogLevelEmergency
	atexit.IgnoreSignals() // rclone's handler would end the process, and its goroutine never ends
	damagingDisk()
	os.Exit(leaktest.Run(m))
}
