package containers

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// standIn is a base image made of programs of this machine, under the name that the tree asks for.
type standIn struct {
	name     string
	programs map[string]string // where they go -> where they are; with the libraries that they load
	files    map[string]string // where they go -> content
	folders  []tar.Header      // beyond those that the files need
	trees    map[string]string // where they go -> where they are
	changes  []string          // of docker import
}

// imageOf finds the image that a line of a file of the tree names.
func imageOf(t testing.TB, file, pattern string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root(t), file))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(pattern).FindSubmatch(text)
	if m == nil {
		t.Fatalf("%s names no image by %s", file, pattern)
	}
	return string(m[1])
}

// redisStandIn stands in for the Redis of docker-compose.yml: Debian's, with the user, the folder and the tar of that image.
func redisStandIn(t testing.TB) standIn {
	t.Helper()
	programs := map[string]string{}
	for _, name := range []string{"redis-server", "redis-cli", "tar"} {
		p, err := exec.LookPath(name)
		if err != nil {
			cantRun(t, name+" is missing: run `make redis`")
		}
		programs["usr/bin/"+name] = p
	}
	return standIn{
		name: imageOf(t, "docker-compose.yml", `image: (redis:\S+)`), programs: programs,
		files:   map[string]string{"etc/passwd": "redis:x:999:999::/data:/bin/false\n", "etc/group": "redis:x:999:\n"},
		folders: []tar.Header{{Name: "data/", Mode: 0o755, Uid: 999, Gid: 999}, {Name: "tmp/", Mode: 0o1777}},
		changes: []string{"ENV PATH=/usr/bin", "WORKDIR /data"},
	}
}

// goStandIn stands in for the compiler of the Dockerfile: this machine's Go, a shell and certificates.
func goStandIn(t testing.TB) standIn {
	t.Helper()
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	goroot := strings.TrimSpace(string(out))
	certificates, err := os.ReadFile("/etc/ssl/certs/ca-certificates.crt")
	if err != nil {
		certificates = []byte("# none on this machine\n")
	}
	trees := map[string]string{}
	for _, part := range []string{"bin", "pkg", "src", "lib"} {
		trees["usr/local/go/"+part] = filepath.Join(goroot, part)
	}
	version, err := os.ReadFile(filepath.Join(goroot, "VERSION"))
	if err != nil {
		t.Fatal(err)
	}
	return standIn{
		name:     imageOf(t, "Dockerfile", `FROM --platform=\S+ (golang:\S+) AS`),
		programs: map[string]string{"bin/sh": "/bin/sh", "bin/mkdir": "/bin/mkdir"},
		files:    map[string]string{"etc/ssl/certs/ca-certificates.crt": string(certificates), "usr/local/go/VERSION": string(version)},
		folders:  []tar.Header{{Name: "tmp/", Mode: 0o1777}},
		trees:    trees,
		changes:  []string{"ENV PATH=/usr/local/go/bin:/bin GOPATH=/go GOTOOLCHAIN=local HOME=/root"},
	}
}

// load gives the image to the daemon.
func (d *daemon) load(s standIn) {
	d.t.Helper()
	r, w := io.Pipe()
	go func() { w.CloseWithError(s.write(w)) }()
	defer r.Close()
	args := []string{"import"}
	for _, c := range s.changes {
		args = append(args, "--change", c)
	}
	_, msg, status := call(d.t.Context(), 5*time.Minute, func(ctx context.Context) *exec.Cmd {
		cmd := d.command(ctx, append(args, "-", s.name)...)
		cmd.Stdin = r
		return cmd
	})
	if status != 0 {
		d.t.Fatalf("make a stand-in for %s: %s", s.name, msg)
	}
}

