-- claim gives a unit to a worker, under a lease: a certain one, or the first that was sent and that nobody holds.
-- ARGV: 1 unit, '' for the first, 2 attempt of the task where a unit is given, 3 worker, 4 lease in ms,
--       5 queue that the job must be in where none is given, 6 version of the worker, 7 a mark that no other claim has
-- KEYS: 11 crashes (hash), see audit
-- Result: {fence, state, unit, fences of the last claims, deaths with this unit as "fence:death ...", deaths in all that no
--         file explains}; fence '' where the task is out of date, the job doesn't run, has nothing to claim or needs a newer worker
local state, unit = field('state'), ARGV[1]
local none = {'', state, unit, '', '', '0'}
if not runs(state) or (tonumber(field('version')) or 1) > tonumber(ARGV[6]) then return none end

-- free tells whether a unit that was sent may be claimed. Nobody holds one without a lease: whoever lost the lease lost
-- the unit's number with it.
local function free(name)
  return (name ~= 'finish' or state == 'finishing') and not redis.call('ZSCORE', lease, name)
end

-- first is the one that comes first in the job's order among those that are free.
local function first()
  local sent = redis.call('ZRANGE', fed, 0, -1)
  if #sent == 0 then return nil end
  local at = redis.call('ZMSCORE', order, unpack(sent))
  local best, least
  for i, name in ipairs(sent) do
    local rank = name == 'scan' and -math.huge or name == 'finish' and math.huge or tonumber(at[i] or '0')
    if (not best or rank < least or rank == least and name < best) and free(name) then best, least = name, rank end
  end
  return best
end

if unit == '' then
  unit = field('queue') == ARGV[5] and first()
  if not unit then return none end
elseif not owns(unit, ARGV[2]) or not redis.call('ZSCORE', fed, unit) or not free(unit) then
  return none
end
if unit == 'scan' and state == 'queued' then
  move(state, 'scanning', '', '', '', ARGV[3])
  state = 'scanning'
  redis.call('HSETNX', job, 'started', num(now))
end
local fence = num(redis.call('HINCRBY', att, unit, 1)) .. '.' .. ARGV[7]
local former = redis.call('HGET', att, unit .. ':claims') or ''
local claims = former .. ' ' .. fence
while #claims > 120 do claims = string.match(claims, '^ ?%S+(.*)$') end
redis.call('HSET', att, unit .. ':claims', claims)
redis.call('ZADD', lease, num(now + tonumber(ARGV[4])), unit)
redis.call('HSET', holder, unit, ARGV[3])
if field('too_new') ~= '' then redis.call('HDEL', job, 'too_new') end
local died = redis.call('HMGET', KEYS[11], unit, '#', '=')
return {fence, state, unit, former, died[1] or '', num(tonumber(died[2] or '0') - tonumber(died[3] or '0'))}
