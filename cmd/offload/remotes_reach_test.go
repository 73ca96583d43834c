package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rclone/rclone/fs"

	"offload/dashboard/guard"
	"offload/remotes"
)

// Whoever signs in through a browser mustn't reach files and programs of the dashboard's machine. A name that looks as if it
// did, in a later rclone, has to be looked at here.
func TestGuideReachesNothingOfThisMachine(t *testing.T) {
	suspect := regexp.MustCompile(`command|file|ssh|exec|path|env_auth`)
	leads := regexp.MustCompile(`^(remote|remotes|upstreams?)$`)
	harmless := []string{"crypt filename_encryption", "sftp key_file_pass", "oracleobjectstorage config_profile"}
	seen := 0
	for _, kind := range fs.Registry {
		offered := slices.ContainsFunc(remotes.GuideKinds(), func(k remotes.Kind) bool { return k.Name == kind.Name })
		refused := remotes.CheckKind(kind.Name) != nil
		if offered && refused {
			t.Errorf("kind %s is offered, and refused", kind.Name)
		}
		for _, o := range kind.Options {
			if o.Advanced || refused {
				continue
			}
			if leads.MatchString(o.Name) {
				t.Errorf("kind %s wraps another remote, and isn't refused", kind.Name)
			}
			if !suspect.MatchString(o.Name) {
				continue
			}
			seen++
			if err := remotes.CheckSetting(kind.Name, o.Name, ""); err != nil {
				t.Errorf("%s %s: nothing is refused: %v", kind.Name, o.Name, err)
			}
			if remotes.CheckSetting(kind.Name, o.Name, "true") == nil && !slices.Contains(harmless, kind.Name+" "+o.Name) {
				t.Errorf("%s %s is taken", kind.Name, o.Name)
			}
		}
	}
	if seen < 8 {
		t.Errorf("only %d names were looked at", seen)
	}
	for _, kind := range []string{"local", "alias", "archive", "cache", "chunker", "combine", "compress", "crypt", "hasher", "union"} {
		if remotes.CheckKind(kind) == nil {
			t.Errorf("kind %s is taken", kind)
		}
	}
	for _, ok := range [][3]string{{"s3", "env_auth", "false"}, {"onedrive", "config_site_path", "/sites/x"}, {"sftp", "host", "x.example"}} {
		if err := remotes.CheckSetting(ok[0], ok[1], ok[2]); err != nil {
			t.Errorf("%v is refused: %v", ok, err)
		}
	}
}

func TestPagesReachNothingOfThisMachine(t *testing.T) {
	s := newFormSite(t)
	s.holds(s.post("/remotes/add", "kind", "crypt", "name", "x"), 422, "offload remotes add", "can reach the files")
	got := s.post("/remotes/add", "kind", "sftp", "name", "nas")
	met := map[string]bool{}
	for range 20 {
		for words, refusal := range map[string]string{"PEM-encoded private key file": "names a file of the machine", "external ssh binary": "names a program of the machine"} {
			if strings.Contains(got.text, words) && !met[words] {
				met[words] = true
				s.holds(s.post("/remotes/nas/sign-in", "answer", "/bin/true"), 422, refusal, "offload remotes add")
			}
		}
		if len(met) == 2 {
			return
		}
		answer := ""
		if strings.Contains(got.text, "SSH host to connect to") {
			answer = "127.0.0.1"
		}
		got = s.post("/remotes/nas/sign-in", "answer", answer)
	}
	t.Errorf("only these were asked for: %v", met)
}

// Who has to sign in may be anywhere: no folder of this machine is for them.
func TestLocalPathsNeedNobodyToSignIn(t *testing.T) {
	for _, tt := range []struct {
		o    guard.Options
		want bool
	}{{guard.Options{}, true}, {guard.Options{Users: []guard.User{{Name: "anna"}}}, false}, {guard.Options{Tokens: []guard.Token{{Name: "ci"}}}, false}} {
		if got := tt.o.Open(); got != tt.want {
			t.Errorf("%d users, %d tokens: %v", len(tt.o.Users), len(tt.o.Tokens), got)
		}
	}
}
