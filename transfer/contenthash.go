package transfer

import (
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
)

// contentBlock is the length in bytes of the blocks of Dropbox's content hash.
const contentBlock = 4 << 20

// contentHash is Dropbox's content hash, the SHA-256 of the SHA-256 sums of the blocks, in a form whose state can be stored
// at any offset: rclone's own can't be.
type contentHash struct {
	n     int       // bytes of the block that isn't full yet
	block hash.Hash // of that block
	total hash.Hash // of the sums of the full ones
}

func newContentHash() *contentHash { return &contentHash{block: sha256.New(), total: sha256.New()} }

// Write implements io.Writer. It never fails.
func (c *contentHash) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		part := rest[:min(len(rest), contentBlock-c.n)]
		_, _ = c.block.Write(part) // hashes never fail
		c.n += len(part)
		rest = rest[len(part):]
		if c.n == contentBlock {
			_, _ = c.total.Write(c.block.Sum(nil))
			c.block.Reset()
			c.n = 0
		}
	}
	return len(p), nil
}

// Sum implements hash.Hash.
func (c *contentHash) Sum(b []byte) []byte {
	if c.n == 0 {
		return c.total.Sum(b)
	}
	state, err := c.MarshalBinary()
	whole := newContentHash()
	if err == nil {
		err = whole.UnmarshalBinary(state)
	}
	if err != nil {
		return b // no sum: nothing is equal to it
	}
	_, _ = whole.total.Write(whole.block.Sum(nil))
	return whole.total.Sum(b)
}

// Reset implements hash.Hash.
func (c *contentHash) Reset() { *c = *newContentHash() }

// Size implements hash.Hash.
func (c *contentHash) Size() int { return sha256.Size }

// BlockSize implements hash.Hash.
func (c *contentHash) BlockSize() int { return sha256.BlockSize }

// MarshalBinary implements encoding.BinaryMarshaler: the bytes of the open block, then the state of its sum with its length
// before it, then the state of the total.
func (c *contentHash) MarshalBinary() ([]byte, error) {
	block, err := marshalHash(c.block)
	if err != nil {
		return nil, err
	}
	total, err := marshalHash(c.total)
	if err != nil {
		return nil, err
	}
	b := binary.AppendUvarint(nil, uint64(c.n))
	b = binary.AppendUvarint(b, uint64(len(block)))
	return append(append(b, block...), total...), nil
}

// errHashState says that a stored state of a hash can't be read.
var errHashState = errors.New("the stored state of a hash is damaged")

// UnmarshalBinary implements encoding.BinaryUnmarshaler.
func (c *contentHash) UnmarshalBinary(b []byte) error {
	n, k := binary.Uvarint(b)
	if k <= 0 || n >= contentBlock {
		return errHashState
	}
	b = b[k:]
	size, k := binary.Uvarint(b)
	if k <= 0 || size > uint64(len(b)-k) {
		return errHashState
	}
	b = b[k:]
	block, total := sha256.New(), sha256.New()
	if err := unmarshalHash(block, b[:size]); err != nil {
		return err
	}
	if err := unmarshalHash(total, b[size:]); err != nil {
		return err
	}
	c.n, c.block, c.total = int(n), block, total
	return nil
}

// marshalHash is the state of a hash of the standard library, or of ours.
func marshalHash(h hash.Hash) ([]byte, error) {
	m, ok := h.(encoding.BinaryMarshaler)
	if !ok {
		return nil, fmt.Errorf("store hash: %T has no state to be stored", h)
	}
	return m.MarshalBinary()
}

func unmarshalHash(h hash.Hash, state []byte) (err error) {
	m, ok := h.(encoding.BinaryUnmarshaler)
	if !ok {
		return fmt.Errorf("restore hash: %T has no state to be restored", h)
	}
	defer func() { // a damaged state must not end the process, whatever the library makes of it
		if recover() != nil {
			err = errHashState
		}
	}()
	if err := m.UnmarshalBinary(state); err != nil {
		return fmt.Errorf("%w: %w", errHashState, err)
	}
	return nil
}
