-- crypto, against the vectors of the RFCs.
local check = require "check"
local core = require "lignum.core"
local crypto = core.crypto
local function test(name, fn) check.test(print, name, fn) end

local function hex(text) return assert(crypto.decode(text, "hex")) end
local function base64url(text) return assert(crypto.decode(text, "base64url")) end

-- The parts of a JSON Web Signature: what is signed, and the signature.
local function jws(token)
  local signed, signature = token:match("^([^.]+%.[^.]+)%.([^.]+)$")
  return signed, base64url(signature)
end

test("crypto_digests_are_those_of_fips_180", function()
  check.equal(crypto.encode(crypto.sha256("abc"), "hex"),
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
  check.equal(crypto.encode(crypto.sha256(""), "hex"),
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
  check.equal(crypto.encode(crypto.sha512("abc"), "hex"),
    "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
    .. "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f")
end)

test("crypto_hmac_is_that_of_rfc_4231", function()
  for _, v in ipairs {
    { "sha256", ("\x0b"):rep(20), "Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7" },
    { "sha384", ("\x0b"):rep(20), "Hi There",
      "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59cfaea9ea9076ede7f4af152e8b2fa9cb6" },
    { "sha512", ("\x0b"):rep(20), "Hi There", "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde"
      .. "daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854" },
    { "sha256", "Jefe", "what do ya want for nothing?",
      "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843" },
    { "sha256", ("\xaa"):rep(131), "Test Using Larger Than Block-Size Key - Hash Key First",
      "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54" },
  } do
    check.equal(crypto.encode(crypto.hmac(v[1], v[2], v[3]), "hex"), v[4])
  end
  check.raises("digest must be sha256, sha384 or sha512", crypto.hmac, "md5", "k", "v")
end)

local ED25519 <const> = {   -- RFC 8032, section 7.1, tests 1 to 3
  { "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
    "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
    "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
    .. "d25bf5f0595bbe24655141438e7a100b" },
  { "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
    "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
    .. "387b2eaeb4302aeeb00d291612bb0c00" },
  { "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
    "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
    "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
    .. "4a7c15e9716ed28dc027beceea1ec40a" },
}

test("crypto_ed25519_is_that_of_rfc_8032", function()
  for _, v in ipairs(ED25519) do
    local x, d = crypto.encode(hex(v[2]), "base64url"), crypto.encode(hex(v[1]), "base64url")
    local pair = assert(crypto.key { kty = "OKP", crv = "Ed25519", x = x, d = d })
    local public = assert(crypto.key { kty = "OKP", crv = "Ed25519", x = x })
    local bytes, signature = hex(v[3]), hex(v[4])
    check.equal(pair:sign("EdDSA", bytes), signature)
    check.equal(public:verify("EdDSA", bytes, signature), true)
    check.equal(public:verify("EdDSA", bytes .. "\0", signature), false)
    for at = 1, #signature, 21 do
      local wrong = signature:sub(1, at - 1) .. string.char(signature:byte(at) ~ 1) .. signature:sub(at + 1)
      check.equal(public:verify("EdDSA", bytes, wrong), false)
    end
    check.raises("a public key, which only verifies", public.sign, public, "EdDSA", bytes)
  end
  local x = crypto.encode(hex(ED25519[1][2]), "base64url")
  local d = crypto.encode(hex(ED25519[2][1]), "base64url")
  local key, why, code = crypto.key { kty = "OKP", crv = "Ed25519", x = x, d = d }
  check.equal({ key, code }, { nil, "bad_value" })
  check.has(why, "x, and d if it is there")
end)

test("crypto_a_private_ed25519_key_gives_its_public_part", function()
  for _, v in ipairs(ED25519) do
    local key = assert(crypto.key { kty = "OKP", crv = "Ed25519", d = crypto.encode(hex(v[1]), "base64url") })
    check.equal(key:jwk(), { kty = "OKP", crv = "Ed25519", x = crypto.encode(hex(v[2]), "base64url") })
    check.equal(key:sign("EdDSA", hex(v[3])), hex(v[4]))
  end
  local key, why, code = crypto.key { kty = "OKP", crv = "Ed25519", d = crypto.encode(("d"):rep(31), "base64url") }
  check.equal({ key, code }, { nil, "bad_value" })
  check.has(why, "x, and d if it is there")
end)

local RSA <const> = {   -- RFC 7515, appendix A.2
  kty = "RSA", e = "AQAB",
  n = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yR"
    .. "T-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXB"
    .. "dQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9ia"
    .. "GNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
}
local RSA_TOKEN <const> = ""
  .. "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19"
  .. "yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt"
  .. "_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb"
  .. "1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI"
  .. "8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
local EC <const> = {   -- RFC 7515, appendix A.3
  kty = "EC", crv = "P-256", x = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
  y = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0", d = "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI",
}
local EC_TOKEN <const> = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNv"
  .. "bS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"

test("crypto_rsa_and_ecdsa_are_those_of_rfc_7515", function()
  for _, v in ipairs { { RSA, RSA_TOKEN, "RS256" }, { EC, EC_TOKEN, "ES256" } } do
    local key, signed, signature = assert(crypto.key(v[1])), jws(v[2])
    check.equal(key:verify(v[3], signed, signature), true)
    check.equal(key:verify(v[3], signed .. "x", signature), false)
    check.equal(key:verify(v[3], signed, signature:sub(1, -2)), false)
    check.equal(key:verify(v[3], signed, ""), false)
    check.equal(key:verify(v[3], signed, ("\0"):rep(#signature)), false)
    for _, other in ipairs { "EdDSA", "ES384", v[3] == "RS256" and "ES256" or "RS256" } do
      check.equal(key:verify(other, signed, signature), false)
    end
  end
  check.equal(assert(crypto.key(RSA)):verify("PS256", jws(RSA_TOKEN)), false)
end)

test("crypto_keys_give_their_public_parts", function()
  check.equal(assert(crypto.key(RSA)):jwk(), { kty = "RSA", n = RSA.n, e = RSA.e })
  check.equal(assert(crypto.key(EC)):jwk(), { kty = "EC", crv = "P-256", x = EC.x, y = EC.y })
end)

test("crypto_what_a_key_signs_its_public_part_verifies", function()
  local pair = assert(crypto.key(EC))
  local public = assert(crypto.key { kty = "EC", crv = "P-256", x = EC.x, y = EC.y })
  for i = 1, 50 do     -- the two numbers of a signature begin with zeros now and then
    local signature = pair:sign("ES256", "text " .. i)
    check.equal({ #signature, public:verify("ES256", "text " .. i, signature) }, { 64, true })
  end
  check.raises("another type than RS256", pair.sign, pair, "RS256", "x")
  check.raises("algorithm must be EdDSA", pair.sign, pair, "HS256", "x")
end)

local function openssl(command)
  local pipe <close> = core.unsafe.popen("openssl " .. command .. " 2>/dev/null")
  return pipe:read("a")
end

test("crypto_keys_are_read_from_pem", function()
  for kind, algorithms in pairs {
    ["RSA -pkeyopt rsa_keygen_bits:2048"] = { "RS256", "RS384", "RS512", "PS256", "PS384", "PS512" },
    ["EC -pkeyopt ec_paramgen_curve:P-384"] = { "ES384" }, ["EC -pkeyopt ec_paramgen_curve:P-521"] = { "ES512" },
    ["ed25519"] = { "EdDSA" },
  } do
    local pem = openssl("genpkey -algorithm " .. kind)
    local public = openssl("pkey -pubout <<'END'\n" .. pem .. "END")
    check.has(public, "BEGIN PUBLIC KEY")
    local key, other = assert(crypto.key(pem)), assert(crypto.key(public))
    for _, algorithm in ipairs(algorithms) do
      check.equal({ algorithm, other:verify(algorithm, "text", key:sign(algorithm, "text")) }, { algorithm, true })
    end
  end
end)

test("crypto_weak_and_foreign_keys_are_refused_and_named", function()
  local function refused(source, words)
    local key, why, code = crypto.key(source)
    check.equal({ key, code }, { nil, "bad_value" })
    check.has(why, words)
  end
  refused(openssl("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024"), "2048 to 4096 bits")
  refused(openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:secp256k1"), "neither Ed25519, nor EC")
  refused(openssl("genpkey -algorithm X25519"), "neither Ed25519, nor EC")
  refused(openssl("genpkey -algorithm ed25519 -aes256 -pass pass:x"), "unencrypted private key")
  refused("nothing", "not a PEM text")
  refused("", "not a PEM text")
  refused({}, "kty must be")
  refused({ kty = "oct", k = "AAAA" }, "kty must be")
  refused({ kty = "EC", crv = "P-256", x = EC.x, y = EC.x }, "not a key on that curve")
  refused({ kty = "EC", crv = "P-256", x = EC.x, y = EC.y, d = EC.x }, "not a key on that curve")
  refused({ kty = "EC", crv = "P-384", x = EC.x, y = EC.y }, "not a key on that curve")
  refused({ kty = "EC", crv = "P-256", x = EC.x .. "=", y = EC.y }, "not base64url")
  refused({ kty = "RSA", n = "AQAB", e = "AQAB" }, "2048 to 4096 bits")
  refused({ kty = "RSA", n = RSA.n, e = RSA.e, d = "AQAB" }, "a private one is given as PEM")
  check.raises("x must be a string", crypto.key, { kty = "OKP", x = 1 })
  check.raises("source must be a PEM text", crypto.key, 5)
end)

test("crypto_encodings_go_both_ways", function()
  for _, form in ipairs { "hex", "base64", "base64url" } do
    local bytes = crypto.random(257)
    check.equal(crypto.decode(crypto.encode(bytes, form), form), bytes)
    check.equal(crypto.decode("", form), "")
    local value, why, code = crypto.decode("!", form)
    check.equal({ value, why, code }, { nil, "not " .. form, "bad_value" })
  end
  check.equal({ crypto.decode("0aFf", "hex"), crypto.encode("\x0a\xff", "hex") }, { "\x0a\xff", "0aff" })
  for _, bad in ipairs { "0", "0g", "g0", "0x" } do check.equal((crypto.decode(bad, "hex")), nil) end
  check.raises("form must be hex, base64 or base64url", crypto.encode, "x", "ascii")
end)

test("crypto_equal_and_random_do_what_they_say", function()
  check.equal({ crypto.equal("ab", "ab"), crypto.equal("ab", "ac"), crypto.equal("ab", "a"), crypto.equal("", "") },
    { true, false, false, true })
  check.equal({ #crypto.random(0), #crypto.random(65536) }, { 0, 65536 })
  if crypto.random(16) == crypto.random(16) then error "the same twice" end
  check.raises("at most 65536", crypto.random, 65537)
  check.raises("bytes has more than 16777216 bytes", crypto.sha256, ("x"):rep((16 << 20) + 1))
end)
