package acceptance

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"offload/internal/cloudtest"
)

// freed is what `free --json` says.
type freed struct {
	Missing int64  `json:"missing"`
	Need    int64  `json:"need"`
	Reached bool   `json:"reached"`
	Why     string `json:"why"`
	Rounds  []struct {
		Job    job   `json:"job"`
		Gained int64 `json:"gained"`
	} `json:"rounds"`
	InTrash struct{ Files, Bytes int64 } `json:"in_trash"`
	Grew    map[string]int64             `json:"grew"`
}

// fullAccount is an account of 50,000 KB (for 50 GB) of which 49,000 are taken, 20,000 of them by 200 files of the drive, the
// older ones first by name; somebody's file lies in the trash.
func fullAccount(t *testing.T) *clouds {
	t.Helper()
	c := newClouds(t, cloudtest.Options{})
	c.fill()
	return c
}

func (c *clouds) fill() {
	for i := range 200 {
		c.account.PutGenerated(filePath(i), 100_000, uint64(i))
		c.account.SetModTime(filePath(i), time.Date(2020, 1, 1+i, 12, 0, 0, 0, time.UTC))
	}
	c.account.PutGenerated("mine/thrown away.bin", 100_000, 999)
	c.account.Discard("mine/thrown away.bin")
	c.account.FillUp(50_000_000, 49_000_000)
}

func filePath(i int) string { return fmt.Sprintf("Documents/%02d/file %03d.bin", i/20, i) }

// live are the files of the account, by number.
func (c *clouds) liveFiles() (all []int) {
	for i := range 200 {
		if _, ok := c.account.Lookup(filePath(i)); ok {
			all = append(all, i)
		}
	}
	return all
}

// noneLost demands that each file is alive at iCloud, or whole at Dropbox.
func (c *clouds) noneLost(t *testing.T) {
	t.Helper()
	for i := range 200 {
		_, alive := c.account.Lookup(filePath(i))
		there, ok := c.dropbox.Get("Archive/" + filePath(i))
		if !alive && (!ok || len(there) != 100_000) {
			t.Errorf("%s is lost", filePath(i))
		}
	}
}

func (c *clouds) free(status int, args ...string) freed {
	c.w.t.Helper()
	if !slices.Contains(args, "--patience") {
		args = append(args, "--patience", "2s")
	}
	return decode[freed](c.w.t, c.run(status, append([]string{"free", "icloud:", "--to", "dropbox:Archive", "--json"}, args...)...))
}

// 50 GB, 49 of them taken, a backup of 8: after it there is room, as measured, by the fewest of the oldest files.
func TestFreeMakesRoomForABackup(t *testing.T) {
	t.Parallel()
	c := fullAccount(t)
	if out := c.run(2, "free", "icloud:", "--to", "dropbox:Archive", "--for-backup", "7812KiB"); out != "" || len(c.liveFiles()) != 200 {
		t.Errorf("without a yes: %q, %d files", out, len(c.liveFiles()))
	}
	c.account.SetStorageLag(500 * time.Millisecond) // it is counted late
	r := c.free(0, "--for-backup", "7812KiB", "--yes", "--purge-trash", "--protect", "/Documents/00/**", "--keep-recent", "1d", "--patience", "30s")
	// 7,999,488 bytes and 5 % are 8,399,463; 1,000,000 are free: 74 files are needed, and the first twenty are protected.
	if !r.Reached || len(r.Rounds) != 1 || r.Rounds[0].Job.Files.Deleted != 74 || r.Need != 8_399_463 {
		t.Errorf("%+v", r)
	}
	if left := c.liveFiles(); len(left) != 126 || left[19] != 19 || left[20] != 94 {
		t.Errorf("these are left: %v", left)
	}
	if free := 50_000_000 - c.account.Used(); free < r.Need {
		t.Errorf("%d bytes are free, want %d", free, r.Need)
	}
	files := 0
	for _, it := range c.account.Trash() { // folders that were emptied lie there, too
		if it.Type == "FILE" {
			files++
		}
	}
	if files != 1 {
		t.Errorf("%d files in the trash, want the one that was there", files)
	}
	c.noneLost(t)
	if out := c.run(0, "free", "icloud:", "--to", "dropbox:Archive", "--for-backup", "7812KiB"); !strings.Contains(out, "the room is there") {
		t.Errorf("once more: %s", out)
	}
}

