package transfer

import (
	"errors"
	"slices"
	"strings"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/filter"
	"golang.org/x/text/unicode/norm"
)

// errFilesAlone says that a list of files is all the choice there is.
var errFilesAlone = errors.New("can't be used together with other filters")

// addRules adds rules in rclone's own form. Their order is the user's, which Include and Exclude would disturb: rclone warns
// of the mixture, here it is refused.
func addRules(f *filter.Filter, opt Options) error {
	for _, name := range opt.ExcludeIfPresent {
		if name == "" || name == "." || name == ".." || strings.Contains(name, "/") {
			return &FilterError{"exclude-if-present", name, errors.New("must be the name of a file, without a path")}
		}
	}
	if len(opt.Filter) > 0 && len(opt.Include)+len(opt.Exclude) > 0 {
		return &FilterError{Field: "filter", Err: errors.New("can't be used together with include and exclude: write all of them as filter rules")}
	}
	for _, rule := range opt.Filter {
		sign, pattern, _ := strings.Cut(rule, " ")
		if rule != "!" && (sign != "+" && sign != "-" || strings.TrimSpace(pattern) == "") {
			return &FilterError{"filter", rule, errors.New("a rule is + or -, a space and a pattern, such as \"- *.tmp\", or ! alone")}
		}
		if err := f.AddRule(norm.NFC.String(rule)); err != nil {
			first, _, _ := strings.Cut(err.Error(), "\n")
			return &FilterError{"filter", rule, errors.New("bad pattern: " + first)}
		}
	}
	return nil
}

// barred tells whether a folder holds a file that bars it, by what was listed of it (Options.ExcludeIfPresent). Asking for
// each file by name, as rclone's own filter does for folders, would cost a call for each folder.
func (p *Pair) barred(found []fs.DirEntry) bool {
	if len(p.Opt.ExcludeIfPresent) == 0 {
		return false
	}
	return slices.ContainsFunc(found, func(e fs.DirEntry) bool {
		_, isFile := e.(fs.Object)
		return isFile && slices.ContainsFunc(p.Opt.ExcludeIfPresent, func(name string) bool {
			return norm.NFC.String(baseName(e.Remote())) == norm.NFC.String(name)
		})
	})
}
