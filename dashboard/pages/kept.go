package pages

import (
	"context"
	"sync"
	"time"
)

// keptMost bounds what a kept holds.
const keptMost = 500

// kept remembers answers for a while, so that the store is asked rarely however many people look.
type kept[T any] struct {
	lasts time.Duration
	mu    sync.Mutex
	all   map[string]keptOne[T]
}

type keptOne[T any] struct {
	at    time.Time
	value T
}

func newKept[T any](lasts time.Duration) *kept[T] {
	return &kept[T]{lasts: lasts, all: map[string]keptOne[T]{}}
}

// get returns the answer that is kept under a key, or asks for one. After an error it returns the answer of before, if there
// is one, with the error. Two that miss it at the same time may both ask.
func (k *kept[T]) get(ctx context.Context, key string, ask func(context.Context) (T, error)) (T, error) {
	k.mu.Lock()
	one, ok := k.all[key]
	k.mu.Unlock()
	if ok && time.Since(one.at) < k.lasts {
		return one.value, nil
	}
	value, err := ask(ctx)
	if err != nil {
		return one.value, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.all) >= keptMost {
		clear(k.all) // they are asked for again as they are needed
	}
	k.all[key] = keptOne[T]{time.Now(), value}
	return value, nil
}

// drop forgets an answer: what it was about has just been changed.
func (k *kept[T]) drop(key string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.all, key)
}

// dropAll forgets all answers.
func (k *kept[T]) dropAll() {
	k.mu.Lock()
	defer k.mu.Unlock()
	clear(k.all)
}
