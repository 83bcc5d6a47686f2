-- A process lives: prefix, node, milliseconds after which one is taken for dead, and after which it is forgotten, and how
-- others of its host can find it. Gives whether it was not among those that live, those that do, and of those that
-- are not connected, and not known to be dead, the name and how to find each.
local beat = math.floor(now() / 1000)
local last = redis.call('ZSCORE', P .. 'nodes', ARGV[2])
local came = (not last or beat - tonumber(last) > tonumber(ARGV[3])) and 1 or 0
redis.call('ZADD', P .. 'nodes', beat, ARGV[2])
redis.call('HSET', P .. 'processes', ARGV[2], ARGV[5])
redis.call('PEXPIRE', P .. 'here:' .. ARGV[2], ARGV[4])
local absent = {}
for _, node in ipairs(redis.call('ZRANGE', P .. 'nodes', 0, -1)) do
  local found = redis.call('HGET', P .. 'processes', node)
  if beat - tonumber(redis.call('ZSCORE', P .. 'nodes', node)) > tonumber(ARGV[4]) then
    redis.call('ZREM', P .. 'nodes', node)
    redis.call('HDEL', P .. 'processes', node)
  elseif found and found ~= '' and not is_there(node) then
    table.insert(absent, node)
    table.insert(absent, found)
  end
end
return {came, redis.call('ZRANGE', P .. 'nodes', beat - tonumber(ARGV[3]), '+inf', 'BYSCORE'), absent}
