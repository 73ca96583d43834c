package acceptance

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"offload/internal/cloudtest"
)

// "iCloud Backup failed: not enough storage": of 50 MiB 49 are taken, and the backup needs 8. The doctor finds it, `free` makes
// room of the oldest files, measures, and the doctor is content.
func TestRoomForTheBackup(t *testing.T) {
	t.Parallel()
	c, s := newFullAccount(t, cloudtest.Options{})
	before := c.picture(t)

	found := decode[checkup](t, c.run(3, "doctor", "icloud:", "--backup-size", "8MiB", "--json"))
	if !found.tells("offload free icloud:") {
		t.Errorf("no finding of the doctor leads to `offload free icloud:`: %+v", found)
	}
	contains(t, c.run(3, "doctor", "icloud:", "--backup-size", "8MiB"), "offload free icloud:", "--for-backup")
	same(t, before, c.picture(t))

	free := []string{"free", "icloud:", "--for-backup", "8MiB", "--to", "dropbox:Backup", "--purge-trash"}
	contains(t, c.say(2, "", free...), "--yes")
	same(t, before, c.picture(t)) // nobody said yes
	if n := len(decode[[]job](t, c.run(0, "jobs", "list", "--json"))); n != 0 {
		t.Fatalf("%d jobs were made though nobody said yes", n)
	}

	out := c.run(0, append(free, "--yes")...)
	t.Logf("free said:\n%s", out)
	s.nothingLost(t)
	gone := c.oldestWent(t)
	if room := planOfStory - c.account.Used(); room < 8<<20 || room >= 8<<20*105/100+2*filmSize {
		t.Errorf("%d bytes are free after %d films went, want 8 MiB and not a film more than needed", room, gone)
	}
	content := c.run(0, "doctor", "icloud:", "--backup-size", "8MiB")
	if strings.Contains(content, "offload free") {
		t.Errorf("there is room, and the doctor still wants more:\n%s", content)
	}
	if again := c.run(0, append(free, "--yes")...); c.oldestWent(t) != gone {
		t.Errorf("there was room, and more went:\n%s", again)
	}
}

// checkup is what `doctor --json` says, as far as these tests ask.
type checkup struct {
	Content  bool
	Sections []struct {
		Findings []struct{ ID, Level, What, Command string }
	}
}

// tells tells whether a finding that is more than a note has a command that begins so.
func (c checkup) tells(command string) bool {
	for _, section := range c.Sections {
		for _, f := range section.Findings {
			if f.Level == "problem" && strings.HasPrefix(f.Command, command) {
				return true
			}
		}
	}
	return false
}

// What lies in the trash counts until it is purged: `free` says so, and that it hasn't reached its goal.
func TestRoomInTheTrashIsNoRoom(t *testing.T) {
	t.Parallel()
	c, s := newFullAccount(t, cloudtest.Options{})
	out := c.say(3, "", "free", "icloud:", "--for-backup", "8MiB", "--to", "dropbox:Backup", "--yes")
	t.Logf("free said:\n%s", out)
	s.nothingLost(t)
	c.oldestWent(t)
	if n := len(c.account.Purged()); n != 0 {
		t.Errorf("%d items were removed from the trash, which nobody asked for", n)
	}
	if got := c.account.Used(); got != usedInStory {
		t.Errorf("%d bytes are used, want %d as before: the trash counts", got, usedInStory)
	}
	contains(t, out, "trash", "--purge-trash")
	contains(t, c.say(3, "", "doctor", "icloud:", "--backup-size", "8MiB"), "trash")

	// What was advised reaches the goal, and takes no more files: those in the trash were enough.
	gone := c.oldestWent(t)
	c.run(0, "free", "icloud:", "--for-backup", "8MiB", "--to", "dropbox:Backup", "--yes", "--purge-trash")
	if now := c.oldestWent(t); now != gone {
		t.Errorf("%d films are gone, %d were enough: the room lay in the trash", now, gone)
	}
	s.nothingLost(t)
	c.run(0, "doctor", "icloud:", "--backup-size", "8MiB")
}

