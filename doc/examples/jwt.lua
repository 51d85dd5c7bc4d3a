-- Access by JSON Web Tokens of an identity provider, whose keys are fetched from its JWKS and kept for some minutes.
local KEYS <const> = { url = "https://id.example/.well-known/jwks.json" }

function authorize(req)
  local token = (req:header("authorization") or ""):match("^Bearer (%S+)$")
  local claims, why, code = jwt.verify(token, KEYS, { issuer = "https://id.example", audience = "lignum" })
  if not claims then return false, code, why end
  local scopes = " " .. (claims.scope or "") .. " "
  if req.action ~= "read" and not scopes:find(" write ", 1, true) then
    return false, "forbidden", "needs the scope write"
  end
  return { user = claims.sub }
end
