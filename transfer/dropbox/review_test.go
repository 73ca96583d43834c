package dropbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"

	_ "github.com/rclone/rclone/backend/memory"
	"github.com/rclone/rclone/fs"

	"offload/transfer"
)

// memJournal keeps the outcomes of a batch.
type memJournal struct {
	mu   sync.Mutex
	done []transfer.Outcome
}

func (j *memJournal) Record(_ context.Context, i int, o transfer.Outcome) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.done[i] = o
	return nil
}

// breaking is a source whose first reading of a file breaks off.
type breaking struct {
	fs.Fs
	broke func()
}

func (b *breaking) NewObject(ctx context.Context, remote string) (fs.Object, error) {
	o, err := b.Fs.NewObject(ctx, remote)
	return &breakingObject{o, b}, err
}

type breakingObject struct {
	fs.Object
	b *breaking
}

func (o *breakingObject) Open(ctx context.Context, opts ...fs.OpenOption) (io.ReadCloser, error) {
	if broke := o.b.broke; broke != nil {
		o.b.broke = nil
		broke()
		return io.NopCloser(brokenReader{}), nil
	}
	return o.Object.Open(ctx, opts...)
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("the connection broke") }

// Somebody takes the name between the engine's look and the commit: the engine renames the copy, and what somebody else
// wrote isn't removed, whatever went wrong with the upload.
func TestForeignFileOutlivesTheEngine(t *testing.T) {
	const commit = "files/upload_session/finish_batch_v2"
	for name, fail := range map[string]func(c *cloud, src *breaking, theirs func()){
		"conflict": func(c *cloud, _ *breaking, theirs func()) { c.fault(fault{endpoint: commit, once: 1, do: theirs}) },
		"answer lost": func(c *cloud, _ *breaking, theirs func()) {
			c.fault(fault{endpoint: commit, once: 1, status: 503, do: theirs})
		},
		"source broke off": func(_ *cloud, src *breaking, theirs func()) { src.broke = theirs },
	} {
		t.Run(name, func(t *testing.T) {
			ctx := within(t)
			c := newCloud(t)
			memory, err := fs.NewFs(ctx, ":memory:"+c.remote())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := memory.Put(ctx, newSource([]byte("mine")), info("file.txt", []byte("mine"))); err != nil {
				t.Fatal(err)
			}
			src := &breaking{Fs: memory}
			fail(c, src, func() { c.put("/file.txt", []byte("somebody else's")) })
			p := transfer.NewPair(src, open(t, New(Options{}), c.remote()+":"), transfer.Options{})
			j := &memJournal{done: make([]transfer.Outcome, 1)}
			_, err = p.RunBatch(ctx, transfer.Batch{Entries: []transfer.Entry{{Path: "file.txt", Size: 4}}}, transfer.Env{Journal: j})
			if got, _ := c.get("/file.txt"); err != nil || string(got) != "somebody else's" {
				t.Errorf("%q stands there now, %v", got, err)
			}
			if o := j.done[0]; o.Result != transfer.Copied || o.Dest == "" {
				t.Errorf("outcome %+v", o)
			} else if got, _ := c.get("/" + o.Dest); string(got) != "mine" {
				t.Errorf("%s holds %q", o.Dest, got)
			}
		})
	}
}

// A file that is longer than listed is committed short before that is noticed: what stands there then is ours to remove.
func TestShortCommitOfALongerFileIsRemoved(t *testing.T) {
	ctx := within(t)
	c := newCloud(t)
	memory, err := fs.NewFs(ctx, ":memory:"+c.remote())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := memory.Put(ctx, newSource([]byte("longer")), info("file.txt", []byte("longer"))); err != nil {
		t.Fatal(err)
	}
	p := transfer.NewPair(&lying{memory}, open(t, New(Options{}), c.remote()+":"), transfer.Options{})
	j := &memJournal{done: make([]transfer.Outcome, 1)}
	_, err = p.RunBatch(ctx, transfer.Batch{Entries: []transfer.Entry{{Path: "file.txt", Size: 4}}}, transfer.Env{Journal: j})
	if len(c.files) != 0 || len(c.batches) == 0 || err != nil {
		t.Errorf("%d files stand there after %d commits, %v", len(c.files), len(c.batches), err)
	}
	if j.done[0].Code != transfer.CodeSourceChanged {
		t.Errorf("outcome %+v", j.done[0])
	}
}

