package transfer

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/filter"
	"github.com/rclone/rclone/fs/list"
	"golang.org/x/text/unicode/norm"
)

// FilterError says which filter option is wrong; it is the user's mistake.
type FilterError struct {
	Field string // as the command line names it: "include", "max-age", ...
	Value string // what was given
	Err   error
}

func (e *FilterError) Error() string {
	if e.Value == "" {
		return fmt.Sprintf("%s: %v", e.Field, e.Err)
	}
	return fmt.Sprintf("%s %q: %v", e.Field, e.Value, e.Err)
}

// Unwrap returns the cause.
func (e *FilterError) Unwrap() error { return e.Err }

// CheckFilters tells, before any remote is asked, whether the filters of the options can be used. The error is a
// *FilterError of one line that names the field.
func CheckFilters(opt Options) error {
	_, err := newFilter(opt, time.Now())
	return err
}

// newFilter makes rclone's own filter of the options. Excludes come first, so that exclude wins over include; as with
// rclone, include alone excludes everything else. Ages count from now. Patterns are brought to NFC: they are matched
// against the NFC paths of entries, however the source spells them.
func newFilter(opt Options, now time.Time) (*filter.Filter, error) {
	if err := checkLimits(opt); err != nil {
		return nil, err
	}
	f, err := filter.NewFilter(&filter.Options{
		MinAge: fs.DurationOff, MaxAge: fs.DurationOff, MinSize: sizeLimit(opt.MinSize), MaxSize: sizeLimit(opt.MaxSize),
	})
	if err != nil {
		return nil, &FilterError{Field: "filter", Err: err}
	}
	if opt.MinAge > 0 {
		f.ModTimeTo = now.Add(-opt.MinAge)
	}
	if opt.MaxAge > 0 {
		f.ModTimeFrom = now.Add(-opt.MaxAge)
	}
	if !opt.ModifiedTo.IsZero() && (f.ModTimeTo.IsZero() || opt.ModifiedTo.Before(f.ModTimeTo)) {
		f.ModTimeTo = opt.ModifiedTo
	}
	if opt.ModifiedFrom.After(f.ModTimeFrom) {
		f.ModTimeFrom = opt.ModifiedFrom
	}
	if err := addRules(f, opt); err != nil {
		return nil, err
	}
	if err := addPatterns(f, "exclude", false, opt.Exclude); err != nil {
		return nil, err
	}
	if err := addPatterns(f, "include", true, opt.Include); err != nil {
		return nil, err
	}
	if len(opt.Include) > 0 {
		if err := f.Add(false, "/**"); err != nil {
			return nil, &FilterError{Field: "include", Err: err}
		}
	}
	if len(opt.FilesFrom) > 0 && len(opt.ExcludeIfPresent) > 0 {
		return nil, &FilterError{Field: "files-from", Err: errFilesAlone}
	}
	return f, addFiles(f, opt.FilesFrom)
}

// checkLimits refuses sizes and ages that no file could meet.
func checkLimits(opt Options) error {
	switch {
	case opt.MinAge < 0:
		return &FilterError{"min-age", opt.MinAge.String(), errors.New("must not be negative")}
	case opt.MaxAge < 0:
		return &FilterError{"max-age", opt.MaxAge.String(), errors.New("must not be negative")}
	case opt.MinSize < 0:
		return &FilterError{"min-size", fmt.Sprint(opt.MinSize), errors.New("must not be negative")}
	case opt.MaxSize < 0:
		return &FilterError{"max-size", fmt.Sprint(opt.MaxSize), errors.New("must not be negative")}
	case !opt.ModifiedFrom.IsZero() && !opt.ModifiedTo.IsZero() && opt.ModifiedFrom.After(opt.ModifiedTo):
		return &FilterError{"max-age", opt.ModifiedFrom.Format(time.RFC3339), errors.New("is later than the date of min-age: no file would pass")}
	case opt.MaxAge > 0 && opt.MinAge > opt.MaxAge:
		return &FilterError{"min-age", opt.MinAge.String(), fmt.Errorf("is more than max-age %v: no file would pass", opt.MaxAge)}
	case opt.MaxSize > 0 && opt.MinSize > opt.MaxSize:
		return &FilterError{"min-size", fmt.Sprint(opt.MinSize), fmt.Errorf("is more than max-size %d: no file would pass", opt.MaxSize)}
	}
	return nil
}

func sizeLimit(n int64) fs.SizeSuffix {
	if n <= 0 {
		return -1
	}
	return fs.SizeSuffix(n)
}

func addPatterns(f *filter.Filter, field string, include bool, patterns []string) error {
	for _, pattern := range patterns {
		if strings.TrimSpace(pattern) == "" {
			return &FilterError{field, pattern, errors.New("the pattern is empty")}
		}
		if err := f.Add(include, norm.NFC.String(pattern)); err != nil {
			first, _, _ := strings.Cut(err.Error(), "\n")
			return &FilterError{field, pattern, fmt.Errorf("bad pattern: %s", first)}
		}
	}
	return nil
}

// addFiles adds the paths of --files-from, which stands alone: as with rclone, no other filter goes with it.
func addFiles(f *filter.Filter, files []string) error {
	if len(files) > 0 && !f.InActive() {
		return &FilterError{Field: "files-from", Err: errFilesAlone}
	}
	for _, file := range files {
		name := strings.Trim(file, "/")
		if name == "" {
			return &FilterError{"files-from", file, errors.New("the path is empty")}
		}
		for part := range strings.SplitSeq(name, "/") {
			if why := unsafeName(part); why != "" {
				return &FilterError{"files-from", file, errors.New("the path must name a file below the source's root")}
			}
		}
		if list.RemoteEscapesRoot(name) {
			return &FilterError{"files-from", file, errors.New("the path leads out of the source")}
		}
		if err := f.AddFile(norm.NFC.String(name)); err != nil {
			return &FilterError{"files-from", file, err}
		}
	}
	return nil
}
