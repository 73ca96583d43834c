package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// The folder holds a snapshot of generation N (none at first), and the journals of generations N, N+1 and so on, each
// with what happened after the one before. Compaction begins journal N+1 and writes snapshot N+1, the state at that
// moment, under a temporary name; once that is renamed, everything older is removed.
const (
	journalPrefix  = "journal-"
	snapshotPrefix = "snapshot-"
	tempSuffix     = ".tmp"
	lockName       = "lock"
	socketName     = "socket"
	headerSize     = 16
	magic          = "OFLSTOR1" // the digit is the version of the format
)

// file is what the journal needs of *os.File. Tests put one in between that fails.
type file interface {
	io.WriterAt
	Sync() error
	Truncate(size int64) error
	Close() error
}

// filesystem makes the files that are written to.
type filesystem func(path string) (file, error)

// createFile makes a new file; one that is there already is an error, for it would be another's.
func createFile(path string) (file, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
}

func genName(prefix string, gen uint32) string { return fmt.Sprintf("%s%08d", prefix, gen) }

// header begins every file: magic, generation and a CRC32C of both.
func header(gen uint32) []byte {
	b := append([]byte(magic), 0, 0, 0, 0)
	binary.LittleEndian.PutUint32(b[8:], gen)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

// checkHeader tells whether head begins a file of the generation.
func checkHeader(head []byte, gen uint32) error {
	want := header(gen)
	switch {
	case bytes.Equal(head, want):
		return nil
	case len(head) < headerSize, bytes.Equal(head, make([]byte, headerSize)): // the machine ended while it was made
		return errShort
	case bytes.HasPrefix(head, []byte(magic[:7])) && head[7] != magic[7]:
		return errors.New("it was written by another version of offload; use that version, or a newer one")
	}
	return errors.New("it doesn't begin as a file of the store does")
}

// folder is what is in the folder, by generation.
type folder struct {
	dir       string
	snapshots []uint32 // ascending
	journals  []uint32
}

// readFolder lists the folder and removes what an interrupted compaction left.
func readFolder(dir string) (*folder, error) {
	f := &folder{dir: dir}
	entries, err := os.ReadDir(dir) // sorted by name, and the numbers are padded
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		name := e.Name()
		prefix := journalPrefix
		if strings.HasPrefix(name, snapshotPrefix) {
			prefix = snapshotPrefix
		}
		num, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		if strings.HasSuffix(num, tempSuffix) {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				return nil, err
			}
			continue
		}
		gen, err := strconv.ParseUint(num, 10, 32)
		if err != nil || genName(prefix, uint32(gen)) != name {
			continue // not ours
		}
		if prefix == snapshotPrefix {
			f.snapshots = append(f.snapshots, uint32(gen))
		} else {
			f.journals = append(f.journals, uint32(gen))
		}
	}
	return f, nil
}

// plan returns the snapshot to load, 0 for none, and the journals to replay after it. Generations older than that are
// removed: a compaction was interrupted after its snapshot was complete.
func (f *folder) plan() (uint32, []uint32, error) {
	var snap uint32
	if n := len(f.snapshots); n > 0 {
		snap = f.snapshots[n-1]
	}
	if err := f.removeBefore(snap); err != nil {
		return 0, nil, err
	}
	journals := f.journals
	for len(journals) > 0 && journals[0] < snap {
		journals = journals[1:]
	}
	next := max(snap, 1)
	for _, gen := range journals {
		if gen != next {
			return 0, nil, f.missing(next)
		}
		next++
	}
	if snap > 0 && len(journals) == 0 {
		return 0, nil, f.missing(snap)
	}
	return snap, journals, nil
}

func (f *folder) missing(gen uint32) error {
	return fmt.Errorf("file %s is missing: put it back from a backup of the folder, or move the folder away to begin "+
		"with an empty store", filepath.Join(f.dir, genName(journalPrefix, gen)))
}

// removeBefore removes the files of generations before gen.
func (f *folder) removeBefore(gen uint32) error {
	remove := func(prefix string, gens []uint32) error {
		for _, g := range gens {
			if g >= gen {
				break
			}
			if err := os.Remove(filepath.Join(f.dir, genName(prefix, g))); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
		return nil
	}
	return errors.Join(remove(journalPrefix, f.journals), remove(snapshotPrefix, f.snapshots))
}

// syncDir makes the names of a folder's files durable.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" { // it can't, and needn't
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
