package transfer_test

import (
	"context"
	"fmt"
	"path"
	"strings"
	"testing"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/operations"

	"offload/transfer"
)

const benchFiles = 1000

// BenchmarkBatchSmallFiles copies 1,000 files of 4 KiB, with proof but without deletion, and compares with rclone's own
// copy of one file at a time, which proves less.
func BenchmarkBatchSmallFiles(b *testing.B) {
	for _, pairing := range [][2]string{{"local", "local"}, {"memory", "local"}} {
		src := newRemote(b, pairing[0])
		var names []string
		for i := range benchFiles {
			names = append(names, fmt.Sprintf("folder %d/file %d.txt", i%10, i))
			put(b, src, names[i], strings.Repeat(fmt.Sprintf("%04d", i), 1024), day)
		}
		entries := entriesOf(b, src, names...)
		for _, policy := range []transfer.DeletePolicy{transfer.DeleteNever, transfer.DeleteComplete} {
			b.Run(fmt.Sprintf("%s to %s/offload, delete %s", pairing[0], pairing[1], policy), func(b *testing.B) {
				for b.Loop() {
					b.StopTimer()
					pair := transfer.NewPair(src, newRemote(b, pairing[1]), transfer.Options{DeleteSource: policy})
					j := newJournal(len(entries))
					b.StartTimer()
					rep, err := pair.RunBatch(context.Background(), transfer.Batch{Entries: entries},
						transfer.Env{Journal: j, Slots: newSlots(4)})
					if err != nil || rep.Pending > 0 {
						b.Fatalf("%+v %v", rep, err)
					}
				}
			})
		}
		b.Run(fmt.Sprintf("%s to %s/rclone", pairing[0], pairing[1]), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				dst := newRemote(b, pairing[1])
				b.StartTimer()
				copyAll(b, src, dst, entries)
			}
		})
	}
}

func copyAll(b *testing.B, src, dst fs.Fs, entries []transfer.Entry) {
	slots := make(chan struct{}, 4)
	errs := make(chan error, len(entries))
	for _, e := range entries {
		slots <- struct{}{}
		go func() {
			defer func() { <-slots }()
			errs <- operations.CopyFile(context.Background(), dst, src, path.Clean(e.Path), path.Clean(e.Path))
		}()
	}
	for range entries {
		if err := <-errs; err != nil {
			b.Fatal(err)
		}
	}
}
