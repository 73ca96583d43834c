-- take takes the turn in a lane for the one who has waited for it longest. Asking again with the same token extends it.
-- KEYS: 1 turn  string  token of who has the turn, for as long as the lease lasts
--       2 line  zset    tokens of those who wait, by when they came (us)
--       3 waits zset    the same, by until when they keep their place without asking again (ms)
-- ARGV: 1 token, 2 lease in ms, 3 for how long this one keeps its place without asking again, in ms, 4 the longest that anyone may
-- Result: 1, or 0 where somebody else has it and this one is next, or -n where n others are before it
local turn, line, waits = KEYS[1], KEYS[2], KEYS[3]
local token, lease, patience, longest = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local t = redis.call('TIME')
local us = t[1] * 1000000 + t[2]
local ms = math.floor(us / 1000)
local who = redis.call('GET', turn)
-- Who died waiting holds nobody up; nor does a time from before the server's clock was put back.
for _, gone in ipairs({redis.call('ZRANGEBYSCORE', waits, '-inf', ms), redis.call('ZRANGEBYSCORE', waits, ms + longest + 1, '+inf')}) do
  for _, old in ipairs(gone) do
    redis.call('ZREM', line, old)
    redis.call('ZREM', waits, old)
  end
end
if who and who ~= token then
  -- A lease that lasts longer than any was given before the server's clock was put back.
  if redis.call('PTTL', turn) > lease then redis.call('PEXPIRE', turn, lease) end
elseif who or (redis.call('ZRANGE', line, 0, 0)[1] or token) == token then
  redis.call('SET', turn, token, 'PX', lease)
  redis.call('ZREM', line, token)
  redis.call('ZREM', waits, token)
  return 1
end
redis.call('ZADD', line, 'NX', us, token)
redis.call('ZADD', waits, ms + patience, token)
redis.call('PEXPIRE', line, 2 * longest)
redis.call('PEXPIRE', waits, 2 * longest)
return -redis.call('ZRANK', line, token)
