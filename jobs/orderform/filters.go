package orderform

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"offload/configs"
	"offload/jobs"
)

// preset is a choice of files that has a name. It becomes rules of the order, which keeps no name: what is stored, shown and
// written as a command line are the rules.
type preset struct {
	name       string
	extensions string // parted by |
	minSize    int64
	minAge     time.Duration
}

func presets() []preset {
	return []preset{
		{name: "photos", extensions: "jpg|jpeg|jpe|heic|heif|hif|avif|png|gif|bmp|tif|tiff|webp|dng|raw|cr2|cr3|crw|nef|nrw|arw|srf|sr2|orf|raf|rw2|pef|srw|psd|aae"},
		{name: "videos", extensions: "mov|mp4|m4v|qt|avi|mkv|webm|mpg|mpeg|m2v|m2ts|mts|mxf|wmv|flv|3gp|3g2|vob|ogv|braw|insv"},
		{name: "documents", extensions: "pdf|doc|docx|docm|dot|dotx|xls|xlsx|xlsm|xlsb|xlt|xltx|ppt|pptx|pptm|pps|ppsx|odt|ods|odp|odg|rtf|rtfd|txt|md|csv|tsv|tex|epub|mobi|pages|numbers|key|html|htm|eml"},
		{name: "large-old", minSize: 100 << 20, minAge: 365 * 24 * time.Hour},
	}
}

func presetNames() []string {
	var names []string
	for _, p := range presets() {
		names = append(names, p.name)
	}
	return names
}

// pattern matches the extensions in any case, in any folder.
func (p preset) pattern() string { return "*.{{(?i:" + p.extensions + ")}}" }

// presets turns the presets that are named into rules. Their patterns are added to those of --include, so that several
// presets together choose what any of them does; a size or age that is given outranks that of large-old.
func (r *reader) presets(o *jobs.Order) {
	for _, name := range r.Values[Preset] {
		i := slices.Index(presetNames(), name)
		if i < 0 {
			r.Fail(Preset, "choose "+strings.Join(presetNames(), ", "), fmt.Errorf("unknown value %s", configs.Quote(name)))
			continue
		}
		p := presets()[i]
		if p.extensions != "" && !slices.Contains(o.Include, p.pattern()) {
			o.Include = append(slices.Clone(o.Include), p.pattern())
		}
		if p.minSize > 0 && !r.Given(MinSize) {
			o.MinSize = p.minSize
		}
		if p.minAge > 0 && !r.Given(MinAge) {
			o.MinAge = p.minAge
		}
	}
}

// age reads a duration, or a date as rclone takes it: then a file's own time is compared with that, however late the job
// runs. A date without a zone is of this machine's.
func (r *reader) age(name string) (d time.Duration, at time.Time) {
	if !r.Given(name) {
		return 0, time.Time{}
	}
	text := r.One(name)
	if at, ok := parseDate(text); ok {
		return 0, at
	}
	return parse(r, name, "write a duration like 90m, 12h, 7d or 2w, or a date like 2024-01-31", configs.ParseDuration), time.Time{}
}

func parseDate(text string) (time.Time, bool) {
	for _, form := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02"} {
		if at, err := time.ParseInLocation(form, text, time.Local); err == nil && at.Year() >= 1900 {
			return at.UTC(), true
		}
	}
	return time.Time{}, false
}

// date writes a time as age reads it.
func date(at time.Time) string { return at.UTC().Format(time.RFC3339Nano) }

// maxRules bounds a file of rules, in bytes: each rule is compared with each file.
const maxRules = 1 << 20

// ReadRules reads rules or patterns, one a line, as rclone does: spaces around are cut off; empty lines and those that begin
// with # or ; are passed over. The error says which line is wrong.
func ReadRules(in io.Reader) ([]string, error) {
	var rules []string
	err := eachLine(in, maxRules+1, "1 MiB", func(n int, line string) error {
		line = strings.TrimSpace(line)
		if !utf8.ValidString(line) {
			return fmt.Errorf("line %d is no text: %s", n, configs.Quote(line))
		}
		rules = append(rules, line)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(rules) == 0 {
		return nil, errors.New("holds no rule") // what was meant to be left out would go along
	}
	return rules, nil
}

// withoutMark takes off the mark that some editors begin a text with.
func withoutMark(line string) string { return strings.TrimPrefix(line, "\ufeff") }
