-- Asks Sendgate about a request, with its body. sendgate.cfg decides what is done with the answer.
core.register_action("sendgate", { "http-req" }, function(txn)
    local headers = { ["content-type"] = { txn.sf:req_hdr("content-type") },
        ["x-phone"] = { txn.sf:req_hdr("x-phone") },
        ["x-original-method"] = { txn.sf:method() }, ["x-original-uri"] = { txn.sf:pathq() },
        ["x-rl-client-ip"] = { txn.sf:src() },
        -- httpclient asks again by itself when no answer comes: the same id is charged once.
        ["x-request-id"] = { txn.sf:unique_id() } }
    local encoding = txn.sf:req_hdr("content-encoding")
    if encoding ~= "" then headers["content-encoding"] = { encoding } end
    local reply = core.httpclient():post({ url = "http://127.0.0.1:7071/v1/proxy/haproxy", headers = headers,
        body = txn.sf:req_body(), timeout = 250 })
    local status = reply and reply.status or 0
    txn:set_var("txn.rl_status", status)
    if status == 0 then return end
    for name, lines in pairs(reply.headers) do -- their names come in lower case
        if name == "retry-after" or name == "ratelimit" or name == "ratelimit-policy" or name == "x-sendgate-check-id" then
            txn:set_var("txn." .. name:gsub("-", "_"), lines[0])
        end
    end
    txn:set_var("txn.rl_body", reply.body or "")
end)
