package jobs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"offload/manifest"
)

// Manifests in the store. A job's manifest lies in blocks of lines, and beside them in blocks of names, which Where searches.
// Blocks belong to a generation: a manifest that is written anew takes the place of the one before in one step, and the old
// blocks go then. What a process that died has left of a generation is written over by the next one.

// keyManifests is the hash of the jobs that have a manifest: ID -> "generation number-of-blocks-of-names". It follows what is
// at the job, and keyOwed has the job until it does.
const keyManifests = "offload:manifests"

// keyOwed is the set of the jobs whose manifests are to be written, by when.
const keyOwed = "offload:manifests:owed"

// Sizes of blocks. A block of lines is read for each file that was found, one of names for each search.
const (
	linesBlock = 256
	namesBlock = 8192
	blocksRead = 32 // in one call
)

func (k jobKeys) manifest() string { return string(k) + "manifest" }
func (k jobKeys) lines(gen string, n int64) string {
	return string(k) + "ml:" + gen + ":" + strconv.FormatInt(n, 10)
}
func (k jobKeys) names(gen string, n int64) string {
	return string(k) + "mn:" + gen + ":" + strconv.FormatInt(n, 10)
}

// ManifestInfo is what the store knows of a job's manifest.
type ManifestInfo struct {
	manifest.Header
	manifest.Summary
	Written time.Time `json:"written"`         // into the store
	Path    string    `json:"path,omitempty"`  // below the destination, "" where it isn't there
	Kept    bool      `json:"job_kept"`        // the job itself is still in the store
	Stored  int64     `json:"stored"`          // bytes in the store
	Error   string    `json:"error,omitempty"` // why it isn't at the destination
	tries   int64     // in vain, at the destination
	gen     string
	blocks  int64 // of lines
	names   int64 // of names
}

// manifestWriter writes a job's manifest into the store.
type manifestWriter struct {
	s      *Service
	id     string
	old    string // generation before
	gen    string
	lines  bytes.Buffer
	held   int // lines in it
	names  namesWriter
	blocks int64
	stored int64
}

// writeManifest reads a manifest's lines from each and writes them into the store, and as a file to w.
func (s *Service) writeManifest(ctx context.Context, h manifest.Header, w io.Writer, held func() error,
	each func(yield func(manifest.Line) error) error) (ManifestInfo, error) {
	fail := func(err error) (ManifestInfo, error) {
		return ManifestInfo{}, fmt.Errorf("keep the manifest of job %s: %w", h.Job, err)
	}
	was, err := s.client.HMGet(ctx, keysOf(h.Job).manifest(), "gen", "blocks", "names").Result()
	if err != nil {
		return fail(err)
	}
	text := func(i int) string { t, _ := was[i].(string); return t }
	m := &manifestWriter{s: s, id: h.Job, old: text(0), gen: strconv.FormatInt(number(text(0))+1, 10)}
	file, err := manifest.NewWriter(w, h)
	if err != nil {
		return fail(err)
	}
	h.Version = manifest.Version
	err = each(func(l manifest.Line) error {
		if err := file.Add(l); err != nil {
			return err
		}
		return m.add(ctx, l)
	})
	if err == nil {
		err = m.flush(ctx)
	}
	if err == nil {
		err = m.flushNames(ctx)
	}
	if err != nil {
		return fail(err)
	}
	sum, err := file.Close()
	if err == nil {
		err = held()
	}
	if err != nil {
		return fail(err)
	}
	info, err := m.keep(ctx, h, sum)
	if err != nil {
		return fail(err)
	}
	if err := m.drop(ctx, number(text(1)), number(text(2))); err != nil {
		return fail(err)
	}
	return info, nil
}

func (m *manifestWriter) add(ctx context.Context, l manifest.Line) error {
	text, err := manifest.PackLine(l)
	if err != nil {
		return err
	}
	m.lines.Write(text)
	m.lines.WriteByte('\n')
	m.names.add(l)
	if m.held++; m.held == linesBlock {
		if err := m.flush(ctx); err != nil {
			return err
		}
	}
	if m.names.held == namesBlock {
		return m.flushNames(ctx)
	}
	return nil
}

func (m *manifestWriter) flush(ctx context.Context) error {
	if m.held == 0 {
		return nil
	}
	m.blocks++
	err := m.set(ctx, keysOf(m.id).lines(m.gen, m.blocks), m.lines.Bytes())
	m.lines.Reset()
	m.held = 0
	return err
}

