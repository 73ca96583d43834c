package acceptance

import (
	"os"
	"os/exec"
	"syscall"
)

// dieWithParent has the kernel kill the child when this process dies, so that a killed test run leaves no server behind.
func dieWithParent(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// apart gives the child a set of process IDs of its own, as a container has it: its neighbours can't see that it died.
// Only root may; it tells whether it is so.
func apart(cmd *exec.Cmd) bool {
	dieWithParent(cmd)
	if os.Geteuid() != 0 {
		return false
	}
	cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWPID
	return true
}
