package jobs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/redis/go-redis/v9"

	"offload/transfer"
)

// A kind is what became of files: outcome, state of the source and code. Of each kind a job counts its files and bytes, and
// marks the batches that hold any, as bits of a string: so nobody has to read a million files to find three that failed. The
// scripts that store outcomes do both. The counts are exact; a mark may outlive the last file of its kind in a batch until
// the batch is done again, so whoever goes by marks looks at the files.

// kind of files. The zero values of the source's state and of the code are kinds, too.
type kind struct {
	result transfer.Result
	source transfer.SourceState
	code   string
}

func kindOf(o transfer.Outcome) kind { return kind{o.Result, o.Source, o.Code} }

// Names of a job's fields that count the files and the bytes of a kind.
const (
	kindFiles = "k:"
	kindBytes = "kb:"
)

func (k kind) String() string { return string(k.result) + "|" + string(k.source) + "|" + k.code }

func parseKind(text string) (kind, bool) {
	p := strings.Split(text, "|")
	if len(p) != 3 {
		return kind{}, false
	}
	return kind{transfer.Result(p[0]), transfer.SourceState(p[1]), p[2]}, true
}

// kindKeys are the marks of kinds, one string of bits for each, by the number of the batch.
func (k jobKeys) kindKeys(kinds map[kind]bool) []string {
	var keys []string
	for kd := range kinds {
		keys = append(keys, string(k)+"k:"+kd.String())
	}
	return keys
}

// tally is how many files and bytes there are of a kind.
type tally struct{ files, bytes int64 }

// tallies reads the counts by kind out of a job's fields. It is false where they don't add up to the job's other counters:
// then a program of an earlier version has recorded some of the outcomes, and knew of no kinds.
func tallies(f map[string]string) (map[kind]tally, bool) {
	all, sums := map[kind]tally{}, map[string]int64{}
	for name, value := range f {
		text, ok := strings.CutPrefix(name, kindFiles)
		if !ok {
			continue
		}
		k, ok := parseKind(text)
		n := number(value)
		if !ok || n == 0 {
			continue
		}
		all[k] = tally{n, number(f[kindBytes+text])}
		sums[string(k.result)] += n
		if k.source.Gone() {
			sums["deleted"] += n
		}
		if k.source == transfer.Purged {
			sums["purged"] += n
		}
		switch k.code {
		case transfer.CodeDeleteFailed, transfer.CodeNotSeenAgain:
			sums["undeleted"] += n
		case transfer.CodeNotPurged:
			sums["not_purged"] += n
		}
	}
	for _, name := range countedBeside() {
		if sums[name] != number(f[name]) {
			return nil, false
		}
	}
	return all, true
}

// countedBeside are the counters of a job that its counts by kind must add up to.
func countedBeside() []string {
	return []string{"copied", "skipped", "set_aside", "failed", "deleted", "purged", "undeleted", "not_purged"}
}

// marks are batches, as the store keeps them: bit n, counted from the highest of the first byte, is batch n.
type marks []byte

// join adds the batches of others.
func (m marks) join(o marks) marks {
	if len(o) > len(m) {
		m = append(m, make(marks, len(o)-len(m))...)
	}
	for i, b := range o {
		m[i] |= b
	}
	return m
}

// next returns the first batch from n on; false where there is none.
func (m marks) next(n int64) (int64, bool) {
	for ; n>>3 < int64(len(m)); n++ {
		if m[n>>3] == 0 {
			n |= 7
			continue
		}
		if m[n>>3]&(0x80>>(n&7)) != 0 {
			return n, true
		}
	}
	return 0, false
}

// marksOf reads which batches hold files of kinds, apart for each set of them.
func (s *Service) marksOf(ctx context.Context, id string, sets ...map[kind]bool) ([]marks, error) {
	p := s.client.Pipeline()
	answers := make([][]*redis.StringCmd, len(sets))
	for i, set := range sets {
		for _, key := range keysOf(id).kindKeys(set) {
			answers[i] = append(answers[i], p.Get(ctx, key))
		}
	}
	if p.Len() == 0 {
		return make([]marks, len(sets)), nil
	}
	if _, err := p.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return nil, fmt.Errorf("look for files of job %s: %w", id, err)
	}
	all := make([]marks, len(sets))
	for i := range sets {
		for _, a := range answers[i] {
			raw, err := a.Bytes()
			if err != nil && !errors.Is(err, redis.Nil) {
				return nil, fmt.Errorf("look for files of job %s: %w", id, err)
			}
			all[i] = all[i].join(raw)
		}
	}
	return all, nil
}

// kindsKept are all kinds that a job has or had files of, for whoever forgets the job.
func kindsKept(f map[string]string) map[kind]bool {
	all := map[kind]bool{}
	for name := range f {
		if text, ok := strings.CutPrefix(name, kindFiles); ok {
			if k, ok := parseKind(text); ok {
				all[k] = true
			}
		}
	}
	return all
}

// vanished are the kinds of before that aren't among those of after.
func vanished(before, after map[kind]bool) map[kind]bool {
	gone := maps.Clone(before)
	maps.DeleteFunc(gone, func(k kind, _ bool) bool { return after[k] })
	return gone
}

// kindsIn are the kinds of outcomes that have been reached.
func kindsIn(all []transfer.Outcome) map[kind]bool {
	kinds := map[kind]bool{}
	for _, o := range all {
		if o.Result != transfer.Pending {
			kinds[kindOf(o)] = true
		}
	}
	return kinds
}
