package dropbox

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/dropbox/dropbox-sdk-go-unofficial/v6/dropbox/auth"
	"github.com/dropbox/dropbox-sdk-go-unofficial/v6/dropbox/files"
	"github.com/rclone/rclone/fs"

	"offload/transfer"
)

// resumeFrom is the size in bytes from which on an upload is gone on with after a break: below it, to ask how far it was
// takes about as long as to send it again.
const resumeFrom = 32 << 20

// ResumesFrom implements transfer.Resumer.
func (f *Fs) ResumesFrom() int64 { return f.partFrom }

// Held implements transfer.Resumer: an append of nothing is answered with how much the session has. A session lives for a
// week. Of one that was closed its length isn't told; the commit compares it.
func (f *Fs) Held(ctx context.Context, p transfer.Part) (transfer.Part, error) {
	l := f.login
	if err := l.learnAccount(ctx); err != nil {
		return p, fmt.Errorf("ask whose account it is: %w", err)
	}
	err := l.call(ctx, func(ctx context.Context) error {
		arg := files.NewUploadSessionAppendArg(files.NewUploadSessionCursor(p.ID, uint64(p.Offset)))
		err := l.files.UploadSessionAppendV2Context(ctx, arg, nil)
		var bad auth.BadRequest
		if errors.As(err, &bad) { // an ID that it can't even read
			return fmt.Errorf("%w: %w", errSession, err)
		}
		var e files.UploadSessionAppendV2APIError
		if !errors.As(err, &e) || e.EndpointError == nil {
			return err
		}
		switch e.EndpointError.Tag {
		case files.UploadSessionAppendErrorIncorrectOffset:
			if e.EndpointError.IncorrectOffset != nil {
				p.Offset = int64(e.EndpointError.IncorrectOffset.CorrectOffset)
				return nil
			}
		case files.UploadSessionAppendErrorClosed:
			return nil
		case files.UploadSessionAppendErrorNotFound:
			return fmt.Errorf("%w: %s", errSession, e.ErrorSummary)
		}
		return err
	})
	return p, lost(err)
}

// PutPart implements transfer.Resumer.
func (f *Fs) PutPart(ctx context.Context, in io.Reader, src fs.ObjectInfo, up transfer.PartUpload) (fs.Object, error) {
	if over, ok := up.Over.(*Object); ok {
		meta, err := f.upload(ctx, in, src, over.Remote(), files.WriteModeOverwrite, &up)
		if err != nil {
			return nil, lost(err)
		}
		return &Object{fs: f, meta: metaOf(over.Remote(), meta)}, nil
	}
	meta, err := f.upload(ctx, in, src, src.Remote(), files.WriteModeAdd, &up)
	if err != nil {
		return nil, lost(err)
	}
	return &Object{fs: f, meta: metaOf(src.Remote(), meta)}, nil
}

// lost tells the engine that a session can't be gone on with.
func lost(err error) error {
	if errors.Is(err, errSession) {
		return fmt.Errorf("%w: %w", transfer.ErrPartLost, err)
	}
	return err
}

var _ transfer.Resumer = (*Fs)(nil)
