//go:build !failpoint

package transfer

// failpoint marks a step at which the crash tests kill the process (failpoint_on.go). Here it does nothing.
func failpoint(string) {}
