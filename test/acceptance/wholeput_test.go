package acceptance

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
)

// wholeUploads puts a front before the S3 server that holds an upload back until all of it has come. versitygw 1.8
// stores what it has when a client dies amid an upload, which S3 itself never does; crash tests want S3's behaviour, and
// TestHalfAnUploadThatTheServerKeptLosesNothing wants versitygw's.
func (w *world) wholeUploads() {
	w.t.Helper()
	w.frontS3(func(forward http.Handler, rw http.ResponseWriter, r *http.Request) {
		defer func() { _ = recover() }() // ReverseProxy aborts a handler whose client was killed
		if r.Method != http.MethodPut {
			forward.ServeHTTP(rw, r)
			return
		}
		spool, err := os.CreateTemp(w.dir, "upload-")
		if err != nil {
			w.t.Error(err)
			rw.WriteHeader(http.StatusInternalServerError)
			return
		}
		defer func() { _ = errors.Join(spool.Close(), os.Remove(spool.Name())) }()
		if _, err := io.Copy(spool, r.Body); err != nil {
			return // the client is gone
		}
		if _, err := spool.Seek(0, io.SeekStart); err != nil {
			w.t.Error(err)
			return
		}
		r.Body = io.NopCloser(spool)
		forward.ServeHTTP(rw, r)
	})
}

// frontS3 puts a server before the S3 server, which handles each request and may forward it.
func (w *world) frontS3(handle func(forward http.Handler, rw http.ResponseWriter, r *http.Request)) {
	w.t.Helper()
	u, err := url.Parse(w.s3)
	if err != nil {
		w.t.Fatal(err)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	forward := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(u); r.Out.Host = r.In.Host }, // the signature covers the host
		Transport: transport,
		ErrorHandler: func(rw http.ResponseWriter, _ *http.Request, _ error) {
			rw.WriteHeader(http.StatusBadGateway)
		},
	}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { handle(forward, rw, r) }))
	w.t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		transport.CloseIdleConnections()
	})
	w.s3 = server.URL
}
