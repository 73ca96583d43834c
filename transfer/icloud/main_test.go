package icloud

import (
	"context"
	"log/slog"
	"testing"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/lib/atexit"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	fs.GetConfig(context.Background()).LogLevel = fs.LogLevelEmergency
	atexit.IgnoreSignals() // rclone's handler would end the process, and its goroutine never ends
	goleak.VerifyTestMain(m)
}
