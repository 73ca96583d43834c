package icloud

import (
	"context"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rclone/rclone/fs"
	"golang.org/x/text/unicode/norm"

	"offload/transfer"
)

func TestLookup(t *testing.T) {
	nfd, nfc := norm.NFD.String("Übung.txt"), "Übung.txt"
	for _, c := range []struct {
		name  string
		names []string
		ask   string
		want  int // index in names; -1 not found, -2 ambiguous, -3 a folder
	}{
		{"exact", []string{"a.txt", "A.txt"}, "A.txt", 1},
		{"composed finds decomposed", []string{nfd}, nfc, 0},
		{"decomposed as listed", []string{nfd}, nfd, 0},
		{"exact before composed", []string{nfd, nfc}, nfc, 1},
		{"decomposed before composed", []string{nfd, nfc}, nfd, 0},
		{"case last", []string{norm.NFD.String("ÜBUNG.TXT")}, nfc, 0},
		{"normalised before case", []string{norm.NFD.String("ÜBUNG.TXT"), nfd}, nfc, 1},
		{"two by case", []string{"A.txt", "a.TXT"}, "a.txt", -2},
		{"two of one name", []string{"a.txt", "a.txt"}, "a.txt", -2},
		{"none", []string{"b.txt"}, "a.txt", -1},
		{"folder", []string{"dir/"}, "dir", -3},
		{"folder and file", []string{"x/", "x"}, "x", 1},
		{"exact folder before file by case", []string{"X/", "x"}, "X", -3},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDrive()
			up := d.folder(rootID, norm.NFD.String("Öde"))
			var ids []string
			for _, n := range c.names {
				if dir, ok := strings.CutSuffix(n, "/"); ok {
					ids = append(ids, d.folder(up, dir))
				} else {
					ids = append(ids, d.file(up, n, "x"))
				}
			}
			o, err := on(d, "", quick()).NewObject(t.Context(), "Öde/"+c.ask)
			switch {
			case c.want >= 0:
				if err != nil || o.(*Object).ID() != ids[c.want] {
					t.Errorf("got %v, %v; want %s", o, err, ids[c.want])
				} else if o.Remote() != "Öde/"+c.ask {
					t.Errorf("remote %q is not what was asked for", o.Remote())
				}
			case c.want == -1 && !errors.Is(err, fs.ErrorObjectNotFound), c.want == -2 && !errors.Is(err, errAmbiguous),
				c.want == -3 && !errors.Is(err, fs.ErrorIsDir):
				t.Errorf("got %v, %v", o, err)
			}
		})
	}
}

func TestAmbiguousFolderIsNoGuess(t *testing.T) {
	d := newDrive()
	a, b := d.folder(rootID, "Docs"), d.folder(rootID, "DOCS")
	d.file(a, "x", "1")
	d.file(b, "x", "2")
	f := on(d, "", quick())
	if _, err := f.List(t.Context(), "docs"); !errors.Is(err, errAmbiguous) {
		t.Errorf("list: %v", err)
	}
	if _, err := f.NewObject(t.Context(), "docs/x"); !errors.Is(err, errAmbiguous) {
		t.Errorf("look: %v", err)
	}
	if o := lookFor(t, f, "DOCS/x"); o.dirID != b {
		t.Errorf("exact name led to %s", o.dirID)
	}
	d.folder(rootID, "Docs")
	f.DirCacheFlush()
	if _, err := f.List(t.Context(), "Docs"); !errors.Is(err, errAmbiguous) {
		t.Errorf("two folders of one name: %v", err)
	}
}

