package cloudtest

import (
	"archive/zip"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// blob is the content of a file: bytes, a function of (seed, size), or the files of a package.
type blob struct {
	data   []byte
	made   bool // generated from seed
	seed   uint64
	length int64
	files  map[string][]byte // a package's
	once   sync.Once
	sum    string
}

func bytesBlob(p []byte) *blob { return &blob{data: bytes.Clone(p), length: int64(len(p))} }

func madeBlob(size int64, seed uint64) *blob { return &blob{made: true, seed: seed, length: size} }

func packageBlob(files map[string][]byte) *blob {
	b := &blob{files: map[string][]byte{}}
	for name, p := range files {
		b.files[name] = bytes.Clone(p)
		b.length += int64(len(p))
	}
	return b
}

// reader reads the content from its beginning.
func (b *blob) reader() io.ReadSeeker {
	if b.made {
		return &madeReader{seed: b.seed, size: b.length}
	}
	return bytes.NewReader(b.data)
}

// signature is what Apple calls the file's checksum: SHA-1 of two salts and the bytes, behind a byte 1.
func (b *blob) signature() string {
	b.once.Do(func() {
		h := sha1.New()
		_, _ = io.WriteString(h, "com.apple.XattrObjectSalt\x00com.apple.DataObjectSalt\x00")
		if b.files != nil {
			for _, name := range slices.Sorted(maps.Keys(b.files)) {
				_, _ = io.WriteString(h, name)
				_, _ = h.Write(b.files[name])
			}
		} else {
			_, _ = io.Copy(h, b.reader())
		}
		b.sum = base64.StdEncoding.EncodeToString(h.Sum([]byte{1}))
	})
	return b.sum
}

// zip writes a package as Apple hands it out: made on the fly, so that no two are the same bytes.
func (b *blob) zip(out io.Writer, root string, now time.Time) error {
	zw := zip.NewWriter(out)
	if err := zw.SetComment("made " + now.UTC().Format(time.RFC3339Nano) + " " + random(6+int(now.UnixNano()%7))); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(b.files)) {
		// An extra field of random length moves everything behind it: two of these zips can't be spliced.
		noise := random(1 + int(now.UnixNano()/3%11))
		extra := append([]byte{0xfe, 0xca, byte(len(noise)), 0}, noise...)
		f, err := zw.CreateHeader(&zip.FileHeader{Name: root + "/" + strings.TrimPrefix(name, "/"), Method: zip.Deflate,
			Modified: now, Extra: extra})
		if err != nil {
			return err
		}
		if _, err := f.Write(b.files[name]); err != nil {
			return err
		}
	}
	return zw.Close()
}

// Generated returns a reader of the bytes that PutGenerated with this size and seed stands for.
func Generated(size int64, seed uint64) io.ReadSeeker { return &madeReader{seed: seed, size: size} }

// madeReader makes its bytes up as it goes, the same ones each time.
type madeReader struct {
	seed uint64
	size int64
	at   int64
}

// Read implements io.Reader.
func (m *madeReader) Read(p []byte) (int, error) {
	if m.at >= m.size {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), m.size-m.at)]
	var word [8]byte
	for n := 0; n < len(p); {
		binary.LittleEndian.PutUint64(word[:], mix(m.seed+uint64(m.at/8)*0x9e3779b97f4a7c15))
		k := copy(p[n:], word[m.at%8:])
		n += k
		m.at += int64(k)
	}
	return len(p), nil
}

// Seek implements io.Seeker.
func (m *madeReader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += m.at
	case io.SeekEnd:
		offset += m.size
	}
	if offset < 0 {
		return 0, errors.New("seek before the beginning")
	}
	m.at = offset
	return offset, nil
}

// mix spreads the bits of a number over all of it.
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
