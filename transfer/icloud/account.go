package icloud

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rclone/rclone/backend/iclouddrive"
	"github.com/rclone/rclone/backend/iclouddrive/api"
	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config/configmap"
	"github.com/rclone/rclone/fs/config/configstruct"
	"github.com/rclone/rclone/fs/fshttp"
	"github.com/rclone/rclone/lib/encoder"
	"github.com/rclone/rclone/lib/rest"

	"offload/transfer"
)

// The keys of a remote's section that are read or written here.
const (
	keyAppleID    = "apple_id"
	keyPassword   = "password"
	keyTrust      = "trust_token"
	keyCookies    = "cookies"
	keyClientID   = "client_id"
	keyTrustTime  = "trust_time" // RFC 3339, written by package remotes when a person signed in
	trustLifetime = 30           // days
)

// Account is one signed-in iCloud account. It implements service. Its calls share one session, whose cookies every call
// takes a copy of, and one pool of connections.
type Account struct {
	name    string
	appleID string
	m       configmap.Mapper
	opt     Options
	enc     encoder.MultiEncoder // how names are decoded
	client  string               // client_id
	mark    string               // of its calls (transfer.CallMark)
	http    *http.Client
	sleep   func(ctx context.Context, d time.Duration) error
	signer  signer

	api     *limiter // calls, downloads among them
	content *limiter // downloads
	lists   *coalescer
	bare    atomic.Bool // the server knows the trash by its bare name
	// barePurge says that the server takes a purge only without client IDs.
	barePurge atomic.Bool
	away      away

	mu      sync.Mutex
	session session
	saved   string    // cookies as the config last had them, read or written
	flight  *flight   // the recovery under way
	flying  []*flight // all that run, those that nobody waits for among them
	ended   bool      // no recovery begins any more
	refusal refusal
	refused streak    // refusals by Apple
	tried   time.Time // last sign-in
	signed  streak    // sign-ins that followed each other closely
	failed  int       // sign-ins in a row that failed by the network or the service
}

var _ service = (*Account)(nil)

// newAccount signs in to the account of a remote. name is the remote's name and m its rclone config map.
func newAccount(ctx context.Context, name string, m configmap.Mapper, o Options) (*Account, error) {
	return New(o).account(ctx, name, m)
}

// makeAccount prepares an account without calling anybody.
func makeAccount(name string, m configmap.Mapper, o Options, mark string) (*Account, error) {
	options, err := optionsOf(m)
	if err != nil {
		return nil, fmt.Errorf("read options of %s: %w", name, err)
	}
	a := &Account{
		name: name, m: m, opt: o, enc: options.Enc, client: options.ClientID, mark: mark, http: newHTTP(mark), sleep: transfer.Sleep, signer: authenticate,
		api: newLimiter(apiStart, apiMax, o.Now),
	}
	a.content = newShare(a.api)
	a.appleID, _ = m.Get(keyAppleID)
	a.lists = &coalescer{a: a}
	return a, nil
}

// optionsOf are rclone's options of the remote, with rclone's defaults. The credentials among them are read anew when
// they are needed.
func optionsOf(m configmap.Mapper) (o iclouddrive.Options, err error) {
	info, err := fs.Find("iclouddrive")
	if err != nil {
		return o, err
	}
	defaults := configmap.Simple{}
	for _, opt := range info.Options {
		defaults[opt.Name] = opt.String()
	}
	both := configmap.New().AddGetter(m, configmap.PriorityConfig).AddGetter(defaults, configmap.PriorityDefault)
	err = configstruct.Set(both, &o)
	return o, err
}

// newHTTP makes the account's client: rclone's, with room for all calls in flight, and the browser's name that Apple
// expects. It is configured by rclone's global config only, as rclone's own iCloud backend is.
func newHTTP(mark string) *http.Client {
	c := fshttp.NewClientCustom(transfer.WithCallMark(context.Background(), mark), func(t *http.Transport) {
		t.MaxIdleConnsPerHost = max(t.MaxIdleConnsPerHost, apiMax)
		t.MaxIdleConns = 4 * t.MaxIdleConnsPerHost
		transfer.SendOnce(t)
	})
	if t, ok := c.Transport.(*fshttp.Transport); ok {
		agent := api.GetCommonHeaders(nil)["User-Agent"]
		t.SetRequestFilter(func(r *http.Request) { r.Header.Set("User-Agent", agent) })
	}
	c.CheckRedirect = rest.RefuseHTTPSDowngradeRedirectFn
	return c
}

// TrustDaysLeft tells for how many days Apple will trust this device without a person, where that is known.
func (a *Account) TrustDaysLeft() (int, bool) {
	now := a.opt.Now()
	if days, ok := a.snapshot().jar.trustDays(now); ok {
		return min(days, trustLifetime), true
	}
	when, ok := a.m.Get(keyTrustTime)
	if !ok {
		return 0, false
	}
	t, err := time.Parse(time.RFC3339, when)
	if err != nil {
		return 0, false
	}
	return daysLeft(t.AddDate(0, 0, trustLifetime), now), true
}
