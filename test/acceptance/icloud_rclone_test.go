package acceptance

import "testing"

// TestRcloneMoveLosesFiles shows that the first three faults aren't made up: `rclone move` at its defaults, on the same
// clouds with the same faults, ends well and leaves contents that are neither at Dropbox nor alive at iCloud.
func TestRcloneMoveLosesFiles(t *testing.T) {
	changed := []string{"Docs/folder 00/file 003.txt", "Docs/folder 01/file 001.txt", "Docs/folder 02/file 023.txt"}
	for _, fault := range []struct {
		name string
		set  func(s *stock) interface{ Count() int }
	}{
		{"whose bit Dropbox flips", func(s *stock) interface{ Count() int } { return flips(s.c, false) }},
		{"whose bit Dropbox flips, the commit telling the hash of what was sent", func(s *stock) interface{ Count() int } { return flips(s.c, true) }},
		{"that change after their download", func(s *stock) interface{ Count() int } { return changesAfterDownload(s, changed) }},
		{"that change before their deletion", func(s *stock) interface{ Count() int } { return changesBeforeDeletion(s, changed) }},
	} {
		t.Run(fault.name, func(t *testing.T) {
			f := newFaulty(t)
			h := fault.set(f.s)
			out, err := f.c.rclone("move", "icloud:", "dropbox:Backup").CombinedOutput()
			f.hit(h)
			lost := f.s.lost()
			if len(lost) == 0 {
				t.Errorf("rclone move lost nothing (%v):\n%s", err, out)
			}
			t.Logf("rclone move (error: %v) lost %d of %d files: %q\n%s", err, len(lost), len(f.s.all()), lost, out)
		})
	}
}
