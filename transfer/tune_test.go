package transfer

import (
	"testing"

	_ "github.com/rclone/rclone/backend/local"
	_ "github.com/rclone/rclone/backend/s3"
)

func TestTunedKeepsWhatTheUserSet(t *testing.T) {
	t.Setenv("RCLONE_CONFIG_BARE_TYPE", "s3")
	t.Setenv("RCLONE_CONFIG_SET_TYPE", "s3")
	t.Setenv("RCLONE_CONFIG_SET_UPLOAD_CUTOFF", "300Mi")
	t.Setenv("RCLONE_CONFIG_SET_NO_HEAD", "true")
	for dest, want := range map[string]string{
		"bare:bucket/a b":                  "bare,no_head=true,upload_cutoff=1Gi:bucket/a b",
		"set:bucket":                       "set:bucket",
		"bare,no_head=false:bucket":        "bare,no_head='false',upload_cutoff=1Gi:bucket",
		":s3,provider=Other:bucket":        ":s3,provider='Other',no_head=true,upload_cutoff=1Gi:bucket",
		"/tmp/somewhere":                   "/tmp/somewhere",
		"nowhere:x":                        "nowhere:x",
		":local:/tmp/x":                    ":local:/tmp/x",
		"bare,upload_cutoff=5Mi:bucket/ü,": "bare,upload_cutoff='5Mi',no_head=true:bucket/ü,",
	} {
		if got := tuned(dest); got != want {
			t.Errorf("%s: opened as %s, want %s", dest, got, want)
		}
	}
}
