package cloudtest

import (
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/rclone/rclone/backend/dropbox"
	"github.com/rclone/rclone/fstest/fstests"
)

// dropboxSuiteInside says that this process is the one that the suite runs in.
const dropboxSuiteInside = "CLOUDTEST_DROPBOX_SUITE"

// TestRcloneSuiteDropbox runs rclone's own test of its Dropbox backend in a process of its own: it leaves connections
// and goroutines behind, and rclone polls for changes with http.DefaultTransport.
func TestRcloneSuiteDropbox(t *testing.T) {
	if os.Getenv(dropboxSuiteInside) != "" {
		w := start(t, Options{})
		forRcloneSuite(t, w)
		http.DefaultTransport = w.Transport()
		fstests.Run(t, &fstests.Opt{
			RemoteName: "dropbox:", NilObject: (*dropbox.Object)(nil),
			ChunkedUpload: fstests.ChunkedUploadConfig{MaxChunkSize: 150 << 20},
		})
		return
	}
	if testing.Short() {
		t.Skip("takes a while")
	}
	args := []string{"-test.run=^TestRcloneSuiteDropbox$", "-test.v", "-low-level-retries=3"}
	// FsChangeNotify of the suite reads its maps while rclone's goroutine writes them, which the race detector reports.
	// TestDropboxPollsForChanges does the same with a lock.
	args = append(args, "-test.skip=^TestRcloneSuiteDropbox$/^FsMkdir$/^FsChangeNotify$")
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), dropboxSuiteInside+"=1", "RCLONE_DROPBOX_BATCH_SIZE=1", "RCLONE_DROPBOX_PACER_MIN_SLEEP=1ms")
	raw, _ := cmd.CombinedOutput() // it isn't 0: the suite leaves goroutines of rclone's batcher behind
	out := string(raw)
	passed := regexp.MustCompile(`(?m)^ *--- PASS: `).FindAllString(out, -1)
	skipped := regexp.MustCompile(`(?m)^ *--- SKIP: .*`).FindAllString(out, -1)
	t.Logf("%d tests of the suite pass, %d are skipped:\n%s", len(passed), len(skipped), strings.Join(skipped, "\n"))
	if len(passed) < 60 || strings.Contains(out, "--- FAIL") || strings.Contains(out, "panic:") || strings.Contains(out, "DATA RACE") {
		t.Errorf("%d tests of the suite pass:\n%s", len(passed), out)
	}
}