// The trash counts until it is purged: the report says so, and nothing more is offloaded in vain.
func TestFreeSaysWhatIsOnlyInTheTrash(t *testing.T) {
	t.Parallel()
	c := fullAccount(t)
	r := c.free(3, "--target", "1952KiB", "--yes")
	if r.Reached || r.Why != "trash" || r.InTrash.Files != 10 || r.InTrash.Bytes != 1_000_000 || len(r.Rounds) != 1 {
		t.Errorf("%+v", r)
	}
	c.noneLost(t)
	out := c.run(3, "free", "icloud:", "--to", "dropbox:Archive", "--target", "1952KiB", "--yes", "--patience", "1s")
	for _, want := range []string{"only in the trash", "Recently Deleted", "--purge-trash"} {
		if !strings.Contains(strings.Join(strings.Fields(out), " "), want) {
			t.Errorf("%q isn't said: %s", want, out)
		}
	}
	// Told to purge, it purges what these jobs deleted, and that is enough: nothing more is offloaded.
	left := len(c.liveFiles())
	if left != 190 {
		t.Errorf("%d files are left: what is in the trash is enough, and more was offloaded", left)
	}
	r = c.free(0, "--target", "1952KiB", "--yes", "--purge-trash")
	if !r.Reached || len(r.Rounds) != 0 || len(c.liveFiles()) != left || len(c.account.Purged()) != 200-left {
		t.Errorf("%+v; %d files left of %d, %d purged", r, len(c.liveFiles()), left, len(c.account.Purged()))
	}
	if _, ok := c.account.Lookup(filePath(199)); !ok {
		t.Error("the youngest is gone")
	}
	c.noneLost(t)
}

// Where nothing more may be chosen it says so, and what else grew.
func TestFreeSaysWhyItCant(t *testing.T) {
	t.Parallel()
	c := fullAccount(t)
	if r := c.free(3, "--until", "99%free", "--yes", "--keep-recent", "36500d"); r.Why != "nothing_left" || len(r.Rounds) != 0 {
		t.Errorf("everything is recent: %+v", r)
	}
	if r := c.free(3, "--until", "60%", "--yes", "--purge-trash"); r.Why != "nothing_left" || len(c.liveFiles()) != 200 {
		t.Errorf("not enough, and done all the same: %+v", r)
	}
	c.run(2, "free", "icloud:", "--to", "dropbox:Archive", "--target", "4PiB", "--yes")
	r := c.free(3, "--until", "60%", "--yes", "--purge-trash", "--order", "fewest", "--as-far-as-possible")
	if r.Reached || r.Why != "nothing_left" || len(r.Rounds) != 1 || r.Rounds[0].Job.Files.Deleted != 200 || r.Missing == 0 {
		t.Errorf("%+v", r)
	}
	c.noneLost(t)
}

