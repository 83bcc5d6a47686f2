-- Somebody asks about a client: prefix, uuid, and the question. It goes to the process of the client. Gives how many
-- processes got it, and what is known here: type, path, whether it may resume, the position at which it came, and the
-- bytes that wait for it. Nil where the client is not known, or gone with its process.
local client = redis.call('HMGET', P .. 'client:' .. ARGV[2], 'node', 'type', 'path', 'resume', 'born')
if not client[1] then return nil end
local bytes = redis.call('HGET', P .. 'sizes', 'queue:' .. ARGV[2]) or '0'
local reached = redis.call('PUBLISH', C .. 'to:' .. client[1], ARGV[3])
if reached == 0 and client[4] ~= '1' and not may_live(client[1]) then return nil end
return {reached, client[2], client[3], client[4], client[5], bytes}
