package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"offload/configs"
	"offload/transfer"
)

// opener opens the remotes of this process: iCloud Drive and Dropbox by our own backends, which share their pace, their
// sign-in and their lanes with all other workers of the store, and the rest by rclone's. It is made once.
func (p *parts) opener() transfer.Opener {
	p.openerOnce.Do(func() {
		dir := spoolDir(p.cfg)
		if err := makeSpool(dir, time.Now()); err != nil {
			// Only files of unknown length need it; what can't be spooled fails with the same cause.
			p.log.Warn("prepare the spool folder", "dir", dir, "error", err)
		}
		var backends map[string]transfer.Backend
		backends, p.openerEnd = ownBackends(p.jobs.Fleet(), p.log)
		p.openerMade = transfer.Opener{Backends: backends, Spool: dir, Calls: transfer.InstallCallGate(p.jobs.CallGate())}
	})
	return p.openerMade
}

// openPair opens the remotes of a job. The opener needs the service that is made with this function, so it is asked for
// when a job comes.
func (p *parts) openPair(ctx context.Context, source, dest string, opt transfer.Options) (*transfer.Pair, error) {
	return p.opener().Open(ctx, source, dest, opt)
}

// browse lists a folder of a remote, as a job would find it.
func (p *parts) browse(ctx context.Context, path string, limit int) ([]transfer.DirEntry, bool, error) {
	return p.opener().ListDir(ctx, path, limit)
}

// check looks at a remote.
func (p *parts) check(ctx context.Context, remote string) (transfer.RemoteCheck, error) {
	return p.opener().CheckRemote(ctx, remote)
}

func spoolDir(cfg configs.Config) string { return filepath.Join(cfg.Data, "spool") }

// spoolKept is how long a spool file stays when the process that made it is gone. Nothing tells that for certain, and a
// large upload may take hours.
const spoolKept = 24 * time.Hour

// makeSpool makes the folder for files that must be whole before they are sent, and removes what killed processes left
// there long ago.
func makeSpool(dir string, now time.Time) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var all error
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() || !strings.HasPrefix(e.Name(), "offload-spool-") || now.Sub(info.ModTime()) < spoolKept {
			continue // gone meanwhile, not ours, or perhaps in use
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			all = errors.Join(all, err)
		}
	}
	return all
}
