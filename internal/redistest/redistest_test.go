package redistest

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"offload/internal/leaktest"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }

// say sends one command, which must succeed, and returns its answer.
func say(t *testing.T, socket, command string) string {
	t.Helper()
	answer, err := ask(socket, command, patience)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// A killed server comes back with all that it answered, a restored one with what the copy had, a wiped one with nothing.
func TestServerRestarts(t *testing.T) {
	t.Parallel()
	s := StartServer(t)
	want := func(what, answer string) {
		t.Helper()
		if got := say(t, s.Socket(), "GET k"); got != answer {
			t.Errorf("%s: k is %q, want %q", what, got, answer)
		}
	}
	say(t, s.Socket(), "SET k 1")
	backup := s.Save()
	say(t, s.Socket(), "SET k 2")
	s.Kill()
	s.Run()
	want("killed", "2")
	s.Stop()
	s.Run()
	want("stopped", "2")
	s.Restore(backup)
	want("restored", "1")
	say(t, s.Socket(), "SET k 3")
	s.Restore(backup)
	want("restored again", "1")
	s.Wipe()
	want("wiped", "")
	s.Kill()
	s.Kill()
}

// A frozen server doesn't answer, and goes on where it was.
func TestFreeze(t *testing.T) {
	t.Parallel()
	s := StartServer(t)
	say(t, s.Socket(), "SET k 1")
	s.Freeze()
	if answer, err := ask(s.Socket(), "GET k", probe); err == nil {
		t.Errorf("a frozen server answered %q", answer)
	}
	s.Thaw()
	if got := say(t, s.Socket(), "GET k"); got != "1" {
		t.Errorf("k is %q, want 1", got)
	}
	s.Freeze() // which must not keep the clean-up from ending it
}

// What was written to the old master and reached the replica is at the new one, and the old one comes back as a replica.
func TestSentinelFailsOver(t *testing.T) {
	t.Parallel()
	s := StartSentinel(t)
	old := s.Master()
	say(t, old.Socket(), "SET k 1")
	if got := say(t, old.Socket(), "WAIT 1 5000"); got != "1" {
		t.Fatalf("WAIT answers %s", got)
	}
	old.Kill()
	s.Await(old)
	if s.Master() == old {
		t.Fatal("the killed server is still the master")
	}
	if got := say(t, s.Master().Socket(), "GET k"); got != "1" {
		t.Errorf("k is %q, want 1", got)
	}
	old.Run()
	poll(t, "the old master to become a replica", func() bool {
		return strings.HasPrefix(say(t, old.Socket(), "ROLE"), "slave")
	})
}

// The cluster serves all slots, and does so again after one of its masters was killed and started.
func TestClusterComesBack(t *testing.T) {
	t.Parallel()
	c := StartCluster(t)
	for i, m := range c.Masters {
		if got := say(t, m.Socket(), "CLUSTER INFO"); !strings.Contains(got, "cluster_slots_ok:16384") {
			t.Errorf("master %d: %s", i, got)
		}
	}
	c.Masters[0].Kill()
	poll(t, "the others to see it", func() bool {
		return strings.Contains(say(t, c.Masters[1].Socket(), "CLUSTER INFO"), "cluster_state:fail")
	})
	c.Masters[0].Run()
	c.Await()
}

// No process outlives its test.
func TestNothingIsLeft(t *testing.T) {
	t.Parallel()
	var pids []int
	t.Run("inner", func(t *testing.T) {
		s := StartSentinel(t)
		for _, server := range append(s.data, s.sentinels...) {
			pids = append(pids, server.cmd.Process.Pid)
		}
	})
	for _, pid := range pids {
		if err := syscall.Kill(pid, 0); err == nil {
			raw, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
			t.Errorf("process %d is still there: %q", pid, raw)
		}
	}
}
