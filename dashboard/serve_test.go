package dashboard

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"offload/dashboard/guard"
	"offload/jobs"
)

// served serves a handler until stop is called, which waits for the end.
func served(t *testing.T, cert *Certificate, h http.Handler) (address string, stop func() error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- Serve(ctx, Serving{Listener: l, TLS: cert, Log: slog.New(slog.DiscardHandler)}, h)
	}()
	t.Cleanup(cancel)
	return l.Addr().String(), func() error { cancel(); return <-ended }
}

// A stop ends event streams at once and lets what has begun end.
func TestServeStops(t *testing.T) {
	begun, goOn := make(chan struct{}, 2), make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("/api/v1/events", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "data: x\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		begun <- struct{}{}
		<-goOn
		fmt.Fprint(w, "whole")
	})
	address, stop := served(t, nil, mux)
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	stream, err := client.Get("http://" + address + "/api/v1/events")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	lines := bufio.NewReader(stream.Body)
	if line, err := lines.ReadString('\n'); err != nil || line != "data: x\n" {
		t.Fatalf("the stream begins with %q, %v", line, err)
	}
	slow := make(chan string, 1)
	go func() {
		res, err := client.Get("http://" + address + "/slow")
		if err != nil {
			slow <- err.Error()
			return
		}
		defer res.Body.Close()
		text, _ := bufio.NewReader(res.Body).ReadString('\n')
		slow <- text
	}()
	<-begun
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	for err = nil; err == nil; { // the stream ends while the other one goes on
		_, err = lines.ReadString('\n')
	}
	close(goOn)
	if got := <-slow; got != "whole" {
		t.Errorf("what had begun ended with %q", got)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// writeCertificate writes a certificate for 127.0.0.1 with that number.
func writeCertificate(t *testing.T, certFile, keyFile string, number int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(number), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		written := time.Unix(number, 0) // the file system's own clock may not have gone on since the one before, of the same size
		if err := os.Chtimes(file, written, written); err != nil {
			t.Fatal(err)
		}
	}
}

