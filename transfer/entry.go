package transfer

import (
	"encoding/json"
	"time"
	"unicode/utf8"
)

// Entry is one file found by the scan.
type Entry struct {
	// Path is the file's path below the source's root in NFC, with "/" between parts; what people see.
	Path string `json:"p"`
	// Source is the source's own spelling of the path, kept only where it differs from Path (NFD names, for one).
	Source string `json:"s,omitempty"`
	// Dest is the path at the destination, kept only where it differs from Path (folders that the destination merges).
	Dest string `json:"d,omitempty"`
	// Size in bytes as listed; -1 where the source doesn't know it.
	Size int64 `json:"n"`
	// ModTime as listed, UTC; zero where the source keeps none.
	ModTime time.Time `json:"t,omitzero"`
	// ID is the source's own identifier, "" where it has none.
	ID string `json:"i,omitempty"`
	// ETag is the source's version mark as listed, "" where it has none.
	ETag string `json:"e,omitempty"`
	// Hash is what the record of an earlier job holds as the proof of the file, "type:hex", and Package that it arrived as a
	// zip; in jobs that go by such a record alone.
	Hash    string `json:"h,omitempty"`
	Package bool   `json:"k,omitempty"`
	// Verdict is an outcome that the scan itself reached (set_aside, excluded, failed); "" where there is work to do.
	Verdict Result `json:"v,omitempty"`
	// Code and Reason say why, where there is a verdict.
	Code   string `json:"c,omitempty"`
	Reason string `json:"r,omitempty"`
	// There is what the plan saw at the destination, nil where the job has no plan. An entry with a plan is handled only as
	// the plan saw it (safety rule 15).
	There *Seen `json:"y,omitempty"`
	// Keep is the code of why the source file will be kept whatever is proved of its copy, as far as the listing tells; it
	// isn't stored.
	Keep string `json:"-"`
}

// entryFields has Entry's fields without its methods.
type entryFields Entry

// entryJSON is Entry as it is stored. JSON can't hold bytes that are no UTF-8, and a source may have such names: they
// travel apart, or they would never be found again.
type entryJSON struct {
	entryFields
	RawSource []byte `json:"sb,omitempty"`
}

