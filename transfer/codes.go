package transfer

import "fmt"

// The codes of outcomes: short words that scripts and pages may rely on.
const (
	CodeSourceGone    = "source_gone"       // the file was not there any more when its turn came
	CodeSourceChanged = "source_changed"    // it changed while it was copied, every time
	CodeChangedLater  = "changed_after"     // it changed between proof and deletion: the new version is kept
	CodeCorrupt       = "corrupt"           // what arrived was not what was sent, every time
	CodeRefused       = "refused"           // a remote refused this file (permission, policy)
	CodeFolderRefused = "folder_refused"    // a folder of this machine can't be made, entered or written to
	CodeNameRefused   = "name_refused"      // the destination can't hold this name
	CodeTooLarge      = "too_large"         // the destination can't hold a file of this size
	CodeEmptyRefused  = "empty_refused"     // the destination can't hold empty files
	CodeGaveUp        = "gave_up"           // errors that looked passing didn't pass
	CodeKilledWorker  = "killed_worker"     // each process that began it died with it
	CodeSpoolFull     = "spool_full"        // this machine's disk had no room for a file that must be whole before it is sent
	CodeConflictKept  = "conflict_kept"     // different content at the destination; --conflict skip
	CodeConflictDir   = "conflict_folder"   // a folder at the destination bears the name
	CodeDestGone      = "dest_changed"      // the copy is not at the destination any more, nor is the source
	CodeDeleteFailed  = "delete_failed"     // copied and proved, but the source refused the deletion
	CodeMaxDelete     = "max_delete"        // the job has deleted as many files as it may
	CodeMaxTransfer   = "max_transfer"      // the job has moved as many bytes as it may
	CodeWeakProof     = "weak_proof"        // the proof is weaker than a deletion asks for
	CodeSizeUntrusted = "size_not_trusted"  // the source doesn't say for certain how long the file is
	CodeShared        = "shared"            // it belongs to somebody else
	CodePackage       = "package"           // the source hands it out as a zip made on the fly: nothing to compare with
	CodeNotPurged     = "not_purged"        // deleted, but still in the source's trash as far as is known
	CodeDoubted       = "checksum_differs"  // the source's own checksum tells of other bytes than were read, every time
	CodeReadOnly      = "read_only"         // the source can't delete
	CodeSamePlace     = "same_place"        // source and destination are the same file, or may be
	CodeNoMark        = "version_not_known" // the source gives nothing to tell versions of a file apart
	CodeCopyGone      = "copy_gone"         // the record of an earlier job tells of a copy that isn't at the destination any more
	CodeFromTrash     = "from_trash"        // brought back from the source's trash: nothing was read for it
	CodeBeside        = "beside"            // brought back under a name of its own, since another file is at its place
	CodeNotAsRecorded = "not_as_recorded"   // what lies at the destination isn't what an earlier job proved there
	CodeHoldCalledOff = "hold_called_off"   // proved, and kept since its deletion was called off during the hold
	CodeNotSeenAgain  = "copy_not_seen"     // proved once, and kept since its copy couldn't be looked at again before the deletion
	CodeScrubMissing  = "scrub_missing"     // an offloaded file isn't at the destination any more
	CodeScrubDiffers  = "scrub_differs"     // what lies at the destination isn't what was proved there
	CodeScrubUnknown  = "scrub_unknown"     // whether an offloaded file is as it was proved can't be told by its record
	CodeDrifted       = "drifted"           // it isn't as the plan saw it any more, or what is at the destination isn't
)

// remedies says for each code what a person can do about it.
func remedies() map[string]string {
	return map[string]string{
		CodeSourceGone:    "If it was moved, start the job again to find it under its new name.",
		CodeSourceChanged: "Close the program that writes it and retry the job.",
		CodeChangedLater:  "Run the job again to copy the new version.",
		CodeCorrupt:       "Retry the job; if it happens again, check the network and the disk of this machine.",
		CodeRefused:       "Check the permissions of this file, then retry the job.",
		CodeFolderRefused: "See that the folder is there on the worker's machine and that its user may enter it and write to it, then retry the job.",
		CodeNameRefused:   "Rename the file and run the job again.",
		CodeTooLarge:      "Split the file, or choose another destination for it.",
		CodeEmptyRefused:  "Nothing is lost with an empty file; choose another destination if it matters.",
		CodeGaveUp:        "Check the connection and retry the job.",
		CodeKilledWorker:  "Look at the workers' logs and memory limits, then retry the job, or move the file by other means.",
		CodeSpoolFull:     "Make room there, or set --data to a folder on a larger disk, then retry the job.",
		CodeConflictKept:  "Use --conflict rename to keep both, or --conflict overwrite to replace it.",
		CodeConflictDir:   "Rename the folder or the file, or use --conflict rename.",
		CodeDestGone:      "Look in the destination's and the source's trash.",
		CodeDeleteFailed:  "Retry the job, or look at the copy and delete the file by hand.",
		CodeMaxDelete:     "Raise --max-delete and run the job again.",
		CodeMaxTransfer:   "Retry the job with a larger --max-transfer, or start another.",
		CodeWeakProof:     "Use a destination with hashes, or allow it with --min-grade C.",
		CodeSizeUntrusted: "Look at the copy, then delete the file by hand.",
		CodeShared:        "Ask its owner about it.",
		CodePackage:       "Look at the copy, then delete it by hand, or use --delete-packages.",
		CodeNotPurged:     "Empty the source's trash by hand to get the room back.",
		CodeDoubted:       "Look at the copy, then delete the file by hand.",
		CodeReadOnly:      "Delete it with the source's own program.",
		CodeSamePlace:     "Choose a destination outside of the source.",
		CodeNoMark:        "Look at the copy, then delete the file by hand.",
		CodeCopyGone:      "Look in the destination's trash.",
		CodeNotAsRecorded: "Look for the former version of the copy in the destination's history.",
		CodeFromTrash:     "Nothing is left to do.",
		CodeBeside:        "Compare the two files and keep the one that is wanted.",
		CodeHoldCalledOff: "Run the job again with --delete-source to delete it after all.",
		CodeNotSeenAgain:  "Check the connection to the destination and retry the job.",
		CodeScrubMissing:  "Bring it back with `offload restore` while it is in the source's trash, or look among the destination's deleted files.",
		CodeScrubUnknown:  "Look at the file by hand.",
		CodeScrubDiffers:  "Bring it back with `offload restore` while it is in the source's trash, or look in the destination's version history.",
		CodeDrifted:       "Make a new plan: it will show the file as it is now.",
		CodeNameCollision: "Rename one of the two files at the source and run the job again.",
		CodeDuplicateName: "Rename one of the files of this name at the source and run the job again.",
		CodeNameUnsafe:    "Rename it with the source's own program and run the job again.",
		CodeNotStorable:   "Nothing can be moved here: it holds no bytes to read, or the source keeps them to itself.",
		CodeNotFound:      "Check the path in the list of files, and run the job again.",
		CodeNotListed:     "Check the connection and run the job again.",
	}
}

// Remedy is one sentence on what to do about a code; "" for a code that has none.
func Remedy(code string) string { return remedies()[code] }

// sentence makes an Outcome.Reason: what happened to which file where, and what to do about it.
func sentence(code, remote, path, what string) string {
	s := fmt.Sprintf("%s: %s (%s).", path, WithoutQueries(what), remote)
	if r := Remedy(code); r != "" {
		s += " " + r
	}
	return s
}
