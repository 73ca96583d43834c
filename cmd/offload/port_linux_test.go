package main

import (
	"os"
	"syscall"
)

// takePort keeps a port of this machine from being given to a connection as its own end, until free is called: it is bound, and
// nobody listens, so that a server may have it all the same. It fails where the port is in use.
func takePort(port int) (free func(), err error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	free = func() { _ = syscall.Close(fd) } // nothing was written
	if err = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err == nil {
		err = syscall.Bind(fd, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
	}
	if err != nil {
		free()
		return nil, os.NewSyscallError("bind", err)
	}
	return free, nil
}
