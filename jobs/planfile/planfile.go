// Package planfile writes plans to files that people look at and programs apply, and reads them again. docs/room.md tells the
// form. A file that was changed, cut off or made by another version is refused as a whole.
package planfile

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"offload/jobs"
	"offload/jobs/orderform"
)

// version of the form that is written; no other one is read.
const version = 1

// maxLine bounds a line, in bytes: a path of a thousand folders is shorter.
const maxLine = 1 << 20

// head is the first line.
type head struct {
	Version int                 `json:"offload_plan"`
	Made    time.Time           `json:"made"`
	Order   map[string][]string `json:"order"` // under the names of the command line, as orderform has them
	Goal    *jobs.Goal          `json:"goal,omitempty"`
}

// seal is the last line. It begins with its sum, as no other line does.
type seal struct {
	Sum   string `json:"sha256"` // of all that stands before it
	Files int64  `json:"files"`  // that the job may touch
	Bytes int64  `json:"bytes"`
	Lines int64  `json:"lines"` // with those that are only reported
}

var sealBegins = []byte(`{"sha256":`)

// Plan is what a plan file holds.
type Plan struct {
	Made  time.Time
	Order jobs.Order // with its files
}

// Write writes a plan. The order's remotes must be such as Read takes: an *jobs.OrderError says what isn't.
func Write(w io.Writer, made time.Time, o jobs.Order, files *jobs.Planned) error {
	o.FilesFrom = nil // the lines say it
	h := head{Version: version, Made: made.UTC().Truncate(time.Second), Order: orderform.Values(o), Goal: o.Goal}
	if _, wrong := orderform.Parse(h.Order); len(wrong) > 0 {
		return wrong[0]
	}
	sum := sha256.New()
	out := bufio.NewWriterSize(io.MultiWriter(w, sum), 1<<16)
	first, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("write plan: %w", err)
	}
	line := func(b []byte) error {
		if _, err := out.Write(b); err != nil {
			return fmt.Errorf("write plan: %w", err)
		}
		return nil
	}
	if err := line(append(first, '\n')); err != nil {
		return err
	}
	files.Seal()
	if err := files.EachLine(line); err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write plan: %w", err)
	}
	last, err := json.Marshal(seal{hex.EncodeToString(sum.Sum(nil)), files.Files, files.Bytes, files.Lines})
	if err != nil {
		return fmt.Errorf("write plan: %w", err)
	}
	if _, err := w.Write(append(last, '\n')); err != nil {
		return fmt.Errorf("write plan: %w", err)
	}
	return nil
}

// ErrNoPlan says that something is no plan, or not the plan that was written: errors.Is finds it in every error of Read but
// those of the reader itself.
var ErrNoPlan = errors.New("this is no plan that can be applied")

// Read reads a plan, packed by gzip or not.
func Read(in io.Reader) (Plan, error) {
	r := bufio.NewReaderSize(in, 1<<16)
	if magic, _ := r.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(r)
		if err != nil {
			return Plan{}, fmt.Errorf("%w: unpack it: %w", ErrNoPlan, err)
		}
		defer z.Close()
		r = bufio.NewReaderSize(z, 1<<16)
	}
	lines := &lineReader{r: r}
	first, err := lines.next()
	if errors.Is(err, io.EOF) {
		return Plan{}, fmt.Errorf("%w: it is empty", ErrNoPlan)
	}
	if err != nil {
		return Plan{}, err
	}
	p, err := readHead(first)
	if err != nil {
		return Plan{}, err
	}
	files, err := jobs.NewPlanned()
	if err != nil {
		return Plan{}, err
	}
	sum := sha256.New()
	_, _ = sum.Write(first) // a hash takes everything
	for n := 2; ; n++ {
		b, err := lines.next()
		if errors.Is(err, io.EOF) {
			return Plan{}, fmt.Errorf("%w: its end is missing", ErrNoPlan)
		}
		if err != nil {
			return Plan{}, err
		}
		if bytes.HasPrefix(b, sealBegins) {
			if err := checkSeal(b, hex.EncodeToString(sum.Sum(nil)), files); err != nil {
				return Plan{}, err
			}
			break
		}
		_, _ = sum.Write(b)
		var f jobs.PlannedFile
		if err := json.Unmarshal(b, &f); err != nil {
			return Plan{}, fmt.Errorf("%w: line %d: %w", ErrNoPlan, n, err)
		}
		if err := files.Add(f); err != nil {
			return Plan{}, err
		}
	}
	if _, err := lines.next(); !errors.Is(err, io.EOF) {
		return Plan{}, fmt.Errorf("%w: something follows its end", ErrNoPlan)
	}
	p.Order = p.Order.WithPlan(files)
	return p, nil
}

