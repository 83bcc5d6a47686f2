-- What all scripts begin with. P is the prefix of keys, C that of channels: these know no database.
local P = ARGV[1]
local C = P .. '%DATABASE%:'
local function tick()
  local t = redis.call('TIME')
  local at = tonumber(t[1]) * 1000000 + tonumber(t[2])
  local last = tonumber(redis.call('GET', P .. 'clock') or '0')
  if at <= last then at = last + 1 end
  local text = string.format('%.0f', at)
  redis.call('SET', P .. 'clock', text)
  return text
end
local ALL, LOG = 268435456, 1024
-- A log goes, if there is one; gives what it counted. The sum goes with the last one.
local function forget(log)
  local sizes = redis.call('HMGET', P .. 'sizes', log, 'all')
  if not sizes[1] then return 0 end
  redis.call('HDEL', P .. 'sizes', log)
  redis.call('ZREM', P .. 'logs', log)
  redis.call('DEL', P .. log, P .. 'parts:' .. log)
  if redis.call('EXISTS', P .. 'logs') == 1 then
    redis.call('HSET', P .. 'sizes', 'all', tonumber(sizes[2]) - tonumber(sizes[1]))
  else
    redis.call('DEL', P .. 'sizes')
  end
  return tonumber(sizes[1])
end
-- A log was written to: its size is new, or has grown. Gives that of all.
local function count(log, at, size, more)
  local sizes = redis.call('HMGET', P .. 'sizes', log, 'all')
  local was = tonumber(sizes[1] or '0')
  size = size or was + more
  local all = tonumber(sizes[2] or '0') - was + size
  redis.call('HSET', P .. 'sizes', log, size, 'all', all)
  redis.call('ZADD', P .. 'logs', at, log)
  return all
end
-- Up to where a log was cut; of what is too old nobody asks.
local function gap(log, position, from, ms)
  redis.call('ZADD', P .. 'gaps', position, log)
  redis.call('ZREMRANGEBYSCORE', P .. 'gaps', '-inf', from)
  redis.call('PEXPIRE', P .. 'gaps', ms)
end
-- The oldest logs go, where they are too old or all are too large.
local function make_room(log, all, from, ms)
  for _ = 1, 100 do
    local oldest = redis.call('ZRANGE', P .. 'logs', 0, 0, 'WITHSCORES')
    local is_old = tonumber(oldest[2]) < tonumber(from)
    if oldest[1] == log or not is_old and all <= ALL then return end
    all = all - forget(oldest[1])
    if not is_old then gap(oldest[1], oldest[2], from, ms) end
  end
