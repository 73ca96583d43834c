package transfer

import (
	"context"
	"strings"
	"testing"
	"time"

	_ "github.com/rclone/rclone/backend/memory"
	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/hash"
	"github.com/rclone/rclone/fs/object"
)

// oneFile is a memory remote with one file.
func oneFile(t *testing.T, root, content string) (fs.Fs, fs.Object) {
	t.Helper()
	ctx := context.Background()
	f, err := fs.NewFs(ctx, ":memory:"+root)
	if err != nil {
		t.Fatal(err)
	}
	info := object.NewStaticObjectInfo("f", time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC), int64(len(content)), true, nil, nil)
	o, err := f.Put(ctx, strings.NewReader(content), info)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.Remove(ctx) })
	return f, o
}

// mayDeleteCode asks mayDelete about a file that was copied, with the given traits of its source.
func mayDeleteCode(t *testing.T, of traits, change func(o *Outcome, m *mark), wrap func(fs.Object) fs.Object) string {
	t.Helper()
	ctx := context.Background()
	src, file := oneFile(t, "offload-rules-"+strings.ReplaceAll(t.Name(), "/", "-"), "content")
	p := NewPair(src, src, Options{DeleteSource: DeleteVerified})
	r := newRun(p, Batch{Entries: []Entry{{Path: "f"}}}, Env{}.withDefaults(), copyable)
	r.src.traits = of
	w := &work{r: r, e: r.batch.Entries[0]}
	o, m := Outcome{Result: Copied, Grade: GradeA}, markOf(ctx, file)
	if change != nil {
		change(&o, &m)
	}
	if wrap != nil {
		file = wrap(file)
	}
	code, _, err := w.mayDelete(ctx, o, m, file)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

func wantCode(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("code %q, want %q", got, want)
	}
}

func TestMayDeleteAllowsWhatIsProved(t *testing.T) {
	wantCode(t, mayDeleteCode(t, traits{}, nil, nil), "")
}

func TestRuleSizeIsTrusted(t *testing.T) {
	empty := func(_ *Outcome, m *mark) { m.size = 0 }
	wantCode(t, mayDeleteCode(t, traits{sizeUntrusted: true}, empty, nil), CodeSizeUntrusted)
	wantCode(t, mayDeleteCode(t, traits{}, empty, nil), "")
	wantCode(t, mayDeleteCode(t, traits{}, func(_ *Outcome, m *mark) { m.size = -1 }, nil), CodeSizeUntrusted)
	for backend, t2 := range knownTraits() {
		if strings.HasPrefix(backend, "icloud") && !t2.sizeUntrusted {
			t.Errorf("%s: sizes are trusted", backend)
		}
	}
}

type withID struct {
	fs.Object
	id string
}

func (o withID) ID() string { return o.id }

func TestRuleSharedIsKept(t *testing.T) {
	id := func(id string) func(fs.Object) fs.Object {
		return func(o fs.Object) fs.Object { return withID{o, id} }
	}
	of := knownTraits()["icloud.Fs"]
	wantCode(t, mayDeleteCode(t, of, nil, id("FILE::com.apple.CloudDocs::SHARED::1")), CodeShared)
	wantCode(t, mayDeleteCode(t, of, nil, id("FILE::com.apple.CloudDocs::1")), "")
}

type kept struct{ fs.Object }

func (kept) KeepReason() (string, string) { return CodeShared, "it is a package" }

func TestRuleObjectIsKept(t *testing.T) {
	wantCode(t, mayDeleteCode(t, traits{}, nil, func(o fs.Object) fs.Object { return kept{o} }), CodeShared)
}

func TestRulePurgeOnlyOursByRecord(t *testing.T) {
	trash := map[string]Trashed{"1": {ID: "1"}, "": {Path: "nameless"}}
	for _, c := range []struct {
		state SourceState
		id    string
		want  bool
	}{
		{Deleted, "1", true}, {Purging, "1", true}, {Deleted, "2", false}, {Deleted, "", false},
		{Kept, "1", false}, {Deleting, "1", false}, {Purged, "1", false}, {"", "1", false},
	} {
		if _, ok := rulePurgeOnlyOurs(Outcome{Source: c.state}, mark{id: c.id}, trash); ok != c.want {
			t.Errorf("state %q, ID %q: %v, want %v", c.state, c.id, ok, c.want)
		}
	}
}

func TestRuleReadOnlyIsKept(t *testing.T) {
	wantCode(t, mayDeleteCode(t, knownTraits()["iclouddrive.PhotosFs"], nil, nil), CodeReadOnly)
}

func TestRuleVersionIsKnown(t *testing.T) {
	bare := func(_ *Outcome, m *mark) { *m = mark{size: m.size, id: "1"} }
	wantCode(t, mayDeleteCode(t, traits{}, bare, nil), CodeNoMark)
}

