package acceptance

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"offload/internal/cloudtest"
)

// planted is a password with all that escaping changes.
const planted = `planted/pass+word=&"%41 QZ`

// echo is what a service's answer repeats of a request that it refuses: it belongs into no log.
const echo = "planted-echo-of-a-signed-address-0123456789"

// leaky is a world in which every word of the program is kept.
type leaky struct {
	*clouds
	s    *secrets
	said bytes.Buffer // by all processes
}

// tell runs a command at the highest log level without a terminal, looks at it in the list of processes from before it
// is given its standard input until it has ended, demands the exit status, and keeps what it said.
func (l *leaky) tell(status int, stdin string, args ...string) string {
	l.w.t.Helper()
	cmd := l.command(append(args, "--log-level", "debug")...)
	in, err := cmd.StdinPipe()
	if err != nil {
		l.w.t.Fatal(err)
	}
	p := start(l.w.t, "offload "+strings.Join(args, " "), cmd)
	l.s.look(p)
	watched := make(chan struct{})
	go func() { defer close(watched); l.s.watch(p) }()
	// A process that reads no standard input may have ended by now.
	_, _ = io.WriteString(in, stdin)
	_ = in.Close()
	got := p.status(l.w.t, 2*time.Minute)
	<-watched
	said := p.out.String()
	l.said.WriteString(said)
	if got != status {
		l.w.t.Fatalf("offload %s: exit status %d, want %d\n%s", strings.Join(args, " "), got, status, p.out.tail(3000))
	}
	return said
}

// keep notes the tokens that are good now, whether they are ever sent or not.
func (l *leaky) keep() {
	for _, secret := range l.account.Secrets() {
		l.s.add("secret of the account", secret)
	}
}

// addRemotes signs in to both clouds, with every mistake that can be made on the way.
func (l *leaky) addRemotes() {
	l.w.t.Helper()
	add := []string{"remotes", "add", "icloud", "--apple-id", l.account.AppleID(), "--password-stdin"}
	l.s.add("password", "planted wrong password")
	l.tell(2, "planted wrong password\n", add...)
	refused := l.play.Fault(cloudtest.Fault{Endpoint: "icloud:signin_complete", Times: 1, Kind: cloudtest.Status, Status: 503, Body: echo})
	l.tell(1, planted+"\n", add...)
	l.hit(refused)
	l.tell(4, planted+"\n", add...)
	l.tell(2, "", "remotes", "add", "icloud", "--code", wrongCode(l.account.Code()))
	l.tell(0, "", "remotes", "add", "icloud", "--code", l.account.Code())
	l.keep()
	token := l.dropbox.ExpiredTokenJSON()
	for _, part := range strings.Split(token, `"`) {
		if strings.HasPrefix(part, "sl.") {
			l.s.add("access token", part)
		} else if strings.HasPrefix(part, "refresh.") {
			l.s.add("refresh token", part)
		}
	}
	l.tell(2, `{"access_token_of":"`+planted+`"}`, "remotes", "add", "dropbox", "--token-stdin")
	l.tell(0, token, "remotes", "add", "dropbox", "--token-stdin")
	l.tell(0, "", "remotes", "list")
	l.tell(0, "", "remotes", "check", "icloud")
	l.tell(0, "", "remotes", "check", "dropbox")
}

// hit demands that faults struck.
func (l *leaky) hit(all ...*cloudtest.Hits) {
	l.w.t.Helper()
	for i, h := range all {
		if h.Count() == 0 {
			l.w.t.Errorf("fault %d was never hit", i)
		}
		h.Remove()
	}
}

