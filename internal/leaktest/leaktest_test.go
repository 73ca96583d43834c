package leaktest

import (
	"strings"
	"testing"
	"time"
)

// What is about to end is waited for; what stays is told.
func TestFind(t *testing.T) {
	end, out := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(out)
		<-end
	}()
	err := Find(time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "leaktest.TestFind") {
		t.Errorf("a goroutine that stays is told as %v", err)
	}
	time.AfterFunc(time.Second, func() { close(end) }) // longer than goleak alone would wait
	if err := Find(Patience); err != nil {
		t.Errorf("a goroutine that ends soon: %v", err)
	}
	<-out
}

type tests int

func (code tests) Run() int { return int(code) }

func TestRun(t *testing.T) {
	for _, code := range []tests{0, 3} {
		if got := Run(code); got != int(code) {
			t.Errorf("tests that end with %d end with %d", code, got)
		}
	}
}
