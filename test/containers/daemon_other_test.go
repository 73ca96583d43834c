//go:build !linux

package containers

import (
	"net"
	"runtime"
	"testing"
)

// startDaemon skips the test: the daemon's namespaces are Linux's.
func startDaemon(t testing.TB) *daemon {
	t.Helper()
	cantRun(t, "the test needs Linux, this is "+runtime.GOOS)
	return nil
}

// listen isn't reached.
func (d *daemon) listen(string) net.Listener { return nil }

// crash isn't reached.
func (d *daemon) crash(string) {}
