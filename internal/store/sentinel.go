package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// quickDial is how long a connection may take that is used without asking again whom it leads to.
const quickDial = 50 * time.Millisecond

var errNotMaster = errors.New("the Sentinels name another master by now")

// confirmed is dial for servers behind Sentinels. A master that hangs takes connections all the same, and answers when it
// goes on, though another one has its place by then: for some seconds it would do everything that is asked of it, and then
// all of that is thrown away. go-redis closes its connections to a former master, but not one that is just being made. So
// whoever was long in answering is used only if the Sentinels still name it.
func confirmed(dial dialer, o *redis.UniversalOptions) dialer {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		begun := time.Now()
		c, err := dial(ctx, network, addr)
		if err != nil || time.Since(begun) < quickDial || slices.Contains(o.Addrs, addr) {
			return c, err
		}
		if err := confirm(ctx, dial, o, addr); err != nil {
			c.Close()
			return nil, &net.OpError{Op: "dial", Net: network, Addr: c.RemoteAddr(), Err: err} // which is tried again
		}
		return c, nil
	}
}

// confirm asks the first Sentinel that answers whether a server is the master.
func confirm(ctx context.Context, dial dialer, o *redis.UniversalOptions, addr string) error {
	var all error
	for _, s := range o.Addrs {
		c := redis.NewSentinelClient(&redis.Options{Addr: s, Username: o.SentinelUsername, Password: o.SentinelPassword, Dialer: dial,
			MaxRetries: -1, DisableIdentity: true, MaintNotificationsConfig: noMaintenance(), DialerRetries: dialerRetries})
		master, err := c.GetMasterAddrByName(ctx, o.MasterName).Result()
		c.Close()
		switch {
		case err != nil:
			all = errors.Join(all, fmt.Errorf("ask Sentinel %s: %w", s, err))
		case len(master) != 2 || net.JoinHostPort(master[0], master[1]) != addr:
			return errNotMaster
		default:
			return nil
		}
	}
	return all
}
