package jobs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"offload/quota"
	"offload/transfer"
)

// OrderError says which part of an order is wrong; it is the user's mistake (exit status 2, HTTP 400).
type OrderError struct {
	Field string // as the command line and the API name it: "source", "delete-source", ...
	Value string
	Hint  string // what to do
	Err   error
}

func (e *OrderError) Error() string {
	s := e.Field
	if e.Value != "" {
		s += " " + e.Value
	}
	return s + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *OrderError) Unwrap() error { return e.Err }

// DefaultAccount pays where nobody says otherwise.
const DefaultAccount = "default"

var validAccount = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

// WithDefaults returns the order with every zero field set to its default. MaxDelete 0 means no deletion at all, so
// its default, -1, is for the caller to set.
func (o Order) WithDefaults() Order {
	o.Options = o.Options.WithDefaults()
	if o.Account == "" {
		o.Account = DefaultAccount
	}
	if o.Priority == "" {
		o.Priority = Normal
	}
	return o
}

// Validate looks at the order alone, without asking any remote. The first mistake is returned, as an *OrderError.
func (o Order) Validate() error {
	checks := []struct {
		wrong       bool
		field, what string
		value, hint string
	}{
		{o.Source == "", "source", "is missing", "", "name a remote and a path, such as icloud:Documents"},
		{o.Dest == "", "destination", "is missing", "", "name a remote and a path, such as dropbox:Backup"},
		{!validAccount.MatchString(o.Account), "account", "isn't a valid name", o.Account, "use 1 to 64 of a-z, 0-9, dot, dash and underscore"},
		{!one(o.DeleteSource, transfer.DeleteNever, transfer.DeleteVerified, transfer.DeleteComplete), "delete-source", "isn't known", string(o.DeleteSource), "use never, verified or complete"},
		{!one(o.MinGrade, transfer.GradeA, transfer.GradeB, transfer.GradeC), "min-grade", "isn't known", string(o.MinGrade), "use A, B or C"},
		{!one(o.Conflict, transfer.ConflictRename, transfer.ConflictSkip, transfer.ConflictOverwrite), "conflict", "isn't known", string(o.Conflict), "use rename, skip or overwrite"},
		{!one(o.Order, transfer.OrderFound, transfer.OrderLargest, transfer.OrderOldest, transfer.OrderName), "order", "isn't known", string(o.Order), "use largest, oldest or name"},
		{!one(o.Priority, High, Normal, Low), "priority", "isn't known", string(o.Priority), "use high, normal or low"},
		{o.Hold < 0, "hold", "is negative", o.Hold.String(), "give a time such as 7d"},
		{o.Hold > 10*365*24*time.Hour, "hold", "is longer than ten years", o.Hold.String(), "give a time such as 7d"},
		{o.Hold > 0 && !o.Deletes(), "hold", "needs a deletion to hold", "", "add --delete-source verified or complete"},
		{o.PurgeTrash && !o.Deletes(), "purge-trash", "needs a deletion", "", "add --delete-source verified or complete"},
		{o.DeletePackages && !o.Deletes(), "delete-packages", "needs a deletion", "", "add --delete-source verified or complete"},
		{o.MaxDelete < -1, "max-delete", "is negative", fmt.Sprint(o.MaxDelete), "give a number of files, or leave it out"},
		{o.MaxTransfer < 0, "max-transfer", "is negative", fmt.Sprint(o.MaxTransfer), "give a size such as 20GiB"},
		{o.MinSize < 0, "min-size", "is negative", fmt.Sprint(o.MinSize), "give a size such as 1MiB"},
		{o.MaxSize < 0, "max-size", "is negative", fmt.Sprint(o.MaxSize), "give a size such as 1GiB"},
		{o.MaxSize > 0 && o.MinSize > o.MaxSize, "min-size", "is larger than max-size", "", "no file is both larger and smaller: change one of them"},
		{o.MinAge < 0, "min-age", "is negative", o.MinAge.String(), "give a time such as 90d"},
		{o.MaxAge < 0, "max-age", "is negative", o.MaxAge.String(), "give a time such as 90d"},
		{o.MaxAge > 0 && o.MinAge > o.MaxAge, "min-age", "is more than max-age", "", "no file is both older and younger: change one of them"},
		{o.Transfers < 0 || o.Transfers > 256, "transfers", "is out of range", fmt.Sprint(o.Transfers), "use 1 to 256, or 0 to adapt"},
		{utf8.RuneCountInString(o.Label) > 200, "label", "is longer than 200 characters", "", "shorten it"},
		{!one(o.Kind, KindMove, KindRestore, KindScrub), "kind", "isn't known", string(o.Kind), "use restore or scrub, or leave it out"},
		{o.Kind == KindMove && o.Of != "", "of", "needs a kind of job that is about another", o.Of, "leave it out"},
		{o.Kind != KindMove && !isID(o.Of), "of", "isn't the ID of a job", o.Of, "`offload jobs list` shows the IDs"},
		{o.Kind != KindRestore && (o.Below != "" || !o.Since.IsZero() || len(o.Newer) > 0), "kind", "isn't a restore: it has no part of a record to bring back", string(o.Kind), "leave the rest out"},
		{slices.ContainsFunc(o.Newer, func(id string) bool { return !isID(id) }), "newer", "holds something that isn't the ID of a job", "", "leave it out"},
		{o.Kind != KindMove && o.Deletes(), "delete-source", "can't go with a job that only restores or looks", string(o.DeleteSource), "leave it out"},
		{o.Kind != KindMove && o.Conflict == transfer.ConflictOverwrite, "conflict", "can't be overwrite: nothing is replaced by such a job", string(o.Conflict), "leave it out"},
		{o.Kind != KindMove && (o.Plan != "" || o.Goal != nil), "plan-file", "can't go with a job that only restores or looks: it goes by a record", "", "leave it out"},
		{o.Kind == KindScrub && o.Source != o.Dest, "destination", "isn't the source: a scrub looks at one place", o.Dest, "name the destination of the job twice"},
		{o.Kind != KindScrub && o.Read, "read", "goes with a scrub only", "", "leave it out"},
		{strings.ContainsFunc(o.Label, func(r rune) bool { return r < ' ' || r == 0x7f }), "label", "holds control characters", "", "use plain text"},
	}
	for _, c := range checks {
		if c.wrong {
			return &OrderError{Field: c.field, Value: c.value, Hint: c.hint, Err: errors.New(c.what)}
		}
	}
	if _, err := parseWindow(o.Window); err != nil {
		return &OrderError{Field: "window", Value: o.Window, Hint: `give two times of day, such as "22:00-06:00"`, Err: err}
	}
	if _, err := transfer.ParseBandwidth(o.BwLimit); err != nil {
		return &OrderError{Field: "bwlimit", Value: o.BwLimit, Hint: `give bytes a second such as 2M, or a timetable such as "08:00,512k 23:00,off"`, Err: err}
	}
	if err := transfer.CheckFilters(o.Options); err != nil {
		field := "filter"
		var wrong *transfer.FilterError
		if errors.As(err, &wrong) {
			field = wrong.Field
		}
		return &OrderError{Field: field, Hint: "see https://rclone.org/filtering/ for the patterns", Err: err}
	}
	return nil
}

