// Package manifest is the record of a job, one line per file: what was offloaded, whereto, by what proof and when. It lies
// at the destination beside the data and in the store, so that each finds what the other has lost.
package manifest

import "time"

// Line is what a manifest says of one file.
type Line struct {
	// Path is the file's path below the source's root in NFC, Source the source's own spelling where that differs.
	Path   string `json:"path"`
	Source string `json:"source_path,omitempty"`
	// Dest is the file's path below the destination's root.
	Dest string `json:"dest,omitempty"`
	// Size in bytes as listed at the source; -1 where that didn't know it.
	Size int64 `json:"size"`
	// ModTime as listed, UTC; zero where the source keeps none.
	ModTime time.Time `json:"mtime,omitzero"`
	// Hash is the proof as "type:hex", Grade how strong it is.
	Hash  string `json:"hash,omitempty"`
	Grade string `json:"grade,omitempty"`
	// ID and ETag are the source's own marks of the file and of the version that was copied.
	ID   string `json:"id,omitempty"`
	ETag string `json:"etag,omitempty"`
	// Package says that the file was a package and arrived as a zip.
	Package bool `json:"package,omitempty"`
	// Result is what became of the file, State what became of it at the source, in the words of DESIGN.md section 2.
	Result string `json:"result"`
	State  string `json:"state,omitempty"`
	// Code and Reason say why, where it wasn't copied.
	Code   string `json:"code,omitempty"`
	Reason string `json:"reason,omitempty"`
	// When it was copied, proved and deleted, UTC; zero where it wasn't or isn't known.
	Copied  time.Time `json:"copied,omitzero"`
	Proved  time.Time `json:"proved,omitzero"`
	Deleted time.Time `json:"deleted,omitzero"`
}

// Header is what a manifest says of its job.
type Header struct {
	Version     int       `json:"version"`
	Job         string    `json:"job"`
	Source      string    `json:"source"`
	Destination string    `json:"destination"`
	Account     string    `json:"account"`
	Created     time.Time `json:"created"`
}

// Gone tells whether the file isn't at the source's place any more by the job's doing: the destination has the only copy,
// or soon will.
func (l Line) Gone() bool { return l.State == "deleted" || l.State == "purging" || l.State == "purged" }
