package dashboard

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// Times of the server. There is none for a whole answer: event streams last, and the guard gives up on who doesn't read.
const (
	headerTime = 10 * time.Second // for a request's headers to arrive
	idleTime   = 2 * time.Minute  // between two requests
)

// StopTime is how long answers that have begun may take when the dashboard is stopped.
const StopTime = 5 * time.Second

// maxHeader bounds the headers of a request, in bytes.
const maxHeader = 64 << 10

// Serving says how a handler is served.
type Serving struct {
	Listener net.Listener
	TLS      *Certificate // nil for plain HTTP
	Log      *slog.Logger
}

// Serve answers requests until ctx is done; then event streams end at once, and other answers get a few seconds. It closes
// the listener.
func Serve(ctx context.Context, s Serving, h http.Handler) error {
	streams, endStreams := context.WithCancel(context.WithoutCancel(ctx))
	defer endStreams()
	srv := &http.Server{Handler: endingStreams(streams, h), ReadHeaderTimeout: headerTime, IdleTimeout: idleTime, MaxHeaderBytes: maxHeader,
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
		ErrorLog:    slog.NewLogLogger(s.Log.With("from", "http").Handler(), slog.LevelDebug)} // what strangers send is no news
	srv.RegisterOnShutdown(endStreams)
	ended := make(chan error, 1)
	go func() {
		if s.TLS == nil {
			ended <- srv.Serve(s.Listener)
			return
		}
		srv.TLSConfig = &tls.Config{GetCertificate: s.TLS.get, MinVersion: tls.VersionTLS12}
		ended <- srv.ServeTLS(s.Listener, "", "")
	}()
	select {
	case err := <-ended:
		return fmt.Errorf("serve the dashboard: %w", err)
	case <-ctx.Done():
	}
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), StopTime)
	defer cancel()
	if err := srv.Shutdown(limit); err != nil {
		s.Log.Debug("answers that took too long were cut off", "error", err)
		_ = srv.Close() // the listener is closed already
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the dashboard: %w", err)
	}
	return nil
}

// endingStreams ends event streams when streams is done: they would last for ever.
func endingStreams(streams context.Context, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/events") && !strings.HasPrefix(r.Header.Get("Accept"), "text/event-stream") {
			h.ServeHTTP(w, r)
			return
		}
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(streams, cancel)()
		h.ServeHTTP(w, r.WithContext(ctx))
	})
}

// Certificate is a certificate with its key, read again when one of the files changes.
type Certificate struct {
	certFile, keyFile string
	log               *slog.Logger

	mu    sync.Mutex
	now   *tls.Certificate
	stamp string
	asked time.Time
}

// LoadCertificate reads a certificate and its key, both in PEM form.
func LoadCertificate(certFile, keyFile string, log *slog.Logger) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile, log: log}
	stamp, err := c.look()
	if err != nil {
		return nil, err
	}
	if c.now, err = c.load(); err != nil {
		return nil, err
	}
	c.stamp, c.asked = stamp, time.Now()
	return c, nil
}

func (c *Certificate) load() (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return nil, fmt.Errorf("read the certificate: %w", err)
	}
	return &pair, nil
}

// look returns what changes when a file does.
func (c *Certificate) look() (string, error) {
	var stamp strings.Builder
	for _, name := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return "", fmt.Errorf("read the certificate: %w", err)
		}
		fmt.Fprint(&stamp, info.ModTime().UnixNano(), " ", info.Size(), ";")
	}
	return stamp.String(), nil
}

// lookAgain is how often the files are looked at, while somebody connects.
const lookAgain = time.Second

// get returns the newest certificate. Where the files changed to something that can't be used, perhaps because only one of
// them is there yet, the one before is used on.
func (c *Certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.asked) < lookAgain {
		return c.now, nil
	}
	c.asked = time.Now()
	stamp, err := c.look()
	if err == nil && stamp == c.stamp {
		return c.now, nil
	}
	var fresh *tls.Certificate
	if err == nil {
		fresh, err = c.load()
	}
	if err != nil {
		c.log.Warn("the certificate's files changed and can't be used; the one before is used on", "error", err)
		return c.now, nil
	}
	c.now, c.stamp = fresh, stamp
	c.log.Info("the certificate was read again")
	return c.now, nil
}
