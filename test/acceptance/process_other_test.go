//go:build !linux

package acceptance

import "os/exec"

// dieWithParent does nothing where the kernel can't: the tests' own clean-up ends the child.
func dieWithParent(*exec.Cmd) {}

// apart can't be done here.
func apart(*exec.Cmd) bool { return false }
