package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"offload/transfer"
)

// FileQuery chooses files of a job and pages them, in the order of the scan.
type FileQuery struct {
	FileFilter
	Code   string // of the outcome; "" is all
	Search string // part of the path, in any case; "" is all
	Cursor string // from the page before
	Limit  int    // Defaults to 100; 1,000 at most.
}

// FilePage is a page of files.
type FilePage struct {
	Files []FileRecord `json:"files"`
	Next  string       `json:"next,omitempty"` // cursor of the next page, "" at the end
}

// Bounds of reading pages of files.
const (
	filesDefault = 100
	filesMost    = 1000
	searchMost   = 1000                  // characters
	fileChunk    = 16                    // batches read in one call
	fileTime     = 25 * time.Millisecond // after which a page ends with what it has
)

// FilePage returns a page of a job's files. Pages stay where they are while the job runs: a cursor names a place in what the
// scan has found. A filter by outcome, source or code reads only the batches that hold such files; a search by path reads all
// of them, a million files in some seconds. So a page that took too long already ends early, even without any file: whoever
// wants more goes on with Next. A query that makes no sense is an *OrderError.
func (s *Service) FilePage(ctx context.Context, id string, q FileQuery) (FilePage, error) {
	if err := q.check(); err != nil {
		return FilePage{}, err
	}
	began := time.Now()
	id, err := s.resolve(ctx, id)
	if err != nil {
		return FilePage{}, err
	}
	v, err := s.viewFiles(ctx, id, q)
	if err != nil {
		return FilePage{}, err
	}
	page := FilePage{Files: []FileRecord{}}
	full := errors.New("the page is full")
	for read := false; !v.ended(); read = true {
		if read && time.Since(began) > fileTime { // each page gets on, however slow the store is
			page.Next = filePlace{v.next, 0}.String()
			return page, nil
		}
		err := v.chunk(ctx, func(at filePlace, r FileRecord) error {
			if len(page.Files) == q.Limit {
				page.Next = at.String()
				return full
			}
			page.Files = append(page.Files, r)
			return nil
		})
		if errors.Is(err, full) {
			return page, nil
		}
		if err != nil {
			return FilePage{}, err
		}
	}
	return page, nil
}

// check sets the defaults of a query and refuses what makes no sense.
func (q *FileQuery) check() error {
	if q.Limit <= 0 {
		q.Limit = filesDefault
	}
	q.Limit = min(q.Limit, filesMost)
	if _, err := parseFilePlace(q.Cursor); err != nil {
		return err
	}
	return checkSearch(q.Search)
}

func checkSearch(text string) error {
	if utf8.RuneCountInString(text) <= searchMost {
		return nil
	}
	return &OrderError{Field: "search", Err: fmt.Errorf("is longer than %d characters", searchMost), Hint: "shorten it"}
}

// filePlace is where a file stands: in which batch, and where in it.
type filePlace struct {
	batch int64
	index int
}

func (p filePlace) String() string { return fmt.Sprintf("%d.%d", p.batch, p.index) }

// parseFilePlace reads a cursor; "" is the beginning.
func parseFilePlace(cursor string) (filePlace, error) {
	if cursor == "" {
		return filePlace{1, 0}, nil
	}
	b, i, _ := strings.Cut(cursor, ".")
	batch, err1 := strconv.ParseInt(b, 10, 40)
	index, err2 := strconv.ParseInt(i, 10, 31)
	p := filePlace{batch, int(index)}
	if err1 != nil || err2 != nil || batch < 1 || index < 0 || p.String() != cursor {
		return filePlace{}, badCursor(cursor)
	}
	return p, nil
}

// fileView goes through the files of a job that a query chooses.
type fileView struct {
	s     *Service
	id    string
	q     FileQuery
	find  needle
	from  filePlace // the first file of interest
	next  int64     // batch to read next
	last  int64     // batch of the job
	where marks     // batches to read, where picky
	picky bool
}

