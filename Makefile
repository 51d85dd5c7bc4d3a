# Lignum. On a fresh Debian 12, `make run` and `make test` install what is missing, build, and run. `make help` lists all targets.
#
# MODE is release (default), asan, faults, a mutant (below) or fuzz. Objects are under build/MODE, so modes never mix.
MODE    ?= release
PREFIX  ?= /usr/local
VERSION := 0.1.0
B       := build/$(MODE)
Q       := $(if $(V),,@)

DEPS_BUILD := gcc make pkg-config liblua5.4-dev libevent-dev libcurl4-openssl-dev libedit-dev libssl-dev
PEERS      := redis-server nats-server tarantool rabbitmq-server beanstalkd etcd-server nginx-light wrk
DEPS_TEST  := lua5.4 lua-check patch python3 python3-pytest python3-pytest-xdist python3-pytest-timeout curl prometheus \
              iproute2 iptables openssl python3-yaml lua-socket lua-sec lua-dkjson libnginx-mod-http-lua

# libcurl and OpenSSL are loaded when they are needed (core/net/libcurl.c, openssl.c), so only their headers are needed here.
PKGS     := lua5.4 libevent_core libedit
LIBS      = $(shell pkg-config --libs $(PKGS)) -lpthread -lm
INCS      = $(shell pkg-config --cflags $(PKGS) libcurl libssl)

CFLAGS   ?= -O2 -g
WARN     := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
            -Wwrite-strings -Wundef -Wformat=2 -Wvla $(if $(CI),-Werror)
ifeq ($(MODE),fuzz)
CC := clang
endif
# A variable that is read before it is set is 0, and not what the stack has kept of a key or a message.
AUTO_INIT := $(shell $(CC) -ftrivial-auto-var-init=zero -E -x c /dev/null >/dev/null 2>&1 && echo -ftrivial-auto-var-init=zero)
# Without -fcf-protection: the start files of Debian 12's C library do not declare IBT and SHSTK, so the linker leaves both out of
# the binary (readelf -n), and nothing would enforce them.
HARDEN   := -fstack-protector-strong -fstack-clash-protection -fPIE $(AUTO_INIT)
DEFINES   = -D_GNU_SOURCE -DLIGNUM_VERSION='"$(VERSION)"' -DLIGNUM_SCRIPTS='"$(PREFIX)/share/lignum/scripts"'
COMPILE   = $(CC) -std=c11 $(CPPFLAGS) $(CFLAGS) $(WARN) $(HARDEN) $(MODE_FLAGS) $(DEFINES) -I$(CORE) -Itests $(INCS) -MMD -MP
LINK      = $(CC) $(CFLAGS) $(MODE_FLAGS) $(LDFLAGS) -pie -Wl,-z,relro,-z,now -Wl,-E

SANITIZE := -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
MODE_FLAGS_release    := -D_FORTIFY_SOURCE=3
MODE_FLAGS_faults     := -D_FORTIFY_SOURCE=3 -DFAULTS
MODE_FLAGS_mutant     := -D_FORTIFY_SOURCE=3 -DFAULTS
MODE_FLAGS_asan       := -O1 $(SANITIZE) -DFAULTS
MODE_FLAGS_fuzz       := -O1 $(SANITIZE) -fsanitize=fuzzer-no-link
MODE_FLAGS            := $(MODE_FLAGS_$(firstword $(subst -, ,$(MODE))))

# MODE=mutant-NAME builds core with tests/mutants/NAME.patch applied: one rule is left out, which a test must notice.
MUTANT  := $(patsubst mutant-%,%,$(filter mutant-%,$(MODE)))
CORE    := $(if $(MUTANT),$(B)/src/core,core)

