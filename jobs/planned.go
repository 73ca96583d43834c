package jobs

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"path"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"

	"offload/transfer"
)

// PlannedFile is one file of a plan: as the scan saw it, and what the destination had under its name.
type PlannedFile struct {
	transfer.Entry
	Seen transfer.Seen
}

// plannedLine is a PlannedFile as plan files and the store keep it, under names for people.
type plannedLine struct {
	Path      string    `json:"path"`
	Size      int64     `json:"size"` // -1 is unknown
	ModTime   time.Time `json:"mtime,omitzero"`
	ID        string    `json:"id,omitempty"`
	ETag      string    `json:"etag,omitempty"`
	Source    string    `json:"source_path,omitempty"`     // the source's own spelling, where it differs
	RawSource []byte    `json:"source_path_raw,omitempty"` // the same where it is no UTF-8
	Dest      string    `json:"destination_path,omitempty"`
	There     string    `json:"at_destination,omitempty"` // "nothing", "file", "" for unknown
	ThereSize int64     `json:"at_destination_size,omitempty"`
	ThereTime time.Time `json:"at_destination_mtime,omitzero"`
	Verdict   string    `json:"outcome,omitempty"` // what is reported and never touched: "set_aside", "failed"
	Code      string    `json:"code,omitempty"`
	Reason    string    `json:"reason,omitempty"`
}

// thereWords are the words for what the destination has, by state.
func thereWords() []string { return []string{"", "nothing", "file"} }

// MarshalJSON writes the line of a plan.
func (f PlannedFile) MarshalJSON() ([]byte, error) {
	l := plannedLine{Path: f.Path, Size: f.Size, ModTime: f.ModTime, ID: f.ID, ETag: f.ETag, Source: f.Source, Dest: f.Dest,
		There: thereWords()[f.Seen.State], ThereSize: f.Seen.Size, ThereTime: f.Seen.ModTime,
		Verdict: string(f.Verdict), Code: f.Code, Reason: f.Reason}
	if !utf8.ValidString(f.Source) {
		l.Source, l.RawSource = "", []byte(f.Source)
	}
	return json.Marshal(l)
}

// UnmarshalJSON reads the line of a plan and refuses one that no scan writes.
func (f *PlannedFile) UnmarshalJSON(b []byte) error {
	var l plannedLine
	if err := json.Unmarshal(b, &l); err != nil {
		return err
	}
	*f = PlannedFile{Entry: transfer.Entry{Path: l.Path, Size: l.Size, ModTime: l.ModTime, ID: l.ID, ETag: l.ETag, Source: l.Source,
		Dest: l.Dest, Verdict: transfer.Result(l.Verdict), Code: l.Code, Reason: l.Reason},
		Seen: transfer.Seen{Size: l.ThereSize, ModTime: l.ThereTime}}
	if l.RawSource != nil {
		f.Source = string(l.RawSource)
	}
	known := false
	for state, word := range thereWords() {
		if word == l.There {
			f.Seen.State, known = transfer.SeenState(state), true
		}
	}
	switch {
	case !known:
		return fmt.Errorf("at_destination is %q, which isn't known", l.There)
	case !one(f.Verdict, transfer.Pending, transfer.SetAside, transfer.Failed, transfer.Excluded):
		return fmt.Errorf("outcome is %q, which isn't known", l.Verdict)
	case f.Verdict == transfer.Pending && !(plainPath(f.Path) && plainPath(f.SourcePath()) && plainPath(f.DestPath())):
		return fmt.Errorf("path %q doesn't name a file below the source", l.Path)
	case l.Size < -1:
		return fmt.Errorf("size is %d", l.Size)
	}
	return nil
}

// plainPath tells whether a path names a file below a root and nothing else.
func plainPath(p string) bool {
	return p != "" && p != "." && !path.IsAbs(p) && path.Clean(p) == p && p != ".." && !strings.HasPrefix(p, "../") && !strings.Contains(p, "\x00")
}

