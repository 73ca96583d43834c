package transfer

import (
	"context"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/hash"
)

// mark is what a source says of the version of a file: two looks with the same mark saw the same bytes, as far as the
// source can tell.
type mark struct {
	size  int64
	mtime time.Time // zero where the source has none, or the epoch for none
	id    string
	etag  string
	hash  string // "type:hex", only where asking costs nothing
}

// ETagger is an optional power of a source's object: a version mark that changes with the content.
type ETagger interface{ ETag() string }

// markOf reads the mark off an object. It asks nothing of the remote beyond what the look itself has brought, but for
// the modification time of remotes that keep it apart.
func markOf(ctx context.Context, o fs.Object) mark {
	m := mark{size: o.Size(), id: idOf(o), etag: etagOf(o)}
	// A remote that can't set times (plain WebDAV) still reports those of its own, which change with the file; one that
	// makes up a time at each look never says the same twice, and its files are kept.
	if t := o.ModTime(ctx).UTC(); t.Unix() > 0 {
		m.mtime = t
	}
	if !o.Fs().Features().SlowHash {
		for _, t := range strongTypes(o.Fs().Hashes()) {
			if h, err := o.Hash(ctx, t); err == nil && h != "" {
				m.hash = hashName(t, h)
				break
			}
		}
	}
	return m
}

func idOf(o fs.Object) string {
	if x, ok := o.(fs.IDer); ok {
		return x.ID()
	}
	return ""
}

func etagOf(o fs.Object) string {
	if x, ok := o.(ETagger); ok {
		return x.ETag()
	}
	return ""
}

// same tells whether both marks are of one version. A field that either side lacks says nothing, but at least one of
// modification time, etag and hash must be there on both sides and agree.
func (m mark) same(n mark) bool {
	if m.size != n.size {
		return false
	}
	told := false
	for _, f := range [][2]string{{m.etag, n.etag}, {m.hash, n.hash}} {
		if f[0] == "" || f[1] == "" {
			continue
		}
		if f[0] != f[1] {
			return false
		}
		told = true
	}
	if m.id != "" && n.id != "" && m.id != n.id {
		return false
	}
	if !m.mtime.IsZero() && !n.mtime.IsZero() {
		if !m.mtime.Equal(n.mtime) {
			return false
		}
		told = true
	}
	return told
}

// String is the form kept in Outcome.SourceMark.
func (m mark) String() string {
	v := []string{"n=" + strconv.FormatInt(m.size, 10)}
	if !m.mtime.IsZero() {
		v = append(v, "t="+m.mtime.Format(time.RFC3339Nano))
	}
	for _, f := range [][2]string{{"i", m.id}, {"e", m.etag}, {"h", m.hash}} {
		if f[1] != "" {
			v = append(v, f[0]+"="+url.QueryEscape(f[1]))
		}
	}
	return strings.Join(v, "&")
}

// parseMark reads what String wrote; ok is false for anything else, and a mark that can't be read allows no deletion.
func parseMark(s string) (m mark, ok bool) {
	v, err := url.ParseQuery(s)
	if err != nil || !v.Has("n") {
		return mark{}, false
	}
	m.size, err = strconv.ParseInt(v.Get("n"), 10, 64)
	if err != nil {
		return mark{}, false
	}
	if t := v.Get("t"); t != "" {
		if m.mtime, err = time.Parse(time.RFC3339Nano, t); err != nil {
			return mark{}, false
		}
	}
	m.id, m.etag, m.hash = v.Get("i"), v.Get("e"), v.Get("h")
	return m, true
}

// hashName joins a hash type and its value as outcomes keep them.
func hashName(t hash.Type, sum string) string { return t.String() + ":" + sum }

// splitHash takes hashName apart; the type is hash.None where s is empty or of no known type.
func splitHash(s string) (hash.Type, string) {
	name, sum, ok := strings.Cut(s, ":")
	if !ok {
		return hash.None, ""
	}
	var t hash.Type
	if t.Set(name) != nil {
		return hash.None, ""
	}
	return t, sum
}
