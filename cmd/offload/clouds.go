package main

import (
	"log/slog"

	"offload/transfer"
	"offload/transfer/dropbox"
	"offload/transfer/icloud"
)

// ownBackends are the backends that take the place of rclone's own, by rclone's type of remote. end is called when nobody uses
// them any more.
func ownBackends(fleet transfer.Fleet, log *slog.Logger) (all map[string]transfer.Backend, end func()) {
	apple := icloud.New(icloud.Options{Fleet: fleet, Log: log.With("from", "icloud")})
	return map[string]transfer.Backend{
		"iclouddrive": apple.Open,
		"dropbox":     dropbox.New(dropbox.Options{Fleet: fleet, Log: log.With("from", "dropbox")}).Open,
	}, apple.Close
}
