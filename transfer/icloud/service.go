package icloud

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/rclone/rclone/fs"

	"offload/transfer"
)

// Errors of the service beside transfer.ErrSignIn, transfer.ErrThrottled, transfer.ErrChanged and fs.ErrorObjectNotFound.
var (
	// errShort says that the server answered with less than was asked for, or with nothing: transient.
	errShort = errors.New("iCloud answered short")
)

// Item is a file or folder of iCloud Drive as a listing shows it.
type Item struct {
	ID       string // drivewsid: "FILE::com.apple.CloudDocs::<docid>"
	Name     string // whole, with its extension, as the server spells it (NFD), decoded to rclone's standard form
	ParentID string
	ETag     string
	Type     string // FILE, FOLDER, APP_CONTAINER, APP_LIBRARY, ...
	Size     int64  // bytes; -1 where the listing has none
	ModTime  time.Time
	Shared   bool  // it belongs to or is shared with somebody else
	Children int64 // how many items a folder says it holds; -1 where it doesn't say
}

// Folder tells whether other items may lie in it.
func (i Item) Folder() bool {
	return i.Type == "FOLDER" || i.Type == "APP_CONTAINER" || i.Type == "APP_LIBRARY"
}

// Listing is a folder and what lies in it.
type Listing struct {
	Folder Item
	Items  []Item
	Err    error // why it couldn't be listed, or not whole; Items is nil then
}

// Ref names one version of an item.
type Ref struct{ ID, ETag string }

// Token is what a download needs, and what it tells.
type Token struct {
	URL       string
	Package   bool   // it comes as a zip that is made on the fly
	Signature string // data_token.signature as sent, "" for none
}

// Trashed is an item in the trash. Its etag differs from the one that it had before.
type Trashed struct {
	Item
	RestorePath string // where it was, from the root of the drive: "Downloads/x.y"; "" where the answer has none
}

// service is what the file system needs of a signed-in account. Every method may be called by many goroutines, paces
// itself, recovers an expired session, retries what is safe to repeat, and never panics, whatever the server answers.
type service interface {
	// List lists folders, several in one call where the server allows it; results are in the order of ids.
	List(ctx context.Context, ids []string) []Listing
	// Token asks for the download of a file.
	Token(ctx context.Context, id string) (Token, error)
	// Download opens a URL of Token.
	Download(ctx context.Context, url string, options ...fs.OpenOption) (io.ReadCloser, error)
	// Trash moves items to the trash in one call, each on the condition of its etag, and returns an error for each:
	// transfer.ErrChanged where the version differs, fs.ErrorObjectNotFound where it is gone already. It is never
	// forced. It isn't repeated when its answer is lost: those come back as errUnsure (wrapped).
	Trash(ctx context.Context, items []Ref) []error
	// Details looks at items anew by their IDs; those that aren't there have fs.ErrorObjectNotFound.
	Details(ctx context.Context, ids []string) ([]Item, []error)
	// ListTrash returns the whole trash.
	ListTrash(ctx context.Context) ([]Trashed, error)
	// Purge removes items of the trash for good: refs must come from ListTrash. One call, never repeated.
	Purge(ctx context.Context, items []Ref) []error
	// PutBack returns items of the trash to where they were.
	PutBack(ctx context.Context, items []Ref) []error
	// Move moves items into a folder, each on the condition of its etag. One call, never repeated.
	Move(ctx context.Context, folder string, items []Ref) []error
	// Rename gives an item another name on the condition of its etag. One call, never repeated.
	Rename(ctx context.Context, item Ref, name string) error
	// Storage asks for the account's room.
	Storage(ctx context.Context) (transfer.Storage, error)
}

// errUnsure says that nobody knows whether a call that changes something was carried out: look before it is repeated.
var errUnsure = errors.New("the answer was lost")

// rootID is the ID of the drive's root.
const rootID = "FOLDER::com.apple.CloudDocs::root"

// trashID is the ID of the trash.
const trashID = "FOLDER::com.apple.CloudDocs::TRASH_ROOT"
