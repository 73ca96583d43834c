package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"offload/internal/cloudtest"
)

// demoTree is what the demo made: the SHA-256 of each file by its path. Packages have none: their zip is another one
// each time.
type demoTree struct {
	sums     map[string]string
	packages []string
}

// demoMaker fills an iCloud Drive with the demo's files. Their content is the same on every machine and in every year.
type demoMaker struct {
	drive  *cloudtest.Account
	random *rand.ChaCha8
	tree   demoTree
	made   int
}

// The room of the played account: an iPhone's backup doesn't fit any more.
const (
	demoTotal  = 5 << 30
	demoFree   = 12 << 20
	demoBackup = 1730 << 20
	demoMail   = 210 << 20
)

// filmSize is the demo's largest file, in bytes.
const filmSize = 96_000_000

// makeDemoTree fills the drive with a believable 130 MB and the account to the brim.
func makeDemoTree(drive *cloudtest.Account) (demoTree, error) {
	m := &demoMaker{drive: drive, random: rand.NewChaCha8(sha256.Sum256([]byte("offload demo"))), tree: demoTree{sums: map[string]string{}}}
	for _, step := range []func() error{m.documents, m.photos, m.unicode, m.film, m.keynote} {
		if err := step(); err != nil {
			return m.tree, fmt.Errorf("make the demo's files: %w", err)
		}
	}
	drive.SetStorage(demoTotal, 0, demoBackup, demoMail)
	drive.FillUp(demoTotal, demoTotal-demoFree)
	return m.tree, nil
}

// write makes one file of head, size random bytes and tail, and notes its sum.
func (m *demoMaker) write(path, head string, size int64, tail string) error {
	content, err := io.ReadAll(io.MultiReader(strings.NewReader(head), io.LimitReader(m.random, size), strings.NewReader(tail)))
	if err != nil {
		return err
	}
	m.made++
	m.drive.Put(path, content, time.Date(2024, 5, 1, 9, 0, 0, 0, time.UTC).Add(time.Duration(m.made)*37*time.Hour))
	m.tree.sums[path], err = sumOf(bytes.NewReader(content))
	return err
}

func sumOf(r io.Reader) (string, error) {
	sum := sha256.New()
	if _, err := io.Copy(sum, r); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
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

// unicode makes names as other systems and languages write them, and one that Dropbox refuses.
func (m *demoMaker) unicode() error {
	for _, name := range []string{"Reise nach Köln/Straße & Brücke.txt", "Reise nach Köln/Übernachtung.txt",
		"旅行/京都の写真.txt", "Заметки/Список покупок.txt", "Music 🎵/mix “one”.m3u"} {
		if err := m.write(name, name+"\n", 2000, ""); err != nil {
			return err
		}
	}
	return m.write("Reise nach Köln/desktop.ini", "[.ShellClassInfo]\r\n", 60, "")
}

func (m *demoMaker) film() (err error) {
	const path, seed = "Films/Summer at the lake.mp4", 7
	m.drive.PutGenerated(path, filmSize, seed)
	m.drive.SetModTime(path, time.Date(2024, 6, 1, 15, 0, 0, 0, time.UTC))
	m.tree.sums[path], err = sumOf(cloudtest.Generated(filmSize, seed))
	return err
}

// keynote makes a package: a folder that iCloud shows as one file and hands out as a zip.
func (m *demoMaker) keynote() error {
	const path = "Documents/Work/Pitch.key"
	m.drive.PutPackage(path, map[string][]byte{"Index/Document.iwa": []byte(strings.Repeat("slide\n", 4000)), "preview.jpg": []byte("\xff\xd8")})
	m.tree.packages = append(m.tree.packages, path)
	return nil
}
