package transfer

import (
	"strings"

	"github.com/rclone/rclone/fs"
)

// tunedOptions are options of rclone's backends that suit an engine which proves every file. What the user set stands.
//
// s3: no_head leaves out a look at each object after its upload, which lookAgain takes anyway, by a listing for many.
// A larger upload_cutoff sends files up to 1 GiB in one piece: only then is the ETag the MD5 of the content, by which
// S3 itself tells what it holds; one sent in parts has to be read back.
func tunedOptions(backend string) [][2]string {
	if backend == "s3" {
		return [][2]string{{"no_head", "true"}, {"upload_cutoff", "1Gi"}}
	}
	return nil
}

// tuned names a destination with those options, as a connection string of rclone.
func tuned(dest string) string {
	info, name, path, given, err := fs.ParseRemote(dest)
	if err != nil {
		return dest
	}
	params := given.String()
	for _, o := range tunedOptions(info.Name) {
		if _, ok := given.Get(o[0]); ok || isSet(info, name, o[0]) {
			continue
		}
		if params != "" {
			params += ","
		}
		params += o[0] + "=" + o[1]
	}
	if params == given.String() {
		return dest
	}
	if strings.HasPrefix(dest, ":") {
		name = ":" + strings.TrimPrefix(name, ":")
	}
	return name + "," + params + ":" + path
}

// isSet tells whether the user has set an option, in the configuration or the environment, to other than its default.
func isSet(info *fs.RegInfo, name, option string) bool {
	v, ok := fs.ConfigMap(info.Prefix, info.Options, name, nil).Get(option)
	if !ok {
		return false
	}
	o := info.Options.Get(option)
	return o == nil || v != o.String()
}
