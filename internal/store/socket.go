package store

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"
)

// maxSocketPath is the longest path that every system takes for a socket (macOS: 104 bytes with the final zero).
const maxSocketPath = 100

// viaShortPath calls f with a path that leads to the same file and is short enough for a socket. Only the text of the
// path is limited, so for a folder with a long one a link in a temporary folder of our own does.
func viaShortPath(path string, f func(short string) error) error {
	if len(path) <= maxSocketPath {
		return f(path)
	}
	tmp, err := os.MkdirTemp("", "ofl")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp) // the link, not what it leads to
	link := filepath.Join(tmp, "d")
	if err := os.Symlink(filepath.Dir(path), link); err != nil {
		return err
	}
	return f(filepath.Join(link, filepath.Base(path)))
}

// listenSocket listens on a socket that only this user can connect to. The caller owns the folder, so a socket that is
// there was left by a process that was killed.
func listenSocket(path string) (*net.UnixListener, error) {
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	var l *net.UnixListener
	err := viaShortPath(path, func(short string) error {
		var err error
		l, err = net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
		return err
	})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // by then the short path may be gone
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// dialSocket connects to the owner, and returns once it has answered.
func dialSocket(ctx context.Context, path string) (net.Conn, error) {
	var c net.Conn
	err := viaShortPath(path, func(short string) error {
		var d net.Dialer
		var err error
		c, err = d.DialContext(ctx, "unix", short)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := greet(ctx, c); err != nil {
		return nil, err
	}
	return impatient(c), nil
}

// greet makes sure that whoever accepted the connection also answers, and closes the connection where not. Without it, a
// connection that is cut before go-redis' own greeting is answered (the owner is just ending; a port forwarder has no
// server behind it) costs half a minute, for go-redis sends the greeting again and again on that same connection.
func greet(ctx context.Context, c net.Conn) error {
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	err := func() error {
		if _, err := io.WriteString(c, "*1\r\n$4\r\nPING\r\n"); err != nil {
			return err
		}
		// +PONG, or an error that asks for a password; byte by byte, for nothing of what follows may be lost.
		for b := make([]byte, 1); b[0] != '\n'; {
			if _, err := io.ReadFull(c, b); err != nil {
				return err
			}
		}
		return nil
	}()
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		c.Close()
		return err
	}
	return nil
}