// trouble makes the clouds answer with errors whose addresses, headers and bodies hold secrets.
func (l *leaky) trouble() []*cloudtest.Hits {
	status := func(endpoint string, after, times, code int) *cloudtest.Hits {
		return l.play.Fault(cloudtest.Fault{Endpoint: endpoint, After: after, Times: times, Kind: cloudtest.Status, Status: code, Body: echo})
	}
	broken := func(kind cloudtest.Kind, endpoint string, after int) *cloudtest.Hits {
		return l.play.Fault(cloudtest.Fault{Endpoint: endpoint, After: after, Times: 1, Kind: kind, CutAt: 0.5})
	}
	do := func(endpoint string, after int, hook func()) *cloudtest.Hits {
		return l.play.Fault(cloudtest.Fault{Endpoint: endpoint, After: after, Times: 1, Kind: cloudtest.Do, Hook: func(*http.Request) { hook() }})
	}
	l.play.ICloud.SetRedirect(3)
	return []*cloudtest.Hits{
		status("icloud:content", 3, 2, 401), status("icloud:content", 4, 2, 403), status("icloud:content", 5, 2, 503),
		broken(cloudtest.Drop, "icloud:content", 1), broken(cloudtest.Cut, "icloud:content", 2), broken(cloudtest.Lost, "icloud:content", 4),
		status("icloud:download_by_id", 2, 1, 401), status("icloud:download_by_id", 6, 1, 503), broken(cloudtest.Drop, "icloud:download_by_id", 4),
		broken(cloudtest.Empty, "icloud:download_by_id", 3),
		do("icloud:download_by_id", 20, l.account.ExpireSessions),
		status("icloud:moveItemsToTrash", 0, 1, 503),
		status("dropbox:upload_session_start", 2, 1, 401), broken(cloudtest.Drop, "dropbox:upload_session_start", 3), do("dropbox:upload_session_start", 10, l.dropbox.ExpireTokens),
		status("dropbox:finish_batch_v2", 0, 1, 503),
		// One file can't be had at all: its record says why.
		l.play.Fault(cloudtest.Fault{Endpoint: "icloud:content", Match: func(r *http.Request) bool {
			return strings.Contains(r.URL.Path, "stubborn")
		}, Kind: cloudtest.Drop}),
	}
}

// texts asks the program for everything that it knows of a job.
func (l *leaky) texts(id string) string {
	l.w.t.Helper()
	files := l.tell(0, "", "jobs", "files", id, "--json")
	for _, args := range [][]string{{"jobs", "list"}, {"jobs", "show", id}, {"jobs", "show", id, "--json"}, {"jobs", "files", id}} {
		l.tell(0, "", args...)
	}
	return files
}

// dump is all that Redis holds: each key by its type, packed values unpacked, and its files on disk.
func (l *leaky) dump() []byte {
	l.w.t.Helper()
	unpack, err := zstd.NewReader(nil)
	if err != nil {
		l.w.t.Fatal(err)
	}
	defer unpack.Close()
	var all bytes.Buffer
	packed := 0
	for _, key := range strings.Fields(l.redisCLI("keys", "*")) {
		read := map[string][]string{"string": {"get", key}, "hash": {"hgetall", key}, "list": {"lrange", key, "0", "-1"},
			"set": {"smembers", key}, "zset": {"zrange", key, "0", "-1", "withscores"}}[l.redisCLI("type", key)]
		if read == nil {
			continue // it has gone meanwhile
		}
		value := l.redisCLI(append([]string{"--raw"}, read...)...)
		all.WriteString(key + "\n" + value + "\n")
		if from := strings.Index(value, "\x28\xb5\x2f\xfd"); from >= 0 {
			plain, err := unpack.DecodeAll([]byte(value[from:]), nil)
			if err != nil && len(plain) == 0 {
				l.w.t.Errorf("%s holds what can't be unpacked: %v", key, err)
			}
			packed++
			all.Write(plain)
		}
	}
	if packed == 0 {
		l.w.t.Error("no packed value was found: batches of files are kept so")
	}
	l.redisCLI("config", "set", "rdbcompression", "no")
	l.redisCLI("save")
	dir := filepath.Dir(strings.TrimPrefix(l.redis, "unix://"))
	files := 0
	for _, pattern := range []string{"*.rdb", "appendonlydir/*"} {
		names, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			l.w.t.Fatal(err)
		}
		for _, name := range names {
			raw, err := os.ReadFile(name)
			if err != nil {
				l.w.t.Fatal(err)
			}
			files++
			all.Write(raw)
		}
	}
	if files < 2 || !bytes.Contains(all.Bytes(), []byte("RCLONE_ENCRYPT_V0")) {
		l.w.t.Errorf("the dump of %d bytes and %d files holds no sealed remote: it isn't the whole", all.Len(), files)
	}
	return all.Bytes()
}

