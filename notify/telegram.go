package notify

import (
	"errors"
	"net/url"
	"strings"
)

// telegramHost is where bots send from.
const telegramHost = "api.telegram.org"

// telegramHooks are the webhooks that do what an address of Telegram's says, one for each chat. The library's own way to
// Telegram takes a connection that fails, and an answer that isn't Telegram's, for a message that was sent (v0.13.2):
// it would be lost.
func telegramHooks(address string) ([]string, error) {
	u, err := url.Parse(address)
	if err != nil || u.User == nil {
		return nil, errors.New("the address isn't one of Telegram's")
	}
	secret, _ := u.User.Password()
	asked := u.Query()
	query := url.Values{"template": {"json"}, "messagekey": {"text"}}
	if off(asked.Get("preview")) {
		query.Set("$disable_web_page_preview", "true")
	}
	if off(asked.Get("notification")) {
		query.Set("$disable_notification", "true")
	}
	var hooks []string
	for _, chat := range strings.Split(asked.Get("chats")+","+asked.Get("channels"), ",") {
		id, thread, threaded := strings.Cut(strings.TrimSpace(chat), ":")
		if id == "" {
			continue
		}
		query.Set("$chat_id", id)
		query.Del("$message_thread_id")
		if threaded {
			query.Set("$message_thread_id", thread)
		}
		hook := url.URL{Scheme: "generic", Host: telegramHost, Path: "/bot" + u.User.Username() + ":" + secret + "/sendMessage", RawQuery: query.Encode()}
		hooks = append(hooks, hook.String())
	}
	if len(hooks) == 0 {
		return nil, errors.New("the address names no chat")
	}
	return hooks, nil
}

// off tells whether a setting of an address is switched off.
func off(value string) bool {
	switch strings.ToLower(value) {
	case "no", "false", "0", "disabled":
		return true
	}
	return false
}
