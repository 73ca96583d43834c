package main

import (
	"log/slog"

	"offload/transfer"
	"offload/transfer/dropbox"
	"offload/transfer/icloud"
)

// ownBackends are the backends that take the place of rclone's own, by rclone's type of remote.
func ownBackends(fleet transfer.Fleet, log *slog.Logger) map[string]transfer.Backend {
	return map[string]transfer.Backend{
		"iclouddrive": icloud.New(icloud.Options{Fleet: fleet, Log: log.With("from", "icloud")}).Open,
		"dropbox":     dropbox.New(dropbox.Options{Fleet: fleet, Log: log.With("from", "dropbox")}).Open,
	}
}
