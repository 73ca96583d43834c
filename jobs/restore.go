package jobs

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"golang.org/x/text/unicode/norm"

	"offload/manifest"
	"offload/transfer"
)

// RestoreAsk says what is to be brought back to where it was.
type RestoreAsk struct {
	Job     string    // files that this job offloaded; "" is all jobs
	Path    string    // a remote with a path: only what was there, or below. Needed where neither Job nor Since is given.
	From    string    // a remote with a path: only what was offloaded there, or below; "" is anywhere
	Since   time.Time // only what was deleted at the source then or later; zero is ever
	Include []string  // rclone's filter patterns
	Exclude []string  // the same; exclude wins
	Label   string
}

// restoreJobsMost is how many jobs one restore may be made of.
const restoreJobsMost = 1000

// RestoreOrders returns an order for each job that has offloaded some of what is asked for, the newest first. Where several
// have offloaded a file of one place, the newest wins. That there is nothing to bring back, or that the question makes no
// sense, is an *OrderError.
func (s *Service) RestoreOrders(ctx context.Context, ask RestoreAsk) ([]Order, error) {
	all, err := s.offloaders(ctx, ask)
	if err != nil {
		return nil, err
	}
	var orders []Order
	var newer []string
	for _, j := range all {
		below, ok := "", true
		if ask.Path != "" {
			below, ok = belowOf(ask.Path, j.Source)
		}
		if !ok || !liesIn(j.Dest, ask.From) || j.Kind != KindMove || j.Files.Deleted == 0 {
			continue
		}
		o := Order{Source: j.Dest, Dest: j.Source, Account: j.Account, Kind: KindRestore, Of: j.ID, Below: below, Since: ask.Since,
			Newer: append([]string(nil), newer...), MaxDelete: -1, Label: ask.Label, Priority: j.Order.Priority}
		o.Include, o.Exclude = ask.Include, ask.Exclude
		o = o.WithDefaults()
		if err := o.Validate(); err != nil {
			return nil, err
		}
		orders = append(orders, o)
		newer = append(newer, j.ID)
	}
	if len(orders) == 0 {
		field, value := "path", ask.Path
		if ask.Path == "" {
			field, value = "since", ask.Since.Format(time.RFC3339)
		}
		if ask.Job != "" {
			field, value = "job", ask.Job
		}
		return nil, &OrderError{Field: field, Value: value, Err: errors.New("no job has deleted anything there: there is nothing to bring back"),
			Hint: "`offload jobs list` shows the jobs; `offload jobs show ID` how many files a job has deleted"}
	}
	return orders, nil
}

// offloaders are the jobs that a question is about, the newest first.
func (s *Service) offloaders(ctx context.Context, ask RestoreAsk) ([]Job, error) {
	if ask.Job != "" {
		j, err := s.recorded(ctx, ask.Job)
		return []Job{j}, err
	}
	if ask.Path == "" && ask.Since.IsZero() {
		return nil, &OrderError{Field: "path", Err: errors.New("is missing"), Hint: "name a job, a time, or --path with a remote and a path, such as icloud:Documents"}
	}
	o := ListOptions{Limit: 200}
	if ask.Path != "" {
		o.Remote = nameOfRemote(ask.Path)
	}
	var found []Job
	for {
		page, next, err := s.List(ctx, o)
		if err != nil {
			return nil, fmt.Errorf("look for jobs that offloaded files: %w", err)
		}
		for _, j := range page {
			_, ok := belowOf(ask.Path, j.Source)
			if ask.Path == "" { // all places; a job that ended before has deleted nothing since
				ok = j.Finished == nil || !j.Finished.Before(ask.Since)
			}
			if ok && j.Files.Deleted > 0 && j.Kind == KindMove {
				found = append(found, j)
			}
		}
		if len(found) > restoreJobsMost {
			return nil, &OrderError{Field: "path", Value: ask.Path, Err: fmt.Errorf("more than %d jobs offloaded such files", restoreJobsMost),
				Hint: "name a folder further down, a later time, or the jobs one by one"}
		}
		if o.Cursor = next; next == "" {
			return s.withRemoved(ctx, ask.Path, found)
		}
	}
}

// belowOf tells whether a path of a remote and a root have anything in common, and which part of the root that is: "" is all
// of it. An empty root holds everything.
func belowOf(p, root string) (below string, ok bool) {
	if root == "" {
		return "", true
	}
	if remoteOf(p) != remoteOf(root) && nameOfRemote(p)+nameOfRemote(root) != "" {
		return "", false
	}
	a, b := pathOf(p), pathOf(root)
	switch {
	case a == b || a == "" || strings.HasPrefix(b, a+"/"):
		return "", true
	case b == "":
		return a, true
	case strings.HasPrefix(a, b+"/"):
		return a[len(b)+1:], true
	}
	return "", false
}

// liesIn tells whether a path of a remote is a folder or lies below it; "" holds everything.
func liesIn(p, folder string) bool {
	below, ok := belowOf(p, folder)
	return ok && (folder == "" || below != "" || pathOf(p) == pathOf(folder))
}

// pathOf is the path on a remote, composed and without slashes around it.
func pathOf(remote string) string {
	if nameOfRemote(remote) != "" {
		remote = remote[strings.LastIndexByte(remote[:pathStart(remote)], ':')+1:]
	}
	return strings.Trim(path.Clean("/"+norm.NFC.String(remote)), "/")
}

