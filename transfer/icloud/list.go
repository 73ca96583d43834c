package icloud

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rclone/rclone/backend/iclouddrive/api"
	"github.com/rclone/rclone/fs"
)

const (
	// groupMax is how many folders one call asks for at most.
	groupMax = 32
	// shortTries is how often a folder is asked for that comes with fewer items than it says it has.
	shortTries = 3
	// shortGroups is after how many short answers to groups in a row no more groups are sent.
	shortGroups = 2
)

// coalescer gathers folders to list: while the account is called as often as it may be, they wait and then go together.
// Where there is room they go at once.
type coalescer struct {
	a *Account

	mu      sync.Mutex
	queue   []*listJob
	running bool
	single  bool // the server can't do groups
	shorts  int  // groups in a row that came short
}

// listJob is one folder to list.
type listJob struct {
	id    string
	group *group // the group that came without it, nil before
	out   chan Listing
	left  bool    // nobody waits for it any more; the coalescer's mu guards it
	call  *inCall // the call that it is in, nil while it waits; the same
}

// inCall ends a call that nobody waits for any more.
type inCall struct {
	waiting int // guarded by the coalescer's mu
	cancel  context.CancelFunc
}

// group is a call that came short.
type group struct{ blamed atomic.Bool }

// List implements service.
func (a *Account) List(ctx context.Context, ids []string) []Listing {
	jobs := make([]*listJob, len(ids))
	for i, id := range ids {
		jobs[i] = &listJob{id: id, out: make(chan Listing, 1)}
	}
	a.lists.add(ctx, jobs...)
	out := make([]Listing, len(ids))
	for i, j := range jobs {
		select {
		case out[i] = <-j.out:
		case <-ctx.Done():
			a.lists.leave(j)
			out[i] = Listing{Err: context.Cause(ctx)}
		}
	}
	return out
}

// add puts folders into the queue. ctx only lends its values: a call may be for many callers.
func (q *coalescer) add(ctx context.Context, jobs ...*listJob) {
	if len(jobs) == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.queue = append(q.queue, jobs...)
	if !q.running {
		q.running = true
		go q.run(context.WithoutCancel(ctx))
	}
}

// leave takes a caller's wish for a folder back.
func (q *coalescer) leave(j *listJob) {
	q.mu.Lock()
	defer q.mu.Unlock()
	j.left = true
	if j.call == nil {
		return
	}
	if j.call.waiting--; j.call.waiting == 0 {
		j.call.cancel()
	}
}

// run hands out the queue until it is empty: a batch for each place in the limiter.
func (q *coalescer) run(ctx context.Context) {
	for {
		t, err := q.a.enter(ctx, q.a.api, "list folders")
		batch := q.take(err)
		if err == nil && len(batch) == 0 {
			t.release()
		}
		if len(batch) == 0 {
			return
		}
		if err != nil {
			for _, j := range batch {
				j.out <- Listing{Err: err}
			}
			continue
		}
		go q.ask(ctx, batch, t)
	}
}

// take removes the next batch from the queue: everything where nobody may be called. With none it ends the run.
func (q *coalescer) take(failed error) (batch []*listJob) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var waiting []*listJob
	for _, j := range q.queue {
		if !j.left {
			waiting = append(waiting, j)
		}
	}
	n := len(waiting)
	if n == 0 {
		q.queue, q.running = nil, false
		return nil
	}
	if failed == nil {
		n = q.size(waiting)
	}
	q.queue = waiting[n:]
	return waiting[:n]
}

// size is how many folders go in the next call: an even share of what waits for each place that is free.
func (q *coalescer) size(waiting []*listJob) int {
	if q.single || waiting[0].group != nil {
		return 1
	}
	n := 0
	for n < len(waiting) && waiting[n].group == nil {
		n++
	}
	places := q.a.api.free() + 1
	return min((n+places-1)/places, groupMax)
}

// ask makes one call for a batch, as long as anybody waits for it.
func (q *coalescer) ask(ctx context.Context, batch []*listJob, t *ticket) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	q.mu.Lock()
	c := &inCall{cancel: cancel}
	for _, j := range batch {
		j.call = c
		if !j.left {
			c.waiting++
		}
	}
	if c.waiting == 0 {
		cancel()
	}
	q.mu.Unlock()
	if len(batch) > 1 {
		q.askGroup(ctx, batch, t)
		return
	}
	j := batch[0]
	l := q.a.listOne(ctx, j.id, t)
	if l.Err == nil && j.group != nil && j.group.blamed.CompareAndSwap(false, true) {
		q.cameShort()
	}
	j.out <- l
}

// cameShort notes that a folder came whole alone which a group had left out.
func (q *coalescer) cameShort() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.shorts++; q.shorts >= shortGroups && !q.single {
		q.single = true
		q.a.opt.Log.Info("iCloud answers short to several folders in one call: from now on one at a time", "remote", q.a.name)
	}
}

