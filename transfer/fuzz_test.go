package transfer

import (
	"archive/zip"
	"bytes"
	"testing"
)

// FuzzMark reads marks as an older or broken journal may hold them: what is read is written the same, and a mark that says
// nothing of a version equals none, so that it allows no deletion.
func FuzzMark(f *testing.F) {
	for _, seed := range []string{"", "n=1", "n=-1&e=x", "n=5&t=2024-05-06T07:08:09.5Z&i=FILE%3A%3A1&e=1%3A%3A2&h=md5%3Aab", "n=x", "n=1&t=never", "&&;%"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, ok := parseMark(s)
		if !ok {
			return
		}
		again, ok := parseMark(m.String())
		if !ok || again.String() != m.String() {
			t.Errorf("%q is read as %q, that as %q (%v)", s, m.String(), again.String(), ok)
		}
		if m.etag == "" && m.hash == "" && m.mtime.IsZero() && m.same(m) {
			t.Errorf("%q tells no version apart, and equals itself", s)
		}
	})
}

// FuzzZipContent tests zips as a source or a stranger may give them: they are read whole or refused.
func FuzzZipContent(f *testing.F) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create("Index/Document.iwa")
	if err != nil {
		f.Fatal(err)
	}
	if _, err := w.Write(bytes.Repeat([]byte("slide"), 50)); err != nil {
		f.Fatal(err)
	}
	if err := z.Close(); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add(b.Bytes()[:b.Len()/2])
	f.Add([]byte("PK\x05\x06"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > 1<<16 {
			return
		}
		first, err := zipContent(bytes.NewReader(raw), int64(len(raw)))
		if err != nil {
			return
		}
		second, err := zipContent(bytes.NewReader(raw), int64(len(raw)))
		if err != nil || len(first) != len(second) {
			t.Errorf("a zip read twice holds %d files, then %d (%v)", len(first), len(second), err)
		}
	})
}
