package pages

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"offload/internal/human"
	goals "offload/room"
	"offload/transfer"
)

// storageView is the room of a cloud.
type storageView struct {
	Name  string
	Parts []storagePart
	transfer.Storage
	Seen time.Time
	Need string // what is free, and what a backup needs, as far as it is known
}

// storagePart is one kind of what fills a cloud.
type storagePart struct {
	Kind, Name string
	Bytes      int64
	At, Width  float64 // in percent
}

// Free is what is left.
func (v storageView) Free() int64 { return max(0, v.Total-v.Used) }

// storages are the clouds whose room is known: as they were looked at, or as the last job that deleted measured it.
func (p *Pages) storages(ctx context.Context, old past) []storageView {
	var all []storageView
	add := func(name string, st transfer.Storage, seen time.Time) {
		v := storageOf(name, st, seen)
		v.Need = needOf(name, st, p.backupsPlanned(ctx)[name])
		all = append(all, v)
	}
	for _, r := range p.RemoteStates(ctx) {
		if r.Storage != nil && r.Storage.Total > 0 && len(r.Storage.ByKind) > 0 {
			add(r.Name, *r.Storage, r.Seen)
		}
	}
	if len(all) > 0 {
		return all
	}
	for _, j := range old.storage {
		st := j.Storage.After
		if st == nil {
			st = j.Storage.Before
		}
		name, _, _ := strings.Cut(j.Source, ":")
		if st == nil || st.Total <= 0 || slices.ContainsFunc(all, func(v storageView) bool { return v.Name == name }) {
			continue
		}
		seen := j.Created
		if j.Finished != nil {
			seen = *j.Finished
		}
		add(name, *st, seen)
	}
	return all
}

// storageOf sorts what fills a cloud by kind.
func storageOf(name string, st transfer.Storage, seen time.Time) storageView {
	v := storageView{Name: name, Storage: st, Seen: seen}
	kinds := []struct{ kind, name string }{{"photos", "Photos"}, {"backup", "Backups"}, {"docs", "Documents"}, {"mail", "Mail"}}
	at, rest := 0.0, st.Used
	add := func(kind, name string, n int64) {
		if n <= 0 {
			return
		}
		width := min(share(n, st.Total), 100-at)
		v.Parts = append(v.Parts, storagePart{kind, name, n, at, width})
		at += width
		rest -= n
	}
	for _, k := range kinds {
		add(k.kind, k.name, st.ByKind[k.kind])
	}
	add("other", "Other", rest)
	return v
}

// needOf says what a device backup needs, as far as that is known, beside what is free: the number that a schedule which keeps
// room was given, else what the backups there take. Elsewhere than at iCloud there are no such backups.
func needOf(name string, st transfer.Storage, planned int64) string {
	if len(st.ByKind) == 0 {
		return ""
	}
	free, there := human.Size(max(0, goals.Free(st))), st.ByKind["backup"]
	switch {
	case planned > 0:
		goal := goals.Goal{Backup: planned}
		text := fmt.Sprintf("A schedule keeps room for a backup of %s: with %d%% to spare that needs %s, and %s is free", human.Size(planned), goals.Slack, human.Size(goals.Need(goal, st)), free)
		if short := goals.Missing(goal, st); short > 0 {
			return text + ", so " + human.Size(short) + " is missing."
		}
		return text + "."
	case there > 0:
		return fmt.Sprintf("%s is free. The device backups there take %s, which is about what a whole new one would need; one that adds to them needs less. `offload doctor` says more.", free, human.Size(there))
	}
	return fmt.Sprintf("%s is free. What a backup needs isn't known here: the device tells it, and `offload free %s: --for-backup 8GB` then makes room. `offload doctor` looks for what else stops one.",
		free, human.Printable(name))
}

// backupsPlanned are the sizes of backups that schedules keep room for, by the remote's name.
func (p *Pages) backupsPlanned(ctx context.Context) map[string]int64 {
	if p.cfg.Schedules == nil {
		return nil
	}
	all, err := p.planned.get(ctx, "", func(ctx context.Context) (map[string]int64, error) {
		list, err := p.cfg.Schedules.List(ctx, "")
		if err != nil {
			return nil, err
		}
		all := map[string]int64{}
		for _, v := range list {
			if g := v.Order.Goal; g != nil && !v.Paused {
				name, _, _ := strings.Cut(g.Remote, ":")
				all[name] = max(all[name], g.Backup)
			}
		}
		return all, nil
	})
	if err != nil {
		p.cfg.Log.Debug("list schedules for Home", "error", err)
	}
	return all
}