// pathStart is where the path of a remote begins: after the first colon that isn't between quotes.
func pathStart(remote string) int {
	quoted := byte(0)
	for i := range len(remote) {
		switch c := remote[i]; {
		case quoted != 0 && c == quoted:
			quoted = 0
		case quoted == 0 && (c == '"' || c == '\''):
			quoted = c
		case quoted == 0 && c == ':' && i > 0:
			return i + 1
		}
	}
	return len(remote)
}

// wanted decides which files of a record a restore is about.
type wanted struct {
	order  Order
	passes func(transfer.Entry) bool
	newer  map[[16]byte]struct{} // places that a newer job has offloaded from
	root   string                // of the places, composed
}

// wantedOf reads what a restore leaves to newer jobs. now is what ages count from.
func (s *Service) wantedOf(ctx context.Context, o Order, now time.Time) (*wanted, error) {
	w := &wanted{order: o, newer: map[[16]byte]struct{}{}, root: o.Dest}
	var err error
	if w.passes, err = transfer.Selector(o.Options, now); err != nil {
		return nil, err
	}
	for _, id := range o.Newer {
		j, err := s.recorded(ctx, id)
		if errors.Is(err, ErrNotFound) {
			continue // its record is gone, and with it what it would bring back
		}
		if err != nil {
			return nil, err
		}
		_, err = s.Record(ctx, id, func(l manifest.Line) error {
			if l.Gone() {
				w.newer[placeOf(j.Source, l.Path)] = struct{}{}
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("read the record of job %s: %w", id, err)
		}
	}
	return w, nil
}

// placeOf names a place, whichever root it is told from.
func placeOf(root, below string) [16]byte {
	sum := sha256.Sum256([]byte(remoteOf(root) + "\x00" + path.Join(pathOf(root), norm.NFC.String(below))))
	return [16]byte(sum[:16])
}

// takes tells whether a file of the record is to come back.
func (w *wanted) takes(l manifest.Line) bool {
	o := w.order
	if !l.Gone() || l.Deleted.Before(o.Since) {
		return false
	}
	if o.Below != "" && l.Path != o.Below && !strings.HasPrefix(l.Path, o.Below+"/") {
		return false
	}
	if _, newer := w.newer[placeOf(w.root, l.Path)]; newer {
		return false
	}
	return w.passes(restoreEntry(l))
}

// RestorePreview is what a restore would do.
type RestorePreview struct {
	Jobs     []RestoreOf `json:"jobs"`
	Files    PlanCount   `json:"files"`
	Trash    PlanCount   `json:"from_trash"`       // still in the source's trash: brought back without traffic
	Dest     PlanCount   `json:"from_destination"` // read from where it was offloaded to
	Aside    PlanCount   `json:"set_aside"`        // packages that left the trash: their copy is a zip
	Traffic  int64       `json:"traffic"`          // bytes that would count against the quota, at most
	Quota    PlanQuota   `json:"quota"`
	Warnings []string    `json:"warnings"`
}

// RestoreOf is the part of one job in a restore.
type RestoreOf struct {
	Job   string    `json:"job"` // that offloaded the files
	From  string    `json:"from"`
	To    string    `json:"to"`
	Files PlanCount `json:"files"`
}

// PreviewRestore tells what orders of RestoreOrders would do. Nothing is changed, and no file is looked at in its place: what is
// there already is passed over when the time comes.
func (s *Service) PreviewRestore(ctx context.Context, orders []Order) (RestorePreview, error) {
	p := RestorePreview{Jobs: []RestoreOf{}, Warnings: []string{}}
	if len(orders) == 0 {
		return p, nil
	}
	b, err := s.newBudget(ctx, orders[0])
	if err != nil {
		return p, err
	}
	plan := Plan{Complete: true}
	for _, o := range orders {
		if err := s.previewOne(ctx, o, &p, &plan, b); err != nil {
			return p, err
		}
	}
	p.Traffic = plan.Traffic
	err = b.compare(ctx, &plan)
	p.Quota = plan.Quota
	return p, err
}

func (s *Service) previewOne(ctx context.Context, o Order, p *RestorePreview, plan *Plan, b *budget) error {
	w, err := s.wantedOf(ctx, o, time.Now())
	if err != nil {
		return err
	}
	pair, err := s.cfg.Open(ctx, o.Source, o.Dest, o.Options)
	if err != nil {
		return orderError(o, err)
	}
	defer pair.Close(context.WithoutCancel(ctx))
	inTrash, err := pair.Restorable(ctx)
	if err != nil {
		p.Warnings = append(p.Warnings, fmt.Sprintf("the trash of %s can't be read, so all is counted as read from %s: %s",
			o.Dest, o.Source, transfer.WithoutQueries(err.Error())))
		inTrash = func(transfer.Entry) bool { return false }
	}
	of := RestoreOf{Job: o.Of, From: o.Source, To: o.Dest}
	_, err = s.Record(ctx, o.Of, func(l manifest.Line) error {
		if !w.takes(l) {
			return nil
		}
		e := restoreEntry(l)
		n := max(e.Size, 0)
		p.Files.add(n)
		of.Files.add(n)
		switch {
		case inTrash(e):
			p.Trash.add(n)
		case e.Package:
			p.Aside.add(n)
		default:
			p.Dest.add(n)
			plan.Traffic += n
			b.add(plan, e, n)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read the record of job %s: %w", o.Of, err)
	}
	p.Jobs = append(p.Jobs, of)
	return nil
}
