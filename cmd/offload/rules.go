package main

import (
	"fmt"
	"io"

	"offload/jobs"
	"offload/jobs/orderform"
)

// writeRules writes which files an order chooses, as options: a preset is seen as what it stands for. Nothing is written
// where it chooses all.
func writeRules(w io.Writer, o jobs.Order) {
	values := orderform.Values(o)
	any := false
	for _, name := range orderform.OptionNames() {
		switch name {
		case orderform.Include, orderform.Exclude, orderform.Filter, orderform.ExcludeMarked, orderform.MinAge, orderform.MaxAge,
			orderform.MinSize, orderform.MaxSize:
			for _, v := range values[name] {
				any = true
				fmt.Fprintf(w, "  only files by --%s %s\n", name, printable(v))
			}
		case orderform.FilesFrom:
			if n := len(values[name]); n > 0 {
				any = true
				fmt.Fprintf(w, "  only files of a list of %s\n", count(int64(n), "path"))
			}
		}
	}
	if any {
		fmt.Fprintln(w)
	}
}