// A plan that was looked at is done, and nothing else: what changed, and what is new, stays.
func TestPlanFileIsDoneAndNothingElse(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"plan.jsonl", "plan.jsonl.gz"} {
		c := fullAccount(t)
		plan := filepath.Join(c.w.dir, name)
		c.run(0, "free", "icloud:", "--to", "dropbox:Archive", "--target", "1953KiB", "--plan-file", plan)
		if len(c.liveFiles()) != 200 {
			t.Fatal("something was moved")
		}
		if info, err := os.Stat(plan); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the plan: %v, %v", info, err)
		}
		c.run(2, "free", "icloud:", "--to", "dropbox:Archive", "--target", "1953KiB", "--plan-file", plan)
		c.account.Change(filePath(3), []byte("a new version"))
		c.account.Put("Documents/00/new.txt", []byte("new"), time.Date(2019, 1, 1, 0, 0, 0, 0, time.UTC))
		c.dropbox.Put("Archive/"+filePath(4), []byte("somebody's"))
		c.account.Remove(filePath(5))
		c.run(2, "run", "icloud:", "dropbox:Elsewhere", "--plan-file", plan)
		c.run(2, "run", "--plan-file", plan, "--conflict", "overwrite")
		c.run(2, "run", "icloud:", "--plan-file", plan)
		out := c.run(3, "run", "--plan-file", plan, "--json", "--label", "the plan")
		j := decode[job](t, out)
		if j.Files.Found != 10 || j.Files.SetAside != 3 || j.Files.Deleted != 7 {
			t.Errorf("%s: %+v", name, j)
		}
		if left := c.liveFiles(); len(left) != 192 || left[0] != 3 || left[1] != 4 || left[2] != 10 {
			t.Errorf("%s: these are left: %v", name, left[:5])
		}
		if _, ok := c.account.Lookup("Documents/00/new.txt"); !ok {
			t.Errorf("%s: the new file is gone", name)
		}
		if b, _ := c.dropbox.Get("Archive/" + filePath(4)); string(b) != "somebody's" {
			t.Errorf("%s: the destination's own file was replaced", name)
		}
		raw, err := os.ReadFile(plan)
		if err != nil {
			t.Fatal(err)
		}
		for what, bad := range map[string][]byte{"edited": []byte(strings.Replace(string(raw), "file 007", "file 107", 1)), "cut": raw[:len(raw)-30], "empty": nil,
			"no plan": []byte("hello\n"), "newer": []byte(strings.Replace(string(raw), `"offload_plan":1`, `"offload_plan":2`, 1))} {
			if slices.Equal(bad, raw) {
				continue // packed
			}
			file := filepath.Join(c.w.dir, "bad")
			if err := os.WriteFile(file, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			c.run(2, "run", "--plan-file", file)
			c.run(2, "enqueue", "--plan-file", file)
			if len(c.liveFiles()) != 192 {
				t.Fatalf("%s: something was moved", what)
			}
		}
	}
}

// Killed in the middle and run again it goes on with its job, and stops where there is room.
func TestFreeKilledGoesOn(t *testing.T) {
	t.Parallel()
	c := newClouds(t, cloudtest.Options{Latency: cloudtest.Latency{FirstByte: 50 * time.Millisecond}})
	c.fill()
	args := []string{"free", "icloud:", "--to", "dropbox:Archive", "--target", "9765KiB", "--yes", "--purge-trash", "--json", "--patience", "2s"}
	// The second deletion isn't answered: however late the kill comes, it comes in the middle.
	second := c.play.Fault(cloudtest.Fault{Endpoint: "icloud:moveItemsToTrash", Kind: cloudtest.Hang, After: 1, Times: 1})
	p := c.start(args...)
	eventually(t, limit(), "some files to be deleted, and more to be asked for", func() bool { return second.Count() > 0 || !p.running() })
	if left := len(c.liveFiles()); left >= 200 || left <= 110 {
		t.Errorf("%d files are left when it is killed: this isn't the middle", left)
	}
	p.kill()
	r := decode[freed](t, c.run(0, args...))
	if !r.Reached || len(r.Rounds) != 1 {
		t.Errorf("%+v", r)
	}
	if left := len(c.liveFiles()); left != 110 { // 9,999,360 are to be free, and 1,000,000 were
		t.Errorf("%d files are left, want 110", left)
	}
	var all []json.RawMessage
	if all = decode[[]json.RawMessage](t, c.run(0, "jobs", "list", "--json")); len(all) != 1 {
		t.Errorf("%d jobs, want the one that was killed", len(all))
	}
	c.noneLost(t)
}
