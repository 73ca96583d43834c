package jobs

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// A process is known to be dead only where its ID is of this very set of processes, and nobody has it.
func TestKnownDead(t *testing.T) {
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Skip(err)
	}
	gone, space, host := strconv.Itoa(cmd.Process.Pid), pidSpace(), hostName()
	if space == "" {
		t.Skip("sets of process IDs can't be told apart here")
	}
	boot, ns := space[:36], space[36:]
	name := func(parts ...string) string { return strings.Join(append(parts, "ABCDEFGH"), ":") }
	for _, tt := range []struct {
		what, name string
		want       bool
	}{
		{"a process of this host that has ended", name(host, space, gone), true},
		{"this process", processName(), false},
		{"the first process, of another user", name(host, space, "1"), false},
		{"a new process with the ID of an old one", name(host, space, strconv.Itoa(os.Getpid())), false},
		{"another container of this host", name("0f3a", boot+"4026599999", gone), false},
		{"another container with the same name", name(host, boot+"4026599999", gone), false},
		{"another boot", name(host, "00000000-0000-4000-8000-000000000000"+ns, gone), false},
		{"a twin from a snapshot", name("twin", space, gone), false},
		{"a process that can't tell its set", name(host, "", gone), false},
		{"no process", name(host, space, "0"), false},
		{"a group", name(host, space, "-"+gone), false},
		{"garbage", "x", false},
		{"nothing", "", false},
	} {
		if got := knownDead(tt.name); got != tt.want {
			t.Errorf("%s (%s): dead %v, want %v", tt.what, tt.name, got, tt.want)
		}
	}
}

// A process that has ended is known to be dead while nobody has asked how it ended.
func TestKnownDeadZombie(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Skip(err)
	}
	name := fmt.Sprintf("%s:%s:%d:ABCDEFGH", hostName(), pidSpace(), cmd.Process.Pid)
	if knownDead(name) {
		t.Error("a running process is said to be dead")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if pidSpace() != "" {
		until(t, "the zombie to be seen", func() bool { return knownDead(name) })
	}
	_ = cmd.Wait() // it was killed
}
