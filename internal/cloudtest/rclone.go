package cloudtest

import (
	"context"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/fshttp"
)

// UseByRclone makes rclone's backends in this process meet the played clouds, until restore is called. It changes
// rclone's global configuration, which is the only one that its iCloud backend reads: one world at a time.
func (w *World) UseByRclone() (restore func()) {
	ci := fs.GetConfig(context.Background())
	proxy, certs := ci.HTTPProxy, ci.CaCert
	ci.HTTPProxy, ci.CaCert = w.ProxyURL(), []string{w.CAFile()}
	fshttp.ResetTransport() // the transport is made once, from the configuration of that time
	return func() {
		ci.HTTPProxy, ci.CaCert = proxy, certs
		fshttp.ResetTransport()
	}
}
