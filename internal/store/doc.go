// Package store opens the Redis that everything else keeps its state in: a real one by URL, or the embedded store.
//
// The embedded store is a Redis server inside the program: miniredis holds the data, a journal in a folder makes it
// durable, and a Unix socket shares it with the other processes of the same user. See docs/store.md for its files.
//
// # What it guarantees
//
//   - A command that was answered survives the kill of any process (Fsync "everysec": the journal is written before the
//     reply and synced once a second, so a power cut costs at most about a second; "always": synced before the reply).
//   - A script is atomic: after a crash either all of its writes are there or none. What is logged are its writes and not
//     the script, so scripts may be as random as they like.
//   - One process at a time owns the folder (a file lock that the kernel drops with the process). When it ends, the next
//     command of any other process makes that process the owner; commands under way are sent again by go-redis.
//   - When the journal can't be written, the command gets an error that begins with MISCONF, and no other write is
//     accepted until the journal has caught up. Such an error, like a lost connection, leaves open whether the command
//     was carried out.
//
// A command whose reply was lost is sent again and may then run twice (HINCRBY counts twice). Callers are idempotent.
//
// # What it refuses
//
// MULTI/EXEC/WATCH, commands that wait (BLPOP, XREAD ...), random writes (SPOP), streams, geo and HyperLogLog, expiry of
// single hash fields, and databases other than 0, each with an error that says so. A command that this package doesn't
// know is refused too, so that no write can pass the journal by.
//
// # What it costs
//
// All commands run one at a time, so a script that doesn't end stops the store for everyone. Measured through the client
// on two busy cores: GET 8 µs, HSET 10 µs, HSET in pipelines of 100 2 µs each, a script of five commands 29 µs (20 µs
// each with eight callers); with Fsync "always" a write takes as long as the disk needs for a sync, shared by all that
// come meanwhile. So: a pipeline for many plain writes, a script where several belong together, and no script for one.
//
// A sorted set of more than a few members is put in order by the first question by range or rank about it (100,000 members:
// a tenth of a second), and stays so (ranking.go): from then on such a question takes some 10 µs. LPUSH copies its list, and
// LREM walks it: keep lists below some ten thousand members. Hashes, sets and strings have no such limit, but a key is
// written down in one piece by a compaction: one of 20 MB holds up all commands for about a tenth of a second. Members by
// name in a set whose scores differ, ZSCAN, ZRANDMEMBER and ZMPOP sort it anew each time. SCAN and its kin return everything at
// once. Scripts are kept for ever: give what varies as arguments. They have string, table, math, cjson and redis.*; bit,
// struct and cmsgpack are missing.
package store
