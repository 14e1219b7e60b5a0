# Tandem. `make help` lists what can be made. Rooms and their order: README.md, "Reading tour".
#
#   V=1                                    show the commands
#   SANITIZE=address,undefined | thread    instrumented build, in a folder of its own
#   BUILD=build PREFIX=/usr/local DESTDIR= SYSCONFDIR=/etc LIBDIR=$(PREFIX)/lib    where things go

comma := ,
ifeq ($(origin CC),default) # make itself says cc
CC = gcc
endif
AR ?= ar
OBJCOPY ?= objcopy
PKG_CONFIG ?= pkg-config
PROTOC_C ?= protoc-c
SANITIZE ?=
BUILD ?= build$(if $(SANITIZE),-$(subst $(comma),-,$(SANITIZE)))
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
LIBDIR ?= $(PREFIX)/lib
DESTDIR ?=
V ?= 0
Q = $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V)),@:,@printf '  %-7s %s\n')

VERSION = 0.1.0
SONAME = libtandem.so.$(firstword $(subst ., ,$(VERSION)))
OPT ?= -O2 -g
WARN = -Wall -Wextra -Wpedantic -Wshadow -Wconversion
HARDEN = -fstack-protector-strong -fPIC
LINK_HARDEN = -Wl,-z,relro,-z,now -Wl,--as-needed
ifneq ($(SANITIZE),)
SAN = -fsanitize=$(SANITIZE) -fno-omit-frame-pointer $(if $(findstring undefined,$(SANITIZE)),-fno-sanitize-recover=undefined)
else
SAN =
HARDEN += -D_FORTIFY_SOURCE=2
endif
DEFS = -D_GNU_SOURCE -DTANDEM_VERSION='"$(VERSION)"'
CFLAGS ?= $(OPT)
ALL_CFLAGS = -std=c11 $(CFLAGS) $(WARN) $(HARDEN) $(SAN) $(DEFS) -I. -I$(BUILD)/gen -Iclient/include
ALL_LDFLAGS = $(LDFLAGS) $(LINK_HARDEN) $(SAN)
DEPS = -MMD -MP -MF $@.d -MT $@

