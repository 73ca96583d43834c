package metrics

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/prometheus/client_golang/prometheus"
)

// described are all metrics that a scrape can hold, with their labels.
func described(t *testing.T) map[string]family {
	t.Helper()
	all := map[string]family{}
	for _, f := range families() {
		all[f.name] = f
	}
	for _, f := range ownFamilies() {
		all[f.name] = f
	}
	return all
}

// ownFamilies are the dashboard's own metrics, but for those of Go and the process.
func ownFamilies() []family {
	return []family{
		{"offload_build_info", gauge, []string{"version"}, "Always 1; its label tells the dashboard's version."},
		{"offload_http_requests_total", counter, []string{"route", "method", "code"}, "Requests to the dashboard by the pattern of their route; \"none\" are those that had none or were refused before."},
		{"offload_http_request_duration_seconds", prometheus.UntypedValue, []string{"route", "method"}, "How long answers took; streams of events are left out."},
		{"offload_http_requests_in_flight", gauge, nil, "Requests being answered now, streams of events included."},
	}
}

var (
	metricName = regexp.MustCompile(`\boffload_[a-z_]+`)
	selection  = regexp.MustCompile(`\b(offload_[a-z_]+)\{([^}]*)\}`)
	labelName  = regexp.MustCompile(`([a-z_]+)\s*(?:=~|!~|!=|=)`)
	grouping   = regexp.MustCompile(`\bby\s*\(([^)]*)\)`)
)

// checkQuery tells what of a query doesn't exist.
func checkQuery(known map[string]family, query string) (wrong []string) {
	base := func(name string) string {
		for _, end := range []string{"_bucket", "_sum", "_count"} {
			if short := strings.TrimSuffix(name, end); known[short].kind == prometheus.UntypedValue {
				return short
			}
		}
		return name
	}
	names := metricName.FindAllString(query, -1)
	if len(names) == 0 {
		wrong = append(wrong, "names no metric")
	}
	labels := []string{"instance", "le"}
	for _, name := range names {
		f, ok := known[base(name)]
		if !ok {
			wrong = append(wrong, "there is no metric "+name)
		}
		labels = append(labels, f.labels...)
	}
	for _, m := range selection.FindAllStringSubmatch(query, -1) {
		for _, l := range labelName.FindAllStringSubmatch(m[2], -1) {
			if l[1] != "instance" && !slices.Contains(known[base(m[1])].labels, l[1]) {
				wrong = append(wrong, m[1]+" has no label "+l[1])
			}
		}
	}
	for _, m := range grouping.FindAllStringSubmatch(query, -1) {
		for l := range strings.SplitSeq(m[1], ",") {
			if !slices.Contains(labels, strings.TrimSpace(l)) {
				wrong = append(wrong, "nothing has label "+l)
			}
		}
	}
	return wrong
}

func TestCheckQuery(t *testing.T) {
	known := described(t)
	for query, ok := range map[string]bool{
		"offload_jobs": true, `sum by (state) (offload_jobs{state="failed"})`: true, "rate(offload_http_request_duration_seconds_bucket[5m])": true,
		"offload_job": false, `offload_jobs{account="x"}`: false, "sum by (who) (offload_jobs)": false, "up": false, "offload_jobs_bucket": false,
	} {
		if wrong := checkQuery(known, query); (len(wrong) == 0) != ok {
			t.Errorf("%s: %v", query, wrong)
		}
	}
}

