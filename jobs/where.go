package jobs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/text/unicode/norm"

	"offload/manifest"
	"offload/transfer"
)

// Where is one place of an offloaded file.
type Where struct {
	Job         string    `json:"job"`
	Source      string    `json:"source"`      // of the job
	Path        string    `json:"path"`        // below the source
	Destination string    `json:"destination"` // of the job
	Dest        string    `json:"dest"`        // below the destination
	At          string    `json:"at"`          // both together, as a remote and a path
	Size        int64     `json:"size"`
	ModTime     time.Time `json:"mtime,omitzero"`
	Grade       string    `json:"grade,omitempty"`
	Hash        string    `json:"hash,omitempty"`
	Result      string    `json:"outcome"`
	State       string    `json:"state,omitempty"` // of the source file, when the job ended
	Proved      time.Time `json:"proved,omitzero"`
	Deleted     time.Time `json:"deleted,omitzero"`
}

// WherePage is what Where found.
type WherePage struct {
	Files []Where `json:"files"`
	More  bool    `json:"more"` // there are more than were asked for
}

// Bounds of Where.
const (
	whereDefault = 100
	whereMost    = 1000
	whereChunk   = 16 // blocks of names read in one call
)

// Where finds the files that jobs have offloaded, of jobs that ended and of those that wait for the end of a hold, also where the
// job was removed since: those whose path below the source, or at the destination, holds a text, in any case and in any
// composition of letters. A star in it stands for any characters. The newest jobs come first; limit 0 is 100, and 1,000 the
// most. A text that makes no sense is an *OrderError.
func (s *Service) Where(ctx context.Context, name string, limit int) (WherePage, error) {
	if limit <= 0 {
		limit = whereDefault
	}
	limit = min(limit, whereMost)
	if err := CheckWhere(name); err != nil {
		return WherePage{}, err
	}
	places, err := s.manifestPlaces(ctx)
	if err != nil {
		return WherePage{}, err
	}
	var blocks []nameBlock
	for _, p := range places {
		for n := int64(1); n <= p.names; n++ {
			blocks = append(blocks, nameBlock{p, n})
		}
	}
	q, page := newGlob(name), WherePage{Files: []Where{}}
	// The first step is small: most searches find enough among the newest. Then as many go side by side as there are processors.
	for n := whereChunk; len(blocks) > 0 && !page.More; n = whereChunk * runtime.GOMAXPROCS(0) {
		n = min(n, len(blocks))
		if err := s.whereIn(ctx, blocks[:n], q, limit, &page); err != nil {
			return WherePage{}, err
		}
		blocks = blocks[n:]
	}
	return page, nil
}

// CheckWhere refuses what Where can't look for, as an *OrderError.
func CheckWhere(name string) error {
	const hint = "give a file's name, or a part of its path"
	switch {
	case strings.TrimSpace(name) == "":
		return &OrderError{Field: "name", Err: errors.New("is empty"), Hint: hint}
	case strings.Trim(name, "* \t\n") == "":
		return &OrderError{Field: "name", Value: name, Err: errors.New("stands for every file"), Hint: hint}
	}
	return checkSearch(name)
}

// nameBlock is a block of names of a manifest.
type nameBlock struct {
	manifestPlace
	n int64
}

// hit is a line of a manifest that a search has found.
type hit struct {
	at   manifestPlace
	line int64 // counted from 0
}