// plannedPart is how many lines are packed together at most, and plannedBytes how many bytes: a part of more than maxBlob
// couldn't be read again.
const (
	plannedPart  = 4096
	plannedBytes = 8 << 20
)

// Planned are the files of a plan, packed: a million of them take about 30 MB. It is written by one goroutine, and read by any
// number once it is sealed.
type Planned struct {
	parts  [][]byte
	raw    bytes.Buffer // lines of the part that is being filled
	lines  int          // in raw
	sum    hash.Hash
	digest string // once sealed
	enc    *zstd.Encoder

	Files int64 // that the job may touch
	Bytes int64 // of these
	Lines int64 // in all, with those that are only reported
}

// NewPlanned returns a list without files.
func NewPlanned() (*Planned, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(256<<10), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, fmt.Errorf("start zstd: %w", err)
	}
	return &Planned{sum: sha256.New(), enc: enc}, nil
}

// Add adds a file.
func (p *Planned) Add(f PlannedFile) error {
	line, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("plan %s: %w", f.Path, err)
	}
	if p.digest != "" {
		return errors.New("add to a plan: it is sealed")
	}
	line = append(line, '\n')
	_, _ = p.sum.Write(line) // a hash takes everything
	_, _ = p.raw.Write(line) // so does a buffer
	if p.Lines++; f.Verdict == transfer.Pending {
		p.Files++
		p.Bytes += max(f.Size, 0)
	}
	if p.lines++; p.lines == plannedPart || p.raw.Len() >= plannedBytes {
		p.pack()
	}
	return nil
}

func (p *Planned) pack() {
	p.parts = append(p.parts, p.enc.EncodeAll(p.raw.Bytes(), nil))
	p.raw.Reset()
	p.lines = 0
}

// Seal ends the list and returns its digest, the SHA-256 over its lines. It may be called again.
func (p *Planned) Seal() string {
	if p.digest == "" {
		if p.lines > 0 {
			p.pack()
		}
		p.digest, p.raw, p.enc = hex.EncodeToString(p.sum.Sum(nil)), bytes.Buffer{}, nil
	}
	return p.digest
}

// Each calls yield for each file of the sealed list until it returns an error.
func (p *Planned) Each(yield func(PlannedFile) error) error {
	return p.EachLine(func(line []byte) error {
		var f PlannedFile
		if err := json.Unmarshal(line, &f); err != nil {
			return fmt.Errorf("read a plan: %w", err)
		}
		return yield(f)
	})
}

// EachLine calls yield for each line of the sealed list, its end included, until it returns an error.
func (p *Planned) EachLine(yield func([]byte) error) error {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxBlob))
	if err != nil {
		return fmt.Errorf("start zstd: %w", err)
	}
	defer dec.Close()
	for _, part := range p.parts {
		raw, err := dec.DecodeAll(part, nil)
		if err != nil {
			return fmt.Errorf("unpack a plan: %w", err)
		}
		for line := range bytes.Lines(raw) {
			if err := yield(line); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkPlanned refuses an order whose plan isn't there, isn't whole or names nothing: without its plan a job would move
// everything.
func (o Order) checkPlanned() error {
	wrong := func(what string) error {
		return &OrderError{Field: "plan-file", Err: errors.New(what), Hint: "make a plan with `offload plan SRC DST --plan-file FILE`"}
	}
	switch {
	case o.Plan == "" && o.Planned == nil && o.Goal == nil:
		return nil
	case o.Plan == "" || o.Planned == nil:
		return wrong("the files of the plan are missing")
	case o.Planned.Seal() != o.Plan:
		return wrong("the files aren't those of the plan")
	case o.Planned.Files == 0:
		return wrong("the plan names no file that could be moved")
	}
	return nil
}

// WithPlan is the order to do what a plan says, and nothing else.
func (o Order) WithPlan(p *Planned) Order {
	o.Plan, o.Planned = p.Seal(), p
	return o
}
