-- A client is here: prefix, uuid, node, type, path, ident, whether it may resume, milliseconds, the greatest `cseq` that
-- it has sent, `1` where it was told `ready` before, and the position at which it came. One that another process has by now stays that one's.
-- Where nothing is known any more of one that was told `ready`, what others had for it is gone: that is noted as a gap.
local client, at = P .. 'client:' .. ARGV[2], tick()
local node = redis.call('HGET', client, 'node')
if node and node ~= ARGV[3] then return at end
if not node then listen(ARGV[3], 1, ARGV[7], browser_channels(ARGV[4], ARGV[5]), ARGV[8]) end
redis.call('HSET', client, 'node', ARGV[3], 'type', ARGV[4], 'path', ARGV[5], 'ident', ARGV[6], 'resume', ARGV[7])
if redis.call('HSETNX', client, 'born', at) == 1 and ARGV[10] == '1' then redis.call('HSET', client, 'gap', at) end
if ARGV[7] == '1' then
  redis.call('HSETNX', client, 'cseq', '0')
  seen(ARGV[2], ARGV[9])
  if tonumber(ARGV[11]) > tonumber(redis.call('HGET', client, 'came') or '0') then redis.call('HSET', client, 'came', ARGV[11]) end
  redis.call('SET', P .. 'resumers', '1', 'PX', ARGV[8])
end
redis.call('PEXPIRE', client, ARGV[8])
if ARGV[6] ~= '' then
  redis.call('ZADD', P .. 'ident:' .. ARGV[6], 'NX', at, ARGV[2])
  redis.call('PEXPIRE', P .. 'ident:' .. ARGV[6], ARGV[8])
end
return at
