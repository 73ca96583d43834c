package pages

import (
	"net/http"
	"net/url"

	"github.com/oklog/ulid/v2"

	"offload/jobs"
)

// deedsShown is how many deeds a page shows.
const deedsShown = 100

// deedsPage is the record of what people did.
type deedsPage struct {
	Deeds []jobs.Deed
	Next  string // address of the next page, "" at the end
	First bool   // this is the first page
}

func (d deedsPage) frame(f *frame) { f.Nav = "record" }

// IsJob tells whether a deed was done to a job, whose page it then leads to.
func (deedsPage) IsJob(d jobs.Deed) bool {
	_, err := ulid.ParseStrict(d.Subject)
	return err == nil
}

func (p *Pages) routesDeeds(mux *http.ServeMux) {
	mux.HandleFunc("GET /record", p.operators(func(w http.ResponseWriter, r *http.Request) {
		cursor := r.URL.Query().Get("cursor")
		list, next, err := p.cfg.Jobs.AuditLog(r.Context(), cursor, deedsShown)
		if err != nil {
			p.refuseList(w, r, err, "/record")
			return
		}
		page := deedsPage{Deeds: list, First: cursor == ""}
		if next != "" {
			page.Next = "/record?cursor=" + url.QueryEscape(next)
		}
		p.render(w, r, http.StatusOK, "deeds", page)
	}))
}
