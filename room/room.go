// Package room chooses what to offload until so much of an account's storage is free, and tells how far that went.
package room

import "offload/jobs"

// Goal is how much is to be free, and what may be offloaded for it.
type Goal = jobs.Goal

// The orders of choosing: which files go first. docs/room.md states each rule.
const (
	Oldest  = "oldest"
	Largest = "largest"
	Fewest  = "fewest"
)
