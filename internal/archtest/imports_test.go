package archtest

import (
	"fmt"
	"slices"
	"strings"
)

// allowed is the direction of imports of docs/architecture.md: the packages of ours that a package may import in
// production code. A package that isn't named here may not exist. Test files may import anything of ours but cmd.
var allowed = map[string][]string{
	"cmd/offload": {"configs", "dashboard", "jobs", "quota", "remotes", "transfer", "transfer/icloud", "transfer/dropbox", "internal/store",
		"internal/cloudtest"}, // the demo runs on the played clouds
	"configs":            {},
	"dashboard":          {"jobs", "quota", "remotes", "transfer"},
	"jobs":               {"quota", "remotes", "transfer", "internal/failpoint"},
	"quota":              {},
	"remotes":            {},
	"transfer":           {"internal/failpoint"},
	"transfer/icloud":    {"transfer", "internal/failpoint"},
	"transfer/dropbox":   {"transfer", "internal/failpoint"},
	"transfer/xtest":     {"transfer"},
	"transfer/xcloud":    {"transfer"},
	"internal/store":     {},
	"internal/cloudtest": {},
	"internal/redistest": {},
	"internal/archtest":  {},
	"internal/failpoint": {},
	"test/acceptance":    {},
	"test/containers":    {},
}

// fences lists what only some packages may import, with the reason. A package's tests count as the package.
var fences = []struct {
	path   string
	only   []string
	reason string
}{
	{"github.com/rclone/rclone", []string{"cmd/offload", "remotes", "transfer", "transfer/icloud", "transfer/dropbox", "transfer/xtest", "transfer/xcloud", "internal/cloudtest"},
		"its Go interfaces aren't stable: an upgrade must touch few packages"},
	{"github.com/rclone/rclone/backend/all", []string{"cmd/offload"},
		"it links every backend and takes minutes to build"},
	{"github.com/redis/go-redis", []string{"internal/store", "jobs", "quota", "remotes"},
		"the keys and scripts of the store belong to the packages that own them"},
	{"github.com/hibiken/asynq", []string{"internal/store", "jobs"}, "only jobs knows that there is a queue"},
	{"github.com/alicebob/miniredis", []string{"internal/store", "jobs", "quota", "remotes"},
		"it is the inside of the embedded store; the others may use it in tests"},
	{"github.com/urfave/cli", []string{"cmd/offload"}, "the command line ends at cmd"},
	{"github.com/vbauerster/mpb", []string{"cmd/offload"}, "the command line ends at cmd"},
}

// testsOnly lists what production code may not import.
var testsOnly = []string{"testing", "net/http/httptest", "go.uber.org/goleak", "pgregory.net/rapid",
	"github.com/rogpeppe/go-internal/testscript", module + "/internal/redistest", module + "/transfer/xtest", module + "/transfer/xcloud"}

func checkDirection(files []file) (wrong []string) {
	for _, f := range files {
		may, known := allowed[f.pkg]
		if !known {
			wrong = append(wrong, fmt.Sprintf("%s: package %s isn't in the table of allowed imports: add it, and to docs/architecture.md", f.name, f.pkg))
			continue
		}
		for _, imp := range f.imports() {
			ours, ok := strings.CutPrefix(imp, module+"/")
			if !ok || ours == f.pkg || slices.Contains(may, ours) || f.test && !strings.HasPrefix(ours, "cmd/") {
				continue
			}
			wrong = append(wrong, fmt.Sprintf("%s imports %s: %s may import only %v", f.name, imp, f.pkg, may))
		}
	}
	return wrong
}

func checkFences(files []file) (wrong []string) {
	for _, f := range files {
		for _, imp := range f.imports() {
			for _, fence := range fences {
				if within(imp, fence.path) && !slices.Contains(fence.only, f.pkg) {
					wrong = append(wrong, fmt.Sprintf("%s imports %s: only %v may, since %s", f.name, imp, fence.only, fence.reason))
				}
			}
		}
	}
	return wrong
}

func checkProduction(files []file) (wrong []string) {
	for _, f := range files {
		if f.test || testOnly(f.pkg) {
			continue
		}
		for _, imp := range f.imports() {
			if slices.ContainsFunc(testsOnly, func(bad string) bool { return within(imp, bad) }) {
				wrong = append(wrong, fmt.Sprintf("%s imports %s, which belongs in tests", f.name, imp))
			}
		}
	}
	return wrong
}

// within tells whether imp is the package or lies below it.
func within(imp, pkg string) bool { return imp == pkg || strings.HasPrefix(imp, pkg+"/") }