// MarshalJSON keeps a source's spelling that is no UTF-8 byte for byte.
func (e Entry) MarshalJSON() ([]byte, error) {
	j := entryJSON{entryFields: entryFields(e)}
	if !utf8.ValidString(e.Source) {
		j.Source, j.RawSource = "", []byte(e.Source)
	}
	return json.Marshal(j)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (e *Entry) UnmarshalJSON(b []byte) error {
	var j entryJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	*e = Entry(j.entryFields)
	if j.RawSource != nil {
		e.Source = string(j.RawSource)
	}
	return nil
}

// SourcePath is the path to ask the source for.
func (e Entry) SourcePath() string {
	if e.Source != "" {
		return e.Source
	}
	return e.Path
}

// DestPath is the path to write at the destination.
func (e Entry) DestPath() string {
	if e.Dest != "" {
		return e.Dest
	}
	return e.Path
}

// Result is what became of an entry.
type Result string

// The results. The zero value means that nothing has become of the entry yet.
const (
	Pending  Result = ""
	Copied   Result = "copied"
	Skipped  Result = "skipped"
	SetAside Result = "set_aside"
	Excluded Result = "excluded"
	Failed   Result = "failed"
)

// SourceState is what became of the entry's source file.
type SourceState string

// The states of a source file. Deleting is written before the deletion is asked for, so that a restart knows that a
// file which is gone may have been deleted by this job; Purging likewise before the source's trash is told to forget it.
const (
	Kept     SourceState = "kept"
	Deleting SourceState = "deleting"
	Deleted  SourceState = "deleted"
	Purging  SourceState = "purging"
	Purged   SourceState = "purged"
)

// Grade is how strongly the arrival of a file was proved; "" is no proof at all.
type Grade string

// The grades, strongest first.
const (
	GradeA Grade = "A" // content hash of the streamed bytes equals the destination's own hash
	GradeB Grade = "B" // destination read back and equal
	GradeC Grade = "C" // size and modification time equal
	GradeD Grade = "D" // less than that
)

// Gone tells whether the file isn't at its place any more by the job's own doing.
func (s SourceState) Gone() bool { return s == Deleted || s == Purging || s == Purged }

// InTrash tells whether the file lies in the source's trash, as far as the record says.
func (s SourceState) InTrash() bool { return s == Deleted || s == Purging }

// AtLeast tells whether g is as strong as min or stronger. No grade is at least anything.
func (g Grade) AtLeast(min Grade) bool { return g != "" && min != "" && g <= min }

// Outcome is the record of what became of one entry.
type Outcome struct {
	Result Result      `json:"o"`
	Grade  Grade       `json:"g,omitempty"`
	Source SourceState `json:"s,omitempty"`
	// Dest is where the file lies at the destination, kept only where it isn't the entry's DestPath (--conflict rename).
	Dest string `json:"d,omitempty"`
	// Bytes moved for the copy that counts; Wasted is what earlier attempts read in vain. Both in bytes.
	Bytes  int64 `json:"n,omitempty"`
	Wasted int64 `json:"w,omitempty"`
	// Least is kept for an entry that is still pending and whose size the source doesn't tell: so many bytes are needed at
	// least, as was found when the allowance ended while it was read. The next attempt begins when they can be set aside.
	Least int64 `json:"l,omitempty"`
	// Part is kept for an entry that is still pending and of which the destination holds the beginning: which upload, how
	// many bytes, the state of their hashes and the source's mark. What can't be read is passed over.
	Part string `json:"u,omitempty"`
	// Hash is the proof as "type:hex", SourceMark what the source said of the version that was copied
	// (etag, or size and modification time), compared again before a deletion.
	Hash       string `json:"h,omitempty"`
	SourceMark string `json:"m,omitempty"`
	// Package says that the file was a package and arrived as a zip (safety rule 5).
	Package bool `json:"p,omitempty"`
	// Evidence is what the source's own checksum says of the bytes that were read: "match", "differs", "" for unknown.
	Evidence string `json:"v,omitempty"`
	// Code is a short stable word for the cause (see codes.go); Reason is a sentence for people.
	Code   string `json:"c,omitempty"`
	Reason string `json:"r,omitempty"`
	// At is when the outcome was reached, UTC.
	At time.Time `json:"a,omitzero"`
	// ProvedMS and DeletedMS are when the copy was proved and when the source file was deleted, in ms since 1970 UTC, where At is
	// of something later; 0 where it isn't, and in records of earlier versions.
	ProvedMS  int64 `json:"tp,omitempty"`
	DeletedMS int64 `json:"td,omitempty"`
}

// ProvedAt is when the copy was proved, UTC; zero where it wasn't.
func (o Outcome) ProvedAt() time.Time { return whenOf(o.Grade != "", o.ProvedMS, o.At) }

// DeletedAt is when the source file was deleted, UTC; zero where it wasn't.
func (o Outcome) DeletedAt() time.Time { return whenOf(o.Source.Gone(), o.DeletedMS, o.At) }

func whenOf(was bool, ms int64, last time.Time) time.Time {
	switch {
	case !was:
		return time.Time{}
	case ms != 0:
		return time.UnixMilli(ms).UTC()
	}
	return last
}

// stamped is an outcome that is reached now, after an earlier one of the same entry.
func (o Outcome) stamped(before Outcome, now time.Time) Outcome {
	o.At, o.ProvedMS, o.DeletedMS = now, 0, 0
	if o.Grade != "" && before.Grade == o.Grade && before.Hash == o.Hash && before.SourceMark == o.SourceMark {
		o.ProvedMS = before.ProvedAt().UnixMilli()
	}
	if o.Source.Gone() && before.Source.Gone() {
		o.DeletedMS = before.DeletedAt().UnixMilli()
	}
	return o
}

// Final tells whether nothing remains to be done for the entry, given that deletion is asked for or not.
func (o Outcome) Final() bool { return o.Result != Pending && o.Source != Deleting }
