package redistest

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
)

// masterName is what the Sentinels call the master.
const masterName = "offload"

// ModeEnv names the environment variable by which URL is told what to start.
const ModeEnv = "OFFLOAD_TEST_REDIS_MODE"

// URL starts a Redis of the test's own and returns its URL: a single server, or what the environment asks for: "sentinel" or
// "cluster". So a whole suite can be run on either by hand.
func URL(t testing.TB) string {
	t.Helper()
	switch mode := os.Getenv(ModeEnv); mode {
	case "":
		return StartServer(t).URL()
	case "sentinel":
		return StartSentinel(t).URL()
	case "cluster":
		return StartCluster(t).URL()
	default:
		t.Fatalf("%s is %q; write sentinel or cluster", ModeEnv, mode)
		return ""
	}
}

// attempts are how often other ports are tried where somebody was quicker to take one.
const attempts = 10

// Sentinel is a master and its replica, watched by three Sentinels that make the replica master when the master is silent
// for a second. It isn't safe for concurrent use.
type Sentinel struct {
	t               testing.TB
	data, sentinels []*Server
}

// StartSentinel starts a master, a replica and three Sentinels, and returns when they know each other and the replica
// follows. Both servers keep append-only files. All are gone when the test ends.
func StartSentinel(t testing.TB, args ...string) *Sentinel {
	t.Helper()
	s := &Sentinel{t: t}
	args = append(durable(), append([]string{"--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"}, args...)...)
	master := onPort(t, func(int) []string { return args })
	replica := onPort(t, func(int) []string {
		return append([]string{"--replicaof", "127.0.0.1 " + strconv.Itoa(master.port)}, args...)
	})
	s.data = []*Server{master, replica}
	for range 3 {
		s.sentinels = append(s.sentinels, watcher(t, master.port))
	}
	poll(t, "the Sentinels to know each other and the replica", func() bool {
		for _, w := range s.sentinels {
			text := "\n" + w.do("SENTINEL MASTER "+masterName) + "\n"
			if !strings.Contains(text, "\nnum-slaves\n1\n") || !strings.Contains(text, "\nnum-other-sentinels\n2\n") {
				return false
			}
		}
		return strings.Contains(replica.do("INFO replication"), "master_link_status:up") &&
			strings.Contains(master.do("INFO replication"), "state=online") // so that it counts for WAIT
	})
	return s
}

// watcher starts a Sentinel that watches the master on a port.
func watcher(t testing.TB, port int) *Server {
	t.Helper()
	return onPort(t, func(int) []string {
		file, err := os.CreateTemp("", "sentinel") // which it rewrites
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Remove(file.Name()) })
		_, err = fmt.Fprintf(file, "sentinel monitor %[1]s 127.0.0.1 %[2]d 2\nsentinel down-after-milliseconds %[1]s 1000\n"+
			"sentinel failover-timeout %[1]s 5000\n", masterName, port)
		if err == nil {
			err = file.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		return []string{file.Name(), "--sentinel"}
	})
}

// Patient makes the Sentinels bear a master that is silent for a minute, for tests in which none is lost: on a busy machine one
// may be silent for a second.
func (s *Sentinel) Patient() *Sentinel {
	s.t.Helper()
	for _, w := range s.sentinels {
		w.do("SENTINEL SET " + masterName + " down-after-milliseconds 60000")
	}
	return s
}

// URL names the Sentinels as `--redis` takes them.
func (s *Sentinel) URL() string {
	return "redis-sentinel://" + hosts(s.sentinels) + "/0?master=" + masterName
}

// Protect gives the servers and the Sentinels passwords, and returns the URL with both.
func (s *Sentinel) Protect(data, sentinels string) (url string) {
	s.t.Helper()
	for _, w := range s.sentinels {
		w.do(fmt.Sprintf("SENTINEL SET %s auth-pass %q", masterName, data))
	}
	for _, d := range s.data {
		d.do(fmt.Sprintf("CONFIG SET masterauth %q requirepass %q", data, data))
	}
	for _, w := range s.sentinels {
		w.do(fmt.Sprintf("ACL SETUSER default resetpass %q", ">"+sentinels)) // last: it can't be asked any more
	}
	escape := strings.NewReplacer(" ", "%20")
	return "redis-sentinel://:" + escape.Replace(data) + "@" + hosts(s.sentinels) + "/0?master=" + masterName +
		"&sentinel_password=" + escape.Replace(sentinels)
}

// Master is the server that the Sentinels hold for the master.
func (s *Sentinel) Master() *Server {
	s.t.Helper()
	_, port, _ := strings.Cut(s.sentinels[0].do("SENTINEL GET-MASTER-ADDR-BY-NAME "+masterName), "\n")
	for _, d := range s.data {
		if strconv.Itoa(d.port) == port {
			return d
		}
	}
	s.t.Fatalf("the Sentinels name port %q as master", port)
	return nil
}

