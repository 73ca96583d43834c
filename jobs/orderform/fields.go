package orderform

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"offload/configs"
	"offload/jobs"
	"offload/remotes"
)

// Fields are named values as people write them, and the mistakes that were found in them.
type Fields struct {
	Values map[string][]string
	Wrong  []*jobs.OrderError
}

// Fail notes a mistake; of several in one field the first counts.
func (f *Fields) Fail(name, hint string, err error) {
	if !slices.ContainsFunc(f.Wrong, func(e *jobs.OrderError) bool { return e.Field == name }) {
		f.Wrong = append(f.Wrong, &jobs.OrderError{Field: name, Hint: hint, Err: err})
	}
}

// Given tells whether a field has a value.
func (f *Fields) Given(name string) bool { return len(f.Values[name]) > 0 }

// One returns the single value of a field, "" where there is none.
func (f *Fields) One(name string) string {
	all := f.Values[name]
	if len(all) == 0 {
		return ""
	}
	if len(all) > 1 {
		f.Fail(name, "give it once", errors.New("is given more than once"))
	}
	return all[0]
}

// Text returns a value that may not be blank where it is given.
func (f *Fields) Text(name string) string {
	v := f.One(name)
	if f.Given(name) && strings.TrimSpace(v) == "" {
		f.Fail(name, "give it a value, or leave it out", errors.New("is empty"))
	}
	return v
}

// Path returns a remote and a path, which must be there; what is an example of one.
func (f *Fields) Path(name, what string) string {
	v := f.One(name)
	if v == "" {
		f.Fail(name, "name "+what, errors.New("is missing"))
		return ""
	}
	var wrong *remotes.PathError
	if err := remotes.CheckPlainPath(v); errors.As(err, &wrong) {
		f.Fail(name, wrong.Hint, fmt.Errorf("%s %w", configs.Quote(wrong.Shown), wrong.Err))
	}
	return v
}
