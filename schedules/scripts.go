package schedules

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

//go:embed lua
var luaFiles embed.FS

// Keys of the schedules. The hash tag keeps them in one slot of a Redis Cluster: they are few.
const (
	tag     = "{offload:schedules}:"
	keyAll  = tag + "all"
	keyDue  = tag + "due"
	keyOpen = tag + "open"
	keyLead = tag + "lead"
)

func keyOf(id string) string   { return tag + "s:" + id }
func keyRuns(id string) string { return tag + "runs:" + id }

// scripts are the changes of schedules, one Lua file each; the header of a file tells its arguments.
type scripts struct {
	client redis.UniversalClient
	byName map[string]*redis.Script
}

func loadScripts(client redis.UniversalClient) *scripts {
	read := func(name string) string {
		body, err := luaFiles.ReadFile("lua/" + name)
		if err != nil {
			panic(err) // the file is part of the program
		}
		return string(body)
	}
	files, err := luaFiles.ReadDir("lua")
	if err != nil {
		panic(err) // as above
	}
	s := &scripts{client: client, byName: map[string]*redis.Script{}}
	for _, f := range files {
		if name, ok := strings.CutSuffix(f.Name(), ".lua"); ok && name != "prelude" {
			s.byName[name] = redis.NewScript(read("prelude.lua") + read(f.Name()))
		}
	}
	return s
}

// number runs a script that answers a number.
func (s *scripts) number(ctx context.Context, name string, keys []string, args ...any) (int64, error) {
	n, err := s.byName[name].Run(ctx, s.client, keys, args...).Int64()
	if err != nil {
		return 0, fmt.Errorf("schedules: %s: %w", name, err)
	}
	return n, nil
}

// texts runs a script that answers a list.
func (s *scripts) texts(ctx context.Context, name string, keys []string, args ...any) ([]string, error) {
	all, err := s.byName[name].Run(ctx, s.client, keys, args...).StringSlice()
	if err != nil {
		return nil, fmt.Errorf("schedules: %s: %w", name, err)
	}
	return all, nil
}

// millis is a time as the scripts keep it: ms since 1970 UTC, "" for the zero time.
func millis(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return strconv.FormatInt(t.UnixMilli(), 10)
}

// fromMillis reads one; what is no number is the zero time.
func fromMillis(s string) time.Time {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMilli(n).UTC()
}

func isNil(err error) bool { return errors.Is(err, redis.Nil) }
