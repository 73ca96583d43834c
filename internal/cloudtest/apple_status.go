package cloudtest

import (
	"encoding/json"
	"net/http"
	"slices"
	"sync"
	"time"
)

const appleHost = "www.apple.com"

// Apple plays the list of services that Apple publishes. Its form isn't documented: it is played as those programs tell it
// that read it. Without an Event all services do well.
type Apple struct {
	w        *World
	mu       sync.Mutex
	events   map[string][]ServiceEvent
	callback string
	table    []*endpoint
}

// ServiceEvent is what happens to one of Apple's services.
type ServiceEvent struct {
	Type    string // "Outage", "Issue", "Maintenance"
	Status  string // "ongoing", "resolved", "upcoming", "completed"
	Message string
	Started time.Time
	Ended   time.Time // zero where it goes on
}

// appleServices are the names of those services that have to do with iCloud, and some that haven't.
func appleServices() []string {
	return []string{"App Store", "Apple Account", "Apple Cash", "FaceTime", "iCloud Account & Sign In", "iCloud Backup", "iCloud Bookmarks & Tabs",
		"iCloud Calendar", "iCloud Contacts", "iCloud Drive", "iCloud Keychain", "iCloud Mail", "iCloud Notes", "iCloud Private Relay",
		"iCloud Reminders", "iCloud Storage Upgrades", "iCloud Web Apps (iCloud.com)", "iMessage", "iWork for iCloud", "Photos"}
}

func newApple(w *World) *Apple {
	a := &Apple{w: w, events: map[string][]ServiceEvent{}}
	a.table = []*endpoint{{name: "apple:systemStatus", serve: a.status, delay: func(l Latency) time.Duration { return l.Meta }}}
	return a
}

// SetEvents sets what happens to a service; none is that it does well.
func (a *Apple) SetEvents(service string, events ...ServiceEvent) {
	if !slices.Contains(appleServices(), service) {
		panic("cloudtest: Apple has no service " + service)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.events[service] = events
}

// SetCallback wraps the list in a call, as Apple does with the list for developers; "" is plain JSON.
func (a *Apple) SetCallback(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.callback = name
}

func (a *Apple) name() string           { return "apple" }
func (a *Apple) plays(host string) bool { return host == appleHost }
func (a *Apple) endpoints() []*endpoint { return a.table }
func (a *Apple) limit() (n, status int) { return 0, 0 }
func (a *Apple) refusal(*endpoint, int) (http.Header, string) {
	return http.Header{"Content-Type": {"text/html"}}, "<html><body>This page can't be found.</body></html>"
}

func (a *Apple) route(r *http.Request) *endpoint {
	if r.URL.Path == "/support/systemstatus/data/system_status_en_US.js" {
		return a.table[0]
	}
	return nil
}

// status answers with the list.
func (a *Apple) status(rw http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		answer(rw, http.StatusMethodNotAllowed, nil, "")
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	services := []any{}
	for i, name := range appleServices() {
		events := []any{}
		for n, e := range a.events[name] {
			events = append(events, eventDoc(n, e))
		}
		var redirect any
		if i%5 == 0 {
			redirect = "https://www.apple.com/support/"
		}
		services = append(services, map[string]any{"redirectUrl": redirect, "serviceName": name, "events": events})
	}
	doc, err := json.Marshal(map[string]any{"drpost": false, "services": services})
	if err != nil {
		http.Error(rw, "can't encode answer", http.StatusInternalServerError)
		return
	}
	body := string(doc)
	if a.callback != "" {
		body = a.callback + "(" + body + ");"
	}
	answer(rw, http.StatusOK, http.Header{"Content-Type": {"application/x-javascript"}}, body)
}

// eventDoc is an event as Apple writes it.
func eventDoc(n int, e ServiceEvent) map[string]any {
	const form = "01/02/2006 15:04 PST"
	doc := map[string]any{"messageId": 1000 + n, "statusType": e.Type, "eventStatus": e.Status, "message": e.Message,
		"usersAffected": "Some users are affected", "affectedServices": nil, "datePosted": e.Started.Format(form),
		"startDate": e.Started.Format(form), "epochStartDate": e.Started.UnixMilli(), "endDate": nil, "epochEndDate": nil}
	if !e.Ended.IsZero() {
		doc["endDate"], doc["epochEndDate"] = e.Ended.Format(form), e.Ended.UnixMilli()
	}
	return doc
}
