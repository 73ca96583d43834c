package transfer

import (
	"strings"

	"github.com/rclone/rclone/fs"
)

// tuned names a destination so that its backend leaves out calls that the engine makes itself: rclone's s3 looks at
// each object after its upload, and so does lookAgain, by a listing for many. What the user set stands.
func tuned(dest string) string {
	info, name, path, given, err := fs.ParseRemote(dest)
	if err != nil || info.Name != "s3" {
		return dest
	}
	if _, ok := given.Get("no_head"); ok {
		return dest
	}
	if _, _, _, config, err := fs.ConfigFs(dest); err != nil {
		return dest
	} else if v, _ := config.Get("no_head"); v == "true" {
		return dest
	}
	params := given.String()
	if params != "" {
		params = "," + params
	}
	if strings.HasPrefix(dest, ":") {
		name = ":" + strings.TrimPrefix(name, ":")
	}
	return name + params + ",no_head=true:" + path
}