// viewFiles begins a view of a job's files. id is a whole one, the cursor a valid one.
func (s *Service) viewFiles(ctx context.Context, id string, q FileQuery) (*fileView, error) {
	f, err := s.client.HGetAll(ctx, keysOf(id).job()).Result()
	if err != nil {
		return nil, fmt.Errorf("read job %s: %w", id, err)
	}
	if f["state"] == "" {
		return nil, fmt.Errorf("job %s: %w", id, ErrNotFound)
	}
	v := &fileView{s: s, id: id, q: q, find: newNeedle(q.Search), last: number(f["batches"])}
	if v.from, err = parseFilePlace(q.Cursor); err != nil {
		return nil, err
	}
	v.next = v.from.batch
	counts, whole := tallies(f)
	if v.picky = whole && q.byKind(); v.picky {
		kinds := map[kind]bool{}
		for k := range counts {
			if q.chooses(k.result, k.source, k.code) {
				kinds[k] = true
			}
		}
		all, err := s.marksOf(ctx, id, kinds)
		if err != nil {
			return nil, err
		}
		v.where = all[0]
	}
	v.skip()
	return v, nil
}

// byKind tells whether the query chooses files by what became of them: those that nothing has become of yet have no kind.
func (q FileQuery) byKind() bool {
	if slices.Contains(q.Results, transfer.Pending) {
		return false
	}
	return len(q.Results) > 0 || q.Code != "" || len(q.Source) > 0 && !slices.Contains(q.Source, "")
}

func (q FileQuery) chooses(r transfer.Result, src transfer.SourceState, code string) bool {
	return q.FileFilter.chooses(FileRecord{Result: r, Source: src}) && (q.Code == "" || q.Code == code)
}

// skip moves on to the next batch that may hold a file of the query.
func (v *fileView) skip() {
	if !v.picky {
		return
	}
	n, ok := v.where.next(v.next)
	if !ok {
		n = v.last + 1
	}
	v.next = n
}

func (v *fileView) ended() bool { return v.next > v.last }

// chunk reads the next few batches and calls yield for each file in them that the query chooses.
func (v *fileView) chunk(ctx context.Context, yield func(filePlace, FileRecord) error) error {
	var numbers []int64
	for len(numbers) < fileChunk && !v.ended() {
		numbers = append(numbers, v.next)
		v.next++
		v.skip()
	}
	all, err := v.s.fetch(ctx, v.id, numbers)
	if err != nil {
		return err
	}
	for _, raw := range all {
		if err := v.give(raw, yield); err != nil {
			return err
		}
	}
	return nil
}

// give calls yield for each file of a batch that the query chooses.
func (v *fileView) give(raw packed, yield func(filePlace, FileRecord) error) error {
	if may, err := v.s.codec.mayHold(raw.blob, v.find); err != nil || !may {
		return err
	}
	b, err := v.s.unpack(v.id, raw)
	if err != nil {
		return err
	}
	for i, e := range b.entries {
		if b.number == v.from.batch && i < v.from.index {
			continue
		}
		if o := b.done[i]; !v.q.chooses(o.Result, o.Source, o.Code) || !v.find.in(e.Path) {
			continue
		}
		if err := yield(filePlace{b.number, i}, fileRecord(e, b.done[i])); err != nil {
			return err
		}
	}
	return nil
}

// needle is a text to be found in others, in any case. The zero value is found everywhere.
type needle struct {
	folded string
	inJSON string // as it stands in JSON
}

func newNeedle(text string) needle {
	text = strings.ToValidUTF8(text, "\ufffd")
	raw, err := json.Marshal(text)
	if err != nil || strings.ContainsRune(text, '\ufffd') { // it stands for what was no UTF-8, in two spellings
		return needle{folded: transfer.FoldText(text)}
	}
	return needle{transfer.FoldText(text), transfer.FoldText(string(raw[1 : len(raw)-1]))}
}

func (n needle) none() bool { return n.folded == "" }

func (n needle) in(text string) bool {
	return n.none() || strings.Contains(transfer.FoldText(text), n.folded)
}

// mayBeIn tells whether the needle may stand in a text of a JSON document. It is wrong to the safe side alone, and quick
// where the document is ASCII.
func (n needle) mayBeIn(document []byte) bool {
	if n.none() {
		return true
	}
	for _, c := range document {
		if c >= utf8.RuneSelf {
			return true
		}
	}
	return strings.Contains(transfer.FoldText(string(document)), n.inJSON)
}
