package store

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
)

// A frame carries one record: two marker bytes, the payload's length and a CRC32C of both, each little-endian, and the
// payload. The marker lets the loader look for records behind a damaged one without trying every byte.
const (
	marker0, marker1 = 0xA5, 0x0F
	frameHeader      = 10
)

var (
	errShort  = errors.New("the record is cut off")
	errBad    = errors.New("the record's checksum is wrong")
	errDecode = errors.New("the record's content is malformed")
)

// record is what one top-level command changed: the writes that it made, in order, and the time they were made at.
type record struct {
	now  int64 // UTC, nanoseconds since 1970
	cmds [][]string
}

func checksum(length, payload []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli) // made once by the library
	return crc32.Update(crc32.Checksum(length, table), table, payload)
}

// appendFrame adds the record to b as a frame.
func appendFrame(b []byte, r record) []byte {
	start := len(b)
	b = append(b, marker0, marker1, 0, 0, 0, 0, 0, 0, 0, 0)
	b = binary.AppendVarint(b, r.now)
	b = binary.AppendUvarint(b, uint64(len(r.cmds)))
	for _, args := range r.cmds {
		b = binary.AppendUvarint(b, uint64(len(args)))
		for _, a := range args {
			b = binary.AppendUvarint(b, uint64(len(a)))
			b = append(b, a...)
		}
	}
	head, payload := b[start:start+frameHeader], b[start+frameHeader:]
	binary.LittleEndian.PutUint32(head[2:], uint32(len(payload)))
	binary.LittleEndian.PutUint32(head[6:], checksum(head[2:6], payload))
	return b
}

// frameSize returns the size of the whole frame that begins with head.
func frameSize(head []byte) (int64, error) {
	if len(head) < frameHeader {
		return 0, errShort
	}
	n := binary.LittleEndian.Uint32(head[2:])
	if head[0] != marker0 || head[1] != marker1 {
		return 0, errBad
	}
	return frameHeader + int64(n), nil
}

// checkFrame returns the payload of the frame that b begins with.
func checkFrame(b []byte) ([]byte, error) {
	size, err := frameSize(b)
	if err != nil {
		return nil, err
	}
	if int64(len(b)) < size {
		return nil, errShort
	}
	payload := b[frameHeader:size]
	if binary.LittleEndian.Uint32(b[6:]) != checksum(b[2:6], payload) {
		return nil, errBad
	}
	return payload, nil
}

// decodeRecord reads a payload. It copies what it returns.
func decodeRecord(p []byte) (record, error) {
	var r record
	now, n := binary.Varint(p)
	if n <= 0 {
		return r, errDecode
	}
	r.now, p = now, p[n:]
	count, p, err := readCount(p)
	if err != nil {
		return r, err
	}
	r.cmds = make([][]string, 0, count)
	for range count {
		var nargs int
		if nargs, p, err = readCount(p); err != nil || nargs == 0 {
			return r, errDecode
		}
		args := make([]string, 0, nargs)
		for range nargs {
			var size int
			if size, p, err = readCount(p); err != nil {
				return r, err
			}
			args = append(args, string(p[:size]))
			p = p[size:]
		}
		r.cmds = append(r.cmds, args)
	}
	if len(p) != 0 {
		return r, errDecode
	}
	return r, nil
}

// readCount reads a number of things that each take at least a byte of what follows, so that a damaged number can't
// make the caller ask for more memory than the record has.
func readCount(p []byte) (int, []byte, error) {
	v, n := binary.Uvarint(p)
	if n <= 0 || v > math.MaxInt32 || int(v) > len(p)-n {
		return 0, nil, errDecode
	}
	return int(v), p[n:], nil
}
