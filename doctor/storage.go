package doctor

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"offload/configs"
	"offload/internal/human"
	"offload/jobs/orderform"
	"offload/room"
	"offload/transfer"
)

// Storage is the room of an account, and what a backup needs of it. Bytes.
type Storage struct {
	Total  int64            `json:"total"`
	Used   int64            `json:"used"`
	Free   int64            `json:"free"`
	ByKind map[string]int64 `json:"by_kind,omitempty"`
	Trash  *Trash           `json:"trash,omitempty"` // counted in Used until it is purged
	// Movable is the most that offload could move out: the drive's files without the trash. Nil where it isn't told.
	Movable *int64 `json:"movable,omitempty"`
	// Backup is what a backup needs; Estimated where nobody said so. Short is how much more must be free for it, with slack.
	Backup    int64 `json:"backup"`
	Estimated bool  `json:"backup_estimated,omitempty"`
	Short     int64 `json:"short"`
}

// fullPercent is from how many hundredths on an account is called nearly full where nobody knows what a backup needs.
const fullPercent = 95

// storageOf puts together what a remote tells of its room.
func storageOf(p Patient, kind string, look transfer.RemoteCheck, lies trashed) (*Storage, bool) {
	s := &Storage{ByKind: look.ByKind}
	switch {
	case look.Total == nil || *look.Total <= 0:
		return nil, false
	case look.Used != nil:
		s.Total, s.Used = *look.Total, *look.Used
		s.Free = max(0, s.Total-s.Used)
		if look.Free != nil {
			s.Free = *look.Free
		}
	case look.Free != nil:
		s.Total, s.Free = *look.Total, *look.Free
		s.Used = max(0, s.Total-s.Free)
	default:
		return nil, false
	}
	if lies.ok {
		s.Trash = &lies.Trash
	}
	s.Movable = movable(kind, s)
	if s.Backup = p.Backup; s.Backup == 0 && kind == kindICloud {
		s.Backup, s.Estimated = s.ByKind["backup"], s.ByKind["backup"] > 0
	}
	s.Short = max(0, room.Need(room.Goal{Backup: s.Backup}, transfer.Storage{Total: s.Total})-s.Free)
	return s, true
}

// movable is what offload could move out at most. iCloud counts the drive's files apart, with its trash.
func movable(kind string, s *Storage) *int64 {
	n := s.Used
	if kind == kindICloud {
		docs, told := s.ByKind["docs"]
		if !told {
			return nil
		}
		n = docs
	}
	if s.Trash != nil {
		n -= s.Trash.Bytes
	}
	n = max(0, n)
	return &n
}

func (e *examined) checkStorage(ctx context.Context) result {
	const id = "storage"
	look, err := e.looked(ctx)
	if err != nil {
		return unseen(id, "how full "+e.Name+" is couldn't be seen", "the remote gave no answer")
	}
	lies, err := e.lies(ctx)
	if err != nil { // the room is told all the same
		lies = trashed{}
	}
	s, ok := storageOf(e.p, e.Kind, look, lies)
	if !ok {
		return unseen(id, e.Name+" doesn't tell how much room it has", "")
	}
	r := result{storage: s, findings: []Finding{e.fullness(s)}}
	if s.Trash != nil && s.Trash.Bytes > 0 {
		r.findings = append(r.findings, e.trashFinding(s))
	}
	if f, ok := e.movableFinding(s); ok {
		r.findings = append(r.findings, f)
	}
	if e.Kind == kindICloud {
		if r.advice = advise(e.p.Plans, s); r.advice != nil {
			r.findings = append(r.findings, e.planFinding(r.advice))
		}
	}
	return r
}

// fullness tells whether a backup fits.
func (e *examined) fullness(s *Storage) Finding {
	f := Finding{ID: "storage", Level: OK, Why: byWhat(s)}
	held := fmt.Sprintf("%s holds %s of %s, %s is free", e.Name, human.Size(s.Used), human.Size(s.Total), human.Size(s.Free))
	full := s.Used >= s.Total/100*fullPercent
	need := "a backup of " + human.Size(s.Backup)
	if s.Estimated {
		need = "a whole new backup (about " + human.Size(s.Backup) + ", as much as the backups there take)"
	}
	switch {
	case e.Kind != kindICloud && e.p.Backup == 0, s.Backup == 0 && !full:
		f.What = held
		if full {
			f.Level, f.What = Warning, held+": it is nearly full"
		}
	case s.Backup == 0:
		f.Level, f.What = Warning, held+": it is nearly full, and how much a backup needs isn't known (--backup-size tells)"
	case s.Short == 0:
		f.What = fmt.Sprintf("%s: %s fits, with %d%% to spare", held, need, room.Slack)
	case s.Estimated && !full:
		f.Level = Note
		f.What = held + ": " + need + " wouldn't fit, while one that only adds what is new may"
	default:
		f.Level = Problem
		if s.Estimated {
			f.Level = Warning
		}
		f.What = fmt.Sprintf("%s: %s doesn't fit; with %d%% to spare, %s more must be free", held, need, room.Slack, human.Size(s.Short))
	}
	if f.Level == Warning || f.Level == Problem {
		f.Command, f.Steps = e.freeCommand(s), e.freeSteps(s)
	}
	return f
}

// byTrash tells whether emptying the trash makes the room: then nothing needs to be moved.
func (s *Storage) byTrash() bool {
	return s.Trash != nil && s.Trash.Bytes > 0 && s.Trash.Bytes >= s.Short
}

