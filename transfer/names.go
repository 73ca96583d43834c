package transfer

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/lib/encoder"
	"golang.org/x/text/unicode/norm"
)

// PartialSuffix ends the name of an upload that isn't proved yet. A scan passes over source files with this suffix:
// they are what is left of an earlier job that was killed.
const PartialSuffix = ".offload-partial"

// ManifestDir is the folder at the root of a destination that holds our manifests. A scan passes over it.
const ManifestDir = ".offload"

// Codes of the verdicts that a scan reaches.
const (
	CodeNameCollision = "name_collision" // two entries would land on one name at the destination
	CodeDuplicateName = "duplicate_name" // the source holds two files of exactly one name
	CodeNameUnsafe    = "name_unsafe"    // the name leads out of its folder, or isn't text
	CodeNotStorable   = "not_storable"   // the source lists it but can't hand it out (a device, a socket)
	CodeNotFound      = "not_found"      // asked for by name, but not at the source
	CodeNotListed     = "not_listed"     // asked for by name, but the source couldn't be asked
)

// nameRules say how a destination compares names and which it refuses.
type nameRules struct {
	fold    bool                  // upper and lower case are one
	buckets bool                  // a file and a folder may share a name
	enc     *encoder.MultiEncoder // how the remote's backend spells names; nil is as they are
	refuse  func(string) string   // why the encoded name is refused, "" where it isn't; nil refuses none
}

// rulesOf returns the name rules of a destination.
func rulesOf(f fs.Fs) nameRules {
	feat := f.Features()
	backend, enc := backendOf(f)
	return nameRules{fold: feat.CaseInsensitive, buckets: feat.BucketBased, enc: enc, refuse: refusals()[backend]}
}

// backendOf returns the type of a remote's backend ("dropbox") and its encoder, looking through wrappers that leave
// names as they are. What can't be told is "" and nil.
func backendOf(f fs.Fs) (string, *encoder.MultiEncoder) {
	info, _, _, config, err := fs.ConfigFs(fs.ConfigStringFull(f))
	if err != nil {
		if info = fs.FindFromFs(f); info == nil {
			return "", nil
		}
		return info.Name, nil
	}
	switch info.Name {
	case "hasher", "chunker", "cache":
		if unwrap := f.Features().UnWrap; unwrap != nil {
			return backendOf(unwrap())
		}
	}
	value, ok := config.Get("encoding")
	if !ok {
		return info.Name, nil
	}
	var enc encoder.MultiEncoder
	if err := enc.Set(value); err != nil {
		return info.Name, nil
	}
	return info.Name, &enc
}

// refusals is the table of names that a backend refuses, by the backend's type.
func refusals() map[string]func(string) string {
	return map[string]func(string) string{"dropbox": dropboxRefuses, "local": localRefuses}
}

func dropboxRefuses(name string) string {
	switch strings.ToLower(name) {
	case "desktop.ini", "thumbs.db", ".ds_store", "icon\r", ".dropbox", ".dropbox.attr":
		return "Dropbox takes no file named " + name
	}
	if n := utf8.RuneCountInString(name); n > 255 {
		return fmt.Sprintf("Dropbox takes names of at most 255 characters, this has %d", n)
	}
	return ""
}

func localRefuses(name string) string {
	if runtime.GOOS == "linux" && len(name) > 255 {
		return fmt.Sprintf("the file system takes names of at most 255 bytes, this has %d", len(name))
	}
	return ""
}

// encoded returns the name as the destination spells it.
func (r nameRules) encoded(name string) string {
	name = norm.NFC.String(name)
	if r.enc != nil {
		name = r.enc.FromStandardName(name)
	}
	return name
}

// key returns what the destination compares: two names with one key are one name there (safety rule 6).
func (r nameRules) key(name string) string {
	name = r.encoded(name)
	if r.fold {
		return foldName(name)
	}
	return name
}

