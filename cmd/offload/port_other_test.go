//go:build !linux

package main

import (
	"fmt"
	"net"
)

// takePort finds out whether a port of this machine can be had. What may be given it meanwhile isn't kept away here.
func takePort(port int) (free func(), err error) {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return nil, err
	}
	return func() {}, l.Close()
}
