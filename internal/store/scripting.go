package store

import (
	"bufio"
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"

	luajson "github.com/alicebob/miniredis/v2/gopher-json"
	"github.com/alicebob/miniredis/v2/server"
	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/parse"
)

// caller carries out a command for a script and writes the reply, in RESP2, to out, which peer writes to as well.
type caller func(args []string, readOnly bool, out *bytes.Buffer, peer *server.Peer)

// scripting runs Lua scripts as Redis does. It keeps one Lua machine for all of them, which is what makes scripts cheap:
// miniredis builds a new one for each. Scripts can't leave global variables behind. Beside Lua's own string, table and
// math there are redis.* and cjson; bit, struct and cmsgpack are missing.
// It is not safe for concurrent use.
type scripting struct {
	l        *lua.LState
	compiled map[string]*lua.LFunction
	call     caller
	out      bytes.Buffer
	peer     *server.Peer
	readOnly bool
	sha      string
}

func newScripting(call caller) *scripting {
	s := &scripting{call: call}
	s.peer = server.NewPeer(bufio.NewWriterSize(&s.out, 512))
	s.forget()
	return s
}

func (s *scripting) close() { s.l.Close() }

// forget drops all scripts, and the machine with them.
func (s *scripting) forget() {
	if s.l != nil {
		s.l.Close()
	}
	s.compiled = map[string]*lua.LFunction{}
	s.l = lua.NewState(lua.Options{SkipOpenLibs: true, RegistrySize: 4096, RegistryMaxSize: 1 << 20, RegistryGrowStep: 4096})
	for _, lib := range []struct {
		name string
		open lua.LGFunction
	}{{lua.LoadLibName, lua.OpenPackage}, {lua.BaseLibName, lua.OpenBase}, {lua.TabLibName, lua.OpenTable},
		{lua.StringLibName, lua.OpenString}, {lua.MathLibName, lua.OpenMath}} {
		s.l.Push(s.l.NewFunction(lib.open))
		s.l.Push(lua.LString(lib.name))
		s.l.Call(1, 0)
	}
	g := s.l.G.Global
	s.l.Push(s.l.NewFunction(luajson.Loader))
	s.l.Call(0, 1)
	g.RawSetString("cjson", s.l.Get(-1))
	s.l.SetTop(0)
	for _, name := range []string{"collectgarbage", "dofile", "loadfile", "module", "newproxy", "package", "print", "rawset",
		"require", "setfenv", "getfenv", "_printregs"} {
		g.RawSetString(name, lua.LNil)
	}
	g.RawSetString("redis", s.library())
	s.protect(g)
}

// protect makes a misspelt or missing "local" an error instead of a value that the next script finds.
func (s *scripting) protect(g *lua.LTable) {
	meta := s.l.NewTable()
	meta.RawSetString("__newindex", s.l.NewFunction(func(l *lua.LState) int {
		l.RaiseError("Script attempted to create global variable '%s'", l.Get(2).String())
		return 0
	}))
	meta.RawSetString("__index", s.l.NewFunction(func(l *lua.LState) int {
		l.RaiseError("Script attempted to access nonexistent global variable '%s'", l.Get(2).String())
		return 0
	}))
	g.Metatable = meta
}

func (s *scripting) has(sha string) bool { return s.compiled[sha] != nil }

// load compiles a script under its name.
func (s *scripting) load(sha, text string) error {
	if s.has(sha) {
		return nil
	}
	chunk, err := parse.Parse(strings.NewReader(text), "user_script")
	if err != nil {
		return err
	}
	proto, err := lua.Compile(chunk, "user_script")
	if err != nil {
		return err
	}
	s.compiled[sha] = s.l.NewFunctionFromProto(proto)
	return nil
}

// run runs a script and returns its reply in RESP2, which is good until the next call.
func (s *scripting) run(sha string, keys, args []string, readOnly bool) []byte {
	s.sha, s.readOnly = sha, readOnly
	g := s.l.G.Global
	g.RawSetString("KEYS", s.strings(keys))
	g.RawSetString("ARGV", s.strings(args))
	s.l.SetTop(0)
	s.l.Push(s.compiled[sha])
	if err := s.l.PCall(0, 1, nil); err != nil {
		s.l.SetTop(0)
		return appendError(nil, s.failure(err))
	}
	reply := appendReply(nil, s.l.Get(-1), 0)
	s.l.SetTop(0)
	return reply
}

func (s *scripting) strings(list []string) *lua.LTable {
	t := s.l.CreateTable(len(list), 0)
	for _, v := range list {
		t.Append(lua.LString(v))
	}
	return t
}

// failure returns the text of a script's error. One that a command gave keeps its code, as in Redis.
func (s *scripting) failure(err error) string {
	where := " script: " + s.sha + ", on @user_script."
	api, ok := err.(*lua.ApiError)
	if !ok {
		return "ERR " + err.Error() + where
	}
	if t, ok := api.Object.(*lua.LTable); ok {
		if msg, ok := t.RawGetString("err").(lua.LString); ok {
			return string(msg) + where
		}
	}
	if api.Object != nil && api.Object.Type() == lua.LTString {
		return "ERR " + api.Object.String() + where
	}
	if api.Cause != nil {
		return "ERR " + api.Cause.Error() + where
	}
	return "ERR " + strings.SplitN(err.Error(), "\nstack traceback", 2)[0] + where
}

