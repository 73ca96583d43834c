package icloud

import (
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"hash"
	"io"
)

// salt is what Apple's checksum of a file begins with, before the bytes of the file. It isn't documented; for iCloud
// Photos it was confirmed.
const salt = "com.apple.XattrObjectSalt\x00com.apple.DataObjectSalt\x00"

// checksumKind is the first byte of a signature of the form that we know: it says that a SHA-1 follows.
const checksumKind = 0x01

// witness reads a whole file and compares what it read with the checksum that the source told.
type witness struct {
	io.ReadCloser
	sum  hash.Hash
	want string
	tell func(said string)
}

func newWitness(body io.ReadCloser, signature string, tell func(said string)) io.ReadCloser {
	sum := sha1.New()
	_, _ = io.WriteString(sum, salt) // a hash takes everything
	return &witness{body, sum, signature, tell}
}

// Read implements io.Reader.
func (w *witness) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	_, _ = w.sum.Write(p[:n]) // a hash takes everything
	if errors.Is(err, io.EOF) && w.tell != nil {
		w.tell(judge(w.want, w.sum.Sum(nil)))
		w.tell = nil
	}
	return n, err
}

// judge compares a signature as the server sent it with the sum of what was read: "match", "differs", or "" where the
// signature is of a form that isn't known.
func judge(signature string, sum []byte) string {
	raw, err := base64.StdEncoding.DecodeString(signature)
	if err != nil {
		if raw, err = base64.RawStdEncoding.DecodeString(signature); err != nil {
			return ""
		}
	}
	switch {
	case len(raw) != 1+sha1.Size || raw[0] != checksumKind:
		return ""
	case string(raw[1:]) == string(sum):
		return "match"
	}
	return "differs"
}
