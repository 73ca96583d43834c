package transfer

import "time"

// DeletePolicy says when a source file may be deleted.
type DeletePolicy string

// The delete policies.
const (
	DeleteNever    DeletePolicy = "never"    // keep every source file
	DeleteVerified DeletePolicy = "verified" // delete each file as soon as it is proved
	DeleteComplete DeletePolicy = "complete" // delete only when every file of the job is proved
)

// Conflict says what to do when the destination already holds different content under a name.
type Conflict string

// The conflict policies.
const (
	ConflictRename    Conflict = "rename"    // keep both: the new one gets a name of its own
	ConflictSkip      Conflict = "skip"      // keep the source file, copy nothing
	ConflictOverwrite Conflict = "overwrite" // replace what is there
)

// Order says in which order files are moved.
type Order string

// The orders. The zero value moves files as they are found.
const (
	OrderFound   Order = ""
	OrderLargest Order = "largest"
	OrderOldest  Order = "oldest"
	OrderName    Order = "name"
)

// Options of a transfer. The zero value copies everything, deletes nothing and keeps both files on a conflict.
type Options struct {
	DeleteSource   DeletePolicy  `json:"delete_source"`             // Defaults to never.
	MinGrade       Grade         `json:"min_grade,omitempty"`       // Weakest grade that allows a deletion. Defaults to B.
	Hold           time.Duration `json:"hold,omitempty"`            // Wait between proof and deletion. Defaults to 0, none.
	PurgeTrash     bool          `json:"purge_trash,omitempty"`     // Remove from the source's trash what this job put there.
	DeletePackages bool          `json:"delete_packages,omitempty"` // Delete packages (Pages, Keynote...) too.
	Conflict       Conflict      `json:"conflict,omitempty"`        // Defaults to rename.
	Include        []string      `json:"include,omitempty"`         // rclone's filter patterns.
	Exclude        []string      `json:"exclude,omitempty"`         // rclone's filter patterns; exclude wins.
	// Filter are rclone's filter rules in their order, "+ *.jpg", "- *", "!": the first that matches decides. They don't go
	// with Include and Exclude.
	Filter           []string      `json:"filter,omitempty"`
	ExcludeIfPresent []string      `json:"exclude_if_present,omitempty"` // No folders that hold a file of such a name.
	ModifiedFrom     time.Time     `json:"modified_from,omitzero"`       // Only files modified then or later. Zero is off.
	ModifiedTo       time.Time     `json:"modified_to,omitzero"`         // Only files modified then or earlier. Zero is off.
	MinAge           time.Duration `json:"min_age,omitempty"`            // Only files at least this old. 0 is off.
	MaxAge           time.Duration `json:"max_age,omitempty"`            // Only files at most this old. 0 is off.
	MinSize          int64         `json:"min_size,omitempty"`           // Only files of at least so many bytes. 0 is off.
	MaxSize          int64         `json:"max_size,omitempty"`           // Only files of at most so many bytes. 0 is off.
	FilesFrom        []string      `json:"files_from,omitempty"`         // Only these paths. Empty is off.
	Order            Order         `json:"order,omitempty"`              // Defaults to the order of finding.
}

// WithDefaults returns o with every zero option set to its default.
func (o Options) WithDefaults() Options {
	if o.DeleteSource == "" {
		o.DeleteSource = DeleteNever
	}
	if o.MinGrade == "" {
		o.MinGrade = GradeB
	}
	if o.Conflict == "" {
		o.Conflict = ConflictRename
	}
	return o
}

// Deletes tells whether the options ask for source files to be deleted.
func (o Options) Deletes() bool {
	return o.DeleteSource == DeleteVerified || o.DeleteSource == DeleteComplete
}
