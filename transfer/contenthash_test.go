package transfer

import (
	"bytes"
	"encoding/hex"
	"maps"
	"math/rand/v2"
	"testing"

	rdropbox "github.com/rclone/rclone/backend/dropbox"
	"github.com/rclone/rclone/backend/dropbox/dbhash"
	"github.com/rclone/rclone/fs/hash"
)

// moved is h as another process finds it.
func moved(t testing.TB, h *contentHash) *contentHash {
	t.Helper()
	state, err := h.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	other := newContentHash()
	if err := other.UnmarshalBinary(state); err != nil {
		t.Fatal(err)
	}
	return other
}

// equalsTheirs writes b in pieces that rng cuts, goes to another process between some of them, and compares with rclone's.
func equalsTheirs(t testing.TB, b []byte, rng *rand.Rand) {
	t.Helper()
	ours, theirs := newContentHash(), dbhash.New()
	_, _ = theirs.Write(b)
	want := theirs.Sum(nil)
	for rest := b; len(rest) > 0; {
		n := min(len(rest), 1+rng.IntN(3<<20))
		_, _ = ours.Write(rest[:n])
		rest = rest[n:]
		_ = ours.Sum(nil) // to ask changes nothing
		if rng.IntN(2) == 0 {
			ours = moved(t, ours)
		}
	}
	if got := ours.Sum(nil); !bytes.Equal(got, want) {
		t.Fatalf("%d bytes: content hash %x, want %x", len(b), got, want)
	}
}

func TestContentHashIsDropboxs(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{0, 1, contentBlock - 1, contentBlock, contentBlock + 1, 2 * contentBlock, 3*contentBlock + 12345} {
		b := make([]byte, size)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		equalsTheirs(t, b, rng)
	}
}

func FuzzContentHash(f *testing.F) {
	f.Add([]byte("offload"), uint64(1), 1)
	f.Add([]byte("0123456789"), uint64(7), 500_000)
	f.Fuzz(func(t *testing.T, b []byte, seed uint64, times int) {
		if times < 1 || len(b)*times > 10<<20 {
			return
		}
		equalsTheirs(t, bytes.Repeat(b, times), rand.New(rand.NewPCG(seed, 0)))
	})
}

func FuzzContentHashState(f *testing.F) {
	h := newContentHash()
	_, _ = h.Write(make([]byte, contentBlock+5))
	state, _ := h.MarshalBinary()
	f.Add(state)
	f.Add([]byte{})
	f.Add(state[:len(state)-1])
	f.Fuzz(func(t *testing.T, b []byte) {
		h := newContentHash()
		if h.UnmarshalBinary(b) != nil {
			return
		}
		_, _ = h.Write(make([]byte, 100))
		if len(h.Sum(nil)) != 32 {
			t.Error("a state was taken that gives no sum")
		}
	})
}

// What is computed of a stream is what rclone's hashers make of it, whole or continued from a state.
func TestSumsAreContinued(t *testing.T) {
	types := []hash.Type{rdropbox.DbHashType, hash.MD5, hash.SHA1, hash.SHA512}
	b := bytes.Repeat([]byte("0123456789abcdef"), 5<<20/16)
	set := hash.NewHashSet(append(types, hash.SHA256)...)
	theirs, err := hash.NewMultiHasherTypes(set)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = theirs.Write(b)
	first, err := newSums(types, nil)
	if err != nil || !first.keepStates() {
		t.Fatalf("no states are kept (%v)", err)
	}
	for at, cut := range map[int]int64{0: 0, 1<<20 - 1: 0, 1 << 20: 1 << 20, 3<<20 + 777: 3 << 20} {
		first, _ := newSums(types, nil)
		first.keepStates()
		_, _ = first.Write(b[:at])
		state, ok := first.upTo(int64(at))
		if ok != (cut > 0) || state.at != cut {
			t.Fatalf("at %d the last state is of %d (%v), want %d", at, state.at, ok, cut)
		}
		if !ok {
			continue
		}
		second, _ := newSums(types, nil)
		if err := second.restore(state); err != nil {
			t.Fatal(err)
		}
		_, _ = second.Write(b[cut:])
		if got, want := second.Sums(), theirs.Sums(); !maps.Equal(got, want) {
			t.Errorf("continued at %d: %v, want %v", cut, got, want)
		}
		delete(state.hashes, hash.SHA512.String())
		if third, _ := newSums(types, nil); third.restore(state) == nil {
			t.Error("sums are continued without one of their states")
		}
	}
	if s, _ := newSums([]hash.Type{hash.BLAKE3}, nil); s.keepStates() {
		t.Error("states are kept of a hash that has none")
	}
	if got := hex.EncodeToString(first.own()); got != "" {
		t.Errorf("a checksum of the source that has none: %s", got)
	}
}