# Layers and their rooms: core/LAYER/*.c and core/LAYER/ROOM/*.c; tests/unit has the same folders.
OBJS    := $(patsubst %.c,$(B)/%.o,$(wildcard core/*/*.c core/*/*/*.c))
MAINS   := $(patsubst %.c,$(B)/%.o,$(wildcard core/*.c))
UNITS   := $(patsubst %.c,$(B)/%,$(wildcard tests/unit/*/test_*.c tests/unit/*/*/test_*.c))
BENCHES := $(patsubst %.c,$(B)/%,$(filter-out tests/bench/slow_disk.c,$(wildcard tests/bench/*.c))) \
           $(B)/tests/bench/slow_disk.so
FUZZERS := $(patsubst %.c,$(B)/%,$(wildcard tests/fuzz/fuzz_*.c))

.PHONY: all binary deps deps-test consul npm conformance run cluster test unit bench-tools fuzzers asan test-build test-big testssl test-browser screenshots model tidy picture lint fuzz bench bench-quick bench-profile bench-instructions bench-streams bench-cluster bench-peers torture torture-mutants doc compdb install clean help
.SECONDARY:

all: binary

binary: $(B)/lignum
	@ln -sf $(MODE)/lignum build/lignum

$(B)/lignum: $(MAINS) $(OBJS)
	@$(if $(V),,echo "  LINK $@")
	$(Q)$(LINK) -o $@ $^ $(LIBS)

$(B)/core/%.o: $(CORE)/%.c Makefile | deps
	@mkdir -p $(@D)
	@$(if $(V),,echo "  CC   $<")
	$(Q)$(COMPILE) -c -o $@ $<

$(B)/tests/%.o: tests/%.c Makefile | deps
	@mkdir -p $(@D)
	@$(if $(V),,echo "  CC   $<")
	$(Q)$(COMPILE) -c -o $@ $<

ifneq ($(MUTANT),)
SOURCES := $(wildcard core/*.[ch] core/*/*.[ch] core/*/*/*.[ch])
$(B)/src/applied: tests/mutants/$(MUTANT).patch tests/mutants/apply $(SOURCES)
	$(Q)tests/mutants/apply $(MUTANT) $(B)/src && touch $@
$(SOURCES:%=$(B)/src/%): $(B)/src/applied ;
endif

$(UNITS): %: %.o $(B)/tests/unit/unit.o $(OBJS)
	@$(if $(V),,echo "  LINK $@")
	$(Q)$(LINK) -o $@ $^ $(LIBS)

$(B)/tests/bench/load $(B)/tests/bench/fanout $(B)/tests/bench/consume: $(patsubst %.c,$(B)/%.o,$(wildcard tests/bench/wire/*.c))

$(B)/tests/bench/slow_disk.so: tests/bench/slow_disk.c
	@mkdir -p $(@D)
	@$(if $(V),,echo "  LINK $@")
	$(Q)$(COMPILE) -shared -fPIC -o $@ $<

$(B)/tests/bench/%: $(B)/tests/bench/%.o $(OBJS)
	@$(if $(V),,echo "  LINK $@")
	$(Q)$(LINK) -o $@ $^ $(LIBS)

$(B)/tests/fuzz/%: $(B)/tests/fuzz/%.o $(OBJS)
	@$(if $(V),,echo "  LINK $@")
	$(Q)$(LINK) -fsanitize=fuzzer -o $@ $^ $(LIBS)

# ---- set-up: quick when nothing is missing; without root it prints what to install ----

deps:
	@tests/install $(DEPS_BUILD)

deps-test: deps
	@tests/install $(DEPS_TEST)

# Packages of npm that tests use are pinned by lock files; tests that lack them are skipped, and say why.
npm:
	@command -v npm >/dev/null || RUNLEVEL=1 tests/install nodejs npm || true

# The cluster's tests run against a real Consul.
consul:
	@tests/consul >/dev/null

# ---- targets for people ----

run: binary
	build/lignum serve $(ARGS)

# Consul and three nodes on this host, until Ctrl-C (ARGS="--fresh" deletes the data of an earlier run).
cluster: binary consul
	@tests/install python3
	@tests/cluster $(ARGS)

# The fuzzers are compiled too, so that a change which breaks one is noticed without clang.
unit: $(UNITS) $(FUZZERS:%=%.o)

# Builds every binary that the tests run, and runs the static checks.
test-build: deps-test consul npm tidy lint
	@$(MAKE) --no-print-directory binary unit bench-tools
	@$(MAKE) --no-print-directory MODE=faults build/faults/lignum
	@$(MAKE) --no-print-directory MODE=mutant-ack build/mutant-ack/lignum

test: test-build
	@tests/run

# A real Chromium, driven by playwright-core: two minutes. Skipped, with the reason, where one of the two cannot be had.
test-browser: deps-test npm binary
	@tests/install chromium || true
	@LIGNUM_BROWSER=1 tests/run --only system/test_chromium $(ARGS)
	@LIGNUM_BROWSER=1 tests/run --only system/test_web_console $(ARGS)

# Pictures of each page of the web console, at two widths, in light and dark, in build/screenshots/.
screenshots: deps-test consul npm binary
	@tests/install chromium || true
	@LIGNUM_SCREENSHOTS=$(CURDIR)/build/screenshots tests/run --only system/test_web_console::test_pictures_of_each_page_are_taken

conformance: deps-test consul npm binary
	@LIGNUM_CONFORMANCE=1 tests/run --only system/test_durable_streams $(ARGS)

asan: deps-test
	@$(MAKE) --no-print-directory MODE=asan build/asan/lignum unit
	@$(MAKE) --no-print-directory MODE=mutant-ack build/mutant-ack/lignum
	@tests/run --mode asan

bench-tools: $(BENCHES)

fuzz: deps
	@tests/install clang libclang-rt-14-dev
	@$(MAKE) --no-print-directory MODE=fuzz fuzzers
	@for f in $(notdir $(FUZZERS)); do \
	    mkdir -p build/corpus/$$f && tests/fuzz/seeds build/corpus && echo "$$f: 60 s" && \
	    build/fuzz/tests/fuzz/$$f -max_total_time=60 -print_final_stats=1 build/corpus/$$f 2>&1 | tail -4 || exit 1; done

fuzzers: $(FUZZERS)

# 25 minutes, as root. ARGS="--seconds 300 --seed x --only Consul"; tests/torture --help lists the rest.
torture: deps-test
	@$(MAKE) --no-print-directory MODE=faults build/faults/lignum
	@tests/torture $(ARGS)

# Those that a torture must catch; the others are caught by tests of `make test`.
MUTANTS  = $(patsubst tests/mutants/%.patch,mutant-%,$(shell grep -l '^Caught by: tests/torture' tests/mutants/*.patch))

torture-mutants: deps-test
	@for m in faults $(MUTANTS); do $(MAKE) --no-print-directory MODE=$$m build/$$m/lignum || exit 1; done
	@tests/torture --mutants $(ARGS)

bench: binary bench-tools
	@tests/install python3 gnuplot-nox
	@tests/bench/run.py $(ARGS)

bench-quick: binary bench-tools
	@tests/install python3
	@tests/bench/run.py --quick $(ARGS)

bench-profile: binary bench-tools
	@tests/install python3
	@tests/install linux-perf || true
	@tests/bench/profile.py $(ARGS)

bench-streams: binary bench-tools
	@tests/install python3
	@tests/bench/streams.py $(ARGS)

bench-instructions: binary bench-tools
	@tests/install python3 valgrind
	@tests/bench/instructions.py $(ARGS)

bench-cluster: binary bench-tools deps-test
	@RUNLEVEL=1 tests/install etcd-server || true
	@tests/bench/three.py $(ARGS)

# What N topics cost. N=1000000 takes some minutes and 10 GB.
.PHONY: bench-topics
N ?= 100000
bench-topics: binary bench-tools consul
	@tests/install python3 strace
	@tests/bench/topics.py $(N) $(ARGS)

# Claim and acknowledge, beside other brokers. ARGS=--big: what large numbers of messages, leases, groups and producers cost.
.PHONY: bench-groups
bench-groups: binary bench-tools consul
	@tests/install python3
	@tests/bench/groups.py $(ARGS)

# Installs one package at a time, so that one that this Debian lacks does not stop the others. RUNLEVEL=1 keeps their services
# from starting.
bench-peers:
	@for package in $(PEERS); do RUNLEVEL=1 tests/install $$package || true; done

tidy:
	@lua5.4 tests/tidy.lua $(ARGS)
	@tests/mutants/apply --check

picture:
	@lua5.4 tests/tidy.lua --picture > build/rooms.svg && mv build/rooms.svg doc/rooms.svg

test-big: test-build
	@tests/run --big

# 2 minutes; ARGS=--quick: 30 seconds.
testssl: binary
	@tests/install python3 openssl testssl.sh
	@tests/testssl $(ARGS)

# Checks all interleavings of a small cluster, and that leaving out any rule breaks a promise.
model:
	@tests/install spin gcc
	@echo "spin searches tests/model: about 4 minutes (ARGS=--long: 15 minutes)"
	@tests/model/run $(ARGS)

lint:
	@luacheck --quiet --no-color lignum.lua scripts tests rocks doc/examples

doc: deps-test
	@lua5.4 tests/doc.lua > doc/api.md

# A package for Debian 12, into build/.
.PHONY: deb
deb: deps
	@tests/install debhelper lintian fakeroot
	@scripts/package/deb

# Installs that package on a fresh Debian under its own systemd, as root.
.PHONY: test-deb
test-deb: deb
	@tests/install debootstrap systemd
	@tests/package build/lignum_$(VERSION)_*.deb

# An OCI image of that package, build/lignum-image.tar, started and spoken to; as root.
.PHONY: image
image: deb
	@tests/install buildah debootstrap iproute2 curl
	@scripts/package/image build/lignum_$(VERSION)_*.deb
	@tests/image build/lignum-image.tar

# compile_commands.json for clangd and clang-tidy; MODE chooses whose flags it has.
compdb: deps
	@tests/install python3
	@$(MAKE) --no-print-directory -n -B V=1 binary unit bench-tools $(patsubst %.c,$(B)/%.o,$(wildcard tests/fuzz/*.c)) \
	    | tests/compdb > compile_commands.json.new
	@mv compile_commands.json.new compile_commands.json

install: binary
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/lignum $(DESTDIR)$(PREFIX)/share/doc/lignum
	install -m 755 $(B)/lignum $(DESTDIR)$(PREFIX)/bin/lignum
	cp -R scripts $(DESTDIR)$(PREFIX)/share/lignum/
	install -m 644 lignum.lua $(DESTDIR)$(PREFIX)/share/lignum/lignum.lua
	cp -R doc/deploy $(DESTDIR)$(PREFIX)/share/lignum/
	cp -R README.md CHANGELOG.md LICENSE doc $(DESTDIR)$(PREFIX)/share/doc/lignum/
	install -d $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/man/man5 \
	    $(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(PREFIX)/share/zsh/site-functions \
	    $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	$(B)/lignum manual lignum.1 > $(DESTDIR)$(PREFIX)/share/man/man1/lignum.1
	$(B)/lignum manual lignum.lua.5 > $(DESTDIR)$(PREFIX)/share/man/man5/lignum.lua.5
	$(B)/lignum completion bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/lignum
	$(B)/lignum completion zsh > $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_lignum
	$(B)/lignum completion fish > $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/lignum.fish

clean:
	rm -rf build

help:
	@echo "make run              install what is missing, build, start a node on 127.0.0.1:8080 with data/ (ARGS=... adds flags)"
	@echo "make cluster          run Consul and three nodes on this host until Ctrl-C (ARGS=--fresh: without the data of an earlier run)"
	@echo "make test             install what is missing, build, run all tests (about 10 minutes)"
	@echo "make                  build build/lignum"
	@echo "make install          install under PREFIX (/usr/local), within DESTDIR"
	@echo "make deb              build a Debian package into build/, and check it with lintian (4 minutes; DEB_BUILD_OPTIONS=nocheck: 2)"
	@echo "make test-deb         make deb, install it on a fresh Debian under its own systemd, upgrade, remove (as root; 7 minutes)"
	@echo "make image            make deb, put it into an OCI image (build/lignum-image.tar) and try that (as root; 8 minutes)"
	@echo "make clean            delete build/"
	@echo "make conformance      run the conformance tests of Durable Streams on every kind of node, and the other tests of it (5 minutes; needs npm)"
	@echo "make asan             run all tests under AddressSanitizer and UBSan (about 6 minutes)"
	@echo "make test-big         run all tests in their long forms: 20,000 topics, 10 million messages, 10 GB restarts (about an hour)"
	@echo "make test-browser     use the web console in a real Chromium, and try what pages of other origins can do to a node (2 minutes; needs npm)"
	@echo "make screenshots      take pictures of each page of the web console, in build/screenshots/ (needs npm)"
	@echo "make testssl          run testssl.sh against a listener with TLS; nothing above LOW (2 minutes; ARGS=--quick: 30 seconds)"
	@echo "make model            check the model of replication and its mutants with spin (about 4 minutes; ARGS=--long: 15 minutes)"
	@echo "make torture          run a cluster of three under every known fault, as root (25 minutes; ARGS=--help lists the options)"
	@echo "make torture-mutants  run builds that lack one safety rule each; the checker must catch every one (about 15 minutes)"
	@echo "make fuzz             fuzz the HTTP parser, stored files, frames between nodes, records of groups, snapshots of producers and what streams parse, a minute each"
	@echo "make bench            measure the figures of doc/performance.md and write them there (about 15 minutes)"
	@echo "make bench-peers      install the brokers that bench compares with"
	@echo "make bench-quick      measure the main ratios against Redis, at five disk latencies, and this machine's limits (3 minutes)"
	@echo "make bench-profile    print where a node's CPU time goes under each load (90 seconds; needs perf)"
	@echo "make bench-instructions  count instructions a request with callgrind (2 minutes; ARGS=\"OLD NEW\" compares two builds)"
	@echo "make bench-streams    measure Durable Streams beside /v1: append, catch-up, fan-out (1 minute)"
	@echo "make bench-cluster    measure failover, throughput beside etcd, TLS, catch-up, idle cost (about 4 minutes)"
	@echo "make bench-topics     measure what 100,000 topics cost: rates, memory, disk, stops, starts, an empty follower (2 minutes; N=1000000: all of the aims)"
	@echo "make bench-groups     measure claims and acknowledgements beside other brokers (6 minutes; ARGS=--big: memory, start and failover)"
	@echo "make tidy lint        check layers, rooms, names, dead files; run luacheck (make tidy ARGS=--graph: rooms and circles)"
	@echo "make doc              write doc/api.md from scripts/lignum/api.lua"
	@echo "make picture          draw doc/rooms.svg, the picture in doc/architecture.md, from the tree"
	@echo "make compdb           write compile_commands.json for clangd and clang-tidy"

-include $(wildcard $(B)/core/*.d $(B)/core/*/*.d $(B)/core/*/*/*.d $(B)/tests/*/*.d $(B)/tests/*/*/*.d $(B)/tests/*/*/*/*.d)
