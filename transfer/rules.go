package transfer

import (
	"errors"
	"strings"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/hash"
)

// The safety rules of docs/safety.md, one function each. A rule answers "" where it allows what is asked, and the code
// of the refusal where it doesn't. Every deletion and every write to a destination passes through these and nothing else.

// ruleGradeAllowsDeletion (rule 1): delete only what was proved at least as strongly as the job demands. Grade D never
// allows a deletion, whatever the job says.
func ruleGradeAllowsDeletion(g, min Grade) string {
	if g == GradeD || !g.AtLeast(min) {
		return CodeWeakProof
	}
	return ""
}

// ruleHashIsProof (rule 2): only a hash that can't well be equal by chance proves content, and only one that the
// remote computed itself: an uploader's claim that the remote hands back is no proof.
func ruleHashIsProof(t hash.Type, size int64, of traits) bool {
	if of.recites || of.echoFrom > 0 && size >= of.echoFrom {
		return false
	}
	return t != hash.None && hash.Width(t, false) >= 32
}

// ruleStreamedWholeSize (rule 3): what was streamed must be exactly as long as the source said.
func ruleStreamedWholeSize(listed, streamed int64) bool {
	return listed < 0 || listed == streamed
}

// ruleSizeIsTrusted (rule 3): a length that the source doesn't know, or an empty one where 0 may mean "not known", is no
// ground for a deletion.
func ruleSizeIsTrusted(listed int64, of traits) string {
	if listed < 0 || listed == 0 && of.sizeUntrusted {
		return CodeSizeUntrusted
	}
	return ""
}

// ruleUnchangedBeforeDeletion (rule 4): the version that is deleted must be the version that was copied.
func ruleUnchangedBeforeDeletion(copied, now mark) string {
	if !copied.same(now) {
		return CodeChangedLater
	}
	return ""
}

// ruleVersionIsKnown (rule 4): a file whose versions can't be told apart can't be known to be unchanged.
func ruleVersionIsKnown(m mark) string {
	if !m.same(m) {
		return CodeNoMark
	}
	return ""
}

// ruleExistingNeedsContent (rule 7): where the source is to be deleted, size and time of a file that was already at the
// destination prove nothing: its content must be compared.
func ruleExistingNeedsContent(o Options) bool { return o.Deletes() && o.MinGrade.AtLeast(GradeB) }

// ruleMayOverwrite (rule 8): different content at the destination is replaced only when the job says so.
func ruleMayOverwrite(c Conflict) bool { return c == ConflictOverwrite }

// ruleRemoveOnlyOurs (rule 8): a bad copy is removed only where it is the very one that this attempt wrote.
func ruleRemoveOnlyOurs(written, now mark) bool { return written.same(now) }

// ruleManifestIsOurs (rule 8): what stands in the place of a job's manifest is replaced only where it is an earlier manifest
// of that very job, whole, or nothing but the beginning of the one that is to be written.
func ruleManifestIsOurs(earlier, beginning bool) bool { return earlier || beginning }

// ruleMayHaveWritten (rule 8): what is found under a name after a failed upload may be that upload's, unless the
// destination has said that it is somebody else's, or takes nothing before it was sent the listed size in bytes.
func ruleMayHaveWritten(err error, size, sent int64, of traits) bool {
	return !errors.Is(err, ErrTaken) && (!of.atomic || sent >= size)
}

// ruleSharedIsKept (rule 9): what belongs to somebody else is never deleted.
func ruleSharedIsKept(id string, of traits) string {
	if of.sharedID != "" && strings.Contains(id, of.sharedID) {
		return CodeShared
	}
	return ""
}

// refusal is the code of a rule that refuses a deletion and what is the matter, in words; "" where it allows it.
type refusal struct{ code, what string }

// ruleObjectIsKept (rules 5 and 9): an object that says it must not be deleted isn't.
func ruleObjectIsKept(o fs.Object) refusal {
	if k, ok := o.(Keeper); ok {
		code, what := k.KeepReason()
		if code == CodePackage {
			return refusal{} // rulePackageIsKept decides, by what was recorded
		}
		return refusal{code, what}
	}
	return refusal{}
}

// rulePackageIsKept (rule 5): the zip of a package is made on the fly and is another one each time: the source has
// nothing to compare it with, so the package stays unless the job says otherwise.
func rulePackageIsKept(o Outcome, opt Options) string {
	if o.Package && !opt.DeletePackages {
		return CodePackage
	}
	return ""
}

// rulePurgeOnlyOurs (rule 12): out of the trash goes only what this job put there: an item that its own record calls
// deleted, with the ID of the version that was proved, found in a listing of the trash just made. Its etag there is
// another one, but its length and time are still those of that version: somebody may have put the file back, edited it
// and deleted it himself.
func rulePurgeOnlyOurs(o Outcome, m mark, inTrash map[string]Trashed) (Trashed, bool) {
	item, there := inTrash[m.id]
	sameSize := item.Size < 0 || m.size < 0 || item.Size == m.size
	sameTime := item.ModTime.IsZero() || m.mtime.IsZero() || item.ModTime.Equal(m.mtime)
	return item, there && m.id != "" && sameSize && sameTime && o.Source.InTrash()
}

