# Tandem. `make help` lists what can be made. Rooms and their order: see README.md, "Reading tour".
#
#   V=1                      show the commands
#   SANITIZE=address,undefined | thread    instrumented build (use another BUILD directory)
#   BUILD=build PREFIX=/usr DESTDIR=       where things go

CC ?= gcc
AR ?= ar
PKG_CONFIG ?= pkg-config
PROTOC_C ?= protoc-c
BUILD ?= build
PREFIX ?= /usr
DESTDIR ?=
V ?= 0
Q = $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V)),@:,@printf '  %-7s %s\n')

VERSION = 0.1.0
OPT ?= -O2 -g
WARN = -Wall -Wextra -Wpedantic -Wshadow -Wconversion
HARDEN = -fstack-protector-strong -fPIC
LINK_HARDEN = -Wl,-z,relro,-z,now
SANITIZE ?=
ifneq ($(SANITIZE),)
SAN = -fsanitize=$(SANITIZE) -fno-omit-frame-pointer
else
SAN =
HARDEN += -D_FORTIFY_SOURCE=2
endif
DEFS = -D_GNU_SOURCE -DTANDEM_VERSION='"$(VERSION)"'
CFLAGS ?= $(OPT)
ALL_CFLAGS = -std=c11 $(CFLAGS) $(WARN) $(HARDEN) $(SAN) $(DEFS) -I. -I$(BUILD)/gen -Iclient/include -MMD -MP
ALL_LDFLAGS = $(LDFLAGS) $(LINK_HARDEN) $(SAN)

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

LIBS_base   = $(shell $(PKG_CONFIG) --libs inih libxxhash) -lm
LIBS_engine = $(shell $(PKG_CONFIG) --libs openblas libjpeg spng) -lpthread
LIBS_wire   = $(shell $(PKG_CONFIG) --libs libprotobuf-c)
LIBS_stream = -lnng $(shell $(PKG_CONFIG) --libs libuv libssl libcrypto) -lpthread
LIBS_ctl    = $(shell $(PKG_CONFIG) --libs libcjson)

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
archives = $(foreach r,$(ON_$(1)),$(call A,$(r)))
libs = $(foreach r,$(ON_$(1)),$(LIBS_$(r)))

BINS = $(addprefix $(BUILD)/bin/,tandem-server tandem-client tandemctl tandem-model)

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
	$$(Q)$$(CC) $$(ALL_LDFLAGS) -o $$@ $$^ $(call libs,$(3))
endef
$(eval $(call bin_rules,tandem-server,server,server))
$(eval $(call bin_rules,tandem-client,client/daemon,daemon))
$(eval $(call bin_rules,tandemctl,client/ctl,ctl))
$(eval $(call bin_rules,tandem-model,common/model,model))

$(BUILD)/obj/%.o: %.c | $(PROTO_C)
	$(say) CC $<
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -c -o $@ $<

$(BUILD)/gen/%.pb-c.c: proto/%.proto
	$(say) PROTO $<
	@mkdir -p $(@D)
	$(Q)$(PROTOC_C) --proto_path=proto --c_out=$(BUILD)/gen $<
$(BUILD)/gen/%.pb-c.o: $(BUILD)/gen/%.pb-c.c | $(PROTO_C)
	$(Q)$(CC) -std=c11 $(CFLAGS) $(HARDEN) $(SAN) -I$(BUILD)/gen -c -o $@ $<

# libtandem: the library with the wire and base code it uses, everything but tandem_* hidden.
$(BUILD)/lib/libtandem.so: $(call archives,lib) client/lib/libtandem.map
	$(say) LD $@
	$(Q)$(CC) -shared $(ALL_LDFLAGS) -Wl,-soname,libtandem.so.0 -Wl,--version-script=client/lib/libtandem.map \
	  -Wl,--whole-archive $(call A,lib) -Wl,--no-whole-archive $(call A,wire) $(call A,base) -Wl,--no-undefined -o $@ $(call libs,lib)

# ---- tests ----
UNIT_SRC := $(wildcard tests/unit/*/test_*.c)
UNIT_BIN := $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(UNIT_SRC))
define unit_rules
$(BUILD)/tests/$(1)/test_%: tests/unit/$(1)/test_%.c $(call archives,$(1))
	$$(say) TEST $$<
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(ALL_CFLAGS) $$(ALL_LDFLAGS) -o $$@ $$< $(call archives,$(1)) $$(shell $$(PKG_CONFIG) --libs cmocka) $(call libs,$(1))
.PHONY: unit-$(1)
unit-$(1): $(filter $(BUILD)/tests/$(1)/%,$(UNIT_BIN))
	@for t in $$^; do echo "== $$$$t"; $$$$t || exit 1; done
endef
$(foreach r,$(ROOMS),$(eval $(call unit_rules,$(r))))

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
