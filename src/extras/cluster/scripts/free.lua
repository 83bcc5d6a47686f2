-- A process that stops has let go of a client: prefix, uuid, node. Whoever claims it need not ask for it.
local client = P .. 'client:' .. ARGV[2]
if redis.call('HGET', client, 'node') ~= ARGV[3] then return 0 end
redis.call('HSET', client, 'free', '1')
return 1
