// Command offload moves files out of a full cloud into another one, proves that each of them arrived, and deletes it
// at the source only then, and only if asked to. `offload --help` lists its commands.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/rclone/rclone/lib/atexit"
)

func main() { os.Exit(mainStatus()) }

// mainStatus runs the program and returns its exit status.
func mainStatus() int {
	// rclone would otherwise exit the process by itself on a signal, in the middle of a file.
	atexit.IgnoreSignals()
	defer atexit.Run()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	a := &app{
		in: os.Stdin, out: os.Stdout, err: os.Stderr,
		terminal: isTerminal(os.Stdout) && isTerminal(os.Stderr),
		lookup:   os.LookupEnv, signals: signals, exit: os.Exit,
	}
	return a.run(context.Background(), os.Args[1:])
}
