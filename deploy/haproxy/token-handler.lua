-- HAProxy has no auth_request: this action asks the Token Handler about each request (docs/gateways.md).
-- TOKEN_HANDLER_GATEWAY_SECRET is forward_auth.gateway_secret; TOKEN_HANDLER_FORWARD_AUTH is its listener.

local address = os.getenv("TOKEN_HANDLER_FORWARD_AUTH") or "http://127.0.0.1:3002"
local secret = os.getenv("TOKEN_HANDLER_GATEWAY_SECRET")
assert(secret and #secret >= 32, "TOKEN_HANDLER_GATEWAY_SECRET is missing or too short")
local timeout_ms = 5000

-- For this hop only, or of a body that is not sent along; or ours to say.
local not_sent = {
  ["host"] = true, ["connection"] = true, ["keep-alive"] = true, ["upgrade"] = true, ["te"] = true, ["trailer"] = true,
  ["transfer-encoding"] = true, ["content-length"] = true, ["content-type"] = true, ["expect"] = true,
  ["http2-settings"] = true, ["token-handler-gateway-secret"] = true, ["x-forwarded-for"] = true,
  ["x-original-method"] = true, ["x-original-uri"] = true, ["x-original-host"] = true,
}

-- Of a denial, the client gets these; of an admission, the variables go on the API's answer (haproxy.cfg).
local passed_on = {
  "content-type", "cache-control", "x-content-type-options", "www-authenticate", "retry-after", "vary",
  "access-control-allow-origin", "access-control-allow-credentials", "access-control-expose-headers",
}

local unreachable = '{"code":"upstream_unavailable","message":"The API cannot be reached."}'

-- Lists of HAProxy start at 0, those for its HTTP client at 1.
local function list(values)
  local copy = {}
  for index = 0, #values do copy[index + 1] = values[index] end
  return copy
end

local function first(headers, name)
  local values = headers and headers[name]
  return values and values[0] or ""
end

local function answer(txn, status, headers, body)
  local reply = txn:reply({ status = status, body = body })
  for name, value in pairs(headers) do reply:add_header(name, value) end
  txn:done(reply)
end

core.register_action("token_handler_authorize", { "http-req" }, function(txn)
  local received = txn.http:req_get_headers()
  local headers = {}
  for name, values in pairs(received) do
    if not not_sent[name] then headers[name] = list(values) end
  end
  headers["token-handler-gateway-secret"] = { secret }
  headers["x-original-method"] = { txn.f:method() }
  headers["x-original-uri"] = { txn.f:pathq() }
  -- Two of them stay two, and are refused.
  headers["x-original-host"] = received["host"] and list(received["host"]) or {}
  headers["x-forwarded-for"] = { txn.f:src() }

  local response = core.httpclient():get({ url = address .. "/authorize", headers = headers, timeout = timeout_ms })
  local status = response and response.status or 0

  if status == 200 then
    for _, name in ipairs({ "authorization", "cookie" }) do
      txn.http:req_del_header(name)
      local value = first(response.headers, name)
      if value ~= "" then txn.http:req_set_header(name, value) end
    end
    txn:set_var("txn.token_handler_allow_origin", first(response.headers, "access-control-allow-origin"))
    txn:set_var("txn.token_handler_expose_headers", first(response.headers, "access-control-expose-headers"))
    return
  end

  if status ~= 401 and status ~= 403 then
    answer(txn, 502, { ["content-type"] = "application/json", ["cache-control"] = "no-store" }, unreachable)
    return
  end
  local told = {}
  for _, name in ipairs(passed_on) do
    local value = first(response.headers, name)
    if value ~= "" then told[name] = value end
  end
  answer(txn, status, told, response.body)
end)