func TestNoSecretLeaks(t *testing.T) {
	for _, store := range []string{"embedded", "redis"} {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			l := &leaky{clouds: newClouds(t, cloudtest.Options{})}
			l.account.SetPassword(planted)
			if store == "redis" {
				l.onRedis()
			}
			if err := os.WriteFile(l.config, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			l.s = sniff(l.clouds)
			l.s.add("echo", echo)
			s := newStock(l.clouds)
			s.fill("Documents", 40, 4)
			s.put("Documents/stubborn.txt", 5000).stays = "source"
			l.addRemotes()

			// In the foreground: a move amid troubles, with one file that can't be had.
			faults := l.trouble()
			l.tell(3, "", "run", "icloud:Documents", "dropbox:Backup/Documents", "--delete-source", "verified", "--purge-trash")
			l.hit(faults...)
			s.moved(t)
			files := l.texts(l.only().ID)
			if !strings.Contains(files, "stubborn") || !strings.Contains(files, `"failed"`) {
				t.Errorf("the job doesn't say that a file failed: %s", files)
			}

			// In the background: the sign-ins end for good amid the job.
			s.fill("More", 20, 2)
			ended := l.play.Fault(cloudtest.Fault{Endpoint: "icloud:download_by_id", After: 8, Times: 1, Kind: cloudtest.Do, Hook: l.expireNow})
			worker := l.start("worker", "--log-level", "debug")
			watched := make(chan struct{})
			go func() { defer close(watched); l.s.watch(worker) }()
			id := strings.TrimSpace(l.run(0, "enqueue", "icloud:More", "dropbox:Backup/More", "--delete-source", "verified"))
			l.await(id, "the job to wait for a sign-in", limit(), func(j job) bool { return j.Reason == "sign_in" })
			l.hit(ended)
			l.texts(id)
			l.tell(4, "", "remotes", "reconnect", "icloud")
			l.tell(0, "", "remotes", "reconnect", "icloud", "--code", l.account.Code())
			l.keep()
			l.await(id, "the job to end", limit(), job.ended)
			s.moved(t)
			s.fill("Rest", 12, 1)
			ended = l.play.Fault(cloudtest.Fault{Endpoint: "dropbox:upload_session_start", After: 3, Times: 1, Kind: cloudtest.Do,
				Hook: func(*http.Request) { l.dropbox.RevokeTokens() }})
			id = strings.TrimSpace(l.run(0, "enqueue", "icloud:Rest", "dropbox:Backup/Rest"))
			l.await(id, "the job to wait for Dropbox", limit(), func(j job) bool { return j.Reason == "sign_in" || j.ended() })
			l.hit(ended)
			l.texts(id)
			contains(t, l.tell(1, "", "remotes", "check", "dropbox"), "the sign-in is refused", "offload remotes reconnect dropbox")

			var dump []byte
			if store == "redis" {
				dump = l.dump()
			}
			worker.interrupt(t)
			worker.status(t, 30*time.Second)
			<-watched
			l.said.WriteString(worker.out.String())
			l.nothingLeaked(dump)
		})
	}
}

// nothingLeaked looks everywhere.
func (l *leaky) nothingLeaked(dump []byte) {
	t := l.w.t
	t.Helper()
	for _, kind := range []string{"password", "cookie", "session", "trust token", "access token", "refresh token", "signed address", "secret of the account"} {
		if l.s.of(kind) == 0 {
			t.Errorf("no %s was seen: nothing proves that none leaks", kind)
		}
	}
	l.s.none(t, "Redis", dump)
	l.s.none(t, "what the program says and logs", l.said.Bytes())
	seen := l.s.seen()
	if !bytes.Contains(seen, []byte("--password-stdin")) || !bytes.Contains(seen, []byte("HTTPS_PROXY=")) {
		t.Errorf("%d bytes of command lines and environments were seen, the program's not among them", len(seen))
	}
	l.s.none(t, "the list of processes", seen)
	if n := l.s.noneInFiles(t, l.w.dir); n < 1000 && l.redis == "" {
		t.Errorf("only %d bytes of files were looked at", n)
	}
	if l.said.Len() < 10000 {
		t.Errorf("only %d bytes of logs were looked at", l.said.Len())
	}
}
