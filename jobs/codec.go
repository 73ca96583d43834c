package jobs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"offload/transfer"
)

// maxBlob bounds what a stored batch may unpack to, in bytes, so that a damaged one can't eat the memory.
const maxBlob = 64 << 20

// codec packs batches and outcomes: JSON lines under zstd. A million entries take about 40 MB this way.
type codec struct {
	enc *zstd.Encoder
	dec *zstd.Decoder
}

// newCodec returns a codec that may be used by several goroutines.
func newCodec() (*codec, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(64<<10))
	if err != nil {
		return nil, fmt.Errorf("start zstd: %w", err)
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(maxBlob))
	if err != nil {
		return nil, fmt.Errorf("start zstd: %w", err)
	}
	return &codec{enc, dec}, nil
}

// batchHead is the first line of a stored batch.
type batchHead struct {
	Version int                `json:"v"`
	Count   int                `json:"n"`
	Dirs    []transfer.DirInfo `json:"dirs,omitempty"`
}

const batchVersion = 1

func (c *codec) packBatch(entries []transfer.Entry, dirs []transfer.DirInfo) ([]byte, error) {
	var b bytes.Buffer
	w := json.NewEncoder(&b)
	if err := w.Encode(batchHead{batchVersion, len(entries), dirs}); err != nil {
		return nil, fmt.Errorf("pack batch: %w", err)
	}
	for i := range entries {
		if err := w.Encode(&entries[i]); err != nil {
			return nil, fmt.Errorf("pack batch: %w", err)
		}
	}
	return c.enc.EncodeAll(b.Bytes(), nil), nil
}

func (c *codec) unpackBatch(blob []byte) ([]transfer.Entry, []transfer.DirInfo, error) {
	raw, err := c.dec.DecodeAll(blob, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("unpack batch: %w", err)
	}
	r := json.NewDecoder(bytes.NewReader(raw))
	var head batchHead
	if err := r.Decode(&head); err != nil {
		return nil, nil, fmt.Errorf("unpack batch: %w", err)
	}
	if head.Version != batchVersion {
		return nil, nil, fmt.Errorf("unpack batch: version %d isn't known here: %w", head.Version, errNewer)
	}
	entries, err := lines[transfer.Entry](r, head.Count)
	return entries, head.Dirs, err
}

// mayHold tells whether a stored batch may hold a text, without reading more of it than that needs.
func (c *codec) mayHold(blob []byte, n needle) (bool, error) {
	if n.none() {
		return true, nil
	}
	raw, err := c.dec.DecodeAll(blob, nil)
	if err != nil {
		return false, fmt.Errorf("unpack batch: %w", err)
	}
	return n.mayBeIn(raw), nil
}

func (c *codec) packOutcomes(outcomes []transfer.Outcome) ([]byte, error) {
	var b bytes.Buffer
	w := json.NewEncoder(&b)
	for i := range outcomes {
		if err := w.Encode(&outcomes[i]); err != nil {
			return nil, fmt.Errorf("pack outcomes: %w", err)
		}
	}
	return c.enc.EncodeAll(b.Bytes(), nil), nil
}

func (c *codec) unpackOutcomes(blob []byte, count int) ([]transfer.Outcome, error) {
	raw, err := c.dec.DecodeAll(blob, nil)
	if err != nil {
		return nil, fmt.Errorf("unpack outcomes: %w", err)
	}
	// Outcomes of this version have no head. The "v" of an outcome is a word, that of a head a number.
	var head batchHead
	if json.NewDecoder(bytes.NewReader(raw)).Decode(&head) == nil && head.Version > 0 {
		return nil, fmt.Errorf("unpack outcomes: version %d isn't known here: %w", head.Version, errNewer)
	}
	return lines[transfer.Outcome](json.NewDecoder(bytes.NewReader(raw)), count)
}

func lines[T any](r *json.Decoder, count int) ([]T, error) {
	var all []T
	for {
		var v T
		switch err := r.Decode(&v); {
		case errors.Is(err, io.EOF) && len(all) == count:
			return all, nil
		case errors.Is(err, io.EOF):
			return nil, fmt.Errorf("unpack: %d lines instead of %d", len(all), count)
		case err != nil:
			return nil, fmt.Errorf("unpack line %d: %w", len(all)+1, err)
		}
		all = append(all, v)
	}
}

func (c *codec) close() { c.dec.Close() }
