// Asks Sendgate about a request, with its body, and passes the answer on as it is.
export default { check };

// What Sendgate may read. X-RL-Client-IP and the original are ours, whatever the client sent.
async function check(r) {
    let reply;
    try {
        reply = await r.subrequest('/_sendgate', { method: 'POST', body: r.requestText });
    } catch (e) {
        return refuse(r, 503, {}, '{"title":"Service Unavailable","status":503}\n');
    }
    if (reply.status === 200) {
        r.variables.rl_id = reply.headersOut['X-Sendgate-Check-Id'] || '';
        return r.internalRedirect('@app');
    }
    if (reply.status >= 500 || !reply.headersOut['X-RL-Status']) {
        // No answer: no message. To rather send one too many: r.internalRedirect('@app').
        return refuse(r, 503, { 'Retry-After': '1' }, '{"title":"Service Unavailable","status":503}\n');
    }
    refuse(r, reply.status, reply.headersOut, reply.responseText);
}

function refuse(r, status, headers, body) {
    ['Retry-After', 'RateLimit', 'RateLimit-Policy', 'X-Sendgate-Challenge'].forEach(function (name) {
        if (headers[name]) {
            r.headersOut[name] = headers[name];
        }
    });
    r.headersOut['Content-Type'] = 'application/problem+json';
    r.return(status, body);
}
