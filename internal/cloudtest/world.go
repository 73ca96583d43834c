package cloudtest

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Options says how the clouds are played. The zero value plays them at once and without limits.
type Options struct {
	Latency   Latency
	Bandwidth int64 // bytes a second for each content connection, 0 unlimited
	Seed      uint64
	Now       func() time.Time // nil is time.Now
}

// Latency is how long the played services think before they answer, 0 not at all.
type Latency struct {
	List      time.Duration // a listing
	Meta      time.Duration // a look at one item, a token, the storage
	FirstByte time.Duration // the content host, before the first byte
	Delete    time.Duration // moving to the trash and any other change of the tree
	Upload    time.Duration // a piece of an upload
	Commit    time.Duration // the end of an upload
}

// World is a played internet with iCloud and Dropbox in it, behind a proxy that ends TLS with a CA of its own.
type World struct {
	ICloud  *ICloud
	Dropbox *Dropbox
	Apple   *Apple // what Apple publishes of its services

	opt     Options
	dir     string
	ca      *authority
	proxy   net.Listener
	outer   *http.Server // takes CONNECT
	inner   *http.Server // plays the services
	tunnels *tunnels
	done    chan struct{} // closed when the world ends: whoever waits in an answer goes
	conns   sync.WaitGroup
	loops   sync.WaitGroup

	table   faultTable
	tally   tally
	served  served
	players []player
	closing sync.Once
	closed  error
}

// Start plays both clouds on loopback until Close. The iCloud account "anna@example.com" and one Dropbox account exist.
func Start(opt Options) (*World, error) {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	dir, err := os.MkdirTemp("", "offload-cloudtest-")
	if err != nil {
		return nil, fmt.Errorf("make folder of the played clouds: %w", err)
	}
	w := &World{opt: opt, dir: dir, done: make(chan struct{})}
	w.table.seed(opt.Seed)
	w.tally.init()
	if err := w.listen(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	w.ICloud = newICloud(w)
	w.Dropbox = newDropbox(w)
	w.Apple = newApple(w)
	w.players = []player{w.ICloud, w.Dropbox, w.Apple}
	w.serve()
	return w, nil
}

// listen opens the proxy's port and writes the CA's certificate.
func (w *World) listen() error {
	var err error
	if w.ca, err = newAuthority(w.opt.Now()); err != nil {
		return err
	}
	if err := os.WriteFile(w.CAFile(), w.ca.pem, 0o600); err != nil {
		return fmt.Errorf("write certificate of the played clouds: %w", err)
	}
	if w.proxy, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return fmt.Errorf("listen for the played clouds: %w", err)
	}
	return nil
}

// serve starts both servers: one takes CONNECT and hands the tunnel to the other, which ends TLS and answers.
func (w *World) serve() {
	w.tunnels = newTunnels(w.proxy.Addr())
	quiet := slog.NewLogLogger(slog.NewTextHandler(io.Discard, nil), slog.LevelDebug)
	w.outer = &http.Server{Handler: http.HandlerFunc(w.connect), ConnState: w.count, ErrorLog: quiet}
	w.inner = &http.Server{Handler: http.HandlerFunc(w.play), ConnState: w.count, ConnContext: withConn, ErrorLog: quiet}
	for _, s := range []struct {
		server *http.Server
		on     net.Listener
	}{{w.outer, w.proxy}, {w.inner, w.tunnels}} {
		w.loops.Go(func() { _ = s.server.Serve(s.on) })
	}
}

// count knows how many connections are alive, so that Close can wait for the last one.
func (w *World) count(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		w.conns.Add(1)
	case http.StateClosed, http.StateHijacked:
		w.conns.Done()
	}
}

// Close ends the world: its listeners, connections, goroutines and its folder are gone when it returns.
func (w *World) Close() error {
	w.closing.Do(func() {
		close(w.done)
		outer := w.outer.Close()
		inner := w.inner.Close()
		w.loops.Wait()
		_ = w.inner.Close() // a connection taken while the first call swept
		w.tunnels.drain()
		w.conns.Wait()
		w.closed = errors.Join(outer, inner, os.RemoveAll(w.dir))
	})
	return w.closed
}

// ProxyURL is the proxy that leads to the played clouds, for HTTPS_PROXY and the like.
func (w *World) ProxyURL() string { return "http://" + w.proxy.Addr().String() }

