package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
)

func header() Header {
	return Header{Version: Version, Job: "01J8ZC5T0K9QGZ3M4R5S6T7V8W", Source: "icloud:", Destination: "dropbox:Backup", Account: "default",
		Created: time.Date(2026, 11, 22, 20, 0, 0, 0, time.UTC)}
}

func files(n int) []Line {
	at := time.Date(2026, 11, 22, 20, 1, 2, 3e6, time.UTC)
	var all []Line
	for i := range n {
		l := Line{Path: fmt.Sprintf("Photos/IMG_%04d.HEIC", i), Size: int64(1000 + i), ModTime: at.Add(-time.Hour), Hash: "dropbox:" + strings.Repeat("ab", 32),
			Grade: "A", ID: fmt.Sprintf("FILE::com.apple.CloudDocs::%d", i), ETag: "1a", Result: "copied", State: "deleted", Copied: at, Proved: at, Deleted: at}
		l.Dest = l.Path
		all = append(all, l)
	}
	return all
}

// strange are files that JSON or lines could get wrong.
func strange() []Line {
	return []Line{
		{Path: "a<b>&c.txt", Dest: "a<b>&c.txt", Size: 0, Result: "copied"},
		{Path: "line\nbreak \"quoted\" \\ \u2028.txt", Dest: "other\nname", Size: -1, Result: "skipped", State: "kept"},
		{Path: "caf\u00e9", Source: "cafe\u0301", Dest: "caf\u00e9", Result: "copied"},
		{Path: "bad \ufffd", Source: "bad \xff\xfe", Dest: "bad \ufffd", Result: "copied"},
		{Path: strings.Repeat("\u65e5\u672c/", 20_000) + "x", Dest: "y", Result: "failed", Code: "x", Reason: `","chain":"0123456789abcdef"}`},
	}
}

