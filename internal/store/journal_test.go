package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// journalOf makes a folder whose journal holds n records, and returns the journal and where each record ends.
func journalOf(t *testing.T, n int) (string, []byte, []int) {
	t.Helper()
	dir := t.TempDir()
	e := startEngine(t, dir, createFile, smallTuning())
	for i := range n {
		if err := e.c.HSet(t.Context(), "h", fmt.Sprint(i), fmt.Sprintf("\xa5\x0f value %d", i)).Err(); err != nil {
			t.Fatal(err)
		}
	}
	e.end(t)
	b, err := os.ReadFile(filepath.Join(dir, genName(journalPrefix, 1)))
	if err != nil {
		t.Fatal(err)
	}
	ends := []int{headerSize}
	for at := headerSize; at < len(b); {
		size, err := frameSize(b[at:])
		if err != nil {
			t.Fatal(err)
		}
		at += int(size)
		ends = append(ends, at)
	}
	if len(ends) != n+1 {
		t.Fatalf("%d records, not %d", len(ends)-1, n)
	}
	return dir, b, ends
}

func put(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// count opens the folder, counts the fields of h, writes one more and makes sure that it's still there after that.
func count(t *testing.T, dir string) int64 {
	t.Helper()
	e := startEngine(t, dir, createFile, smallTuning())
	n := e.c.HLen(t.Context(), "h").Val()
	if err := e.c.Set(t.Context(), "after", "1", 0).Err(); err != nil {
		t.Error(err)
	}
	e.end(t)
	e = startEngine(t, dir, createFile, smallTuning())
	defer e.end(t)
	if e.c.Get(t.Context(), "after").Val() != "1" || e.c.HLen(t.Context(), "h").Val() != n {
		t.Error("what was written behind a mended tail is lost")
	}
	return n
}

// TestTornTail cuts the journal at every byte of the last record, flips every byte of it, and lets zeros follow.
func TestTornTail(t *testing.T) {
	_, b, ends := journalOf(t, 4)
	last := ends[3]
	try := func(what string, b []byte, want int64) {
		dir := t.TempDir()
		put(t, filepath.Join(dir, genName(journalPrefix, 1)), b)
		if n := count(t, dir); n != want {
			t.Errorf("%s: %d records are there, not %d", what, n, want)
		}
	}
	for cut := last; cut < len(b); cut++ {
		try(fmt.Sprint("cut at ", cut), b[:cut], 3)
	}
	for at := last; at < len(b); at++ {
		bad := slices.Clone(b)
		bad[at] ^= 0x40
		try(fmt.Sprint("flipped ", at), bad, 3)
	}
	for _, zeros := range []int{1, 9, 10, 100, 5000} {
		try(fmt.Sprint(zeros, " zeros"), append(slices.Clone(b), make([]byte, zeros)...), 4)
	}
	for cut := range headerSize { // killed while the file was made
		try(fmt.Sprint("header cut at ", cut), b[:cut], 0)
	}
	try("header of zeros", make([]byte, headerSize), 0)
}

// TestDamageIsRefused: what lies before whole records was acknowledged, so it isn't dropped in silence.
func TestDamageIsRefused(t *testing.T) {
	dir, b, ends := journalOf(t, 4)
	name := filepath.Join(dir, genName(journalPrefix, 1))
	for _, at := range []int{ends[0], ends[0] + 3, ends[0] + 7, ends[1] + 1, ends[1] + frameHeader, ends[2] - 1, ends[2] + 12} {
		bad := slices.Clone(b)
		bad[at] ^= 0x01
		put(t, name, bad)
		i, _ := slices.BinarySearch(ends, at+1)
		wants := []string{name, fmt.Sprintf("byte %d", ends[i-1]), fmt.Sprintf("truncate -s %d %s", ends[i-1], name)}
		_, err := Open(t.Context(), Options{Dir: dir, Log: quiet()})
		for _, want := range wants {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("flipped %d: %v\nlacks %q", at, err, want)
			}
		}
		if got, _ := os.ReadFile(name); !bytes.Equal(got, bad) {
			t.Errorf("flipped %d: the file was changed", at)
		}
		put(t, name, bad[:ends[i-1]]) // the remedy that the message names
		if n := count(t, dir); n != int64(i-1) {
			t.Errorf("flipped %d: %d records after mending, not %d", at, n, i-1)
		}
	}
}

