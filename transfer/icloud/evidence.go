package icloud

import (
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"hash"
	"io"
	"sync"
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
	tell func(said, sum string) error
}

func newWitness(body io.ReadCloser, signature string, tell func(said, sum string) error) io.ReadCloser {
	return &witness{body, newChecksum(), signature, tell}
}

// newChecksum is Apple's checksum of a file of no bytes yet.
func newChecksum() hash.Hash {
	sum := sha1.New()
	_, _ = io.WriteString(sum, salt) // a hash takes everything
	return sum
}

// Read implements io.Reader. Its error at the end may be one of the checksum.
func (w *witness) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	_, _ = w.sum.Write(p[:n]) // a hash takes everything
	if errors.Is(err, io.EOF) && w.tell != nil {
		sum := w.sum.Sum(nil)
		if terr := w.tell(judge(w.want, sum), string(sum)); terr != nil {
			err = terr
		}
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

// errDiffers says that a reading isn't what the source's checksum tells: it is to be read again.
var errDiffers = errors.New("what was read isn't what iCloud's own checksum tells")

// sums remembers what the checksums of an account told. That their form is the one we know isn't documented, so they
// count only where a file of the same account has matched.
type sums struct {
	mu       sync.Mutex
	matched  bool
	differed map[Ref]string // by version: the sum of the last reading that differed
}

// told takes what the checksum of a version said of a reading. One that differs is refused, unless the reading before
// brought the same bytes: then it isn't the way that damages them, and they are what the server holds.
func (s *sums) told(of Ref, said, sum string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch said {
	case "match":
		s.matched = true
		delete(s.differed, of)
	case "differs":
		if s.differed == nil {
			s.differed = map[Ref]string{}
		}
		before, known := s.differed[of]
		s.differed[of] = sum
		if s.matched && (!known || before != sum) {
			return errDiffers
		}
	}
	return nil
}

// doubted tells whether the last reading of a version differed from its checksum where those of other files matched.
func (s *sums) doubted(of Ref) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, differed := s.differed[of]
	return differed && s.matched
}