func one[T comparable](v T, allowed ...T) bool {
	for _, a := range allowed {
		if v == a {
			return true
		}
	}
	return false
}

// Check completes an order and refuses it where a part of it is wrong or a remote doesn't answer. A mistake is an
// *OrderError. Nothing is stored or changed.
func (s *Service) Check(ctx context.Context, o Order) (Order, error) {
	o = o.WithDefaults()
	if err := cmp.Or(o.Validate(), o.checkPlanned()); err != nil {
		return o, err
	}
	if err := s.checkAccount(ctx, o.Account); err != nil {
		return o, err
	}
	if err := s.checkKind(ctx, o); err != nil {
		return o, err
	}
	check := (*transfer.Pair).Check
	if o.Kind == KindScrub {
		check = (*transfer.Pair).CheckScrub
	}
	pair, err := s.cfg.Open(ctx, o.Source, o.Dest, o.Options)
	if err != nil {
		return o, orderError(o, err)
	}
	defer pair.Close(context.WithoutCancel(ctx))
	if err := check(pair, ctx); err != nil {
		return o, orderError(o, err)
	}
	return o, nil
}

// checkAccount refuses an account that was removed.
func (s *Service) checkAccount(ctx context.Context, account string) error {
	st, err := s.cfg.Ledger.Status(ctx, account)
	if err != nil {
		s.log.Debug("look at the account", "account", account, "error", err) // its jobs wait, and say why
		return nil
	}
	if st.Removed {
		return &OrderError{Field: "account", Value: account, Err: errors.New("it was removed"),
			Hint: fmt.Sprintf("`%s` opens it again", quota.RaiseCommand(account))}
	}
	return nil
}

// orderError gives an error of opening or checking remotes the name of the field that it is about. A context that
// ended is nobody's mistake and is returned as it is.
func orderError(o Order, err error) error {
	var c *transfer.CheckError
	if errors.As(err, &c) {
		value := ""
		switch c.Field {
		case "source":
			value = o.Source
		case "destination":
			value = o.Dest
		}
		return &OrderError{Field: c.Field, Value: value, Hint: c.Hint, Err: c.Err}
	}
	return err
}
