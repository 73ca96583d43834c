package orderform

import (
	"errors"

	"offload/jobs"
	"offload/remotes"
)

// RefuseLocal finds the local paths of an order: where people sign in from elsewhere they would reach every file that this
// process may read or write, such as its settings and keys.
func RefuseLocal(o jobs.Order) []*jobs.OrderError {
	var wrong []*jobs.OrderError
	for _, end := range []struct{ field, path string }{{Source, o.Source}, {Dest, o.Dest}} {
		if end.path != "" && remotes.NameOf(end.path) == "" {
			wrong = append(wrong, &jobs.OrderError{Field: end.field, Value: end.path, Hint: "use `offload enqueue` on that machine",
				Err: errors.New("folders of the dashboard's machine aren't taken from people who sign in")})
		}
	}
	return wrong
}
