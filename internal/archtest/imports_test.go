package archtest

import (
	"fmt"
	"slices"
	"strings"
)

// allowed is the direction of imports of docs/architecture.md: the packages of ours that a package may import in
// production code. A package that isn't named here may not exist. Test files may import anything of ours but cmd.
var allowed = map[string][]string{
	"cmd/offload": {"manifest", "room", "schedules", "schedules/scheduleform", "doctor", "configs", "dashboard", "dashboard/guard", "dashboard/live", "jobs", "jobs/orderform", "jobs/planfile", "notify", "quota", "quota/quotaform", "remotes", "transfer", "transfer/icloud", "transfer/dropbox",
		"internal/store", "internal/human", "internal/cloudtest"}, // the demo runs on the played clouds
	"configs":                {},
	"manifest":               {},
	"room":                   {"jobs", "transfer"},
	"schedules":              {"jobs", "internal/failpoint", "internal/human"},
	"schedules/scheduleform": {"configs", "jobs", "jobs/orderform", "schedules", "transfer"},
	"doctor":                 {"configs", "jobs", "jobs/orderform", "room", "transfer", "internal/human"}, // the commands that it names are as people type them
	"dashboard":              {"dashboard/api", "dashboard/guard", "dashboard/live", "dashboard/metrics", "dashboard/pages", "doctor", "jobs", "manifest", "room", "schedules", "quota", "remotes", "transfer"},
	"dashboard/api":          {"configs", "dashboard/deeds", "dashboard/guard", "dashboard/live", "doctor", "internal/human", "jobs", "jobs/orderform", "manifest", "room", "schedules", "schedules/scheduleform", "quota", "quota/quotaform", "remotes", "transfer"},
	"dashboard/deeds":        {"dashboard/guard", "internal/human", "jobs", "quota", "quota/quotaform", "schedules"},
	"dashboard/guard":        {},
	"dashboard/live":         {"jobs", "quota"},
	"dashboard/metrics":      {"dashboard/live", "jobs", "quota", "transfer"},
	"dashboard/pages":        {"dashboard/deeds", "dashboard/guard", "dashboard/live", "doctor", "internal/human", "jobs", "jobs/orderform", "manifest", "room", "schedules", "schedules/scheduleform", "quota", "quota/quotaform", "remotes", "transfer"},
	"notify":                 {"jobs", "schedules", "quota", "internal/failpoint"},
	"jobs":                   {"manifest", "quota", "remotes", "transfer", "internal/failpoint"},
	"jobs/orderform":         {"configs", "jobs", "remotes", "transfer"},
	"jobs/planfile":          {"jobs", "jobs/orderform"},
	"quota":                  {},
	"quota/quotaform":        {"configs", "quota", "transfer"},
	"remotes":                {},
	"transfer":               {"internal/failpoint"},
	"transfer/icloud":        {"transfer", "internal/failpoint"},
	"transfer/dropbox":       {"transfer", "internal/failpoint"},
	"transfer/xtest":         {"transfer"},
	"transfer/xcloud":        {"transfer"},
	"internal/store":         {},
	"internal/cloudtest":     {},
	"internal/redistest":     {},
	"internal/jobstest":      {"internal/store", "jobs", "quota"},
	"internal/leaktest":      {},
	"internal/archtest":      {},
	"internal/failpoint":     {},
	"internal/human":         {},
	"test/acceptance":        {},
	"test/browser":           {},
	"test/containers":        {},
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
	{"github.com/redis/go-redis", []string{"internal/store", "internal/jobstest", "jobs", "quota", "remotes", "schedules"},
		"the keys and scripts of the store belong to the packages that own them"},
	{"github.com/hibiken/asynq", []string{"internal/store", "jobs"}, "only jobs knows that there is a queue"},
	{"github.com/alicebob/miniredis", []string{"internal/store", "jobs", "quota", "remotes", "schedules"},
		"it is the inside of the embedded store; the others may use it in tests"},
	{"github.com/prometheus", []string{"dashboard/metrics"}, "what is measured is told by the packages in their own words"},
	{"github.com/nicholas-fedor/shoutrrr", []string{"notify"}, "its errors hold the addresses of targets: one place masks them"},
	{"github.com/urfave/cli", []string{"cmd/offload"}, "the command line ends at cmd"},
	{"github.com/vbauerster/mpb", []string{"cmd/offload"}, "the command line ends at cmd"},
}

// testsOnly lists what production code may not import.
var testsOnly = []string{"testing", "net/http/httptest", "go.uber.org/goleak", "pgregory.net/rapid",
	"github.com/rogpeppe/go-internal/testscript", module + "/internal/redistest", module + "/internal/jobstest", module + "/internal/leaktest", module + "/transfer/xtest", module + "/transfer/xcloud"}

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
