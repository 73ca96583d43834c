package transfer

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rclone/rclone/fs"
)

// A folder is listed with folders first, each kind by name whatever its case, and no more than asked for.
func TestListDir(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b.txt", "A.txt", "Zoo/x", "alpha/x", "Ü.txt", "<script>.txt"} {
		p := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, []byte("12345"), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		limit int
		want  string
		more  bool
	}{
		{0, "alpha/ Zoo/ <script>.txt A.txt b.txt Ü.txt", false},
		{6, "alpha/ Zoo/ <script>.txt A.txt b.txt Ü.txt", false},
		{3, "alpha/ Zoo/ <script>.txt", true},
		{-1, "alpha/ Zoo/ <script>.txt A.txt b.txt Ü.txt", false},
	} {
		found, more, err := Opener{}.ListDir(t.Context(), dir, c.limit)
		var names []string
		for _, e := range found {
			if e.IsDir {
				e.Name += "/"
			} else if e.Size != 5 || e.ModTime.IsZero() {
				t.Errorf("%+v: want 5 bytes and a time", e)
			}
			names = append(names, e.Name)
		}
		if got := strings.Join(names, " "); err != nil || got != c.want || more != c.more {
			t.Errorf("limit %d: %q, more %v, %v; want %q, %v", c.limit, got, more, err, c.want, c.more)
		}
	}
	if found, more, err := (Opener{}).ListDir(t.Context(), filepath.Join(dir, "alpha"), 1); err != nil || more || len(found) != 1 {
		t.Errorf("%v, %v, %v", found, more, err)
	}
}

// What can't be listed says what it is and what to do.
func TestListDirFails(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	refused := Opener{Backends: map[string]Backend{"local": func(context.Context, string) (fs.Fs, error) {
		return nil, errors.New("401 Unauthorized: invalid_access_token")
	}}}
	wild := Opener{Backends: map[string]Backend{"local": func(context.Context, string) (fs.Fs, error) { panic("broken") }}}
	for _, c := range []struct {
		name, path, want string
		op               Opener
		missing, signIn  bool
	}{
		{name: "missing", path: filepath.Join(dir, "nowhere"), want: "doesn't exist", missing: true},
		{name: "a file", path: filepath.Join(dir, "file"), want: "is a file"},
		{name: "unknown remote", path: "nobody:x", want: "nobody"},
		{name: "unknown kind", path: ":nothing:x", want: "nothing"},
		{name: "sign-in", path: dir, op: refused, want: "401", signIn: true},
		{name: "a backend that fails", path: dir, op: wild, want: "broken"},
	} {
		found, _, err := c.op.ListDir(t.Context(), c.path, 10)
		var ce *CheckError
		if !errors.As(err, &ce) || ce.Hint == "" || !strings.Contains(err.Error(), c.want) || len(found) > 0 {
			t.Errorf("%s: %v, %v", c.name, found, err)
		}
		if NotFound(err) != c.missing || (SignInRefused(t.Context(), err) != "") != c.signIn {
			t.Errorf("%s: not found %v, sign-in %q", c.name, NotFound(err), SignInRefused(t.Context(), err))
		}
	}
	if _, _, err := (Opener{}).ListDir(t.Context(), "nobody,pass=secret:x", 10); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("an error tells a parameter of the remote: %v", err)
	}
	late, cancel := context.WithDeadlineCause(t.Context(), time.Now().Add(-time.Second), errors.New("too late"))
	defer cancel()
	if _, _, err := (Opener{}).ListDir(late, "nobody:x", 10); err == nil {
		t.Error("no error after the time was over")
	}
}

// Every code that an outcome can have tells a person what to do.
func TestEveryCodeHasARemedy(t *testing.T) {
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, name := range names {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			v, ok := n.(*ast.ValueSpec)
			for i := 0; ok && i < len(v.Names) && i < len(v.Values); i++ {
				lit, isText := v.Values[i].(*ast.BasicLit)
				if !strings.HasPrefix(v.Names[i].Name, "Code") || !isText {
					continue
				}
				code, _ := strconv.Unquote(lit.Value)
				known[code] = true
				if r := Remedy(code); !strings.HasSuffix(r, ".") || len(r) < 20 {
					t.Errorf("%s in %s has the remedy %q, want a sentence in remedies", v.Names[i].Name, name, r)
				}
			}
			return true
		})
	}
	if len(known) < 30 {
		t.Errorf("found %d codes: %s", len(known), fmt.Sprint(known))
	}
	for code := range remedies() {
		if !known[code] {
			t.Errorf("remedy for %q, which no constant names", code)
		}
	}
}
