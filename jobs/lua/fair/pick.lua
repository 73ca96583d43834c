-- pick tells whose turn it is, and counts the turn. A job of an earlier turn that had nothing to claim leaves the ring
-- before, unless something was sent for it since.
-- ARGV: 1 cost of a turn, 2 account, 3 job and 4 number of the earlier turn, '' for none
-- Result: {account, job, number, times of the account and of the job with this turn}; {} where nobody is in the ring
local cost = tonumber(ARGV[1])
if ARGV[3] ~= '' then
  local ring, out = jobs_of(ARGV[2]), rest_of(ARGV[2])
  -- The turn came to nothing, and costs nothing.
  if redis.call('ZSCORE', ring, ARGV[3]) then redis.call('ZINCRBY', ring, num(-cost), ARGV[3]) end
  if redis.call('ZSCORE', accounts, ARGV[2]) then redis.call('ZINCRBY', accounts, num(-cost), ARGV[2]) end
  if (redis.call('HGET', turn, ARGV[3]) or '') == ARGV[4] then
    redis.call('HDEL', turn, ARGV[3])
    leave(ring, out, ARGV[2], ARGV[3])
    if redis.call('ZCARD', ring) == 0 then leave(accounts, rest, '*', ARGV[2]) end
  end
end
local account, ring, job
repeat
  account = redis.call('ZRANGE', accounts, 0, 0)[1]
  if not account then
    redis.call('DEL', owed) -- all has been claimed
    return {}
  end
  ring = jobs_of(account)
  job = redis.call('ZRANGE', ring, 0, 0)[1]
  if not job then redis.call('ZREM', accounts, account) end -- can't be; it must not keep the others waiting
until job
local at, of = time_of(accounts, account), time_of(ring, job)
pass(rest, '*', at)
pass(rest_of(account), account, of)
redis.call('ZINCRBY', accounts, num(cost), account)
redis.call('ZINCRBY', ring, num(cost), job)
return {account, job, redis.call('HGET', turn, job) or '', num(at + cost), num(of + cost)}
