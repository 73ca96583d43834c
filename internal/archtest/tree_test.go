package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "offload"

// file is one parsed Go file of the tree.
type file struct {
	name  string // from the root, with "/"
	pkg   string // folder from the root: "jobs", "internal/store"
	test  bool
	lines int
	ast   *ast.File
	fset  *token.FileSet
}

// tree parses every Go file below the module's root.
func tree(t *testing.T) []file {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	var files []file
	err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && p != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(p, ".go") {
			return nil
		}
		src, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		f, err := parseSource(filepath.ToSlash(rel), string(src))
		files = append(files, f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 20 {
		t.Fatalf("found %d Go files below %s: this isn't the tree", len(files), root)
	}
	return files
}

func parseSource(name, src string) (file, error) {
	fset := token.NewFileSet()
	parsed, err := parser.ParseFile(fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return file{}, err
	}
	return file{
		name: name, pkg: path.Dir(name), test: strings.HasSuffix(name, "_test.go"),
		lines: strings.Count(src, "\n"), ast: parsed, fset: fset,
	}, nil
}

// imports returns the paths that the file imports.
func (f file) imports() []string {
	var paths []string
	for _, spec := range f.ast.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			panic(err) // the parser let it through
		}
		paths = append(paths, p)
	}
	return paths
}

func (f file) line(pos token.Pos) int { return f.fset.Position(pos).Line }

// at tells where a node stands, for messages.
func (f file) at(n ast.Node) string { return f.name + ":" + strconv.Itoa(f.line(n.Pos())) }

// testOnly tells whether a package serves tests alone, so that doubles and the testing package are at home there.
func testOnly(pkg string) bool {
	return path.Base(pkg) == "xtest" || pkg == "transfer/xcloud" || pkg == "internal/cloudtest" || pkg == "internal/redistest" || pkg == "internal/jobstest" || pkg == "internal/leaktest" || pkg == "internal/archtest" || strings.HasPrefix(pkg, "test/")
}

func functions(f file) []*ast.FuncDecl {
	var fns []*ast.FuncDecl
	for _, d := range f.ast.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok {
			fns = append(fns, fn)
		}
	}
	return fns
}

// inspect asks check about every node and returns what it finds wrong, with the place.
func inspect(files []file, check func(file, ast.Node) string) (wrong []string) {
	for _, f := range files {
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if n == nil {
				return false
			}
			if msg := check(f, n); msg != "" {
				wrong = append(wrong, f.at(n)+": "+msg)
			}
			return true
		})
	}
	return wrong
}

// isCall tells whether n calls pkg.name.
func isCall(n ast.Node, pkg, name string) bool {
	call, ok := n.(*ast.CallExpr)
	return ok && isSelector(call.Fun, pkg, name)
}

// isSelector tells whether e reads pkg.name.
func isSelector(e ast.Expr, pkg, name string) bool {
	sel, ok := e.(*ast.SelectorExpr)
	if !ok || sel.Sel.Name != name {
		return false
	}
	id, ok := sel.X.(*ast.Ident)
	return ok && id.Name == pkg
}
