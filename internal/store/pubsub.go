package store

import (
	"path"
	"slices"
	"strings"

	"github.com/alicebob/miniredis/v2/server"
)

// pubsub knows who listens to what. A message is put into the connections' outgoing queues at once, so a listener that
// has stopped reading holds up nobody. It is not safe for concurrent use.
type pubsub struct {
	channels map[string]map[*conn]bool
	patterns map[string]map[*conn]bool
}

func newPubsub() *pubsub {
	return &pubsub{channels: map[string]map[*conn]bool{}, patterns: map[string]map[*conn]bool{}}
}

// publish sends a message and returns the number of those that get it.
func (p *pubsub) publish(channel, message string) int {
	n := 0
	for c := range p.channels[channel] {
		c.push("message", channel, message)
		n++
	}
	for pattern, conns := range p.patterns {
		if ok, _ := path.Match(glob(pattern), glob(channel)); !ok {
			continue
		}
		for c := range conns {
			c.push("pmessage", pattern, channel, message)
			n++
		}
	}
	return n
}

// glob makes path.Match treat slashes as any other character.
func glob(s string) string { return strings.ReplaceAll(s, "/", "\x00") }

// drop forgets a connection.
func (p *pubsub) drop(c *conn) {
	for name := range c.channels {
		remove(p.channels, name, c)
	}
	for name := range c.patterns {
		remove(p.patterns, name, c)
	}
}

func add(m map[string]map[*conn]bool, name string, c *conn) {
	if m[name] == nil {
		m[name] = map[*conn]bool{}
	}
	m[name][c] = true
}

func remove(m map[string]map[*conn]bool, name string, c *conn) {
	delete(m[name], c)
	if len(m[name]) == 0 {
		delete(m, name)
	}
}

// subscription carries out SUBSCRIBE, PSUBSCRIBE and their opposites.
func (e *engine) subscription(c *conn, args []string) {
	all, mine := e.subs.channels, &c.channels
	if strings.HasPrefix(args[0], "P") {
		all, mine = e.subs.patterns, &c.patterns
	}
	if *mine == nil {
		*mine = map[string]bool{}
	}
	on := !strings.Contains(args[0], "UNSUB")
	names := args[1:]
	if on && len(names) == 0 {
		wrongNumber(c, args[0])
		return
	}
	if !on && len(names) == 0 {
		for name := range *mine {
			names = append(names, name)
		}
		slices.Sort(names)
	}
	answer := func(name *string) {
		c.peer.Block(func(w *server.Writer) {
			w.WritePushLen(3)
			w.WriteBulk(strings.ToLower(args[0]))
			if name == nil {
				w.WriteNull()
			} else {
				w.WriteBulk(*name)
			}
			w.WriteInt(len(c.channels) + len(c.patterns))
		})
	}
	for _, name := range names {
		if on {
			(*mine)[name] = true
			add(all, name, c)
		} else {
			delete(*mine, name)
			remove(all, name, c)
		}
		answer(&name)
	}
	if len(names) == 0 {
		answer(nil)
	}
}

// pubsubInfo carries out PUBSUB CHANNELS, NUMSUB and NUMPAT.
func (e *engine) pubsubInfo(c *conn, args []string) {
	sub := ""
	if len(args) > 1 {
		sub = strings.ToUpper(args[1])
	}
	switch {
	case sub == "CHANNELS" && len(args) <= 3:
		var names []string
		for name := range e.subs.channels {
			if len(args) == 3 {
				if ok, _ := path.Match(glob(args[2]), glob(name)); !ok {
					continue
				}
			}
			names = append(names, name)
		}
		slices.Sort(names)
		c.peer.WriteStrings(names)
	case sub == "NUMSUB":
		c.peer.WriteMapLen(len(args) - 2)
		for _, name := range args[2:] {
			c.peer.WriteBulk(name)
			c.peer.WriteInt(len(e.subs.channels[name]))
		}
	case sub == "NUMPAT" && len(args) == 2:
		c.peer.WriteInt(len(e.subs.patterns))
	default:
		c.peer.WriteError("ERR unknown subcommand or wrong number of arguments for 'PUBSUB'")
	}
}
