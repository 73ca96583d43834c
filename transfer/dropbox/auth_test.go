package dropbox

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rclone/rclone/fs/config"

	"offload/transfer"
)

func TestTokenEndsMidway(t *testing.T) {
	c := newCloud(t)
	name := c.remote("chunk_size", "1Mi")
	f := open(t, New(Options{}), name+":")
	ended := c.fault(fault{endpoint: "files/upload_session/append_v2", after: 1, once: 1, do: c.expire})
	also := c.fault(fault{endpoint: "files/upload_session/finish_batch_v2", once: 1, do: c.expire})
	b := random(3 << 20)
	if _, read := put(t, c, f, "file", b); read != len(b) || c.hits(ended) != 1 || c.hits(also) != 1 {
		t.Errorf("read %d bytes, hits %d and %d", read, c.hits(ended), c.hits(also))
	}
	if token, _ := config.LoadedData().GetValue(name, "token"); !strings.Contains(token, "token-2") {
		t.Error("the renewed token isn't in the configuration")
	}
	if n := c.count("/oauth2/token"); n > 2 {
		t.Errorf("%d refreshes", n)
	}
	c.expire() // and rclone's own calls
	if _, err := f.NewObject(within(t), "file"); err != nil {
		t.Errorf("look after the token ended: %v", err)
	}
	if _, err := f.List(within(t), ""); err != nil {
		t.Errorf("listing after the token ended: %v", err)
	}
}

// A token that was just renewed may have ended again when the call comes once more; where that goes on, it is for a person.
func TestTokenEndsTwiceInARow(t *testing.T) {
	for _, endpoint := range []string{"files/upload_session/start", "files/upload_session/finish_batch_v2"} {
		for times, want := range map[int]error{1: nil, 2: nil, 3: transfer.ErrSignIn} {
			c := newCloud(t)
			f := open(t, New(Options{}), c.remote()+":")
			put(t, c, f, "first", []byte("1"))
			ended := c.fault(fault{endpoint: endpoint, once: times, do: c.expire})
			_, err := f.Put(within(t), strings.NewReader("2"), info("second", []byte("2")))
			if !errors.Is(err, want) || c.hits(ended) != times {
				t.Errorf("%s, the token ends %d times, %d were met: %v", endpoint, times, c.hits(ended), err)
			}
		}
	}
}

func TestManyCallsRenewOnce(t *testing.T) {
	c := newCloud(t)
	f := open(t, New(Options{}), c.remote()+":")
	put(t, c, f, "first", []byte("1"))
	c.expire()
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			b := fmt.Appendf(nil, "%d", i)
			if _, err := f.Put(within(t), bytes.NewReader(b), info(fmt.Sprintf("f%d", i), b)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := c.count("/oauth2/token"); n != 1 {
		t.Errorf("%d refreshes", n)
	}
}

func TestSignInRefused(t *testing.T) {
	for name, noRefresh := range map[string]bool{"refresh token revoked": false, "no refresh token": true} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t)
			c.dead = true
			remote := c.remote()
			if noRefresh {
				config.LoadedData().SetValue(remote, "token", `{"access_token":"token-0","token_type":"bearer","expiry":"0001-01-01T00:00:00Z"}`)
			}
			f := open(t, New(Options{}), remote+":")
			put(t, c, f, "first", []byte("1"))
			c.expire()
			_, err := f.Put(within(t), strings.NewReader("2"), info("second", []byte("2")))
			if !errors.Is(err, transfer.ErrSignIn) {
				t.Errorf("upload: %v", err)
			}
			if _, err := f.NewObject(within(t), "first"); !errors.Is(err, transfer.ErrSignIn) {
				t.Errorf("look: %v", err)
			}
			for _, secret := range []string{"token-0", "token-1", "secret"} {
				if strings.Contains(fmt.Sprint(err), secret) {
					t.Errorf("the error tells a secret: %v", err)
				}
			}
			token, _ := config.LoadedData().GetValue(remote, "token")
			if noRefresh && !strings.Contains(token, "0001-01-01") {
				t.Error("a token without an end was spoiled in the configuration")
			}
		})
	}
}

// A token that another process has renewed is taken from the configuration.
func TestTokenOfAnotherProcessIsTaken(t *testing.T) {
	c := newCloud(t)
	remote := c.remote()
	f := open(t, New(Options{}), remote+":")
	put(t, c, f, "first", []byte("1"))
	c.expire()
	config.LoadedData().SetValue(remote, "token", fmt.Sprintf(`{"access_token":%q,"token_type":"bearer","refresh_token":"refresh","expiry":%q}`,
		c.token, time.Now().Add(time.Hour).Format(time.RFC3339)))
	put(t, c, f, "second", []byte("2"))
	if n := c.count("/oauth2/token"); n != 0 {
		t.Errorf("%d refreshes", n)
	}
}
