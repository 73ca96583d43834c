package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/hash"
)

// readBackType is the hash that contents are compared by where they are read back.
func readBackType() hash.Type { return hash.SHA256 }

// strongTypes are the hash types of a set that can prove content, best first: a provider's own before the general ones,
// since what a provider computes itself is there for every object.
func strongTypes(set hash.Set) []hash.Type {
	general := []hash.Type{hash.SHA256, hash.BLAKE3, hash.SHA1, hash.MD5, hash.SHA512, hash.XXH128, hash.Whirlpool}
	var types []hash.Type
	for _, t := range set.Array() {
		if !hash.NewHashSet(general...).Contains(t) && ruleHashIsProof(t, 0, traits{}) {
			types = append(types, t)
		}
	}
	for _, t := range general {
		if set.Contains(t) {
			types = append(types, t)
		}
	}
	return types
}

// proofTypes are the hash types to compute while streaming to a destination, in the order in which to ask for them.
// A local disk computes any type and keeps none, so that one is enough there; elsewhere some of the types may be missing
// for some files, so that up to three are computed.
func proofTypes(dest fs.Info) []hash.Type {
	types := strongTypes(dest.Hashes())
	if dest.Features().IsLocal && dest.Hashes().Contains(readBackType()) {
		return []hash.Type{readBackType()}
	}
	return types[:min(3, len(types))]
}

// commonTypes are the types that both remotes may answer with.
func commonTypes(a, b fs.Info) []hash.Type { return strongTypes(a.Hashes().Overlap(b.Hashes())) }

// newHasher computes the proof types of a destination and the type for reading back.
func newHasher(types []hash.Type) (*hash.MultiHasher, error) {
	set := hash.NewHashSet(types...)
	set.Add(readBackType())
	h, err := hash.NewMultiHasherTypes(set)
	if err != nil {
		return nil, fmt.Errorf("make hasher: %w", err)
	}
	return h, nil
}

// hashOf asks o for its hash; "" where it has none that proves anything.
func hashOf(ctx context.Context, o fs.Object, t hash.Type, of traits) (string, error) {
	if !ruleHashIsProof(t, o.Size(), of) {
		return "", nil
	}
	h, err := o.Hash(ctx, t)
	if errors.Is(err, hash.ErrUnsupported) {
		return "", nil
	}
	return h, err
}

// readBack reads o whole from the destination and returns its hash of the read-back type and its length.
func readBack(ctx context.Context, o fs.Object) (sum string, n int64, err error) {
	in, err := o.Open(ctx)
	if err != nil {
		return "", 0, err
	}
	h, err := newHasher(nil)
	if err != nil {
		_ = in.Close()
		return "", 0, err
	}
	n, err = io.Copy(h, cancelable(ctx, in))
	if cerr := in.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return "", n, err
	}
	sum, err = h.SumString(readBackType(), false)
	return sum, n, err
}

// readerFunc makes a reader of a function.
type readerFunc func(p []byte) (int, error)

// Read implements io.Reader.
func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// cancelable ends a read with its context, for backends that don't look at it once a file is open.
func cancelable(ctx context.Context, r io.Reader) io.Reader {
	return readerFunc(func(p []byte) (int, error) {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		return r.Read(p)
	})
}
