package jobs

import (
	"context"
	"errors"
	"io"

	"offload/manifest"
	"offload/transfer"
)

// foreignBlock bounds what the paths, and the lines, of an imported manifest may take in a block of the store, in bytes: lines
// that are packed to almost nothing would else fill the memory, and a block of more than maxBlob couldn't be read again.
const foreignBlock = maxBlob / 4

// verifyForeign is manifest.Verify of one that may have been written by somebody else: nor may it name a place outside of its
// source or destination, or be more than the store can hold.
func verifyForeign(ctx context.Context, file io.Reader) (manifest.Header, manifest.Summary, error) {
	r, err := manifest.NewReader(file)
	if err != nil {
		return manifest.Header{}, manifest.Summary{}, err
	}
	names, lines := 0, 0
	for n := int64(0); ; n++ {
		if err := context.Cause(ctx); err != nil {
			return r.Header(), r.Summary(), err
		}
		l, err := r.Next()
		if errors.Is(err, io.EOF) {
			return r.Header(), r.Summary(), nil
		}
		if err != nil {
			return r.Header(), r.Summary(), err
		}
		text, err := manifest.PackLine(l)
		if err != nil {
			return r.Header(), r.Summary(), err
		}
		if n%namesBlock == 0 {
			names = 0
		}
		if n%linesBlock == 0 {
			lines = 0
		}
		names, lines = names+len(l.Path)+len(l.Dest), lines+len(text)
		what := ""
		switch {
		case names > foreignBlock || lines > foreignBlock:
			what = "its paths are longer than those of any remote"
		case leadsOut(l):
			what = "it names a place outside of the source or the destination"
		default:
			continue
		}
		return r.Header(), r.Summary(), &manifest.BrokenError{Line: n + 2, What: what}
	}
}

// leadsOut tells whether a file that lies at the destination, or lay at the source, is said to be somewhere else.
func leadsOut(l manifest.Line) bool {
	arrived := l.Result == string(transfer.Copied) || l.Result == string(transfer.Skipped)
	return (arrived || l.Gone()) && (transfer.LeavesRoot(l.Path) || transfer.LeavesRoot(l.Dest) || l.Source != "" && transfer.LeavesRoot(l.Source))
}