// Apple tells the room late: `free` measures with patience, and takes no more files than it needs.
func TestRoomThatIsToldLate(t *testing.T) {
	t.Parallel()
	c, s := newFullAccount(t, cloudtest.Options{})
	c.account.SetStorageLag(3 * time.Second)
	out := c.run(0, "free", "icloud:", "--for-backup", "8MiB", "--to", "dropbox:Backup", "--purge-trash", "--yes")
	t.Logf("free said:\n%s", out)
	s.nothingLost(t)
	gone := c.oldestWent(t)
	if room := planOfStory - c.account.Used(); room < 8<<20 || room >= 8<<20*105/100+2*filmSize {
		t.Errorf("%d bytes are free after %d films went, want 8 MiB and not a film more than needed", room, gone)
	}
}

// The trash may not count at all at Apple: then nothing has to be purged.
func TestRoomWhereTheTrashIsFree(t *testing.T) {
	t.Parallel()
	c, s := newFullAccount(t, cloudtest.Options{})
	c.account.SetTrashFree(true)
	c.run(0, "free", "icloud:", "--target", "8MiB", "--to", "dropbox:Backup", "--yes")
	s.nothingLost(t)
	c.oldestWent(t)
	if n := len(c.account.Purged()); n != 0 {
		t.Errorf("%d items were removed from the trash, which nobody asked for", n)
	}
}

// A plan is saved, looked at, and applied later: what has changed, gone or come meanwhile is refused by name.
func TestPlanThatDrifted(t *testing.T) {
	t.Parallel()
	c, s := newFullAccount(t, cloudtest.Options{})
	plan := c.w.dir + "/plan"
	c.run(0, "plan", "icloud:", "dropbox:Backup", "--delete-source", "verified", "--plan-file", plan)
	if n := c.account.Files(); n != filmsInStory || c.dropbox.Len() != 0 {
		t.Fatalf("a plan changed something: %d files, %d at Dropbox", n, c.dropbox.Len())
	}
	s.change(film(3)) // as long as before
	c.account.Discard(film(5))
	s.put("Movies/new.mov", 1000)
	c.dropbox.Put("/Backup/"+film(7), []byte("somebody else's"))

	out := c.say(3, "", "run", "--plan-file", plan)
	t.Logf("run said:\n%s", out)
	s.somewhere(t)
	contains(t, out, "drifted")
	for _, path := range []string{film(3), film(7), "Movies/new.mov"} {
		if _, ok := c.account.Lookup(path); !ok {
			t.Errorf("%q drifted since the plan, or wasn't in it, and went", path)
		}
	}
	if b, _ := c.dropbox.Get("/Backup/" + film(7)); string(b) != "somebody else's" {
		t.Errorf("what somebody else put to the place is now %d other bytes", len(b))
	}
	if _, ok := c.dropbox.Stat("/Backup/Movies/new.mov"); ok {
		t.Error("a file that the plan didn't name was copied")
	}
	if got := c.livingFilms(); !slices.Equal(got, []int{3, 7}) {
		t.Errorf("films of these months are left: %v, want 3 and 7", got)
	}
	drifted := map[string]bool{}
	for _, r := range decode[[]fileRecord](t, c.run(0, "jobs", "files", c.only().ID, "--json")) {
		if r.Code == "drifted" {
			drifted[r.Path] = true
		}
	}
	for _, path := range []string{film(3), film(5), film(7)} {
		if !drifted[shown(path)] {
			t.Errorf("%q isn't told as drifted: %v", path, drifted)
		}
	}
}

