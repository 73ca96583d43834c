package room

import (
	"cmp"
	"slices"

	"offload/jobs"
	"offload/transfer"
)

// candidates are the files that may be chosen, with what is told of those that may not.
type candidates struct {
	files  []jobs.PlannedFile
	passed map[string]jobs.PlanCount // by code: what couldn't be deleted by proof
}

// The codes of what is passed over beside those of the engine.
const (
	codeEmpty   = "empty"   // it frees nothing, or its length isn't known
	codeEarlier = "earlier" // an earlier round has tried it
)

// take takes a file in, unless it couldn't be deleted by proof.
func (c *candidates) take(f jobs.PlannedFile, o transfer.Options, tried map[string]bool) {
	code := ""
	switch {
	case f.Verdict != transfer.Pending:
		code = f.Code
	case f.Size <= 0:
		code = codeEmpty
	case f.Keep == transfer.CodePackage && o.DeletePackages:
	case f.Keep != "":
		code = f.Keep
	}
	if code == "" && tried[f.Path] {
		code = codeEarlier
	}
	if code == "" {
		c.files = append(c.files, f)
		return
	}
	if c.passed == nil {
		c.passed = map[string]jobs.PlanCount{}
	}
	n := c.passed[code]
	c.passed[code] = jobs.PlanCount{Files: n.Files + 1, Bytes: n.Bytes + max(f.Size, 0)}
}

// choice is what was chosen, in the order of the rule, and where the line was drawn.
type choice struct {
	files []jobs.PlannedFile
	bytes int64
	next  *jobs.PlannedFile // the first below the line, nil where everything was chosen
}

// choose chooses files until they come to need bytes, or all where they don't. The rules, by order of choosing:
//
//	oldest   by modification time, the oldest first; a file without a time comes last
//	largest  by size, the largest first
//	fewest   as largest, and the last of these is replaced by the smallest file with which the sum still reaches
//
// Ties go by path, in byte order. So oldest and largest never choose more than needed by one file or more, and no set of fewer
// files than that of largest and fewest would do.
func choose(files []jobs.PlannedFile, order string, need int64) choice {
	bySize := func(a, b jobs.PlannedFile) int {
		return cmp.Or(cmp.Compare(b.Size, a.Size), cmp.Compare(a.Path, b.Path))
	}
	byAge := func(a, b jobs.PlannedFile) int {
		if a.ModTime.IsZero() != b.ModTime.IsZero() {
			return cmp.Compare(boolInt(a.ModTime.IsZero()), boolInt(b.ModTime.IsZero()))
		}
		return cmp.Or(a.ModTime.Compare(b.ModTime), cmp.Compare(a.Path, b.Path))
	}
	sorted := slices.Clone(files)
	if order == Oldest {
		slices.SortFunc(sorted, byAge)
	} else {
		slices.SortFunc(sorted, bySize)
	}
	var c choice
	n := 0
	for n < len(sorted) && c.bytes < need {
		c.bytes += sorted[n].Size
		n++
	}
	if order == Fewest && n > 0 && c.bytes >= need {
		// Behind the line sizes only fall: the last one that still reaches is the smallest; of equals the first by path.
		least := need - (c.bytes - sorted[n-1].Size)
		last := n - 1
		for i := n; i < len(sorted) && sorted[i].Size >= least; i++ {
			if sorted[i].Size < sorted[last].Size {
				last = i
			}
		}
		c.bytes += sorted[last].Size - sorted[n-1].Size
		f := sorted[last]
		sorted = slices.Insert(slices.Delete(sorted, last, last+1), n-1, f)
	}
	c.files = sorted[:n]
	if n < len(sorted) {
		c.next = &sorted[n]
	}
	return c
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
