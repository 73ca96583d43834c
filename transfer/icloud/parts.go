package icloud

import (
	"hash"

	"offload/transfer"
)

// ReadsParts implements transfer.PartReader: an answer that isn't the range asked for, or of another version's signature,
// is refused.
func (o *Object) ReadsParts() {}

// Checksum implements transfer.PartReader.
func (o *Object) Checksum() hash.Hash { return newChecksum() }

// Check implements transfer.PartReader: a file that was read in parts is held against iCloud's own checksum as one that was
// read whole is.
func (o *Object) Check(sum []byte) error {
	o.mu.Lock()
	signature, it := o.signature, o.item
	o.mu.Unlock()
	if signature == "" || sum == nil {
		return nil
	}
	said := judge(signature, sum)
	o.witnessed(said)
	return o.fs.lane.sums.told(Ref{ID: it.ID, ETag: it.ETag}, said, string(sum))
}

var _ transfer.PartReader = (*Object)(nil)
