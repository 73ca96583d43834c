package transfer

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"maps"
	"sync"

	rhash "github.com/rclone/rclone/fs/hash"
)

// sumStep is how many bytes lie between two states of the sums that are kept for a resumption.
const sumStep = 1 << 20

// checksum is the name under which the state of the source's own checksum is stored beside those of hash types.
const checksum = "checksum"

// sums computes the hashes of a stream. Where each of them can be stored in the middle it keeps states, so that the stream
// can be continued elsewhere. It is written to by one goroutine; others may ask it meanwhile.
type sums struct {
	mu     sync.Mutex
	n      int64
	byName map[string]hash.Hash // those that can be stored, by the names of their types
	other  *rhash.MultiHasher   // the others, nil for none
	keep   bool                 // states are wanted
	states []sumState           // oldest first, one each sumStep
}

// sumState is how far the sums were at an offset.
type sumState struct {
	at     int64
	hashes map[string][]byte
}

// storable returns a hash of the type whose state can be stored, nil where there is none.
func storable(t rhash.Type) hash.Hash {
	switch t {
	case rhash.MD5:
		return md5.New()
	case rhash.SHA1:
		return sha1.New()
	case rhash.SHA256:
		return sha256.New()
	case rhash.SHA512:
		return sha512.New()
	}
	if t.String() == "dropbox" {
		return newContentHash()
	}
	return nil
}

// newSums computes the given types and that for reading back; own is the source's own checksum, nil for none.
func newSums(types []rhash.Type, own hash.Hash) (*sums, error) {
	s := &sums{byName: map[string]hash.Hash{}}
	rest := rhash.NewHashSet()
	for _, t := range append([]rhash.Type{readBackType()}, types...) {
		if h := storable(t); h != nil {
			s.byName[t.String()] = h
		} else if t != rhash.None {
			rest.Add(t)
		}
	}
	if own != nil {
		s.byName[checksum] = own
	}
	if rest.Count() > 0 {
		other, err := rhash.NewMultiHasherTypes(rest)
		if err != nil {
			return nil, fmt.Errorf("make hasher: %w", err)
		}
		s.other = other
	}
	return s, nil
}

// keepStates makes it keep states, where it can.
func (s *sums) keepStates() bool {
	s.keep = s.other == nil
	return s.keep
}

// Write implements io.Writer. It never fails.
func (s *sums) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for rest := p; len(rest) > 0; {
		part := rest
		if s.keep {
			part = rest[:min(int64(len(rest)), sumStep-s.n%sumStep)]
		}
		for _, h := range s.byName {
			_, _ = h.Write(part) // hashes never fail
		}
		if s.other != nil {
			_, _ = s.other.Write(part)
		}
		s.n += int64(len(part))
		rest = rest[len(part):]
		if s.keep && s.n%sumStep == 0 {
			if hashes, err := s.marshal(); err == nil {
				s.states = append(s.states, sumState{s.n, hashes})
			}
		}
	}
	return len(p), nil
}

func (s *sums) marshal() (map[string][]byte, error) {
	hashes := make(map[string][]byte, len(s.byName))
	for name, h := range s.byName {
		state, err := marshalHash(h)
		if err != nil {
			return nil, err
		}
		hashes[name] = state
	}
	return hashes, nil
}

// restore continues sums that were kept elsewhere. The source's own checksum may be missing there.
func (s *sums) restore(state sumState) error {
	if s.other != nil {
		return errHashState
	}
	if _, ok := state.hashes[checksum]; !ok {
		delete(s.byName, checksum)
	}
	for name, h := range s.byName {
		if err := unmarshalHash(h, state.hashes[name]); err != nil {
			return fmt.Errorf("restore hash %s: %w", name, err)
		}
	}
	s.n = state.at
	return nil
}

// upTo is the last state that was kept up to an offset, and forgets those before it; ok is false where there is none.
func (s *sums) upTo(offset int64) (last sumState, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.states) > 0 && s.states[0].at <= offset {
		last, ok = s.states[0], true
		s.states = s.states[1:]
	}
	return last, ok
}

// Sums are the sums by their types, in hexadecimal digits.
func (s *sums) Sums() map[rhash.Type]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[rhash.Type]string{}
	if s.other != nil {
		maps.Copy(all, s.other.Sums())
	}
	for name, h := range s.byName {
		var t rhash.Type
		if name != checksum && t.Set(name) == nil {
			all[t] = hex.EncodeToString(h.Sum(nil))
		}
	}
	return all
}

// own is the source's own checksum, nil where it isn't computed.
func (s *sums) own() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.byName[checksum]; h != nil {
		return h.Sum(nil)
	}
	return nil
}
