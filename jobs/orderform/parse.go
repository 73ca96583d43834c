// Package orderform reads orders from text and writes them as text, under the names that the command line, the API and the
// pages share: one parser for all three, so that what one of them takes the others take, too.
package orderform

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"offload/configs"
	"offload/jobs"
	"offload/remotes"
	"offload/transfer"
)

// The names of an order's fields.
const (
	Source         = "source"
	Dest           = "destination"
	Account        = "account"
	DeleteSource   = "delete-source"
	MinGrade       = "min-grade"
	Hold           = "hold"
	PurgeTrash     = "purge-trash"
	DeletePackages = "delete-packages"
	Conflict       = "conflict"
	Include        = "include"
	Exclude        = "exclude"
	Filter         = "filter"
	ExcludeMarked  = "exclude-if-present"
	Preset         = "preset"
	MinAge         = "min-age"
	MaxAge         = "max-age"
	MinSize        = "min-size"
	MaxSize        = "max-size"
	FilesFrom      = "files-from"
	Order          = "order"
	MaxTransfer    = "max-transfer"
	MaxDelete      = "max-delete"
	Priority       = "priority"
	BwLimit        = "bwlimit"
	Window         = "window"
	Transfers      = "transfers"
	Label          = "label"
)

// OptionNames are the names of all options, in the order of the command line's help.
func OptionNames() []string {
	return []string{Account, DeleteSource, MinGrade, Hold, PurgeTrash, DeletePackages, Conflict, Include, Exclude, Filter, ExcludeMarked, Preset, MinAge, MaxAge,
		MinSize, MaxSize, FilesFrom, Order, MaxTransfer, MaxDelete, Priority, BwLimit, Window, Transfers, Label}
}

// Words are the words that an option knows; nil for an option that takes other values.
func Words(name string) []string {
	switch name {
	case DeleteSource:
		return words(transfer.DeleteNever, transfer.DeleteVerified, transfer.DeleteComplete)
	case MinGrade:
		return words(transfer.GradeA, transfer.GradeB, transfer.GradeC)
	case Conflict:
		return words(transfer.ConflictRename, transfer.ConflictSkip, transfer.ConflictOverwrite)
	case Preset:
		return presetNames()
	case Order:
		return words(transfer.OrderLargest, transfer.OrderOldest, transfer.OrderName)
	case Priority:
		return words(jobs.High, jobs.Normal, jobs.Low)
	}
	return nil
}

func words[T ~string](values ...T) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = string(v)
	}
	return out
}

// Parse reads an order that came over the network: source, destination and options by name. An option that isn't there has
// its default; one that is there must have a value. All mistakes that can be told without asking a remote are returned, each
// with its field; then the order is what could be read. See Given for forms.
func Parse(values map[string][]string) (jobs.Order, []*jobs.OrderError) {
	o, wrong := ParseOptions(values)
	r := &reader{Fields{Values: values, Wrong: wrong}}
	known := append(OptionNames(), Source, Dest)
	for name := range values {
		if !slices.Contains(known, name) {
			r.Fail(name, "leave it out", errors.New("isn't an option of a job"))
		}
	}
	o.Source, o.Dest = r.Path(Source, "a remote and a path, such as icloud:Documents"), r.Path(Dest, "a remote and a path, such as dropbox:Backup")
	if o.Source != "" && o.Dest != "" && remotes.SamePath(o.Source, o.Dest) {
		r.Fail(Dest, "name another remote or another path as the destination", errors.New("is the source, too"))
	}
	if len(r.Wrong) == 0 {
		r.add(o.Validate())
	}
	return o, r.Wrong
}

