package jobs

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestStateGraphInDocsIsTheTable(t *testing.T) {
	raw, err := os.ReadFile("../docs/state-machine.md")
	if err != nil {
		t.Fatal(err)
	}
	var drawn []string
	for _, m := range regexp.MustCompile(`(?m)^ +(\S+) --> (\S+)$`).FindAllStringSubmatch(string(raw), -1) {
		if m[1] != "[*]" && m[2] != "[*]" {
			drawn = append(drawn, m[1]+" "+m[2])
		}
	}
	var table []string
	for _, e := range transitions() {
		table = append(table, string(e.from)+" "+string(e.to))
	}
	slices.Sort(drawn)
	slices.Sort(table)
	if !slices.Equal(drawn, table) {
		t.Errorf("docs/state-machine.md draws\n%s\njobs/state.go has\n%s", strings.Join(drawn, "\n"), strings.Join(table, "\n"))
	}
	for _, e := range transitions() {
		if e.from.Terminal() && e.from != CompletedW && e.from != FailedState && e != (edge{Completed, Transferring}) {
			t.Errorf("%s is an end and has an edge to %s", e.from, e.to)
		}
		if e.to.Terminal() && e.to.Runs() {
			t.Errorf("%s is an end and runs", e.to)
		}
	}
}

// Every change that a script makes on its own is an edge of the table.
func TestScriptsOnlyTakeEdgesOfTheTable(t *testing.T) {
	taken := map[string][]edge{ // what the scripts' move() calls may do, by reading them
		"claim":      {{Queued, Scanning}},
		"scan_done":  {{Scanning, Transferring}},
		"advance":    {{Transferring, Finishing}, {Transferring, Waiting}},
		"giveback":   {{Queued, Waiting}, {Scanning, Waiting}, {Transferring, Waiting}, {Finishing, Waiting}},
		"restart":    {{Completed, Transferring}, {CompletedW, Transferring}, {CompletedW, Scanning}, {FailedState, Transferring}, {FailedState, Scanning}},
		"resume":     {{Paused, Queued}, {Paused, Scanning}, {Paused, Transferring}, {Paused, Finishing}, {Waiting, Queued}, {Waiting, Finishing}},
		"transition": {{Finishing, Completed}, {Finishing, CompletedW}, {Scanning, FailedState}, {Transferring, Canceled}, {Waiting, Canceled}},
	}
	for name, edges := range taken {
		for _, e := range edges {
			if !slices.Contains(transitions(), e) {
				t.Errorf("%s takes %s to %s, which the table doesn't have", name, e.from, e.to)
			}
		}
	}
}

func TestFrom(t *testing.T) {
	if got := from(Canceled); got != "|queued|scanning|transferring|finishing|waiting|paused|" {
		t.Errorf("canceled is reached from %s", got)
	}
	if got := from(Queued); strings.Contains(got, "completed") || strings.Contains(got, "failed") {
		t.Errorf("queued is reached from %s", got)
	}
}