// CAFile is a PEM file with the certificate of the CA that all played hosts are signed by.
func (w *World) CAFile() string { return filepath.Join(w.dir, "ca.pem") }

// Environ is what a child process needs in its environment to meet the played clouds, rclone included.
func (w *World) Environ() []string {
	return []string{
		"HTTPS_PROXY=" + w.ProxyURL(), "HTTP_PROXY=" + w.ProxyURL(), "NO_PROXY=",
		"https_proxy=" + w.ProxyURL(), "http_proxy=" + w.ProxyURL(), "no_proxy=",
		"SSL_CERT_FILE=" + w.CAFile(), "RCLONE_HTTP_PROXY=" + w.ProxyURL(), "RCLONE_CA_CERT=" + w.CAFile(),
	}
}

// Transport is a new http.Transport that reaches the played clouds, for clients that aren't rclone's.
func (w *World) Transport() *http.Transport {
	proxy := &url.URL{Scheme: "http", Host: w.proxy.Addr().String()}
	return &http.Transport{Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: w.ca.pool(), MinVersion: tls.VersionTLS12}}
}

// RcloneConf is an rclone.conf with both clouds signed in. The sections are called "icloud" and "dropbox" unless names
// gives others, in this order.
func (w *World) RcloneConf(names ...string) string {
	name := func(i int, usual string) string {
		if i < len(names) {
			return names[i]
		}
		return usual
	}
	var b strings.Builder
	fmt.Fprintf(&b, "[%s]\n%s\n", name(0, "icloud"), w.ICloud.Default().Conf())
	fmt.Fprintf(&b, "[%s]\n%s\n", name(1, "dropbox"), w.Dropbox.Conf())
	return b.String()
}

// WriteRcloneConf writes RcloneConf to a file that only its owner reads.
func (w *World) WriteRcloneConf(path string) error {
	if err := os.WriteFile(path, []byte(w.RcloneConf()), 0o600); err != nil {
		return fmt.Errorf("write rclone's configuration: %w", err)
	}
	return nil
}

// now is the time in the played world.
func (w *World) now() time.Time { return w.opt.Now() }

// wait waits in an answer, and tells whether it is still wanted.
func (w *World) wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
	case <-w.done:
	}
	return false
}

// connect opens a tunnel to a played host. Others aren't reached: the played internet ends here.
func (w *World) connect(rw http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect {
		http.Error(rw, "only CONNECT is played", http.StatusMethodNotAllowed)
		return
	}
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil || w.playerOf(host) == nil {
		http.Error(rw, "no such host in the played internet: "+r.Host, http.StatusBadGateway)
		return
	}
	conn, buf, err := http.NewResponseController(rw).Hijack()
	if err != nil {
		return
	}
	if _, err := io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		_ = conn.Close()
		return
	}
	w.tunnels.put(tls.Server(&buffered{Conn: conn, r: buf.Reader}, w.ca.config(host)))
}

// buffered is a connection whose first bytes may have been read ahead.
type buffered struct {
	net.Conn
	r *bufio.Reader
}

// Read implements net.Conn.
func (b *buffered) Read(p []byte) (int, error) { return b.r.Read(p) }

// tunnels is a net.Listener fed with connections that came in elsewhere.
type tunnels struct {
	addr   net.Addr
	come   chan net.Conn
	gone   chan struct{}
	closed sync.Once
}

func newTunnels(addr net.Addr) *tunnels {
	return &tunnels{addr: addr, come: make(chan net.Conn), gone: make(chan struct{})}
}

// put hands over a connection; it is closed where nobody takes it any more.
func (t *tunnels) put(c net.Conn) {
	select {
	case t.come <- c:
	case <-t.gone:
		_ = c.Close()
	}
}

// drain closes what was being handed over when the listener ended.
func (t *tunnels) drain() {
	for {
		select {
		case c := <-t.come:
			_ = c.Close()
		default:
			return
		}
	}
}

// Accept implements net.Listener.
func (t *tunnels) Accept() (net.Conn, error) {
	select {
	case c := <-t.come:
		return c, nil
	case <-t.gone:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (t *tunnels) Close() error {
	t.closed.Do(func() { close(t.gone) })
	return nil
}

// Addr implements net.Listener.
func (t *tunnels) Addr() net.Addr { return t.addr }
