// Package jobstest opens what a dashboard stands on, for tests: a store, its ledger and the jobs service.
package jobstest

import (
	"testing"

	"offload/internal/store"
	"offload/jobs"
	"offload/quota"
)

// Open opens a store, in a folder of the test's where the options name none, with a ledger and a service on it. All are
// closed at the end of the test; the test may close them before.
func Open(t testing.TB, at store.Options, limits quota.Config, cfg jobs.Config) (*store.Store, *quota.Ledger, *jobs.Service) {
	t.Helper()
	if at.Dir == "" {
		at.Dir = t.TempDir()
	}
	st, err := store.Open(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	ledger, err := quota.New(st.Client(), limits)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Store, cfg.Ledger = st, ledger
	service, err := jobs.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := service.Close(); err != nil {
			t.Error(err)
		}
	})
	return st, ledger, service
}