// freeCommand is the command that makes room; "" where offload has nothing to move, or needn't.
func (e *examined) freeCommand(s *Storage) string {
	if s.Movable != nil && *s.Movable == 0 || s.byTrash() {
		return ""
	}
	purge := ""
	if e.Kind == kindICloud {
		purge = " --purge-trash"
	}
	need := s.Backup
	if need == 0 {
		need = s.Total / 10
	}
	return fmt.Sprintf("offload free %s --for-backup %s --to %s"+purge, orderform.ShellQuote(e.Name), sizeFlag(need), orderform.ShellQuote(cmp.Or(e.Dest, "REMOTE:FOLDER")))
}

// sizeFlag writes a size as the command line takes it, rounded up to whole MiB.
func sizeFlag(n int64) string {
	const mib = 1 << 20
	return configs.Size((n + mib - 1) / mib * mib).String()
}

func (e *examined) freeSteps(s *Storage) []string {
	if s.byTrash() {
		return []string{"Its trash takes more than is missing: empty that first, as said below. Nothing needs to be moved for it."}
	}
	var steps []string
	if e.Kind == kindICloud && e.freeCommand(s) != "" {
		steps = append(steps, "It shows its plan and asks first. With --purge-trash it also takes out of the trash what it has moved and proved, and nothing else: "+
			"until then that counts.")
	}
	if e.Dest == "" {
		steps = append(steps, "No other cloud is configured: `offload remotes add dropbox` adds one to move files to.")
	}
	if e.Kind == kindICloud && s.Movable != nil && *s.Movable < s.Short {
		steps = append(steps, fmt.Sprintf("iCloud Drive has only %s that offload could move: photos, mail and old backups need a look, too "+
			"(Settings > your name > iCloud > Storage), or a larger plan.", human.Size(*s.Movable)))
	}
	return steps
}

// trashFinding tells what lies in the trash. It counts until it is purged: that is measured before and after, see
// docs/clouds.md, and what the account says stands above.
func (e *examined) trashFinding(s *Storage) Finding {
	f := Finding{ID: "trash", Level: Note, Why: "what is deleted counts against the storage until it leaves the trash"}
	f.What = fmt.Sprintf("%s in %s lie in its trash (%s)", human.Size(s.Trash.Bytes), e.Name, human.Count(s.Trash.Files, "item"))
	if s.Trash.More {
		f.What = "at least " + f.What
	}
	if s.Short > 0 && s.Trash.Bytes >= s.Short {
		f.Level, f.What = Warning, f.What+": without them a backup fits"
	}
	f.Steps = []string{
		"offload removes for good only what its own jobs put there: with --purge-trash.",
		"The rest is yours to look through. On the phone: Files > Browse > Recently Deleted; in a browser: icloud.com/recovery."}
	if e.Kind != kindICloud {
		f.Steps = f.Steps[:1]
	}
	return f
}

func (e *examined) movableFinding(s *Storage) (Finding, bool) {
	if s.Movable == nil || e.Kind != kindICloud {
		return Finding{}, false
	}
	f := Finding{ID: "movable", Level: Note, What: fmt.Sprintf("at most %s of iCloud Drive's files can be moved out of %s by offload", human.Size(*s.Movable), e.Name),
		Why: "photos, mail and backups aren't files of iCloud Drive; packages and shared files stay where they are"}
	if *s.Movable == 0 {
		f.What = "iCloud Drive of " + e.Name + " has no files that offload could move out"
	}
	return f, true
}

// byWhat says what takes the room, the largest first.
func byWhat(s *Storage) string {
	names := map[string]string{"photos": "photos", "backup": "device backups", "docs": "iCloud Drive and documents", "mail": "mail"}
	kinds := slices.Collect(maps.Keys(s.ByKind))
	slices.SortFunc(kinds, func(a, b string) int { return cmp.Or(cmp.Compare(s.ByKind[b], s.ByKind[a]), cmp.Compare(a, b)) })
	var parts []string
	for _, k := range kinds {
		if s.ByKind[k] > 0 {
			parts = append(parts, fmt.Sprintf("%s %s", cmp.Or(names[k], human.Printable(k)), human.Size(s.ByKind[k])))
		}
	}
	return strings.Join(parts, ", ")
}

// checkDest tells whether the destination has room for what must be moved.
func (e *examined) checkDest(ctx context.Context) result {
	const id = "destination"
	dest, err := e.lookedAtDest(ctx)
	switch {
	case transfer.SignInRefused(ctx, err) != "":
		return one(Finding{ID: id, Level: Warning, What: "the sign-in of " + e.Dest + " is refused: nothing can be moved there",
			Command: "offload remotes reconnect " + orderform.ShellQuote(nameOf(e.Dest))})
	case err != nil && !transfer.NotFound(err):
		return one(Finding{ID: id, Level: Warning, What: e.Dest + " doesn't answer: nothing can be moved there now",
			Command: "offload remotes check " + orderform.ShellQuote(e.Dest)})
	case err != nil:
		return unseen(id, "how much room "+e.Dest+" has couldn't be seen", "")
	case dest.Free == nil:
		return one(Finding{ID: id, Level: OK, What: nameOf(e.Dest) + ": answers; it doesn't tell how much room it has"})
	}
	f := Finding{ID: id, Level: OK, What: fmt.Sprintf("%s: has %s free", nameOf(e.Dest), human.Size(*dest.Free))}
	look, err := e.looked(ctx)
	if err != nil {
		return one(f)
	}
	lies, err := e.lies(ctx)
	if err != nil {
		lies = trashed{}
	}
	if s, ok := storageOf(e.p, e.Kind, look, lies); ok && s.Short > *dest.Free {
		f.Level = Warning
		f.What += fmt.Sprintf(": too little for the %s that must be moved", human.Size(s.Short))
		f.Steps = []string{"Name another destination with --to, or make room there."}
	}
	return one(f)
}
