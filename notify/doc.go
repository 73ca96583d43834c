// Package notify tells people what happens: by mail, ntfy, Slack, Telegram, a webhook and what else the library shoutrrr
// speaks. What is news is jobs' business; this package writes the texts and sends them.
//
// # Guarantees
//
// News are kept in the store with the place up to where each target was told. One process at a time claims what a target
// wasn't told yet, sends it as one message, and moves the place. A process that dies between the two has that one message
// sent again; none is lost. Two processes never send the same news while both live. Targets don't wait for each other. A
// target that can't be reached is tried again after a minute, later after an hour; news that nobody took for a day are
// given up, with a line in the log.
//
// # Secrets
//
// The address of a target holds tokens and passwords, and so do the library's errors. No error of this package, and
// nothing that it logs, repeats any part of an address but the service (mask.go).
//
// # Texts
//
// What stands in a message goes through services that others run: paths, names of files and the texts of errors are left
// out unless the configuration asks for details.
package notify
