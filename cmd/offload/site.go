package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/bcrypt"

	"offload/configs"
	"offload/dashboard"
	"offload/dashboard/guard"
)

// site is what a dashboard needs before its store is open: the address, the certificate, and who may sign in.
type site struct {
	cfg      configs.Config
	log      *slog.Logger
	guard    guard.Options
	listener net.Listener
	cert     *dashboard.Certificate // nil for plain HTTP
	front    *dashboard.Front
	ended    sync.WaitGroup // serving
}

// openSite checks everything about a dashboard but its store, and takes its address.
func openSite(cfg configs.Config, log *slog.Logger) (*site, error) {
	s := &site{cfg: cfg, log: log}
	var err error
	if s.guard, err = guardOptions(cfg.Dashboard, log); err != nil {
		return nil, err
	}
	if cfg.Dashboard.TLSCert != "" {
		if s.cert, err = dashboard.LoadCertificate(cfg.Dashboard.TLSCert, cfg.Dashboard.TLSKey, log); err != nil {
			return nil, usageError("dashboard.tls_cert and dashboard.tls_key name files in PEM form that belong together", "the dashboard's certificate can't be used: %w", err)
		}
	}
	if s.front, err = dashboard.NewFront(s.guard); err != nil { // which looks at what the settings can't tell, such as two equal tokens
		return nil, usageError("give each user and each token a name and a secret of its own", "the settings of the dashboard can't be used: %w", err)
	}
	if s.listener, err = listen(cfg.Dashboard.Listen); err != nil {
		return nil, err
	}
	return s, nil
}

// close gives the address back where it was never served. s may be nil.
func (s *site) close() {
	if s != nil {
		_ = s.listener.Close() // it is closed already where it was served
	}
}

// address is what a browser on this machine opens.
func (s *site) address() string {
	scheme := "http"
	if s.cert != nil {
		scheme = "https"
	}
	return scheme + "://" + reachable(s.listener.Addr().String())
}

// reachable is an address to ask at for one that is listened on.
func reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// serve answers requests until ctx is done, and calls stop where it can't go on. What it ended with comes on the channel.
func (s *site) serve(ctx context.Context, stop func()) <-chan error {
	ended := make(chan error, 1)
	s.ended.Go(func() {
		err := dashboard.Serve(ctx, dashboard.Serving{Listener: s.listener, TLS: s.cert, Log: s.log}, s.front)
		ended <- err
		if err != nil {
			go stop()
		}
	})
	return ended
}

// dashboard builds the dashboard on the opened parts.
func (s *site) dashboard(p *parts) (*dashboard.Dashboard, error) {
	o := s.guard
	o.Sessions = p.store.Sessions()
	return dashboard.New(dashboard.Config{Jobs: p.jobs, Ledger: p.ledger, Remotes: p.remotes, Schedules: p.schedules(), Account: p.cfg.Account, Guard: o, Browse: p.browse,
		Check: p.check, Ping: p.store.Ping, Log: s.log, Version: buildVersion()})
}

// guardOptions says who may do what, by the settings and the files that they name.
func guardOptions(d configs.Dashboard, log *slog.Logger) (guard.Options, error) {
	o := guard.Options{Hosts: d.Hosts, Lifetime: time.Duration(d.Session), Log: log}
	if host, _, err := net.SplitHostPort(d.Listen); err == nil {
		if ip, err := netip.ParseAddr(host); err == nil && !ip.IsUnspecified() {
			o.Listen = host
		}
	}
	for _, text := range d.TrustedProxies {
		network, err := configs.ParseNetwork(text)
		if err != nil {
			return o, err
		}
		o.Proxies = append(o.Proxies, network)
	}
	for _, u := range d.Users {
		role, err := guard.ParseRole(u.Role)
		if err != nil {
			return o, err
		}
		o.Users = append(o.Users, guard.User{Name: u.Name, Role: role, Hash: u.PasswordHash})
	}
	for _, t := range d.Tokens {
		role, err := guard.ParseRole(t.Role)
		if err != nil {
			return o, err
		}
		sum, err := tokenSum(t)
		if err != nil {
			return o, err
		}
		o.Tokens = append(o.Tokens, guard.Token{Name: t.Name, Role: role, Sum: sum})
	}
	return o, nil
}

// tokenSum is the sum of a token, of its file or as the settings have it.
func tokenSum(t configs.Token) (sum [sha256.Size]byte, err error) {
	if t.File == "" {
		_, err = hex.Decode(sum[:], []byte(t.SHA256))
		return sum, err
	}
	secret, err := readTokenFile(t.File)
	if err != nil {
		return sum, usageError("make one with: (umask 077; head -c 32 /dev/urandom | base64 > FILE)", "the token of %s in %s %w", printable(t.Name), configs.Quote(t.File), err)
	}
	return sha256.Sum256([]byte(secret)), nil
}

// secretsDir is where container runtimes put secrets, readable by all: there the container keeps others away.
const secretsDir = "/run/secrets/"

// Bounds of a token, in characters: shorter ones can be guessed.
const (
	minToken = 24
	maxToken = 1024
)

// readTokenFile reads a token from a file that other users of the machine can't read.
func readTokenFile(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", fmt.Errorf("can't be read: %w", bare(err))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("can't be read: %w", bare(err))
	}
	if !info.Mode().IsRegular() {
		return "", errors.New("is no file")
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o004 != 0 && !strings.HasPrefix(name, secretsDir) {
		return "", errors.New("can be read by every user of this machine: chmod 600 it")
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxToken+3))
	if err != nil {
		return "", fmt.Errorf("can't be read: %w", bare(err))
	}
	text := strings.TrimRight(string(raw), "\r\n")
	switch {
	case len(text) < minToken:
		return "", fmt.Errorf("has %d characters, less than %d: it could be guessed", len(text), minToken)
	case len(text) > maxToken:
		return "", fmt.Errorf("has more than %d characters", maxToken)
	case strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", errors.New("isn't one line of letters, digits and signs")
	}
	return text, nil
}

// hashCost makes a guess take about a quarter of a second.
const hashCost = 12

// Bounds of a password: bcrypt looks at no more bytes, and what is shorter is guessed.
const (
	minPassword = 8
	maxPassword = 72
)

// hashPassword returns the hash of a password that is fit to be one.
func hashPassword(password string) (string, error) {
	switch {
	case utf8.RuneCountInString(password) < minPassword:
		return "", usageError("take a longer one; three unrelated words are easy to keep in mind", "the password has less than %d characters", minPassword)
	case len(password) > maxPassword:
		return "", usageError("take a shorter one", "the password has more than %d bytes", maxPassword)
	case !utf8.ValidString(password):
		return "", usageError("type it on a terminal that is set to UTF-8", "the password is no valid text")
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), hashCost)
	if err != nil {
		return "", fmt.Errorf("hash the password: %w", err)
	}
	return string(hash), nil
}
