// Package dashboard is the place of the pages, the JSON API, live events and metrics. None of that is built yet: jobs
// are watched on the command line, with `offload jobs`.
package dashboard