func (m *manifestWriter) flushNames(ctx context.Context) error {
	if m.names.held == 0 {
		return nil
	}
	m.names.blocks++
	err := m.set(ctx, keysOf(m.id).names(m.gen, m.names.blocks), m.names.bytes())
	m.names.reset()
	return err
}

func (m *manifestWriter) set(ctx context.Context, key string, raw []byte) error {
	blob := m.s.codec.enc.EncodeAll(raw, nil)
	m.stored += int64(len(blob))
	return m.s.client.Set(ctx, key, blob, 0).Err()
}

// keep makes what was written the job's manifest.
func (m *manifestWriter) keep(ctx context.Context, h manifest.Header, sum manifest.Summary) (ManifestInfo, error) {
	head, err := json.Marshal(h)
	if err != nil {
		return ManifestInfo{}, err
	}
	total, err := json.Marshal(sum)
	if err != nil {
		return ManifestInfo{}, err
	}
	now, err := m.s.now(ctx)
	if err != nil {
		return ManifestInfo{}, err
	}
	// Known first: a manifest that nothing leads to would never be found again.
	if err := m.s.client.HSetNX(ctx, keyManifests, m.id, "0 0").Err(); err != nil {
		return ManifestInfo{}, err
	}
	n, err := script("manifest/keep").Run(ctx, m.s.client, []string{keysOf(m.id).manifest()}, m.old, m.gen, "header", head,
		"summary", total, "blocks", m.blocks, "names", m.names.blocks, "stored", m.stored, "written", now.UnixMilli(), "path", "").Int()
	if err != nil {
		return ManifestInfo{}, err
	}
	if n != 1 {
		return ManifestInfo{}, errors.New("another process writes it")
	}
	err = m.s.client.HSet(ctx, keyManifests, m.id, fmt.Sprintf("%s %d", m.gen, m.names.blocks)).Err()
	return ManifestInfo{Header: h, Summary: sum, Written: now.UTC(), Stored: m.stored, gen: m.gen, blocks: m.blocks, names: m.names.blocks}, err
}

// drop removes the blocks of the generation before, and what a process that died may have left behind those of this one.
func (m *manifestWriter) drop(ctx context.Context, blocks, names int64) error {
	k := keysOf(m.id)
	if m.old != "" {
		if err := m.s.dropBlocks(ctx, m.id, m.old, blocks, names); err != nil {
			return err
		}
	}
	for _, next := range []func(int64) string{
		func(n int64) string { return k.lines(m.gen, m.blocks+n) },
		func(n int64) string { return k.names(m.gen, m.names.blocks+n) },
	} {
		for n := int64(1); ; n++ {
			gone, err := m.s.client.Del(ctx, next(n)).Result()
			if err != nil {
				return fmt.Errorf("drop what is left of a manifest of job %s: %w", m.id, err)
			}
			if gone == 0 {
				break
			}
		}
	}
	return nil
}

func (s *Service) dropBlocks(ctx context.Context, id, gen string, blocks, names int64) error {
	k, p := keysOf(id), s.client.Pipeline()
	for n := int64(1); n <= max(blocks, names); n++ {
		if n <= blocks {
			p.Del(ctx, k.lines(gen, n))
		}
		if n <= names {
			p.Del(ctx, k.names(gen, n))
		}
		if n%1000 == 0 || n == max(blocks, names) {
			if _, err := p.Exec(ctx); err != nil {
				return fmt.Errorf("drop the manifest before of job %s: %w", id, err)
			}
		}
	}
	return nil
}

// manifestInfo reads what the store knows of a manifest. id is a whole one; where there is none, it is ErrNoManifest.
func (s *Service) manifestInfo(ctx context.Context, id string) (ManifestInfo, error) {
	p := s.client.Pipeline()
	fields, job := p.HGetAll(ctx, keysOf(id).manifest()), p.HMGet(ctx, keysOf(id).job(), "state", fieldManifestError)
	if _, err := p.Exec(ctx); err != nil {
		return ManifestInfo{}, fmt.Errorf("read the manifest of job %s: %w", id, err)
	}
	f := fields.Val()
	if f["gen"] == "" {
		return ManifestInfo{}, fmt.Errorf("job %s: %w", id, ErrNoManifest)
	}
	m := ManifestInfo{Written: fromMillis(f["written"]), Path: f["path"], Stored: number(f["stored"]), gen: f["gen"],
		blocks: number(f["blocks"]), names: number(f["names"]), tries: number(f["tries"])}
	if err := json.Unmarshal([]byte(f["header"]), &m.Header); err != nil {
		return ManifestInfo{}, fmt.Errorf("read the manifest of job %s: %w", id, err)
	}
	if err := json.Unmarshal([]byte(f["summary"]), &m.Summary); err != nil {
		return ManifestInfo{}, fmt.Errorf("read the manifest of job %s: %w", id, err)
	}
	state, _ := job.Val()[0].(string)
	m.Kept = state != ""
	m.Error, _ = job.Val()[1].(string)
	return m, nil
}

