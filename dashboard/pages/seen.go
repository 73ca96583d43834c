package pages

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"offload/dashboard/deeds"
	"offload/dashboard/guard"
	"offload/jobs"
)

// postSeen notes that somebody has seen how a job ended, and goes back to Home. The form names the end that they saw.
func (p *Pages) postSeen(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if !wholeID(id) {
		p.refuse(w, r, jobs.ErrNotFound)
		return
	}
	end, err := strconv.ParseInt(r.PostFormValue("end"), 10, 64)
	if err != nil || end <= 0 {
		p.refuse(w, r, &inputError{"The form doesn't say what was seen", "Load Home again."})
		return
	}
	j, news, err := p.cfg.Jobs.Seen(r.Context(), id, time.UnixMilli(end))
	switch {
	case errors.Is(err, jobs.ErrState), errors.Is(err, jobs.ErrNotFound): // it has gone on, or was removed: Home says how it is
		guard.Nothing(r.Context())
		p.done(w, r, "/", "unseen")
		return
	case err != nil:
		p.refuse(w, r, err)
		return
	case news:
		deeds.JobSeen(r.Context(), j)
	default:
		guard.Nothing(r.Context())
	}
	p.pasts.dropAll()
	p.touch(j)
	p.done(w, r, "/", "seen")
}
