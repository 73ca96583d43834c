package icloud

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
	slog.SetDefault(slog.New(slog.DiscardHandler))
	fs.GetConfig(context.Background()).LogLevel = fs.LogLevelEmergency
	atexit.IgnoreSignals() // rclone's handler would end the process, and its goroutine never ends
	os.Exit(leaktest.Run(m))
}
