-- status.lua: tells how the account stands. It writes nothing.
--
-- KEYS: see common.lua
-- ARGV: none
-- Result: {account, claims, events}: {'ok', ...}, see dump in common.lua; {claim, record, ...}; the last 16 events

return { dump('ok', clock()), redis.call('HGETALL', CLAIMS), redis.call('LRANGE', EVENTS, -16, -1) }
