package notify

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/nicholas-fedor/shoutrrr/pkg/router"

	"offload/configs"
)

// samples are whole addresses of all services, with made-up secrets, to places where nobody listens: those with a host of
// their own go through the proxy of TestMain.
func samples() map[string]string {
	return map[string]string{
		"bark":       "bark://:hunter2devicekey@127.0.0.1:1?scheme=http",
		"discord":    "discord://hunter2AAAABBBBCCCC@123456789012345678",
		"generic":    "generic://127.0.0.1:1/hook/hunter2token?disabletls=yes&$key=hunter2value",
		"googlechat": "googlechat://chat.googleapis.com/v1/spaces/FOO/messages?key=hunter2bar&token=hunter2baz",
		"gotify":     "gotify://127.0.0.1:1/AHunter2bbbbbbb?disabletls=yes",
		"hangouts":   "hangouts://chat.googleapis.com/v1/spaces/FOO/messages?key=hunter2bar&token=hunter2baz",
		"ifttt":      "ifttt://hunter2key?events=event1",
		"join":       "join://Token:hunter2apikey@join?devices=dev1",
		"lark":       "lark://open.larksuite.com/hunter2token?secret=hunter2sss",
		"matrix":     "matrix://user:hunter2pass@127.0.0.1:1?disabletls=yes&rooms=!room",
		"mattermost": "mattermost://bot@127.0.0.1:1/hunter2token/channel?disabletls=yes",
		"notifiarr":  "notifiarr://hunter2apikey123?channel=123456789",
		"ntfy":       "ntfy://user:hunter2@127.0.0.1:1/hunter2topic?scheme=http",
		"opsgenie":   "opsgenie://127.0.0.1:1/hunter2apikey",
		"pagerduty":  "pagerduty://127.0.0.1:1/eb243592faa24ba2a5511afdf565c889",
		"pushbullet": "pushbullet://hunter2hunter2hunter2hunter2hunter",
		"pushover":   "pushover://:hunter2apptoken@hunter2user",
		"rocketchat": "rocketchat://127.0.0.1:1/hunter2a/hunter2b/channel",
		"signal":     "signal://user:hunter2@127.0.0.1:1/+12345678901/+12345678902?disabletls=yes",
		"slack":      "slack://hook:AHUNTER2A-BHUNTER2BCC-hunter2hunter2hunter2hun@webhook",
		"smtp":       "smtp://user:hunter2@127.0.0.1:1/?from=a@example.org&to=b@example.org",
		"teams": "teams://11111111-4444-4444-8444-cccccccccccc@22222222-4444-4444-8444-cccccccccccc/33333333012222222222333333333344/" +
			"44444444-4444-4444-8444-cccccccccccc/V2hunter2AljSoUQHvZoZYzlpAoAXExyOl26dlf1xHEx05?host=test.webhook.office.com",
		"telegram": "telegram://123456789:AAhunter2hunter2hunter2hunter2hunt@telegram?chats=@hunter2chat",
		"wecom":    "wecom://hunter2a-7aoc-4bc4-97a0-0ec2sifa5aaa",
		"zulip":    "zulip://bot%40example.org:hunter2key@127.0.0.1:1?stream=foo&topic=bar",
	}
}

// TestServicesAreThoseOfTheLibrary: the configuration names what the library speaks, but for its log.
func TestServicesAreThoseOfTheLibrary(t *testing.T) {
	var r router.ServiceRouter
	theirs := slices.DeleteFunc(r.ListServices(), func(s string) bool { return s == "logger" })
	slices.Sort(theirs)
	if ours := slices.Sorted(slices.Values(configs.MessageServices())); !slices.Equal(ours, theirs) {
		t.Errorf("the configuration names %v, the library %v", ours, theirs)
	}
	if tried := slices.Sorted(maps.Keys(samples())); !slices.Equal(tried, theirs) {
		t.Errorf("tried are %v, the library has %v", tried, theirs)
	}
}

// TestNoServiceSwallowsFailures: a message that nobody took is an error with every service, and no error has any part of the
// address in it.
func TestNoServiceSwallowsFailures(t *testing.T) {
	for name, address := range samples() {
		t.Run(name, func(t *testing.T) {
			if err := check(address); err != nil {
				t.Fatalf("the address is refused: %v", err)
			}
			err := deliver(context.Background(), address, message{"a title", "a text"})
			if err == nil {
				t.Fatal("nobody listens, but the message is said to be sent")
			}
			if strings.Contains(strings.ToLower(err.Error()), "hunter2") || len(err.Error()) > 4*errorLength {
				t.Errorf("the error holds a part of the address: %v", err)
			}
			if strings.Contains(err.Error(), "://") {
				t.Errorf("the error holds an address: %v", err)
			}
			for _, s := range secretsOf(address) {
				if strings.Contains(strings.ToLower(err.Error()), strings.ToLower(s)) {
					t.Errorf("the error holds %q of the address: %v", s, err)
				}
			}
		})
	}
}
