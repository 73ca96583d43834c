package jobs

import (
	"context"
	"errors"
	"strings"
)

// SignedIn wakes the jobs that wait for a person to sign in to a remote, and returns how many it woke. The name is the
// remote's own, without colon and path.
func (s *Service) SignedIn(ctx context.Context, remote string) (int, error) {
	woken := 0
	err := s.each(ctx, ListOptions{States: []State{Waiting}}, func(j Job) error {
		if j.Reason != ReasonSignIn || !j.uses(remote) {
			return nil
		}
		_, err := s.Resume(ctx, j.ID)
		if errors.Is(err, ErrState) || errors.Is(err, ErrNotFound) {
			return nil // somebody else was faster
		}
		if err == nil {
			woken++
		}
		return err
	})
	return woken, err
}

// Unfinished returns the jobs that haven't ended and read from a remote or write to it.
func (s *Service) Unfinished(ctx context.Context, remote string) ([]Job, error) {
	return s.unfinished(ctx, "", func(j Job) bool { return j.uses(remote) })
}

// SamePaths returns the unfinished jobs with the order's source and destination, newest first.
func (s *Service) SamePaths(ctx context.Context, o Order) ([]Job, error) {
	return s.unfinished(ctx, "", func(j Job) bool { return j.Source == o.Source && j.Dest == o.Dest })
}

// Same is SamePaths for the order's account alone.
func (s *Service) Same(ctx context.Context, o Order) ([]Job, error) {
	o = o.WithDefaults()
	return s.unfinished(ctx, o.Account, func(j Job) bool { return j.Source == o.Source && j.Dest == o.Dest })
}

// unfinished returns the jobs that haven't ended and that match, of one account or, with "", of all.
func (s *Service) unfinished(ctx context.Context, account string, match func(Job) bool) ([]Job, error) {
	var found []Job
	err := s.each(ctx, ListOptions{States: openStates(), Account: account}, func(j Job) error {
		if match(j) {
			found = append(found, j)
		}
		return nil
	})
	return found, err
}

func (j Job) uses(remote string) bool {
	return remote != "" && (nameOfRemote(j.Source) == remote || nameOfRemote(j.Dest) == remote)
}

// nameOfRemote returns the name in "name:path" or "name,option=value:path", "" for a local path and for remotes that are
// made up on the fly. A slash before the colon makes a path of it, as it does for rclone.
func nameOfRemote(path string) string {
	end := strings.IndexAny(path, ":,/")
	if end < 0 || path[end] == '/' || !strings.Contains(path[end:], ":") {
		return ""
	}
	return path[:end]
}
