package jobs

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/redis/go-redis/v9"

	"offload/transfer"
)

// trips counts the calls of a client, and how often it waits for an answer.
type trips struct{ calls, waits atomic.Int64 }

func (c *trips) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (c *trips) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.calls.Add(1)
		c.waits.Add(1)
		return next(ctx, cmd)
	}
}

func (c *trips) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.calls.Add(int64(len(cmds)))
		c.waits.Add(1)
		return next(ctx, cmds)
	}
}

// p99 reports the 99th percentile of many calls, in ms, and the median, which a busy machine spoils less.
func (w *world) p99(b *testing.B, metric string, calls int, call func(i int) error) {
	b.Helper()
	var took []time.Duration
	for i := range calls {
		start := time.Now()
		if err := call(i); err != nil {
			b.Fatalf("%s: %v", metric, err)
		}
		took = append(took, time.Since(start))
	}
	b.ReportMetric(ms(percentile(took, 99)), metric+"-p99-ms")
	b.ReportMetric(ms(percentile(took, 50)), metric+"-p50-ms")
}

// BenchmarkOverview and BenchmarkPages tell what the screens cost with many jobs, a hundred of which run, and with a job of
// very many files.
func BenchmarkOverview(b *testing.B) {
	for name, count := range map[string]int{"redis-100000": 100_000, "embedded-10000": 10_000, "embedded-100000": 100_000} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				w := newWorld(b, urlFor(b, name))
				w.plantMany(count)
				w.reindexed()
				seen := &trips{}
				w.store.Client().AddHook(seen)
				const looks = 50
				w.p99(b, "overview", looks, func(int) error { _, err := w.svc.Overview(b.Context()); return err })
				b.ReportMetric(float64(seen.calls.Load())/looks, "calls/overview")
				b.ReportMetric(float64(seen.waits.Load())/looks, "waits/overview")
			}
		})
	}
}

func urlFor(b *testing.B, name string) string {
	if name[0] == 'r' {
		return startRedis(b)
	}
	return ""
}

// plantMany stores jobs of ten accounts as they would look: a hundred run, some wait, a third is queued, the rest has ended.
func (w *world) plantMany(count int) {
	w.t.Helper()
	ctx, began := w.t.Context(), time.Now().Add(-time.Hour)
	p := w.store.Client().Pipeline()
	for i := range count {
		id := ulid.MustNew(ulid.Timestamp(began.Add(time.Duration(i)*10*time.Millisecond)), ulid.DefaultEntropy()).String()
		state := []State{Queued, Completed, CompletedW, FailedState, Completed, Queued, Canceled}[i%7]
		if i%(count/100) == 0 {
			state = Transferring
			live := fmt.Sprintf(`{"t":%d,"r":1000,"c":["a file"],"m":10}`, time.Now().UnixMilli())
			p.HSet(ctx, keysOf(id).live(), "host:1:1:x/b1", live)
		} else if i%500 == 1 {
			state = Waiting
		}
		account, label := fmt.Sprintf("account%d", i%10), fmt.Sprintf("Backup of folder %d", i)
		order := fmt.Sprintf(`{"source":"icloud:Documents/folder %d","destination":"dropbox:Backup/%d","account":%q,"label":%q,"delete_source":"verified"}`,
			i, i%100, account, label)
		p.HSet(ctx, keysOf(id).job(), "state", string(state), "account", account, "order", order, "created", "1700000000000", "found", 100,
			"copied", 50, "b_found", 1000000, "b_copied", 500000, "k:copied|kept|", 50, "kb:copied|kept|", 500000)
		p.ZAdd(ctx, keyIndex, redis.Z{Member: id})
		if p.Len() > 5000 || i == count-1 {
			if _, err := p.Exec(ctx); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

func BenchmarkPages(b *testing.B) {
	for name, count := range map[string]int{"redis-100000-jobs": 100_000, "embedded-10000-jobs": 10_000, "embedded-100000-jobs": 100_000} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				w := newWorld(b, urlFor(b, name))
				w.plantMany(count)
				w.reindexed()
				w.benchLists(b)
			}
		})
	}
	for name, count := range map[string]int{"redis-1000000-files": 1_000_000, "embedded-1000000-files": 1_000_000} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				w := newWorld(b, urlFor(b, name))
				w.benchFiles(b, count)
			}
		})
	}
}

func (w *world) benchLists(b *testing.B) {
	for metric, o := range map[string]ListOptions{
		"list":           {},
		"account":        {Account: "account3"},
		"running":        {States: []State{Scanning, Transferring}},
		"failed-account": {States: []State{FailedState}, Account: "account4"},
		"search-common":  {Search: "FOLDER"},
		"search-rare":    {Search: "Folder 4321"},
		"search-none":    {Search: "nothing"},
		"remote-none":    {Remote: "nobody"},
		"search-failed":  {Search: "documents", States: []State{FailedState}},
	} {
		cursor := ""
		w.p99(b, metric, 50, func(int) (err error) { // each page in turn
			o.Cursor = cursor
			_, cursor, err = w.svc.List(b.Context(), o)
			return err
		})
	}
	o, pages, began := ListOptions{Search: "folder 77"}, 0, time.Now()
	for {
		_, next, err := w.svc.List(b.Context(), o)
		if err != nil {
			b.Fatal(err)
		}
		pages++
		if o.Cursor = next; next == "" {
			break
		}
	}
	b.ReportMetric(ms(time.Since(began)), "search-all-ms")
	b.ReportMetric(float64(pages), "search-all-pages")
}