// askGroup lists several folders in one call. What comes short is asked for again, one by one.
func (q *coalescer) askGroup(ctx context.Context, batch []*listJob, t *ticket) {
	var ids []string
	seen := map[string]bool{}
	for _, j := range batch {
		if !seen[j.id] {
			seen[j.id] = true
			ids = append(ids, j.id)
		}
	}
	var found itemList
	c := listCall(ids)
	c.ticket, c.retry4 = t, 2
	c.decode = func(body []byte) error { return readItems(body, &found) }
	err := q.a.do(ctx, c)
	var se *statusError
	if err != nil && !(errors.As(err, &se) && se.status/100 == 4 && !throttles(se.status)) && !errors.Is(err, errShort) {
		for _, j := range batch {
			j.out <- Listing{Err: err}
		}
		return
	}
	var again []*listJob
	g := &group{}
	for _, j := range batch {
		w := answerFor(found.list, j.id, len(ids) == 1)
		if w != nil && w.Drivewsid != "" && gone(string(w.Status)) {
			j.out <- Listing{Err: fs.ErrorDirNotFound} // as clear a word as it would be alone
			continue
		}
		if w == nil || !good(w.Status) || missing(w) > 0 {
			j.group = g
			again = append(again, j)
			continue
		}
		j.out <- q.a.listing(w)
	}
	if len(again) == 0 {
		q.mu.Lock()
		q.shorts = 0
		q.mu.Unlock()
	}
	q.add(ctx, again...)
}

// listCall asks for folders and what lies in them.
func listCall(ids []string) *call {
	return &call{what: "list folders", method: "POST", service: api.WsDrive, path: "/retrieveItemDetailsInFolders", body: questions(ids)}
}

// question asks for one item.
type question struct {
	ID        string `json:"drivewsid"`
	Partial   bool   `json:"partialData"`
	Hierarchy bool   `json:"includeHierarchy"`
}

func questions(ids []string) []question {
	out := make([]question, len(ids))
	for i, id := range ids {
		out[i].ID = id
	}
	return out
}

// readItems reads a list of items, bare or in an object.
func readItems(body []byte, into *itemList) error {
	*into = itemList{}
	if err := into.UnmarshalJSON(body); err == nil && into.given {
		return flatten(into)
	}
	var w wireItem
	if err := unmarshal(body, &w); err != nil {
		return err
	}
	if !w.Items.given || w.Drivewsid != "" {
		return errShort
	}
	*into = w.Items
	return nil
}

// flatten takes the items out of a list whose elements only hold lists.
func flatten(l *itemList) error {
	var flat []wireItem
	for _, w := range l.list {
		if w.Drivewsid == "" && w.Items.given {
			flat = append(flat, w.Items.list...)
			continue
		}
		flat = append(flat, w)
	}
	l.list = flat
	return nil
}

// answerFor finds the answer to an ID: by the ID as it was asked for, or by another spelling of it. lenient also takes an answer
// without an ID where it is the only one.
func answerFor(list []wireItem, id string, lenient bool) *wireItem {
	for i := range list {
		if string(list[i].Drivewsid) == id {
			return &list[i]
		}
	}
	for i := range list {
		if w := &list[i]; w.Drivewsid != "" && key(string(w.Drivewsid)) == key(id) {
			return w
		}
	}
	if lenient && len(list) == 1 && list[0].Drivewsid == "" && !good(list[0].Status) {
		return &list[0]
	}
	return nil
}

// missing is how many items a folder says it has beyond those that came. A folder without any list is short by one.
func missing(w *wireItem) int64 {
	want := max(w.NumberOfItems.n, w.DirectChildren.n)
	if !w.Items.given {
		if (w.NumberOfItems.ok || w.DirectChildren.ok) && want == 0 {
			return 0
		}
		return max(want, 1)
	}
	got := int64(0)
	for i := range w.Items.list {
		if w.Items.list[i].Drivewsid != "" {
			got++
		}
	}
	lost := int64(len(w.Items.list)) - got // items that don't say which they are
	return max(want-got, lost, 0)
}

// listOne lists one folder. One that comes short again and again is an error: part of a folder is never taken for it all.
func (a *Account) listOne(ctx context.Context, id string, t *ticket) Listing {
	var w *wireItem
	short := 0
	c := listCall([]string{id})
	c.what, c.ticket = "list folder", t
	c.decode = func(body []byte) error {
		var found itemList
		if err := readItems(body, &found); err != nil {
			return err
		}
		if w = answerFor(found.list, id, true); w == nil {
			return errShort
		}
		if good(w.Status) && missing(w) > 0 {
			if short++; short < shortTries {
				return errShort
			}
		}
		return nil
	}
	err := a.do(ctx, c)
	var se *statusError
	switch {
	case errors.As(err, &se) && se.status == http.StatusNotFound:
		return Listing{Err: fs.ErrorDirNotFound}
	case err != nil:
		return Listing{Err: err}
	case gone(string(w.Status)):
		return Listing{Err: fs.ErrorDirNotFound}
	case !good(w.Status):
		return Listing{Err: fmt.Errorf("list folder: iCloud answered %q", string(w.Status))}
	}
	if n := missing(w); n > 0 {
		got := int64(len(w.Items.list))
		return Listing{Err: fmt.Errorf("%w: it gave %d of %d items of this folder", errShort, got, got+n)}
	}
	return a.listing(w)
}