// pathKey is key for each part of a path.
func (r nameRules) pathKey(path string) string {
	parts := strings.Split(path, "/")
	for i, part := range parts {
		parts[i] = r.key(part)
	}
	return strings.Join(parts, "/")
}

// refused tells why the destination wouldn't take a file or folder of this name; "" says that it would.
func (r nameRules) refused(name string) string {
	if r.refuse == nil {
		return ""
	}
	return r.refuse(r.encoded(name))
}

// refusedPath is refused for each part of a path.
func (r nameRules) refusedPath(path string) string {
	for part := range strings.SplitSeq(path, "/") {
		if why := r.refused(part); why != "" {
			return why
		}
	}
	return ""
}

// FoldText maps texts that differ in case alone, or in how their letters are composed, to one string, for whoever looks for
// a part of one.
func FoldText(text string) string { return foldName(text) }

// foldName maps names that differ in case alone to one string: Unicode's canonical caseless matching with simple
// folding. The result is for comparing, not for showing.
func foldName(name string) string {
	ascii := true
	for i := range len(name) {
		if name[i] >= utf8.RuneSelf {
			ascii = false
			break
		}
	}
	if ascii {
		return strings.ToUpper(name)
	}
	return norm.NFD.String(strings.Map(foldRune, norm.NFD.String(name)))
}

// foldRune returns the least letter that differs from r in case alone. Combining marks don't represent letters (the
// iota subscript is of one fold with the letter iota): they would combine with what stands before them.
func foldRune(r rune) rune {
	least := rune(-1)
	for c := r; ; {
		if !unicode.Is(unicode.M, c) && (least < 0 || c < least) {
			least = c
		}
		if c = unicode.SimpleFold(c); c == r {
			break
		}
	}
	if least < 0 {
		return r
	}
	return least
}

// unsafeName tells why an entry that a listing of dir returned must not be followed or copied, "" where it may. The
// rest is the entry's path below dir. Names come from a server that may be broken or hostile.
func unsafeName(rest string) string {
	switch {
	case rest == "":
		return "the source lists the folder inside itself"
	case rest == "." || rest == "..":
		return "the name leads out of its folder"
	case strings.Contains(rest, "/"):
		return "the name holds a slash or leads out of its folder"
	case !utf8.ValidString(rest):
		return "the name isn't valid UTF-8, so that it can't be written down and found again; rename the file"
	case strings.ContainsRune(rest, 0):
		return "the name holds a zero byte"
	}
	return ""
}

// LeavesRoot tells whether a path names anything but a file below a root.
func LeavesRoot(path string) bool {
	for part := range strings.SplitSeq(path, "/") {
		if part == "" || part == "." || part == ".." || strings.ContainsRune(part, 0) {
			return true
		}
	}
	return false
}

// confined is a batch without entries that lead out of its source or destination: a record may come from elsewhere. Those fail.
func confined(b Batch) Batch {
	entries := slices.Clone(b.Entries)
	for i, e := range entries {
		if e.Verdict == Pending && (LeavesRoot(e.SourcePath()) || LeavesRoot(e.DestPath())) {
			e.Verdict, e.Code, e.Reason = Failed, CodeNameUnsafe, fmt.Sprintf("%s: its record names a place outside of the source or the destination.", safeName(e.Path))
			entries[i] = e
		}
	}
	b.Entries = entries
	return b
}

// safeName spells an unsafe name so that it can be shown and joined to a path without leading anywhere.
func safeName(rest string) string {
	const mask = encoder.EncodeSlash | encoder.EncodeDot | encoder.EncodeInvalidUtf8 | encoder.EncodeCtl
	if rest == "" {
		return "(no name)"
	}
	return encoder.MultiEncoder(mask).Encode(rest)
}

// joinPath joins a folder below the root and a name.
func joinPath(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// baseName is the last part of a path below the root.
func baseName(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// dirName is all but the last part of a path below the root, "" for the root.
func dirName(path string) string { return path[:max(0, strings.LastIndexByte(path, '/'))] }
