-- What is known of an idempotency key: KEYS[1] holds a state (F in flight, D answered), 16 bytes of the body's sum, and then the
-- token of who answers, or the answer.
local call = redis.call
local op, body, token = ARGV[1], ARGV[2], ARGV[3]
local v = call('GET', KEYS[1])
local mine = v == 'F' .. body .. token
if op == 'begin' then
	if not v or mine then -- again: the answer to the first was lost
		call('SET', KEYS[1], 'F' .. body .. token, 'PX', ARGV[4])
		return 'N'
	elseif v:sub(2, 17) ~= body then
		return 'C'
	elseif v:sub(1, 1) == 'D' then
		return 'D' .. v:sub(18)
	end
	return 'W'
elseif mine and op == 'finish' then
	call('SET', KEYS[1], 'D' .. body .. ARGV[5], 'PX', ARGV[4])
elseif mine then
	call('DEL', KEYS[1])
end
return ''
