package store

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// checkServer asks every master of the Redis for its eviction policy and its persistence.
func (s *Store) checkServer(ctx context.Context) ([]string, error) {
	cc, ok := s.shared.(*redis.ClusterClient)
	if !ok {
		return checkMaster(ctx, s.shared, s.target.name)
	}
	var mu sync.Mutex
	var all []string
	err := cc.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
		w, err := checkMaster(ctx, c, c.Options().Addr)
		mu.Lock()
		defer mu.Unlock()
		all = append(all, w...)
		return err
	})
	if err != nil {
		return all, fmt.Errorf("check the cluster: %w", err)
	}
	return all, nil
}

func checkMaster(ctx context.Context, c redis.Cmdable, name string) ([]string, error) {
	var warnings []string
	policy, err := configValue(ctx, c, "maxmemory-policy")
	if err != nil && ctx.Err() != nil {
		return nil, fmt.Errorf("ask Redis at %s for its settings: %w", name, err)
	}
	if policy == "" { // managed services refuse CONFIG, but INFO tells the policy as well
		policy = infoValue(ctx, c, "memory", "maxmemory_policy")
	}
	switch policy {
	case "noeviction":
	case "":
		warnings = append(warnings, fmt.Sprintf("Redis at %s doesn't tell its maxmemory-policy; "+
			"it has to be noeviction, or jobs are lost when memory runs out", name))
	default:
		return nil, fmt.Errorf("Redis at %s evicts keys when memory runs out (maxmemory-policy %s), which loses jobs: "+
			"run CONFIG SET maxmemory-policy noeviction, and put it into redis.conf", name, policy)
	}
	aof, err := configValue(ctx, c, "appendonly")
	if err != nil || aof == "" {
		if infoValue(ctx, c, "persistence", "aof_enabled") == "1" {
			aof = "yes"
		}
	}
	switch aof {
	case "yes":
	case "no":
		warnings = append(warnings, fmt.Sprintf("Redis at %s keeps no append-only file: jobs are lost when it ends "+
			"unexpectedly; run CONFIG SET appendonly yes, and put it into redis.conf", name))
	default:
		warnings = append(warnings, fmt.Sprintf("Redis at %s doesn't tell whether it keeps an append-only file; "+
			"without one, jobs are lost when it ends unexpectedly", name))
	}
	return warnings, nil
}

// configValue returns a setting, "" where the server has none of that name.
func configValue(ctx context.Context, c redis.Cmdable, key string) (string, error) {
	m, err := c.ConfigGet(ctx, key).Result()
	return m[key], err
}

// infoValue returns a line of INFO, "" where there is none or INFO is refused.
func infoValue(ctx context.Context, c redis.Cmdable, section, key string) string {
	text, err := c.Info(ctx, section).Result()
	if err != nil {
		return ""
	}
	for line := range strings.SplitSeq(text, "\n") {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), ":"); ok && k == key {
			return v
		}
	}
	return ""
}
