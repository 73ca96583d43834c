package browser

import (
	"os/exec"
	"syscall"
)

// dieWithParent has the kernel kill the child when this process dies, so that a killed test run leaves nothing behind.
func dieWithParent(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
