package transfer

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config"
)

// Backend opens a remote, named as rclone names it ("icloud:Documents", "dropbox,batch_size=20:Backup"), as fs.NewFs
// does: it answers fs.ErrorIsFile, with the folder open, for a remote that is a file.
type Backend func(ctx context.Context, remote string) (fs.Fs, error)

// Opener opens the remotes of pairs. The zero value opens all of them by rclone's own backends.
type Opener struct {
	// Backends take the place of rclone's own for remotes of these types ("iclouddrive", "dropbox").
	Backends map[string]Backend
	// Spool is the folder for files that must be whole before they are sent. Defaults to the system's temporary folder.
	Spool string
	// Calls counts the requests of what is opened (InstallCallGate). Nil counts nothing.
	Calls *CallHook
}

// Remote opens one remote.
func (op Opener) Remote(ctx context.Context, remote string) (fs.Fs, error) {
	ctx = op.Calls.marked(ctx, remote)
	if info, _, _, _, err := fs.ParseRemote(remote); err == nil {
		if open := op.Backends[info.Name]; open != nil {
			return open(ctx, remote)
		}
	}
	return fs.NewFs(ctx, remote)
}

// Open opens both remotes of a pair. A source that is a single file opens its folder, narrowed to that file as by
// Options.FilesFrom; other filters can't go with it (*FilterError). The error names the remote.
func (op Opener) Open(ctx context.Context, source, dest string, opt Options) (*Pair, error) {
	config.LoadedData() // rclone reads its configuration at the first call, unguarded
	var dst fs.Fs
	var destErr error
	var opening sync.WaitGroup // the destination, while the source is opened: each takes a few calls
	opening.Go(func() {
		destErr = guarded(func() (err error) {
			dst, err = op.Remote(ctx, tuned(dest))
			return err
		})
	})
	src, err := op.Remote(ctx, source)
	opening.Wait()
	if errors.Is(err, fs.ErrorIsFile) {
		if opt, err = onlyFile(source, opt); err != nil {
			shutdown(ctx, src)
			shutdown(ctx, dst)
			return nil, err
		}
	}
	if err != nil {
		shutdown(ctx, dst)
		return nil, openError(ctx, SideSource, source, err)
	}
	err = destErr
	if errors.Is(err, fs.ErrorIsFile) {
		err = fmt.Errorf("%w; name the folder that files should go into", err)
	}
	if err != nil {
		shutdown(ctx, src)
		shutdown(ctx, dst) // a remote that is a file comes back open
		return nil, openError(ctx, SideDest, dest, err)
	}
	p := NewPair(src, dst, opt)
	p.engine.spool = op.Spool
	p.sourceEye, p.destEye = op.eyeOf(ctx, src), op.eyeOf(ctx, dst)
	return p, nil
}

// Open is Opener.Open with rclone's own backends.
func Open(ctx context.Context, source, dest string, opt Options) (*Pair, error) {
	return Opener{}.Open(ctx, source, dest, opt)
}

// eyeOf opens another instance of a remote for fresh looks, or returns the same one where that brings nothing.
func (op Opener) eyeOf(ctx context.Context, f fs.Fs) fs.Fs {
	if !traitsOf(f).eye {
		return f
	}
	eye, err := op.Remote(ctx, fs.ConfigStringFull(f))
	if err != nil {
		shutdown(ctx, eye)
		return f // looks go the same way as moves then: slower, no less safe
	}
	return eye
}
