package jobs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"offload/remotes"
)

// recorded returns a job, or what its manifest tells of it where the job was removed, or was another machine's, and the
// manifest is kept.
func (s *Service) recorded(ctx context.Context, id string) (Job, error) {
	j, err := s.Get(ctx, id)
	if !errors.Is(err, ErrNotFound) {
		return j, err
	}
	m, merr := s.Manifest(ctx, id)
	if merr != nil {
		return Job{}, err
	}
	return jobOfManifest(m), plainRecord(m)
}

// plainRecord refuses a manifest that names anything but remotes as they are configured here: it may have been written
// elsewhere, by anybody.
func plainRecord(m ManifestInfo) error {
	for side, path := range map[string]string{"source": m.Source, "destination": m.Destination} {
		if err := remotes.CheckPlainPath(path); err != nil {
			return &OrderError{Field: "of", Value: m.Job, Err: fmt.Errorf("the %s in its record can't be opened: %w", side, err),
				Hint: "configure that remote under the same name; `offload manifest show` tells what lies there"}
		}
	}
	return nil
}

// jobOfManifest is as much of a job as its manifest tells.
func jobOfManifest(m ManifestInfo) Job {
	return Job{ID: m.Job, Source: m.Source, Dest: m.Destination, Account: m.Account, Created: m.Created, Files: Files{Deleted: m.Deleted}}
}

// withRemoved adds to the jobs that offloaded something from a place those of which only the manifest is left, and returns all
// of them, the newest first.
func (s *Service) withRemoved(ctx context.Context, place string, found []Job) ([]Job, error) {
	all, err := s.Manifests(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for manifests of %s: %w", place, err)
	}
	for _, m := range all {
		if _, ok := belowOf(place, m.Source); !ok || m.Deleted == 0 || m.Kept || slices.ContainsFunc(found, func(j Job) bool { return j.ID == m.Job }) {
			continue
		}
		if err := plainRecord(m); err != nil {
			return nil, err
		}
		found = append(found, jobOfManifest(m))
	}
	slices.SortStableFunc(found, func(a, b Job) int { return strings.Compare(b.ID, a.ID) })
	if len(found) > restoreJobsMost {
		return nil, &OrderError{Field: "path", Value: place, Err: fmt.Errorf("more than %d jobs offloaded files from there", restoreJobsMost),
			Hint: "name a folder further down, or the jobs one by one"}
	}
	return found, nil
}
