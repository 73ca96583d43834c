package pages

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"time"

	"offload/dashboard/deeds"
	"offload/internal/human"
	"offload/jobs"
	"offload/transfer"
)

// restoreWaits is how long the page that asks before a restore waits for its counts: the trash may be long.
const restoreWaits = 20 * time.Second

// restoreView is the data of the page that asks before files are brought back.
type restoreView struct {
	Job     jobs.Job // that offloaded them
	Preview jobs.RestorePreview
	Unknown bool   // the counts weren't there in time
	Once    string // what tells one press of the button from two
}

func (restoreView) frame(f *frame) { f.Nav = "jobs" }

// Sentence says how the restore fits the allowance.
func (v restoreView) Sentence() string { return v.Preview.Quota.Forecast.Sentence() }

// restoreVerb is offered of a job that has deleted something at its source.
func restoreVerb(j jobs.Job) []verbWords {
	if !restorable(j) {
		return nil
	}
	return []verbWords{{Verb: "restore", Button: "Bring files back", Icon: "retry", Ask: "The files come back to where they were."}}
}

// restorable tells whether a job has ended and left something to bring back.
func restorable(j jobs.Job) bool {
	return j.State.Terminal() && j.Kind == jobs.KindMove && j.Files.Deleted > 0
}

// restoreOrder makes the order that brings back what a job has deleted at its source.
func (p *Pages) restoreOrder(ctx context.Context, id string) (jobs.Order, error) {
	orders, err := p.cfg.Jobs.RestoreOrders(ctx, jobs.RestoreAsk{Job: id})
	if err != nil {
		return jobs.Order{}, err
	}
	return orders[0], nil
}

// getRestore shows what a restore would do, and asks.
func (p *Pages) getRestore(w http.ResponseWriter, r *http.Request) {
	one, ok := p.find(w, r, "/restore")
	if !ok {
		return
	}
	if !restorable(one.Job) {
		http.Redirect(w, r, jobLink(one.Job), http.StatusSeeOther)
		return
	}
	o, err := p.restoreOrder(r.Context(), one.Job.ID)
	if err != nil {
		p.refuse(w, r, err)
		return
	}
	v := restoreView{Job: one.Job, Once: rand.Text()}
	brief, cancel := context.WithTimeout(r.Context(), restoreWaits)
	defer cancel()
	v.Preview, err = p.cfg.Jobs.PreviewRestore(brief, []jobs.Order{o})
	if v.Unknown = err != nil && errors.Is(brief.Err(), context.DeadlineExceeded); err != nil && !v.Unknown {
		p.refuse(w, r, err)
		return
	}
	p.render(w, r, http.StatusOK, "restore", v)
}

// postRestore accepts the job that brings the files back, and shows it.
func (p *Pages) postRestore(w http.ResponseWriter, r *http.Request) {
	id, once := r.PathValue("id"), r.PostFormValue("once")
	if !wholeID(id) {
		p.refuse(w, r, jobs.ErrNotFound)
		return
	}
	if r.PostFormValue("sure") != "yes" || len(once) < 16 || len(once) > searchMost {
		http.Redirect(w, r, "/jobs/"+id+"/restore", http.StatusSeeOther)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), acceptTime)
	defer cancel()
	o, err := p.restoreOrder(ctx, id)
	if err != nil {
		p.refuse(w, r, err)
		return
	}
	j, made, err := p.cfg.Jobs.EnqueueOnce(ctx, "page:"+once, o)
	if err != nil {
		p.refuse(w, r, err)
		return
	}
	if made {
		deeds.Restored(ctx, j)
	}
	p.done(w, r, "/jobs/"+j.ID, "restored")
}

// restoredFrom says where the files of a restore came from, counts those from the trash, and leaves out of its troubles those
// that are none. Of another job the troubles are returned as they are.
func restoredFrom(j jobs.Job, found []jobs.Trouble) (words []string, fromTrash int64, troubles []jobs.Trouble) {
	if j.Kind != jobs.KindRestore {
		return nil, 0, found
	}
	bytes := int64(0)
	for _, t := range found {
		if t.Code == transfer.CodeFromTrash {
			fromTrash, bytes = fromTrash+t.Files, bytes+t.Bytes
			continue
		}
		troubles = append(troubles, t)
	}
	line := func(n int64, format string, args ...any) {
		if n > 0 {
			words = append(words, human.Count(n, "file")+" "+fmt.Sprintf(format, args...))
		}
	}
	line(fromTrash, "from the trash: %s, put back as %s, without traffic", human.Size(bytes), pick(fromTrash, "it was", "they were"))
	line(j.Files.Copied-fromTrash, "from the destination: %s were read and compared with the record", human.Size(j.Bytes.Copied))
	line(j.Files.Skipped, "already there")
	return words, fromTrash, troubles
}

// Proofs says what was proved. What came from the trash, or was there already, Restored tells: nothing was read of it.
func (v jobPage) Proofs() []string {
	if g := &v.Job.Grades; v.Job.Kind == jobs.KindRestore {
		g.C = max(0, g.C-v.FromTrash-v.Job.Files.Skipped)
	}
	return v.jobView.Proofs()
}
