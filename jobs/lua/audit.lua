-- audit takes units back from workers that are gone, and says which tasks to send (again).
-- ARGV: 1 ms after which a unit that was sent but not claimed is sent again; then workers known to be dead
-- Result: {state, reason, until, queue, smallest parked need, owner, owner_until,
--          number of units taken back, unit, attempt, unit, attempt, ...}
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
local need = redis.call('ZRANGE', parked, 0, 0, 'WITHSCORES')
local head = {state, field('reason'), field('until'), field('queue'), need[2] or '', field('owner'),
  field('owner_until'), num(lost)}
for _, v in ipairs(out) do head[#head + 1] = v end
return head
