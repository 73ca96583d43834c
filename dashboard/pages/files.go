package pages

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"offload/internal/human"
	"offload/jobs"
	"offload/transfer"
)

// filesShown is how many files a page has.
const filesShown = 100

// filesView is the data of a page of files.
type filesView struct {
	jobView
	Files    []fileView
	Outcomes []choice
	Sources  []choice
	Query    filesQuery
	Next     string
	First    string
	CSV      string
	JSON     string
}

func (filesView) frame(f *frame) { f.Nav = "jobs" }

// Filtered tells whether some files are left out.
func (v filesView) Filtered() bool {
	return v.Query.Outcome != "" || v.Query.Source != "" || v.Query.Code != "" || v.Query.Search != ""
}

// fileView is a file as a row shows it.
type fileView struct{ jobs.FileRecord }

// Outcome says what became of the file.
func (v fileView) Outcome() string { return outcomeWord(v.Result) }

// Kind is a class for the outcome.
func (v fileView) Kind() string {
	switch v.Result {
	case transfer.Copied:
		return "good"
	case transfer.Failed:
		return "bad"
	case transfer.SetAside:
		return "warn"
	}
	return "still"
}

// AtSource says what became of the source file.
func (v fileView) AtSource() string {
	switch v.Source {
	case transfer.Deleted, transfer.Purging:
		return "deleted at the source"
	case transfer.Purged:
		return "deleted, and out of the trash"
	case transfer.Deleting:
		return "being deleted at the source"
	}
	return "kept at the source"
}

// Proof says what was proved, "" where nothing was.
func (v fileView) Proof() string {
	if v.Grade == "" {
		return ""
	}
	return gradeWords(v.Grade)
}

func outcomeWord(r transfer.Result) string {
	switch r {
	case transfer.Pending:
		return "Pending"
	case transfer.Skipped:
		return "Skipped (already there)"
	}
	return upper(human.Printable(strings.ReplaceAll(string(r), "_", " ")))
}

// outcomePending stands in addresses for files that nothing has become of yet, whose outcome is empty.
const outcomePending = "pending"

// filesQuery is what a person chose to see of a job's files.
type filesQuery struct{ Outcome, Source, Code, Search, Cursor string }

// readFilesQuery reads what a request asks for.
func readFilesQuery(q url.Values) (f filesQuery, o jobs.FileQuery, err error) {
	f = filesQuery{q.Get("outcome"), q.Get("source"), q.Get("code"), q.Get("q"), q.Get("cursor")}
	results := []string{outcomePending, string(transfer.Copied), string(transfer.Skipped), string(transfer.SetAside), string(transfer.Excluded), string(transfer.Failed)}
	sources := []string{string(transfer.Kept), string(transfer.Deleting), string(transfer.Deleted), string(transfer.Purging), string(transfer.Purged)}
	switch {
	case f.Outcome != "" && !slices.Contains(results, f.Outcome):
		return f, o, &inputError{"There is no outcome " + quoted(f.Outcome), "Choose one of the list."}
	case f.Source != "" && !slices.Contains(sources, f.Source):
		return f, o, &inputError{"A source file is never " + quoted(f.Source), "Choose one of the list."}
	case len(f.Search) > searchMost || !utf8.ValidString(f.Search):
		return f, o, &inputError{"The search is too long, or no text", fmt.Sprintf("Use at most %d letters.", searchMost)}
	case len(f.Cursor) > cursorMost:
		return f, o, errNoPlace
	case len(f.Code) > 64:
		return f, o, &inputError{"There is no such code", "Choose a group on the page of the job."}
	}
	switch f.Outcome {
	case "":
	case outcomePending:
		o.Results = []transfer.Result{transfer.Pending}
	default:
		o.Results = []transfer.Result{transfer.Result(f.Outcome)}
	}
	if f.Source != "" {
		o.FileFilter.Source = []transfer.SourceState{transfer.SourceState(f.Source)}
	}
	o.Code, o.Search, o.Cursor, o.Limit = f.Code, f.Search, f.Cursor, filesShown
	return f, o, nil
}

// address writes the query behind a path, from a place in the list.
func (f filesQuery) address(path, cursor string) string {
	q := url.Values{}
	for _, one := range []struct{ name, text string }{{"outcome", f.Outcome}, {"source", f.Source}, {"code", f.Code}, {"q", f.Search}, {"cursor", cursor}} {
		if one.text != "" {
			q.Set(one.name, one.text)
		}
	}
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}