// lying is a source whose listing says that files are of four bytes.
type lying struct{ fs.Fs }

func (l *lying) NewObject(ctx context.Context, remote string) (fs.Object, error) {
	o, err := l.Fs.NewObject(ctx, remote)
	return &lyingObject{o}, err
}

type lyingObject struct{ fs.Object }

func (o *lyingObject) Size() int64 { return 4 }

// The access token ends between two pages of a listing: what was handed out isn't handed out again.
func TestListingBrokenByTheTokenHandsNothingOutTwice(t *testing.T) {
	c := newCloud(t)
	var page []any
	for i := range 150 {
		name := fmt.Sprintf("/file%d", i)
		c.put(name, []byte("x"))
		page = append(page, c.files[name].json())
	}
	body, err := json.Marshal(map[string]any{"entries": page, "cursor": "c", "has_more": true})
	if err != nil {
		t.Fatal(err)
	}
	json200 := map[string][]string{"Content-Type": {"application/json"}}
	f := open(t, New(Options{}), c.remote()+":")
	c.fault(fault{endpoint: "files/list_folder", once: 1, status: 200, header: json200, body: string(body)})
	hit := c.fault(fault{endpoint: "files/list_folder/continue", once: 1, status: 401, header: json200,
		body: `{"error_summary":"expired_access_token/..","error":{".tag":"expired_access_token"}}`})
	for _, again := range []bool{false, true} {
		seen := map[string]int{}
		err = f.Features().ListP(within(t), "", func(entries fs.DirEntries) error {
			for _, e := range entries {
				if seen[e.Remote()]++; seen[e.Remote()] > 1 {
					t.Fatalf("%s was listed twice", e.Remote())
				}
			}
			return nil
		})
		if (err == nil) != again || again && len(seen) != 150 {
			t.Errorf("%d files, error %v", len(seen), err)
		}
	}
	if c.hits(hit) != 1 {
		t.Error("the token didn't end")
	}
}

// One file that Dropbox refuses together with the whole commit (its time, its path) doesn't take the others with it.
func TestRefusedCommitIsRepeatedFileByFile(t *testing.T) {
	c := newCloud(t)
	fleet := &transfer.LocalFleet{}
	f := open(t, New(Options{Fleet: fleet}), c.remote()+":")
	put(t, c, f, "first", []byte("1"))
	_, leave, err := fleet.Turn(t.Context(), "dropbox-commit:dbid:one")
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"a", "b", "poison", "d"}
	read, errs := make([]int, len(names)), make([]error, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() {
			s := newSource([]byte(name))
			_, errs[i] = f.Put(within(t), s, info(name, []byte(name)))
			read[i] = s.read
		})
	}
	until(t, func() bool { return f.(*Fs).login.commits.waiting() == len(names) })
	leave()
	wg.Wait()
	for i, name := range names {
		if (errs[i] != nil) != (name == "poison") || read[i] != len(name) {
			t.Errorf("%s: %v, %d bytes read", name, errs[i], read[i])
		}
	}
	if n := c.count("files/upload_session/finish_batch_v2"); n != 2+len(names) {
		t.Errorf("%d commits", n)
	}
}

// A refusal while hardly anything is under way, as of a commit, says little about how many calls the service takes: it
// halves the limit and doesn't bring the account to a crawl for as long as refusals are remembered.
func TestRefusalWithLittleUnderWayHalvesThePace(t *testing.T) {
	p := newPace()
	p.slow()
	if p.limit != paceStart/2 || p.ceiling < paceStart/2 {
		t.Errorf("limit %d, at most %d, want half of %d", p.limit, p.ceiling, paceStart)
	}
	round, err := p.acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p.release(round, endedRefused)
	if p.limit != paceStart/4 || p.ceiling < paceStart/4 {
		t.Errorf("limit %d, at most %d, want a quarter of %d", p.limit, p.ceiling, paceStart)
	}
}
