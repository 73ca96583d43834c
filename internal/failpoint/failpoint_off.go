//go:build !failpoint

// Package failpoint marks the steps of a move at which the crash tests kill the process. In the program that people run
// the marks do nothing; only a binary that was built with the tag "failpoint" obeys them (failpoint_on.go).
package failpoint

// At marks a step.
func At(string) {}

// File marks the beginning of work on a file.
func File(string) {}