// library returns the table "redis".
func (s *scripting) library() *lua.LTable {
	t := s.l.NewTable()
	s.l.SetFuncs(t, map[string]lua.LGFunction{
		"call":  func(l *lua.LState) int { return s.command(l, true) },
		"pcall": func(l *lua.LState) int { return s.command(l, false) },
		"error_reply": func(l *lua.LState) int {
			l.Push(field(l, "err", errorText(l.CheckString(1))))
			return 1
		},
		"status_reply": func(l *lua.LState) int {
			l.Push(field(l, "ok", l.CheckString(1)))
			return 1
		},
		"sha1hex": func(l *lua.LState) int {
			l.Push(lua.LString(scriptName(l.CheckString(1))))
			return 1
		},
		"log":                func(*lua.LState) int { return 0 },
		"replicate_commands": func(l *lua.LState) int { l.Push(lua.LTrue); return 1 },
		"set_repl":           func(*lua.LState) int { return 0 },
		"setresp":            func(*lua.LState) int { return 0 },
	})
	for i, name := range []string{"LOG_DEBUG", "LOG_VERBOSE", "LOG_NOTICE", "LOG_WARNING"} {
		t.RawSetString(name, lua.LNumber(i))
	}
	return t
}

// errorText gives an error reply a code where it has none.
func errorText(msg string) string {
	msg = strings.TrimPrefix(msg, "-")
	if !strings.Contains(msg, " ") {
		return "ERR " + msg
	}
	return msg
}

func field(l *lua.LState, name, value string) *lua.LTable {
	t := l.CreateTable(0, 1)
	t.RawSetString(name, lua.LString(value))
	return t
}

// command is redis.call and redis.pcall.
func (s *scripting) command(l *lua.LState, raise bool) int {
	n := l.GetTop()
	args := make([]string, 0, n)
	for i := 1; i <= n; i++ {
		switch v := l.Get(i).(type) {
		case lua.LString:
			args = append(args, string(v))
		case lua.LNumber:
			args = append(args, number(float64(v)))
		default:
			l.RaiseError("Lua redis lib command arguments must be strings or integers")
		}
	}
	if len(args) == 0 {
		l.RaiseError("Please specify at least one argument for this redis lib call")
	}
	s.out.Reset()
	s.call(args, s.readOnly, &s.out, s.peer)
	v, _, err := luaValue(l, s.out.Bytes())
	if err != nil {
		l.RaiseError("%s", err.Error())
	}
	if t, ok := v.(*lua.LTable); ok && raise && s.out.Bytes()[0] == '-' {
		l.Error(t, 0)
	}
	l.Push(v)
	return 1
}

// number writes a Lua number as Redis does: whole ones without a point.
func number(v float64) string {
	if v == math.Trunc(v) && math.Abs(v) < 1e17 {
		return strconv.FormatInt(int64(v), 10)
	}
	return strconv.FormatFloat(v, 'g', 17, 64)
}

// luaValue turns the reply in RESP2 that b begins with into a Lua value, and returns what follows it.
func luaValue(l *lua.LState, b []byte) (lua.LValue, []byte, error) {
	line, rest, ok := bytes.Cut(b, []byte("\r\n"))
	if !ok || len(line) == 0 {
		return nil, nil, fmt.Errorf("malformed reply %q", clip(string(b)))
	}
	text := string(line[1:])
	switch line[0] {
	case '+':
		return field(l, "ok", text), rest, nil
	case '-':
		return field(l, "err", text), rest, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return nil, nil, fmt.Errorf("malformed reply %q", clip(string(line)))
	}
	switch {
	case line[0] == ':':
		return lua.LNumber(n), rest, nil
	case n < 0 && (line[0] == '$' || line[0] == '*'):
		return lua.LFalse, rest, nil
	case line[0] == '$' && int64(len(rest)) >= n+2:
		return lua.LString(rest[:n]), rest[n+2:], nil
	case line[0] != '*':
		return nil, nil, fmt.Errorf("malformed reply %q", clip(string(line)))
	}
	t := l.CreateTable(int(min(n, 1<<16)), 0)
	for range n {
		var v lua.LValue
		if v, rest, err = luaValue(l, rest); err != nil {
			return nil, nil, err
		}
		t.Append(v)
	}
	return t, rest, nil
}

// appendReply adds a script's result in RESP2, which clients of RESP3 read as well.
func appendReply(b []byte, v lua.LValue, depth int) []byte {
	if depth > 100 {
		return appendError(b, "ERR the script's reply is nested too deeply")
	}
	switch v := v.(type) {
	case lua.LBool:
		if v {
			return append(b, ":1\r\n"...)
		}
	case lua.LNumber:
		return append(strconv.AppendInt(append(b, ':'), int64(v), 10), "\r\n"...)
	case lua.LString:
		b = append(strconv.AppendInt(append(b, '$'), int64(len(v)), 10), "\r\n"...)
		return append(append(b, v...), "\r\n"...)
	case *lua.LTable:
		if msg, ok := v.RawGetString("err").(lua.LString); ok {
			return appendError(b, string(msg))
		}
		if msg, ok := v.RawGetString("ok").(lua.LString); ok {
			return append(append(append(b, '+'), oneLine(string(msg))...), "\r\n"...)
		}
		n := 0
		for v.RawGetInt(n+1) != lua.LNil {
			n++
		}
		b = append(strconv.AppendInt(append(b, '*'), int64(n), 10), "\r\n"...)
		for i := 1; i <= n; i++ {
			b = appendReply(b, v.RawGetInt(i), depth+1)
		}
		return b
	}
	return append(b, "$-1\r\n"...)
}

func appendError(b []byte, msg string) []byte {
	return append(append(append(b, '-'), oneLine(msg)...), "\r\n"...)
}

func oneLine(s string) string { return strings.NewReplacer("\r", " ", "\n", " ").Replace(s) }