func TestListSpellsAsTheServer(t *testing.T) {
	d := newDrive()
	dir := norm.NFD.String("Fotos für Jörg")
	up := d.folder(rootID, dir)
	d.file(up, norm.NFD.String("é.txt"), "x")
	d.folder(up, "sub")
	lib := d.add(rootID, "Pages", "APP_LIBRARY", nil)
	d.file(lib, "p.txt", "x")
	unknown := d.file(up, "unknown", "x")
	d.set(unknown, func(it *driveItem) { it.Size = -1 })
	f := on(d, "", quick())
	var names []string
	var walk func(string)
	walk = func(p string) {
		entries, err := f.List(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			names = append(names, e.Remote())
			if _, ok := e.(fs.Directory); ok {
				walk(e.Remote())
			}
		}
	}
	walk("")
	slices.Sort(names)
	want := []string{"Pages", "Pages/p.txt", dir, dir + "/" + norm.NFD.String("é.txt"), dir + "/sub", dir + "/unknown"}
	slices.Sort(want)
	if !slices.Equal(names, want) {
		t.Errorf("got %q, want %q", names, want)
	}
	if n := len(d.lists); n != 4 {
		t.Errorf("%d listings for 4 folders", n)
	}
	if o := lookFor(t, f, dir+"/unknown"); o.Size() != -1 {
		t.Errorf("unknown size is %d", o.Size())
	}
	for _, missing := range []string{"nothing", "nothing/below", dir + "/unknown"} {
		if _, err := f.List(t.Context(), missing); !errors.Is(err, fs.ErrorDirNotFound) {
			t.Errorf("list %q: %v", missing, err)
		}
	}
	short := errors.New("3 of 4 items")
	d.refuse = func(_, id string) error {
		if id == lib {
			return short
		}
		return nil
	}
	if _, err := f.List(t.Context(), "Pages"); !errors.Is(err, short) {
		t.Errorf("a listing that isn't whole: %v", err)
	}
}

func TestRoots(t *testing.T) {
	d := newDrive()
	up := d.folder(d.folder(rootID, "a"), "b")
	d.file(up, "f.txt", "x")
	for _, c := range []struct {
		root, is string
		err      error
		list     error
	}{
		{"", "", nil, nil},
		{"/a/b/", "a/b", nil, nil},
		{"A/B", "A/B", nil, nil},
		{"a/b/f.txt", "a/b", fs.ErrorIsFile, nil},
		{"a/c", "a/c", nil, fs.ErrorDirNotFound},
		{"a/b/f.txt/c", "a/b/f.txt/c", nil, fs.ErrorDirNotFound},
		{"../a", "a", nil, nil},
	} {
		f, err := on(d, c.root, quick()).open(t.Context())
		if !errors.Is(err, c.err) || f.Root() != c.is {
			t.Errorf("%q: %v, %v", c.root, f, err)
			continue
		}
		if _, err := f.List(t.Context(), ""); !errors.Is(err, c.list) {
			t.Errorf("%q: list: %v", c.root, err)
		}
	}
	d.refuse = func(string, string) error { return transfer.ErrSignIn }
	if _, err := on(d, "a", quick()).open(t.Context()); !errors.Is(err, transfer.ErrSignIn) {
		t.Errorf("open without a session: %v", err)
	}
}

func TestFolderThatMovedIsFoundAnew(t *testing.T) {
	for _, how := range []string{"trashed", "renamed", "moved", "gone"} {
		t.Run(how, func(t *testing.T) {
			d := newDrive()
			d.listGone = how == "gone"
			a := d.folder(rootID, "a")
			old := d.folder(a, "b")
			d.file(old, "old", "x")
			f := on(d, "", quick())
			lookFor(t, f, "a/b/old")
			switch how {
			case "renamed":
				d.edit(old, func(it *driveItem) { it.Name = "z" })
			case "moved":
				d.edit(old, func(it *driveItem) { it.ParentID = rootID })
			default:
				d.edit(old, func(it *driveItem) { it.trashed, it.ParentID = true, "TRASH_ROOT" })
			}
			if _, err := f.NewObject(t.Context(), "a/b/old"); !errors.Is(err, fs.ErrorObjectNotFound) {
				t.Errorf("the old file is still seen: %v", err)
			}
			d.file(d.folder(a, "b"), "new", "x")
			lookFor(t, f, "a/b/new")
		})
	}
}

// A server whose folders call themselves otherwise than their parents do must not cost two listings each time.
func TestFolderThatNamesItselfOtherwise(t *testing.T) {
	d := newDrive()
	lib := d.folder(rootID, "lib")
	d.file(lib, "f", "x")
	d.before = func(what string, ids []string) {
		if what == "list" {
			d.set(lib, func(it *driveItem) { it.Name = "lib" })
			if ids[0] == lib {
				d.set(lib, func(it *driveItem) { it.Name = "com~apple~lib" })
			}
		}
	}
	f := on(d, "", quick())
	lookFor(t, f, "lib/f")
	n := len(d.lists)
	lookFor(t, f, "lib/f")
	if len(d.lists) != n+1 {
		t.Errorf("%d listings for a known folder", len(d.lists)-n)
	}
}

