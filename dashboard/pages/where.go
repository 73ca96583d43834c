package pages

import (
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	"offload/jobs"
	"offload/jobs/orderform"
	"offload/transfer"
)

// whereShown is how many files the page of a search has.
const whereShown = 100

// whereView is the data of the page that finds offloaded files.
type whereView struct {
	Search string
	Files  []whereFile
	More   bool
}

func (whereView) frame(f *frame) { f.Nav = "jobs" }

// whereFile is a file that was found.
type whereFile struct{ jobs.Where }

// From is where it was at the source.
func (f whereFile) From() string { return jobs.Below(f.Source, f.Path) }

// Proof says what was proved, "" where nothing was.
func (f whereFile) Proof() string {
	if f.Grade == "" {
		return ""
	}
	return gradeWords(transfer.Grade(f.Grade))
}

// Restore is the command that brings it back.
func (f whereFile) Restore() string {
	return "offload restore " + f.Job + " --path " + orderform.ShellQuote(f.Path)
}

func (p *Pages) routesWhere(mux *http.ServeMux) { mux.HandleFunc("GET /where", p.getWhere) }

func (p *Pages) getWhere(w http.ResponseWriter, r *http.Request) {
	v := whereView{Search: r.URL.Query().Get("q")}
	if len(v.Search) > searchMost || !utf8.ValidString(v.Search) {
		p.refuse(w, r, &inputError{"The search is too long, or no text", fmt.Sprintf("Use at most %d letters.", searchMost)})
		return
	}
	if strings.Trim(v.Search, "* \t\n") != "" {
		page, err := p.cfg.Jobs.Where(r.Context(), v.Search, whereShown)
		if err != nil {
			p.refuse(w, r, err)
			return
		}
		for _, f := range page.Files {
			v.Files = append(v.Files, whereFile{f})
		}
		v.More = page.More
	}
	p.render(w, r, http.StatusOK, "where", v)
}
