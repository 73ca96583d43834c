package transfer

import (
	"context"
	"net"
	"net/http"
)

// SendOnce keeps a transport of rclone's from sending a request again that changes something and that was sent.
//
// net/http repeats any request of which nothing was written. rclone's connections report a write as failed, though all
// of it was written, where the server has closed the connection before they could set their next time limit; TLS makes
// "nothing was written" of that. The server then carries a deletion or an upload out twice, and the second answer, that
// the file has changed, hides the first.
func SendOnce(t *http.Transport) {
	dial := t.DialContext
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	t.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return c, err
		}
		return wholeWrites{c}, nil
	}
}

// wholeWrites is a connection whose writes succeed when all was written. What else is wrong the next call tells.
type wholeWrites struct{ net.Conn }

// Write implements net.Conn.
func (c wholeWrites) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if n == len(p) {
		err = nil
	}
	return n, err
}