// write writes the image's files.
func (s standIn) write(w io.Writer) error {
	a := archive{tar.NewWriter(w), map[string]bool{}}
	for _, h := range s.folders {
		h.Typeflag = tar.TypeDir
		if err := a.WriteHeader(&h); err != nil {
			return err
		}
	}
	for name, content := range s.files {
		if err := a.put(name, 0o644, int64(len(content)), strings.NewReader(content)); err != nil {
			return err
		}
	}
	for name, from := range s.programs {
		if err := a.program(name, from); err != nil {
			return err
		}
	}
	for name, from := range s.trees {
		if err := a.tree(name, from); err != nil {
			return err
		}
	}
	return a.Close()
}

// archive is a tar that takes each name once.
type archive struct {
	*tar.Writer
	has map[string]bool
}

func (a archive) put(name string, mode, size int64, r io.Reader) error {
	if a.has[name] {
		return nil
	}
	a.has[name] = true
	if err := a.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: size, Typeflag: tar.TypeReg}); err != nil {
		return err
	}
	_, err := io.Copy(a, r)
	return err
}

func (a archive) copy(name, from string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return a.put(name, int64(info.Mode().Perm()), info.Size(), f)
}

// program adds a program and the libraries that it loads, at the paths where it looks for them.
func (a archive) program(name, from string) error {
	if err := a.copy(name, from); err != nil {
		return err
	}
	out, err := exec.Command("ldd", from).Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) { // a static program is an exit status
		return err
	}
	for _, library := range regexp.MustCompile(`/\S+`).FindAllString(string(out), -1) {
		if err := a.copy(strings.TrimPrefix(library, "/"), library); err != nil {
			return err
		}
	}
	return nil
}

// tree adds a folder without what only tests need.
func (a archive) tree(name, from string) error {
	return filepath.WalkDir(from, func(p string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && e.Name() == "testdata":
			return fs.SkipDir
		case !e.Type().IsRegular() || strings.HasSuffix(p, "_test.go"):
			return nil
		}
		rel, err := filepath.Rel(from, p)
		if err != nil {
			return err
		}
		return a.copy(path.Join(name, filepath.ToSlash(rel)), p)
	})
}

// serveModules serves this machine's module cache in the daemon's network, and returns its address for GOPROXY.
func (d *daemon) serveModules() string {
	d.t.Helper()
	// Makes sure that the cache holds what a build without cgo needs.
	list := exec.CommandContext(d.t.Context(), "go", "list", "-deps", "./cmd/offload")
	list.Dir, list.Env = root(d.t), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := list.CombinedOutput(); err != nil {
		d.t.Fatalf("fetch modules: %v\n%s", err, out)
	}
	out, err := exec.Command("go", "env", "GOMODCACHE").Output()
	if err != nil {
		d.t.Fatal(err)
	}
	cache := filepath.Join(strings.TrimSpace(string(out)), "cache", "download")
	in := d.listen("127.0.0.1:0")
	server := &http.Server{Handler: http.FileServer(http.Dir(cache))}
	var served sync.WaitGroup
	served.Go(func() { _ = server.Serve(in) }) // until Close
	d.t.Cleanup(func() {
		server.Close()
		served.Wait()
	})
	_, port, err := net.SplitHostPort(in.Addr().String())
	if err != nil {
		d.t.Fatal(err)
	}
	return "http://127.0.0.1:" + port
}

// build builds the tree's Dockerfile.
func (d *daemon) build(image, version, goproxy string) {
	d.t.Helper()
	began := time.Now()
	_, msg, status := call(d.t.Context(), 25*time.Minute, func(ctx context.Context) *exec.Cmd {
		return d.command(ctx, "build", "--network", "host", "--build-arg", "GOPROXY="+goproxy, "--build-arg", "VERSION="+version,
			"--build-arg", "COMMIT=0123abc", "--tag", image, root(d.t))
	})
	if status != 0 {
		d.t.Fatalf("build %s of the Dockerfile: %s", image, msg)
	}
	d.t.Logf("built %s in %s", image, time.Since(began).Round(time.Second))
}
