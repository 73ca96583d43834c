package icloud

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/rclone/rclone/backend/iclouddrive/api"
	"github.com/rclone/rclone/fs"

	"offload/transfer"
)

// Trash implements service.
func (a *Account) Trash(ctx context.Context, items []Ref) []error {
	return a.change(ctx, "move items to the trash", toTrashPath, items)
}

// Purge implements service.
func (a *Account) Purge(ctx context.Context, items []Ref) []error {
	return a.change(ctx, "remove items from the trash", purgePath, items)
}

// PutBack implements service.
func (a *Account) PutBack(ctx context.Context, items []Ref) []error {
	return a.change(ctx, "put items back", "/putBackItemsFromTrash", items)
}

// toTrashPath is the call that moves items to the trash.
const toTrashPath = "/moveItemsToTrash"

// purgePath is the call that removes items for good.
const purgePath = "/deleteItems"

// changeItem is one item of a call that changes.
type changeItem struct {
	ID       string `json:"drivewsid"`
	ETag     string `json:"etag"`
	ClientID string `json:"clientId,omitempty"`
}

// change makes one call that changes items, each on the condition of its etag. Items that the server was too busy for go
// again, with the same etags; nothing else is repeated. An item without an etag is refused: it would be no condition.
func (a *Account) change(ctx context.Context, what, path string, items []Ref) []error {
	errs := make([]error, len(items))
	var todo []int
	for i, it := range items {
		if it.ID == "" || it.ETag == "" {
			errs[i] = fmt.Errorf("%s: no version to change on the condition of", what)
			continue
		}
		todo = append(todo, i)
	}
	for busy := 1; len(todo) > 0; busy++ {
		refs := make([]Ref, len(todo))
		for n, i := range todo {
			refs[n] = items[i]
		}
		var again []int
		for n, err := range a.changeOnce(ctx, what, path, refs) {
			errs[todo[n]] = err
			var se *itemError
			if errors.As(err, &se) && se.status == zoneBusy {
				again = append(again, todo[n])
			}
		}
		todo = again
		if len(todo) > 0 && (busy == maxBusy || a.sleep(ctx, backoff(busy)) != nil) {
			break
		}
	}
	return errs
}

// itemError is what the server says of one item.
type itemError struct{ what, status string }

func (e *itemError) Error() string { return fmt.Sprintf("%s: iCloud answered %q", e.what, e.status) }

// changeOnce makes the call. Two forms of a purge are known, with and without a client ID: where one is refused as a
// whole, and so nothing was done, the other is sent, and the one that was taken is kept to.
func (a *Account) changeOnce(ctx context.Context, what, path string, items []Ref) []error {
	bare := path == purgePath && a.barePurge.Load()
	found, err := a.sendChange(ctx, what, path, items, bare)
	var se *statusError
	if path == purgePath && errors.As(err, &se) && se.status == http.StatusBadRequest {
		other, otherErr := a.sendChange(ctx, what, path, items, !bare)
		if otherErr == nil {
			a.barePurge.Store(!bare)
		}
		found, err = other, otherErr
	}
	errs := make([]error, len(items))
	for i := range items {
		if err != nil {
			errs[i] = err
			continue
		}
		w := answerTo(found.list, items, i)
		if errs[i] = result(what, w); errs[i] == nil && path == toTrashPath {
			a.away.note(items[i].ID, string(w.Etag))
		}
	}
	return errs
}

// sendChange sends items; bare leaves their client IDs out.
func (a *Account) sendChange(ctx context.Context, what, path string, items []Ref, bare bool) (found itemList, err error) {
	body := struct {
		Items []changeItem `json:"items"`
	}{}
	for _, it := range items {
		c := changeItem{ID: it.ID, ETag: it.ETag}
		if !bare {
			c.ClientID = it.ID
		}
		body.Items = append(body.Items, c)
	}
	err = a.do(ctx, &call{what: what, method: "POST", service: api.WsDrive, path: path, body: body, changes: true,
		decode: func(b []byte) error { return readItems(b, &found) }})
	return found, err
}

// answerTo finds the answer to item i: by its ID, or by its place where no answer has one and none is missing.
func answerTo(list []wireItem, items []Ref, i int) *wireItem {
	named := false
	for n := range list {
		w := &list[n]
		if string(w.Drivewsid) == items[i].ID || w.Drivewsid == "" && string(w.ClientID) == items[i].ID {
			return w
		}
		named = named || w.Drivewsid != "" || w.ClientID != ""
	}
	if !named && len(list) == len(items) {
		return &list[i]
	}
	return nil
}

// result is what an answer to one item says. An item without an answer, or without a status, may have been changed.
func result(what string, w *wireItem) error {
	if w == nil || w.Status == "" {
		return &unsureError{fmt.Errorf("%s: %w", what, errShort)}
	}
	switch status := strings.ToUpper(string(w.Status)); {
	case status == "OK":
		return nil
	case status == "ETAG_CONFLICT":
		return transfer.ErrChanged
	case gone(status):
		return fs.ErrorObjectNotFound
	case isName(status):
		return &itemError{what, status}
	}
	return &itemError{what, "an unknown status"}
}

// awayMax is how many items the memory of what went to the trash holds.
const awayMax = 100_000

// away remembers the versions that items have in the trash, as the call that moved them there told.
type away struct {
	mu    sync.Mutex
	etags map[string]string // by ID
}

func (w *away) note(id, etag string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.etags == nil || len(w.etags) >= awayMax {
		w.etags = map[string]string{}
	}
	w.etags[id] = etag
}

// is tells whether an item is in the trash in the very version that went there from here.
func (w *away) is(id, etag string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return id != "" && etag != "" && w.etags[id] == etag
}
