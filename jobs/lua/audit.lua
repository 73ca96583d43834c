-- audit takes units back from workers that are gone, and says which tasks to send (again).
-- It counts who died with what: see docs/state-machine.md, "Files that end their worker".
-- KEYS: 11 crashes (hash): unit -> "fence:death fence:death"; '#' -> processes that died; '=' -> how many of those are
--       explained; '@' worker -> which of them it was; unit '~' -> how far the job was (of scan and finish); unit '/' index -> see begin
-- ARGV: 1 ms after which a unit that was sent but not claimed is sent again, 2 number of workers known to be dead; then
--       those; then workers known to live
-- Result: {state, reason, until, queue, bytes that would let something go on ('' for none), owner, owner_until,
--          number of units taken back, ms now, parked unit that needs least or '', claim (JSON) or '', '1' where its unit
--          is held, version that a worker needs, '1' where the history has lines that may be news (see told),
--          unit, attempt, unit, attempt, ...}
local state, crashes = field('state'), KEYS[11]
local dead, alive, lost, out = {}, {}, 0, {}
for i = 3, #ARGV do
  if i - 2 <= tonumber(ARGV[2]) then dead[ARGV[i]] = true else alive[ARGV[i]] = true end
end

-- blame counts the death of whoever holds the unit against it. A process that lives only lost its lease, and one in the
-- foreground is as a rule ended by the person in front of it.
local function blame(unit)
  local who = redis.call('HGET', holder, unit)
  if not who or alive[who] or string.sub(field('queue'), 1, 4) == 'run-' then return end
  local death = redis.call('HGET', crashes, '@' .. who)
  if not death then
    death = num(redis.call('HINCRBY', crashes, '#', 1))
    redis.call('HSET', crashes, '@' .. who, death)
  end
  local were = redis.call('HGET', crashes, unit)
  if unit == 'scan' or unit == 'finish' then
    local far = field('batches') .. '|' .. field('deleted') .. '|' .. field('purged')
    if redis.call('HGET', crashes, unit .. '~') ~= far then were = false end
    redis.call('HSET', crashes, unit .. '~', far)
  end
  redis.call('HSET', crashes, unit, (were and were .. ' ' or '') .. fence_of(unit) .. ':' .. death)
end

local function back(unit)
  lost = lost + 1
  blame(unit)
  local attempt = drop(unit)
  if runs(state) then
    redis.call('ZADD', fed, num(now), unit)
    out[#out + 1] = unit
    out[#out + 1] = attempt
  else
    make_ready(unit)
  end
end
if next(dead) then
  local held = redis.call('HGETALL', holder)
  for i = 1, #held, 2 do
    if dead[held[i + 1]] then back(held[i]) end
  end
end
for _, unit in ipairs(redis.call('ZRANGEBYSCORE', lease, '-inf', num(now))) do back(unit) end
if runs(state) then
  for _, unit in ipairs(redis.call('ZRANGEBYSCORE', fed, '-inf', num(now - tonumber(ARGV[1])))) do
    if not redis.call('ZSCORE', lease, unit) then
      redis.call('ZADD', fed, num(now), unit)
      out[#out + 1] = unit
      out[#out + 1] = redis.call('HGET', att, unit)
    end
  end
end
advance('maintenance')
state = field('state')
local least = redis.call('ZRANGE', parked, 0, 0, 'WITHSCORES')
local unit, need = least[1] or '', least[2] or ''
local whole = field('wait_need')
if state == 'waiting' and whole ~= '' then unit, need = '', whole end
local claimed = field('claim_unit')
local busy = claimed ~= '' and redis.call('ZSCORE', lease, claimed) and '1' or '0'
local fresh = not runs(state) and redis.call('LLEN', history) > (tonumber(field('told')) or 0) and '1' or '0'
local head = {state, field('reason'), field('until'), field('queue'), need, field('owner'), field('owner_until'),
  num(lost), num(now), unit, field('claim'), busy, field('version'), fresh}
for _, v in ipairs(out) do head[#head + 1] = v end
return head