func TestOneListingServesManyButNeverAnOldOne(t *testing.T) {
	d := newDrive()
	up := d.folder(rootID, "up")
	d.file(up, "f", "x")
	f := on(d, "", quick())
	lookFor(t, f, "up/f")
	begun, goOn := make(chan struct{}, 100), make(chan struct{})
	d.before = func(what string, ids []string) {
		if ids[0] == up {
			begun <- struct{}{}
			<-goOn
		}
	}
	before := len(d.lists)
	var wg sync.WaitGroup
	first := make(chan error, 1)
	wg.Go(func() { _, err := f.NewObject(t.Context(), "up/f"); first <- err })
	<-begun
	d.set(up, func(*driveItem) {})
	late := d.file(up, "late", "x")
	results := make(chan error, 50)
	for range 50 {
		wg.Go(func() { _, err := f.NewObject(t.Context(), "up/late"); results <- err })
	}
	within(t, "50 wait for the next listing", func() bool {
		f.looks.mu.Lock()
		defer f.looks.mu.Unlock()
		line := f.looks.lines[up]
		return line != nil && line.next != nil && line.next.waiting == 50
	})
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.NewObject(gone, "up/late"); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that has gone: %v", err)
	}
	close(goOn)
	wg.Wait()
	if err := <-first; err != nil {
		t.Error(err)
	}
	for range 50 {
		if err := <-results; err != nil {
			t.Errorf("a call that began after %s came used an older listing: %v", late, err)
		}
	}
	if n := len(d.lists) - before; n != 2 {
		t.Errorf("%d listings, want 2", n)
	}
}

func TestListingOutlivesItsFirstCaller(t *testing.T) {
	d := newDrive()
	d.file(rootID, "f", "x")
	f := on(d, "", quick())
	begun, goOn := make(chan struct{}, 9), make(chan struct{})
	d.before = func(string, []string) { begun <- struct{}{}; <-goOn }
	ctx, cancel := context.WithCancel(t.Context())
	first, second := make(chan error, 1), make(chan error, 1)
	go func() { _, err := f.NewObject(ctx, "f"); first <- err }()
	<-begun
	go func() { _, err := f.NewObject(t.Context(), "f"); second <- err }()
	within(t, "the second waits", func() bool {
		f.looks.mu.Lock()
		defer f.looks.mu.Unlock()
		return f.looks.lines[rootID].next != nil
	})
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	close(goOn)
	if err := <-second; err != nil {
		t.Errorf("the second caller: %v", err)
	}
}

func sign(content string) string {
	sum := sha1.Sum([]byte("com.apple.XattrObjectSalt\x00com.apple.DataObjectSalt\x00" + content))
	return base64.StdEncoding.EncodeToString(append([]byte{1}, sum[:]...))
}

func TestOpenAndEvidence(t *testing.T) {
	for _, c := range []struct{ name, signature, want string }{
		{"match", sign("hello world"), "match"},
		{"differs", sign("hello World"), "differs"},
		{"other first byte", base64.StdEncoding.EncodeToString(append([]byte{2}, make([]byte, 20)...)), ""},
		{"other length", base64.StdEncoding.EncodeToString(make([]byte, 33)), ""},
		{"no base64", "%%%", ""},
		{"none", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDrive()
			id := d.file(rootID, "f", "hello world")
			d.set(id, func(it *driveItem) { it.sign = c.signature })
			o := lookFor(t, on(d, "", quick()), "f")
			if got := read(t, o); got != "hello world" || o.Evidence() != c.want {
				t.Errorf("read %q, evidence %q, want %q", got, o.Evidence(), c.want)
			}
			if got := read(t, o, &fs.RangeOption{Start: 6, End: -1}); got != "world" || o.Evidence() != "" {
				t.Errorf("in part: %q, evidence %q", got, o.Evidence())
			}
			if got := read(t, o, &fs.SeekOption{Offset: 6}); got != "world" {
				t.Errorf("from the middle: %q", got)
			}
		})
	}
}

