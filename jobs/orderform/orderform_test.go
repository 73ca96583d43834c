package orderform

import (
	"maps"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"offload/internal/leaktest"
	"offload/jobs"
	"offload/transfer"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }

// full is an order in which every field differs from its default.
func full() jobs.Order {
	return jobs.Order{Source: "/home/anna/it's here", Dest: "/mnt/nas $HOME", Account: "anna",
		Options: transfer.Options{DeleteSource: transfer.DeleteVerified, MinGrade: transfer.GradeC, Hold: 7 * 24 * time.Hour, PurgeTrash: true,
			DeletePackages: true, Conflict: transfer.ConflictSkip, Include: []string{"*.jpg", "/a b/**"}, Exclude: []string{"-x", "`id`"},
			MinAge: 36 * time.Hour, MaxAge: 90 * time.Minute * 100, MinSize: 1000, MaxSize: 5 << 30, Order: transfer.OrderLargest},
		Priority: jobs.High, MaxTransfer: 20 << 30, MaxDelete: 0, BwLimit: "08:00,512k 23:00,off", Window: "22:00-06:00", Transfers: 4, Label: "Omas Bilder; rm -rf /"}
}

func TestWhatIsWrittenIsReadAgain(t *testing.T) {
	listed := full()
	listed.Include, listed.Exclude, listed.MinAge, listed.MaxAge, listed.MinSize, listed.MaxSize = nil, nil, 0, 0, 0, 0
	listed.FilesFrom = []string{"a/b c.jpg", " leading", "Grüße/ü.txt"}
	ruled := full()
	ruled.Include, ruled.Exclude, ruled.MinAge, ruled.MaxAge = nil, nil, 0, 0
	ruled.Filter, ruled.ExcludeIfPresent = []string{"+ /a/**.jpg", "- *.{tmp,bak}", "!", "- {{(?i)x y}}"}, []string{".nobackup"}
	ruled.ModifiedFrom, ruled.ModifiedTo = time.Date(2024, 1, 31, 0, 0, 0, 0, time.UTC), time.Date(2025, 1, 31, 12, 30, 0, 5, time.UTC)
	plain := jobs.Order{Source: "/a", Dest: "/b", MaxDelete: -1}.WithDefaults()
	for name, o := range map[string]jobs.Order{"full": full(), "list": listed, "plain": plain, "rules": ruled} {
		got, wrong := Parse(Values(o))
		if len(wrong) > 0 || !reflect.DeepEqual(got, o) {
			t.Errorf("%s: got %+v\nwant %+v\n%v", name, got, o, wrong)
		}
	}
	if v := Values(plain); len(v) != 2 {
		t.Errorf("defaults are written, too: %v", v)
	}
	// Every option is written where it differs, so none is forgotten when one is added.
	v := Values(full())
	v[FilesFrom] = listed.FilesFrom
	v[Filter], v[ExcludeMarked] = Values(ruled)[Filter], Values(ruled)[ExcludeMarked]
	v[Preset] = []string{"stored as what it stands for"}
	for _, name := range OptionNames() {
		if len(v[name]) == 0 {
			t.Errorf("%s isn't written", name)
		}
	}
}

// A shell splits the command line into the very words that were meant.
func TestCommandLineInAShell(t *testing.T) {
	o := full()
	o.Source, o.Label = "icloud:it's \"x\" $(id) ü \u202e\n", "a\\b'c"
	line := CommandLine(o)
	if strings.ContainsAny(line, "\n\u202e") {
		t.Errorf("the line holds what can't be seen: %q", line)
	}
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash")
	}
	out, err := exec.Command(bash, "-c", `offload() { printf '%s\0' "$@"; }; `+line).Output()
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	for _, want := range []string{o.Source, o.Dest, o.Label, "*.jpg", "/a b/**", "--exclude=-x", "`id`", o.BwLimit} {
		if !slices.Contains(got, want) {
			t.Errorf("%q isn't a word of %q", want, line)
		}
	}
	if got[0] != "enqueue" {
		t.Errorf("it begins with %q", got[0])
	}
}

func TestCommandLine(t *testing.T) {
	o := jobs.Order{Source: "icloud:", Dest: "dropbox:Backup", MaxDelete: -1}
	if got := CommandLine(o); got != "offload enqueue icloud: dropbox:Backup" {
		t.Error(got)
	}
	planned := o
	planned.Plan = "abc" // its source and destination alone would be an order to move everything
	if got := CommandLine(planned); got != "offload enqueue --plan-file plan.jsonl" {
		t.Error(got)
	}
	planned.DeleteSource, planned.MinAge, planned.Exclude, planned.PurgeTrash = transfer.DeleteVerified, 24*time.Hour, []string{"/Work/**"}, true
	planned.Goal = &jobs.Goal{Remote: "icloud:", To: "dropbox:A b", Backup: 8 << 30, Order: "fewest", KeepRecent: 24 * time.Hour, Protect: []string{"/Work/**"}, Purge: true}
	if got := CommandLine(planned); got != "offload free icloud: --to 'dropbox:A b' --for-backup 8GiB --order fewest --keep-recent 1d --protect '/Work/**' --purge-trash" {
		t.Error(got)
	}
	o.FilesFrom = []string{"a b", "c"}
	if got := CommandLine(o); got != `printf '%s\n' 'a b' c | offload enqueue icloud: dropbox:Backup --files-from -` {
		t.Error(got)
	}
	o.FilesFrom = slices.Repeat([]string{"x"}, maxListed+1)
	if got := CommandLine(o); got != "offload enqueue icloud: dropbox:Backup --files-from paths.txt" {
		t.Error(got)
	}
}

