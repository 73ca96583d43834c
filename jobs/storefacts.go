package jobs

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// StoreNode is one server of the store as it tells of itself: the embedded store, a Redis, or one master of a Cluster.
// What it doesn't tell is "" or -1.
type StoreNode struct {
	Address     string  `json:"address,omitempty"` // of a Cluster's master
	Embedded    bool    `json:"embedded"`
	Version     string  `json:"version,omitempty"` // of Redis; the embedded store's is what it speaks
	Mode        string  `json:"mode,omitempty"`    // standalone, sentinel, cluster
	Role        string  `json:"role,omitempty"`    // master, slave
	Memory      int64   `json:"memory"`            // bytes in use
	MemoryMax   int64   `json:"memory_max"`        // bytes allowed; 0 is no limit
	Policy      string  `json:"policy,omitempty"`  // what it does when memory runs out; must be noeviction
	AppendOnly  string  `json:"append_only"`       // "yes", "no", "" for unknown
	FileBytes   int64   `json:"file_bytes"`        // size of the append-only file or journal
	WriteFailed bool    `json:"write_failed"`      // the last write of the append-only file failed
	Clients     int64   `json:"clients"`           // connections
	Replicas    int64   `json:"replicas"`          // that are connected; -1 is unknown
	Lag         float64 `json:"lag_seconds"`       // since the slowest replica was heard of; -1 is unknown
	UptimeDays  float64 `json:"uptime_days"`
}

// storeNodes asks every master of the store. A server that refuses INFO, as some managed ones do, tells nothing.
func (s *Service) storeNodes(ctx context.Context) ([]StoreNode, error) {
	cluster, ok := s.client.(*redis.ClusterClient)
	if !ok {
		return []StoreNode{storeNode(ctx, s.client, "")}, nil
	}
	var mu sync.Mutex
	var all []StoreNode
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
		n := storeNode(ctx, c, c.Options().Addr)
		mu.Lock()
		defer mu.Unlock()
		all = append(all, n)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("ask the cluster's masters: %w", err)
	}
	slices.SortFunc(all, func(a, b StoreNode) int { return cmp.Compare(a.Address, b.Address) })
	return all, nil
}

func storeNode(ctx context.Context, c redis.Cmdable, address string) StoreNode {
	text, err := c.Info(ctx).Result()
	if err != nil {
		text = ""
	}
	return readInfo(text, address)
}

// readInfo reads the answer of INFO.
func readInfo(text, address string) StoreNode {
	f := map[string]string{}
	for line := range strings.SplitSeq(text, "\n") {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			f[k] = v
		}
	}
	n := StoreNode{Address: address, Embedded: f["offload_embedded"] == "1", Version: f["redis_version"], Mode: f["redis_mode"], Role: f["role"],
		Policy: f["maxmemory_policy"], Memory: told(f, "used_memory"), MemoryMax: told(f, "maxmemory"), FileBytes: told(f, "aof_current_size"),
		Clients: told(f, "connected_clients"), Replicas: told(f, "connected_slaves"), Lag: -1, UptimeDays: -1,
		WriteFailed: f["aof_last_write_status"] != "" && f["aof_last_write_status"] != "ok"}
	switch f["aof_enabled"] {
	case "1":
		n.AppendOnly = "yes"
	case "0":
		n.AppendOnly = "no"
	}
	if up := told(f, "uptime_in_seconds"); up >= 0 {
		n.UptimeDays = float64(up) / 86400
	}
	for i := range max(0, n.Replicas) {
		for part := range strings.SplitSeq(f["slave"+strconv.FormatInt(i, 10)], ",") {
			if text, ok := strings.CutPrefix(part, "lag="); ok {
				if lag, err := strconv.ParseFloat(text, 64); err == nil {
					n.Lag = max(n.Lag, lag)
				}
			}
		}
	}
	return n
}

// told reads a number; -1 where it isn't told.
func told(f map[string]string, key string) int64 {
	n, err := strconv.ParseInt(f[key], 10, 64)
	if err != nil {
		return -1
	}
	return n
}
