package transfer_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"offload/transfer"
	"offload/transfer/xtest"
)

// A record that names places outside of its job's roots makes no file there, and reads none.
func TestRecordsDontLeadOutOfTheirRoots(t *testing.T) {
	bad := []transfer.Entry{
		{Path: "a", Source: "../secret"}, {Path: "a", Dest: "../planted"}, {Path: "../planted"}, {Path: "x/../../planted", Source: "fine"},
		{Path: "/planted", Source: "fine"}, {Path: "a", Source: "./fine"}, {Path: "a\x00b", Source: "fine"},
	}
	for i := range bad {
		bad[i].Size = 4
	}
	for _, kind := range []string{"restore", "scrub"} {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t, newRemote(t, "local"), newRemote(t, "local"), transfer.Options{}, xtest.NewScript())
			put(t, w.src, "fine", "fine", time.Now())
			for _, root := range []string{w.src.Root(), w.dst.Root()} {
				if err := os.WriteFile(filepath.Join(filepath.Dir(root), "secret"), []byte("fine"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			w.entries = append([]transfer.Entry{{Path: "fine", Size: 4}}, bad...)
			w.journal = newJournal(len(w.entries))
			var rep transfer.Report
			var err error
			if kind == "restore" {
				rep, err = w.pair.Restore(context.Background(), w.batch(), w.env())
			} else {
				rep, err = w.pair.Scrub(context.Background(), w.batch(), w.env(), true)
			}
			if err != nil || rep.Pending > 0 {
				t.Fatalf("%+v, %v", rep, err)
			}
			for i, o := range w.journal.Done() {
				if i == 0 && o.Result == transfer.Failed || i > 0 && (o.Result != transfer.Failed || o.Code != transfer.CodeNameUnsafe || !strings.Contains(o.Reason, "outside")) {
					t.Errorf("%+v: %+v", w.entries[i], o)
				}
			}
			if left, _ := filepath.Glob(filepath.Join(filepath.Dir(w.dst.Root()), "planted*")); len(left) > 0 {
				t.Errorf("%q", left)
			}
		})
	}
}
