package cloudtest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"sort"
)

// dropboxBlock is how much each hash below the content hash is over.
const dropboxBlock = 4 << 20

// dropboxBlob is content at rest. Its blocks are those that came in: they are never copied or changed.
type dropboxBlob struct {
	size   int64
	hash   string
	blocks [][]byte
	ends   []int64 // where each block ends
	forgot bool    // only size and hash were kept
}

// ReadAt implements io.ReaderAt.
func (b *dropboxBlob) ReadAt(p []byte, off int64) (n int, err error) {
	i := sort.Search(len(b.ends), func(i int) bool { return b.ends[i] > off })
	for ; i < len(b.blocks) && n < len(p); i++ {
		at := off + int64(n) - (b.ends[i] - int64(len(b.blocks[i])))
		n += copy(p[n:], b.blocks[i][at:])
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// bytes is the whole content; ok is false where it was forgotten.
func (b *dropboxBlob) bytes() (content []byte, ok bool) {
	return bytes.Join(b.blocks, nil), !b.forgot
}

// contentHasher computes a content hash: SHA-256 over the SHA-256 of each 4 MiB.
type contentHasher struct {
	block  hash.Hash
	filled int
	sums   []byte
}

func newContentHasher() *contentHasher { return &contentHasher{block: sha256.New()} }

// write takes more content.
func (h *contentHasher) write(p []byte) {
	for len(p) > 0 {
		n := min(len(p), dropboxBlock-h.filled)
		_, _ = h.block.Write(p[:n])
		if h.filled, p = h.filled+n, p[n:]; h.filled == dropboxBlock {
			h.sums, h.filled = h.block.Sum(h.sums), 0
			h.block.Reset()
		}
	}
}

// sum is the hash of what came so far; more may follow.
func (h *contentHasher) sum() string {
	sums := h.sums
	if h.filled > 0 {
		sums = h.block.Sum(bytes.Clone(h.sums))
	}
	total := sha256.Sum256(sums)
	return hex.EncodeToString(total[:])
}

// clone is an independent hasher in the same state.
func (h *contentHasher) clone() *contentHasher {
	c := *h
	c.sums = bytes.Clone(h.sums)
	if cloner, ok := h.block.(hash.Cloner); ok {
		if block, err := cloner.Clone(); err == nil {
			c.block, _ = block.(hash.Hash)
		}
	}
	return &c
}

// contentWriter collects content as it comes in.
type contentWriter struct {
	blob   dropboxBlob
	stored *contentHasher // over what is stored
	meant  *contentHasher // over what was sent; nil while that is the same
	call   *contentHasher // over what this call sent, where the client told its hash; nil otherwise
	forget bool
}

func newContentWriter(forget bool) *contentWriter {
	return &contentWriter{stored: newContentHasher(), forget: forget}
}

// snapshot is the writer as it is now, to go back to.
func (w *contentWriter) snapshot() contentWriter {
	c := *w
	c.stored = w.stored.clone()
	if w.meant != nil {
		c.meant = w.meant.clone()
	}
	return c
}

// take appends a body, whole or not at all. limit is the most that it may have, want the hash that the client told of
// it, "" for none. A bit that a fault flips is flipped at rest: the client's hash fits.
func (w *contentWriter) take(body io.Reader, limit int64, want string) (err error) {
	before, n := w.snapshot(), int64(0)
	if want != "" {
		w.call = newContentHasher()
	}
	defer func() {
		if err != nil {
			*w = before
		}
		w.call = nil
	}()
	scratch := make([]byte, 256<<10)
	flip, _ := body.(*flipped)
	for {
		bad := int64(-1)
		if flip != nil {
			bad = flip.at
		}
		got, err := io.ReadFull(body, scratch)
		if n += int64(got); n > limit {
			return errTooLarge
		}
		w.add(scratch[:got], bad, flip)
		switch {
		case err == io.EOF || err == io.ErrUnexpectedEOF && clean(body):
			if w.call != nil && w.call.sum() != want {
				return errMismatch
			}
			return nil
		case err != nil:
			return err
		}
	}
}

// clean tells whether a body really ended: ReadFull says the same of one that was cut off.
func clean(body io.Reader) bool {
	n, err := body.Read(make([]byte, 1))
	return n == 0 && err == io.EOF
}

var (
	// errTooLarge is a body beyond what one call may carry.
	errTooLarge = errors.New("payload too large")
	// errMismatch is a body whose hash isn't the one that the client told.
	errMismatch = errors.New("content hash mismatch")
)

// add takes the next bytes. bad is where among them a fault flipped a bit: the hash of what was sent parts from there.
func (w *contentWriter) add(p []byte, bad int64, flip *flipped) {
	if len(p) == 0 {
		return
	}
	if w.meant == nil && bad >= 0 && bad < int64(len(p)) {
		w.meant = w.stored.clone()
	}
	right := p
	if bad >= 0 && bad < int64(len(p)) {
		right = bytes.Clone(p)
		right[bad] ^= flip.mask
	}
	if w.meant != nil {
		w.meant.write(right)
	}
	if w.call != nil {
		w.call.write(right)
	}
	w.stored.write(p)
	w.blob.size += int64(len(p))
	if w.forget {
		return
	}
	w.blob.blocks = append(w.blob.blocks, bytes.Clone(p))
	w.blob.ends = append(w.blob.ends, w.blob.size)
}

// done is the content, and the hash of what was sent where that is another one.
func (w *contentWriter) done() (blob *dropboxBlob, meant string) {
	b := w.blob
	b.hash, b.forgot = w.stored.sum(), w.forget && b.size > 0
	if w.meant != nil {
		meant = w.meant.sum()
	}
	return &b, meant
}

// newBlob is content that is already there.
func newBlob(content []byte) *dropboxBlob {
	w := newContentWriter(false)
	w.add(content, -1, nil)
	b, _ := w.done()
	return b
}