// listing is a whole answer in our terms.
func (a *Account) listing(w *wireItem) Listing {
	l := Listing{Folder: w.item(a.enc), Items: make([]Item, 0, len(w.Items.list))}
	for i := range w.Items.list {
		l.Items = append(l.Items, w.Items.list[i].item(a.enc))
	}
	return l
}

// ListTrash implements service.
func (a *Account) ListTrash(ctx context.Context) ([]Trashed, error) {
	names := []string{trashID, bareTrashID} // two spellings are known
	if a.bare.Load() {
		slices.Reverse(names)
	}
	var err error
	for _, id := range names {
		var w *wireItem
		if w, err = a.trash(ctx, id); err == nil {
			a.bare.Store(id == bareTrashID)
			out := make([]Trashed, len(w.Items.list))
			for i := range w.Items.list {
				out[i] = Trashed{Item: w.Items.list[i].item(a.enc), RestorePath: string(w.Items.list[i].RestorePath)}
				if a.away.is(out[i].ID, out[i].ETag) {
					// It is surely the version that went there; the trash may give it the time when it did.
					out[i].ModTime = time.Time{}
				}
			}
			return out, nil
		}
		var se *statusError
		var ie *itemError
		unknown := errors.As(err, &se) && se.status/100 == 4 && !throttles(se.status)
		if !unknown && !errors.As(err, &ie) && !errors.Is(err, errShort) {
			break
		}
	}
	return nil, err
}

// bareTrashID is the other name of the trash.
const bareTrashID = "TRASH_ROOT"

func (a *Account) trash(ctx context.Context, id string) (*wireItem, error) {
	var w *wireItem
	c := listCall([]string{id})
	c.what = "list trash"
	c.decode = func(body []byte) error {
		var found itemList
		if err := readItems(body, &found); err != nil {
			return err
		}
		w = answerFor(found.list, id, true)
		if w == nil || good(w.Status) && missing(w) > 0 {
			return errShort
		}
		return nil
	}
	if err := a.do(ctx, c); err != nil {
		return nil, err
	}
	if !good(w.Status) {
		return nil, &itemError{c.what, string(w.Status)}
	}
	return w, nil
}

// Details implements service.
func (a *Account) Details(ctx context.Context, ids []string) ([]Item, []error) {
	items, errs := make([]Item, len(ids)), make([]error, len(ids))
	if len(ids) == 0 {
		return items, errs
	}
	found, err := a.details(ctx, ids)
	var se *statusError
	if len(ids) > 1 && errors.As(err, &se) && (se.status == http.StatusBadRequest || se.status == http.StatusNotFound) {
		for i := range ids { // one of them may be the reason
			one, errOne := a.Details(ctx, ids[i:i+1])
			items[i], errs[i] = one[0], errOne[0]
		}
		return items, errs
	}
	for i, id := range ids {
		w := answerFor(found, id, len(ids) == 1)
		switch {
		case err != nil:
			errs[i] = err
		case w == nil:
			errs[i] = fmt.Errorf("look at item: %w", errShort)
		case gone(string(w.Status)):
			errs[i] = fs.ErrorObjectNotFound
		case !good(w.Status):
			errs[i] = fmt.Errorf("look at item: iCloud answered %q", string(w.Status))
		default:
			items[i] = w.item(a.enc)
		}
	}
	return items, errs
}

// details asks for items in the form that rclone uses, or in the other known one where that is refused.
func (a *Account) details(ctx context.Context, ids []string) ([]wireItem, error) {
	type form struct {
		Items []question `json:"items"`
	}
	f := form{questions(ids)}
	var err error
	for _, body := range []any{[]form{f}, f} {
		var found itemList
		c := &call{what: "look at items", method: "POST", service: api.WsDrive, path: "/retrieveItemDetails", body: body}
		c.decode = func(b []byte) error {
			if err := readItems(b, &found); err != nil {
				return err
			}
			if len(found.list) == 0 && len(ids) > 0 {
				return errShort
			}
			return nil
		}
		if err = a.do(ctx, c); err == nil {
			return found.list, nil
		}
		var se *statusError
		if !errors.As(err, &se) {
			break
		}
		if se.status == http.StatusNotFound && len(ids) == 1 {
			return nil, fs.ErrorObjectNotFound
		}
		if se.status != http.StatusBadRequest {
			break
		}
	}
	return nil, err
}