func (p *Pages) getFiles(w http.ResponseWriter, r *http.Request) {
	f, o, err := readFilesQuery(r.URL.Query())
	if err != nil {
		p.refuseList(w, r, err, f.address("/jobs/"+url.PathEscape(r.PathValue("id"))+"/files", ""))
		return
	}
	one, ok := p.find(w, r, "/files")
	if !ok {
		return
	}
	path := jobLink(one.Job) + "/files"
	page, err := p.cfg.Jobs.FilePage(r.Context(), one.Job.ID, o)
	if err != nil {
		p.refuseList(w, r, err, f.address(path, ""))
		return
	}
	v := filesView{jobView: jobView{Progress: one, Now: time.Now()}, Query: f, CSV: f.address(path+".csv", ""), JSON: f.address(path+".json", "")}
	for _, file := range page.Files {
		v.Files = append(v.Files, fileView{file})
	}
	v.Outcomes = outcomeChoices(one.Job, f.Outcome)
	for _, c := range []choice{{Value: "", Words: "All"}, {Value: "kept", Words: "Kept"}, {Value: "deleted", Words: "Deleted"}, {Value: "purged", Words: "Deleted, out of the trash"}} {
		c.Chosen = c.Value == f.Source
		v.Sources = append(v.Sources, c)
	}
	if page.Next != "" {
		v.Next = f.address(path, page.Next)
	}
	if f.Cursor != "" {
		v.First = f.address(path, "")
	}
	p.render(w, r, http.StatusOK, "files", v)
}

// outcomeChoices are the outcomes to choose from, with how many files have each.
func outcomeChoices(j jobs.Job, chosen string) []choice {
	all := []choice{{Value: "", Words: "All"}}
	for _, one := range []struct {
		r transfer.Result
		n int64
	}{{transfer.Copied, j.Files.Copied}, {transfer.Skipped, j.Files.Skipped}, {transfer.SetAside, j.Files.SetAside}, {transfer.Failed, j.Files.Failed}} {
		all = append(all, choice{Value: string(one.r), Words: fmt.Sprintf("%s: %s", outcomeWord(one.r), human.Number(one.n))})
	}
	all = append(all, choice{Value: outcomePending, Words: "Pending"})
	for i := range all {
		all[i].Chosen = all[i].Value == chosen
	}
	return all
}

// export streams all files that a request asks for; begin writes what comes first, each one file, and end what comes last.
func (p *Pages) export(w http.ResponseWriter, r *http.Request, kind, name string, begin func(), each func(jobs.FileRecord) error, end func() error) {
	_, o, err := readFilesQuery(r.URL.Query())
	if err != nil {
		p.refuse(w, r, err)
		return
	}
	one, ok := p.find(w, r, "/"+name)
	if !ok {
		return
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Disposition", `attachment; filename="offload-`+one.Job.ID+"-"+name+`"`)
	begin()
	err = p.cfg.Jobs.Files(r.Context(), one.Job.ID, o.FileFilter, func(f jobs.FileRecord) error {
		if o.Code != "" && f.Code != o.Code || !strings.Contains(strings.ToLower(f.Path), strings.ToLower(o.Search)) {
			return nil
		}
		return each(f)
	})
	if err == nil {
		err = end()
	}
	if err != nil { // the status is sent: only breaking off tells that something is missing
		if r.Context().Err() == nil {
			p.cfg.Log.Warn("export the files of a job", "job", one.Job.ID, "error", err)
		}
		panic(http.ErrAbortHandler)
	}
}

// getCSV exports files as a table, whose columns have the names of the JSON.
func (p *Pages) getCSV(w http.ResponseWriter, r *http.Request) {
	out := csv.NewWriter(w)
	head := []string{"path", "destination", "size", "mtime", "outcome", "source", "grade", "hash", "code", "reason", "at"}
	p.export(w, r, "text/csv; charset=utf-8", "files.csv", func() { _ = out.Write(head) }, func(f jobs.FileRecord) error {
		outcome := string(f.Result)
		if outcome == "" {
			outcome = outcomePending
		}
		return out.Write([]string{human.Cell(f.Path), human.Cell(f.Dest), strconv.FormatInt(f.Size, 10), stamp(f.ModTime), outcome,
			string(f.Source), string(f.Grade), f.Hash, f.Code, human.Cell(f.Reason), stamp(f.At)})
	}, func() error {
		out.Flush()
		return out.Error()
	})
}

func stamp(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// getJSON exports files as one array.
func (p *Pages) getJSON(w http.ResponseWriter, r *http.Request) {
	between := "[\n"
	p.export(w, r, "application/json", "files.json", func() {}, func(f jobs.FileRecord) error {
		text, err := json.Marshal(f)
		if err != nil {
			return fmt.Errorf("write file %s as JSON: %w", f.Path, err)
		}
		_, err = w.Write(append([]byte(between), text...))
		between = ",\n"
		return err
	}, func() error {
		last := "\n]\n"
		if between == "[\n" {
			last = "[]\n"
		}
		_, err := w.Write([]byte(last))
		return err
	})
}
