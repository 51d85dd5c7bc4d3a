render.o: core/script/render.c core/base/clock.h core/base/buf.h \
  core/base/slice.h core/base/json.h core/script/batch.h \
  core/script/state.h /usr/include/lua5.4/lauxlib.h \
  /usr/include/lua5.4/luaconf.h /usr/include/lua5.4/lua.h \
  core/script/budget.h core/script/pool.h core/script/vm.h \
  core/broker/cluster.h core/broker/follower.h core/broker/register.h \
  core/base/id.h core/base/limits.h core/broker/topics.h \
  core/broker/registry.h core/base/map.h core/broker/topic.h \
  core/broker/mark.h core/base/list.h core/store/journal.h \
  core/store/record.h core/broker/role.h core/store/store.h \
  core/base/hist.h core/store/state.h core/broker/settings.h \
  core/net/link.h core/net/address.h core/net/loop.h core/net/secret.h \
  core/broker/leader.h core/net/fetch.h core/net/http.h \
  core/net/http_parse.h

core/base/clock.h:

core/base/buf.h:

core/base/slice.h:

core/base/json.h:

core/script/batch.h:

core/script/state.h:

/usr/include/lua5.4/lauxlib.h:

/usr/include/lua5.4/luaconf.h:

/usr/include/lua5.4/lua.h:

core/script/budget.h:

core/script/pool.h:

core/script/vm.h:

core/broker/cluster.h:

core/broker/follower.h:

core/broker/register.h:

core/base/id.h:

core/base/limits.h:

core/broker/topics.h:

core/broker/registry.h:

core/base/map.h:

core/broker/topic.h:

core/broker/mark.h:

core/base/list.h:

core/store/journal.h:

core/store/record.h:

core/broker/role.h:

core/store/store.h:

core/base/hist.h:

core/store/state.h:

core/broker/settings.h:

core/net/link.h:

core/net/address.h:

core/net/loop.h:

core/net/secret.h:

core/broker/leader.h:

core/net/fetch.h:

core/net/http.h:

core/net/http_parse.h:
