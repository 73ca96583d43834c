package store

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync"

	"github.com/redis/go-redis/v9"
)

// helper is the main function of a child process. It prints what was acknowledged, line by line, until it is killed.
func helper(mode string, args []string) int {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	dir, id := args[0], args[1]
	switch mode {
	case "write":
		s, err := Open(context.Background(), Options{Dir: dir, Fsync: args[2], Log: log})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return writeForEver(s.fresh, id)
	case "compact": // the same beside compactions without end
		n, err := openNode(context.Background(), Options{Dir: dir, Log: log})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		go func() {
			for {
				if err := n.own.e.compact(); err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
			}
		}()
		return writeForEver(n.client, id)
	}
	fmt.Fprintln(os.Stderr, "unknown mode", mode)
	return 2
}

const writeScript = `
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('SADD', KEYS[2], ARGV[1])
redis.call('RPUSH', KEYS[3], ARGV[1])
redis.call('SET', KEYS[4], ARGV[1])
return 1`

// writeForEver writes with four goroutines, each command in a form of its own.
func writeForEver(open func() redis.UniversalClient, id string) int {
	c := open()
	ctx := context.Background()
	out := bufio.NewWriter(os.Stdout)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				field := id + "-" + strconv.Itoa(w) + "-" + strconv.Itoa(i)
				var err error
				if w%2 == 0 {
					err = c.Eval(ctx, writeScript, []string{"{t}hash", "{t}set", "{t}list" + id, "{t}last" + strconv.Itoa(w)},
						field, valueOf(field)).Err()
				} else {
					err = c.HSet(ctx, "{t}hash", field, valueOf(field)).Err()
				}
				if err != nil {
					fmt.Fprintln(os.Stderr, "write:", err)
					os.Exit(1)
				}
				mu.Lock()
				fmt.Fprintln(out, field)
				err = out.Flush()
				mu.Unlock()
				if err != nil {
					return // the test has gone
				}
			}
		})
	}
	wg.Wait()
	return 0
}

// valueOf makes a value that is checked afterwards: binary, and longer than a small buffer now and then.
func valueOf(field string) string {
	v := "\x00\xff\r\n" + field
	if len(field)%3 == 0 {
		for len(v) < 600 {
			v += v
		}
	}
	return v
}
