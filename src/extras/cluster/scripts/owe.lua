-- A client is owed an answer about its message: prefix, uuid and the text of its `receipt`.
local client = P .. 'client:' .. ARGV[2]
if redis.call('EXISTS', client) == 0 then return 0 end
redis.call('HSET', client, 'owed:' .. ARGV[3], '1')
return 1
