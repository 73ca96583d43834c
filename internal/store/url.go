package store

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// How clients of every kind behave. An outage of half a minute is waited out: asynq's own retry of a finished task can't
// succeed (its context is already cancelled), so without these a task that ends during an outage would run twice.
const (
	maxRetries      = 30
	minRetryBackoff = 100 * time.Millisecond
	maxRetryBackoff = time.Second
	dialerRetries   = 1 // the retries above include dialing
	manyDialTimeout = 5 * time.Second
	greetTime       = 5 * time.Second // for a server that took the connection to answer
)

// ErrURL begins every error on the form of a URL.
var ErrURL = errors.New("Redis URL is not usable")

// poolSize is the number of connections a client may open to one server.
func poolSize() int { return max(32, 10*runtime.GOMAXPROCS(0)) }

// target is a Redis to connect to.
type target struct {
	name     string                                      // for messages: scheme and hosts, never a password
	cluster  bool                                        // commands are spread over several masters
	sentinel bool                                        // a replica may take the master's place
	open     func(retries int) (c redis.UniversalClient) // a new client
}

// parseURL reads a Redis URL. Its errors name the scheme and the hosts at most.
func parseURL(raw string) (*target, error) {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return nil, fmt.Errorf("%w: it has no scheme; write redis://host:6379/0 or unix:///path/to/redis.sock", ErrURL)
	}
	switch scheme {
	case "redis", "rediss", "unix":
		return parseSingle(scheme, raw)
	case "redis-sentinel", "rediss-sentinel", "redis-cluster", "rediss-cluster":
		m, err := parseMany(rest)
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrURL, scheme, err)
		}
		m.name = scheme + "://" + m.name
		m.tls = strings.HasPrefix(scheme, "rediss")
		if strings.HasSuffix(scheme, "-cluster") {
			return m.asCluster()
		}
		return m.asSentinel()
	}
	return nil, fmt.Errorf("%w: scheme %q is unknown; use redis, rediss, unix, redis-sentinel or redis-cluster", ErrURL, scheme)
}

func parseSingle(scheme, raw string) (*target, error) {
	o, err := redis.ParseURL(raw)
	if err != nil {
		var ue *url.Error // its text holds the whole URL, password included
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return nil, fmt.Errorf("%w: %s: %s", ErrURL, scheme, withoutSecrets(err.Error(), raw))
	}
	o.MinRetryBackoff, o.MaxRetryBackoff = minRetryBackoff, maxRetryBackoff
	o.DisableIdentity = true // the command fails on servers older than 7.2
	o.ContextTimeoutEnabled = true
	o.MaintNotificationsConfig = noMaintenance()
	o.DialerRetries = dialerRetries
	if o.PoolSize == 0 {
		o.PoolSize = poolSize()
	}
	o.Dialer = greeted(redis.NewDialer(o))
	return &target{
		name: scheme + "://" + o.Addr,
		open: func(retries int) redis.UniversalClient {
			c := *o
			c.MaxRetries = retries
			return redis.NewClient(&c)
		},
	}, nil
}

// greeted is dial for a server that must answer as well, see greet.
func greeted(dial dialer) dialer {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(ctx, greetTime) // a subscription connects anew without a limit, and under a lock
		defer cancel()
		if err := greet(ctx, c); err != nil {
			return nil, &net.OpError{Op: "dial", Net: network, Addr: c.RemoteAddr(), Err: err} // which is tried again
		}
		return impatient(c), nil
	}
}

type dialer = func(ctx context.Context, network, addr string) (net.Conn, error)

// withoutSecrets removes the URL and its user part from a message, wherever a library has put them.
func withoutSecrets(msg, raw string) string {
	msg = strings.ReplaceAll(msg, raw, "(URL)")
	_, rest, _ := strings.Cut(raw, "://")
	if i := strings.LastIndex(rest, "@"); i > 0 {
		user := rest[:i]
		msg = strings.ReplaceAll(msg, user, "***")
		if _, pass, ok := strings.Cut(user, ":"); ok && pass != "" {
			msg = strings.ReplaceAll(msg, pass, "***")
		}
	}
	return msg
}

// manyHosts is a URL that names several servers, which net/url can't read.
type manyHosts struct {
	name       string
	hosts      []string
	user, pass string
	path       string
	query      url.Values
	tls        bool
}

