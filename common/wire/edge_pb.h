/* edge_pb.h: what the message files of edge.proto share. Inside common/wire only. */
#ifndef TANDEM_WIRE_EDGE_PB_H
#define TANDEM_WIRE_EDGE_PB_H

#include "common/base/limits.h"
#include "common/wire/edge_msg.h"
#include "common/wire/pb.h"
#include "edge.pb-c.h"

/* A NULL message (a peer that left it out) is an idle server of unknown speed. */
int edge_pb_load_load(const Tandem__Edge__Load *message, struct edge_load *ret_load);
int edge_pb_load_store(const struct edge_load *load, Tandem__Edge__Load *message);

#endif