// Certificates are read again when they change; one that can't be used doesn't take the place of one that can.
func TestCertificates(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	log := slog.New(slog.DiscardHandler)
	if _, err := LoadCertificate(certFile, keyFile, log); err == nil {
		t.Error("no file is a certificate")
	}
	writeCertificate(t, certFile, keyFile, 1)
	cert, err := LoadCertificate(certFile, keyFile, log)
	if err != nil {
		t.Fatal(err)
	}
	address, stop := served(t, cert, http.NotFoundHandler())
	number := func() int64 {
		cert.mu.Lock()
		cert.asked = time.Time{} // as if time had passed
		cert.mu.Unlock()
		c, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	if n := number(); n != 1 {
		t.Errorf("certificate %d", n)
	}
	if err := os.WriteFile(certFile, []byte("half a certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	if n := number(); n != 1 {
		t.Errorf("while the files are wrong: certificate %d", n)
	}
	writeCertificate(t, certFile, keyFile, 2)
	if n := number(); n != 2 {
		t.Errorf("after the change: certificate %d", n)
	}
	if c, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11}); err == nil {
		c.Close()
		t.Error("TLS 1.1 is spoken")
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// The store is asked once a second at most, and strangers aren't told why it doesn't answer.
func TestReadiness(t *testing.T) {
	asked, down := 0, errors.New("dial redis://:hunter2@db: refused")
	s := newSite(t, func(c *Config) {
		c.Ping = func(context.Context) error { asked++; return down }
	})
	began := time.Now()
	for range 50 {
		if a := s.ask(t, "GET", "/readyz", ""); a.status != 503 || a.body != "the store doesn't answer\n" {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	if took := time.Since(began); asked > 3+int(took/time.Second) {
		t.Errorf("the store was asked %d times in %v", asked, took)
	}
	if a := s.ask(t, "GET", "/healthz", ""); a.status != 200 {
		t.Errorf("alive: %d", a.status)
	}
	if a := newSite(t, nil).ask(t, "GET", "/readyz", ""); a.status != 200 || a.body != "ready\n" {
		t.Errorf("ready: %d %s", a.status, a.body)
	}
}

func TestFront(t *testing.T) {
	f, err := NewFront(guard.Options{Listen: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	get := func(path string) int {
		r := httptest.NewRequest("GET", "http://localhost"+path, nil)
		rec := httptest.NewRecorder()
		f.ServeHTTP(rec, r)
		return rec.Code
	}
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 503, "/": 503, "/static/style.css": 200} {
		if got := get(path); got != want {
			t.Errorf("before it is open, %s: %d", path, got)
		}
	}
	f.Open(http.NotFoundHandler())
	if got := get("/"); got != 404 {
		t.Errorf("open: %d", got)
	}
}

// What people do is in the record under their names, by the pages as by the API, and what changes nothing isn't.
func TestDeedsAreRecorded(t *testing.T) {
	t.Setenv("RCLONE_CONFIG_ONE_TYPE", "local")
	t.Setenv("RCLONE_CONFIG_TWO_TYPE", "local")
	src, dst := "one:"+t.TempDir(), "two:"+t.TempDir()
	s := newSite(t, nil)
	anna := s.signIn(t, "anna")
	page := func(path, form string) { s.ask(t, "POST", path, form, "Cookie", anna) }
	script := func(method, path, body string) answer {
		t.Helper()
		a := s.ask(t, method, "/api/v1"+path, body, "Authorization", "Bearer "+operatorToken, "Idempotency-Key", "once")
		if a.status >= 300 {
			t.Errorf("%s %s: %d %s", method, path, a.status, a.body)
		}
		return a
	}
	var j jobs.Job
	for range 2 { // the second changes nothing
		if err := json.Unmarshal([]byte(script("POST", "/jobs", `{"source":"`+src+`","destination":"`+dst+`"}`).body), &j); err != nil {
			t.Fatal(err)
		}
	}
	script("PATCH", "/jobs/"+j.ID, `{"bwlimit":"2M"}`)
	page("/jobs/"+j.ID+"/bandwidth", "bwlimit=off")
	page("/jobs/bulk", "action=pause&back=/jobs")
	page("/jobs/"+j.ID+"/restore", "")
	script("POST", "/jobs/actions", `{"action":"retry","ids":["`+j.ID+`"]}`)
	page("/jobs/bulk", "action=cancel&id="+j.ID)
	page("/jobs/"+j.ID+"/cancel", "")
	script("POST", "/jobs/"+j.ID+"/pause", "")
	page("/jobs/"+j.ID+"/resume", "")
	page("/jobs/bulk", "action=cancel&sure=yes&id="+j.ID)
	script("PATCH", "/quota/accounts/bob", `{"limit":"2GiB"}`)
	page("/quota/account", "account=bob&anchor-day=5")
	script("PUT", "/bandwidth", `{"bwlimit":"4M"}`)
	page("/quota/bandwidth", "reset=1")
	script("PUT", "/workers/limits", `{"account":"bob","transfers":"8"}`)
	page("/workers/files", "of=account&name=bob&reset=1")
	page("/new/preview", "source="+src+"&destination="+dst)
	script("POST", "/schedules", `{"name":"nightly","when":{"every":"day"},"options":{"source":["`+src+`"],"destination":["`+dst+`"]}}`)
	page("/schedules/of/default/nightly/pause", "")
	script("DELETE", "/schedules/nightly", "")
	page("/logout", "")
	want := []string{"anna signed in /login", "script job created " + j.ID, "script job bandwidth set " + j.ID + ": 2M", "anna job bandwidth set " + j.ID + ": off",
		"script job paused " + j.ID, "anna job resumed " + j.ID, "anna job canceled " + j.ID,
		"script quota set bob: limit 2.0 GiB", "anna quota set bob: anchor day 5", "script bandwidth set all jobs: 4M", "anna bandwidth set all jobs: back to the settings",
		"script files at once set account bob: at most 8", "anna files at once set account bob: back to the settings",
		"script schedule added default/nightly", "anna schedule paused default/nightly", "script schedule removed default/nightly", "anna signed out /logout"}
	deeds, _, err := s.jobs.AuditLog(t.Context(), "", 100)
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(deeds)
	for i, d := range deeds {
		got := d.Who + " " + d.Action + " " + d.Subject + ": " + d.Detail
		if i >= len(want) || !strings.HasPrefix(got, want[i]) {
			t.Errorf("deed %d is %q, want %q", i, got, want[min(i, len(want)-1)])
		}
	}
	if len(deeds) != len(want) {
		t.Errorf("%d deeds, want %d", len(deeds), len(want))
	}
	var by []string
	events, err := s.jobs.History(t.Context(), j.ID)
	for _, e := range events {
		by = append(by, e.By)
	}
	if got := strings.Join(by, " "); err != nil || got != "script script anna anna" {
		t.Errorf("the job's history names %q, %v", got, err)
	}
}
