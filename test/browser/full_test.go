package browser

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"offload/internal/cloudtest"
)

// Names that a page must show as they are, and that must do nothing to it.
const (
	hostile = `<img src=x onerror=alert(1)> & "quoted" 'so'.txt`
	rtl     = "report \u202Egnp.exe"
	emoji   = "🏝️ Ferien – Überblick.txt"
)

func endless() string { return strings.Repeat("Verylongnamewithoutspaces", 8) + ".txt" }

// full is a house in which everything has happened: jobs in all states, names of all kinds, an account without quota left
// and iCloud nearly full.
type full struct {
	*house
	url  string
	jobs map[string]string // IDs by what became of them
}

// newFull lets it all happen.
func newFull(t testing.TB) *full {
	t.Helper()
	h := newHouse(t, cloudtest.Options{})
	h.account.SetStorage(5<<30, 3<<30, 1<<30, 300<<20)
	for i := range 30 {
		h.put(fmt.Sprintf("Documents/Folder %02d/File %03d.pdf", i%4, i), int64(20_000+i*977))
	}
	for _, name := range []string{hostile, rtl, emoji, endless(), ".DS_Store"} {
		h.put("Documents/"+name, 3000)
	}
	h.put("Documents/empty.txt", 0)
	h.account.PutPackage("Documents/Talk.key", map[string][]byte{"Index.zip": []byte("slides"), "Data/a.png": []byte("picture")})
	h.put("Films/Summer.mov", 64<<20)
	h.put("Photos/big.raw", 3<<20)
	h.put("Later/old film.mov", 8<<20)
	h.say(0, "", "quota", "set", "--account", "tight", "--limit", "1MiB")
	bad := h.play.Fault(cloudtest.Fault{Endpoint: "icloud:download_by_id", Times: 2, Kind: cloudtest.Status, Status: http.StatusNotFound})
	f := &full{house: h, jobs: map[string]string{}}
	f.url = h.serve("up", "--transfers", "4")
	enqueue := func(name string, args ...string) {
		f.jobs[name] = h.say(0, "", append([]string{"enqueue"}, args...)...)
	}
	enqueue("warnings", "icloud:Documents", "dropbox:Backup/Documents", "--delete-source", "verified", "--label", hostile)
	h.await(f.jobs["warnings"], "the job to end", func(j job) bool { return strings.HasPrefix(j.State, "completed") || j.State == "failed" })
	bad.Remove()
	enqueue("paused", "icloud:Later", "dropbox:Backup/Later", "--label", "For later", "--bwlimit", "16KiB")
	h.say(0, "", "jobs", "pause", f.jobs["paused"])
	enqueue("canceled", "icloud:Later", "dropbox:Backup/Other", "--bwlimit", "16KiB")
	h.say(0, "", "jobs", "cancel", f.jobs["canceled"])
	enqueue("quota", "icloud:Photos", "dropbox:Backup/Photos", "--account", "tight", "--delete-source", "complete")
	h.await(f.jobs["quota"], "the job to wait for quota", func(j job) bool { return j.Reason == "quota" })
	enqueue("running", "icloud:Films", "dropbox:Backup/Films", "--bwlimit", "64KiB", "--delete-source", "verified", "--label", "Films of the summer")
	h.await(f.jobs["running"], "the job to copy", func(j job) bool { return j.State == "transferring" })
	return f
}
