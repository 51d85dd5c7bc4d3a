-- The configuration of the container image. Mount a file of your own over it, or set these in the environment:
--   LIGNUM_OPEN=true     whoever reaches the port may do everything. Otherwise everybody needs a token; the first is
--                        made in the container:
--                        lignum token add NAME --topics '*' --may admin,own --console /run/lignum/console.sock
--   CONSUL_HTTP_ADDR     Consul's HOST:PORT, for a node of a cluster; then also
--   LIGNUM_HOST          the name under which other nodes and clients reach this one; also the node's name
--   LIGNUM_SECRET_FILE   the cluster's secret (`lignum secret new`)
-- Messages are in /var/lib/lignum: a volume of its own for each node. HTTP is on port 8080, replication on 8090.
local host, consul = os.getenv "LIGNUM_HOST", os.getenv "CONSUL_HTTP_ADDR"

listen "0.0.0.0:8080"
access { open = os.getenv "LIGNUM_OPEN" == "true" }
store { path = "/var/lib/lignum/data" }
console { path = "/run/lignum/console.sock" }

if host then node { name = host, advertise = host .. ":8080" } end
if consul then
  if not host then error("LIGNUM_HOST is not set: other nodes need a name for this one", 0) end
  cluster {
    consul = { address = consul },
    replication = {
      listen = "0.0.0.0:8090", advertise = host .. ":8090", secret_file = os.getenv "LIGNUM_SECRET_FILE",
    },
  }
end
