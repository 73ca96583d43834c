package acceptance

import (
	"testing"
	"time"

	"offload/internal/redistest"
)

// The test of the test: a gate that is closed lets nothing through, and tells that it was met.
func TestGateCutsAWayToRedis(t *testing.T) {
	t.Parallel()
	server := redistest.StartServer(t)
	g := newGate(t, server.Socket())
	call := func(timeout time.Duration, args ...string) (string, error) {
		a := &asker{network: "tcp", address: g.ln.Addr().String(), patience: timeout}
		defer a.close()
		return a.text(args...)
	}
	want := func(what string, fails bool) {
		t.Helper()
		patience := 10 * time.Second
		if fails {
			patience = 200 * time.Millisecond
		}
		if _, err := call(patience, "SET", "k", "v"); (err != nil) != fails {
			t.Errorf("%s: %v", what, err)
		}
	}
	want("open", false)
	g.set(refused)
	want("refused", true)
	if g.reopen(false) == 0 {
		t.Error("nobody met the refusing gate")
	}
	want("open again", false)
	g.set(swallow)
	want("swallowing", true)
	if g.reopen(true) == 0 {
		t.Error("nobody met the swallowing gate")
	}
	want("open again", false)

	// What was held up arrives late.
	held := &asker{network: "tcp", address: g.ln.Addr().String(), patience: 10 * time.Second}
	defer held.close()
	if _, err := held.text("PING"); err != nil {
		t.Fatal(err)
	}
	g.set(swallow)
	sent := make(chan error, 1)
	go func() {
		_, err := held.text("SET", "late", "1")
		sent <- err
	}()
	eventually(t, 10*time.Second, "a command to be held up", func() bool { return g.met() > 0 })
	direct := &asker{network: "unix", address: server.Socket(), patience: 10 * time.Second}
	defer direct.close()
	if s, err := direct.text("GET", "late"); s != "" || err != nil {
		t.Errorf("a command came through: %q, %v", s, err)
	}
	g.reopen(true)
	if err := <-sent; err != nil {
		t.Errorf("the command that was held up: %v", err)
	}
	if s, err := direct.text("GET", "late"); s != "1" || err != nil {
		t.Errorf("the command that was held up didn't arrive: %q, %v", s, err)
	}
}
