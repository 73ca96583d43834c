package jobs

import "testing"

func TestWhatAJobIsCalled(t *testing.T) {
	for _, c := range []struct {
		job  Job
		want string
	}{
		{Job{Source: "icloud:Films", Dest: "dropbox:Backup"}, "icloud:Films to dropbox:Backup"},
		{Job{Source: "dropbox:Backup", Dest: "icloud:Films", Kind: KindRestore}, "dropbox:Backup to icloud:Films"},
		{Job{Source: "dropbox:Backup", Dest: "dropbox:Backup", Kind: KindScrub}, "Check of dropbox:Backup"},
		{Job{Source: "dropbox:Backup", Dest: "dropbox:Backup", Kind: KindScrub, Label: "Letters"}, "Letters"},
	} {
		if got := c.job.Title(); got != c.want {
			t.Errorf("a job from %s to %s is called %q, want %q", c.job.Source, c.job.Dest, got, c.want)
		}
	}
}