func read(t testing.TB, o fs.Object, options ...fs.OpenOption) string {
	t.Helper()
	r, err := o.Open(t.Context(), options...)
	if err != nil {
		t.Fatalf("open %s: %v", o, err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("read %s: %v", o, err)
	}
	return string(b)
}

// A file that changes between two readings is never put together from both.
func TestOpenInPartNeverSplices(t *testing.T) {
	d := newDrive()
	id := d.file(rootID, "f", "hello world")
	d.set(id, func(it *driveItem) { it.sign = sign("hello world") })
	o := lookFor(t, on(d, "", quick()), "f")
	read(t, o)
	d.edit(id, func(it *driveItem) { it.content, it.sign = []byte("HELLO WORLD"), sign("HELLO WORLD") })
	if _, err := o.Open(t.Context(), &fs.RangeOption{Start: 6, End: 10}); !errors.Is(err, transfer.ErrChanged) {
		t.Errorf("the rest of another version was handed out: %v", err)
	}
}

func TestEmptyFiles(t *testing.T) {
	refusal := &statusError{what: "ask for a download", status: 400}
	for _, c := range []struct {
		name    string
		size    int64
		content string
		bad     error
		want    string
		fails   bool
	}{
		{"empty", 0, "", refusal, "", false},
		{"not empty after all", 0, "hello", nil, "hello", false},
		{"unknown length", -1, "hello", nil, "hello", false},
		{"unknown length, refused", -1, "", refusal, "", true},
		{"known length, refused", 5, "hello", refusal, "", true},
		{"empty, other error", 0, "", &statusError{what: "ask", status: 503}, "", true},
		{"empty, sign-in", 0, "", transfer.ErrSignIn, "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDrive()
			id := d.file(rootID, "f", c.content)
			d.set(id, func(it *driveItem) { it.Size, it.badToken = c.size, c.bad })
			o := lookFor(t, on(d, "", quick()), "f")
			if o.Size() != c.size {
				t.Errorf("size %d", o.Size())
			}
			if c.fails {
				if _, err := o.Open(t.Context()); !errors.Is(err, c.bad) {
					t.Errorf("open: %v", err)
				}
				return
			}
			if got := read(t, o); got != c.want {
				t.Errorf("read %q", got)
			}
			asked := d.tokens
			is, err := o.Resolve(t.Context())
			if err != nil || is != fs.Object(o) {
				t.Fatalf("resolve: %v, %v", is, err)
			}
			if got := read(t, is); got != c.want || d.tokens != asked+1 {
				t.Errorf("read %q after %d tokens", got, d.tokens-asked)
			}
		})
	}
}

func TestPackages(t *testing.T) {
	d := newDrive()
	id := d.file(rootID, "talk.key", "a zip of some length")
	d.set(id, func(it *driveItem) { it.pack, it.Size, it.sign = true, 7, sign("a zip of some length") })
	f := on(d, "", quick())
	now := time.Unix(1_800_000_000, 0)
	f.now = func() time.Time { return now }
	o := lookFor(t, f, "talk.key")
	if _, err := o.Open(t.Context()); !errors.Is(err, transfer.ErrPackage) {
		t.Fatalf("open before it is resolved: %v", err)
	}
	if code, _ := o.KeepReason(); code != "" || o.Package() {
		t.Error("a package before it is known to be one")
	}
	got, err := o.Resolve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p := got.(*Object)
	if code, what := p.KeepReason(); !p.Package() || p.Size() != -1 || code != transfer.CodePackage || what == "" || p.ETag() != o.ETag() || p.ID() != o.ID() {
		t.Errorf("resolved: %+v, %s", p, code)
	}
	if o.Package() || o.Size() != 7 {
		t.Error("the listed object changed with it")
	}
	asked := d.tokens
	if s := read(t, p); s != "a zip of some length" || d.tokens != asked || p.Evidence() != "" {
		t.Errorf("read %q, %d more tokens, evidence %q", s, d.tokens-asked, p.Evidence())
	}
	if read(t, p); d.tokens != asked+1 {
		t.Error("a token was used twice")
	}
	if _, err := p.Resolve(t.Context()); err != nil {
		t.Fatal(err)
	}
	now = now.Add(tokenLife)
	asked = d.tokens
	if read(t, p); d.tokens != asked+1 {
		t.Error("an old token was used")
	}
	for _, opt := range []fs.OpenOption{&fs.RangeOption{Start: 3, End: -1}, &fs.SeekOption{Offset: 3}, &fs.RangeOption{Start: -1, End: 4}} {
		if _, err := p.Open(t.Context(), opt); err == nil {
			t.Errorf("%v of a package was handed out", opt)
		}
	}
	if s := read(t, p, &fs.RangeOption{Start: 0, End: -1}); s != "a zip of some length" {
		t.Errorf("the whole by a range: %q", s)
	}
	d.set(id, func(it *driveItem) { it.pack = false })
	if _, err := p.Open(t.Context()); !errors.Is(err, transfer.ErrChanged) {
		t.Errorf("a package that became a file: %v", err)
	}
}