func readHead(b []byte) (Plan, error) {
	var h head
	if err := json.Unmarshal(b, &h); err != nil || h.Version == 0 {
		return Plan{}, fmt.Errorf("%w: its first line isn't that of a plan", ErrNoPlan)
	}
	if h.Version != version {
		return Plan{}, fmt.Errorf("%w: it is of version %d, and this program knows version %d", ErrNoPlan, h.Version, version)
	}
	o, wrong := orderform.Parse(h.Order)
	if len(wrong) > 0 {
		return Plan{}, fmt.Errorf("%w: its order: %w", ErrNoPlan, wrong[0])
	}
	if g := h.Goal; g != nil && (g.Remote != o.Source || g.To != o.Dest || !slices.Contains([]string{"", "oldest", "largest", "fewest"}, g.Order)) {
		return Plan{}, fmt.Errorf("%w: its goal isn't that of its order", ErrNoPlan)
	}
	o.Goal = h.Goal
	return Plan{Made: h.Made, Order: o}, nil
}

func checkSeal(b []byte, sum string, files *jobs.Planned) error {
	var s seal
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("%w: its last line can't be read", ErrNoPlan)
	}
	if s.Sum != sum || s.Files != files.Files || s.Bytes != files.Bytes || s.Lines != files.Lines {
		return fmt.Errorf("%w: it was changed since it was made", ErrNoPlan)
	}
	if files.Files == 0 {
		return fmt.Errorf("%w: it names no file that could be moved", ErrNoPlan)
	}
	return nil
}

// lineReader reads lines of a bounded length.
type lineReader struct{ r *bufio.Reader }

// next returns a line with its end; it is the caller's until the next call. What has no end is no line.
func (l *lineReader) next() ([]byte, error) {
	var whole []byte
	for {
		part, err := l.r.ReadSlice('\n')
		if whole = append(whole, part...); len(whole) > maxLine {
			return nil, fmt.Errorf("%w: a line is longer than 1 MiB", ErrNoPlan)
		}
		switch {
		case err == nil:
			return whole, nil
		case errors.Is(err, io.EOF) && len(whole) > 0, errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, gzip.ErrChecksum), errors.Is(err, gzip.ErrHeader):
			return nil, fmt.Errorf("%w: it is cut off", ErrNoPlan)
		case errors.Is(err, io.EOF):
			return nil, io.EOF
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, fmt.Errorf("read plan: %w", err)
		}
	}
}

// May are the options that may be told anew when a plan is applied: they say how it is done, and nothing of what.
func May() []string {
	return []string{orderform.Priority, orderform.BwLimit, orderform.Window, orderform.Transfers, orderform.Label}
}

// With is the plan's order with the options that were given beside it. One that contradicts the plan is an *jobs.OrderError.
func (p Plan) With(given map[string][]string) (jobs.Order, error) {
	values := orderform.Values(p.Order)
	for name, v := range given {
		values[name] = v
	}
	o, wrong := orderform.ParseOptions(values)
	if len(wrong) > 0 {
		return o, wrong[0]
	}
	o.Source, o.Dest = first(values[orderform.Source]), first(values[orderform.Dest])
	o.Goal = p.Order.Goal
	now, then := orderform.Values(o), orderform.Values(p.Order)
	for _, name := range append(orderform.OptionNames(), orderform.Source, orderform.Dest) {
		if _, ok := given[name]; ok && !slices.Contains(May(), name) && !slices.Equal(now[name], then[name]) {
			return o, &jobs.OrderError{Field: name, Hint: "leave it out, or make a new plan with it", Err: errors.New("the plan says otherwise")}
		}
	}
	if err := o.Validate(); err != nil {
		return o, err
	}
	return o.WithPlan(p.Order.Planned), nil
}

func first(v []string) string {
	if len(v) == 0 {
		return ""
	}
	return v[0]
}
