package doctor

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"offload/internal/human"
)

// hostOf is a host that every call of such a remote depends on; "" where none is known.
func hostOf(kind string) string {
	switch kind {
	case kindICloud:
		return "setup.icloud.com"
	case kindDropbox:
		return "api.dropboxapi.com"
	}
	return ""
}

// pulse is what one answer of a host tells, whatever the answer was.
type pulse struct {
	host   string
	status int
	body   []byte
	// ahead is how far this machine's clock is ahead of the host's; told says whether the host told its time.
	ahead time.Duration
	told  bool
}

// The steps of a request, in their order.
const (
	stepDNS = iota
	stepTCP
	stepTLS
	stepHTTP
)

// blocked is a request that came to no answer, and at which step.
type blocked struct {
	host string
	step int32
	err  error
}

// Error implements error. The address may not be told: it is fixed, and the cause names no secret, but a proxy's may.
func (b *blocked) Error() string { return b.host + ": " + b.words() }

// Unwrap returns the cause.
func (b *blocked) Unwrap() error { return b.err }

// words say which step failed.
func (b *blocked) words() string {
	return []string{
		"its name can't be resolved (DNS)",
		"no connection comes about (TCP)",
		"the encrypted connection is refused (TLS)",
		"it is connected, and gives no answer (HTTP)",
	}[b.step]
}

// maxBody bounds an answer: Apple's list of services takes some tens of kilobytes.
const maxBody = 4 << 20

// ask sends a request without any sign-in. Any answer is one; an error is a *blocked.
func (p Patient) ask(ctx context.Context, host, path string) (pulse, error) {
	var step atomic.Int32
	reached := func(s int32) { step.Store(max(s, step.Load())) }
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		DNSDone: func(i httptrace.DNSDoneInfo) {
			if i.Err == nil {
				reached(stepTCP)
			}
		},
		ConnectStart:      func(_, _ string) { reached(stepTCP) },
		TLSHandshakeStart: func() { reached(stepTLS) },
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) {
			if err == nil {
				reached(stepHTTP)
			}
		},
		GotConn: func(httptrace.GotConnInfo) { reached(stepHTTP) },
	})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+host+path, nil)
	if err != nil {
		return pulse{}, &blocked{host, stepHTTP, err}
	}
	sent := p.now()
	resp, err := p.Network.RoundTrip(req)
	if err != nil {
		return pulse{}, &blocked{host, stepOf(err, step.Load()), err}
	}
	defer resp.Body.Close()
	at := p.now()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return pulse{}, &blocked{host, stepHTTP, err}
	}
	a := pulse{host: host, status: resp.StatusCode, body: body}
	if theirs, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		// The host's time lies between both looks, and is cut to a second.
		a.ahead, a.told = sent.Add(at.Sub(sent)/2).Sub(theirs.Add(time.Second/2)), true
	}
	return a, nil
}

// stepOf tells by the error at which step a request failed, where that is plainer than how far it came: a dialer that isn't
// Go's own tells no steps.
func stepOf(err error, reached int32) int32 {
	var dns *net.DNSError
	var op *net.OpError
	var cert *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &dns):
		return stepDNS
	case errors.As(err, &cert), errors.As(err, &record):
		return stepTLS
	case errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect"):
		return stepTCP
	}
	return reached
}

// byClock tells whether a certificate was refused for its dates: a clock that is wrong makes any certificate so.
func byClock(err error) bool {
	var invalid x509.CertificateInvalidError
	return errors.As(err, &invalid) && invalid.Reason == x509.Expired
}

// heart asks the remote's host, once.
func (e *examined) heart(ctx context.Context) (pulse, error) {
	return e.pulse.get(ctx, func(ctx context.Context) (pulse, error) { return e.p.ask(ctx, hostOf(e.Kind), "/") })
}

// checkNetwork tells whether the host of the remote answers. What it answers doesn't matter: nobody signed in.
func (e *examined) checkNetwork(ctx context.Context) result {
	const id = "network"
	host := hostOf(e.Kind)
	a, err := e.heart(ctx)
	if err == nil {
		f := Finding{ID: id, Level: OK, What: host + " answers"}
		if a.status == http.StatusTooManyRequests || a.status >= 500 {
			f.Level, f.What = Warning, fmt.Sprintf("%s answers with %d: it is busy or out of order", host, a.status)
			f.Steps = []string{"Wait an hour; jobs go on by themselves."}
		}
		return one(f)
	}
	var b *blocked
	if !errors.As(err, &b) {
		return one(Finding{ID: id, Level: Problem, What: host + " gives no answer in time",
			Why: "the phone may reach it all the same, by another network", Steps: networkSteps(stepHTTP)})
	}
	f := Finding{ID: id, Level: Problem, What: host + ": " + b.words(), Why: "the phone may reach it all the same, by another network", Steps: networkSteps(b.step)}
	if byClock(err) {
		f.Why = "its certificate seems out of date, as when this machine's clock is wrong: check date and time first"
	}
	return one(f)
}

func networkSteps(step int32) []string {
	switch step {
	case stepDNS:
		return []string{"Is this machine online? Try another name server, or restart the router."}
	case stepTCP:
		return []string{"A firewall, a VPN or a proxy may stand between (HTTPS_PROXY, RCLONE_HTTP_PROXY)."}
	case stepTLS:
		return []string{"Something on the way may read encrypted connections: a company's proxy, a virus scanner. Its certificate goes into RCLONE_CA_CERT."}
	}
	return []string{"Try again in some minutes, or by another network."}
}

// The clock may be off by so much.
const (
	clockOff  = time.Minute
	clockFar  = 5 * time.Minute
	clockFine = 5 * time.Second // less is the way of the answer
)

// checkClock compares this machine's clock with those of the hosts that answered. The nearest of them counts: a host may be
// wrong, too.
func checkClock(ctx context.Context, remotes []*examined, apple func(context.Context) (pulse, error)) result {
	const id = "clock"
	var best *pulse
	look := func(a pulse, err error) {
		if err == nil && a.told && (best == nil || a.ahead.Abs() < best.ahead.Abs()) {
			best = &a
		}
	}
	for _, e := range remotes {
		if hostOf(e.Kind) != "" {
			look(e.heart(ctx))
		}
	}
	if apple != nil {
		look(apple(ctx))
	}
	if best == nil {
		return unseen(id, "whether this machine's clock is right couldn't be seen", "no host told its time")
	}
	off := best.ahead.Abs()
	if off < clockOff {
		f := Finding{ID: id, Level: OK, What: "this machine's clock is right"}
		if off > clockFine {
			f.What = "this machine's clock is off by " + human.Span(off, " ")
		}
		return one(f)
	}
	way := "behind"
	if best.ahead > 0 {
		way = "ahead"
	}
	f := Finding{ID: id, Level: Warning, What: fmt.Sprintf("this machine's clock is %s %s of that of %s", human.Span(off, " "), way, best.host),
		Why: "sign-ins and certificates depend on the time", Steps: []string{"Set date and time by the network: timedatectl set-ntp true"}}
	if off >= clockFar {
		f.Level = Problem
	}
	if way == "behind" {
		f.What = fmt.Sprintf("this machine's clock is %s behind that of %s", human.Span(off, " "), best.host)
	}
	return one(f)
}

// nameOf is a remote without its colon and path.
func nameOf(remote string) string {
	for i, r := range remote {
		if r == ':' {
			return remote[:i]
		}
	}
	return cmp.Or(remote, "?")
}
