package jobs

import (
	"time"

	"offload/manifest"
	"offload/transfer"
)

// Kind is what a job does. The zero value moves files.
type Kind string

// The kinds. Restores and scrubs go by the record of an earlier job (Order.Of) instead of a scan.
const (
	KindMove    Kind = ""
	KindRestore Kind = "restore" // brings back what Of has offloaded; its source is Of's destination and the other way round
	KindScrub   Kind = "scrub"   // looks whether what Of has offloaded is still at the destination as it was proved
)

// lineOf is what a manifest says of an entry and its outcome.
func lineOf(e transfer.Entry, o transfer.Outcome) manifest.Line {
	e = transfer.AsCopied(e, o) // it may have changed between the scan and the copy
	l := manifest.Line{Path: e.Path, Source: e.Source, Dest: o.Dest, Size: e.Size, ModTime: e.ModTime, Hash: o.Hash,
		Grade: string(o.Grade), ID: e.ID, ETag: e.ETag, Package: o.Package, Result: string(o.Result), State: string(o.Source),
		Code: o.Code, Reason: o.Reason}
	if l.Dest == "" {
		l.Dest = e.DestPath()
	}
	l.Proved, l.Deleted = o.ProvedAt().Truncate(time.Millisecond), o.DeletedAt().Truncate(time.Millisecond)
	if o.Result == transfer.Copied {
		l.Copied = l.Proved // a copy is one when it is proved
	}
	return l
}
