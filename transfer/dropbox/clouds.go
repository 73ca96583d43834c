package dropbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config/configmap"
	"github.com/rclone/rclone/lib/encoder"
	"golang.org/x/sync/semaphore"

	"offload/transfer"
)

const (
	// chunkSize is how many bytes of a file are sent in one call, where the user didn't set chunk_size. rclone's own
	// default of 48 MiB is a tenth faster for one file and takes three times the memory for each of many.
	chunkSize = 16 << 20
	// bufferSpace bounds the bytes of chunks that are held in memory at once, over all remotes of the process.
	bufferSpace = 256 << 20
)

// Options of Clouds.
type Options struct {
	Fleet transfer.Fleet // Defaults to one of this process alone.
	Log   *slog.Logger   // Defaults to nothing.
}

// Clouds opens Dropbox remotes. Those of one sign-in share its connections, pace and commits.
type Clouds struct {
	fleet   transfer.Fleet
	log     *slog.Logger
	buffers *semaphore.Weighted

	mu     sync.Mutex
	logins map[string]*login // by the name of the remote, as rclone makes it from name and options
	// What was learned outlives a login, so that the next job needn't learn it again; by the same names.
	paces    map[string]*pace
	accounts map[string]string
}

// New returns a Clouds. It starts nothing.
func New(o Options) *Clouds {
	if o.Fleet == nil {
		o.Fleet = &transfer.LocalFleet{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Clouds{fleet: o.Fleet, log: o.Log, buffers: semaphore.NewWeighted(bufferSpace),
		logins: map[string]*login{}, paces: map[string]*pace{}, accounts: map[string]string{}}
}

// Open opens a remote; it is a transfer.Backend. The result must be shut down (fs.Shutdowner).
func (c *Clouds) Open(ctx context.Context, remote string) (fs.Fs, error) {
	info, _, root, m, err := fs.ConfigFs(remote)
	if err != nil {
		return nil, fmt.Errorf("read the configuration of %s: %w", bare(remote), err)
	}
	if info.Name != "dropbox" || !ours(m, root) {
		return fs.NewFs(ctx, remote)
	}
	n, openErr := openNative(ctx, remote)
	if openErr != nil && !errors.Is(openErr, fs.ErrorIsFile) {
		return nil, openErr
	}
	f := &Fs{chunk: chunkSizeOf(info, m), partFrom: resumeFrom, mark: transfer.CallMark(ctx)}
	f.native.Store(n)
	if f.enc, err = encodingOf(m); err == nil {
		f.login, err = c.signIn(ctx, info, n.Name(), m)
	}
	if err != nil {
		_ = n.close(ctx)
		return nil, err
	}
	f.leave = sync.OnceFunc(func() { c.signOut(f.login) })
	f.features = f.makeFeatures()
	return f, openErr
}

// ours tells whether uploads to a remote go our way (see the package's doc).
func ours(m configmap.Getter, root string) bool {
	for _, name := range []string{"impersonate", "impersonate_admin", "root_namespace"} {
		if v, _ := m.Get(name); v != "" {
			return false
		}
	}
	for _, name := range []string{"shared_files", "shared_folders"} {
		if v, _ := m.Get(name); v != "" && v != "false" {
			return false
		}
	}
	return !strings.HasPrefix(root, "/")
}

func encodingOf(m configmap.Getter) (enc encoder.MultiEncoder, err error) {
	v, _ := m.Get("encoding")
	if err := enc.Set(v); err != nil {
		return 0, fmt.Errorf("read the option encoding: %w", err)
	}
	return enc, nil
}

// chunkSizeOf is the user's chunk_size, or ours where it is rclone's default.
func chunkSizeOf(info *fs.RegInfo, m configmap.Getter) int64 {
	v, ok := m.Get("chunk_size")
	if o := info.Options.Get("chunk_size"); !ok || o != nil && v == fmt.Sprint(o.Default) {
		return chunkSize
	}
	var size fs.SizeSuffix
	if err := size.Set(v); err != nil || size <= 0 || size > 150<<20 {
		return chunkSize
	}
	return int64(size)
}

// signIn returns the login of a remote, which several Fs may share.
func (c *Clouds) signIn(ctx context.Context, info *fs.RegInfo, name string, m *configmap.Map) (*login, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l := c.logins[name]; l != nil {
		l.users++
		return l, nil
	}
	if c.paces[name] == nil {
		c.paces[name] = newPace()
	}
	l, err := newLogin(ctx, c, info, name, m)
	if err != nil {
		return nil, fmt.Errorf("sign in to %s: %w", name, err)
	}
	l.users = 1
	c.logins[name] = l
	return l, nil
}

// signOut ends a login with its last user.
func (c *Clouds) signOut(l *login) {
	c.mu.Lock()
	l.users--
	last := l.users == 0
	if last {
		delete(c.logins, l.name)
	}
	c.mu.Unlock()
	if last {
		l.close()
	}
}

// remember keeps whose account a login is.
func (c *Clouds) remember(name, account string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.accounts[name] = account
}

// bare is a remote without the parameters of a connection string, which may be secrets.
func bare(remote string) string {
	name, _, _ := strings.Cut(remote, ",")
	name, _, _ = strings.Cut(strings.TrimPrefix(name, ":"), ":")
	return name
}
