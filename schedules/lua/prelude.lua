-- prelude stands before every script of the schedules. All keys lie in one slot.
-- A schedule is a hash: def (JSON), rev (mark of this definition), paused ('1'), next (ms, the time it is due), ran (ms, the
-- due time of its last run by the clock), run (JSON of a run that is under way), fence (who has it), last (JSON of the last
-- run that made jobs)
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local function num(n) return string.format('%.0f', n) end
-- push puts a run that ended in front of a schedule's runs.
local function push(runs, run, kept)
  redis.call('LPUSH', runs, run)
  redis.call('LTRIM', runs, 0, tonumber(kept) - 1)
end
-- plan notes when a schedule is due next; '' is never.
local function plan(s, due, id, at)
  if at == '' then
    redis.call('HDEL', s, 'next')
    redis.call('ZREM', due, id)
  else
    redis.call('HSET', s, 'next', at)
    redis.call('ZADD', due, at, id)
  end
end
