package cloudtest

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// download downloads a generated file of iCloud through a client that the world's faults strike, and returns what came.
func download(t *testing.T, w *World, size int64) (n int64, err error) {
	t.Helper()
	a := w.ICloud.Default()
	a.PutGenerated("film.mov", size, 7)
	var g *grant
	a.locked(func(tr *tree) {
		g = &grant{blob: tr.at("film.mov").blob, name: "film.mov", until: w.now().Add(w.ICloud.life()), account: a}
	})
	transport := w.Transport()
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get("https://" + blobHost + "/B/x/film.mov?o=" + w.ICloud.grant(g))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	n, err = io.Copy(io.Discard, resp.Body)
	return n, err
}

func TestServedCountsWhatGoesOut(t *testing.T) {
	const size = 3 << 20
	for _, c := range []struct {
		name  string
		fault *Fault
		least int64 // that must be counted
		most  int64
		reset bool
	}{
		{name: "whole", least: size, most: size},
		{name: "cut in the middle", fault: &Fault{Kind: Cut, CutAt: 0.5}, least: size / 2, most: size / 2},
		{name: "reset in the middle", fault: &Fault{Kind: Cut, CutAt: 0.5, Reset: true}, least: size / 2, most: size / 2, reset: true},
		{name: "refused", fault: &Fault{Kind: Status, Status: http.StatusServiceUnavailable}, most: 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, err := Start(Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			var h *Hits
			if c.fault != nil {
				c.fault.Endpoint = "icloud:content"
				h = w.Fault(*c.fault)
			}
			came, err := download(t, w, size)
			if h != nil && h.Count() != 1 {
				t.Errorf("the fault struck %d times, want once", h.Count())
			}
			n := w.Served("icloud:content")
			if n < c.least || n > c.most {
				t.Errorf("%d bytes counted, want %d to %d", n, c.least, c.most)
			}
			if c.most > 0 && came > n {
				t.Errorf("%d bytes came, and only %d were counted", came, n)
			}
			if c.reset && (err == nil || !strings.Contains(err.Error(), "reset")) {
				t.Errorf("the client saw %v, want the connection reset", err)
			}
			if c.fault == nil && err != nil {
				t.Error(err)
			}
		})
	}
}
