package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"offload/dashboard/live"
	"offload/jobs"
	"offload/quota"
)

// aView is a view of three jobs, one of which has a name that would write over the screen.
func aView() *live.Snapshot {
	s := &live.Snapshot{Quotas: []quota.Status{{Account: "anna", Limit: 5 << 30, TimeZone: "UTC"}, {Account: "default", Limit: -1}}}
	s.At = time.Now()
	s.Counts = map[jobs.State]int64{jobs.Transferring: 1, jobs.Waiting: 2}
	for _, j := range []jobs.Job{{ID: "A", State: jobs.Transferring, Source: "icloud:\x1b[2J\nx", Account: "anna"}, {ID: "B", State: jobs.Waiting, Account: "anna"},
		{ID: "C", State: jobs.Waiting, Account: "default"}} {
		s.Live = append(s.Live, jobs.Progress{Job: j})
	}
	return s
}

func TestWatchLines(t *testing.T) {
	text := strings.Join(watchLines(aView(), jobs.ListOptions{}, 40), "\n")
	for _, want := range []string{"1 running, 0 queued, 2 waiting", "account anna", "\nA ", "\nB ", "\nC "} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	if strings.Contains(text, "\x1b") || strings.Contains(text, "account default") {
		t.Errorf("too much in\n%q", text)
	}
	text = strings.Join(watchLines(aView(), jobs.ListOptions{Account: "default", States: []jobs.State{jobs.Waiting}}, 40), "\n")
	if strings.Contains(text, "\nA ") || strings.Contains(text, "\nB ") || !strings.Contains(text, "\nC ") {
		t.Errorf("chosen wrongly:\n%s", text)
	}
	if lines := watchLines(aView(), jobs.ListOptions{}, 5); len(lines) > 5 || !strings.Contains(lines[4], "and 3 more") {
		t.Errorf("a low screen: %q", lines)
	}
	if text := strings.Join(watchLines(&live.Snapshot{Err: errors.New("x")}, jobs.ListOptions{}, 40), "\n"); !strings.Contains(text, "doesn't answer") || !strings.Contains(text, "No job") {
		t.Errorf("an empty view:\n%s", text)
	}
}

func TestScreenPaintsOverWhatWasThere(t *testing.T) {
	var b bytes.Buffer
	s := &screen{out: &b}
	for _, lines := range [][]string{{"one", "two"}, {"a line that is longer than the screen"}} {
		if err := s.paint(lines, 10); err != nil {
			t.Fatal(err)
		}
	}
	if want := "one\x1b[K\ntwo\x1b[K\n\x1b[J\x1b[2A\ra line tha\x1b[K\n\x1b[J"; b.String() != want {
		t.Errorf("%q", b.String())
	}
}

func TestChangedLinesSayOnlyWhatChanged(t *testing.T) {
	var b bytes.Buffer
	a := &app{out: &b}
	for range 3 {
		show := a.changedLines(jobs.ListOptions{Account: "anna"})
		if err := show(aView()); err != nil {
			t.Fatal(err)
		}
		if err := show(aView()); err != nil { // too soon
			t.Fatal(err)
		}
	}
	if n := strings.Count(b.String(), "\n"); n != 6 || strings.Contains(b.String(), "\nC ") {
		t.Errorf("%d lines: %q", n, b.String())
	}
}
