package dropbox

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	sdk "github.com/dropbox/dropbox-sdk-go-unofficial/v6/dropbox"
	"github.com/dropbox/dropbox-sdk-go-unofficial/v6/dropbox/files"
	rdropbox "github.com/rclone/rclone/backend/dropbox"
	"github.com/rclone/rclone/backend/dropbox/dbhash"
	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/fserrors"
	"github.com/rclone/rclone/lib/multipart"

	"offload/internal/failpoint"
	"offload/transfer"
)

// nameMax is how many characters Dropbox takes in a part of a path.
const nameMax = 255

// Errors of uploads. All of them may pass when the engine has looked again.
var (
	errSession = errors.New("Dropbox doesn't know the upload any more")
	errSize    = errors.New("Dropbox takes files of known length only")
)

// upload sends a file and returns what Dropbox says of it once it is committed. up is nil for one that isn't gone on with.
func (f *Fs) upload(ctx context.Context, in io.Reader, src fs.ObjectInfo, remote, mode string, up *transfer.PartUpload) (*files.FileMetadata, error) {
	if src.Size() < 0 {
		return nil, errSize
	}
	commit, err := f.commitInfo(remote, mode, src.ModTime(ctx))
	if err != nil {
		return nil, err
	}
	f.sends.Store(true)
	l := f.login
	l.commits.sending.Add(1)
	defer l.commits.sending.Add(-1)
	if err := l.learnAccount(ctx); err != nil {
		return nil, fmt.Errorf("ask whose account it is: %w", err)
	}
	sum := func() string { return up.Sum(rdropbox.DbHashType) }
	whole, probe := false, false
	if up == nil {
		sums := dbhash.New()
		in, sum = io.TeeReader(in, sums), func() string { return hex.EncodeToString(sums.Sum(nil)) }
		if src.Size() <= f.chunk {
			whole, probe = l.oneCall.may()
		}
	}
	session, err := f.sendAll(ctx, in, src.Size(), whole, up)
	if err != nil {
		if probe {
			l.oneCall.learn(ctx, false)
		}
		return nil, err
	}
	failpoint.At("uploaded")
	e := newEntry(&files.UploadSessionFinishArg{Commit: commit,
		Cursor: files.NewUploadSessionCursor(session, uint64(src.Size()))}, sum())
	meta, err := l.commit(ctx, e)
	if probe {
		l.oneCall.learn(ctx, err == nil && int64(meta.Size) == src.Size() && meta.ContentHash == e.sum)
	}
	if err != nil {
		return nil, fmt.Errorf("commit upload: %w", err)
	}
	failpoint.At("committed")
	return meta, nil
}

// commitInfo says under which name, and how, a file is to be committed. Names that Dropbox refuses are refused here.
func (f *Fs) commitInfo(remote, mode string, mtime time.Time) (*files.CommitInfo, error) {
	full := f.full(remote)
	if name := path.Base(full); refusedName(name) {
		return nil, fserrors.NoRetryError(fmt.Errorf("file name %q is disallowed at Dropbox", name))
	}
	full = f.enc.FromStandardPath(full)
	for part := range strings.SplitSeq(full, "/") {
		if utf8.RuneCountInString(part) > nameMax {
			return nil, fserrors.NoRetryError(fs.ErrorFileNameTooLong)
		}
	}
	c := files.NewCommitInfo(full)
	c.Mode = &files.WriteMode{Tagged: sdk.Tagged{Tag: mode}}
	if mtime.Unix() > 0 { // a source may have none
		at := sdk.DBXTime(mtime.UTC().Round(time.Second)) // Dropbox keeps whole seconds
		c.ClientModified = &at
	}
	return c, nil
}

// refusedName knows the names of files that Dropbox takes no part in.
func refusedName(name string) bool {
	switch strings.ToLower(name) {
	case "desktop.ini", "thumbs.db", ".ds_store", "icon\r", ".dropbox", ".dropbox.attr":
		return true
	}
	return false
}

// sendAll sends size bytes to a session, which is closed then: what in gives, behind what an earlier part has brought. With
// whole all of it goes with the call that starts the session: that is one call less for each small file, as Dropbox advises.
func (f *Fs) sendAll(ctx context.Context, in io.Reader, size int64, whole bool, up *transfer.PartUpload) (session string, err error) {
	if whole {
		err = f.withChunk(ctx, in, size, func(buf io.ReadSeeker) error {
			session, err = f.login.startSession(ctx, buf)
			return err
		})
		return session, err
	}
	var from transfer.Part
	if up != nil {
		from = up.Part
	}
	resumed := from.ID != ""
	if !resumed {
		if from.ID, err = f.login.startSession(ctx, nil); err != nil {
			return "", err
		}
	}
	held := from.Offset
	for offset := from.Offset; offset < size || size == 0; {
		n := min(f.chunk, size-offset)
		if held >= offset+n && offset+n < size { // an earlier worker has sent more than it could tell
			_, err = io.CopyN(io.Discard, in, n)
		} else {
			err = f.withChunk(ctx, in, n, func(buf io.ReadSeeker) error {
				held, err = f.login.appendChunk(ctx, buf, chunk{session: from.ID, offset: offset, n: n, last: offset+n == size, resumed: resumed})
				return err
			})
		}
		if err != nil {
			return "", err
		}
		if offset += n; offset == size {
			break
		}
		if up == nil {
			continue
		}
		if err := up.Kept(transfer.Part{ID: from.ID, Offset: offset}); err != nil {
			return "", fmt.Errorf("keep how far the upload is: %w", err)
		}
	}
	return from.ID, nil
}

