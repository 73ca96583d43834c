// Package dashboard serves the pages, the JSON API, live events and metrics over HTTP. Everything that it shows or does goes
// through the jobs service, the quota ledger and the remotes, as the command line's commands do.
package dashboard
