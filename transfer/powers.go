package transfer

import (
	"context"
	"errors"
	"time"

	"github.com/rclone/rclone/fs"
)

// Errors that a backend of ours answers beside rclone's.
var (
	// ErrSignIn says that the remote wants a person to sign in again: the job waits for that.
	ErrSignIn = errors.New("the sign-in is refused")
	// ErrThrottled says that the remote asks to be called less.
	ErrThrottled = errors.New("the remote asks to be called less")
	// ErrTaken is what a Put answers that found the name taken by somebody else since the engine's look, and left it alone.
	ErrTaken = errors.New("the name was taken at the destination in the meantime")
	// ErrPackage is what an Open answers for a file that turns out to be a package: Resolve it first.
	ErrPackage = errors.New("the file is a package")
)

// ErrChanged is what a Deleter answers for a file whose version isn't the one that was asked for: it is kept.
var ErrChanged = errors.New("the file changed at the source")

// ErrDoubted is what a Deleter answers for a file of which something else was read than the source's own checksum tells:
// it is kept.
var ErrDoubted = errors.New("what was read of it differs from the source's own checksum")

// Target is one source file to delete: the version that was proved, not whatever has its name by now.
type Target struct {
	Path    string // as the source spells it, below its root
	ID      string // "" where the source has none
	ETag    string // version mark as seen before the copy, "" where the source has none
	Size    int64  // bytes
	ModTime time.Time
	Object  fs.Object // as seen just now; nil where no look was needed
	// Held is asked just before the call that deletes is sent, after any waiting in a lane; an error of it refuses the
	// deletion, with that error. Nil allows it.
	Held func() error
}

// Keeper is an optional power of a source's object: it knows why it must not be deleted (shared by somebody else, a
// package whose content can't be compared). It asks nothing of the remote.
type Keeper interface {
	// KeepReason returns one of the codes and what is the matter, in words; "" where the object may be deleted.
	KeepReason() (code, what string)
}

// Deleter is an optional power of a source, found by asserting its fs.Fs: deletion on a condition, several at once.
// It may be called from several goroutines; one that must delete in one lane gathers the calls itself.
type Deleter interface {
	// Delete deletes the targets and returns an error for each, nil for those that are gone by it. A target whose
	// version differs is left alone with ErrChanged. Deleting what is gone already answers fs.ErrorObjectNotFound.
	// Where an answer was lost it may return any error: the engine looks again before it asks again.
	Delete(ctx context.Context, targets []Target) []error
}

// Trashed is one item in a source's trash.
type Trashed struct {
	ID   string
	ETag string
	Path string // where it was, below the source's root; "" where the trash doesn't say
	Size int64  // bytes; -1 where the trash doesn't say
	// ModTime is that of the content; zero where the trash doesn't say.
	ModTime time.Time
}

// Trash is an optional power of a source whose deletions can be taken back, found by asserting its fs.Fs.
type Trash interface {
	// ListTrash calls yield for each item until it returns an error.
	ListTrash(ctx context.Context, yield func(Trashed) error) error
	// Purge removes items for good, matched by ID in a listing just made. It returns an error for each.
	Purge(ctx context.Context, items []Trashed) []error
	// PutBack returns items to where they were. It returns an error for each.
	PutBack(ctx context.Context, items []Trashed) []error
}

// Returner is an optional power of a trash: what it puts back comes to the place that is asked for.
type Returner interface {
	Trash
	// Return puts items of the trash back to their paths below the root, and makes the folders for them. An item that an
	// earlier Return has put back elsewhere comes to its place, too. A name that something else has is left to that, with
	// ErrTaken. It returns an error for each, and may be called again.
	Return(ctx context.Context, items []Trashed) []error
}

// Resolver is an optional power of a source's object whose listing doesn't tell everything: a package looks like a file
// of another length there.
type Resolver interface {
	// Resolve asks what the object is and returns it as it is: itself, or a package, whose Size is -1. An Open that
	// follows uses the answer.
	Resolve(ctx context.Context) (fs.Object, error)
}

// Packaged is an optional power of a source's object: a folder that the cloud shows as a file and hands out as a zip made
// on the fly, which differs each time (safety rule 5).
type Packaged interface{ Package() bool }

// Evidence is an optional power of a source's object: what the source's own checksum says of the bytes that its last
// whole reading gave.
type Evidence interface {
	// Evidence is "match", "differs" or "" for unknown. It proves nothing: the form of the checksum isn't documented. A
	// source that has reason to trust it fails the reading, or answers a deletion with ErrDoubted.
	Evidence() string
}

// Storage is the room of the account behind a remote, in bytes.
type Storage struct {
	Total  int64            `json:"total"`
	Used   int64            `json:"used"`
	ByKind map[string]int64 `json:"by_kind,omitempty"` // "photos", "backup", "docs", "mail", as the account counts them
}

// Paced is an optional power of a remote, found by asserting its fs.Fs: it finds out by itself how many calls at once the
// service takes, and lets the others wait. Nobody else needs to go easy on it.
type Paced interface{ PacesItself() }

// EmptyRemover is an optional power of a source, found by asserting its fs.Fs.
type EmptyRemover interface {
	// RemovesOnlyEmpty says that Rmdir looks into the folder anew and refuses one that holds anything: no look is needed
	// before it.
	RemovesOnlyEmpty()
}

// StorageTeller is an optional power of a source, found by asserting its fs.Fs: room by kind, the trash included until it
// is purged.
type StorageTeller interface {
	Storage(ctx context.Context) (Storage, error)
}
