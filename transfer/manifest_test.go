package transfer_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rclone/rclone/fs"

	"offload/transfer"
	"offload/transfer/xtest"
)

const manifestName = "JOB.manifest.gz"

// manifestFile is a manifest as the engine is given it: here any file that begins so is one of the job.
func manifestFile(t testing.TB, content string) transfer.ManifestFile {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "manifest"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	if _, err := f.WriteString(content); err != nil {
		t.Fatal(err)
	}
	ours := func(r io.Reader) bool {
		all, err := io.ReadAll(r)
		return err == nil && strings.HasPrefix(string(all), "manifest of JOB") && strings.HasSuffix(string(all), "end")
	}
	return transfer.ManifestFile{Name: manifestName, Body: f, ModTime: day, Ours: ours, Held: func() error { return nil }}
}

// destinations are the kinds of places that a manifest may be kept at.
func destinations(t *testing.T, test func(t *testing.T, dst fs.Fs, wrap func(*xtest.Script) fs.Fs)) {
	for _, kind := range []string{"memory", "local", "no hashes"} {
		t.Run(kind, func(t *testing.T) {
			remote := kind
			if kind == "no hashes" {
				remote = "memory"
			}
			dst := newRemote(t, remote)
			test(t, dst, func(s *xtest.Script) fs.Fs {
				f := xtest.Wrap(context.Background(), dst, "dst", s)
				f.NoHashes = kind == "no hashes"
				return f
			})
		})
	}
}

func putManifest(t testing.TB, dst fs.Fs, m transfer.ManifestFile) (string, error) {
	t.Helper()
	return transfer.NewPair(newRemote(t, "local"), dst, transfer.Options{}).NoWaiting(nil).PutManifest(context.Background(), m)
}

// What stands in a manifest's place is replaced only where it is the job's own.
func TestRuleManifestIsOurs(t *testing.T) {
	const first, second = transfer.ManifestDir + "/JOB.manifest.gz", transfer.ManifestDir + "/JOB.2.manifest.gz"
	const want = "manifest of JOB: two files, the end"
	for name, c := range map[string]struct {
		there  map[string]string
		at     string
		writes bool
	}{
		"free":                 {nil, first, true},
		"there already":        {map[string]string{first: want}, first, false},
		"an earlier one":       {map[string]string{first: "manifest of JOB: one file, the end"}, first, true},
		"cut off":              {map[string]string{first: want[:9]}, first, true},
		"somebody's":           {map[string]string{first: "my own file"}, second, true},
		"longer":               {map[string]string{first: want + "?"}, second, true},
		"of another job":       {map[string]string{first: "manifest of BOJ: one file, the end"}, second, true},
		"broken":               {map[string]string{first: "manifest of JOB: one file, the"}, second, true},
		"somebody's, and ours": {map[string]string{first: "my own file", second: want}, second, false},
		"a folder":             {map[string]string{first + "/x": "my own file"}, second, true},
	} {
		t.Run(name, func(t *testing.T) {
			destinations(t, func(t *testing.T, dst fs.Fs, wrap func(*xtest.Script) fs.Fs) {
				if _, local := dst.(interface{ UnWrap() fs.Fs }); !local && name == "a folder" && !dst.Features().IsLocal {
					t.Skip("a bucket has no folders")
				}
				for p, text := range c.there {
					put(t, dst, p, text, day)
				}
				script := xtest.NewScript()
				at, err := putManifest(t, wrap(script), manifestFile(t, want))
				if err != nil || at != c.at {
					t.Fatalf("put at %q, %v; want %q", at, err, c.at)
				}
				if wrote := script.CallsOf("dst.Put")+script.CallsOf("dst.Update") > 0; wrote != c.writes {
					t.Errorf("wrote: %v", wrote)
				}
				all := readAll(t, dst)
				for p, text := range c.there {
					if p != at && all[p] != text {
						t.Errorf("%s holds %q", p, all[p])
					}
				}
				if all[at] != want {
					t.Errorf("%s holds %q", at, all[at])
				}
				for p := range all {
					if strings.HasSuffix(p, transfer.PartialSuffix) {
						t.Errorf("%s is left", p)
					}
				}
			})
		})
	}
}

func TestNothingIsWrittenWhereAllNamesAreTaken(t *testing.T) {
	dst := newRemote(t, "memory")
	for _, n := range []string{"", ".2", ".3", ".4", ".5", ".6", ".7", ".8", ".9"} {
		put(t, dst, transfer.ManifestDir+"/JOB"+n+".manifest.gz", "somebody's"+n, day)
	}
	before := readAll(t, dst)
	if at, err := putManifest(t, dst, manifestFile(t, "manifest of JOB end")); err == nil {
		t.Errorf("put at %q", at)
	}
	for p, text := range readAll(t, dst) {
		if before[p] != text {
			t.Errorf("%s holds %q", p, text)
		}
	}
}

// Each call fails in turn, in each way: what is somebody's stays as it is, and the next attempt keeps the manifest.
func TestManifestSweep(t *testing.T) {
	const want = "manifest of JOB: two files, the end"
	const foreign, name = transfer.ManifestDir + "/other.txt", transfer.ManifestDir + "/" + manifestName
	for _, there := range []string{"", "manifest of JOB: one file, the end", "somebody's"} {
		destinations(t, func(t *testing.T, dst fs.Fs, wrap func(*xtest.Script) fs.Fs) {
			for _, k := range kinds() {
				for n := 1; ; n++ {
					for p := range readAll(t, dst) {
						if o, err := dst.NewObject(t.Context(), p); err == nil {
							_ = o.Remove(t.Context())
						}
					}
					put(t, dst, foreign, "mine", day)
					if there != "" {
						put(t, dst, name, there, day)
					}
					fault := k.fault
					fault.N = n
					script := xtest.NewScript(fault)
					m := manifestFile(t, want)
					pair := transfer.NewPair(newRemote(t, "local"), wrap(script), transfer.Options{}).NoWaiting(nil).Attempts(max(k.attempts, 1))
					at, err := pair.PutManifest(t.Context(), m)
					if all := readAll(t, dst); err == nil && all[at] != want {
						t.Fatalf("%s at call %d: kept %q at %s\n%s", k.name, n, all[at], at, strings.Join(script.Log(), "\n"))
					}
					if at, err = putManifest(t, dst, m); err != nil {
						t.Fatalf("%s at call %d: again: %v", k.name, n, err)
					}
					all := readAll(t, dst)
					if all[at] != want || all[foreign] != "mine" || there == "somebody's" && all[name] != there {
						t.Fatalf("%s at call %d: %q", k.name, n, all)
					}
					if script.Hits() == 0 {
						break
					}
				}
			}
		})
	}
}

func TestALostLeaseWritesNoManifest(t *testing.T) {
	dst := newRemote(t, "memory")
	m := manifestFile(t, "manifest of JOB end")
	m.Held = func() error { return transfer.ErrFenced }
	if _, err := putManifest(t, dst, m); !errors.Is(err, transfer.ErrFenced) {
		t.Errorf("%v", err)
	}
	if all := readAll(t, dst); len(all) != 0 {
		t.Errorf("wrote %v", slices.Collect(func(yield func(string) bool) {
			for p := range all {
				if !yield(p) {
					return
				}
			}
		}))
	}
}