func write(t testing.TB, h Header, lines []Line) ([]byte, Summary) {
	t.Helper()
	var b bytes.Buffer
	w, err := NewWriter(&b, h)
	for _, l := range lines {
		if err == nil {
			err = w.Add(l)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	sum, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), sum
}

func read(r io.Reader) (Header, []Line, Summary, error) {
	m, err := NewReader(r)
	if err != nil {
		return Header{}, nil, Summary{}, err
	}
	var all []Line
	for {
		l, err := m.Next()
		if errors.Is(err, io.EOF) {
			return m.Header(), all, m.Summary(), nil
		}
		if err != nil {
			return m.Header(), all, Summary{}, err
		}
		all = append(all, l)
	}
}

func unpack(t testing.TB, packed []byte) []byte {
	t.Helper()
	zip, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(zip)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	for _, lines := range [][]Line{nil, files(1), append(files(3000), strange()...)} {
		packed, sum := write(t, header(), lines)
		for _, form := range [][]byte{packed, unpack(t, packed)} {
			h, got, s, err := read(bytes.NewReader(form))
			if err != nil || h != header() || s != sum || !slices.Equal(got, lines) {
				t.Fatalf("%d lines: read %d, header %+v, %+v instead of %+v, %v", len(lines), len(got), h, s, sum, err)
			}
		}
		again, _ := write(t, header(), lines)
		if !bytes.Equal(packed, again) {
			t.Error("the same lines made another file")
		}
	}
}

// Every change that a line-by-line look could miss, with where it must be noticed.
func TestEveryChangeOfALineIsNoticed(t *testing.T) {
	packed, _ := write(t, header(), files(20))
	other, _ := write(t, Header{Version: 1, Job: "another"}, files(20))
	lines := bytes.SplitAfter(unpack(t, packed), []byte("\n"))
	lines = lines[:len(lines)-1]
	edit := func(i int, from, to string) func([][]byte) [][]byte {
		return func(l [][]byte) [][]byte {
			l[i] = bytes.Replace(l[i], []byte(from), []byte(to), 1)
			return l
		}
	}
	for name, c := range map[string]struct {
		change func([][]byte) [][]byte
		line   int64
	}{
		"header: source":       {edit(0, "icloud:", "iclaud:"), 1},
		"header: job":          {edit(0, "01J8", "01J9"), 1},
		"header of another":    {func(l [][]byte) [][]byte { l[0] = bytes.SplitAfter(unpack(t, other), []byte("\n"))[0]; return l }, 2},
		"header dropped":       {func(l [][]byte) [][]byte { return l[1:] }, 1},
		"header twice":         {func(l [][]byte) [][]byte { return slices.Insert(l, 0, l[0]) }, 2},
		"path":                 {edit(5, "IMG_0004", "IMG_0005"), 6},
		"size":                 {edit(5, "1004", "1003"), 6},
		"hash":                 {edit(5, "abab", "abac"), 6},
		"state":                {edit(5, "deleted", "kept"), 6},
		"chain":                {edit(5, `"chain":"`, `"chain":"0`), 6},
		"chain cut":            {func(l [][]byte) [][]byte { l[5] = append(l[5][:len(l[5])-tailLength-1], "}\n"...); return l }, 6},
		"line dropped":         {func(l [][]byte) [][]byte { return slices.Delete(l, 5, 6) }, 6},
		"first dropped":        {func(l [][]byte) [][]byte { return slices.Delete(l, 1, 2) }, 2},
		"last dropped":         {func(l [][]byte) [][]byte { return slices.Delete(l, 20, 21) }, 21},
		"line twice":           {func(l [][]byte) [][]byte { return slices.Insert(l, 5, l[5]) }, 7},
		"lines swapped":        {func(l [][]byte) [][]byte { l[5], l[6] = l[6], l[5]; return l }, 6},
		"last two swapped":     {func(l [][]byte) [][]byte { l[20], l[21] = l[21], l[20]; return l }, 21},
		"trailer dropped":      {func(l [][]byte) [][]byte { return l[:21] }, 22},
		"half dropped":         {func(l [][]byte) [][]byte { return l[:10] }, 11},
		"trailer: count":       {edit(21, `"files":20`, `"files":21`), 22},
		"trailer: hash":        {edit(21, `"hash":"`, `"hash":"0`), 22},
		"trailer early":        {func(l [][]byte) [][]byte { return append(l[:5], l[21]) }, 6},
		"trailer twice":        {func(l [][]byte) [][]byte { return append(l, l[21]) }, 23},
		"a line after it":      {func(l [][]byte) [][]byte { return append(l, l[20]) }, 23},
		"half a line":          {func(l [][]byte) [][]byte { l[5] = l[5][:30]; return l[:6] }, 6},
		"last break cut":       {func(l [][]byte) [][]byte { l[21] = bytes.TrimSuffix(l[21], []byte("\n")); return l }, 22},
		"an empty line":        {func(l [][]byte) [][]byte { return slices.Insert(l, 5, []byte("\n")) }, 6},
		"white space":          {edit(5, `{"path":`, `{ "path":`), 6},
		"emptied":              {func([][]byte) [][]byte { return nil }, 1},
		"a line without a end": {func(l [][]byte) [][]byte { l[5] = bytes.Repeat([]byte("x"), 3<<20); return l }, 6},
	} {
		changed := c.change(clones(lines))
		_, _, err := Verify(bytes.NewReader(bytes.Join(changed, nil)))
		var broken *BrokenError
		if !errors.As(err, &broken) || broken.Line != c.line {
			t.Errorf("%s: %v, want a broken line %d", name, err, c.line)
		}
	}
}

func clones(lines [][]byte) [][]byte {
	var all [][]byte
	for _, l := range lines {
		all = append(all, bytes.Clone(l))
	}
	return all
}

// Any bit of the lines: the reader says no. Any bit of the packed file: the reader says no, or the lines are the same ones
// (gzip's header has bits that mean nothing).
func TestAnyFlippedBitIsNoticed(t *testing.T) {
	packed, _ := write(t, header(), files(40))
	text := unpack(t, packed)
	_, want, _, _ := read(bytes.NewReader(packed))
	flips := 3000
	if testing.Short() {
		flips = 300
	}
	for range flips {
		bit := rand.IntN(len(text) * 8)
		changed := bytes.Clone(text)
		changed[bit/8] ^= 1 << (bit % 8)
		if _, _, err := Verify(bytes.NewReader(changed)); err == nil {
			t.Fatalf("bit %d of the lines was flipped, and that wasn't noticed", bit)
		}
		bit = rand.IntN(len(packed) * 8)
		changed = bytes.Clone(packed)
		changed[bit/8] ^= 1 << (bit % 8)
		if h, got, _, err := read(bytes.NewReader(changed)); err == nil && (h != header() || !slices.Equal(got, want)) {
			t.Fatalf("bit %d of the packed file was flipped, and other lines were read", bit)
		}
	}
	for cut := range len(packed) {
		if _, _, err := Verify(bytes.NewReader(packed[:cut])); err == nil {
			t.Fatalf("cut after %d bytes of %d, and that wasn't noticed", cut, len(packed))
		}
	}
	if _, _, err := Verify(bytes.NewReader(append(bytes.Clone(packed), packed...))); err == nil {
		t.Error("twice the same behind each other")
	}
}

func TestALaterVersionIsRefused(t *testing.T) {
	packed, _ := write(t, header(), files(1))
	text := bytes.Replace(unpack(t, packed), []byte(`"version":1`), []byte(`"version":2`), 1)
	if _, err := NewReader(bytes.NewReader(text)); !errors.Is(err, ErrNewer) {
		t.Errorf("version 2: %v", err)
	}
}

func TestAFailureOfTheSourceIsNoBrokenManifest(t *testing.T) {
	packed, _ := write(t, header(), files(3000))
	for _, form := range [][]byte{packed, unpack(t, packed)} {
		failed := errors.New("the line is down")
		_, _, err := Verify(io.MultiReader(bytes.NewReader(form[:len(form)/2]), failing{failed}))
		var broken *BrokenError
		if !errors.Is(err, failed) || errors.As(err, &broken) {
			t.Errorf("%v", err)
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// The program of docs/manifest.md says the same as this package.
func TestTheProgramOfTheDocsVerifies(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 isn't installed")
	}
	page, err := os.ReadFile(filepath.Join("..", "docs", "manifest.md"))
	if err != nil {
		t.Fatal(err)
	}
	code := regexp.MustCompile("(?s)```python\n(.*?)```").FindSubmatch(page)
	if code == nil {
		t.Fatal("docs/manifest.md has no program")
	}
	if n := bytes.Count(code[1], []byte("\n")); n > 20 {
		t.Errorf("the program has %d lines", n)
	}
	packed, _ := write(t, header(), append(files(50), strange()...))
	text := unpack(t, packed)
	lines := bytes.SplitAfter(text, []byte("\n"))
	for name, c := range map[string]struct {
		text []byte
		good bool
	}{
		"whole":   {text, true},
		"flipped": {bytes.Replace(text, []byte("IMG_0007"), []byte("IMG_0008"), 1), false},
		"cut":     {text[:len(text)/2], false},
		"dropped": {bytes.Join(slices.Delete(slices.Clone(lines), 3, 4), nil), false},
		"no end":  {bytes.Join(lines[:len(lines)-2], nil), false},
	} {
		name := filepath.Join(t.TempDir(), name+Extension)
		var b bytes.Buffer
		zip := gzip.NewWriter(&b)
		if _, err := zip.Write(c.text); err != nil {
			t.Fatal(err)
		}
		if err := zip.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(python, "-c", string(code[1]), name).CombinedOutput()
		if (err == nil) != c.good {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

func FuzzReader(f *testing.F) {
	packed, _ := write(f, header(), append(files(3), strange()[:4]...))
	f.Add(packed)
	f.Add(unpack(f, packed))
	f.Add([]byte(`{"offload":"manifest","version":1}`))
	f.Add([]byte{0x1f, 0x8b})
	f.Fuzz(func(t *testing.T, data []byte) {
		h, lines, sum, err := read(bytes.NewReader(data))
		if err != nil {
			return
		}
		if int64(len(lines)) != sum.Files || h.Version != Version {
			t.Errorf("%d lines, and %+v", len(lines), sum)
		}
		for _, l := range lines { // what is read can be written
			if _, err := PackLine(l); err != nil {
				t.Error(err)
			}
		}
	})
}

// A million files must need no more memory than a thousand.
func BenchmarkWriteAndVerify(b *testing.B) {
	lines := files(1000)
	b.ReportAllocs()
	for b.Loop() {
		r, w := io.Pipe()
		go func() {
			m, err := NewWriter(w, header())
			for range 10 {
				for _, l := range lines {
					if err == nil {
						err = m.Add(l)
					}
				}
			}
			if err == nil {
				_, err = m.Close()
			}
			w.CloseWithError(err)
		}()
		if _, _, err := Verify(r); err != nil {
			b.Fatal(err)
		}
	}
}
