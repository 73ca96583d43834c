package notify

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// hook is a service that is played over HTTP.
type hook struct {
	*httptest.Server
	mu     sync.Mutex
	status int
	got    []request
}

type request struct {
	path, body string
	header     http.Header
}

func newHook(t *testing.T) *hook {
	h := &hook{status: http.StatusOK}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		h.mu.Lock()
		defer h.mu.Unlock()
		h.got = append(h.got, request{r.URL.RequestURI(), string(body), r.Header})
		w.WriteHeader(h.status)
		fmt.Fprintf(w, `{"error":"no such token %s","ok":true,"code":%d}`, r.URL.Path, h.status)
	}))
	t.Cleanup(func() {
		h.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return h
}

func (h *hook) host() string { return strings.TrimPrefix(h.URL, "http://") }

// TestHTTPServices sends by the real library to services that are played: what arrives, and that a refusal is an error
// which says the status and nothing of the address.
func TestHTTPServices(t *testing.T) {
	const token = "AhunterTwoTokn1"
	tests := map[string]struct {
		address string // with HOST
		path    string
		says    func(r request) (title, text string)
	}{
		"webhook": {"generic://HOST/hook/" + token + "?disabletls=yes", "/hook/" + token, func(r request) (string, string) { return r.body, r.body }},
		"webhook of JSON": {"generic://HOST/hook?disabletls=yes&template=json&@Authorization=" + token, "/hook", func(r request) (string, string) {
			var m map[string]string
			_ = json.Unmarshal([]byte(r.body), &m)
			if r.header.Get("Authorization") != token {
				return "no header", ""
			}
			return m["title"], m["message"]
		}},
		"custom webhook": {"generic+http://HOST/hook/" + token, "/hook/" + token, func(r request) (string, string) { return r.body, r.body }},
		"ntfy":           {"ntfy://user:" + token + "@HOST/topic?scheme=http", "/topic", func(r request) (string, string) { return r.header.Get("Title"), r.body }},
		"gotify": {"gotify://HOST/" + token + "?disabletls=yes", "/message", func(r request) (string, string) {
			var m struct{ Title, Message string }
			_ = json.Unmarshal([]byte(r.body), &m)
			return m.Title, m.Message
		}},
		"mattermost": {"mattermost://bot@HOST/" + token + "?disabletls=yes", "/hooks/" + token, func(r request) (string, string) {
			var m struct{ Text string }
			_ = json.Unmarshal([]byte(r.body), &m)
			return m.Text, m.Text
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h := newHook(t)
			address := strings.ReplaceAll(tt.address, "HOST", h.host())
			if err := check(address); err != nil {
				t.Fatal(err)
			}
			m := message{"icloud: -> dropbox: done.", "1,204 files copied, 38 GiB freed.\nSecond line, é."}
			if err := deliver(t.Context(), address, m); err != nil {
				t.Fatal(err)
			}
			if len(h.got) != 1 || !strings.HasPrefix(h.got[0].path, tt.path) {
				t.Fatalf("arrived %+v", h.got)
			}
			if title, text := tt.says(h.got[0]); !strings.Contains(title, m.Title) || !strings.Contains(text, m.Text) {
				t.Errorf("arrived title %q, text %q", title, text)
			}
			for _, status := range []int{400, 401, 404, 429, 500, 503} {
				h.status = status
				err := deliver(t.Context(), address, m)
				if err == nil {
					t.Errorf("%d is taken for success", status)
				} else if strings.Contains(err.Error(), token) {
					t.Errorf("the error holds the token: %v", err)
				}
			}
		})
	}
}

// TestTelegramHooks: what is asked of Telegram's API, chat by chat.
func TestTelegramHooks(t *testing.T) {
	hooks, err := telegramHooks("telegram://123:AA-b_c@telegram?chats=@one,-100200:7&notification=no&preview=No")
	if err != nil || len(hooks) != 2 {
		t.Fatalf("%v, %v", hooks, err)
	}
	for i, want := range []url.Values{
		{"$chat_id": {"@one"}},
		{"$chat_id": {"-100200"}, "$message_thread_id": {"7"}},
	} {
		u, err := url.Parse(hooks[i])
		if err != nil || u.Path != "/bot123:AA-b_c/sendMessage" || u.Host != telegramHost {
			t.Fatalf("%s, %v", hooks[i], err)
		}
		for k, v := range map[string]string{"template": "json", "messagekey": "text", "$disable_notification": "true", "$disable_web_page_preview": "true"} {
			want.Set(k, v)
		}
		if u.Query().Encode() != want.Encode() {
			t.Errorf("asks %s; want %s", u.Query().Encode(), want.Encode())
		}
	}
	// The library's webhook sends what Telegram's API takes.
	h := newHook(t)
	played := strings.Replace(hooks[1], "generic://"+telegramHost, "generic://"+h.host(), 1) + "&disabletls=yes"
	if err := handTo(played, message{Text: "a text"}); err != nil {
		t.Fatal(err)
	}
	var m map[string]string
	if err := json.Unmarshal([]byte(h.got[0].body), &m); err != nil || m["chat_id"] != "-100200" || m["text"] != "a text" || h.got[0].path != "/bot123:AA-b_c/sendMessage" {
		t.Errorf("arrived %+v, %v", h.got[0], err)
	}
	for _, bad := range []string{"telegram://telegram?chats=1", "telegram://1:a@telegram", "telegram://1:a@telegram?chats=,"} {
		if _, err := telegramHooks(bad); err == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
}

// roundTrip is a network of one function.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestTelegramChatsFail: a message that some chats took is told apart from one that none took, without secrets.
func TestTelegramChatsFail(t *testing.T) {
	refused := ""
	before := http.DefaultClient.Transport
	defer func() { http.DefaultClient.Transport = before }()
	http.DefaultClient.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.URL.Host != telegramHost {
			t.Errorf("asked %s, %v", r.URL, err)
		}
		var m map[string]string
		if err := json.Unmarshal(body, &m); err != nil {
			t.Error(err)
		}
		status := http.StatusOK
		if strings.Contains(refused, m["chat_id"]) {
			status = http.StatusBadRequest
		}
		return &http.Response{StatusCode: status, Status: http.StatusText(status), Body: io.NopCloser(strings.NewReader("{}")), Request: r}, nil
	})
	for refuse, want := range map[string]string{"": "sent", "@dead": "partly", "@live": "partly", "@dead @live": "failed"} {
		refused = refuse
		err := deliver(t.Context(), "telegram://123456789:AAhunter2hunter2hunter2hunter2hunt@telegram?chats=@dead,@live", message{"a title", "a text"})
		got := "failed"
		if err == nil {
			got = "sent"
		} else if errors.As(err, new(partlyError)) {
			got = "partly"
		}
		if got != want {
			t.Errorf("refused by %q: %s, %v; want %s", refuse, got, err, want)
		}
		if err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "://")) {
			t.Errorf("the error holds a part of the address: %v", err)
		}
	}
}