func parseMany(rest string) (*manyHosts, error) {
	m := &manyHosts{}
	rest, query, _ := strings.Cut(rest, "?")
	var err error
	if m.query, err = url.ParseQuery(query); err != nil {
		return nil, errors.New("its query is malformed")
	}
	if i := strings.LastIndex(rest, "@"); i >= 0 {
		user, pass, _ := strings.Cut(rest[:i], ":")
		m.user, err = url.PathUnescape(user)
		if err == nil {
			m.pass, err = url.PathUnescape(pass)
		}
		if err != nil {
			return nil, errors.New("its user part is malformed; write special characters as %XX")
		}
		rest = rest[i+1:]
	}
	hosts, path, _ := strings.Cut(rest, "/")
	m.name, m.path = hosts, path
	for _, h := range strings.Split(hosts, ",") {
		if h == "" {
			return nil, errors.New("a host is missing; write host1:port,host2:port")
		}
		m.hosts = append(m.hosts, h)
	}
	return m, nil
}

// addrs returns the hosts with the port added where none is given.
func (m *manyHosts) addrs(port string) []string {
	var out []string
	for _, h := range m.hosts {
		if _, _, err := net.SplitHostPort(h); err != nil {
			h = net.JoinHostPort(strings.Trim(h, "[]"), port)
		}
		out = append(out, h)
	}
	return out
}

func (m *manyHosts) options() (*redis.UniversalOptions, error) {
	o := &redis.UniversalOptions{
		Username: m.user, Password: m.pass,
		MinRetryBackoff: minRetryBackoff, MaxRetryBackoff: maxRetryBackoff,
		DisableIdentity: true, ContextTimeoutEnabled: true, PoolSize: poolSize(),
		MaintNotificationsConfig: noMaintenance(), DialerRetries: dialerRetries,
	}
	if m.tls {
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	o.Dialer = greeted(redis.NewDialer(&redis.Options{TLSConfig: o.TLSConfig, DialTimeout: manyDialTimeout}))
	if m.path == "" {
		return o, nil
	}
	db, err := strconv.Atoi(m.path)
	if err != nil || db < 0 {
		return nil, fmt.Errorf("%w: %s: the database is a number, not %q", ErrURL, m.name, m.path)
	}
	o.DB = db
	return o, nil
}

func (m *manyHosts) asSentinel() (*target, error) {
	o, err := m.options()
	if err != nil {
		return nil, err
	}
	o.MasterName = m.query.Get("master")
	if o.MasterName == "" {
		return nil, fmt.Errorf("%w: %s: the master's name is missing; add ?master=NAME", ErrURL, m.name)
	}
	o.SentinelUsername = m.query.Get("sentinel_username")
	o.SentinelPassword = m.query.Get("sentinel_password")
	if err := m.unknown("master", "sentinel_username", "sentinel_password"); err != nil {
		return nil, err
	}
	o.Addrs = m.addrs("26379")
	o.Dialer = confirmed(o.Dialer, o)
	return &target{name: m.name, sentinel: true, open: func(retries int) redis.UniversalClient {
		c := *o
		c.MaxRetries = retries
		return redis.NewFailoverClient(c.Failover())
	}}, nil
}

func (m *manyHosts) asCluster() (*target, error) {
	o, err := m.options()
	if err != nil {
		return nil, err
	}
	if o.DB != 0 {
		return nil, fmt.Errorf("%w: %s: a cluster has database 0 only", ErrURL, m.name)
	}
	if err := m.unknown(); err != nil {
		return nil, err
	}
	o.Addrs = m.addrs("6379")
	return &target{name: m.name, cluster: true, open: func(retries int) redis.UniversalClient {
		c := *o
		c.MaxRetries = retries
		return redis.NewClusterClient(c.Cluster())
	}}, nil
}

// unknown refuses parameters other than these, so that a misspelt one isn't passed over.
func (m *manyHosts) unknown(known ...string) error {
next:
	for k := range m.query {
		for _, n := range known {
			if k == n {
				continue next
			}
		}
		return fmt.Errorf("%w: %s: parameter %q is unknown", ErrURL, m.name, k)
	}
	return nil
}

func noMaintenance() *maintnotifications.Config {
	return &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}

// LogRedis sends what go-redis itself has to say, such as each failed attempt to connect, to log at debug level instead
// of to standard error. It holds for the whole process: main calls it once, before anything is opened.
func LogRedis(log *slog.Logger) { redis.SetLogger(redisLog{log}) }

type redisLog struct{ log *slog.Logger }

func (l redisLog) Printf(ctx context.Context, format string, v ...any) {
	if l.log.Enabled(ctx, slog.LevelDebug) {
		l.log.DebugContext(ctx, fmt.Sprintf(format, v...))
	}
}
