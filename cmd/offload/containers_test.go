package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"offload/dashboard"
)

// inTree finds the first group of a pattern in a file of the tree.
func inTree(t *testing.T, file, pattern string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", file))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(pattern).FindSubmatch(text)
	if m == nil {
		t.Fatalf("%s has no %s", file, pattern)
	}
	return string(m[1])
}

// A container that isn't given the time that its worker takes to stop is killed in the middle of a file; a health check
// that isn't given the time that the store may take has no reason to show.
func TestContainersAreGivenTheTimeThatTheProgramTakes(t *testing.T) {
	for _, c := range []struct {
		file, pattern string
		takes         time.Duration
	}{
		{"docker-compose.yml", `(?s)\n  worker:.*?stop_grace_period: (\S+)`, stopSlowly + stopAtOnce},
		{"docker-compose.yml", `(?s)\n  dashboard:.*?stop_grace_period: (\S+)`, dashboard.StopTime},
		{"docker-compose.yml", `(?s)\n  dashboard:.*?timeout: (\S+)`, healthLimit},
		{"Dockerfile", `HEALTHCHECK .*--timeout=(\S+)`, healthLimit},
		{"Dockerfile", `HEALTHCHECK .*--start-period=(\S+)`, 15 * time.Second}, // until a worker that was killed is forgotten
	} {
		given, err := time.ParseDuration(inTree(t, c.file, c.pattern))
		if err != nil || given <= c.takes {
			t.Errorf("%s gives %s (%v), the program takes up to %s", c.file, given, err, c.takes)
		}
	}
}

// Every package of ours gets into the image's build: .dockerignore lets through only what it names.
func TestDockerignoreNamesEveryPackage(t *testing.T) {
	root := "../.."
	named, err := os.ReadFile(filepath.Join(root, ".dockerignore"))
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(root, "*", "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		if dir := filepath.Base(filepath.Dir(f)); !strings.Contains(string(named), "\n!"+dir+"\n") {
			t.Errorf("%s isn't in .dockerignore", dir)
		}
	}
}