end
local function keep(log, at, message, ms, max, most)
  local from = string.format('%.0f', tonumber(at) - ms * 1000)
  redis.call('XADD', P .. log, 'MINID', '~', from, at .. '-0', 'm', message)
  redis.call('PEXPIRE', P .. log, ms)
  local parts = P .. 'parts:' .. log
  local open = redis.call('HMGET', parts, 'start', 'last', 'count', 'bytes')
  local number, bytes = tonumber(open[3] or '0') + 1, tonumber(open[4] or '0') + #message
  local is_new = open[1] and tonumber(at) - tonumber(open[1]) < ms * 1000 / 8
  if is_new and number <= max / 16 and bytes <= most / 16 then
    redis.call('HSET', parts, 'last', at, 'count', number, 'bytes', bytes)
    local all = count(log, at, nil, #message)
    if all > ALL then make_room(log, all, from, ms) end
    return
  end
  local closed, counts, sizes = {}, 0, 0
  local function add(start, last, number, bytes)
    -- What is too old is no longer there.
    if tonumber(last) < tonumber(from) then return redis.call('HDEL', parts, start) end
    table.insert(closed, {start, last, tonumber(number), tonumber(bytes)})
    counts, sizes = counts + number, sizes + bytes
  end
  local fields = redis.call('HGETALL', parts)
  for place = 1, #fields, 2 do
    local last, number, bytes = string.match(fields[place + 1], '^(%d+):(%d+):(%d+)$')
    if last then add(fields[place], last, number, bytes) end
  end
  if open[1] then
    redis.call('HSET', parts, open[1], open[2] .. ':' .. open[3] .. ':' .. open[4])
    add(unpack(open))
  end
  redis.call('HSET', parts, 'start', at, 'last', at, 'count', 1, 'bytes', #message)
  table.sort(closed, function(one, other) return tonumber(one[1]) < tonumber(other[1]) end)
  local cut = 0
  while closed[cut + 1] and (counts + math.max(1, max / 16) > max or sizes + math.max(#message, most / 16) > most) do
    cut = cut + 1
    counts, sizes = counts - closed[cut][3], sizes - closed[cut][4]
    redis.call('HDEL', parts, closed[cut][1])
  end
  if cut > 0 then
    gap(log, closed[cut][2], from, ms)
    redis.call('XTRIM', P .. log, 'MINID', (closed[cut + 1] or {at})[1])
  end
  make_room(log, count(log, at, LOG + sizes + #message), from, ms)
  -- They are renewed with each part only, before an eighth of the time is over.
  for _, key in ipairs({parts, P .. 'sizes', P .. 'logs'}) do redis.call('PEXPIRE', key, 2 * ms) end
end
-- Whether a client had sent its message of that number before; notes the number.
local function seen(uuid, cseq)
  if cseq == '' then return false end
  local client = P .. 'client:' .. uuid
  local last = redis.call('HGET', client, 'cseq')
  if not last then return false end
  -- As text, since numbers here are exact only up to 2^53.
  if #cseq < #last or #cseq == #last and cseq <= last then return true end
  redis.call('HSET', client, 'cseq', cseq)
  return false
end
local function now()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000000 + tonumber(t[2])
end
-- Whether this is executed so late that the process has given up waiting; 0 is no time.
local function is_late(time)
  return time ~= '0' and now() > tonumber(time)
end
-- Whether a process is connected.
local function is_there(node)
  return redis.call('PUBSUB', 'NUMSUB', C .. 'to:' .. node)[2] > 0
end
-- Whether a process is not connected and may live all the same: of its clients nobody knows.
local function may_live(node)
  return not is_there(node) and redis.call('HGET', P .. 'processes', node) ~= ''
end
-- Whether a process has said a while ago that it lives.
local function is_alive(node)
  local beat = redis.call('ZSCORE', P .. 'nodes', node)
  return beat and now() / 1000 - tonumber(beat) < 5000
end
-- A process has one more client, or one less, that listens to some channels. Those that may resume, and the others, are
-- counted apart: without the process the first ones wait, and of the others nobody knows.
local function listen(node, by, resumes, channels, ms)
  local key, plain = P .. 'here:' .. node, resumes == '1' and '' or 'plain:'
  for _, channel in ipairs(channels) do
    if redis.call('HINCRBY', key, plain .. channel, by) == 0 then redis.call('HDEL', key, plain .. channel) end
  end
  redis.call('PEXPIRE', key, ms)
end
local function browser_channels(kind, path)
  if kind ~= 'websocket' then return {} end
  return {'all', 'path:' .. path}
end
-- The clients on a channel whose process is not connected: how many wait, and whether there are others.
local function out_of_reach(channel)
  local waiting, unknown = 0, 0
  for _, node in ipairs(redis.call('ZRANGE', P .. 'nodes', 0, -1)) do
    if not is_there(node) then
      local plain = string.sub(channel, 1, 5) == 'room:' and 'plain:all' or 'plain:' .. channel
      local counts = redis.call('HMGET', P .. 'here:' .. node, channel, plain)
      waiting = waiting + math.max(0, tonumber(counts[1] or '0'))
      if tonumber(counts[2] or '0') > 0 and may_live(node) then unknown = 1 end
    end
  end
  return waiting, unknown
end
