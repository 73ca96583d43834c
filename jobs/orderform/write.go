package orderform

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"offload/configs"
	"offload/jobs"
	"offload/transfer"
)

// Values writes an order as Parse reads it: source, destination, and the options that differ from their defaults.
func Values(o jobs.Order) map[string][]string {
	o = o.WithDefaults()
	values := map[string][]string{}
	put := func(name string, differs bool, text string) {
		if differs {
			values[name] = []string{text}
		}
	}
	put(Source, o.Source != "", o.Source)
	put(Dest, o.Dest != "", o.Dest)
	put(Account, o.Account != jobs.DefaultAccount, o.Account)
	if o.Deletes() { // without a deletion these do nothing, and aren't taken
		put(DeleteSource, true, string(o.DeleteSource))
		put(MinGrade, o.MinGrade != transfer.GradeB, string(o.MinGrade))
		put(Hold, o.Hold > 0, duration(o.Hold))
		put(PurgeTrash, o.PurgeTrash, "true")
		put(DeletePackages, o.DeletePackages, "true")
		put(MaxDelete, o.MaxDelete >= 0, strconv.FormatInt(o.MaxDelete, 10))
	}
	put(Conflict, o.Conflict != transfer.ConflictRename, string(o.Conflict))
	put(MinAge, o.MinAge > 0, duration(o.MinAge))
	put(MinAge, !o.ModifiedTo.IsZero(), date(o.ModifiedTo))
	put(MaxAge, o.MaxAge > 0, duration(o.MaxAge))
	put(MaxAge, !o.ModifiedFrom.IsZero(), date(o.ModifiedFrom))
	put(MinSize, o.MinSize > 0, configs.Size(o.MinSize).String())
	put(MaxSize, o.MaxSize > 0, configs.Size(o.MaxSize).String())
	put(Order, o.Order != transfer.OrderFound, string(o.Order))
	put(MaxTransfer, o.MaxTransfer > 0, configs.Size(o.MaxTransfer).String())
	put(Priority, o.Priority != jobs.Normal, string(o.Priority))
	put(BwLimit, o.BwLimit != "", o.BwLimit)
	put(Window, o.Window != "", o.Window)
	put(Transfers, o.Transfers > 0, strconv.Itoa(o.Transfers))
	put(Label, o.Label != "", o.Label)
	for name, list := range map[string][]string{Include: o.Include, Exclude: o.Exclude, Filter: o.Filter,
		ExcludeMarked: o.ExcludeIfPresent, FilesFrom: o.FilesFrom} {
		if len(list) > 0 {
			values[name] = list
		}
	}
	return values
}

// duration writes a time exactly and as people do: "7d", "36h", "90m".
func duration(d time.Duration) string {
	for _, unit := range []struct {
		of   time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}} {
		if d%unit.of == 0 {
			return strconv.FormatInt(int64(d/unit.of), 10) + unit.name
		}
	}
	return d.String()
}

// maxListed is how many paths a command line names; a longer list belongs into a file.
const maxListed = 20

// CommandLine writes the command that makes a job of an order, with the options that differ from their defaults, for a POSIX
// shell. A long list of files is named as a file that the person has to write.
//
// A job with a plan did what the plan named, so that its source and destination alone would be another order: for one that made
// room it is the command that asks for that room again, for any other one that takes the file of the plan.
func CommandLine(o jobs.Order) string {
	values := Values(o)
	line := []string{"offload", "enqueue", argument(o.Source), argument(o.Dest)}
	pipe := ""
	switch {
	case o.Goal != nil:
		line = goalLine(*o.Goal)
		for _, name := range []string{DeleteSource, Order, Exclude, MinAge} { // the goal says it
			delete(values, name)
		}
	case o.Plan != "":
		return "offload enqueue --plan-file plan.jsonl"
	}
	for _, name := range OptionNames() {
		list := values[name]
		switch {
		case len(list) == 0:
		case name == FilesFrom && len(list) > maxListed:
			line = append(line, "--files-from", "paths.txt")
		case name == FilesFrom:
			pipe = `printf '%s\n'`
			for _, p := range list {
				pipe += " " + ShellQuote(p)
			}
			pipe += " | "
			line = append(line, "--files-from", "-")
		case name == PurgeTrash, name == DeletePackages:
			line = append(line, "--"+name)
		default:
			for _, v := range list {
				line = append(line, option(name, v)...)
			}
		}
	}
	return pipe + strings.Join(line, " ")
}

// goalLine is the beginning of the command that makes room.
func goalLine(g jobs.Goal) []string {
	line := []string{"offload", "free", argument(g.Remote), "--to", ShellQuote(g.To)}
	switch {
	case g.Backup > 0:
		line = append(line, "--for-backup", configs.Size(g.Backup).String())
	case g.Percent > 0:
		line = append(line, "--until", strconv.Itoa(g.Percent)+"%free")
	default:
		line = append(line, "--target", configs.Size(g.Free).String())
	}
	if g.Order != "" && g.Order != "oldest" {
		line = append(line, option("order", g.Order)...)
	}
	if g.KeepRecent > 0 {
		line = append(line, "--keep-recent", duration(g.KeepRecent))
	}
	for _, p := range g.Protect {
		line = append(line, option("protect", p)...)
	}
	return line
}

// option writes an option and its value; a value that begins with a dash would else be taken for an option.
func option(name, value string) []string {
	if strings.HasPrefix(value, "-") {
		return []string{"--" + name + "=" + ShellQuote(value)}
	}
	return []string{"--" + name, ShellQuote(value)}
}

// argument quotes a path.
func argument(path string) string {
	if strings.HasPrefix(path, "-") {
		path = "./" + path
	}
	return ShellQuote(path)
}

// ShellQuote quotes a word for a POSIX shell. What can't be seen is written so that it can, by $'...', which bash, zsh and
// newer shells know.
func ShellQuote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/:._-+=,@%", r)
	}
	switch {
	case s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }):
		return s
	case !strings.ContainsFunc(s, unseen):
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	var b strings.Builder
	for s != "" {
		r, size := utf8.DecodeRuneInString(s)
		switch part := s[:size]; {
		case unseen(r):
			for _, c := range []byte(part) {
				fmt.Fprintf(&b, `\x%02x`, c)
			}
		case r == '\'' || r == '\\':
			b.WriteString(`\` + part)
		default:
			b.WriteString(part)
		}
		s = s[size:]
	}
	return "$'" + b.String() + "'"
}

// unseen tells whether a character can't be seen in a line, or changes how the others are seen.
func unseen(r rune) bool {
	return r == unicode.ReplacementChar || !unicode.IsPrint(r) && !unicode.Is(unicode.Mn, r)
}