func TestRuleGradeAllowsDeletion(t *testing.T) {
	for _, c := range []struct {
		grade, min Grade
		want       string
	}{
		{GradeA, GradeB, ""}, {GradeB, GradeB, ""}, {GradeC, GradeB, CodeWeakProof}, {GradeD, GradeB, CodeWeakProof},
		{"", GradeB, CodeWeakProof}, {GradeB, GradeA, CodeWeakProof}, {GradeC, GradeC, ""}, {GradeD, GradeD, CodeWeakProof},
		{GradeA, "", CodeWeakProof},
	} {
		wantCode(t, ruleGradeAllowsDeletion(c.grade, c.min), c.want)
	}
	wantCode(t, mayDeleteCode(t, traits{}, func(o *Outcome, _ *mark) { o.Grade = GradeC }, nil), CodeWeakProof)
}

func TestRuleHashIsProof(t *testing.T) {
	for _, weak := range []hash.Type{hash.None, hash.CRC32, hash.CRC32C, hash.XXH3} {
		if ruleHashIsProof(weak, 1, traits{}) {
			t.Errorf("%v is taken for a proof", weak)
		}
	}
	s3 := knownTraits()["s3.Fs"]
	if ruleHashIsProof(hash.MD5, s3.echoFrom, s3) {
		t.Error("what may be the uploader's claim is taken for the remote's own hash")
	}
	if !ruleHashIsProof(hash.MD5, s3.echoFrom-1, s3) {
		t.Error("the remote's own hash is not taken for a proof")
	}
	_, file := oneFile(t, "offload-echo", "content")
	if h, err := hashOf(context.Background(), file, hash.MD5, traits{echoFrom: 1}); h != "" || err != nil {
		t.Errorf("a claim is used: %q, %v", h, err)
	}
	if types := strongTypes(hash.NewHashSet(hash.CRC32, hash.MD5, hash.XXH3)); len(types) != 1 || types[0] != hash.MD5 {
		t.Errorf("strong types %v", types)
	}
}

func TestRuleUnchangedBeforeDeletion(t *testing.T) {
	at := time.Date(2026, 11, 20, 1, 2, 3, 4, time.UTC)
	was := mark{size: 5, mtime: at, id: "i", etag: "e", hash: "md5:00"}
	for name, c := range map[string]struct {
		now  mark
		want string
	}{
		"same":             {was, ""},
		"other size":       {mark{size: 6, mtime: at, id: "i", etag: "e", hash: "md5:00"}, CodeChangedLater},
		"other time":       {mark{size: 5, mtime: at.Add(1), id: "i", etag: "e", hash: "md5:00"}, CodeChangedLater},
		"other etag":       {mark{size: 5, mtime: at, id: "i", etag: "f", hash: "md5:00"}, CodeChangedLater},
		"other hash":       {mark{size: 5, mtime: at, id: "i", etag: "e", hash: "md5:01"}, CodeChangedLater},
		"other file":       {mark{size: 5, mtime: at, id: "j", etag: "e", hash: "md5:00"}, CodeChangedLater},
		"nothing to go by": {mark{size: 5, id: "i"}, CodeChangedLater},
		"time alone":       {mark{size: 5, mtime: at}, ""},
	} {
		t.Run(name, func(t *testing.T) { wantCode(t, ruleUnchangedBeforeDeletion(was, c.now), c.want) })
	}
}

func TestRuleListingWasWhole(t *testing.T) {
	complete, verified := Options{DeleteSource: DeleteComplete}, Options{DeleteSource: DeleteVerified}
	if RuleListingWasWhole(complete, 1) || !RuleListingWasWhole(complete, 0) || !RuleListingWasWhole(verified, 1) {
		t.Error("a job of policy complete deletes though something failed, or another doesn't")
	}
}

func TestMarkSurvivesItsText(t *testing.T) {
	for _, m := range []mark{
		{size: 5}, {size: 0, mtime: time.Date(2026, 11, 20, 1, 2, 3, 456789, time.UTC)},
		{size: -1, id: "FILE::x y+z&n=3", etag: `"a=b"`, hash: "md5:00"},
	} {
		got, ok := parseMark(m.String())
		if !ok || got != m {
			t.Errorf("%q read as %+v, want %+v", m.String(), got, m)
		}
	}
	for _, bad := range []string{"", "x", "n=", "n=a", "n=1&t=yesterday", "%zz"} {
		if _, ok := parseMark(bad); ok {
			t.Errorf("%q was taken for a mark", bad)
		}
	}
}

func TestRenamedIsStable(t *testing.T) {
	at := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	long := strings.Repeat("é", 200)
	for _, c := range []struct {
		name string
		n    int
		want string
	}{
		{"a/report.docx", 1, "a/report (offload 2026-11-22).docx"},
		{"report.docx", 2, "report (offload 2026-11-22 2).docx"},
		{".profile", 1, ".profile (offload 2026-11-22)"},
		{"README", 1, "README (offload 2026-11-22)"},
		{"d/" + long + ".txt", 1, "d/" + strings.Repeat("é", 115) + " (offload 2026-11-22).txt"},
	} {
		if got := renamed(c.name, at, c.n); got != c.want {
			t.Errorf("renamed(%q, %d) = %q, want %q", c.name, c.n, got, c.want)
		}
	}
	if got := partialName("d/"+long+".txt", "owner"); len(got) > 2+255 || !strings.HasSuffix(got, PartialSuffix) {
		t.Errorf("partial name %q of %d bytes", got, len(got))
	}
}
