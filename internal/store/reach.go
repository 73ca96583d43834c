package store

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// How long a command waits for a Redis to answer at all, and how long it is left alone between two attempts.
const (
	reachTime  = 5 * time.Second
	reachPause = 500 * time.Millisecond
)

// openURL connects to a Redis and makes sure that it answers.
func openURL(ctx context.Context, raw string) (*target, error) {
	t, err := parseURL(raw)
	if err != nil {
		return nil, err
	}
	if err := t.reach(ctx); err != nil {
		return nil, fmt.Errorf("reach Redis at %s: %s (is it running there, and are user and password right?)",
			t.name, withoutSecrets(err.Error(), raw))
	}
	return t, nil
}

// Await waits until the Redis at a URL answers, for a while at most: for workers that are started beside it. It says so
// once. Where it fails, Open tells why.
func Await(ctx context.Context, raw string, atMost time.Duration, log *slog.Logger) {
	t, err := parseURL(raw)
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	pause := time.NewTicker(reachPause)
	defer pause.Stop()
	for told := false; ; {
		err := t.reach(ctx)
		switch {
		case err == nil:
			if told {
				log.Info("Redis answers", "redis", t.name)
			}
			return
		case ctx.Err() != nil || refused(err):
			return
		case !told:
			told = true
			log.Warn("Redis doesn't answer; waiting for it", "redis", t.name, "at_most", atMost, "error", withoutSecrets(err.Error(), raw))
		}
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
	}
}

// reach asks the Redis whether it is there.
func (t *target) reach(ctx context.Context) error {
	probe := t.open(3) // a wrong address should be told within seconds
	defer probe.Close()
	ctx, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	err := probe.Ping(ctx).Err()
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("no answer within %s", reachTime)
	}
	return err
}

// refused tells whether the Redis is there and doesn't want this client: waiting won't change that.
func refused(err error) bool {
	for _, code := range []string{"WRONGPASS", "NOAUTH", "NOPERM", "ERR AUTH", "ERR invalid DB", "ERR DB index"} {
		if strings.HasPrefix(err.Error(), code) {
			return true
		}
	}
	return false
}
