package transfer

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"time"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/filter"
)

// SeenState is what the scan saw at the destination under an entry's name.
type SeenState uint8

// The states. The zero value is the careful one: whoever handles the entry has to look itself.
const (
	SeenUnknown SeenState = iota // the destination couldn't be asked, or the entry has a verdict
	SeenNothing                  // no file of this name
	SeenFile                     // a file of this name, possibly spelled otherwise (Entry.Dest says how)
)

// Seen is what the destination's listing said of an entry.
type Seen struct {
	State   SeenState `json:"s"`
	Size    int64     `json:"n,omitempty"` // bytes, -1 is unknown
	ModTime time.Time `json:"t,omitzero"`  // UTC; zero where the destination keeps none, or where each would cost a call
}

// Chunk is a run of entries of one source folder, in the order in which the destination sorts their names. It holds at
// most a thousand. Seen has the length of Entries.
type Chunk struct {
	Entries []Entry
	Seen    []Seen
	// SourceDir is the folder as the source spells it, DestDir where its files go; "" is the root.
	SourceDir string
	DestDir   string
	// SourceCount and DestCount are how many files and folders the folder holds on each side; -1 is unknown.
	SourceCount int
	DestCount   int
}

// ScanError says that a folder couldn't be listed, or not whole.
type ScanError struct {
	Dir  string // as that side spells it; "" is the root
	Side string // SideSource or SideDest
	Err  error
}

func (e ScanError) Error() string { return fmt.Sprintf("list %s folder %q: %v", e.Side, e.Dir, e.Err) }

// Unwrap returns the cause.
func (e ScanError) Unwrap() error { return e.Err }

// ScanResult is what a scan found in all. Sizes that the source doesn't know count as 0 bytes.
type ScanResult struct {
	Files         int64 // entries handed out, whatever their verdict
	Bytes         int64 // their bytes
	SetAside      int64 // those of Files with the verdict set_aside
	Failed        int64 // those of Files with the verdict failed
	Excluded      int64 // files that the filters passed over; they are not in Files, nor are those in excluded folders; 0 with FilesFrom
	ExcludedBytes int64
	Dirs          int64 // source folders listed
	// Errors are the first hundred, ErrorCount is how many there were.
	Errors     []ScanError
	ErrorCount int64
	// Complete is true when every folder of both sides could be listed whole: only then may anything be concluded from
	// the absence of a file (safety rule 10).
	Complete bool
}

// ScanOptions say how to scan. The zero value is the default.
type ScanOptions struct {
	Checkers int // Folders listed at once. Defaults to 8, and to 32 where both remotes pace themselves.
	// Ordered lists one folder at a time: the files of a folder, then its subfolders in name order, each with all that
	// is in it. Two ordered scans of the same trees hand out the same entries in the same order.
	Ordered bool
	// Files are the only paths to look for, in place of the filters of the options: those of a plan. Nil is off.
	Files []string
	// Patient waits for a remote that doesn't answer until it does or ctx is done, instead of giving folders up.
	Patient bool
}

const (
	defaultCheckers = 8
	pacedCheckers   = 32
	chunkEntries    = 1000
	maxScanErrors   = 100
)

// Scan lists the source against the destination, folder by folder, and hands out what it finds as it goes.
//
// Excluded files are counted but not handed out. Entries that must not be copied (see the Code constants) are handed
// out with a verdict, so that nothing is dropped in silence. What gets no verdict has a destination name of its own.
//
// emit is never called by two goroutines at once; an error of it ends the scan and is returned. A folder that can't be
// listed is tried again where that may help, then recorded in the result, and the scan goes on elsewhere. Scan itself
// fails when the source's root can't be listed (a missing one wraps fs.ErrorDirNotFound), when the filters are wrong
// (*FilterError), when a remote says that going on is useless, and when ctx is done. The result is valid, though not
// complete, beside an error.
//
// It is built on rclone's list.DirSortedFn, as its march is, but not on march: that drops source entries that share a
// name with no more than a log line, and knows nothing of the destination's encoding.
//
// Memory: the listings of the folders open at one time, at most Checkers of them on each side, and the names of their
// subfolders. A folder is held whole while it is compared.
func (p *Pair) Scan(ctx context.Context, o ScanOptions, emit func(Chunk) error) (ScanResult, error) {
	s, err := newScan(p, o, emit)
	if err != nil {
		return ScanResult{}, err
	}
	ctx = s.listContext(ctx)
	if files := o.filtered(p.Opt).FilesFrom; len(files) > 0 && len(files) <= maxLookups {
		err = s.lookUp(ctx, files)
	} else {
		err = s.walk(ctx)
	}
	s.res.Complete = err == nil && s.res.ErrorCount == 0
	return s.res, err
}

// scan is the state of one call of Scan.
type scan struct {
	pair      *Pair
	patient   bool
	src, dst  fs.Fs
	filter    *filter.Filter
	byAge     bool // the filter or the order looks at modification times
	rules     nameRules
	traits    traits // of the source
	nfcLookup bool   // the source finds files by their NFC names only, whatever it lists
	checkers  int
	asked     map[string]bool // the files of --files-from, true once found; nil without

	srcHidden, dstHidden hidden

	mu   sync.Mutex // guards emit, res and asked
	emit func(Chunk) error
	res  ScanResult
}

func newScan(p *Pair, o ScanOptions, emit func(Chunk) error) (*scan, error) {
	f, err := newFilter(o.filtered(p.Opt), time.Now())
	if err != nil {
		return nil, fmt.Errorf("read filters: %w", err)
	}
	s := &scan{pair: p, patient: o.Patient, src: p.Source, dst: p.Dest, filter: f, rules: rulesOf(p.Dest), checkers: o.Checkers, emit: emit}
	s.byAge = p.Opt.MinAge > 0 || p.Opt.MaxAge > 0 || p.Opt.Order == OrderOldest
	id := rand.Text()
	s.srcHidden.group, s.dstHidden.group = "offload-scan-source-"+id, "offload-scan-destination-"+id
	s.traits = traitsOf(p.Source)
	s.nfcLookup = s.traits.nfcLookup
	if s.checkers <= 0 {
		s.checkers = defaultCheckers
		if p.PacesItself() {
			s.checkers = pacedCheckers
		}
	}
	if o.Ordered {
		s.checkers = 1
	}
	if f.HaveFilesFrom() {
		s.asked = make(map[string]bool, len(f.Files()))
		for name := range f.Files() {
			s.asked[name] = false
		}
	}
	return s, nil
}

// send hands a chunk out and counts it.
func (s *scan) send(ctx context.Context, c Chunk) error {
	if len(c.Entries) == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for _, e := range c.Entries {
		s.res.Files++
		s.res.Bytes += max(e.Size, 0)
		switch e.Verdict {
		case SetAside:
			s.res.SetAside++
		case Failed:
			s.res.Failed++
		}
	}
	return s.emit(c)
}

// fault records that a folder couldn't be listed whole.
func (s *scan) fault(dir string, side string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.res.ErrorCount++
	if len(s.res.Errors) < maxScanErrors {
		s.res.Errors = append(s.res.Errors, ScanError{dir, side, err})
	}
}
