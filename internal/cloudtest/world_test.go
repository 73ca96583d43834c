package cloudtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// web is a client of drivews and docws with a live session, and without any retries.
type web struct {
	t       *testing.T
	w       *World
	client  *http.Client
	cookies string
	hits    *Hits // of the fault that is being tested
}

func newWeb(t *testing.T, w *World) *web {
	t.Helper()
	tr := w.Transport()
	tr.DisableKeepAlives = true // else net/http repeats a call whose connection was dropped
	_, cookies := w.ICloud.Default().SignIn()
	return &web{t: t, w: w, client: &http.Client{Transport: tr}, cookies: cookies}
}

// do makes a call and returns the status and the body; err is of the connection.
func (c *web) do(ctx context.Context, method, url, body string) (int, string, error) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Origin", webOrigin)
	req.Header.Set("Cookie", c.cookies)
	resp, err := c.client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(got), err
}

// call is do where the connection must hold.
func (c *web) call(method, url, body string) (int, string) {
	c.t.Helper()
	status, got, err := c.do(c.t.Context(), method, url, body)
	if err != nil {
		c.t.Fatal(err)
	}
	return status, got
}

const (
	driveURL = "https://" + driveHost + ":443"
	docsURL  = "https://" + docsHost + ":443"
	listRoot = `[{"drivewsid":"FOLDER::com.apple.CloudDocs::root","partialData":false}]`
)

