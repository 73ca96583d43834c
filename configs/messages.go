package configs

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
)

// Messages says who is told what happens.
type Messages struct {
	// Targets are told, each at most once in a while. Defaults to none: no messages.
	Targets []MessageTarget `yaml:"targets" json:"targets"`
	// Every is the least time between two messages to a target; what happens meanwhile comes in one message. Defaults to 10m.
	Every Duration `yaml:"every" json:"every"`
	// Idle is how long nothing may move, though there is work, before somebody is told. Defaults to 3d.
	Idle Duration `yaml:"idle" json:"idle"`
	// Link is the address of the dashboard, for links in messages. Defaults to "", no links.
	Link string `yaml:"link" json:"link"`
	// Details puts paths and the texts of errors into messages, which may hold names of files. Defaults to false.
	Details bool `yaml:"details" json:"details"`
}

// MessageTarget is one place that messages go to.
type MessageTarget struct {
	Name string `yaml:"name" json:"name"`
	// URL is the address in the form of its service; it holds secrets.
	URL string `yaml:"url,omitempty" json:"url,omitempty"`
	// URLFile holds the address, in place of URL.
	URLFile string `yaml:"url_file,omitempty" json:"url_file,omitempty"`
	// Events are the kinds of news to tell. Defaults to all.
	Events []string `yaml:"events,omitempty" json:"events,omitempty"`
	// Accounts are those whose news to tell. Defaults to all, and what concerns no account.
	Accounts []string `yaml:"accounts,omitempty" json:"accounts,omitempty"`
}

// EnvTarget is the name of the target that OFFLOAD_MESSAGES_URL makes.
const EnvTarget = "default"

// Bounds of the settings of messages.
const (
	maxTargets = 50
	minEvery   = time.Minute
	maxEvery   = 7 * 24 * time.Hour
	minIdle    = time.Hour
	maxIdle    = 365 * 24 * time.Hour
	maxURLFile = 8 << 10
)

// MessageEvents are the kinds of news that a target can name.
func MessageEvents() []string {
	return []string{"finished", "warnings", "failed", "waits", "quota", "sign_in", "idle", "worker", "store", "scrub", "schedule"}
}

// MessageServices are the services that messages can go to, as an address begins.
func MessageServices() []string {
	return []string{"bark", "discord", "generic", "googlechat", "gotify", "hangouts", "ifttt", "join", "lark", "matrix", "mattermost",
		"notifiarr", "ntfy", "opsgenie", "pagerduty", "pushbullet", "pushover", "rocketchat", "signal", "slack", "smtp", "teams",
		"telegram", "wecom", "zulip"}
}

func (m Messages) withDefaults() Messages {
	if m.Targets == nil {
		m.Targets = []MessageTarget{}
	}
	setDefault(&m.Every, Duration(10*time.Minute))
	setDefault(&m.Idle, Duration(3*24*time.Hour))
	return m
}

// masked returns m without secrets.
func (m Messages) masked() Messages {
	m.Targets = slices.Clone(m.Targets)
	for i := range m.Targets {
		m.Targets[i].URL = MaskMessageURL(m.Targets[i].URL)
	}
	m.Link = MaskURL(m.Link)
	return m
}

// MaskMessageURL returns the service of an address and nothing else: all of the rest can be secret.
func MaskMessageURL(raw string) string {
	if raw == "" {
		return ""
	}
	scheme, _, _ := strings.Cut(raw, "://")
	if !slices.Contains(MessageServices(), messageService(scheme)) {
		return "***"
	}
	return messageService(scheme) + "://***"
}

// messageService is the service of a scheme, such as generic of generic+https.
func messageService(scheme string) string {
	name, _, _ := strings.Cut(strings.ToLower(scheme), "+")
	return name
}

