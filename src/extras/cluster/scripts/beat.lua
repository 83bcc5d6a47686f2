-- A process lives: prefix, node, milliseconds after which one is taken for dead, and after which it is forgotten. Gives
-- whether it was not among those that live, and those that do.
local beat = math.floor(now() / 1000)
local last = redis.call('ZSCORE', P .. 'nodes', ARGV[2])
local came = (not last or beat - tonumber(last) > tonumber(ARGV[3])) and 1 or 0
redis.call('ZADD', P .. 'nodes', beat, ARGV[2])
redis.call('ZREMRANGEBYSCORE', P .. 'nodes', '-inf', beat - tonumber(ARGV[4]))
redis.call('PEXPIRE', P .. 'here:' .. ARGV[2], ARGV[4])
return {came, redis.call('ZRANGE', P .. 'nodes', beat - tonumber(ARGV[3]), '+inf', 'BYSCORE')}
