package notify

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/nicholas-fedor/shoutrrr/pkg/router"
	"github.com/nicholas-fedor/shoutrrr/pkg/types"
)

// sendTime is how long a service may take to accept a message.
const sendTime = 30 * time.Second

// message is one text for one target.
type message struct {
	Title, Text string
}

// serviceOf is the service of an address, such as "generic" of generic+https://host.
func serviceOf(address string) string {
	scheme, _, found := strings.Cut(address, "://")
	if !found {
		return "" // whatever it is, it may be secret
	}
	name, _, _ := strings.Cut(strings.ToLower(scheme), "+")
	return name
}

// titled are the services that show a title apart from the text. The others have it as the first line.
func titled(service string) bool {
	return slices.Contains([]string{"smtp", "ntfy", "gotify", "pushover", "pushbullet", "generic", "bark", "join"}, service)
}

// bare tells whether a webhook gets the text alone, without a place for a title.
func bare(address string) bool {
	u, err := url.Parse(address)
	return err == nil && serviceOf(address) == "generic" && u.Query().Get("template") == ""
}

// room is how many bytes of text a service shows in one message.
func room(service string) int {
	if service == "pushover" {
		return 1000
	}
	return 1800 // Discord takes 2,000 characters, most others twice as many
}

// check tells whether an address is complete, as far as that can be told without a call.
func check(address string) error {
	if serviceOf(address) == "matrix" {
		return nil // its sign-in is part of its beginning
	}
	var r router.ServiceRouter
	if _, err := r.Locate(address); err != nil {
		return maskError(err, address)
	}
	return nil
}

// deliver sends a message by the library, which knows no context: where the service doesn't answer in time, the call is
// left alone and may still come to its end.
func deliver(ctx context.Context, address string, m message) error {
	ctx, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- fmt.Errorf("the library failed: %v", p)
			}
		}()
		done <- hand(address, m)
	}()
	select {
	case err := <-done:
		if part := (partlyError{}); errors.As(err, &part) {
			return partlyError{maskError(part.error, address)}
		}
		return maskError(err, address)
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return fmt.Errorf("no answer within %s", sendTime)
		}
		return context.Cause(ctx)
	}
}

// partlyError says that some places of a target took a message, and why the others didn't. Sent again it would reach the
// former once more.
type partlyError struct{ error }

// hand gives a message to the library. Where only some of an address's chats took it the error is a partlyError.
func hand(address string, m message) error {
	if serviceOf(address) != "telegram" {
		return handTo(address, m)
	}
	hooks, err := telegramHooks(address)
	if err != nil {
		return err
	}
	var failed []error
	for _, hook := range hooks {
		if err := handTo(hook, message{Text: m.Title + "\n" + m.Text}); err != nil {
			failed = append(failed, err)
		}
	}
	if err = errors.Join(failed...); err != nil && len(failed) < len(hooks) {
		return partlyError{err}
	}
	return err
}

func handTo(address string, m message) error {
	var r router.ServiceRouter
	service, err := r.Locate(address)
	if err != nil {
		return err
	}
	name, params, text := serviceOf(address), types.Params{}, m.Text
	switch {
	case name == "smtp":
		params.SetTitle(mime.QEncoding.Encode("utf-8", m.Title))
	case m.Title == "": // it is in the text
	case titled(name) && !bare(address):
		params.SetTitle(m.Title)
	default:
		text = m.Title + "\n" + text
	}
	return service.Send(text, &params)
}