func (m Messages) validate(add func(field, value, problem, hint string)) {
	if n := len(m.Targets); n > maxTargets {
		add("messages.targets", fmt.Sprint(n), fmt.Sprintf("targets are more than %d", maxTargets), "leave some out")
	}
	seen := map[string]bool{}
	for i, t := range m.Targets {
		field := fmt.Sprintf("messages.targets[%d]", i)
		switch {
		case !accountName.MatchString(t.Name):
			add(field+".name", t.Name, "is no name of a target", "use up to 64 of a-z 0-9 . _ -")
		case seen[t.Name]:
			add(field+".name", t.Name, "is there twice", "give each target a name of its own")
		}
		seen[t.Name] = true
		t.validate(field, add)
	}
	between := func(field string, d Duration, least, most time.Duration) {
		if time.Duration(d) < least || time.Duration(d) > most {
			add(field, d.String(), fmt.Sprintf("is not from %s to %s", Duration(least), Duration(most)), "choose a duration in that range")
		}
	}
	between("messages.every", m.Every, minEvery, maxEvery)
	between("messages.idle", m.Idle, minIdle, maxIdle)
	if problem := checkLink(m.Link); problem != "" {
		add("messages.link", "", problem, "write the address of the dashboard, such as https://offload.example.org")
	}
}

func (t MessageTarget) validate(field string, add func(field, value, problem, hint string)) {
	switch {
	case t.URL == "" && t.URLFile == "":
		add(field+".url", "", "the address is missing", "write url or url_file; docs/messages.md shows the forms")
	case t.URL != "" && t.URLFile != "":
		add(field+".url", "", "stands beside url_file", "write one of the two")
	case t.URL != "":
		if problem := CheckMessageURL(t.URL); problem != "" {
			add(field+".url", "", problem, "docs/messages.md shows the forms")
		}
	case strings.ContainsRune(t.URLFile, 0):
		add(field+".url_file", t.URLFile, "is no file name", "name the file with the address")
	}
	for _, e := range t.Events {
		if !slices.Contains(MessageEvents(), e) {
			add(field+".events", e, "is none of "+strings.Join(MessageEvents(), ", "), "choose some of them, or leave it out for all")
		}
	}
	for _, a := range t.Accounts {
		if !accountName.MatchString(a) {
			add(field+".accounts", a, "is no account name", "use up to 64 of a-z 0-9 . _ -")
		}
	}
}

// CheckMessageURL returns what is wrong with the form of an address, "" for nothing. It never repeats any part of it but
// the service.
func CheckMessageURL(raw string) string {
	u, err := url.Parse(raw)
	scheme, _, found := strings.Cut(raw, "://")
	if err != nil || !found || u.Scheme == "" {
		return "is no address of the form service://..."
	}
	if !slices.Contains(MessageServices(), messageService(scheme)) {
		return "names none of the services " + strings.Join(MessageServices(), ", ")
	}
	return ""
}

func checkLink(raw string) string {
	if raw == "" {
		return ""
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return "is no http or https address"
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "holds more than host and path"
	}
	return ""
}

// Address returns the address of a target, from its file where it stands in one.
func (t MessageTarget) Address() (string, error) {
	if t.URLFile == "" {
		return t.URL, nil
	}
	bad := func(problem, hint string) error {
		return &FieldError{Field: "messages.targets." + t.Name + ".url_file", Value: t.URLFile, Err: errors.New(problem), Hint: hint}
	}
	info, err := os.Stat(t.URLFile)
	if err == nil && (!info.Mode().IsRegular() || info.Size() > maxURLFile) {
		return "", bad("is no file with an address", "name a file that holds the address and nothing else")
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(t.URLFile)
	}
	if err != nil {
		return "", bad("can't be read: "+reason(err).Error(), "name a file that this user can read")
	}
	raw := strings.TrimSpace(string(text))
	if problem := CheckMessageURL(raw); problem != "" || strings.ContainsAny(raw, "\r\n") {
		if problem == "" {
			problem = "holds more than one line"
		}
		return "", bad("what it holds "+problem, "docs/messages.md shows the forms")
	}
	return raw, nil
}