// TestHangingService: a service that takes the call and never answers costs a limited time.
func TestHangingService(t *testing.T) {
	release := make(chan struct{})
	h := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer http.DefaultClient.CloseIdleConnections()
	defer h.Close()
	defer close(release)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err := deliver(ctx, "generic://"+strings.TrimPrefix(h.URL, "http://")+"/?disabletls=yes", message{"a", "b"})
	if err == nil || !strings.Contains(err.Error(), "no answer within") {
		t.Errorf("got %v", err)
	}
}

// mailServer is an SMTP server of a few lines.
type mailServer struct {
	net.Listener
	mu     sync.Mutex
	refuse string // the answer to AUTH, "" to accept
	auth   []string
	to     []string
	mails  []string
}

func newMailServer(t *testing.T) *mailServer {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &mailServer{Listener: l}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { s.talk(c) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); all.Wait() })
	return s
}

func (s *mailServer) talk(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	say := func(line string) { _, _ = io.WriteString(c, line+"\r\n") }
	say("220 mail.test ESMTP")
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSpace(line)
		verb, rest, _ := strings.Cut(line, " ")
		s.mu.Lock()
		refuse := s.refuse
		s.mu.Unlock()
		switch strings.ToUpper(verb) {
		case "EHLO", "HELO":
			say("250-mail.test\r\n250 AUTH PLAIN")
		case "AUTH":
			raw, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(rest, "PLAIN "))
			s.mu.Lock()
			s.auth = append(s.auth, string(raw))
			s.mu.Unlock()
			if refuse != "" {
				say("535 " + refuse)
				continue
			}
			say("235 welcome")
		case "RCPT":
			s.mu.Lock()
			s.to = append(s.to, rest)
			s.mu.Unlock()
			say("250 ok")
		case "DATA":
			say("354 go on")
			var b strings.Builder
			for {
				l, err := in.ReadString('\n')
				if err != nil || l == ".\r\n" {
					break
				}
				b.WriteString(l)
			}
			s.mu.Lock()
			s.mails = append(s.mails, b.String())
			s.mu.Unlock()
			say("250 taken")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

// TestMail sends a real mail by SMTP: its subject is the headline, in letters of any kind, and a wrong password is an error
// without the password.
func TestMail(t *testing.T) {
	s := newMailServer(t)
	address := "smtp://anna:hunter2pass@" + s.Addr().String() + "/?from=offload@example.org&to=anna@example.org,ben@example.org&starttls=no"
	if err := check(address); err != nil {
		t.Fatal(err)
	}
	m := message{"Größe & Fotos (icloud: -> dropbox:): done.", "1,204 files copied.\n.\nAn end, é."}
	if err := deliver(t.Context(), address, m); err != nil {
		t.Fatal(err)
	}
	if len(s.mails) != 2 || len(s.to) != 2 || s.auth[0] != "\x00anna\x00hunter2pass" {
		t.Fatalf("%d mails to %v, signed in as %q", len(s.mails), s.to, s.auth)
	}
	got, err := mail.ReadMessage(strings.NewReader(s.mails[0]))
	if err != nil {
		t.Fatal(err)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(got.Header.Get("Subject"))
	if err != nil || subject != m.Title {
		t.Errorf("subject %q, %v", subject, err)
	}
	body, err := io.ReadAll(got.Body)
	if text := strings.ReplaceAll(string(body), "\r\n", "\n"); err != nil || !strings.Contains(text, "1,204 files copied.\n") || !strings.Contains(text, "An end, é.") {
		t.Errorf("text %q, %v", text, err)
	}
	s.mu.Lock()
	s.refuse = "5.7.8 password hunter2pass of anna is wrong"
	s.mu.Unlock()
	if err := deliver(t.Context(), address, m); err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "535") {
		t.Errorf("a refused sign-in: %v", err)
	}
}

// TestAddressesThatAreNotWhole are found before anything is sent, and named without what they hold.
func TestAddressesThatAreNotWhole(t *testing.T) {
	for _, address := range []string{"slack://hunter2", "telegram://hunter2@telegram?chats=1", "telegram://1:hunter2@telegram", "smtp://hunter2@host/",
		"discord://hunter2", "pushover://hunter2", "ntfy://host/?hunter2=1", "nosuch://hunter2", "hunter2", "", "smtp://%zzhunter2"} {
		_, err := New(Config{Targets: []Target{{Name: "phone", Address: address}}})
		if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "phone") {
			t.Errorf("%q: %v", address, err)
		}
	}
}
