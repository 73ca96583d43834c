package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"offload/configs"
	"offload/jobs"
	"offload/quota"
	"offload/transfer"
)

// The exit statuses. Scripts rely on them (DESIGN.md section 9).
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitWarnings    = 3
	exitWaiting     = 4
	exitInterrupted = 130
)

// exitStatuses explains every exit status, for the EXIT STATUS section of each command's help.
func exitStatuses() []string {
	line := func(status int, meaning string) string { return fmt.Sprintf("%-4d %s", status, meaning) }
	return []string{
		line(exitDone, "done"),
		line(exitFailed, "failed"),
		line(exitUsage, "usage or configuration is wrong; nothing was changed"),
		line(exitWarnings, "completed with warnings: something failed or was set aside"),
		line(exitWaiting, "the job waits for a person or a later time (quota, sign-in, space, window)"),
		line(exitInterrupted, "interrupted; the job is kept and can be resumed"),
	}
}

// statusOf is the exit status of a command that follows a job to its end or to where it waits.
func statusOf(job jobs.Job) int {
	switch job.State {
	case jobs.Completed:
		return exitDone
	case jobs.CompletedW:
		return exitWarnings
	case jobs.FailedState, jobs.Canceled:
		return exitFailed
	default:
		return exitWaiting
	}
}

// statusError ends a command with a status of its own, after it has said everything itself.
type statusError int

func (s statusError) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// status returns nil for 0, so that a command can end with `return status(n)`.
func status(n int) error {
	if n == exitDone {
		return nil
	}
	return statusError(n)
}

// hintError is an error with its remedy. Usage marks the user's mistakes.
type hintError struct {
	err   error
	hint  string
	usage bool
}

func (e *hintError) Error() string { return e.err.Error() }
func (e *hintError) Unwrap() error { return e.err }

// usageError is a mistake on the command line: exit status 2.
func usageError(hint, format string, args ...any) error {
	return &hintError{err: fmt.Errorf(format, args...), hint: hint, usage: true}
}

// failure is an error with a remedy: exit status 1.
func failure(hint string, err error) error { return &hintError{err: err, hint: hint} }

// explain turns any error into the exit status, the line for people, and the hint.
func explain(err error) (code int, message, hint string) {
	code, hint = exitFailed, "run it again with --log-level debug to see more"
	var (
		hinted *hintError
		order  *jobs.OrderError
		input  *quota.InputError
		full   *quota.NoQuotaError
		file   *configs.FileError
		field  *configs.FieldError
	)
	switch {
	case errors.Is(err, errInterrupted):
		code = exitInterrupted
		if errors.As(err, &hinted) {
			hint = hinted.hint
		}
	case errors.As(err, &full):
		// Whatever wraps it says how a remote answered, while it wasn't even asked.
		return exitWaiting, oneLine(full.Error()), "`offload quota show` says when the allowance begins anew"
	case errors.As(err, &hinted):
		hint = hinted.hint
		if hinted.usage {
			code = exitUsage
		}
	case errors.As(err, &order):
		code, hint = exitUsage, orDefault(order.Hint, "`offload run --help` explains "+order.Field)
		if isNetwork(err) {
			code = exitFailed // the order may be right: the remote can't be reached now
		}
		if errors.Is(err, transfer.ErrNoQuota) {
			code = exitWaiting // the order may be right: the remote may not be asked now
		}
		if transfer.SignInRefused(context.Background(), err) != "" {
			code = exitWaiting // nothing was accepted; a person has to sign in first
		}
	case errors.As(err, &input):
		code, hint = exitUsage, orDefault(input.Hint, "`offload quota set --help` explains "+input.Field)
	case errors.As(err, &file):
		code, hint = exitUsage, file.Hint
	case errors.As(err, &field):
		code, hint = exitUsage, field.Hint
	case errors.Is(err, jobs.ErrNotFound):
		code, hint = exitUsage, "`offload jobs list` shows the jobs"
	case errors.Is(err, jobs.ErrRunning):
		hint = "`offload jobs watch ID` follows it; `offload jobs cancel ID` ends it"
	case errors.Is(err, jobs.ErrState):
		hint = "`offload jobs show ID` shows the job's state"
	case errors.Is(err, quota.ErrNoQuota), errors.Is(err, transfer.ErrNoQuota):
		code, hint = exitWaiting, "`offload quota show` says when the allowance begins anew"
	}
	message = err.Error()
	if order != nil && order.Value != "" {
		message = fmt.Sprintf("%s %s: %v", order.Field, configs.Quote(order.Value), order.Err)
	}
	return code, oneLine(transfer.WithoutQueries(message)), oneLine(hint)
}

// isNetwork tells whether the cause lies between here and the remote.
func isNetwork(err error) bool {
	var n net.Error
	return errors.As(err, &n)
}

func orDefault(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}

// oneLine joins the lines of a message and escapes control characters, so that one error stays one line.
func oneLine(s string) string {
	var parts []string
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(line); line != "" {
			parts = append(parts, line)
		}
	}
	return printable(strings.Join(parts, "; "))
}
