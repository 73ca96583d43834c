package api

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"offload/internal/human"
	"offload/jobs"
	"offload/transfer"
)

// pending stands for files that nothing has become of yet, whose outcome is empty.
const pending = "pending"

// FileChoice chooses files of a job.
type FileChoice struct {
	JobID
	Outcome []string               `query:"outcome,explode" enum:"copied,skipped,set_aside,excluded,failed,pending" doc:"only files with this outcome; may be repeated"`
	Source  []transfer.SourceState `query:"source,explode" doc:"only files whose source is in this state; may be repeated"`
}

func (c FileChoice) filter() jobs.FileFilter {
	f := jobs.FileFilter{Source: c.Source}
	for _, o := range c.Outcome {
		if o == pending {
			o = string(transfer.Pending)
		}
		f.Results = append(f.Results, transfer.Result(o))
	}
	return f
}

// Troubles are the groups of files that weren't moved, or not deleted.
type Troubles struct {
	Troubles []jobs.Trouble `json:"troubles" nullable:"false"`
}

func (s *server) routesFiles(a huma.API) {
	huma.Register(a, op("files", "listFiles", http.MethodGet, "/jobs/{id}/files", "List the files of a job with what became of each", http.StatusNotFound), s.listFiles)
	export := op("files", "exportFiles", http.MethodGet, "/jobs/{id}/files/export", "All files of a job as one document", http.StatusNotFound)
	export.Description = "The document is sent as it is read, a million files, too. Where it can't be read to its end the connection is cut: " +
		"a document that came whole is whole. In CSV an apostrophe is put before names and reasons that a spreadsheet would take " +
		"for formulas: those that begin with =, +, -, @, a tab or a carriage return."
	export.Metadata = map[string]any{long: true}
	text := &huma.Schema{Type: huma.TypeString}
	export.Responses = map[string]*huma.Response{"200": {Description: "The files", Content: map[string]*huma.MediaType{
		"text/csv": {Schema: text}, "application/x-ndjson": {Schema: text},
		"application/json": {Schema: &huma.Schema{Type: huma.TypeArray, Items: &huma.Schema{Ref: "#/components/schemas/FileRecord"}}}}}}
	huma.Register(a, export, s.exportFiles)
	huma.Register(a, op("files", "listTroubles", http.MethodGet, "/jobs/{id}/troubles", "Group the files that weren't moved, or not deleted, by their cause", http.StatusNotFound), s.troubles)
}

func (s *server) listFiles(ctx context.Context, in *struct {
	FileChoice
	Code   string `query:"code" maxLength:"100" doc:"only files with this code"`
	Search string `query:"search" maxLength:"1000" doc:"only files with this in their path"`
	Cursor string `query:"cursor" maxLength:"500" doc:"next of the page before"`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"files of a page"`
}) (*struct{ Body jobs.FilePage }, error) {
	j, err := s.existing(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	page, err := s.Jobs.FilePage(ctx, j.ID, jobs.FileQuery{FileFilter: in.filter(), Code: in.Code, Search: in.Search, Cursor: in.Cursor, Limit: in.Limit})
	if err != nil {
		return nil, s.problem(err)
	}
	if page.Files == nil {
		page.Files = []jobs.FileRecord{}
	}
	return &struct{ Body jobs.FilePage }{page}, nil
}

func (s *server) troubles(ctx context.Context, in *JobID) (*struct{ Body Troubles }, error) {
	j, err := s.existing(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	all, err := s.Jobs.Troubles(ctx, j.ID)
	if err != nil {
		return nil, s.problem(err)
	}
	if all == nil {
		all = []jobs.Trouble{}
	}
	return &struct{ Body Troubles }{Troubles{all}}, nil
}

func (s *server) exportFiles(ctx context.Context, in *struct {
	FileChoice
	Format string `query:"format" enum:"csv,json,ndjson" default:"csv" doc:"csv, one JSON document, or a JSON document on each line"`
}) (*huma.StreamResponse, error) {
	j, err := s.existing(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(c huma.Context) {
		types := map[string]string{"csv": "text/csv; charset=utf-8; header=present", "json": "application/json", "ndjson": "application/x-ndjson"}
		c.SetHeader("Content-Type", types[in.Format])
		c.SetHeader("Content-Disposition", fmt.Sprintf(`attachment; filename="offload-%s.%s"`, j.ID, in.Format))
		c.SetHeader("Cache-Control", "no-store")
		out := bufio.NewWriterSize(c.BodyWriter(), 64<<10)
		err := s.writeFiles(c.Context(), out, j.ID, in.filter(), in.Format)
		if err == nil {
			err = out.Flush()
		}
		if err != nil {
			s.Log.Warn("export the files of a job", "job", j.ID, "error", err)
			panic(http.ErrAbortHandler) // else half a document would look like a whole one
		}
	}}, nil
}

// writeFiles writes all files in a format.
func (s *server) writeFiles(ctx context.Context, out io.Writer, id string, f jobs.FileFilter, format string) error {
	if format == "csv" {
		w := csv.NewWriter(out)
		w.UseCRLF = true
		if err := w.Write(fileColumns()); err != nil {
			return err
		}
		err := s.Jobs.Files(ctx, id, f, func(r jobs.FileRecord) error { return w.Write(fileRow(r)) })
		w.Flush()
		if err != nil {
			return err
		}
		return w.Error()
	}
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	if format == "ndjson" {
		return s.Jobs.Files(ctx, id, f, func(r jobs.FileRecord) error { return e.Encode(r) })
	}
	between := "["
	err := s.Jobs.Files(ctx, id, f, func(r jobs.FileRecord) error {
		if _, err := io.WriteString(out, between); err != nil {
			return err
		}
		between = ","
		return e.Encode(r)
	})
	if err != nil {
		return err
	}
	if between == "[" {
		_, err = io.WriteString(out, "[")
	}
	if err == nil {
		_, err = io.WriteString(out, "]\n")
	}
	return err
}

// fileColumns are the names of a CSV's columns, those of the JSON.
func fileColumns() []string {
	return []string{"path", "destination", "size", "mtime", "outcome", "source", "grade", "hash", "package", "evidence", "code", "reason", "at"}
}

// fileRow is a file as a line of a CSV. Only JSON has names to the letter.
func fileRow(r jobs.FileRecord) []string {
	when := func(t *time.Time) string {
		if t == nil {
			return ""
		}
		return t.UTC().Format(time.RFC3339Nano)
	}
	outcome := string(r.Result)
	if outcome == "" {
		outcome = pending
	}
	return []string{human.Cell(r.Path), human.Cell(r.Dest), strconv.FormatInt(r.Size, 10), when(r.ModTime), outcome, string(r.Source), string(r.Grade), r.Hash,
		strconv.FormatBool(r.Package), r.Evidence, r.Code, human.Cell(r.Reason), when(r.At)}
}
