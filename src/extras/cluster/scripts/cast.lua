-- A message for many: prefix, channel, rest of the message, milliseconds, number and bytes of kept ones, sender's uuid
-- and `cseq`, until when it may be executed, and `1` where somebody asks what became of it. Gives the position, how
-- many processes got it, for how many clients it waits, and whether others may miss it. In place of the number
-- of processes: -1 where it was sent before, -2 where it is too late.
if is_late(ARGV[9]) then return {'0', -2, 0, 0} end
if seen(ARGV[7], ARGV[8]) then return {'0', -1, 0, 0} end
local at = tick()
local message = '{"v":1,"at":' .. at .. ',' .. ARGV[3]
if redis.call('EXISTS', P .. 'resumers') == 1 then
  keep('log:' .. ARGV[2], at, message, tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]))
end
local waiting, unknown = 0, 0
if ARGV[10] == '1' then waiting, unknown = out_of_reach(ARGV[2]) end
return {at, redis.call('PUBLISH', C .. ARGV[2], message), waiting, unknown}