# ---- rooms: one archive each; a room links only what stands to its left in design order ----
room = $(sort $(wildcard $(1)/*.c))
BASE_SRC   := $(call room,common/base)
ENGINE_SRC := $(call room,common/engine)
WIRE_SRC   := $(call room,common/wire)
STREAM_SRC := $(call room,common/stream)
POLICY_SRC := $(call room,client/policy)
LIB_SRC    := $(call room,client/lib)
MODEL_SRC  := $(filter-out %/main.c,$(call room,common/model))
SERVER_SRC := $(filter-out %/main.c,$(call room,server))
DAEMON_SRC := $(filter-out %/main.c,$(call room,client/daemon))
CTL_SRC    := $(filter-out %/main.c,$(call room,client/ctl))
PROTO      := $(wildcard proto/*.proto)
PROTO_C    := $(patsubst proto/%.proto,$(BUILD)/gen/%.pb-c.c,$(PROTO))
PROTO_O    := $(PROTO_C:.c=.o)

objs = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
A = $(BUILD)/lib/room_$(1).a

# Asked for when a recipe runs, not when this file is read: on a bare machine the set-up comes first.
pkg = $(shell $(PKG_CONFIG) --libs $(1))
LIBS_base   = $(call pkg,inih libxxhash) -lm
LIBS_engine = $(call pkg,openblas libjpeg spng) -lpthread
LIBS_wire   = $(call pkg,libprotobuf-c)
LIBS_stream = -lnng $(call pkg,libuv libssl libcrypto) -lpthread
LIBS_ctl    = $(call pkg,libcjson)
LIBS_model  = $(call pkg,libcjson)
LIBS_test   = $(call pkg,cmocka libcjson libuv) -lpthread

# What each room stands on, nearest first (also the link order).
ON_base   = base
ON_engine = engine base
ON_model  = model engine base
ON_wire   = wire base
ON_stream = stream wire base
ON_policy = policy base
ON_lib    = lib wire base
ON_ctl    = ctl policy lib wire base
ON_server = server stream wire engine base
ON_daemon = daemon policy stream wire engine base
ROOMS = base engine model wire stream policy lib ctl server daemon
# Tests of whole products stand on everything but the daemons, which they start as programs.
ON_golden = model engine base
ON_integration = lib policy stream wire engine base
ON_fuzz = model ctl server daemon policy lib stream wire engine base
ON_bench = model lib policy stream wire engine base
ON_sim = policy base
ON_net = lib wire engine base
archives = $(foreach r,$(ON_$(1)),$(call A,$(r)))
libs = $(foreach r,$(ON_$(1)),$(LIBS_$(r)))

PROGRAMS = tandem-server tandem-client tandemctl tandem-model
BINS = $(addprefix $(BUILD)/bin/,$(PROGRAMS))

.PHONY: all
all: $(BINS) $(BUILD)/lib/libtandem.so $(BUILD)/lib/libtandem.a

define room_rules
$(call A,$(1)): $(call objs,$(2)) $(3)
	$$(say) AR $$@
	@mkdir -p $$(@D)
	$$(Q)rm -f $$@ && $$(AR) rcs $$@ $$^
endef
$(eval $(call room_rules,base,$(BASE_SRC)))
$(eval $(call room_rules,engine,$(ENGINE_SRC)))
$(eval $(call room_rules,model,$(MODEL_SRC)))
$(eval $(call room_rules,wire,$(WIRE_SRC),$(PROTO_O)))
$(eval $(call room_rules,stream,$(STREAM_SRC)))
$(eval $(call room_rules,policy,$(POLICY_SRC)))
$(eval $(call room_rules,lib,$(LIB_SRC)))
$(eval $(call room_rules,ctl,$(CTL_SRC)))
$(eval $(call room_rules,server,$(SERVER_SRC)))
$(eval $(call room_rules,daemon,$(DAEMON_SRC)))

define bin_rules
$(BUILD)/bin/$(1): $(BUILD)/obj/$(2)/main.o $(call archives,$(3))
	$$(say) LD $$@
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(ALL_LDFLAGS) -o $$@ $$^ $$(call libs,$(3))
endef
$(eval $(call bin_rules,tandem-server,server,server))
$(eval $(call bin_rules,tandem-client,client/daemon,daemon))
$(eval $(call bin_rules,tandemctl,client/ctl,ctl))
$(eval $(call bin_rules,tandem-model,common/model,model))

$(BUILD)/obj/%.o: %.c | $(PROTO_C)
	$(say) CC $<
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(DEPS) -c -o $@ $<

# protoc-c reads imports too, so every generated file depends on every .proto.
$(BUILD)/gen/%.pb-c.c: proto/%.proto $(PROTO)
	$(say) PROTO $<
	@mkdir -p $(@D)
	$(Q)$(PROTOC_C) --proto_path=proto --c_out=$(BUILD)/gen $<
$(BUILD)/gen/%.pb-c.o: $(BUILD)/gen/%.pb-c.c | $(PROTO_C)
	$(Q)$(CC) -std=c11 $(CFLAGS) $(HARDEN) $(SAN) -I$(BUILD)/gen -c -o $@ $<
.SECONDARY:

# ---- libtandem: the library with the wire and base code it uses; everything but tandem_* stays inside ----
LIB_PARTS = -Wl,--whole-archive $(call A,lib) -Wl,--no-whole-archive $(call A,wire) $(call A,base)
$(BUILD)/lib/libtandem.so: $(call archives,lib) client/lib/libtandem.map
	$(say) LD $@
	$(Q)$(CC) -shared $(ALL_LDFLAGS) -Wl,-soname,$(SONAME) -Wl,--version-script=client/lib/libtandem.map \
	  $(LIB_PARTS) $(if $(SANITIZE),,-Wl$(comma)--no-undefined) -o $@ $(call libs,lib)
	$(Q)ln -sf libtandem.so $(@D)/$(SONAME)

$(BUILD)/lib/libtandem.a: $(call archives,lib) client/lib/libtandem.map
	$(say) AR $@
	$(Q)$(CC) -r -nostdlib -o $(BUILD)/lib/libtandem.o $(LIB_PARTS)
	$(Q)sed -n 's/^ *\(tandem_[a-z0-9_]*\);.*/\1/p' client/lib/libtandem.map >$(BUILD)/lib/libtandem.symbols
	$(Q)$(OBJCOPY) --keep-global-symbols=$(BUILD)/lib/libtandem.symbols $(BUILD)/lib/libtandem.o
	$(Q)rm -f $@ && $(AR) rcs $@ $(BUILD)/lib/libtandem.o

# The demo is what a robot's program would be: it knows tandem.h and the library, nothing else.
$(BUILD)/bin/tandem-demo: deploy/demo/demo.c $(BUILD)/lib/libtandem.a
	$(say) LD $@
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c11 $(CFLAGS) $(WARN) $(HARDEN) $(SAN) $(DEFS) -Iclient/include $(DEPS) $(ALL_LDFLAGS) -o $@ $^ $(call libs,lib)

# ---- the annotated configurations, written from the tables that also parse them ----
define annotate_rules
$(BUILD)/tools/annotate-$(1): deploy/config/annotate.c $(call archives,$(2))
	$$(say) LD $$@
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(ALL_CFLAGS) -DSCHEMA=$(3) $$(DEPS) $$(ALL_LDFLAGS) -o $$@ $$< $(call archives,$(2)) $$(call libs,$(2))
endef
$(eval $(call annotate_rules,server,server,server_config_schema))
$(eval $(call annotate_rules,client,daemon,client_config_schema))
$(eval $(call annotate_rules,task,base,task_config_schema))
ANNOTATE = $(addprefix $(BUILD)/tools/annotate-,server client task)
.PHONY: configs
configs: $(ANNOTATE)
	@deploy/config/generate.sh

# ---- tests ----
UNIT_SRC := $(wildcard tests/unit/*/test_*.c)
UNIT_BIN := $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(UNIT_SRC))
SUPPORT_SRC := $(wildcard tests/support/*.c)
define test_rules
$(BUILD)/tests/$(1)/%: $(2)/%.c $(4) $(call archives,$(1))
	$$(say) TEST $$<
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(ALL_CFLAGS) $$(DEPS) $$(ALL_LDFLAGS) -o $$@ $$< $(4) $(call archives,$(1)) $$(LIBS_test) $$(call libs,$(1)) $(3)
endef
define unit_rules
$(call test_rules,$(1),tests/unit/$(1))
.PHONY: unit-$(1)
unit-$(1): $(filter $(BUILD)/tests/$(1)/%,$(UNIT_BIN))
	@for t in $$^; do echo "== $$$$t"; $$$$t || exit 1; done
endef
$(foreach r,$(ROOMS),$(eval $(call unit_rules,$(r))))
$(eval $(call test_rules,golden,tests/golden))
$(eval $(call test_rules,integration,tests/integration,,$(SUPPORT_SRC)))
# The tests on a shaped link: net.sh runs the programs, test_relay checks its relay.
define net_rules
$(BUILD)/tests/net/$(1): $(2) $(wildcard tests/net/*.h) $(call archives,net)
	$$(say) TEST $$<
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(ALL_CFLAGS) $$(ALL_LDFLAGS) -o $$@ $$(filter %.c %.a,$$^) $$(LIBS_test) $$(call libs,net)
endef
NET_RELAY = tests/net/relay.c tests/net/delay_line.c
$(eval $(call net_rules,relay,tests/net/relay_main.c $(NET_RELAY)))
$(eval $(call net_rules,test_relay,tests/net/test_relay.c $(NET_RELAY)))
$(eval $(call net_rules,stream,$(wildcard tests/net/stream*.c)))
NET_BIN := $(addprefix $(BUILD)/tests/net/,relay stream test_relay)
GOLDEN_BIN := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/golden/test_*.c))
INTEGRATION_BIN := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/integration/test_*.c))
# A fuzz target and the small driver that mutates its seeds; `make fuzz` builds the same targets with libFuzzer.
$(eval $(call test_rules,fuzz,tests/fuzz,,$(if $(findstring fuzzer,$(SANITIZE)),,tests/fuzz/driver.c)))
FUZZ_BIN := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/fuzz/fuzz_*.c))
$(eval $(call test_rules,bench,tests/bench))
BENCH_BIN := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/bench/bench_*.c))
# The decision benchmark: the real policy in virtual time. Its tests link the same files without main.
SIM_SRC := $(filter-out %/main.c tests/sim/test_%,$(wildcard tests/sim/*.c))
$(BUILD)/tests/sim/decide_sim: tests/sim/main.c $(SIM_SRC) $(wildcard tests/sim/*.h) $(call archives,sim)
	$(say) LD $@
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $(filter %.c %.a,$^) $(call libs,sim) -lpthread
# Makes large pictures of recorded thumbnails; only what records the benchmark's data runs it.
$(BUILD)/tests/sim/enlarge: tests/sim/record/enlarge.c $(call archives,bench)
	$(say) LD $@
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ $(call libs,bench)
$(BUILD)/tests/sim/test_%: tests/sim/test_%.c $(SIM_SRC) $(wildcard tests/sim/*.h) $(call archives,sim)
	$(say) TEST $<
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $(filter %.c %.a,$^) $(LIBS_test) $(call libs,sim)
SIM_BIN := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/sim/test_*.c))
TEST_BIN = $(UNIT_BIN) $(GOLDEN_BIN) $(INTEGRATION_BIN) $(FUZZ_BIN) $(SIM_BIN) $(NET_BIN)
JOBS = $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))
export CC BUILD VERSION SANITIZE PREFIX SYSCONFDIR LIBDIR DESTDIR

.PHONY: demo check check-long sanitize unit tests
demo:
	@deploy/setup.sh
	@$(MAKE) --no-print-directory $(JOBS) all $(BUILD)/bin/tandem-demo
	@deploy/demo/demo.sh
# What does not build is counted as failed, product by product, so that the last line is there whatever happens.
check:
	@deploy/setup.sh
	@$(MAKE) --no-print-directory -k $(JOBS) all tests $(ANNOTATE); \
	  BUILD_STATUS=$$? EXPECTED="$(BINS) $(BUILD)/lib/libtandem.so $(BUILD)/lib/libtandem.a $(BUILD)/bin/tandem-demo $(ANNOTATE) $(TEST_BIN)" tests/run.sh
tests: $(TEST_BIN) $(BUILD)/bin/tandem-demo $(ANNOTATE)
unit: $(addprefix unit-,$(ROOMS))
.PHONY: bench
bench: $(BENCH_BIN)
	@tests/bench/run.sh
# The paper's comparison, trained (PyTorch) and measured (this engine): deploy/models/paper/README.md.
PROFILE ?= small
DEVICE ?= cpu
BUDGET_MIN ?= 90
.PHONY: paper
paper: $(BUILD)/bin/tandem-model
	$(if $(DATA),,$(error make paper needs DATA=DIR, the folder with mnist, cifar10 and text: deploy/models/paper/README.md))
	$(Q)/usr/bin/python3 deploy/models/paper.py run --data $(DATA) --work $(BUILD)/paper --tool $< --profile $(PROFILE) \
		--device $(DEVICE) --budget-min $(BUDGET_MIN) $(if $(CELLS),--jobs $(CELLS)) $(if $(TASKS),--tasks $(TASKS)) $(if $(EPOCHS),--epochs $(EPOCHS))
	$(Q)/usr/bin/python3 deploy/models/paper.py render

.PHONY: bench-decide
bench-decide: $(BUILD)/tests/sim/decide_sim
	@mkdir -p $(BUILD)/bench
	@$< tests/sim/data/pairs.csv $(BUILD)/bench $(TRACES) >$(BUILD)/bench/decide-table.txt; status=$$?; \
		cat $(BUILD)/bench/decide-table.txt; exit $$status
sanitize check-long:
	@deploy/setup.sh
	@tests/sanitize.sh

# libFuzzer comes with clang; its build has a folder of its own.
.PHONY: fuzz fuzz-targets
fuzz-targets: $(FUZZ_BIN)
fuzz:
	@command -v clang >/dev/null || { echo 'make fuzz needs clang'; exit 1; }
	@deploy/setup.sh
	@$(MAKE) --no-print-directory $(JOBS) CC=clang SANITIZE=fuzzer,address,undefined BUILD=build-fuzz fuzz-targets
	@BUILD=build-fuzz tests/fuzz/run.sh

# ---- install ----
.PHONY: install uninstall clean format-check help
install: all
	@LIBS_PRIVATE="$(LIBS_wire) -lm" deploy/install.sh install
uninstall:
	@deploy/install.sh uninstall
clean:
	rm -rf build build-*
format-check:
	@tests/check_format.sh
help:
	@echo 'make                 build/bin/{$(subst $() ,$(comma),$(PROGRAMS))} and build/lib/libtandem.{so,a}'
	@echo 'make demo            installs what is missing, builds, and shows the main job on this machine'
	@echo 'make check           the same set-up, then every test; the last line says how many passed and failed'
	@echo 'make check-long      unit, golden and integration tests under the sanitizers'
	@echo 'make fuzz            every fuzz target with libFuzzer (clang), FUZZ_SECONDS=60 each, one after the other'
	@echo 'make bench           round trips of a connection and of whole requests next to bare echoes, the time of a decision, the engine, and KV memory'
	@echo 'make paper DATA=DIR  the table of projections: trained with PyTorch, measured by the engine (deploy/models/paper)'
	@echo 'make bench-decide    policies on emulated links, TRACES=DIR adds recorded ones: build/bench/decide.csv and pictures'
	@echo 'make unit-ROOM       one room of: $(ROOMS)'
	@echo 'make install         DESTDIR= PREFIX=$(PREFIX) SYSCONFDIR=$(SYSCONFDIR) LIBDIR=$(LIBDIR); make uninstall'
	@echo 'make configs         writes deploy/config/*.conf and the keys in tandem.conf(5) from the tables in the code'
	@echo 'make format-check    names the files that clang-format would change'
	@echo 'make clean           removes build and build-*'
	@echo 'V=1 shows commands; SANITIZE=address,undefined or SANITIZE=thread builds in build-address-undefined or build-thread'

-include $(shell find $(BUILD) -name '*.d' -type f 2>/dev/null)
