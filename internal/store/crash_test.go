package store

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// child is a process that writes to a store and tells what was acknowledged.
type child struct {
	cmd    *exec.Cmd
	acked  chan string
	lines  []string
	stderr bytes.Buffer
}

func startChild(t *testing.T, mode, dir, id string, more ...string) *child {
	t.Helper()
	c := &child{acked: make(chan string, 1024)}
	c.cmd = exec.Command(os.Args[0], append([]string{dir, id}, more...)...)
	c.cmd.Env = append(os.Environ(), helperEnv+"="+mode)
	c.cmd.Stderr = &c.stderr
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go c.read(out)
	t.Cleanup(func() { _ = c.cmd.Process.Kill() })
	return c
}

func (c *child) read(out io.Reader) {
	defer close(c.acked)
	rd := bufio.NewReader(out)
	for {
		line, err := rd.ReadString('\n')
		if err != nil {
			return // a last line that is cut off was acknowledged all the same, but which one is unknown
		}
		c.acked <- strings.TrimSpace(line)
	}
}

// wait reads until n more commands were acknowledged.
func (c *child) wait(t *testing.T, n int) {
	t.Helper()
	deadline := time.After(5 * time.Minute) // each of them may wait for a busy disk
	for range n {
		select {
		case line, ok := <-c.acked:
			if !ok {
				t.Fatalf("the child ended by itself: %s", c.stderr.String())
			}
			c.lines = append(c.lines, line)
		case <-deadline:
			t.Fatalf("the child doesn't get on: %s", c.stderr.String())
		}
	}
}

// kill ends the child with SIGKILL and reads what it had printed.
func (c *child) kill(t *testing.T) {
	t.Helper()
	if err := c.cmd.Process.Kill(); err != nil {
		t.Fatalf("%v: %s", err, c.stderr.String())
	}
	for line := range c.acked {
		c.lines = append(c.lines, line)
	}
	_ = c.cmd.Wait()
	if c.stderr.Len() > 0 {
		t.Errorf("the child said: %s", c.stderr.String())
	}
}

// check looks for every acknowledged write, and for scripts that were carried out in part.
func check(t *testing.T, s *Store, children ...*child) {
	t.Helper()
	hash, err := s.Client().HGetAll(t.Context(), "{t}hash").Result()
	if err != nil {
		t.Fatal(err)
	}
	set, err := s.Client().SMembersMap(t.Context(), "{t}set").Result()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, c := range children {
		for _, field := range c.lines {
			n++
			if hash[field] != valueOf(field) {
				t.Errorf("%s was acknowledged and holds %q", field, hash[field])
			}
		}
	}
	listed := map[string]bool{}
	for _, c := range children {
		list, err := s.Client().LRange(t.Context(), "{t}list"+c.cmd.Args[2], 0, -1).Result()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range list {
			listed[f] = true
		}
	}
	for field := range set {
		if _, ok := hash[field]; !ok || !listed[field] {
			t.Errorf("the script of %s was carried out in part", field)
		}
	}
	if len(listed) != len(set) {
		t.Errorf("%d in the lists, %d in the set", len(listed), len(set))
	}
	t.Logf("%d acknowledged, %d there", n, len(hash))
}

func TestKillWhileWriting(t *testing.T) {
	for _, v := range []struct{ mode, fsync string }{{"write", "everysec"}, {"write", "always"}, {"compact", "everysec"}} {
		t.Run(v.mode+" "+v.fsync, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			var all []*child
			for round := range 6 {
				c := startChild(t, v.mode, dir, fmt.Sprint("r", round), v.fsync)
				c.wait(t, 20+rand.IntN(400))
				c.kill(t)
				all = append(all, c)
			}
			check(t, openDir(t, dir), all...)
		})
	}
}

// TestTakeover kills the owner of a folder again and again while others write to it.
func TestTakeover(t *testing.T) {
	dir := t.TempDir()
	var all, alive []*child
	start := func() {
		c := startChild(t, "write", dir, fmt.Sprint("c", len(all)), "everysec")
		all, alive = append(all, c), append(alive, c)
		c.wait(t, 20)
	}
	start()
	start()
	for range 5 {
		start()
		pid, err := os.ReadFile(filepath.Join(dir, lockName))
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(alive, func(c *child) bool { return fmt.Sprint(c.cmd.Process.Pid) == strings.TrimSpace(string(pid)) })
		if i < 0 {
			t.Fatalf("process %s isn't one of the children", pid)
		}
		owner := alive[i]
		alive = slices.Delete(alive, i, i+1)
		owner.kill(t)
		for _, c := range alive {
			for len(c.acked) > 0 {
				c.wait(t, 1)
			}
			c.wait(t, 200) // so some of them are answered by the next owner
		}
	}
	for _, c := range alive {
		c.kill(t)
	}
	check(t, openDir(t, dir), all...)
}

// TestHandover closes the owner while another store of the folder is being written to.
func TestHandover(t *testing.T) {
	dir := t.TempDir()
	stores := []*Store{openDir(t, dir), openDir(t, dir), openDir(t, dir)}
	if stores[0].node.own == nil || stores[1].node.own != nil || stores[2].node.own != nil {
		t.Fatal("the first one, and only that one, owns the folder")
	}
	const n = 300
	closed := stores[0]
	for _, s := range stores[1:] {
		wg := sync.WaitGroup{}
		for w := range 4 {
			wg.Go(func() {
				for i := range n {
					if err := stores[2].Client().HSet(t.Context(), "{t}hash", fmt.Sprint(w, "-", i), i).Err(); err != nil {
						t.Errorf("write: %v", err)
						return
					}
				}
			})
		}
		if err := stores[0].Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
		if got := stores[2].Client().HLen(t.Context(), "{t}hash").Val(); got != 4*n {
			t.Errorf("%d of %d writes are there", got, 4*n)
		}
		stores[0] = s
	}
	if err := closed.Client().Ping(t.Context()).Err(); err == nil {
		t.Error("a closed store answers")
	}
}
