package transfer

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/rclone/rclone/fs"
)

// filtered are the options that a scan filters by: a plan's files stand in the place of all filters.
func (o ScanOptions) filtered(opt Options) Options {
	if o.Files == nil {
		return opt
	}
	return Options{FilesFrom: o.Files}
}

// Planned is an entry as the scan finds it now, for a job whose plan saw it as planned, with seen then at the destination:
// what has drifted since is set aside. There says what the plan saw, so that the engine can ask again when its turn comes.
func Planned(planned Entry, then Seen, found Entry, now Seen) Entry {
	found.There = &then
	planned.There = &then
	switch {
	case found.Code == CodeNotFound: // there is no file of the path
		found.Source, found.Size = planned.Source, planned.Size
		return found.driftedBy("it is gone since the plan was made")
	case found.Verdict != Pending:
		return found
	case ruleSourceAsPlanned(planned, mark{size: found.Size, mtime: found.ModTime, id: found.ID, etag: found.ETag}) != "":
		return found.driftedBy("it was " + planned.facts() + " when the plan was made and is " + found.facts() + " now")
	case ruleDestAsPlanned(planned, now) != "":
		return found.driftedBy("the destination had " + then.words() + " under this name when the plan was made and has " + now.words() + " now")
	}
	return found
}

func (e Entry) driftedBy(what string) Entry {
	e.Verdict, e.Code, e.Reason = SetAside, CodeDrifted, fmt.Sprintf("%s: %s. %s", e.Path, what, Remedy(CodeDrifted))
	return e
}

// facts is what tells versions of a file apart, for people.
func (e Entry) facts() string {
	s := fmt.Sprintf("%d bytes", e.Size)
	if !e.ModTime.IsZero() {
		s += " of " + e.ModTime.Format("2006-01-02 15:04:05 MST")
	}
	if e.ETag != "" {
		s += ", version " + e.ETag
	}
	return s
}

// words is what was seen at the destination, for people.
func (s Seen) words() string {
	switch s.State {
	case SeenNothing:
		return "nothing"
	case SeenFile:
		return "a file of " + Entry{Size: s.Size, ModTime: s.ModTime}.facts()
	}
	return "something unknown"
}

// drifted is the outcome of an entry that isn't as the plan saw it.
func (w *work) drifted(what string) Outcome {
	return Outcome{Result: SetAside, Source: Kept, Wasted: w.wasted, Code: CodeDrifted,
		Reason: sentence(CodeDrifted, remoteName(w.r.p.Source), w.e.Path, what)}
}

// nowThere is what the destination has under a name; nil is a folder, or nothing.
func (w *work) nowThere(ctx context.Context, dst fs.Object) Seen {
	if w.e.There == nil {
		return Seen{} // nobody asks
	}
	if dst == nil {
		return Seen{State: SeenNothing}
	}
	return Seen{State: SeenFile, Size: dst.Size(), ModTime: listedTime(ctx, dst, w.r.p.Dest, false)}
}

// keepCode is why a source file would be kept whatever is proved of its copy, as far as its listing tells; "" where it might
// be deleted. Of a package it knows by its name alone.
func keepCode(o fs.Object, e Entry, t traits) string {
	for _, code := range []string{ruleReadOnlyIsKept(t), ruleSharedIsKept(e.ID, t), ruleObjectIsKept(o).code} {
		if code != "" {
			return code
		}
	}
	if _, ok := o.(Resolver); ok && slices.Contains(packageSuffixes(), strings.ToLower(path.Ext(e.Path))) {
		return CodePackage
	}
	return ""
}

// Space is the room of the account behind the source: what it tells itself (Storage), or by rclone's About. ok is false where
// it tells neither how much there is in all nor how much of it is taken.
func (p *Pair) Space(ctx context.Context) (s Storage, ok bool, err error) {
	if s, ok, err := p.Storage(ctx); ok {
		return s, ok, err
	}
	about := p.Source.Features().About
	if about == nil {
		return Storage{}, false, nil
	}
	var usage *fs.Usage
	err = guarded(func() (err error) {
		usage, err = about(ctx)
		return err
	})
	if err != nil {
		return Storage{}, true, sourceErr("ask for the storage", err)
	}
	switch {
	case usage.Total != nil && usage.Free != nil:
		return Storage{Total: *usage.Total, Used: *usage.Total - *usage.Free}, true, nil
	case usage.Total != nil && usage.Used != nil:
		return Storage{Total: *usage.Total, Used: *usage.Used}, true, nil
	case usage.Used != nil && usage.Free != nil:
		return Storage{Total: *usage.Used + *usage.Free, Used: *usage.Used}, true, nil
	}
	return Storage{}, false, nil
}

// InTrash counts what lies in the source's trash, whoever put it there; ok is false where the engine can't look.
func (p *Pair) InTrash(ctx context.Context) (files, bytes int64, ok bool, err error) {
	trash, ok := p.Source.(Trash)
	if !ok {
		return 0, 0, false, nil
	}
	var sum TrashSum
	err = guarded(func() (err error) {
		sum, err = sumOf(ctx, trash)
		return err
	})
	if err != nil {
		return 0, 0, true, sourceErr("list the trash", err)
	}
	return sum.Items, sum.Bytes, true, nil
}
