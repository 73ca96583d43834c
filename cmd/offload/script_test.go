package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// scriptCommands are the commands that the scripts know beside those of testscript:
//
//	status N offload ARGS...        run and expect the exit status N; stdout and stderr work on its output
//	json FIELD=VALUE ...            stdout of the last command is one JSON document that holds these
//	wait-json FIELD=VALUE offload ARGS...   run it again until its JSON says so
//	id VARIABLE [FIELD]             keep what the last command printed, or a field of its JSON
//	spawn NAME offload ARGS...      run beside the script; output goes to NAME.log
//	end NAME N                      interrupt it and expect the exit status N
//	wait-file FILE                  wait until it exists
//	wait-match VARIABLE FILE REGEXP wait until a line of the file matches, and keep what its group found
//	kill9 NAME                      kill it
//	size FILE BYTES                 make a file of so many bytes
//	sparse FILE BYTES               make a file of so many bytes that takes no room on disk
func scriptCommands() map[string]func(*testscript.TestScript, bool, []string) {
	spawned := &registry{}
	spawn := func(ts *testscript.TestScript, neg bool, args []string) { cmdSpawn(spawned, ts, neg, args) }
	end := func(ts *testscript.TestScript, neg bool, args []string) { cmdEnd(spawned, ts, neg, args) }
	kill := func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) != 1 {
			ts.Fatalf("usage: kill9 NAME")
		}
		b := spawned.take(ts, args[0])
		ts.Check(b.cmd.Process.Kill())
		<-b.done
	}
	return map[string]func(*testscript.TestScript, bool, []string){
		"status": cmdStatus, "json": cmdJSON, "wait-json": cmdWaitJSON, "size": cmdSize, "sparse": cmdSparse, "wait-file": cmdWaitFile, "wait-match": cmdWaitMatch, "id": cmdID, "spawn": spawn, "end": end, "kill9": kill,
	}
}

// cmdStatus runs a command and expects an exact exit status, which exec can't tell.
func cmdStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N command args...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if err != nil {
		exit, ok := err.(*exec.ExitError)
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit status %d; want %d", got, want)
	}
}

// cmdJSON expects stdout to be exactly one JSON document with the given fields, such as files.copied=3.
func cmdJSON(ts *testscript.TestScript, neg bool, args []string) {
	doc, err := decode(ts.ReadFile("stdout"))
	ts.Check(err)
	for _, arg := range args {
		if problem := mismatch(doc, arg); (problem != "") != neg {
			ts.Fatalf("%s %s", arg, problem)
		}
	}
}

func decode(text string) (any, error) {
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var doc any
	if err := dec.Decode(&doc); err != nil {
		return nil, fmt.Errorf("stdout isn't JSON: %w: %q", err, text)
	}
	if dec.More() {
		return nil, fmt.Errorf("stdout holds more than one document: %q", text)
	}
	return doc, nil
}

// mismatch says how the document differs from "path.to.field=value"; "" if it doesn't. "#" is the length of a list.
func mismatch(doc any, arg string) string {
	path, want, _ := strings.Cut(arg, "=")
	at := doc
	for _, key := range strings.Split(path, ".") {
		switch v := at.(type) {
		case map[string]any:
			at = v[key]
		case []any:
			if key == "#" {
				at = len(v)
				continue
			}
			i, err := strconv.Atoi(key)
			if err != nil || i >= len(v) {
				return fmt.Sprintf("has no element %s of %d", key, len(v))
			}
			at = v[i]
		default:
			return "isn't there"
		}
	}
	if got := fmt.Sprint(at); got != want {
		return "is " + got
	}
	return ""
}

// waitTime is how long scripts wait for what must come: the machine may be slow, and busy with other tests.
const waitTime = 3 * time.Minute

// cmdWaitJSON runs a command until its JSON has a field's value, for at most waitTime.
func cmdWaitJSON(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: wait-json field=value command args...")
	}
	deadline := time.NewTimer(waitTime)
	defer deadline.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		problem := "no answer"
		if err := ts.Exec(args[1], args[2:]...); err == nil {
			doc, err := decode(ts.ReadFile("stdout"))
			ts.Check(err)
			if problem = mismatch(doc, args[0]); problem == "" {
				return
			}
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			ts.Fatalf("%s after %s: %s", args[0], waitTime, problem)
		}
	}
}

// cmdWaitFile waits for a file to appear, for at most waitTime.
func cmdWaitFile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: wait-file FILE")
	}
	deadline := time.NewTimer(waitTime)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Stat(ts.MkAbs(args[0])); err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			ts.Fatalf("%s doesn't appear", args[0])
		}
	}
}