// ParseOptions reads the options alone, for a caller that has source and destination from elsewhere; it then calls
// Order.Validate. The order has its defaults.
func ParseOptions(values map[string][]string) (jobs.Order, []*jobs.OrderError) {
	r := &reader{Fields{Values: values}}
	o := jobs.Order{
		Account: r.Text(Account),
		Options: transfer.Options{
			DeleteSource:   choice[transfer.DeletePolicy](r, DeleteSource),
			MinGrade:       choice[transfer.Grade](r, MinGrade),
			Hold:           r.duration(Hold),
			PurgeTrash:     r.yes(PurgeTrash),
			DeletePackages: r.yes(DeletePackages),
			Conflict:       choice[transfer.Conflict](r, Conflict),
			Include:        r.list(Include),
			Exclude:        r.list(Exclude),
			Filter:         r.list(Filter),

			ExcludeIfPresent: r.list(ExcludeMarked),
			MinSize:          r.size(MinSize),
			MaxSize:          r.size(MaxSize),
			Order:            choice[transfer.Order](r, Order),
		},
		Priority:    choice[jobs.Priority](r, Priority),
		MaxTransfer: r.size(MaxTransfer),
		MaxDelete:   -1,
		BwLimit:     r.Text(BwLimit),
		Window:      r.Text(Window),
		Transfers:   int(r.count(Transfers, 0, configs.MaxTransfers)),
		Label:       r.One(Label),
	}
	if r.Given(MaxDelete) {
		o.MaxDelete = r.count(MaxDelete, 0, math.MaxInt32)
	}
	if r.Given(FilesFrom) {
		o.FilesFrom = r.paths(FilesFrom)
	}
	o.MinAge, o.ModifiedTo = r.age(MinAge)
	o.MaxAge, o.ModifiedFrom = r.age(MaxAge)
	r.presets(&o)
	r.checkTogether(o)
	return o.WithDefaults(), r.Wrong
}

// reader reads an order's fields.
type reader struct{ Fields }

func (r *reader) add(err error) {
	var wrong *jobs.OrderError
	if errors.As(err, &wrong) {
		r.Wrong = append(r.Wrong, wrong)
	}
}

func (r *reader) list(name string) []string {
	if slices.Contains(r.Values[name], "") {
		r.Fail(name, "write a pattern like *.jpg or /Photos/**", errors.New("the pattern is empty"))
	}
	return r.Values[name]
}

func (r *reader) paths(name string) []string {
	paths, err := ReadPaths(strings.NewReader(strings.Join(r.Values[name], "\n")))
	if err != nil {
		r.Fail(name, "write one path a line, as it is below the source", err)
	}
	return paths
}

// choice reads a field that knows a few words.
func choice[T ~string](r *reader, name string) T {
	if !r.Given(name) {
		return ""
	}
	value, known := r.One(name), Words(name)
	if !slices.Contains(known, value) {
		r.Fail(name, "choose "+strings.Join(known, ", "), fmt.Errorf("unknown value %s", configs.Quote(value)))
	}
	return T(value)
}

func (r *reader) yes(name string) bool {
	return parse(r, name, "write true or false", func(s string) (bool, error) {
		switch s {
		case "true", "on":
			return true, nil
		case "false":
			return false, nil
		}
		return false, fmt.Errorf("%s is neither true nor false", configs.Quote(s))
	})
}

func (r *reader) size(name string) int64 {
	return parse(r, name, "write a size like 500MiB or 5GiB", configs.ParseSize)
}

func (r *reader) duration(name string) time.Duration {
	return parse(r, name, "write a duration like 90m, 12h, 7d or 2w", configs.ParseDuration)
}

func (r *reader) count(name string, least, most int64) int64 {
	return parse(r, name, fmt.Sprintf("write a number from %d to %d", least, most),
		func(s string) (int64, error) { return configs.ParseCount(s, least, most) })
}

// parse reads a field by a parser; one that isn't given is the zero value.
func parse[T any](r *reader, name, hint string, parser func(string) (T, error)) (value T) {
	if !r.Given(name) {
		return value
	}
	value, err := parser(r.One(name))
	if err != nil {
		r.Fail(name, hint, err)
	}
	return value
}