func TestParseRefuses(t *testing.T) {
	deleting := map[string][]string{DeleteSource: {"verified"}}
	tests := []struct {
		name, value, want string
		with              map[string][]string
	}{
		{Source, "", "missing", nil},
		{Source, "icloud:x\x1b", "control characters", nil},
		{Source, "../x", "isn't a remote", nil},
		{Source, "/a/../../etc", "isn't a remote", nil},
		{Source, "nocloud:x", "is no remote", nil},
		{Source, ":sftp,ssh='id':x", "no kind of remote", nil},
		{Dest, "/a/", "is the source", nil},
		{DeleteSource, "always", `"always"`, nil},
		{MinGrade, "D", `"D"`, deleting},
		{MinGrade, "C", "nothing is deleted", nil},
		{Hold, "7", "duration", deleting},
		{Hold, "7d", "nothing is deleted", nil},
		{Hold, "4000d", "ten years", deleting},
		{PurgeTrash, "yes", "neither", deleting},
		{MaxDelete, "-1", "whole number", deleting},
		{MaxDelete, "99999999999999999999", "whole number", deleting},
		{MaxSize, "5GB", "GiB", nil},
		{MaxSize, "0", "move nothing", nil},
		{MinSize, "-1", `"-1"`, nil},
		{MinSize, "5GiB", "larger", map[string][]string{MaxSize: {"1GiB"}}},
		{Transfers, "257", "whole number", nil},
		{Transfers, "٤", "whole number", nil},
		{Window, "25:00-06:00", "25:00", nil},
		{BwLimit, "fast", "fast", nil},
		{BwLimit, " ", "is empty", nil},
		{Account, "Anna", "valid name", nil},
		{Label, strings.Repeat("x", 201), "200", nil},
		{Include, "", "pattern is empty", nil},
		{FilesFrom, "ok\n../x", "line 2", nil},
		{FilesFrom, "# nothing", "names no file", nil},
		{FilesFrom, "a", "patterns", map[string][]string{Include: {"*.jpg"}}},
		{FilesFrom, "a", "patterns", map[string][]string{Filter: {"- *.jpg"}}},
		{FilesFrom, "a", "patterns", map[string][]string{Preset: {"photos"}}},
		{Filter, "*.jpg", "+ or -", nil},
		{Filter, "-*.jpg", "+ or -", nil},
		{Filter, "- ", "+ or -", nil},
		{Filter, "# no", "+ or -", nil},
		{Filter, "", "empty", nil},
		{Filter, "- [a", "bad pattern", nil},
		{Filter, "- {{(}}", "bad pattern", nil},
		{Filter, "- *.jpg", "--include", map[string][]string{Include: {"*.jpg"}}},
		{Filter, "- *.jpg", "--include", map[string][]string{Exclude: {"*.jpg"}}},
		{Filter, "- *.jpg", "--preset", map[string][]string{Preset: {"photos"}}},
		{ExcludeMarked, "a/b", "without a path", nil},
		{ExcludeMarked, "..", "without a path", nil},
		{ExcludeMarked, "", "empty", nil},
		{Preset, "music", `"music"`, nil},
		{Preset, "Photos", `"Photos"`, nil},
		{Preset, "", `""`, nil},
		{MaxAge, "2999-01-01", "future", nil},
		{MaxAge, "2024-13-01", "duration", nil},
		{MaxAge, "0001-01-01", "duration", nil},
		{MaxAge, "2024-06-01", "later than", map[string][]string{MinAge: {"2024-01-01"}}},
		{"delete_source", "verified", "isn't an option", nil},
	}
	for _, tt := range tests {
		values := map[string][]string{Source: {"/a"}, Dest: {"/b"}}
		maps.Copy(values, tt.with)
		values[tt.name] = []string{tt.value}
		_, wrong := Parse(values)
		if len(wrong) != 1 || wrong[0].Field != tt.name || wrong[0].Hint == "" || !strings.Contains(wrong[0].Error(), tt.want) {
			t.Errorf("%s=%q: %v; want one mistake with %q", tt.name, tt.value, wrong, tt.want)
		}
	}
	_, wrong := Parse(map[string][]string{Source: {"/a", "/c"}, Hold: {"x"}, MaxSize: {"x"}})
	if len(wrong) != 4 {
		t.Errorf("not all mistakes are told: %v", wrong)
	}
}

// What a person left empty isn't given; a pattern on each line is a pattern.
func TestGiven(t *testing.T) {
	got := Given(map[string][]string{Source: {"/a"}, Hold: {""}, Include: {"*.jpg\r\n\r\n*.png\r\n"}, "csrf": {"x"}, Label: {" "}})
	want := map[string][]string{Source: {"/a"}, Include: {"*.jpg", "*.png"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("hold", "7d", "/a")
	f.Add("files-from", "a\n..", "icloud:")
	f.Add("bwlimit", "08:00,512k", ":x,y=z:")
	f.Fuzz(func(t *testing.T, name, value, source string) {
		values := map[string][]string{Source: {source}, Dest: {"/b"}, DeleteSource: {"verified"}}
		values[name] = []string{value}
		o, wrong := Parse(values)
		if len(wrong) > 0 {
			return
		}
		again, wrong := Parse(Values(o))
		if len(wrong) > 0 || !reflect.DeepEqual(o, again) {
			t.Errorf("%+v is read again as %+v, %v", o, again, wrong)
		}
	})
}

// Nothing of a goal is read by the shell as anything but its value.
func TestCommandLineOfAStrangeGoal(t *testing.T) {
	const order = "largest; touch x"
	if got := CommandLine(jobs.Order{Goal: &jobs.Goal{Remote: "icloud:", To: "dropbox:", Free: 1, Order: order}}); !strings.Contains(got, "--order "+ShellQuote(order)) {
		t.Error(got)
	}
}
