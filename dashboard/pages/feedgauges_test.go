package pages

import (
	"context"
	"strings"
	"testing"
)

// The streams of workers and queue tell what the pages tell, and say when the store is away.
func TestGaugesAreKeptUpToDate(t *testing.T) {
	for page, want := range map[string]string{"workers": "No worker is running", "queue": "Lanes are served strictly"} {
		t.Run(page, func(t *testing.T) {
			w := newGaugesWorld(t)
			if body := w.page(0, "/"+page, `data-live="/events?page=`+page); !strings.Contains(body, want) {
				t.Error(body)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			got, closed := map[string]string{}, false
			err := w.pages.feeds()[page](ctx, topic{page: page}, func(all []fragment) {
				for _, f := range all {
					html, err := w.pages.draw(topic{page: page, operator: true}, f)
					if err != nil {
						t.Error(err)
					}
					got[f.ID] = html
				}
				away := strings.Contains(got["away"], "The store doesn't answer")
				switch {
				case away && !closed:
					t.Error("the store is said to be away")
				case away:
					cancel()
				case !closed:
					closed = true
					if err := w.store.Close(); err != nil {
						t.Error(err)
					}
				}
			})
			if err != nil || !closed || !strings.Contains(got["now"]+got["lanes-now"], want) {
				t.Errorf("%v: %v", err, got)
			}
		})
	}
}
