package doctor

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"offload/internal/human"
)

// Where Apple tells how its services do. Neither the address nor the form is documented: programs that read it agree on a
// list of services, each with a list of events, which is empty where all is well.
const (
	statusHost = "www.apple.com"
	statusPath = "/support/systemstatus/data/system_status_en_US.js"
)

// statusTime bounds the look at it: it is the least of all checks.
const statusTime = 5 * time.Second

func (p Patient) askStatus(ctx context.Context) (pulse, error) {
	ctx, cancel := context.WithTimeout(ctx, statusTime)
	defer cancel()
	return p.ask(ctx, statusHost, statusPath)
}

// service is one entry of the list.
type service struct {
	Name   string  `json:"serviceName"`
	Events []event `json:"events"`
}

// event is something that happens, or happened, to a service. Fields that aren't read are left out.
type event struct {
	Status  string `json:"eventStatus"` // "ongoing", "resolved", "upcoming", "completed", "scheduled"
	Type    string `json:"statusType"`  // "Outage", "Issue", "Maintenance"
	Message string `json:"message"`
	Users   string `json:"usersAffected"`
	EndDate string `json:"endDate"`
}

// active tells whether it goes on now. The form of events that go on was never seen by whoever wrote of it: what isn't said
// to be over, or to come, goes on.
func (e event) active() bool {
	switch strings.ToLower(strings.TrimSpace(e.Status)) {
	case "resolved", "completed", "upcoming", "scheduled":
		return false
	case "":
		return e.EndDate == ""
	}
	return true
}

// concerned are the services that a backup, or this program, needs.
func concerned(name string) bool {
	return slices.Contains([]string{"icloud backup", "icloud drive", "icloud account & sign in", "apple id", "apple account"}, strings.ToLower(strings.TrimSpace(name)))
}

// readStatus reads the list leniently: plain JSON, or wrapped in a call, with whatever else in it. A service whose events
// have another form than known is left out.
func readStatus(body []byte) ([]service, error) {
	body = bytes.TrimPrefix(bytes.TrimSpace(body), []byte("\xef\xbb\xbf"))
	from, to := bytes.IndexByte(body, '{'), bytes.LastIndexByte(body, '}')
	if from < 0 || to < from {
		return nil, fmt.Errorf("it is no list of services")
	}
	var doc struct {
		Services []json.RawMessage `json:"services"`
	}
	if err := json.Unmarshal(body[from:to+1], &doc); err != nil {
		return nil, fmt.Errorf("it is no list of services")
	}
	var all []service
	for _, raw := range doc.Services {
		var s service
		if json.Unmarshal(raw, &s) == nil && s.Name != "" {
			all = append(all, s)
		}
	}
	return all, nil
}

// checkStatus tells what Apple says of its services.
func checkStatus(ctx context.Context, ask func(context.Context) (pulse, error)) result {
	const id, what = "apple_status", "Apple's system status couldn't be read"
	a, err := ask(ctx)
	if err != nil {
		return unseen(id, what, "www.apple.com gives no answer; www.apple.com/support/systemstatus shows it in a browser")
	}
	if a.status != http.StatusOK {
		return unseen(id, what, fmt.Sprintf("www.apple.com answers with %d", a.status))
	}
	services, err := readStatus(a.body)
	if err != nil {
		return unseen(id, what, err.Error())
	}
	var r result
	known := 0
	for _, s := range services {
		if !concerned(s.Name) {
			continue
		}
		known++
		for _, e := range s.Events {
			if e.active() {
				r.findings = append(r.findings, trouble(id, s.Name, e))
			}
		}
	}
	switch {
	case len(r.findings) > 0:
	case known == 0:
		return unseen(id, what, "none of the services that a backup needs is in it")
	default:
		r.findings = []Finding{{ID: id, Level: OK, What: "Apple reports no trouble with iCloud Backup, iCloud Drive and signing in",
			Why: "it tends to be late: what Apple doesn't know yet isn't there"}}
	}
	return r
}

// trouble is the finding of an event.
func trouble(id, name string, e event) Finding {
	f := Finding{ID: id, Level: Warning, Steps: []string{"Wait until Apple has mended it: www.apple.com/support/systemstatus"}}
	if strings.EqualFold(strings.TrimSpace(e.Type), "outage") && strings.EqualFold(name, "iCloud Backup") {
		f.Level = Problem
	}
	f.What = fmt.Sprintf("Apple reports trouble with %s (%s)", human.Printable(name), human.Printable(cmp.Or(e.Type, "no kind given")))
	text := human.Printable(cmp.Or(e.Message, e.Users))
	if r := []rune(text); len(r) > 300 {
		text = string(r[:300]) + "..."
	}
	f.Why = text
	return f
}