// ErrNoManifest says that the store has no manifest of a job.
var ErrNoManifest = errors.New("the store has no manifest of it")

// storedLines calls yield for each line of a manifest of the store.
func (s *Service) storedLines(ctx context.Context, m ManifestInfo, yield func(manifest.Line) error) error {
	k := keysOf(m.Job)
	for from := int64(1); from <= m.blocks; from += blocksRead {
		var keys []string
		for n := from; n <= min(m.blocks, from+blocksRead-1); n++ {
			keys = append(keys, k.lines(m.gen, n))
		}
		raw, err := s.unpackAll(ctx, keys)
		if err != nil {
			return fmt.Errorf("read the manifest of job %s: %w", m.Job, err)
		}
		for _, block := range raw {
			for text := range bytes.Lines(block) {
				l, err := manifest.UnpackLine(text)
				if err != nil {
					return fmt.Errorf("read the manifest of job %s: %w", m.Job, err)
				}
				if err := yield(l); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// unpackAll reads blocks, none of which may be missing.
func (s *Service) unpackAll(ctx context.Context, keys []string) ([][]byte, error) {
	all, err := s.unpackSome(ctx, keys)
	for _, raw := range all {
		if raw == nil {
			return nil, errors.New("a part of it is missing, or it is being written anew")
		}
	}
	return all, err
}

// getAll reads values in one call; those that are missing are nil.
func (s *Service) getAll(ctx context.Context, keys []string) ([][]byte, error) {
	p := s.client.Pipeline()
	answers := make([]*redis.StringCmd, len(keys))
	for i, key := range keys {
		answers[i] = p.Get(ctx, key)
	}
	if _, err := p.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return nil, err
	}
	all := make([][]byte, len(keys))
	for i, a := range answers {
		raw, err := a.Bytes()
		if err != nil && !errors.Is(err, redis.Nil) {
			return nil, err
		}
		all[i] = raw
	}
	return all, nil
}

// manifestPlace is a job that has a manifest, with the manifest's generation and how many blocks of names it has.
type manifestPlace struct {
	id, gen string
	names   int64
}

// manifestPlaces are the jobs that have a manifest, newest first.
func (s *Service) manifestPlaces(ctx context.Context) ([]manifestPlace, error) {
	f, err := s.client.HGetAll(ctx, keyManifests).Result()
	if err != nil {
		return nil, fmt.Errorf("list manifests: %w", err)
	}
	all := make([]manifestPlace, 0, len(f))
	for id, value := range f {
		gen, names, _ := strings.Cut(value, " ")
		all = append(all, manifestPlace{id, gen, number(names)})
	}
	slices.SortFunc(all, func(a, b manifestPlace) int { return newerFirst(a.id, b.id) })
	return all, nil
}

// Manifests are those that the store holds, newest first.
func (s *Service) Manifests(ctx context.Context) ([]ManifestInfo, error) {
	places, err := s.manifestPlaces(ctx)
	if err != nil {
		return nil, err
	}
	all := []ManifestInfo{}
	for _, p := range places {
		m, err := s.manifestInfo(ctx, p.id)
		if errors.Is(err, ErrNoManifest) {
			continue // its writer died before it was whole
		}
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}

// resolveManifest completes a prefix of the ID of a job that has a manifest.
func (s *Service) resolveManifest(ctx context.Context, id string) (string, error) {
	full := strings.ToUpper(id)
	if !isIDPart(full) {
		return "", fmt.Errorf("job %q: %w", id, ErrNotFound)
	}
	if len(full) == 26 {
		return full, nil
	}
	places, err := s.manifestPlaces(ctx)
	if err != nil {
		return "", err
	}
	found := ""
	for _, p := range places {
		if !strings.HasPrefix(p.id, full) {
			continue
		}
		if found != "" {
			return "", fmt.Errorf("job %q is the beginning of several IDs, give more of it: %w", id, ErrNotFound)
		}
		found = p.id
	}
	if found == "" {
		return "", fmt.Errorf("job %q: %w", id, ErrNotFound)
	}
	return found, nil
}
