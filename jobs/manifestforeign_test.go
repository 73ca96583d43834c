package jobs

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/oklog/ulid/v2"

	"offload/manifest"
	"offload/transfer"
)

// foreign is a manifest that somebody else has written: whole, and of whatever they like.
func foreign(t *testing.T, dest string, lines ...manifest.Line) (id string, raw []byte) {
	t.Helper()
	id = ulid.Make().String()
	var b bytes.Buffer
	m, err := manifest.NewWriter(&b, manifest.Header{Job: id, Source: "icloud:", Destination: dest, Account: DefaultAccount})
	for _, l := range lines {
		if err == nil {
			err = m.Add(l)
		}
	}
	if err == nil {
		_, err = m.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return id, b.Bytes()
}

func deletedLine(path, source, dest string) manifest.Line {
	return manifest.Line{Path: path, Source: source, Dest: dest, Size: 3, Result: string(transfer.Copied), State: string(transfer.Deleted)}
}

// A manifest that is imported may name no place outside of what its job was about.
func TestAnImportedManifestStaysInItsPlace(t *testing.T) {
	w := newWorld(t, "")
	for _, l := range []manifest.Line{
		deletedLine("../../etc/passwd", "", ""), deletedLine("a", "", "../secret"), deletedLine("a", "../../.ssh/authorized_keys", "a"),
		deletedLine("/etc/passwd", "", ""), deletedLine("a", "", "/etc/passwd"), deletedLine("a/../../b", "", "b"), deletedLine("a", "", "a\x00b"),
	} {
		id, raw := foreign(t, w.dst, deletedLine("fine", "", ""), l)
		_, made, err := w.svc.ImportManifest(t.Context(), bytes.NewReader(raw))
		var broken *manifest.BrokenError
		if !errors.As(err, &broken) || broken.Line != 3 || made || len(w.manifestKeys(id)) > 0 {
			t.Errorf("%+v: %v, %v", l, made, err)
		}
	}
	aside := manifest.Line{Path: "‥", Source: "..", Size: -1, Result: string(transfer.SetAside), Code: transfer.CodeNameUnsafe}
	if _, raw := foreign(t, w.dst, aside); true {
		if _, made, err := w.svc.ImportManifest(t.Context(), bytes.NewReader(raw)); err != nil || !made {
			t.Errorf("a file that was set aside for its name: %v, %v", made, err)
		}
	}
}

// Paths that are packed to almost nothing don't fill the memory, nor blocks that couldn't be read again.
func TestAnImportedManifestIsBounded(t *testing.T) {
	w := newWorld(t, "")
	long := strings.Repeat("x", 1<<19)
	lines := make([]manifest.Line, 200)
	for i := range lines {
		lines[i] = deletedLine(long, "", "")
	}
	id, raw := foreign(t, w.dst, lines...)
	_, made, err := w.svc.ImportManifest(t.Context(), bytes.NewReader(raw))
	var broken *manifest.BrokenError
	if !errors.As(err, &broken) || made || len(w.manifestKeys(id)) > 0 {
		t.Errorf("%d bytes of %d: %v, %v", len(raw), len(lines)*len(long), made, err)
	}
}

// What the record of somebody else calls its destination may be a program: a scrub opens nothing but configured remotes.
func TestScrubOpensNoRemoteMadeUpByARecord(t *testing.T) {
	w := newWorld(t, "")
	for _, dest := range []string{":local:" + w.dst, ":sftp,ssh='touch /tmp/x':", "nowhere:x", "relative", w.dst + "/../x"} {
		id, raw := foreign(t, dest, deletedLine("a", "", ""))
		if _, made, err := w.svc.ImportManifest(t.Context(), bytes.NewReader(raw)); err != nil || !made {
			t.Fatalf("%s: %v, %v", dest, made, err)
		}
		var wrong *OrderError
		if j, err := w.svc.Scrub(t.Context(), id, true); !errors.As(err, &wrong) || wrong.Field != "of" {
			t.Errorf("%s: job %q, %v", dest, j.ID, err)
		}
	}
}

// A plan's lines are packed to what can be read again, however long they are.
func TestPlansOfLongLines(t *testing.T) {
	p, err := NewPlanned()
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 1<<19)
	for range 200 {
		if err := p.Add(PlannedFile{Entry: transfer.Entry{Path: long, Size: 1}}); err != nil {
			t.Fatal(err)
		}
	}
	p.Seal()
	n := 0
	if err := p.Each(func(PlannedFile) error { n++; return nil }); err != nil || n != 200 {
		t.Errorf("%d lines, %v", n, err)
	}
}
