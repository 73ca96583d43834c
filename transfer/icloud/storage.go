package icloud

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"offload/transfer"
)

// The web client that storage is asked as.
const (
	buildNumber     = "2522Project44"
	masteringNumber = "2522B2"
	storagePath     = "/storageUsageInfo"
	wsAccount       = "account"
)

// errUntold says that an answer is whole but doesn't name the room.
var errUntold = errors.New("iCloud doesn't tell the account's storage")

// Storage implements service. Two addresses and two methods are in use for it; which of them an account answers to isn't
// documented, so that all are tried, the newest first.
func (a *Account) Storage(ctx context.Context) (transfer.Storage, error) {
	const what = "ask for the storage"
	s := a.snapshot()
	params := url.Values{"clientBuildNumber": {buildNumber}, "clientMasteringNumber": {masteringNumber}, "clientId": {a.client}}
	if d := s.jar.dsid(); d != "" {
		params.Set("dsid", d)
	}
	forms := []*call{
		{method: http.MethodPost, service: wsAccount, path: "/setup/ws/1" + storagePath, params: params, steady: true, retry4: 1},
		{method: http.MethodGet, path: storagePath, params: params, retry4: 1},
		{method: http.MethodPost, path: storagePath, params: params, body: struct{}{}},
	}
	if s.hosts.url(wsAccount) == "" {
		forms = forms[1:]
	}
	var err error
	for _, c := range forms {
		var room transfer.Storage
		c.what = what
		var untold error
		c.decode = func(b []byte) (err error) {
			room, err = readStorage(b)
			if untold = nil; errors.Is(err, errUntold) { // to ask the same again would bring the same
				untold, err = err, nil
			}
			return err
		}
		if err = a.do(ctx, c); err == nil {
			if untold == nil {
				return room, nil
			}
			err = fmt.Errorf("%s: %w", what, untold)
			continue
		}
		var se *statusError
		if !errors.As(err, &se) || se.status/100 != 4 || throttles(se.status) {
			break
		}
	}
	return transfer.Storage{}, err
}

// readStorage reads what is there; an answer that doesn't tell the room in all is none.
func readStorage(body []byte) (transfer.Storage, error) {
	var ans struct {
		Media []struct {
			Key   text `json:"mediaKey"`
			Usage num  `json:"usageInBytes"`
		} `json:"storageUsageByMedia"`
		Info struct {
			Used  num `json:"usedStorageInBytes"`
			Total num `json:"totalStorageInBytes"`
		} `json:"storageUsageInfo"`
	}
	if err := unmarshal(body, &ans); err != nil {
		return transfer.Storage{}, err
	}
	if !ans.Info.Total.ok || !ans.Info.Used.ok {
		return transfer.Storage{}, errUntold
	}
	room := transfer.Storage{Total: ans.Info.Total.n, Used: ans.Info.Used.n}
	for _, m := range ans.Media {
		if m.Key == "" || !m.Usage.ok {
			continue
		}
		if room.ByKind == nil {
			room.ByKind = map[string]int64{}
		}
		room.ByKind[string(m.Key)] += m.Usage.n
	}
	return room, nil
}
