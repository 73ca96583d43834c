package pages

import (
	"context"
	"net/http"
	"time"

	"offload/dashboard/deeds"
	"offload/dashboard/guard"
	"offload/jobs"
)

// holdEnd is one of the two ways in which a hold ends before its time.
type holdEnd struct {
	verbWords
	done string // its participle, and the code of the notice afterwards
	do   func(*jobs.Service, context.Context, string) (jobs.Job, error)
}

// holdEnds are the ways to end a hold, by the last part of their address.
func holdEnds() map[string]holdEnd {
	return map[string]holdEnd{
		"release": {verbWords{Verb: "hold/release", Button: "Delete now", Icon: "trash", Danger: true,
			Ask: "The files that the job holds back are deleted at the source now, and not only when the hold is over. Each is proved to be at the destination once more before it is deleted."}, "released", (*jobs.Service).HoldRelease},
		"keep": {verbWords{Verb: "hold/keep", Button: "Keep the files", Icon: "stop",
			Ask: "The deletion is called off: the files stay at the source, and their copies stay at the destination. The job ends, and this can't be undone; to delete the files after all, order the same job again."}, "kept", (*jobs.Service).HoldKeep},
	}
}

// holdVerbs are what can be done to a job on hold.
func holdVerbs(j jobs.Job) []verbWords {
	if j.HoldUntil == nil {
		return nil
	}
	ends := holdEnds()
	return []verbWords{ends["keep"].verbWords, ends["release"].verbWords}
}

// getHold asks before a hold is ended.
func (p *Pages) getHold(w http.ResponseWriter, r *http.Request) {
	end, ok := holdEnds()[r.PathValue("end")]
	if !ok {
		p.fail(w, r, http.StatusNotFound, "There is no such page", "The page of the job has all that can be done to it.")
		return
	}
	one, ok := p.find(w, r, "/"+string(end.Verb))
	if !ok {
		return
	}
	if one.Job.HoldUntil == nil {
		http.Redirect(w, r, jobLink(one.Job), http.StatusSeeOther)
		return
	}
	p.render(w, r, http.StatusOK, "verb", verbView{jobView: jobView{Progress: one, Now: time.Now()}, Words: end.verbWords})
}

// postHold ends a hold, in the name of who asks for it.
func (p *Pages) postHold(w http.ResponseWriter, r *http.Request) {
	end, ok := holdEnds()[r.PathValue("end")]
	id := r.PathValue("id")
	if !ok || !wholeID(id) {
		p.fail(w, r, http.StatusNotFound, "That can't be done", "The page of the job has all that can be done to it.")
		return
	}
	if r.PostFormValue("sure") != "yes" {
		guard.Nothing(r.Context())
		http.Redirect(w, r, "/jobs/"+id+"/"+string(end.Verb), http.StatusSeeOther)
		return
	}
	j, err := end.do(p.cfg.Jobs, r.Context(), id)
	if err != nil {
		p.refuse(w, r, err)
		return
	}
	p.touch(j)
	deeds.ToJob(r.Context(), "hold "+end.done, j)
	p.done(w, r, "/jobs/"+id, end.done)
}

// scrubVerb is offered of a job that has deleted something at its source.
func scrubVerb(j jobs.Job) []verbWords {
	if !j.State.Terminal() || j.Kind != jobs.KindMove || j.Files.Deleted == 0 {
		return nil
	}
	return []verbWords{{Verb: "scrub", Button: "Check the offloaded files", Icon: "file"}}
}

// postScrub accepts a scrub of a job and shows it.
func (p *Pages) postScrub(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if !wholeID(id) {
		p.refuse(w, r, jobs.ErrNotFound)
		return
	}
	j, err := p.cfg.Jobs.Scrub(r.Context(), id, r.PostFormValue("read") == "yes")
	if err != nil {
		p.refuse(w, r, err)
		return
	}
	deeds.Scrubbed(r.Context(), j)
	p.done(w, r, "/jobs/"+j.ID, "scrubbed")
}
