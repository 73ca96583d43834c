package pages

import (
	"strings"
	"testing"
	"time"

	"offload/jobs"
	"offload/quota"
)

// A job whose files fail says so where it says why nothing moves, and tells no end meanwhile; one whose files go on doesn't.
func TestFilesThatAreTriedAgainAreTold(t *testing.T) {
	p := bare(t)
	begun := time.Now().Add(-time.Minute)
	v := jobView{Now: time.Now(), Forecast: &quota.Forecast{Bytes: 5, Fits: true, Periods: 1}, Progress: jobs.Progress{Workers: 1, Quiet: 2 * quiet, Job: jobs.Job{ID: "01KB3Q7W5T0000000000000000",
		State: jobs.Transferring, Started: &begun, ScanComplete: true, Files: jobs.Files{Found: 1}, Bytes: jobs.Bytes{Found: 5},
		Retrying: &jobs.Retrying{Files: 1, Path: "a<b>.txt", Attempt: 3, Of: 8, Why: "destination: upload file: <script>"}}}}
	drawn := func() string {
		html, err := p.draw(topic{page: "home", operator: true}, fragment{ID: "card", Block: "jobcard", Data: v})
		if err != nil {
			t.Fatal(err)
		}
		safe(t, html)
		return html
	}
	html := drawn()
	holds(t, html, "1 file failed and is tried again (3rd of 8 tries): a&lt;b&gt;.txt: destination: upload file: &lt;script&gt;")
	lacks(t, html, "looked up, proved or deleted", "Ends ")
	if why := v.Still(); len(why) != 1 {
		t.Errorf("%q", why)
	}
	v.Job.Retrying = nil
	if html = drawn(); strings.Contains(html, "tried again") || !strings.Contains(html, "looked up, proved or deleted") {
		t.Error("the job that goes on again isn't told as one")
	}
}
