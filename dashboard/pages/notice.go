package pages

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"offload/internal/human"
)

// notices are what a page may say of what was just done, by the code in its address. The sentences are ours: an address
// that somebody else made can't put words in our mouth. %n stands for a number.
func notices() map[string]string {
	return map[string]string{
		"paused":    "The job is paused. Files that had begun may end.",
		"resumed":   "The job goes on.",
		"canceled":  "The job is canceled. What was moved stays moved.",
		"retried":   "What failed is done again.",
		"removed":   "The job is removed from the list. No file was touched.",
		"bandwidth": "The bandwidth is set.",
		"scrubbed":  "The offloaded files are being looked at. Nothing is changed by that.",
		"restored":  "The files are being brought back. Nothing is replaced or deleted by that.",
		"released":  "The hold is over. Each file is proved again before it is deleted.",
		"kept":      "The deletion is called off. The files stay at the source.",
		"created":   "The job is accepted.",
		"seen":      "Marked as seen. The job's own page still shows what failed.",
		"unseen":    "The job has gone on meanwhile, so nothing was marked.",

		"remote-removed": "The remote is removed. No file was touched.",
		"paused-n":       "Paused: %n.",
		"resumed-n":      "Going on: %n.",
		"canceled-n":     "Canceled: %n. What was moved stays moved.",
		"retried-n":      "Begun again: %n.",
		"removed-n":      "Removed from the list: %n. No file was touched.",
		"nothing":        "Nothing was to be done: the jobs that were chosen have gone on meanwhile.",
		"none":           "No job was chosen. Choose jobs by the boxes at their beginning.",

		"quota-set":        "The quota is set. It holds at once, for every worker.",
		"remote-limit-set": "The limit of the remote is set.",
		"worker-drained":   "The worker takes nothing new. Files that have begun may end.",
		"worker-resumed":   "The worker goes on.",
		"schedule-added":   "The schedule is added. Look at its next runs.",
		"schedule-run":     "A worker runs it now, once.",
		"schedule-paused":  "The schedule is paused. A job that it made goes on.",
		"schedule-resumed": "The schedule goes on.",
		"schedule-removed": "The schedule is removed. The jobs that it made stay.",
		"files-set":        "The limit of files at once is set. It holds within two seconds.",
	}
}

// withNote adds the code of a notice to an address of ours. A number may follow the code after a colon.
func withNote(to, note string) string {
	if note == "" {
		return to
	}
	u, err := url.Parse(to)
	if err != nil {
		return to
	}
	q := u.Query()
	q.Set("note", note)
	u.RawQuery = q.Encode()
	return u.String()
}

// notice is the sentence that the address of a page asks for, "" for none.
func notice(r *http.Request) string {
	code, number, _ := strings.Cut(r.URL.Query().Get("note"), ":")
	text := notices()[code]
	if !strings.Contains(text, "%n") {
		return text
	}
	n, err := strconv.ParseUint(number, 10, 31)
	if err != nil {
		return ""
	}
	return strings.ReplaceAll(text, "%n", human.Count(int64(n), "job"))
}
