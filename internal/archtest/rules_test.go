package archtest

import (
	"fmt"
	"go/ast"
	"maps"
	"slices"
	"strings"
	"testing"
)

const (
	maxFileLines     = 600
	maxFunctionLines = 100
)

// rule looks over the tree and returns what is wrong, one line each.
type rule struct {
	name  string
	check func([]file) []string
	// bad is a file, named by its first line, that the rule must refuse; it shows that the rule bites.
	bad string
}

var rules = []rule{
	{"packages import only what the table allows", checkDirection, "jobs/x.go\npackage jobs\nimport _ \"offload/dashboard\""},
	{"packages stand in the table", checkDirection, "helpers/x.go\npackage helpers"},
	{"nobody imports a command", checkDirection, "jobs/x_test.go\npackage jobs\nimport _ \"offload/cmd/offload\""},
	{"rclone is imported only where it may", checkFences, "jobs/x.go\npackage jobs\nimport _ \"github.com/rclone/rclone/fs\""},
	{"rclone's backends are linked only by cmd", checkFences, "transfer/x.go\npackage transfer\nimport _ \"github.com/rclone/rclone/backend/all\""},
	{"go-redis is imported only where it may", checkFences, "cmd/offload/x.go\npackage main\nimport _ \"github.com/redis/go-redis/v9\""},
	{"production code imports no testing", checkProduction, "quota/x.go\npackage quota\nimport _ \"testing\""},
	{"production code imports no doubles", checkProduction, "jobs/x.go\npackage jobs\nimport _ \"offload/transfer/xtest\""},
	{"files stay small", checkSize, "jobs/x.go\npackage jobs" + strings.Repeat("\n", maxFileLines+1)},
	{"functions stay small", checkSize, "jobs/x.go\npackage jobs\nfunc f() {" + strings.Repeat("\n", maxFunctionLines+1) + "}"},
	{"there are no init functions", checkInit, "jobs/x.go\npackage jobs\nfunc init() {}"},
	{"no struct keeps a context", checkContexts, "jobs/x.go\npackage jobs\ntype s struct{ ctx context.Context }"},
	{"tests don't sleep", checkSleep, "jobs/x_test.go\npackage jobs\nfunc f() { time.Sleep(1) }"},
	{"only main exits", checkExit, "jobs/x.go\npackage jobs\nfunc f() { os.Exit(1) }"},
	{"nothing is left to do", checkLeftovers, "jobs/x.go\npackage jobs\n// TO" + "DO: more\nvar x int"},
	{"every package has a doc comment", checkPackageDocs, "jobs/x.go\npackage jobs"},
	{"every exported name has a doc comment", checkNameDocs, "jobs/x.go\npackage jobs\nfunc F() {}"},
	{"every exported type has a doc comment", checkNameDocs, "jobs/x.go\npackage jobs\ntype T int"},
	{"every exported constant has a doc comment", checkNameDocs, "jobs/x.go\npackage jobs\nconst C = 1"},
}

func TestTreeKeepsTheRules(t *testing.T) {
	files := tree(t)
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			for _, wrong := range r.check(files) {
				t.Error(wrong)
			}
		})
	}
}

func TestRulesBite(t *testing.T) {
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			name, src, _ := strings.Cut(r.bad, "\n")
			f, err := parseSource(name, src)
			if err != nil {
				t.Fatal(err)
			}
			if len(r.check([]file{f})) == 0 {
				t.Errorf("the rule lets this pass:\n%s", r.bad)
			}
		})
	}
}

func checkSize(files []file) (wrong []string) {
	for _, f := range files {
		if f.lines > maxFileLines {
			wrong = append(wrong, fmt.Sprintf("%s has %d lines, more than %d: split it", f.name, f.lines, maxFileLines))
		}
		for _, fn := range functions(f) {
			if n := f.line(fn.End()) - f.line(fn.Pos()); n > maxFunctionLines && !f.test {
				wrong = append(wrong, fmt.Sprintf("%s: %s has %d lines, more than %d: split it", f.at(fn), fn.Name.Name, n, maxFunctionLines))
			}
		}
	}
	return wrong
}

