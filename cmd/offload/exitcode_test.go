package main

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"offload/configs"
	"offload/jobs"
	"offload/quota"
	"offload/transfer"
)

func TestStatusOf(t *testing.T) {
	for state, want := range map[jobs.State]int{
		jobs.Completed: 0, jobs.CompletedW: 3, jobs.FailedState: 1, jobs.Canceled: 1, jobs.Waiting: 4, jobs.Paused: 4,
	} {
		if got := statusOf(jobs.Job{State: state}); got != want {
			t.Errorf("a job that is %s ends with %d; want %d", state, got, want)
		}
	}
}

func TestExplain(t *testing.T) {
	cause := errors.New("cause")
	refused := &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	tests := map[string]struct {
		err  error
		code int
		hint string
	}{
		"anything":         {cause, 1, "--log-level debug"},
		"usage":            {fmt.Errorf("x: %w", usageError("do this", "wrong")), 2, "do this"},
		"failure":          {failure("do that", cause), 1, "do that"},
		"order":            {fmt.Errorf("x: %w", &jobs.OrderError{Field: "source", Value: "a:", Hint: "mend it", Err: cause}), 2, "mend it"},
		"order, no hint":   {&jobs.OrderError{Field: "window", Err: cause}, 2, "run --help"},
		"remote away":      {&jobs.OrderError{Field: "source", Hint: "h", Err: refused}, 1, "h"},
		"quota input":      {&quota.InputError{Field: "plan", Hint: "name one", Err: cause}, 2, "name one"},
		"settings":         {errors.Join(&configs.FieldError{Field: "fsync", Err: cause, Hint: "choose"}, cause), 2, "choose"},
		"settings file":    {&configs.FileError{File: "x", Line: 3, Err: cause, Hint: "look"}, 2, "look"},
		"no such job":      {fmt.Errorf("job x: %w", jobs.ErrNotFound), 2, "jobs list"},
		"state":            {fmt.Errorf("job x: %w", jobs.ErrState), 1, "jobs show"},
		"running":          {fmt.Errorf("job x: %w", jobs.ErrRunning), 1, "jobs watch"},
		"no quota":         {fmt.Errorf("x: %w", quota.ErrNoQuota), 4, "quota show"},
		"no calls left":    {&jobs.OrderError{Field: "source", Hint: "h", Err: fmt.Errorf("list a: %w", transfer.ErrNoQuota)}, 4, "h"},
		"limit reached":    {failure("no", fmt.Errorf("x: %w", &quota.NoQuotaError{Subject: "anna", Need: 2, Limit: 1})), 4, "quota show"},
		"interrupted":      {fmt.Errorf("x: %w", errInterrupted), 130, ""},
		"interrupted hint": {&hintError{err: errInterrupted, hint: "again"}, 130, "again"},
	}
	for name, tt := range tests {
		code, message, hint := explain(tt.err)
		if code != tt.code || message == "" || !strings.Contains(hint, tt.hint) {
			t.Errorf("%s: %d, %q, %q; want %d and a hint with %q", name, code, message, hint, tt.code, tt.hint)
		}
	}
	if _, message, _ := explain(errors.New("two\nlines\x1b[2J")); strings.ContainsAny(message, "\n\x1b") {
		t.Errorf("%q isn't one harmless line", message)
	}
}

func TestEveryExitStatusIsExplained(t *testing.T) {
	text := strings.Join(exitStatuses(), "\n")
	for _, code := range []int{exitDone, exitFailed, exitUsage, exitWarnings, exitWaiting, exitInterrupted} {
		if !strings.Contains(text, fmt.Sprintf("%-4d ", code)) {
			t.Errorf("exit status %d isn't explained", code)
		}
	}
}