func TestFilesThatDontFit(t *testing.T) {
	dir, b, _ := journalOf(t, 4)
	path := func(prefix string, gen uint32) string { return filepath.Join(dir, genName(prefix, gen)) }
	frame := func(r record) []byte { return appendFrame(nil, r) }
	good := frame(record{now: 1, cmds: [][]string{{"SET", "k", "v"}}})
	cases := []struct {
		name  string
		files map[string][]byte
		want  string
	}{
		{"a journal is missing", map[string][]byte{path(journalPrefix, 2): header(2)}, path(journalPrefix, 1) + " is missing"},
		{"a journal in between is missing", map[string][]byte{path(journalPrefix, 1): b, path(journalPrefix, 3): header(3)},
			path(journalPrefix, 2) + " is missing"},
		{"a snapshot's journal is missing", map[string][]byte{path(snapshotPrefix, 5): append(header(5), frame(record{})...)},
			path(journalPrefix, 5) + " is missing"},
		{"another generation's header", map[string][]byte{path(journalPrefix, 1): header(2)}, "damaged at byte 0"},
		{"a newer format", map[string][]byte{path(journalPrefix, 1): append([]byte("OFLSTOR2"), make([]byte, 8)...)}, "another version"},
		{"another file", map[string][]byte{path(journalPrefix, 1): []byte("something else altogether")}, "doesn't begin as"},
		{"a torn tail before the last journal", map[string][]byte{path(journalPrefix, 1): b[:len(b)-1], path(journalPrefix, 2): header(2)},
			path(journalPrefix, 1) + " is damaged"},
		{"a snapshot without an end", map[string][]byte{path(snapshotPrefix, 2): append(header(2), good...), path(journalPrefix, 2): header(2)},
			path(snapshotPrefix, 2) + " is damaged"},
		{"a cut snapshot", map[string][]byte{path(snapshotPrefix, 2): append(header(2), good[:len(good)-3]...), path(journalPrefix, 2): header(2)},
			path(snapshotPrefix, 2) + " is damaged"},
		{"an unknown command", map[string][]byte{path(journalPrefix, 1): append(header(1), frame(record{1, [][]string{{"LAUNCH"}}})...)}, `"LAUNCH" is unknown`},
		{"a reading command", map[string][]byte{path(journalPrefix, 1): append(header(1), frame(record{1, [][]string{{"GET", "k"}}})...)}, `"GET" is unknown`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f, err := readFolder(dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, gen := range f.journals {
				removeQuietly(path(journalPrefix, gen))
			}
			for _, gen := range f.snapshots {
				removeQuietly(path(snapshotPrefix, gen))
			}
			for name, b := range c.files {
				put(t, name, b)
			}
			_, err = Open(t.Context(), Options{Dir: dir, Log: quiet()})
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), dir) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// TestInterruptedCompaction opens the folder as a kill leaves it at each step of a compaction.
func TestInterruptedCompaction(t *testing.T) {
	dir, b, _ := journalOf(t, 4)
	e := startEngine(t, dir, createFile, smallTuning())
	if err := e.compact(); err != nil {
		t.Fatal(err)
	}
	e.end(t)
	snap, err := os.ReadFile(filepath.Join(dir, genName(snapshotPrefix, 2)))
	if err != nil {
		t.Fatal(err)
	}
	j1, j2, s2 := genName(journalPrefix, 1), genName(journalPrefix, 2), genName(snapshotPrefix, 2)
	for name, files := range map[string]map[string][]byte{
		"the new journal is begun":     {j1: b, j2: nil},
		"its header is cut":            {j1: b, j2: header(2)[:7]},
		"the new journal is there":     {j1: b, j2: header(2)},
		"the snapshot is begun":        {j1: b, j2: header(2), s2 + tempSuffix: snap[:20]},
		"the snapshot isn't named yet": {j1: b, j2: header(2), s2 + tempSuffix: snap},
		"the snapshot is there":        {j1: b, j2: header(2), s2: snap},
		"the old journal is removed":   {j2: header(2), s2: snap},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for name, b := range files {
				put(t, filepath.Join(dir, name), b)
			}
			if n := count(t, dir); n != 4 {
				t.Errorf("%d of 4 records", n)
			}
		})
	}
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte{})
	f.Add(appendFrame(nil, record{}))
	f.Add(appendFrame(nil, record{now: -1, cmds: [][]string{{"SET", "k", "\x00\xff"}, {"DEL", ""}}}))
	f.Add(appendFrame(appendFrame(nil, record{now: 1 << 62, cmds: [][]string{{"X"}}}), record{}))
	f.Fuzz(func(t *testing.T, b []byte) {
		recordBehind(b)
		if payload, err := checkFrame(b); err == nil {
			if _, err := decodeRecord(payload); err != nil && !errors.Is(err, errDecode) {
				t.Error(err)
			}
		}
		r, err := decodeRecord(b) // as if the checksum had been right
		if err != nil {
			return
		}
		frame := appendFrame(nil, r)
		payload, err := checkFrame(frame)
		if err != nil {
			t.Fatal(err)
		}
		again, err := decodeRecord(payload)
		if err != nil || again.now != r.now || !slices.EqualFunc(again.cmds, r.cmds, slices.Equal) {
			t.Errorf("%v became %v, %v", r, again, err)
		}
		binary.LittleEndian.PutUint32(frame[6:], ^binary.LittleEndian.Uint32(frame[6:]))
		if _, err := checkFrame(frame); !errors.Is(err, errBad) {
			t.Errorf("a wrong checksum gave %v", err)
		}
	})
}
