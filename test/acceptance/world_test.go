package acceptance

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

const (
	accessKey = "offload-test"
	secretKey = "offload-test-secret"
	bucket    = "bucket"
)

// world is a source, a destination and the configuration that names them: `src:` is a WebDAV server over the folder
// source, `s3:bucket` an S3 server over the folder dest. keep is a copy of the source that nobody touches.
type world struct {
	t      testing.TB
	dir    string
	source string
	dest   string
	keep   string
	webdav string // the server's own URL
	s3     string
	data   string   // folder of the embedded store
	rclone string   // the pinned rclone
	killed bool     // a process that wrote to the destination was killed
	more   []string // environment beyond the usual: of worlds whose clouds are played
}

// newWorld starts both servers over empty folders; fill writes the tree that will be moved.
func newWorld(t testing.TB, fill func(dir string)) *world {
	t.Helper()
	rclone := tool(t, "rclone", "OFFLOAD_TEST_RCLONE")
	gateway := tool(t, "versitygw", "OFFLOAD_TEST_VERSITYGW")
	offloadBinary(t)
	dir := t.TempDir()
	w := &world{
		t: t, dir: dir, rclone: rclone,
		source: filepath.Join(dir, "source"), keep: filepath.Join(dir, "keep"),
		dest: filepath.Join(dir, "s3", bucket), data: filepath.Join(dir, "data"),
	}
	for _, d := range []string{w.source, w.keep, filepath.Dir(w.dest)} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	fill(w.keep)
	copyTree(t, w.keep, w.source)
	w.startWebDAV()
	w.startS3(gateway)
	return w
}

var listening = regexp.MustCompile(`http://127\.0\.0\.1:\d+`)

// startWebDAV serves the source; the kernel chooses the port and rclone logs it.
func (w *world) startWebDAV() *process {
	w.webdav = ""
	cmd := exec.Command(w.rclone, "serve", "webdav", w.source, "--addr", "127.0.0.1:0", "--config", os.DevNull)
	cmd.Env = w.env()
	p := start(w.t, "rclone serve webdav", cmd)
	eventually(w.t, 30*time.Second, "rclone serve webdav to listen", func() bool {
		w.webdav = listening.FindString(p.out.String())
		return w.webdav != "" || !p.running()
	})
	if w.webdav == "" {
		w.t.Fatal("rclone serve webdav ended")
	}
	return p
}

// startS3 serves the destination, and makes the bucket. versitygw doesn't tell which port the kernel chose, so that one is
// picked before, and another where somebody was quicker: then it ends, and that it is somebody else who answers meanwhile
// tells the bucket, which isn't made here.
func (w *world) startS3(gateway string) {
	for range 5 {
		addr := freeAddress(w.t)
		cmd := exec.Command(gateway, "--quiet", "--port", addr, "posix", filepath.Dir(w.dest))
		cmd.Env = append(w.env(), "ROOT_ACCESS_KEY="+accessKey, "ROOT_SECRET_KEY="+secretKey)
		p := start(w.t, "versitygw", cmd)
		eventually(w.t, 30*time.Second, "versitygw to listen", func() bool { return answers("tcp", addr) || !p.running() })
		if !p.running() {
			continue
		}
		w.s3 = "http://" + addr
		out, err := w.rcloneCommand("mkdir", "s3:"+bucket).CombinedOutput()
		if _, none := os.Stat(w.dest); err == nil && none == nil {
			return
		}
		w.t.Logf("make the bucket: %v\n%s", err, out)
		p.kill()
	}
	w.t.Fatal("versitygw didn't start")
}

// redis starts a server with an append-only file, with more in its environment, and returns its URL.
func (w *world) redis(env ...string) string {
	w.t.Helper()
	server := tool(w.t, "redis-server", "OFFLOAD_TEST_REDIS")
	dir, err := os.MkdirTemp("", "redis-") // a socket's path must be short
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	cmd := exec.Command(server, "--port", "0", "--unixsocket", socket, "--dir", dir,
		"--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--maxmemory-policy", "noeviction")
	cmd.Env = append(os.Environ(), env...)
	p := start(w.t, "redis-server", cmd)
	eventually(w.t, 30*time.Second, "redis-server to listen", func() bool { return answers("unix", socket) || !p.running() })
	return "unix://" + socket
}

// env is the environment of every child: nothing of the developer's own configuration reaches it.
func (w *world) env() []string {
	return append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir, "TMPDIR=" + os.TempDir(), "LANG=C.UTF-8"}, w.more...)
}

// config writes an rclone.conf whose `src:` is the WebDAV server at url, and returns its path.
func (w *world) config(name, url string) string {
	w.t.Helper()
	path := filepath.Join(w.dir, name+".conf")
	text := fmt.Sprintf(`[src]
type = webdav
url = %s
vendor = rclone

[s3]
type = s3
provider = Other
access_key_id = %s
secret_access_key = %s
endpoint = %s
region = us-east-1
force_path_style = true
`, url, accessKey, secretKey, w.s3)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// rcloneCommand prepares the pinned rclone on the world's remotes.
func (w *world) rcloneCommand(args ...string) *exec.Cmd {
	cmd := exec.Command(w.rclone, append(args, "--config", w.config("rclone", w.webdav))...)
	cmd.Env = w.env()
	dieWithParent(cmd)
	return cmd
}

// moved demands that the whole tree arrived: by rclone's own comparison of every byte through S3, and by ours on disk.
func (w *world) moved() {
	w.t.Helper()
	out, err := w.rcloneCommand("check", "--download", "--one-way", w.keep, "s3:"+bucket).CombinedOutput()
	if err != nil {
		w.t.Errorf("rclone check --download found differences: %v\n%s", err, out)
	}
	sameTree(w.t, w.keep, w.dest, w.killed)
}

// nothingLost demands of a tree on its way that each file is whole at the source or at the destination.
func (w *world) nothingLost() {
	w.t.Helper()
	here, there := files(w.t, w.source), files(w.t, w.dest)
	for name, size := range files(w.t, w.keep) {
		if n, ok := here[name]; ok && n == size {
			continue
		}
		if n, ok := there[name]; !ok || n != size {
			w.t.Errorf("lost: %q is neither at the source nor whole at the destination", name)
		}
	}
}

func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func answers(network, addr string) bool {
	conn, err := net.DialTimeout(network, addr, time.Second)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}
