package xtest

// The backends that tests of this module open by name.
import (
	_ "github.com/rclone/rclone/backend/local"
	_ "github.com/rclone/rclone/backend/memory"
)