// ruleReturnOnlyRecorded (rule 14): out of the trash comes back only the version that the record tells of: the item of its
// ID, with its length and time. Somebody may have put the file back, edited it and deleted it himself.
func ruleReturnOnlyRecorded(e Entry, inTrash map[string]Trashed) (Trashed, bool) {
	return rulePurgeOnlyOurs(Outcome{Source: Deleted}, mark{size: e.Size, mtime: e.ModTime, id: e.ID}, inTrash)
}

// ruleNothingIsReplaced (rule 14): a file that is brought back takes a free name alone, whatever the options say.
func ruleNothingIsReplaced(opt Options) Options {
	opt.Conflict = ConflictRename
	return opt
}

// ruleCopyIsAsRecorded (rule 14): only what has the length and the hash that the record tells of is brought back. A sum of ""
// isn't known: then the other things tell.
func ruleCopyIsAsRecorded(e Entry, size int64, t hash.Type, sum string) bool {
	want, recorded := splitHash(e.Hash)
	sized := e.Size < 0 || size < 0 || size == e.Size
	return sized && (sum == "" || recorded == "" || t != want || sum == recorded)
}

// ruleReadOnlyIsKept (rule 9): where the backend can't delete, nothing tries to.
func ruleReadOnlyIsKept(of traits) string {
	if of.readOnly != "" {
		return CodeReadOnly
	}
	return ""
}

// RuleListingWasWhole (rule 10): with a policy of complete, one failed file or folder keeps every source file. Whoever
// runs the job asks it before the deletions of a complete job; failures counts files and folders of the whole job.
func RuleListingWasWhole(o Options, failures int64) bool {
	return o.DeleteSource != DeleteComplete || failures == 0
}

// ruleMayResume (rule 13): a file may be read in parts only where its length is known, it is no package, whose zip is
// another one each time, and the whole of the parts is known to be one version of the file: the source has a mark of the
// version and gives exactly the part that was asked for, or it has a hash of its own, by which the whole is compared.
func ruleMayResume(m mark, packaged, exact bool, of traits) bool {
	if packaged || m.size <= 0 {
		return false
	}
	t, sum := splitHash(m.hash)
	return exact && m.etag != "" || sum != "" && ruleHashIsProof(t, m.size, of)
}

// ruleSourceAsPlanned (rule 15): a job with a plan handles a source file only as the plan saw it: of that length, and of that
// ID, etag and time as far as both tell.
func ruleSourceAsPlanned(planned Entry, now mark) string {
	sizes := planned.Size != now.size && planned.Size >= 0 && now.size >= 0 // a package has no length once it is known for one
	ids := planned.ID != "" && now.id != "" && planned.ID != now.id
	etags := planned.ETag != "" && now.etag != "" && planned.ETag != now.etag
	times := !planned.ModTime.IsZero() && !now.mtime.IsZero() && !planned.ModTime.Equal(now.mtime)
	if planned.There != nil && (sizes || ids || etags || times) {
		return CodeDrifted
	}
	return ""
}

// ruleDestAsPlanned (rule 15): it does so only while the destination has under the name what the plan saw there.
func ruleDestAsPlanned(planned Entry, now Seen) string {
	was := planned.There
	if was == nil || was.State == SeenUnknown || now.State == SeenUnknown {
		return "" // the engine looks itself, and by rule 8 nothing is lost
	}
	sizes := was.Size >= 0 && now.Size >= 0 && was.Size != now.Size
	times := !was.ModTime.IsZero() && !now.ModTime.IsZero() && !was.ModTime.Equal(now.ModTime)
	if was.State != now.State || was.State == SeenFile && (sizes || times) {
		return CodeDrifted
	}
	return ""
}

// ruleFormerIsBelieved (rule 13): a copy that another process sent is known by the destination's own hash alone, which is the
// sum of what that process read of the very version that the source has now.
func ruleFormerIsBelieved(former bool, g Grade) bool { return !former || g == GradeA }

// rulePartsAreOfOneVersion (rule 13): parts of a file make a whole only where the source has the same version before each
// of them and after the last.
func rulePartsAreOfOneVersion(read, now mark) bool { return read.same(now) }

// rulePartIsUsable (rule 13): what another process has sent of a file counts only where it was of the version that is read
// now, and only as far as its hash was kept.
func rulePartIsUsable(sent, now mark, hashed, held int64) bool {
	return sent.same(now) && hashed > 0 && hashed < now.size && held >= hashed && held <= now.size
}