// A plan that somebody has written in is refused before anything happens.
func TestPlanThatWasEdited(t *testing.T) {
	t.Parallel()
	c, _ := newFullAccount(t, cloudtest.Options{})
	before := c.picture(t)
	plan := c.w.dir + "/plan"
	c.run(0, "plan", "icloud:", "dropbox:Backup", "--delete-source", "verified", "--plan-file", plan)
	for name, spoil := range map[string]func([]byte) []byte{
		"a byte flipped": func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"cut short":      func(b []byte) []byte { return b[:len(b)*2/3] },
		"empty":          func([]byte) []byte { return nil },
		"no plan":        func([]byte) []byte { return []byte("%PDF-1.4\n") },
	} {
		spoilFile(t, plan, plan+".bad", spoil)
		said := c.say(2, "", "run", "--plan-file", plan+".bad")
		t.Logf("%s: %s", name, said)
		if strings.Count(strings.TrimSpace(said), "\n") > 2 {
			t.Errorf("%s: more than it takes to say it:\n%s", name, said)
		}
	}
	same(t, before, c.picture(t))
	if c.dropbox.Len() != 0 {
		t.Errorf("%d files were copied by plans that are no good", c.dropbox.Len())
	}
}

// held is a job whose files are proved at Dropbox, and deleted only in a week.
func held(t *testing.T) (*clouds, *stock, string) {
	t.Helper()
	c, s := newFullAccount(t, cloudtest.Options{})
	c.run(4, "run", "icloud:", "dropbox:Backup", "--delete-source", "verified", "--hold", "7d")
	j := c.only()
	if j.State != "waiting" || j.Reason != "hold" || j.Until == nil || time.Until(*j.Until) < 6*24*time.Hour {
		t.Fatalf("the job is %s (%s) until %v, want it to hold for a week", j.State, j.Reason, j.Until)
	}
	if n := c.account.Files(); n != filmsInStory {
		t.Fatalf("%d files at iCloud, want all %d until the hold is over", n, filmsInStory)
	}
	return c, s, j.ID
}

// A hold that is called off deletes nothing, then or later.
func TestHoldCalledOff(t *testing.T) {
	t.Parallel()
	c, s, id := held(t)
	before := c.picture(t)
	contains(t, c.run(0, "jobs", "hold", "list"), id)
	contains(t, c.run(0, "jobs", "hold", "keep", id), "nothing is deleted")
	w := c.start("worker")
	if j := c.await(id, "the job to end", limit(), job.ended); !strings.HasPrefix(j.State, "completed") {
		t.Errorf("the job is %s after its hold was called off", j.State)
	}
	c.run(1, "jobs", "hold", "release", id) // too late
	w.interrupt(t)
	same(t, before, c.picture(t))
	s.somewhere(t)
	if n := len(c.account.TrashedIDs()); n != 0 {
		t.Errorf("%d files were deleted though the hold was called off", n)
	}
	if out := c.run(0, "jobs", "hold", "list"); strings.Contains(out, id) {
		t.Errorf("the hold was called off, and is still listed:\n%s", out)
	}
}

// What was tampered with at Dropbox during the hold isn't deleted at iCloud when the hold ends.
func TestHoldWithTamperedDestination(t *testing.T) {
	t.Parallel()
	c, s, id := held(t)
	other, _ := c.dropbox.Get("/Backup/" + film(1))
	other[0] ^= 1
	c.dropbox.Put("/Backup/"+film(2), other) // as long as before
	c.dropbox.Remove("/Backup/" + film(4))
	c.dropbox.Put("/Backup/"+film(6), nil)
	c.dropbox.Remove(fmt.Sprintf("/Backup/Movies/Year %d", 30/12)) // a whole folder of them
	s.change(film(8))                                              // and one changed at iCloud

	c.run(0, "jobs", "hold", "release", id)
	w := c.start("worker")
	j := c.await(id, "the job to end", limit(), job.ended)
	w.interrupt(t)
	if j.State != "completed_with_warnings" {
		t.Errorf("the job is %s, want completed_with_warnings", j.State)
	}
	s.nothingLost(t)
	s.somewhere(t)
	want := []int{2, 4, 6, 8}
	for month := 24; month < 36; month++ {
		want = append(want, month)
	}
	if got := c.livingFilms(); !slices.Equal(got, want) {
		t.Errorf("films of these months are kept: %v, want %v", got, want)
	}
	contains(t, c.run(0, "jobs", "show", id), "Kept at the source")
}