// whereIn searches blocks of names and adds what it finds to the page.
func (s *Service) whereIn(ctx context.Context, blocks []nameBlock, q glob, limit int, page *WherePage) error {
	found := make([][]hit, len(blocks))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for from := 0; from < len(blocks); from += whereChunk {
		g.Go(func() error {
			to := min(len(blocks), from+whereChunk)
			keys := make([]string, 0, whereChunk)
			for _, b := range blocks[from:to] {
				keys = append(keys, keysOf(b.id).names(b.gen, b.n))
			}
			raw, err := s.unpackSome(gctx, keys)
			if err != nil {
				return fmt.Errorf("search names: %w", err)
			}
			for i, text := range raw {
				b := blocks[from+i]
				searchNames(text, q, func(line int) bool {
					found[from+i] = append(found[from+i], hit{b.manifestPlace, (b.n-1)*namesBlock + int64(line)})
					return len(found[from+i]) <= limit
				})
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	var hits []hit
	for _, f := range found {
		hits = append(hits, f...)
	}
	if room := limit - len(page.Files); len(hits) > room {
		hits, page.More = hits[:room], true
	}
	return s.tellWhere(ctx, hits, q, page)
}

// tellWhere reads the lines of hits and adds them to the page.
func (s *Service) tellWhere(ctx context.Context, hits []hit, q glob, page *WherePage) error {
	infos := map[string]ManifestInfo{}
	for from := 0; from < len(hits); {
		var keys []string
		to := from
		for ; to < len(hits) && len(keys) < blocksRead; to++ { // a block of lines is read once for all hits in it
			key := keysOf(hits[to].at.id).lines(hits[to].at.gen, hits[to].line/linesBlock+1)
			if len(keys) == 0 || keys[len(keys)-1] != key {
				keys = append(keys, key)
			}
		}
		raw, err := s.unpackSome(ctx, keys)
		if err != nil {
			return fmt.Errorf("read what was found: %w", err)
		}
		block := 0
		for _, h := range hits[from:to] {
			if key := keysOf(h.at.id).lines(h.at.gen, h.line/linesBlock+1); key != keys[block] {
				block++
			}
			info, known := infos[h.at.id]
			if !known {
				if info, err = s.manifestInfo(ctx, h.at.id); err != nil && !errors.Is(err, ErrNoManifest) {
					return err
				}
				infos[h.at.id] = info
			}
			text := lineAt(raw[block], int(h.line%linesBlock))
			if text == nil || info.gen != h.at.gen {
				continue // it is being written anew: the next search finds it
			}
			l, err := manifest.UnpackLine(text)
			if err != nil {
				return err
			}
			page.Files = append(page.Files, whereOf(info, l))
		}
		from = to
	}
	return nil
}

// lineAt is a line of a block, nil where it has fewer.
func lineAt(block []byte, n int) []byte {
	for ; n > 0; n-- {
		i := bytes.IndexByte(block, '\n')
		if i < 0 {
			return nil
		}
		block = block[i+1:]
	}
	if i := bytes.IndexByte(block, '\n'); i >= 0 {
		return block[:i]
	}
	return nil
}

func whereOf(info ManifestInfo, l manifest.Line) Where {
	return Where{Job: info.Job, Source: info.Source, Path: l.Path, Destination: info.Destination, Dest: l.Dest, At: Below(info.Destination, l.Dest),
		Size: l.Size, ModTime: l.ModTime, Grade: l.Grade, Hash: l.Hash, Result: l.Result, State: l.State, Proved: l.Proved, Deleted: l.Deleted}
}

// Below is a path below a remote's, as rclone writes it.
func Below(remote, file string) string {
	if strings.HasSuffix(remote, ":") || strings.HasSuffix(remote, "/") {
		return remote + file
	}
	return remote + "/" + file
}

// unpackSome is unpackAll, where blocks that are missing are empty: their manifest is being written anew, or was dropped.
func (s *Service) unpackSome(ctx context.Context, keys []string) ([][]byte, error) {
	blobs, err := s.getAll(ctx, keys)
	if err != nil {
		return nil, err
	}
	all := make([][]byte, len(keys))
	for i, blob := range blobs {
		if blob == nil {
			continue
		}
		if all[i], err = s.codec.dec.DecodeAll(blob, nil); err != nil {
			return nil, fmt.Errorf("unpack %s: %w", keys[i], err)
		}
	}
	return all, nil
}

// glob is a text with stars, to be found in others.
type glob struct {
	parts []string // between the stars, folded; each is behind the one before
	probe string   // a part of one of them that must stand in a single name
}

func newGlob(text string) glob {
	var g glob
	for part := range strings.SplitSeq(text, "*") {
		if part == "" {
			continue
		}
		part = foldPath(part)
		g.parts = append(g.parts, part)
		for name := range strings.SplitSeq(part, "/") {
			if len(name) > len(g.probe) {
				g.probe = name
			}
		}
	}
	return g
}

// in tells whether a folded text holds the parts, in their order.
func (g glob) in(text string) bool {
	for _, part := range g.parts {
		i := strings.Index(text, part)
		if i < 0 {
			return false
		}
		text = text[i+len(part):]
	}
	return true
}

// foldPath makes paths comparable: in any case and composition, and without what stands for something in a block of names.
func foldPath(text string) string {
	text = transfer.FoldText(norm.NFC.String(text))
	if strings.IndexFunc(text, func(r rune) bool { return r < ' ' }) < 0 {
		return text
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, text)
}

// Marks of a block of names. A line of it is the name of a file, in the order of the manifest; one that begins with folderMark
// is the folder of those that follow. A file that isn't found by its name has an empty line. Behind otherMark stands the whole
// path at the destination, where it is another one.
const (
	folderMark = '\x01'
	otherMark  = '\x02'
)

// namesWriter makes blocks of names.
type namesWriter struct {
	text   []byte
	dir    string
	held   int // files
	blocks int64
}

// add adds a file. Those that aren't at the destination aren't found.
func (w *namesWriter) add(l manifest.Line) {
	w.held++
	if l.Result != string(transfer.Copied) && l.Result != string(transfer.Skipped) {
		w.text = append(w.text, '\n')
		return
	}
	dir, name := path.Split(foldPath(l.Path))
	if dir != w.dir {
		w.text = append(append(append(w.text, folderMark), dir...), '\n')
		w.dir = dir
	}
	w.text = append(w.text, name...)
	if l.Dest != l.Path {
		w.text = append(append(w.text, otherMark), foldPath(l.Dest)...)
	}
	w.text = append(w.text, '\n')
}

func (w *namesWriter) bytes() []byte { return w.text }

func (w *namesWriter) reset() { w.text, w.dir, w.held = w.text[:0], "", 0 }

// searchNames calls yield with the place of each file of a block that is looked for, until it answers false.
func searchNames(block []byte, q glob, yield func(line int) bool) {
	if !bytes.Contains(block, []byte(q.probe)) {
		return
	}
	dir, line := "", 0
	for len(block) > 0 {
		text := block
		if i := bytes.IndexByte(block, '\n'); i >= 0 {
			text, block = block[:i], block[i+1:]
		} else {
			block = nil
		}
		if len(text) > 0 && text[0] == folderMark {
			dir = string(text[1:])
			continue
		}
		if len(text) > 0 {
			name, other, _ := strings.Cut(string(text), string(otherMark))
			if (q.in(dir+name) || other != "" && q.in(other)) && !yield(line) {
				return
			}
		}
		line++
	}
}