func TestKeptTokenThatExpiredIsAskedForAgain(t *testing.T) {
	d := newDrive()
	d.file(rootID, "f", "hello")
	o := lookFor(t, on(d, "", quick()), "f")
	if _, err := o.Resolve(t.Context()); err != nil {
		t.Fatal(err)
	}
	refused := 0
	d.refuse = func(what, _ string) error {
		if what == "download" && refused == 0 {
			refused++
			return errors.New("the address has expired")
		}
		return nil
	}
	if got := read(t, o); got != "hello" || refused != 1 || d.tokens != 2 {
		t.Errorf("read %q, refused %d times, %d tokens", got, refused, d.tokens)
	}
	d.refuse = func(what, _ string) error {
		if what == "download" {
			return errors.New("out of order")
		}
		return nil
	}
	if _, err := o.Open(t.Context()); err == nil {
		t.Error("opened what can't be downloaded")
	}
	if d.tokens != 3 {
		t.Errorf("%d tokens: an Open without a kept one tries once", d.tokens)
	}
}

func TestSharedIsKept(t *testing.T) {
	d := newDrive()
	up := d.folder(rootID, "team")
	d.set(up, func(it *driveItem) { it.Shared = true })
	deep := d.folder(up, "deep")
	in := d.file(deep, "in", "x")
	mine := d.file(rootID, "mine", "x")
	d.set(mine, func(it *driveItem) { it.Shared = true })
	f := on(d, "", trusted())
	for _, remote := range []string{"team/deep/in", "mine"} {
		o := lookFor(t, f, remote)
		if code, what := o.KeepReason(); code != transfer.CodeShared || what == "" {
			t.Errorf("%s: code %q", remote, code)
		}
		if err := o.Remove(t.Context()); !errors.Is(err, errShared) {
			t.Errorf("%s: remove: %v", remote, err)
		}
	}
	if errs := f.Delete(t.Context(), []transfer.Target{{ID: "FILE_IN_SHARED_FOLDER::x::y", ETag: "e"}}); !errors.Is(errs[0], errShared) {
		t.Error(errs)
	}
	below := on(d, "team/deep", trusted())
	if code, _ := lookFor(t, below, "in").KeepReason(); code != transfer.CodeShared {
		t.Error("below a root in a shared folder nothing is known to be shared")
	}
	d.edit(in, func(it *driveItem) { it.trashed = true })
	for _, dir := range []string{"team", "team/deep"} {
		if err := f.Rmdir(t.Context(), dir); err == nil {
			t.Errorf("removed %s", dir)
		}
	}
	if n := d.count(); n != 0 {
		t.Errorf("%d calls to trash", n)
	}
}

func TestAbout(t *testing.T) {
	f := on(newDrive(), "", quick())
	u, err := f.Features().About(t.Context())
	if err != nil || *u.Total != 100 || *u.Used != 70 || *u.Free != 30 {
		t.Errorf("%+v, %v", u, err)
	}
	if s, err := f.Storage(t.Context()); err != nil || s.ByKind["docs"] != 70 {
		t.Errorf("%+v, %v", s, err)
	}
	if ft := f.Features(); !ft.CaseInsensitive || !ft.CanHaveEmptyDirectories || ft.PutStream != nil || ft.DirCacheFlush == nil {
		t.Errorf("features %+v", ft)
	}
}
