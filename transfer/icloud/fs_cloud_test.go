package icloud

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config"
	"github.com/rclone/rclone/fs/config/configfile"
	"golang.org/x/text/unicode/norm"

	"offload/internal/cloudtest"
	"offload/transfer"
)

// cloud starts the played clouds and opens remotes by an rclone.conf, as a user has it.
func cloud(t *testing.T) (*cloudtest.World, *Clouds) {
	t.Helper()
	w, _ := played(t, cloudtest.Options{})
	file := filepath.Join(t.TempDir(), "rclone.conf")
	if err := w.WriteRcloneConf(file); err != nil {
		t.Fatal(err)
	}
	if err := config.SetConfigPath(file); err != nil {
		t.Fatal(err)
	}
	configfile.Install()
	c := New(Options{Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() {
		for _, a := range c.accounts {
			a.http.CloseIdleConnections()
		}
	})
	return w, c
}

func openFs(t *testing.T, c *Clouds, remote string) *Fs {
	t.Helper()
	f, err := c.Open(t.Context(), remote)
	if err != nil {
		t.Fatalf("open %s: %v", remote, err)
	}
	mine := f.(*Fs)
	mine.lane.pace, mine.lane.lookAgain = time.Millisecond, time.Millisecond
	return mine
}

func TestCloudDriveFromListToPurge(t *testing.T) {
	w, c := cloud(t)
	acc := w.ICloud.Default()
	want := map[string]string{}
	for i := range 60 {
		p := fmt.Sprintf("Öffentlich/Tür %d/Ärger %d.txt", i%4, i)
		want[p] = strings.Repeat(p, i+1)
		acc.Put(p, []byte(want[p]), time.Unix(1_700_000_000, 0))
	}
	acc.AddAppLibrary("Pages", "com.apple.Pages")
	acc.Put("Pages/brief.txt", []byte("Lieber"), time.Unix(1_700_000_000, 0))
	want["Pages/brief.txt"] = "Lieber"
	acc.Put("leer.txt", nil, time.Unix(1_700_000_000, 0))
	acc.Put("ohne Länge.txt", []byte("hidden"), time.Unix(1_700_000_000, 0))
	acc.HideSize("ohne Länge.txt")
	want["leer.txt"], want["ohne Länge.txt"] = "", "hidden"
	acc.PutPackage("Vortrag.key", map[string][]byte{"index.xml": []byte("<x/>")})
	acc.PutShared("Team/geteilt.txt", []byte("ours"), time.Unix(1_700_000_000, 0))
	f := openFs(t, c, "icloud:")
	var targets []transfer.Target
	found := map[string]bool{}
	var walk func(dir string)
	walk = func(dir string) {
		entries, err := f.List(t.Context(), dir)
		if err != nil {
			t.Fatalf("list %q: %v", dir, err)
		}
		for _, e := range entries {
			if _, ok := e.(fs.Directory); ok {
				walk(e.Remote())
				continue
			}
			o := e.(*Object)
			p := norm.NFC.String(o.Remote())
			found[p] = true
			if p != o.Remote() && o.Remote() != norm.NFD.String(p) {
				t.Errorf("%q isn't spelled as the server spells it", o.Remote())
			}
			text, file := want[p]
			switch code, _ := o.KeepReason(); {
			case file && code == "":
				if got := read(t, o); got != text || text != "" && o.Evidence() != "match" {
					t.Errorf("%s: %d bytes of %d, evidence %q", p, len(got), len(text), o.Evidence())
				}
				if strings.HasPrefix(p, "Öffentlich/") {
					targets = append(targets, aim(o))
				}
			case p == "Vortrag.key":
				checkPackage(t, o)
			case p == "Team/geteilt.txt":
				if code != transfer.CodeShared {
					t.Errorf("shared: %q", code)
				}
			default:
				t.Errorf("%s: keep for %q", p, code)
			}
		}
	}
	walk("")
	if len(found) != len(want)+2 || len(targets) != 60 {
		t.Fatalf("found %d files, want %d", len(found), len(want)+2)
	}
	if o := lookFor(t, f, "ohne länge.txt"); o.Size() != -1 {
		t.Errorf("a size that isn't told is %d", o.Size())
	}
	acc.Change(norm.NFC.String(targets[7].Path), []byte("newer"))
	used := mustUse(t, f)
	deleteAll(t, w, f, targets)
	var ids []string
	for _, target := range targets {
		ids = append(ids, target.ID)
	}
	if s := mustUse(t, f); s < used {
		t.Errorf("the trash freed %d bytes", used-s)
	}
	purgeAll(t, acc, f, ids)
	if s := mustUse(t, f); s >= used {
		t.Errorf("purging freed nothing: %d, %d before", s, used)
	}
	for i := range 4 {
		if err := f.Rmdir(t.Context(), fmt.Sprintf("Öffentlich/Tür %d", i)); err != nil {
			t.Errorf("remove folder: %v", err)
		}
	}
	if err := f.Rmdir(t.Context(), "Öffentlich"); err != nil {
		t.Errorf("remove folder: %v", err)
	}
	for _, kept := range []string{"Pages", "Team", ""} {
		if err := f.Rmdir(t.Context(), kept); err == nil {
			t.Errorf("removed %q", kept)
		}
	}
}

func mustUse(t *testing.T, f *Fs) int64 {
	t.Helper()
	s, err := f.Storage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s.Used
}

func checkPackage(t *testing.T, o *Object) {
	t.Helper()
	if _, err := o.Open(t.Context()); !errors.Is(err, transfer.ErrPackage) {
		t.Errorf("open package: %v", err)
	}
	is, err := o.Resolve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if code, _ := is.(*Object).KeepReason(); code != transfer.CodePackage || is.Size() != -1 {
		t.Errorf("package: %q, %d", code, is.Size())
	}
	if one, two := read(t, is), read(t, is); !strings.HasPrefix(one, "PK") || one == two {
		t.Errorf("package of %d bytes", len(one))
	}
}

// deleteAll deletes by many callers at once, while the zone is busy, an answer is lost and the session expires; one
// target has changed, and stays.
func deleteAll(t *testing.T, w *cloudtest.World, f *Fs, targets []transfer.Target) {
	t.Helper()
	acc := w.ICloud.Default()
	busy := w.Fault(cloudtest.Fault{Endpoint: "icloud:moveItemsToTrash", Times: 2, Kind: cloudtest.Status, Status: 409})
	lost := w.Fault(cloudtest.Fault{Endpoint: "icloud:moveItemsToTrash", After: 1, Times: 1, Kind: cloudtest.Lost})
	acc.ExpireSessions()
	calls := w.Calls("icloud:moveItemsToTrash")
	var wg sync.WaitGroup
	for i, target := range targets {
		wg.Go(func() {
			err := f.Delete(t.Context(), []transfer.Target{target})[0]
			if i == 7 && !errors.Is(err, transfer.ErrChanged) || i != 7 && err != nil {
				t.Errorf("%s: %v", target.Path, err)
			}
		})
	}
	wg.Wait()
	calls = w.Calls("icloud:moveItemsToTrash") - calls
	if busy.Count() != 2 || lost.Count() != 1 || calls > 15 || w.MaxInFlight("icloud:moveItemsToTrash") != 1 {
		t.Errorf("busy %d, lost %d, %d calls, %d at once", busy.Count(), lost.Count(), calls, w.MaxInFlight("icloud:moveItemsToTrash"))
	}
	if n := len(acc.TrashedIDs()); n != 59 {
		t.Errorf("%d in the trash", n)
	}
	if o := lookFor(t, f, targets[7].Path); read(t, o) != "newer" || o.Remove(t.Context()) != nil {
		t.Error("the changed one")
	}
}

// purgeAll purges all but one of the items, which is put back, beside something that is the user's own trash.
func purgeAll(t *testing.T, acc *cloudtest.Account, f *Fs, ids []string) {
	t.Helper()
	acc.Put("own.txt", []byte("x"), time.Unix(1_700_000_000, 0))
	own, _ := acc.Discard("own.txt")
	var mine []transfer.Trashed
	for id, it := range trashOf(t, f) {
		if slices.Contains(ids, id) {
			if it.Path == "" || it.ETag == "" {
				t.Errorf("in the trash: %+v", it)
			}
			mine = append(mine, it)
		}
	}
	if err := errors.Join(f.PutBack(t.Context(), mine[:1])...); err != nil {
		t.Error(err)
	}
	back := lookFor(t, f, mine[0].Path)
	errs := f.Purge(t.Context(), mine)
	if !errors.Is(errs[0], fs.ErrorObjectNotFound) || errors.Join(errs[1:]...) != nil {
		t.Errorf("purge: %v", errs)
	}
	if n := len(acc.Purged()); n != 59 {
		t.Errorf("%d purged", n)
	}
	if left := acc.Trash(); len(left) != 1 || left[0].ID != own.ID {
		t.Errorf("left in the trash: %v", left)
	}
	if err := back.Remove(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestCloudRoots(t *testing.T) {
	w, c := cloud(t)
	w.ICloud.Default().Put("Übung/Größe/f.txt", []byte("x"), time.Unix(1_700_000_000, 0))
	for _, root := range []string{"Übung/Größe", norm.NFD.String("Übung/Größe"), "übung/größe/"} {
		lookFor(t, openFs(t, c, "icloud:"+root), "f.txt")
	}
	f, err := c.Open(t.Context(), "icloud:Übung/Größe/f.txt")
	if !errors.Is(err, fs.ErrorIsFile) || f.Root() != "Übung/Größe" {
		t.Errorf("%v, %v", f, err)
	}
	if _, err := openFs(t, c, "icloud:nowhere").List(t.Context(), ""); !errors.Is(err, fs.ErrorDirNotFound) {
		t.Error(err)
	}
	if _, err := c.Open(t.Context(), "nobody:"); err == nil {
		t.Error("opened an unknown remote")
	}
	if a, b := openFs(t, c, "icloud:"), openFs(t, c, "icloud:Übung"); a.svc != b.svc || a.lane != b.lane {
		t.Error("two openings of one account share nothing")
	}
}

// Restoring: rclone's own backend writes, and its session was refused meanwhile.
func TestCloudWrites(t *testing.T) {
	w, c := cloud(t)
	acc := w.ICloud.Default()
	acc.Put("Übung/alt.txt", []byte("old"), time.Unix(1_700_000_000, 0))
	f := openFs(t, c, "icloud:"+norm.NFD.String("Übung"))
	put := func(name, text string) error {
		o, err := f.Put(t.Context(), strings.NewReader(text), info(name, text))
		if err == nil && (read(t, o) != text || o.(*Object).ETag() == "") {
			t.Errorf("put %s: %+v", name, o)
		}
		return err
	}
	if err := put(norm.NFD.String("neu/Größe.txt"), "one"); err != nil {
		t.Fatal(err)
	}
	o := lookFor(t, f, "alt.txt")
	if err := o.Update(t.Context(), strings.NewReader("newer"), info("alt.txt", "newer")); err != nil {
		t.Fatal(err)
	}
	if got := read(t, o); got != "newer" || o.Size() != 5 {
		t.Errorf("after the update %q", got)
	}
	acc.ExpireSessions()
	err := put("später.txt", "two")
	for range 3 {
		if err != nil {
			t.Logf("with an expired session: %v", err)
			err = put("später.txt", "two")
		}
	}
	if err != nil {
		t.Error(err)
	}
	if err := f.Mkdir(t.Context(), "leer"); err != nil {
		t.Error(err)
	}
	if err := f.Rmdir(t.Context(), "leer"); err != nil {
		t.Error(err)
	}
	if err := f.Mkdir(t.Context(), "leer"); err != nil {
		t.Error(err)
	}
	for p, text := range map[string]string{"neu/Größe.txt": "one", "alt.txt": "newer", "später.txt": "two"} {
		if got, ok := acc.Get(path.Join("Übung", p)); !ok || string(got) != text {
			t.Errorf("%s: %q", p, got)
		}
	}
	if err := f.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestCloudRmdirPutsBack(t *testing.T) {
	w, c := cloud(t)
	acc := w.ICloud.Default()
	acc.Mkdir("dir")
	f := openFs(t, c, "icloud:")
	race := w.Fault(cloudtest.Fault{Endpoint: "icloud:moveItemsToTrash", Times: 1, Kind: cloudtest.Do, Hook: func(*http.Request) {
		acc.Put("dir/late.txt", []byte("late"), time.Unix(1_700_000_000, 0))
	}})
	err := f.Rmdir(t.Context(), "dir")
	if race.Count() != 1 {
		t.Fatal("no race")
	}
	// The folder's etag tells of what was put into it, or else it is put back: the file is there in both cases.
	if !errors.Is(err, fs.ErrorDirectoryNotEmpty) && !errors.Is(err, transfer.ErrChanged) {
		t.Errorf("got %v", err)
	}
	if got, ok := acc.Get("dir/late.txt"); !ok || string(got) != "late" {
		t.Errorf("the file that came late: %q, %v", got, ok)
	}
}
