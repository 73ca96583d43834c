package store

import (
	"crypto/sha1" //nolint:gosec // the name of a script in Redis' protocol is its SHA-1
	"encoding/hex"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/alicebob/miniredis/v2/server"
)

// control carries out the commands that deal with connections, scripts and messages rather than with keys.
func (e *engine) control(c *conn, args []string) {
	switch args[0] {
	case "EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO":
		e.eval(c, args)
	case "SCRIPT":
		e.script(c, args)
	case "SUBSCRIBE", "UNSUBSCRIBE", "PSUBSCRIBE", "PUNSUBSCRIBE":
		e.subscription(c, args)
	case "PUBLISH":
		if len(args) != 3 {
			wrongNumber(c, args[0])
			return
		}
		c.peer.WriteInt(e.subs.publish(args[1], args[2]))
	case "PUBSUB":
		e.pubsubInfo(c, args)
	case "SELECT":
		if len(args) != 2 || args[1] != "0" {
			c.peer.WriteError("ERR the embedded store has database 0 only")
			return
		}
		c.peer.WriteOK()
	case "AUTH":
		c.peer.WriteError("ERR the embedded store has no passwords: leave user and password out")
	case "CONFIG":
		e.config(c, args)
	case "INFO":
		c.peer.WriteBulk(e.info())
	case "CLIENT":
		if len(args) > 1 && strings.EqualFold(args[1], "SETINFO") {
			c.peer.WriteOK()
			return
		}
		e.ks.srv.Dispatch(c.peer, args)
	default: // HELLO, QUIT, COMMAND
		e.ks.srv.Dispatch(c.peer, args)
	}
}

func wrongNumber(c *conn, cmd string) {
	c.peer.WriteError("ERR wrong number of arguments for '" + strings.ToLower(cmd) + "' command")
}

// eval runs a script by text or by name. One that may write isn't begun while the journal can't be written.
func (e *engine) eval(c *conn, args []string) {
	readOnly := strings.HasSuffix(args[0], "_RO")
	if len(args) < 3 {
		wrongNumber(c, args[0])
		return
	}
	n, err := strconv.Atoi(args[2])
	if err != nil {
		c.peer.WriteError("ERR value is not an integer or out of range")
		return
	}
	if n < 0 || n > len(args)-3 {
		c.peer.WriteError("ERR Number of keys can't be greater than number of args, nor negative")
		return
	}
	if !readOnly && !e.writable() {
		c.peer.WriteError(misconf)
		return
	}
	sha := strings.ToLower(args[1])
	if strings.HasPrefix(args[0], "EVAL") && !strings.HasPrefix(args[0], "EVALSHA") {
		sha = scriptName(args[1])
		if err := e.lua.load(sha, args[1]); err != nil {
			c.peer.WriteError("ERR Error compiling script (new function): " + err.Error())
			return
		}
	}
	if !e.lua.has(sha) {
		c.peer.WriteError("NOSCRIPT No matching script. Please use EVAL.")
		return
	}
	c.peer.Flush()
	c.out.Write(e.lua.run(sha, args[3:3+n], args[3+n:], readOnly))
}

func scriptName(text string) string {
	sum := sha1.Sum([]byte(text)) //nolint:gosec // see above
	return hex.EncodeToString(sum[:])
}

func (e *engine) script(c *conn, args []string) {
	sub := ""
	if len(args) > 1 {
		sub = strings.ToUpper(args[1])
	}
	switch {
	case sub == "LOAD" && len(args) == 3:
		sha := scriptName(args[2])
		if err := e.lua.load(sha, args[2]); err != nil {
			c.peer.WriteError("ERR Error compiling script (new function): " + err.Error())
			return
		}
		c.peer.WriteBulk(sha)
	case sub == "EXISTS" && len(args) > 2:
		c.peer.WriteLen(len(args) - 2)
		for _, sha := range args[2:] {
			n := 0
			if e.lua.has(strings.ToLower(sha)) {
				n = 1
			}
			c.peer.WriteInt(n)
		}
	case sub == "FLUSH":
		e.lua.forget()
		c.peer.WriteOK()
	default:
		c.peer.WriteError("ERR unknown subcommand or wrong number of arguments for 'SCRIPT': LOAD, EXISTS and FLUSH are known")
	}
}

// config answers CONFIG GET for what callers check a Redis for.
func (e *engine) config(c *conn, args []string) {
	if len(args) < 3 || !strings.EqualFold(args[1], "GET") {
		c.peer.WriteError("ERR the embedded store has no settings to change")
		return
	}
	sync := "everysec"
	if e.j.always {
		sync = "always"
	}
	var found []string
	for _, kv := range [][2]string{{"appendfsync", sync}, {"appendonly", "yes"}, {"databases", "1"},
		{"maxmemory", "0"}, {"maxmemory-policy", "noeviction"}} {
		for _, pattern := range args[2:] {
			if ok, _ := path.Match(strings.ToLower(pattern), kv[0]); ok {
				found = append(found, kv[0], kv[1])
				break
			}
		}
	}
	c.peer.Block(func(w *server.Writer) {
		w.WriteMapLen(len(found) / 2)
		for _, s := range found {
			w.WriteBulk(s)
		}
	})
}

func (e *engine) info() string {
	var b strings.Builder
	line := func(k string, v any) { fmt.Fprintf(&b, "%s:%v\r\n", k, v) }
	b.WriteString("# Server\r\n")
	line("redis_version", "7.4.0")
	line("redis_mode", "standalone")
	line("offload_embedded", 1)
	line("process_id", os.Getpid())
	b.WriteString("\r\n# Clients\r\n")
	line("connected_clients", len(e.conns))
	b.WriteString("\r\n# Memory\r\n")
	line("maxmemory_policy", "noeviction")
	b.WriteString("\r\n# Persistence\r\n")
	ok := func(bad bool) string {
		if bad {
			return "err"
		}
		return "ok"
	}
	line("aof_enabled", 1)
	line("aof_last_write_status", ok(e.j.failed.Load()))
	line("aof_current_size", e.j.size.Load()+e.older)
	line("aof_base_size", e.base)
	b.WriteString("\r\n# Keyspace\r\n")
	line("db0", fmt.Sprintf("expires=%d", len(e.ks.deadlines)))
	return b.String()
}