// Every query of the Grafana dashboard asks for something that exists, and its panels stand beside each other.
func TestGrafanaDashboard(t *testing.T) {
	raw, err := os.ReadFile("../../configs/grafana/offload.json")
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Title  string
		UID    string
		Panels []struct {
			ID      int
			Title   string
			GridPos struct{ H, W, X, Y int }
			Targets []struct{ Expr, LegendFormat, RefID string }
		}
	}
	if err := json.Unmarshal(raw, &d); err != nil {
		t.Fatal(err)
	}
	known, taken, ids := described(t), map[[2]int]string{}, map[int]bool{}
	legend := regexp.MustCompile(`\{\{([a-z]+)\}\}`)
	for _, p := range d.Panels {
		if p.Title == "" || ids[p.ID] || len(p.Targets) == 0 {
			t.Errorf("panel %d %q: no title, an ID for the second time, or nothing to show", p.ID, p.Title)
		}
		ids[p.ID] = true
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if taken[at] != "" || at[0] > 23 {
					t.Fatalf("panels %q and %q lie on each other, or beyond the edge", taken[at], p.Title)
				}
				taken[at] = p.Title
			}
		}
		for _, q := range p.Targets {
			for _, w := range checkQuery(known, q.Expr) {
				t.Errorf("panel %q: %s: %s", p.Title, q.Expr, w)
			}
			for _, l := range legend.FindAllStringSubmatch(q.LegendFormat, -1) {
				if !strings.Contains(q.Expr, l[1]) && !slices.Contains(known[metricName.FindString(q.Expr)].labels, l[1]) {
					t.Errorf("panel %q: legend %s, but %s has no such label", p.Title, q.LegendFormat, q.Expr)
				}
			}
		}
	}
	if d.Title == "" || d.UID == "" || len(d.Panels) == 0 {
		t.Errorf("%+v", d)
	}
}

// Every alert asks for something that exists, and says what is wrong and what to do.
func TestAlerts(t *testing.T) {
	raw, err := os.ReadFile("../../configs/alerts/offload.yml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	if err := yaml.UnmarshalWithOptions(raw, &file, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	known, seen := described(t), map[string]bool{}
	docs := docsPage(t)
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			for _, w := range checkQuery(known, r.Expr) {
				t.Errorf("%s: %s", r.Alert, w)
			}
			if seen[r.Alert] || r.Annotations["summary"] == "" || r.Annotations["description"] == "" ||
				!slices.Contains([]string{"info", "warning", "critical"}, r.Labels["severity"]) {
				t.Errorf("%s: twice, or without summary, description or severity", r.Alert)
			}
			seen[r.Alert] = true
			if !strings.Contains(docs, "`"+r.Alert+"`") {
				t.Errorf("docs/dashboard.md doesn't tell of %s", r.Alert)
			}
		}
	}
	if len(seen) < 10 {
		t.Errorf("%d alerts", len(seen))
	}
}

func docsPage(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile("../../docs/dashboard.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// docs/dashboard.md has a line for each metric, and for none that isn't there any more.
func TestDocs(t *testing.T) {
	docs, known := docsPage(t), described(t)
	kinds := map[prometheus.ValueType]string{gauge: "gauge", counter: "counter", prometheus.UntypedValue: "histogram"}
	for _, name := range slices.Sorted(maps.Keys(known)) {
		f := known[name]
		labels := "-"
		if len(f.labels) > 0 {
			labels = "`" + strings.Join(f.labels, "`, `") + "`"
		}
		if line := fmt.Sprintf("| `%s` | %s | %s | %s |", f.name, kinds[f.kind], labels, f.help); !strings.Contains(docs, line+"\n") {
			t.Errorf("docs/dashboard.md lacks this line:\n%s", line)
		}
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `(offload_[a-z_]+)` \\|").FindAllStringSubmatch(docs, -1) {
		if _, ok := known[m[1]]; !ok {
			t.Errorf("docs/dashboard.md tells of %s, which isn't there", m[1])
		}
	}
	// What is told of the dashboard's own is what its metrics say of themselves.
	own := New(Config{})
	own.requests.total.WithLabelValues("a", "b", "c")
	own.requests.seconds.WithLabelValues("a", "b")
	found, err := own.own.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		name := f.GetName()
		if strings.HasPrefix(name, "offload_") && known[name].help != f.GetHelp() {
			t.Errorf("%s says %q of itself", name, f.GetHelp())
		}
	}
}