func checkInit(files []file) (wrong []string) {
	for _, f := range files {
		for _, fn := range functions(f) {
			if fn.Recv == nil && fn.Name.Name == "init" {
				wrong = append(wrong, f.at(fn)+": init() hides work from whoever reads main: pass values instead")
			}
		}
	}
	return wrong
}

func checkContexts(files []file) []string {
	return inspect(files, func(f file, n ast.Node) string {
		s, ok := n.(*ast.StructType)
		if !ok || f.test || testOnly(f.pkg) {
			return ""
		}
		for _, field := range s.Fields.List {
			if isSelector(field.Type, "context", "Context") {
				return "a context is an argument, not a field"
			}
		}
		return ""
	})
}

// checkSleep refuses time.Sleep in tests, but for files that use testing/synctest: there a sleep takes no time and is
// how the fake clock is moved.
func checkSleep(files []file) []string {
	return inspect(files, func(f file, n ast.Node) string {
		if !f.test || !isCall(n, "time", "Sleep") || slices.Contains(f.imports(), "testing/synctest") {
			return ""
		}
		return "time.Sleep in a test: wait for a signal, or poll with a deadline"
	})
}

func checkExit(files []file) []string {
	return inspect(files, func(f file, n ast.Node) string {
		if f.test || f.ast.Name.Name == "main" || !isCall(n, "os", "Exit") {
			return ""
		}
		return "only main may end the process"
	})
}

func checkLeftovers(files []file) (wrong []string) {
	for _, f := range files {
		for _, group := range f.ast.Comments {
			for _, word := range []string{"TO" + "DO", "FIX" + "ME", "XX" + "X"} {
				if strings.Contains(group.Text(), word) {
					wrong = append(wrong, fmt.Sprintf("%s: %s in a comment: do it, or file an issue", f.at(group), word))
				}
			}
		}
	}
	return wrong
}

// checkPackageDocs looks for a package's comment in its code, or in its tests where it has nothing else.
func checkPackageDocs(files []file) (wrong []string) {
	documented := map[string]bool{}
	for _, f := range files {
		if f.test && !strings.HasPrefix(f.pkg, "test/") {
			continue
		}
		has := f.ast.Doc != nil && strings.TrimSpace(f.ast.Doc.Text()) != ""
		documented[f.pkg] = documented[f.pkg] || has
	}
	for _, pkg := range slices.Sorted(maps.Keys(documented)) {
		if !documented[pkg] {
			wrong = append(wrong, "package "+pkg+" has no doc comment")
		}
	}
	return wrong
}

// obvious are methods whose meaning the standard library has fixed.
var obvious = []string{"Close", "Error", "Is", "Len", "Less", "MarshalJSON", "MarshalYAML", "Read", "String", "Swap",
	"UnmarshalJSON", "UnmarshalYAML", "Unwrap", "Write"}

func checkNameDocs(files []file) (wrong []string) {
	for _, f := range files {
		if f.test || f.ast.Name.Name == "main" {
			continue
		}
		for _, decl := range f.ast.Decls {
			for _, name := range undocumented(decl) {
				wrong = append(wrong, fmt.Sprintf("%s: %s has no doc comment", f.at(decl), name))
			}
		}
	}
	return wrong
}

// undocumented returns the exported names of a declaration that neither they nor their group say anything about.
func undocumented(decl ast.Decl) (names []string) {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		obviously := d.Recv != nil && slices.Contains(obvious, d.Name.Name)
		if d.Name.IsExported() && d.Doc == nil && exportedReceiver(d) && !obviously {
			names = append(names, d.Name.Name)
		}
	case *ast.GenDecl:
		if d.Doc != nil {
			return nil
		}
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				if s.Name.IsExported() && s.Doc == nil {
					names = append(names, s.Name.Name)
				}
			case *ast.ValueSpec:
				if s.Names[0].IsExported() && s.Doc == nil && s.Comment == nil {
					names = append(names, s.Names[0].Name)
				}
			}
		}
	}
	return names
}

// exportedReceiver tells whether people outside the package can see the function.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	typ := d.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	id, ok := typ.(*ast.Ident)
	return ok && id.IsExported()
}
