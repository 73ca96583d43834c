//go:build !linux

package browser

import "os/exec"

// dieWithParent does nothing where the kernel can't: the tests' own clean-up ends the child.
func dieWithParent(*exec.Cmd) {}
