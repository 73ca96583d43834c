-- audit takes units back from workers that are gone, and says which tasks to send (again).
-- ARGV: 1 ms after which a unit that was sent but not claimed is sent again; then workers known to be dead
-- Result: {state, reason, until, queue, bytes that would let something go on ('' for none), owner, owner_until,
--          number of units taken back, ms now, parked unit that needs least or '', claim (JSON) or '', '1' where its unit
--          is held, unit, attempt, unit, attempt, ...}
local state = field('state')
local dead, lost, out = {}, 0, {}
for i = 2, #ARGV do dead[ARGV[i]] = true end
local function back(unit)
  lost = lost + 1
  local attempt = drop(unit)
  if runs(state) then
    redis.call('ZADD', fed, num(now), unit)
    out[#out + 1] = unit
    out[#out + 1] = attempt
  else
    make_ready(unit)
  end
end
if #ARGV > 1 then
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
local head = {state, field('reason'), field('until'), field('queue'), need, field('owner'), field('owner_until'),
  num(lost), num(now), unit, field('claim'), busy}
for _, v in ipairs(out) do head[#head + 1] = v end
return head