// bigJob stores a job of very many files, all copied but for three that failed and a tenth that is set aside.
func (w *world) bigJob(count int) string {
	w.t.Helper()
	ctx, id := w.t.Context(), w.plant(time.Now(), "anna", Transferring)
	k, p, batch, change := keysOf(id), w.store.Client().Pipeline(), int64(0), counters{}
	for i := 0; i < count; batch++ {
		var entries []transfer.Entry
		var done []transfer.Outcome
		for ; len(entries) < batchFiles && i < count; i++ {
			e := transfer.Entry{Path: fmt.Sprintf("Documents/Year %d/folder %05d/picture %07d.jpg", 2000+i%25, i/100, i), Size: 1000,
				ModTime: time.Unix(1.7e9+int64(i), 0).UTC(), ID: fmt.Sprintf("FILE::com.apple.CloudDocs::%016d", i), ETag: fmt.Sprintf("e%d", i)}
			o := transfer.Outcome{Result: transfer.Copied, Source: transfer.Deleted, Grade: transfer.GradeA, Bytes: 1000,
				Hash: fmt.Sprintf("dropbox:%064x", i*7919), SourceMark: e.ETag, At: time.Unix(1.7e9, 0).UTC()}
			switch {
			case i == count/3 || i == count/2 || i == count-1:
				o = transfer.Outcome{Result: transfer.Failed, Source: transfer.Kept, Code: transfer.CodeGaveUp, Reason: "it didn't answer"}
			case i%10 == 0:
				o = transfer.Outcome{Result: transfer.SetAside, Source: transfer.Kept, Code: transfer.CodeNameRefused, Reason: "the name is too long"}
			}
			change.add(e, o, 1)
			entries, done = append(entries, e), append(done, o)
		}
		blob, err := w.svc.codec.packBatch(entries, nil)
		if err != nil {
			w.t.Fatal(err)
		}
		ended, err := w.svc.codec.packOutcomes(done)
		if err != nil {
			w.t.Fatal(err)
		}
		p.MSet(ctx, k.batch(batch+1), blob, k.ended(batch+1), ended)
		for _, key := range k.kindKeys(kindsIn(done)) {
			p.SetBit(ctx, key, batch+1, 1)
		}
		if p.Len() > 1000 || i >= count {
			if _, err := p.Exec(ctx); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	if err := w.store.Client().HSet(ctx, k.job(), append([]any{"batches", batch, "found", count}, change.args()[1:]...)...).Err(); err != nil {
		w.t.Fatal(err)
	}
	return id
}

func (w *world) benchFiles(b *testing.B, count int) {
	ctx, id := b.Context(), w.bigJob(count)
	before := heap()
	page := func(q FileQuery) func(int) error {
		first := q.Cursor
		return func(int) error { // each page in turn, from the beginning again at the end
			got, err := w.svc.FilePage(ctx, id, q)
			if q.Cursor = got.Next; q.Cursor == "" {
				q.Cursor = first
			}
			return err
		}
	}
	failed := FileFilter{Results: []transfer.Result{transfer.Failed}}
	w.p99(b, "files", 100, page(FileQuery{}))
	w.p99(b, "files-1000", 50, page(FileQuery{Limit: 1000}))
	w.p99(b, "late", 100, page(FileQuery{Cursor: "30000.5"}))
	w.p99(b, "failed", 100, page(FileQuery{FileFilter: failed}))
	w.p99(b, "code", 100, page(FileQuery{Code: transfer.CodeNameRefused}))
	w.p99(b, "search-common", 100, page(FileQuery{Search: "YEAR 2004"}))
	w.p99(b, "search-rare", 100, page(FileQuery{Search: "picture 0999999"}))
	w.p99(b, "troubles", 100, func(int) error { _, err := w.svc.Troubles(ctx, id); return err })
	b.ReportMetric(float64(max(0, heap()-before))/1e6, "heap-MB")

	began, pages, q := time.Now(), 0, FileQuery{Search: "picture 0999999"}
	for {
		got, err := w.svc.FilePage(ctx, id, q)
		if err != nil {
			b.Fatal(err)
		}
		pages++
		if q.Cursor = got.Next; q.Cursor == "" {
			break
		}
	}
	b.ReportMetric(ms(time.Since(began)), "search-all-ms")
	b.ReportMetric(float64(pages), "search-all-pages")
	w.benchExport(b, id)
}

// benchExport reads all files, as an export does, and tells how much memory that takes.
func (w *world) benchExport(b *testing.B, id string) {
	before, most, n, began := heap(), int64(0), 0, time.Now()
	err := w.svc.Files(b.Context(), id, FileFilter{}, func(FileRecord) error {
		if n++; n%200_000 == 0 {
			most = max(most, heap()-before)
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(ms(time.Since(began)), "export-ms")
	b.ReportMetric(float64(most)/1e6, "export-heap-MB")
}

// heap is how many bytes are in use after a collection.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
