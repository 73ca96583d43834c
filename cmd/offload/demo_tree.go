package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// demoTree is what the demo made: the SHA-256 of each file, by path.
type demoTree struct {
	sums    map[string]string
	collide bool // two names collide; file systems that fold names can't hold both
}

// demoMaker writes the demo's files. Their content is the same on every machine and in every year.
type demoMaker struct {
	root   string
	random *rand.ChaCha8
	tree   demoTree
	made   int
}

// makeDemoTree fills root with a believable cloud of about 230 MB.
func makeDemoTree(root string) (demoTree, error) {
	m := &demoMaker{root: root, random: rand.NewChaCha8(sha256.Sum256([]byte("offload demo"))), tree: demoTree{sums: map[string]string{}}}
	steps := []func() error{m.documents, m.photos, m.unicode, m.film}
	for _, step := range steps {
		if err := step(); err != nil {
			return m.tree, err
		}
	}
	return m.tree, nil
}

// write makes one file of head, size random bytes and tail, and notes its sum.
func (m *demoMaker) write(path, head string, size int64, tail string) error {
	full := filepath.Join(m.root, filepath.FromSlash(path))
	if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(full, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	sum := sha256.New()
	content := io.MultiReader(strings.NewReader(head), io.LimitReader(m.random, size), strings.NewReader(tail))
	if err := copyAndClose(f, content, sum); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	m.made++
	taken := time.Date(2024, 5, 1, 9, 0, 0, 0, time.UTC).Add(time.Duration(m.made) * 37 * time.Hour)
	m.tree.sums[path] = hex.EncodeToString(sum.Sum(nil))
	return os.Chtimes(full, taken, taken)
}

func copyAndClose(f *os.File, content io.Reader, sum hash.Hash) error {
	buffered := bufio.NewWriterSize(io.MultiWriter(f, sum), 1<<20)
	_, err := io.Copy(buffered, content)
	return errors.Join(err, buffered.Flush(), f.Close())
}

func (m *demoMaker) documents() error {
	names := []string{"Letters/Landlord.txt", "Letters/Insurance.txt", "Taxes/2023/Return.pdf", "Taxes/2023/Receipts.pdf",
		"Taxes/2024/Return.pdf", "Work/Offer.docx", "Work/Plans/Timetable.xlsx", "Recipes/Bread.md", "Recipes/Goulash.md", "Notes.txt"}
	for i, name := range names {
		text := strings.Repeat(fmt.Sprintf("%s, line by line, as people keep them for years.\n", name), 20+37*i)
		if err := m.write("Documents/"+name, text, int64(i)*900, ""); err != nil {
			return err
		}
	}
	return m.write("Documents/Empty on purpose.txt", "", 0, "")
}

func (m *demoMaker) photos() error {
	for i := range 24 {
		name := fmt.Sprintf("Photos/2024/%02d/IMG_%04d.jpg", 5+i/8, 1200+i)
		if err := m.write(name, "\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01", int64(600_000+i*41_000), "\xff\xd9"); err != nil {
			return err
		}
	}
	return nil
}

// unicode makes names as other systems and languages write them, and two that are the same name for most clouds: once
// with one character for the letter, once with the letter and its accent apart.
func (m *demoMaker) unicode() error {
	for _, name := range []string{"Reise nach Köln/Straße & Brücke.txt", "Reise nach Köln/Übernachtung.txt",
		"旅行/京都の写真.txt", "Заметки/Список покупок.txt", "Music 🎵/mix “one”.m3u"} {
		if err := m.write(name, name+"\n", 2000, ""); err != nil {
			return err
		}
	}
	if err := m.write("Reise nach Köln/Café.txt", "written on a phone\n", 300, ""); err != nil {
		return err
	}
	err := m.write("Reise nach Köln/Cafe\u0301.txt", "written on a Mac\n", 500, "")
	if errors.Is(err, fs.ErrExist) {
		return nil // this file system takes them for one name already
	}
	m.tree.collide = err == nil
	return err
}

func (m *demoMaker) film() error {
	return m.write("Films/Summer at the lake.mp4", "\x00\x00\x00\x18ftypmp42", 200_000_000, "")
}

// sumTree returns the SHA-256 of each file below root, by its path.
func sumTree(root string) (map[string]string, error) {
	sums := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		sum := sha256.New()
		if _, err := io.Copy(sum, f); err != nil {
			return err
		}
		relative, err := filepath.Rel(root, path)
		sums[filepath.ToSlash(relative)] = hex.EncodeToString(sum.Sum(nil))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read folder %s: %w", root, err)
	}
	return sums, nil
}