func TestTheWorldEnds(t *testing.T) {
	w, err := Start(Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := newWeb(t, w)
	h := w.Fault(Fault{Endpoint: "icloud:retrieveItemDetailsInFolders", Kind: Hang})
	done := make(chan error, 1)
	go func() {
		_, _, err := c.do(context.Background(), "POST", driveURL+"/retrieveItemDetailsInFolders", listRoot)
		done <- err
	}()
	eventually(t, "the hanging call", func() bool { return h.Count() == 1 })
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err == nil {
		t.Error("a call outlived the world")
	}
	if _, err := os.Stat(w.CAFile()); !errors.Is(err, os.ErrNotExist) {
		t.Error("the folder is still there")
	}
	if err := w.Close(); err != nil {
		t.Error("closing twice:", err)
	}
}

func TestOnlyPlayedHostsAreReached(t *testing.T) {
	w := start(t, Options{})
	c := newWeb(t, w)
	if _, _, err := c.do(t.Context(), "GET", "https://example.com/", ""); err == nil {
		t.Error("the proxy reached a host that isn't played")
	}
}

func TestFaultsStrike(t *testing.T) {
	const list = "icloud:retrieveItemDetailsInFolders"
	content := bytes.Repeat([]byte("0123456789abcdef"), 4096)
	for _, tc := range []struct {
		name  string
		fault Fault
		check func(t *testing.T, c *web, link string)
	}{
		{"status", Fault{Endpoint: list, Kind: Status, Status: 503, Times: 1}, func(t *testing.T, c *web, _ string) {
			status, _ := c.call("POST", driveURL+"/retrieveItemDetailsInFolders", listRoot)
			again, _ := c.call("POST", driveURL+"/retrieveItemDetailsInFolders", listRoot)
			if status != 503 || again != 200 {
				t.Errorf("got %d, then %d", status, again)
			}
		}},
		{"status with header and body", Fault{Endpoint: list, Kind: Status, Status: 429, Header: http.Header{"Retry-After": {"7"}}, Body: "slow"},
			func(t *testing.T, c *web, _ string) {
				if status, body := c.call("POST", driveURL+"/retrieveItemDetailsInFolders", listRoot); status != 429 || body != "slow" {
					t.Errorf("got %d %q", status, body)
				}
			}},
		{"cut", Fault{Endpoint: "icloud:content", Kind: Cut, CutAt: 0.5}, func(t *testing.T, c *web, link string) {
			_, body, err := c.do(t.Context(), "GET", link, "")
			if err == nil || len(body) == 0 || len(body) >= len(content) || !bytes.HasPrefix(content, []byte(body)) {
				t.Errorf("got %d bytes of %d, %v", len(body), len(content), err)
			}
		}},
		{"cut a listing", Fault{Endpoint: list, Kind: Cut, CutAt: 0.3}, func(t *testing.T, c *web, _ string) {
			if _, body, err := c.do(t.Context(), "POST", driveURL+"/retrieveItemDetailsInFolders", listRoot); err == nil || body == "" {
				t.Errorf("got %d bytes, %v", len(body), err)
			}
		}},
		{"lost", Fault{Endpoint: "icloud:moveItemsToTrash", Kind: Lost}, func(t *testing.T, c *web, _ string) {
			it, _ := c.w.ICloud.Default().Lookup("a.bin")
			_, _, err := c.do(t.Context(), "POST", driveURL+"/moveItemsToTrash", trashBody(it))
			if _, there := c.w.ICloud.Default().Lookup("a.bin"); err == nil || there {
				t.Errorf("error %v, still there %v", err, there)
			}
		}},
		{"drop", Fault{Endpoint: "icloud:moveItemsToTrash", Kind: Drop}, func(t *testing.T, c *web, _ string) {
			it, _ := c.w.ICloud.Default().Lookup("a.bin")
			_, _, err := c.do(t.Context(), "POST", driveURL+"/moveItemsToTrash", trashBody(it))
			if _, there := c.w.ICloud.Default().Lookup("a.bin"); err == nil || !there {
				t.Errorf("error %v, still there %v", err, there)
			}
		}},
		{"empty", Fault{Endpoint: list, Kind: Empty}, func(t *testing.T, c *web, _ string) {
			if status, body := c.call("POST", driveURL+"/retrieveItemDetailsInFolders", listRoot); status != 200 || body != "[]" {
				t.Errorf("got %d %q", status, body)
			}
		}},
		{"hang", Fault{Endpoint: list, Kind: Hang}, func(t *testing.T, c *web, _ string) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := make(chan error, 1)
			go func() {
				_, _, err := c.do(ctx, "POST", driveURL+"/retrieveItemDetailsInFolders", listRoot)
				ended <- err
			}()
			eventually(t, "the call", func() bool { return c.hits.Count() == 1 })
			select {
			case err := <-ended:
				t.Errorf("answered: %v", err)
			case <-time.After(50 * time.Millisecond):
				cancel()
				if err := <-ended; !errors.Is(err, context.Canceled) {
					t.Errorf("got %v", err)
				}
			}
		}},
		{"flip what is sent", Fault{Endpoint: "icloud:content", Kind: Flip}, func(t *testing.T, c *web, link string) {
			if _, body := c.call("GET", link, ""); bitsApart(content, []byte(body)) != 1 {
				t.Errorf("%d bits differ", bitsApart(content, []byte(body)))
			}
		}},
		{"short", Fault{Endpoint: list, Kind: Short}, func(t *testing.T, c *web, _ string) {
			_, body := c.call("POST", driveURL+"/retrieveItemDetailsInFolders", listRoot)
			if n := strings.Count(body, `"type":"FILE"`); n != 1 || !strings.Contains(body, `"numberOfItems":2`) {
				t.Errorf("got %s", body)
			}
		}},
		{"do", Fault{Endpoint: "icloud:moveItemsToTrash", Kind: Do}, func(t *testing.T, c *web, _ string) {
			it, _ := c.w.ICloud.Default().Lookup("a.bin")
			_, body := c.call("POST", driveURL+"/moveItemsToTrash", trashBody(it))
			if !strings.Contains(body, "ETAG_CONFLICT") {
				t.Errorf("got %s", body)
			}
		}},
		{"match", Fault{Endpoint: "*", Kind: Status, Status: 500, Match: func(r *http.Request) bool { return r.Method == http.MethodGet }},
			func(t *testing.T, c *web, link string) {
				listed, _ := c.call("POST", driveURL+"/retrieveItemDetailsInFolders", listRoot)
				got, _ := c.call("GET", link, "")
				if listed != 200 || got != 500 {
					t.Errorf("got %d and %d", listed, got)
				}
			}},
		{"match by body", Fault{Endpoint: list, Kind: Status, Status: 500, Match: func(r *http.Request) bool {
			body, _ := io.ReadAll(r.Body)
			return bytes.Contains(body, []byte("TRASH_ROOT"))
		}}, func(t *testing.T, c *web, _ string) {
			root, _ := c.call("POST", driveURL+"/retrieveItemDetailsInFolders", listRoot)
			trash, _ := c.call("POST", driveURL+"/retrieveItemDetailsInFolders", `[{"drivewsid":"TRASH_ROOT"}]`)
			if root != 200 || trash != 500 {
				t.Errorf("got %d and %d", root, trash)
			}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := start(t, Options{Seed: 7})
			a := w.ICloud.Default()
			a.Put("a.bin", content, time.Now())
			a.Put("b.bin", content, time.Now())
			c := newWeb(t, w)
			it, _ := a.Lookup("a.bin")
			link := c.link(it)
			if tc.fault.Kind == Do {
				tc.fault.Hook = func(*http.Request) { a.Change("a.bin", []byte("new")) }
			}
			h := w.Fault(tc.fault)
			c.hits = h
			tc.check(t, c, link)
			if h.Count() != 1 {
				t.Errorf("it struck %d times", h.Count())
			}
			h.Remove()
			if status, _ := c.call("POST", driveURL+"/retrieveItemDetailsInFolders", listRoot); status != 200 {
				t.Errorf("it strikes on: %d", status)
			}
			if h.Count() != 1 {
				t.Error("it counts on")
			}
		})
	}
}

