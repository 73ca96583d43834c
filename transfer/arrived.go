package transfer

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/hash"
)

// A destination that has all bytes of a file may keep it waiting for its turn (Idle). A process that dies then would leave a
// copy of which nobody knows what it is, and a source without hashes would be read once more to find out. So the sums of what
// was sent are recorded before, and whoever goes on compares the copy with them.

// sentJSON is what was sent of a file, as an outcome keeps it: beside the part that it was sent in, should the destination
// not have committed it.
type sentJSON struct {
	partJSON
	Target string            `json:"t"`
	MTime  time.Time         `json:"mt"`
	Sums   map[string]string `json:"s"`
}

// text is the form kept in Outcome.Part; p is how far the upload was known to be, nil for one that isn't gone on with. Whoever
// reads parts alone finds that part in it, or none.
func (s *sent) text(p *part) string {
	j := sentJSON{partJSON: partJSON{Version: partVersion, Mark: s.mark.String()}, Target: s.target, MTime: s.mtime, Sums: map[string]string{}}
	if p != nil && p.mark.same(s.mark) {
		j.ID, j.Offset, j.Hashes = p.ID, p.Offset, p.state.hashes
	}
	for t, sum := range s.sums {
		j.Sums[t.String()] = sum
	}
	b, err := json.Marshal(j)
	if err != nil {
		return "" // it isn't kept then
	}
	return string(b)
}

// parseSent reads what text wrote; nil for anything else. A damaged one costs one more reading of the file.
func parseSent(text string) *sent {
	var j sentJSON
	if text == "" || json.Unmarshal([]byte(text), &j) != nil || j.Version != partVersion || j.Target == "" || len(j.Sums) == 0 {
		return nil
	}
	m, ok := parseMark(j.Mark)
	if !ok {
		return nil
	}
	s := &sent{mark: m, mtime: j.MTime, n: m.size, target: j.Target, sums: map[hash.Type]string{}, former: true}
	for name, sum := range j.Sums {
		var t hash.Type
		if sum == "" || t.Set(name) != nil {
			return nil
		}
		s.sums[t] = sum
	}
	return s
}

// arrives returns a context for an upload of src under which Idle records what was sent, and a function that ends that: an
// upload that was given up may go on in a goroutine of its own, and may record nothing any more.
func (w *work) arrives(ctx context.Context, src fs.Object, s *sent, mr *meteredReader, h *sums) (context.Context, func()) {
	idle, ok := ctx.Value(idleKey{}).(func())
	if !ok || w.done.Result != Pending || !w.mayResume(src, s.mark) {
		return ctx, func() {}
	}
	var mu sync.Mutex
	over := false
	arrived := func() {
		idle()
		mu.Lock()
		defer mu.Unlock()
		_, _ = mr.Read(make([]byte, 1)) // the end, behind the last byte
		if over || !mr.ended() {
			return
		}
		over = true
		now := &sent{mark: s.mark, mtime: s.mtime, target: s.target, sums: h.Sums()}
		if err := w.r.record(ctx, w.i, Outcome{Part: now.text(w.part), Wasted: w.wasted}); err != nil {
			slog.DebugContext(ctx, "what was sent wasn't recorded", "path", w.e.Path, "error", err)
		}
	}
	return context.WithValue(ctx, idleKey{}, arrived), func() {
		mu.Lock()
		defer mu.Unlock()
		over = true
	}
}

// dropFormer gives up what another process has sent of the file: it isn't at the destination. What of it is in a part is
// findPart's to decide on.
func (w *work) dropFormer() {
	if w.sent != nil && w.sent.former {
		w.wasted += max(w.sent.n-w.sentSoFar(), 0)
		w.sent = nil
	}
}