// Await returns when all Sentinels name another master than the old one, and that one is master indeed.
func (s *Sentinel) Await(old *Server) {
	s.t.Helper()
	poll(s.t, "the failover", func() bool {
		for _, w := range s.sentinels {
			if strings.HasSuffix(w.do("SENTINEL GET-MASTER-ADDR-BY-NAME "+masterName), "\n"+strconv.Itoa(old.port)) {
				return false
			}
		}
		return strings.HasPrefix(s.Master().do("ROLE"), "master")
	})
}

// Replica is the server that isn't the master.
func (s *Sentinel) Replica() *Server {
	s.t.Helper()
	if s.Master() == s.data[0] {
		return s.data[1]
	}
	return s.data[0]
}

// Cluster is a Redis Cluster of three masters without replicas. It isn't safe for concurrent use.
type Cluster struct {
	t       testing.TB
	Masters []*Server
}

// StartCluster starts three masters that share all slots, and returns when each of them serves its own. They keep
// append-only files: a killed one that is started again has all that it answered. All are gone when the test ends.
func StartCluster(t testing.TB, args ...string) *Cluster {
	t.Helper()
	c := &Cluster{t: t}
	for range 3 {
		c.Masters = append(c.Masters, onPort(t, func(bus int) []string {
			return append(durable(), append([]string{"--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf",
				"--cluster-node-timeout", "1000", "--cluster-port", strconv.Itoa(bus)}, args...)...)
		}))
	}
	const slots = 16384
	for i, m := range c.Masters {
		m.do(fmt.Sprintf("CLUSTER ADDSLOTSRANGE %d %d", i*slots/3, (i+1)*slots/3-1))
		m.do(fmt.Sprintf("CLUSTER SET-CONFIG-EPOCH %d", i+1))
		if i > 0 {
			c.Masters[0].do(fmt.Sprintf("CLUSTER MEET 127.0.0.1 %d %s", m.port, setting(m, "--cluster-port")))
		}
	}
	c.Await()
	return c
}

// setting is the value of an argument that the server was started with.
func setting(s *Server, name string) string {
	for i, a := range s.args {
		if a == name {
			return s.args[i+1]
		}
	}
	s.t.Fatalf("redis-server was started without %s", name)
	return ""
}

// Patient makes the masters bear one of them that is silent for a minute, as Sentinel.Patient.
func (c *Cluster) Patient() *Cluster {
	c.t.Helper()
	for _, m := range c.Masters {
		m.do("CONFIG SET cluster-node-timeout 60000")
	}
	return c
}

// StartClusterNode starts a server that is a whole cluster by itself: it has all slots, and refuses what touches several. It is
// gone when the test ends.
func StartClusterNode(t testing.TB) *Server {
	t.Helper()
	s := onPort(t, func(bus int) []string {
		return []string{"--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-port", strconv.Itoa(bus)}
	})
	s.do("CLUSTER ADDSLOTSRANGE 0 16383")
	poll(t, "the node to serve", func() bool { return strings.Contains(s.do("CLUSTER INFO"), "cluster_state:ok") })
	return s
}

// URL names the masters as `--redis` takes them.
func (c *Cluster) URL() string { return "redis-cluster://" + hosts(c.Masters) }

// Await returns when every master says that the whole cluster serves.
func (c *Cluster) Await() {
	c.t.Helper()
	poll(c.t, "the cluster to serve", func() bool {
		for _, m := range c.Masters {
			info := m.do("CLUSTER INFO")
			if !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, "cluster_known_nodes:3") {
				return false
			}
		}
		return true
	})
}

// Empty removes all data, so that tests that begin one after the other may share the cluster.
func (c *Cluster) Empty() {
	c.t.Helper()
	for _, m := range c.Masters {
		m.do("FLUSHALL")
	}
}

func hosts(servers []*Server) string {
	var all []string
	for _, s := range servers {
		all = append(all, "127.0.0.1:"+strconv.Itoa(s.port))
	}
	return strings.Join(all, ",")
}

// onPort starts a server on a port of the loopback that nobody has; args are told another such port. Somebody may take
// either before the server does: then others are tried.
func onPort(t testing.TB, args func(spare int) []string) *Server {
	t.Helper()
	for range attempts {
		port, spare := freePort(t), freePort(t)
		more := args(spare)
		s := prepare(t, nil)
		s.port = port
		own := []string{"--bind", "127.0.0.1", "--protected-mode", "no"}
		for i, a := range s.args {
			if a == "--port" {
				s.args[i+1] = strconv.Itoa(port)
			}
		}
		if len(more) > 0 && !strings.HasPrefix(more[0], "--") { // a settings file comes first
			s.args = append([]string{more[0]}, append(s.args, append(own, more[1:]...)...)...)
		} else {
			s.args = append(s.args, append(own, more...)...)
		}
		if s.run() {
			return s
		}
	}
	t.Fatalf("redis-server found no port in %d attempts", attempts)
	return nil
}

// freePort returns a port of the loopback that nobody listens on at the moment.
func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
