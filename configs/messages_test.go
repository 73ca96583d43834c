package configs

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestMessagesAreRead reads every setting of messages.
func TestMessagesAreRead(t *testing.T) {
	got, err := Parse("x.yaml", []byte(`messages:
  targets:
    - {name: phone, url: "ntfy://ntfy.sh/topic", events: [failed, waits], accounts: [anna]}
    - name: mail
      url_file: /run/secrets/mail
  every: 1h # not more often
  idle: 1w
  link: https://offload.example/x
  details: true
`))
	want := Messages{Targets: []MessageTarget{{Name: "phone", URL: "ntfy://ntfy.sh/topic", Events: []string{"failed", "waits"}, Accounts: []string{"anna"}},
		{Name: "mail", URLFile: "/run/secrets/mail"}}, Every: Duration(time.Hour), Idle: Duration(7 * 24 * time.Hour), Link: "https://offload.example/x", Details: true}
	if err != nil || !reflect.DeepEqual(got.Messages, want) {
		t.Fatalf("read as %+v, %v", got.Messages, err)
	}
	if err := got.WithDefaults("/state").Validate(); err != nil {
		t.Error(err)
	}
}

func TestMessagesRefuse(t *testing.T) {
	good := MessageTarget{Name: "a", URL: "ntfy://host/hunter2"}
	change := func(f func(*MessageTarget)) func(*Messages) {
		return func(m *Messages) { tg := good; f(&tg); m.Targets = []MessageTarget{tg} }
	}
	tests := map[string]struct {
		change func(*Messages)
		field  string
	}{
		"no name":       {change(func(t *MessageTarget) { t.Name = "" }), "messages.targets[0].name"},
		"name of two":   {change(func(t *MessageTarget) { t.Name = "a b" }), "messages.targets[0].name"},
		"colon":         {change(func(t *MessageTarget) { t.Name = "a:at" }), "messages.targets[0].name"},
		"Unicode name":  {change(func(t *MessageTarget) { t.Name = "é" }), "messages.targets[0].name"},
		"long name":     {change(func(t *MessageTarget) { t.Name = strings.Repeat("a", 65) }), "messages.targets[0].name"},
		"twice":         {func(m *Messages) { m.Targets = []MessageTarget{good, good} }, "messages.targets[1].name"},
		"no address":    {change(func(t *MessageTarget) { t.URL = "" }), "messages.targets[0].url"},
		"two addresses": {change(func(t *MessageTarget) { t.URLFile = "x" }), "messages.targets[0].url"},
		"no scheme":     {change(func(t *MessageTarget) { t.URL = "hunter2" }), "messages.targets[0].url"},
		"no service":    {change(func(t *MessageTarget) { t.URL = "hunter2://x" }), "messages.targets[0].url"},
		"a log":         {change(func(t *MessageTarget) { t.URL = "logger://hunter2" }), "messages.targets[0].url"},
		"garbage":       {change(func(t *MessageTarget) { t.URL = "ntfy://hunter2\x7f" }), "messages.targets[0].url"},
		"file of NUL":   {change(func(t *MessageTarget) { t.URL, t.URLFile = "", "a\x00b" }), "messages.targets[0].url_file"},
		"event":         {change(func(t *MessageTarget) { t.Events = []string{"failed", "done"} }), "messages.targets[0].events"},
		"account":       {change(func(t *MessageTarget) { t.Accounts = []string{"Anna"} }), "messages.targets[0].accounts"},
		"often":         {func(m *Messages) { m.Every = Duration(time.Second) }, "messages.every"},
		"seldom":        {func(m *Messages) { m.Every = Duration(8 * 24 * time.Hour) }, "messages.every"},
		"idle at once":  {func(m *Messages) { m.Idle = Duration(time.Minute) }, "messages.idle"},
		"idle for ever": {func(m *Messages) { m.Idle = Duration(400 * 24 * time.Hour) }, "messages.idle"},
		"link of ftp":   {func(m *Messages) { m.Link = "ftp://x" }, "messages.link"},
		"link of path":  {func(m *Messages) { m.Link = "/jobs" }, "messages.link"},
		"link's secret": {func(m *Messages) { m.Link = "https://anna:hunter2@x" }, "messages.link"},
		"link's query":  {func(m *Messages) { m.Link = "https://x?token=hunter2" }, "messages.link"},
		"many targets": {func(m *Messages) {
			for i := range 51 {
				m.Targets = append(m.Targets, MessageTarget{Name: "t" + strings.Repeat("x", i), URL: good.URL})
			}
		}, "messages.targets"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := Config{}.WithDefaults("/state")
			tt.change(&c.Messages)
			var field *FieldError
			err := c.Validate()
			if !errors.As(err, &field) || field.Field != tt.field || field.Hint == "" || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v; want one *FieldError for %s with a hint", err, tt.field)
			}
			if strings.Contains(err.Error()+c.String(), "hunter2") {
				t.Errorf("a secret is shown: %v\n%s", err, c)
			}
		})
	}
}

// TestMessagesSyntax: what the file says wrongly is found with its line.
func TestMessagesSyntax(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		line int
	}{
		"unknown":     {"messages:\n  targets:\n    - name: a\n      topic: x\n", 4},
		"no duration": {"messages:\n  every: often\n", 2},
		"negative":    {"messages:\n  every: -1h\n", 2},
		"zero":        {"messages:\n  idle: 0\n", 2},
		"a map":       {"messages:\n  targets:\n    name: a\n", 0},
		"a text":      {"messages:\n  details: perhaps\n", 2},
		"url a list":  {"messages:\n  targets:\n    - url: [ntfy://hunter2]\n", 3},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("x.yaml", []byte(tt.text))
			var file *FileError
			if !errors.As(err, &file) || tt.line > 0 && file.Line != tt.line || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestMessageAddress reads an address from its file.
func TestMessageAddress(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	if got, err := (MessageTarget{URLFile: write("good", " ntfy://host/topic\n")}).Address(); err != nil || got != "ntfy://host/topic" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := (MessageTarget{URL: "ntfy://host/topic"}).Address(); err != nil || got != "ntfy://host/topic" {
		t.Errorf("%q, %v", got, err)
	}
	for name, file := range map[string]string{"missing": filepath.Join(dir, "missing"), "folder": dir, "empty": write("empty", ""), "no service": write("no", "hunter2"),
		"two lines": write("two", "ntfy://host/hunter2\nntfy://host/b"), "large": write("large", "ntfy://"+strings.Repeat("hunter2", 2000))} {
		_, err := MessageTarget{Name: "phone", URLFile: file}.Address()
		var field *FieldError
		if !errors.As(err, &field) || field.Hint == "" || !strings.Contains(err.Error(), "phone") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestMessageURLOfTheEnvironment takes the place of all targets.
func TestMessageURLOfTheEnvironment(t *testing.T) {
	c := Config{Messages: Messages{Targets: []MessageTarget{{Name: "a"}, {Name: "b"}}}}
	got, err := c.WithEnv(func(name string) (string, bool) { return "ntfy://host/topic", name == "OFFLOAD_MESSAGES_URL" })
	if err != nil || len(got.Messages.Targets) != 1 || got.Messages.Targets[0].Name != EnvTarget {
		t.Errorf("%+v, %v", got.Messages.Targets, err)
	}
	if len(c.Messages.Targets) != 2 {
		t.Error("the configuration before was changed")
	}
}
