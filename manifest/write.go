package manifest

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/klauspost/compress/gzip"
)

// Version of the format that this program writes, and the newest that it reads.
const Version = 1

// Extension ends the name of a manifest's file.
const Extension = ".manifest.gz"

// Parts of a line that the reader looks for.
const (
	marker     = "manifest"    // in the first line, as {"offload":"manifest",...}
	trailerTag = `{"end":true` // how the last line begins
	chainTag   = `,"chain":"`  // between what a line says and its place in the chain
	chainEnd   = `"}`          // behind that
	chainWidth = 8             // bytes of the chain that a line shows
	maxLine    = 1 << 20       // bytes of a line
	buffered   = 64 << 10      // bytes written to the compressor at once: the same lines make the same file
	tailLength = len(chainTag) + 2*chainWidth + len(chainEnd)
)

// headerJSON is the first line.
type headerJSON struct {
	Offload string `json:"offload"`
	Header
}

// lineJSON is a line of a file. JSON can't hold bytes that are no UTF-8, and a source may have such names: they travel apart.
type lineJSON struct {
	Line
	RawSource []byte `json:"source_path_bytes,omitempty"`
}

// trailerJSON is the last line. Hash is the whole state of the chain behind the last file.
type trailerJSON struct {
	End bool `json:"end"`
	Summary
}

// Summary is what the last line of a manifest says of all the others.
type Summary struct {
	Files   int64  `json:"files"`
	Deleted int64  `json:"deleted"` // at the source by the job
	Bytes   int64  `json:"bytes"`   // of all files whose sizes are known
	Hash    string `json:"hash"`    // of the chain behind the last file, SHA-256 in hex
}

// chain ties each line to all that are before it.
type chain [sha256.Size]byte

func (c *chain) add(body []byte) {
	h := sha256.New()
	h.Write(c[:])
	h.Write(body)
	h.Sum(c[:0])
}

func (c *chain) shown() string { return hex.EncodeToString(c[:chainWidth]) }

// PackLine is a line as the manifest holds it, without its place in the chain, and without a line break.
func PackLine(l Line) ([]byte, error) {
	if l.Dest == l.Path {
		l.Dest = ""
	}
	j := lineJSON{Line: l}
	if !utf8.ValidString(l.Source) {
		j.Source, j.RawSource = "", []byte(l.Source)
	}
	return packJSON(j)
}

// UnpackLine reads what PackLine wrote.
func UnpackLine(text []byte) (Line, error) {
	var j lineJSON
	if err := json.Unmarshal(text, &j); err != nil {
		return Line{}, fmt.Errorf("read a line of a manifest: %w", err)
	}
	if j.RawSource != nil {
		j.Source = string(j.RawSource)
	}
	if j.Dest == "" {
		j.Dest = j.Path
	}
	return j.Line, nil
}

func packJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("write a line of a manifest: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// Writer writes a manifest, line by line. It holds none of them.
type Writer struct {
	zip  *gzip.Writer
	out  *bufio.Writer
	at   chain
	sum  Summary
	done bool
}

// NewWriter begins a manifest on w. The header's version is set to that of this program.
func NewWriter(w io.Writer, h Header) (*Writer, error) {
	zip := gzip.NewWriter(w)
	m := &Writer{zip: zip, out: bufio.NewWriterSize(zip, buffered)}
	h.Version = Version
	text, err := packJSON(headerJSON{marker, h})
	if err != nil {
		return nil, err
	}
	return m, m.write(text)
}

// Add writes the line of one file.
func (m *Writer) Add(l Line) error {
	text, err := PackLine(l)
	if err != nil {
		return err
	}
	m.sum.count(l)
	return m.write(text)
}

func (s *Summary) count(l Line) {
	s.Files++
	s.Bytes += max(l.Size, 0)
	if l.Gone() {
		s.Deleted++
	}
}

// write writes a line with its place in the chain.
func (m *Writer) write(text []byte) error {
	body := text[:len(text)-1] // the last brace closes behind the chain
	if len(body)+tailLength > maxLine {
		return fmt.Errorf("write manifest: a line of %d bytes is too long", len(body))
	}
	m.at.add(body)
	m.out.Write(body) // the last of these tells of any failure
	m.out.WriteString(chainTag)
	m.out.WriteString(m.at.shown())
	if _, err := m.out.WriteString(chainEnd + "\n"); err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	return nil
}

// Close writes the last line and ends the compression; what is below stays open. Without it the manifest isn't whole.
func (m *Writer) Close() (Summary, error) {
	if m.done {
		return m.sum, errors.New("write manifest: it is closed already")
	}
	m.done = true
	m.sum.Hash = hex.EncodeToString(m.at[:])
	text, err := packJSON(trailerJSON{true, m.sum})
	if err == nil {
		err = m.write(text)
	}
	if err == nil {
		err = m.out.Flush()
	}
	if err == nil {
		err = m.zip.Close()
	}
	if err != nil {
		return m.sum, fmt.Errorf("end manifest: %w", err)
	}
	return m.sum, nil
}
