package jobs

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// processName names this process in leases and on screens: "host:space:pid:random". The second part names the set of
// process IDs that pid belongs to (this boot, this container), so that another process of the same set can tell at
// once that this one is gone, without waiting for its leases to end.
func processName() string {
	return fmt.Sprintf("%s:%s:%d:%s", hostName(), pidSpace(), os.Getpid(), rand.Text()[:8])
}

// hostName is this machine's or container's, without what separates the parts of a process's name.
func hostName() string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "unknown"
	}
	return strings.NewReplacer(":", "_", "/", "_", "|", "_").Replace(host)
}

// pidSpace is "" where it can't be told, and where /proc is that of another set of processes.
func pidSpace() string {
	if self, err := os.Readlink("/proc/self"); err != nil || self != strconv.Itoa(os.Getpid()) {
		return ""
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	ns, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(boot)) + strings.Trim(strings.TrimPrefix(ns, "pid:"), "[]")
}

// knownDead tells whether the named process is surely gone. A process whose ID was given to another one since is held
// for living, and so is one of another host name: a machine that was restored from a snapshot has the boot and the
// process IDs of its twin. Their leases end by themselves.
func knownDead(name string) bool {
	p := strings.Split(name, ":")
	if len(p) != 4 || p[0] != hostName() || p[1] == "" || p[1] != pidSpace() {
		return false
	}
	pid, err := strconv.Atoi(p[2])
	if err != nil || pid <= 0 {
		return false
	}
	// The kernel is asked, not /proc, which may hide the processes of other users.
	proc, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	defer func() { _ = proc.Release() }()
	if err := proc.Signal(syscall.Signal(0)); errors.Is(err, os.ErrProcessDone) {
		return true
	}
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	// "pid (name) state ...": the name may hold anything. A zombie has ended, only nobody has asked how yet.
	_, rest, ok := strings.Cut(string(raw[strings.LastIndexByte(string(raw), ')')+1:]), " ")
	return ok && (strings.HasPrefix(rest, "Z") || strings.HasPrefix(rest, "X"))
}

// knownAlive tells whether the named process surely lives, though it may be frozen or cut off from the store. Of the
// names that bear this process's own number only its own is: the others were here before.
func (s *Service) knownAlive(name string) bool {
	p := strings.Split(name, ":")
	if name == s.self {
		return true
	}
	if len(p) != 4 || p[1] == "" || p[1] != pidSpace() || p[2] == strconv.Itoa(os.Getpid()) {
		return false
	}
	_, err := os.Stat("/proc/" + p[2] + "/stat")
	return err == nil && !knownDead(name)
}

// shortName is what people see of a process: host and process ID.
func shortName(name string) string {
	p := strings.Split(name, ":")
	if len(p) != 4 {
		return name
	}
	return p[0] + "/" + p[2]
}