// cmdWaitMatch waits for a line in a file that something else writes, for at most waitTime, and puts the first group of the pattern
// into a variable.
func cmdWaitMatch(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: wait-match VARIABLE FILE REGEXP")
	}
	pattern, err := regexp.Compile("(?m)" + args[2])
	ts.Check(err)
	deadline := time.NewTimer(waitTime)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		text, err := os.ReadFile(ts.MkAbs(args[1]))
		ts.Check(err)
		if found := pattern.FindSubmatch(text); len(found) > 1 {
			ts.Setenv(args[0], string(found[1]))
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			ts.Fatalf("%s never holds %s: %s", args[1], args[2], text)
		}
	}
}

// cmdID puts what the last command printed, or a field of its JSON, into a variable.
func cmdID(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: id VARIABLE [FIELD]")
	}
	text := strings.TrimSpace(ts.ReadFile("stdout"))
	if len(args) == 2 {
		doc, err := decode(text)
		ts.Check(err)
		text = strings.TrimPrefix(mismatch(doc, args[1]+"=\x00"), "is ")
	}
	ts.Setenv(args[0], text)
}

// cmdSize makes files of a given size, with content that differs by name.
func cmdSize(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: size FILE BYTES")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	line := []byte(args[0] + " is what this file holds\n")
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), bytes.Repeat(line, n/len(line)+1)[:n], 0o600))
}

// cmdSparse makes files that are only large to look at, for commands that read none of it.
func cmdSparse(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: sparse FILE BYTES")
	}
	n, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), nil, 0o600))
	ts.Check(os.Truncate(ts.MkAbs(args[0]), n))
}

// background is a command that runs beside the script.
type background struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

// registry holds the background commands of each script.
type registry struct{ all sync.Map }

type registryKey struct {
	script *testscript.TestScript
	name   string
}

func (r *registry) add(ts *testscript.TestScript, name string, b *background) {
	r.all.Store(registryKey{ts, name}, b)
}

func (r *registry) take(ts *testscript.TestScript, name string) *background {
	b, ok := r.all.LoadAndDelete(registryKey{ts, name})
	if !ok {
		ts.Fatalf("nothing was spawned as %s", name)
	}
	return b.(*background)
}

// cmdSpawn starts a command in the background; it is killed with the script if it wasn't ended before.
func cmdSpawn(spawned *registry, ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: spawn NAME command args...")
	}
	path := args[1]
	if found, err := lookIn(ts.Getenv("PATH"), path); err == nil {
		path = found
	}
	log, err := os.Create(ts.MkAbs(args[0] + ".log"))
	ts.Check(err)
	b := &background{cmd: exec.Command(path, args[2:]...), done: make(chan struct{})}
	b.cmd.Dir, b.cmd.Stdout, b.cmd.Stderr = ts.MkAbs("."), log, log
	for _, name := range []string{"HOME", "OFFLOAD_DATA", "OFFLOAD_DASHBOARD_LISTEN", "RCLONE_CONFIG", "PATH", "TMPDIR", "GORACE"} {
		b.cmd.Env = append(b.cmd.Env, name+"="+ts.Getenv(name))
	}
	ts.Check(b.cmd.Start())
	go func() {
		// cmdEnd reads the exit status; output is in the log.
		_ = b.cmd.Wait()
		log.Close()
		close(b.done)
	}()
	ts.Defer(func() {
		// An error means that it has ended already.
		_ = b.cmd.Process.Kill()
		<-b.done
	})
	ts.Setenv(args[0]+"_pid", strconv.Itoa(b.cmd.Process.Pid))
	spawned.add(ts, args[0], b)
}

func lookIn(path, name string) (string, error) {
	for _, dir := range strings.Split(path, string(os.PathListSeparator)) {
		full := dir + string(os.PathSeparator) + name
		if info, err := os.Stat(full); err == nil && info.Mode()&0o111 != 0 {
			return full, nil
		}
	}
	return "", exec.ErrNotFound
}

// cmdEnd interrupts a background command and expects its exit status.
func cmdEnd(spawned *registry, ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: end NAME STATUS")
	}
	b := spawned.take(ts, args[0])
	ts.Check(b.cmd.Process.Signal(syscall.SIGINT))
	deadline := time.NewTimer(waitTime)
	defer deadline.Stop()
	select {
	case <-b.done:
	case <-deadline.C:
		ts.Fatalf("%s didn't end in %s", args[0], waitTime)
	}
	ts.Logf("%s", ts.ReadFile(args[0]+".log"))
	if got := strconv.Itoa(b.cmd.ProcessState.ExitCode()); got != args[1] {
		ts.Fatalf("exit status %s; want %s", got, args[1])
	}
}