// withChunk reads n bytes for send. They stay in memory until they have arrived: in is read once.
func (f *Fs) withChunk(ctx context.Context, in io.Reader, n int64, send func(io.ReadSeeker) error) error {
	if err := f.login.buffers.Acquire(ctx, n); err != nil {
		return context.Cause(ctx)
	}
	defer f.login.buffers.Release(n)
	buf := multipart.NewRW()
	defer buf.Close() // it only gives memory back
	if got, err := io.CopyN(buf, in, n); errors.Is(err, io.EOF) {
		return fmt.Errorf("read file: got %d bytes of a chunk of %d: %w", got, n, io.ErrUnexpectedEOF)
	} else if err != nil {
		return fmt.Errorf("read file: %w", err)
	}
	return send(buf)
}

// startSession begins an upload. With a content it is the whole of the file, and the session is closed. A session whose
// answer was lost is forgotten by Dropbox in time: the next one has nothing to do with it.
func (l *login) startSession(ctx context.Context, content io.ReadSeeker) (session string, err error) {
	err = l.call(ctx, func(ctx context.Context) error {
		arg := &files.UploadSessionStartArg{Close: content != nil}
		var send io.Reader
		if content != nil {
			b, err := newBody(content, 0)
			if err != nil {
				return err
			}
			defer b.detach()
			send = b
		}
		res, err := l.files.UploadSessionStartContext(ctx, arg, send)
		var e files.UploadSessionStartAPIError
		if errors.As(err, &e) && e.EndpointError != nil && e.EndpointError.Tag == files.UploadSessionStartErrorContentHashMismatch {
			return &againError{err}
		}
		if err == nil {
			session = res.SessionId
		}
		return err
	})
	if err != nil {
		return "", fmt.Errorf("start upload: %w", err)
	}
	return session, nil
}

// chunk is a part of a file for one call.
type chunk struct {
	session   string
	offset, n int64 // bytes
	last      bool
	resumed   bool // others have sent to the session, and may have sent this chunk, too
}

// appendChunk sends a chunk until the session has it, and returns how much the session has then: more than that where another
// worker has sent it.
func (l *login) appendChunk(ctx context.Context, buf io.ReadSeeker, c chunk) (held int64, err error) {
	held = c.offset + c.n
	var skip int64        // bytes of the chunk that have arrived already
	repeated := c.resumed // an earlier attempt may have arrived
	err = l.call(ctx, func(ctx context.Context) error {
		arg := files.NewUploadSessionAppendArg(files.NewUploadSessionCursor(c.session, uint64(c.offset+skip)))
		arg.Close = c.last
		body, err := newBody(buf, skip)
		if err != nil {
			return err
		}
		err = l.files.UploadSessionAppendV2Context(ctx, arg, body)
		body.detach()
		again := repeated
		repeated = repeated || judge(err) == vUnsure
		var e files.UploadSessionAppendV2APIError
		if !errors.As(err, &e) || e.EndpointError == nil {
			return err
		}
		switch e.EndpointError.Tag {
		case files.UploadSessionAppendErrorIncorrectOffset:
			if e.EndpointError.IncorrectOffset == nil {
				return err
			}
			skip = int64(e.EndpointError.IncorrectOffset.CorrectOffset) - c.offset
			if c.resumed && skip > c.n && !c.last {
				held = c.offset + skip
				return nil
			}
			if skip < 0 || skip > c.n {
				return fmt.Errorf("%w: it wants byte %d next, at byte %d", errSession, c.offset+skip, c.offset)
			}
			if skip == c.n && (!c.last || again) {
				return nil // all of it has arrived, and only the answer was lost
			}
			return &againError{err}
		case files.UploadSessionAppendErrorClosed:
			if c.last && again {
				return nil // the commit compares the length
			}
			if c.resumed {
				held = math.MaxInt64 // as far as it was sent: the commit compares the length
				return nil
			}
		case files.UploadSessionAppendErrorContentHashMismatch:
			return &againError{err}
		case files.UploadSessionAppendErrorNotFound:
			return fmt.Errorf("%w: %s", errSession, e.ErrorSummary)
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("upload chunk: %w", err)
	}
	return held, nil
}

// body is the rest of a chunk for one call. The HTTP client may go on reading after the call has ended; from detach on
// it gets nothing more, so that the buffer can be read anew.
type body struct {
	mu   sync.Mutex
	r    io.ReadSeeker
	skip int64
}

func newBody(r io.ReadSeeker, skip int64) (*body, error) {
	if _, err := r.Seek(skip, io.SeekStart); err != nil {
		return nil, fmt.Errorf("read chunk: %w", err)
	}
	return &body{r: r, skip: skip}, nil
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.r == nil {
		return 0, io.ErrClosedPipe
	}
	return b.r.Read(p)
}

// Seek implements io.Seeker: the SDK sums up a body that it can read twice, and Dropbox compares the sum.
func (b *body) Seek(offset int64, whence int) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.r == nil {
		return 0, io.ErrClosedPipe
	}
	if whence == io.SeekStart {
		offset += b.skip
	}
	at, err := b.r.Seek(offset, whence)
	return at - b.skip, err
}

func (b *body) detach() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.r = nil
}