func TestFaultsAreCounted(t *testing.T) {
	w := start(t, Options{Seed: 3})
	c := newWeb(t, w)
	some := w.Fault(Fault{Endpoint: "icloud:retrieveItemDetailsInFolders", Kind: Status, Status: 503, Share: 0.15})
	for range 200 {
		c.call("POST", driveURL+"/retrieveItemDetailsInFolders", listRoot)
	}
	if n := some.Count(); n < 15 || n > 50 {
		t.Errorf("a share of 15%% struck %d times in 200", n)
	}
	w.ClearFaults()
	late := w.Fault(Fault{Endpoint: "icloud:*", Kind: Status, Status: 503, After: 2, Times: 3})
	var got []int
	for range 7 {
		status, _ := c.call("POST", driveURL+"/retrieveItemDetailsInFolders", listRoot)
		got = append(got, status)
	}
	if !slices.Equal(got, []int{200, 200, 503, 503, 503, 200, 200}) || late.Count() != 3 {
		t.Errorf("got %v, %d hits", got, late.Count())
	}
	if n := w.Calls("icloud:retrieveItemDetailsInFolders"); n != 207 {
		t.Errorf("counted %d calls", n)
	}
}

func TestLimitsAndCounts(t *testing.T) {
	w := start(t, Options{})
	w.ICloud.SetLimit(3)
	c := newWeb(t, w)
	w.Fault(Fault{Endpoint: "icloud:retrieveItemDetailsInFolders", Kind: Do, Hook: func(*http.Request) {
		await(func() bool { return w.ICloud.Refused() == 5 })
	}})
	results := make(chan int, 8)
	for range 8 {
		go func() {
			status, _, err := c.do(context.Background(), "POST", driveURL+"/retrieveItemDetailsInFolders", listRoot)
			if err != nil {
				status = -1
			}
			results <- status
		}()
	}
	got := map[int]int{}
	for range 8 {
		got[<-results]++
	}
	if got[200] != 3 || got[503] != 5 || w.ICloud.Refused() != 5 {
		t.Errorf("got %v, %d refused", got, w.ICloud.Refused())
	}
	if n := w.MaxInFlight("icloud:*"); n != 3 {
		t.Errorf("%d in flight", n)
	}
	for _, r := range w.Requests() {
		if r.Endpoint != "icloud:retrieveItemDetailsInFolders" || r.Path != "/retrieveItemDetailsInFolders" || r.Status == 0 {
			t.Errorf("logged %+v", r)
		}
	}
}

func TestBandwidthIsKept(t *testing.T) {
	w := start(t, Options{Bandwidth: 1 << 20})
	w.ICloud.Default().PutGenerated("a.bin", 256<<10, 1)
	c := newWeb(t, w)
	it, _ := w.ICloud.Default().Lookup("a.bin")
	link := c.link(it)
	began := time.Now()
	if _, body := c.call("GET", link, ""); len(body) != 256<<10 {
		t.Errorf("got %d bytes", len(body))
	}
	if d := time.Since(began); d < 240*time.Millisecond {
		t.Errorf("256 KiB at 1 MiB/s took %v", d)
	}
}

func bitsApart(a, b []byte) int {
	if len(a) != len(b) {
		return -1
	}
	n := 0
	for i := range a {
		for x := a[i] ^ b[i]; x != 0; x &= x - 1 {
			n++
		}
	}
	return n
}

func TestAChildProcessMeetsTheWorld(t *testing.T) {
	if os.Getenv("CLOUDTEST_CHILD") != "" {
		resp, err := http.Post("https://setup.icloud.com/setup/ws/1/validate", "application/json", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusForbidden { // it has no Origin
			t.Fatalf("got %d", resp.StatusCode)
		}
		http.DefaultClient.CloseIdleConnections()
		return
	}
	w := start(t, Options{})
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAChildProcessMeetsTheWorld$")
	cmd.Env = append(append(os.Environ(), "CLOUDTEST_CHILD=1"), w.Environ()...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if w.Calls("icloud:validate") != 1 {
		t.Error("the child called somebody else")
	}
}