// checkTogether refuses options that contradict each other, or that would do nothing where someone counts on them.
func (r *reader) checkTogether(o jobs.Order) {
	for _, name := range []string{MinGrade, Hold, PurgeTrash, DeletePackages, MaxDelete} {
		if r.Given(name) && !o.Deletes() {
			r.Fail(name, "add --delete-source verified or --delete-source complete, or leave it out",
				errors.New("nothing is deleted without --delete-source"))
		}
	}
	if r.Given(MinSize) && r.Given(MaxSize) && o.MinSize > o.MaxSize {
		r.Fail(MinSize, "make --min-size the smaller one", errors.New("is larger than --max-size, so no file matches"))
	}
	if r.Given(MinAge) && r.Given(MaxAge) && o.MinAge > o.MaxAge {
		r.Fail(MinAge, "make --min-age the smaller one", errors.New("is larger than --max-age, so no file matches"))
	}
	if len(o.Filter) > 0 && (r.Given(Include) || r.Given(Exclude) || r.Given(Preset)) {
		r.Fail(Filter, "write all as --filter rules, in their order: the first that matches a file decides",
			errors.New("can't be used together with --include, --exclude and --preset"))
	}
	if r.Given(MaxAge) && o.ModifiedFrom.After(time.Now()) {
		r.Fail(MaxAge, "name a day that has been", errors.New("lies in the future, so no file matches"))
	}
	if r.Given(FilesFrom) && (len(o.Include) > 0 || len(o.Exclude) > 0 || len(o.Filter) > 0 || len(o.ExcludeIfPresent) > 0) {
		r.Fail(FilesFrom, "leave out --include, --exclude, --filter and --preset", errors.New("names the files already, so patterns can't apply"))
	}
	for _, zero := range []struct {
		name string
		is   bool
	}{{MaxTransfer, o.MaxTransfer == 0}, {MaxSize, o.MaxSize == 0}, {MaxAge, o.MaxAge == 0 && o.ModifiedFrom.IsZero()}} {
		if r.Given(zero.name) && zero.is {
			r.Fail(zero.name, "leave it out for no limit", errors.New("0 would move nothing"))
		}
	}
}

// Given returns what a form's fields say: an empty field isn't given, nor is a field that Parse doesn't know. Fields with a
// pattern on each line give several.
func Given(form map[string][]string) map[string][]string {
	given := map[string][]string{}
	for _, name := range append(OptionNames(), Source, Dest) {
		for _, v := range form[name] {
			lines := []string{v}
			if name == Include || name == Exclude || name == Filter || name == ExcludeMarked {
				lines = strings.Split(v, "\n")
			}
			for _, line := range lines {
				if name != Label {
					line = strings.TrimRight(line, "\r\n")
				}
				if strings.TrimSpace(line) != "" {
					given[name] = append(given[name], line)
				}
			}
		}
	}
	return given
}

// maxPaths bounds a list of files, in bytes.
const maxPaths = 64 << 20

// ReadPaths reads paths, one a line; empty lines and those that begin with # or ; are passed over. The error says which line
// is wrong.
func ReadPaths(in io.Reader) ([]string, error) {
	var paths []string
	err := eachLine(in, maxPaths, "64 MiB", func(n int, line string) error {
		if !utf8.ValidString(line) || slices.Contains(strings.Split(line, "/"), "..") {
			return fmt.Errorf("line %d is no path: %s", n, configs.Quote(line))
		}
		paths = append(paths, line)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		// An empty list means "no filter" further down: everything would be moved.
		return nil, errors.New("names no file")
	}
	return paths, nil
}

// maxLine bounds a line, in bytes.
const maxLine = 1 << 20

// eachLine calls yield for each line that says something, as it is but for its end: empty ones and those that begin with # or
// ; are passed over, and so is a mark at the very beginning. The text must have fewer than most bytes, which shown says in words.
func eachLine(in io.Reader, most int64, shown string, yield func(n int, line string) error) error {
	counted := &io.LimitedReader{R: in, N: most}
	lines := bufio.NewScanner(counted)
	lines.Buffer(nil, maxLine)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSuffix(lines.Text(), "\r")
		if n == 1 {
			line = withoutMark(line)
		}
		if trimmed := strings.TrimSpace(line); trimmed == "" || trimmed[0] == '#' || trimmed[0] == ';' {
			continue
		}
		if err := yield(n, line); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if counted.N == 0 {
		return errors.New("is larger than " + shown)
	}
	return nil
}
