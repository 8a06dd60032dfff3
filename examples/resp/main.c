/* SPDX-License-Identifier: MIT
 *
 * A server of the Redis protocol in which every key is a virtual actor: see docs/resp.md. Options,
 * signals and results: see server.h.
 */
#include "connection.h"

#include "../server.h"
#include "channel.h"
#include "key.h"
#include "walk.h"

#include <stdlib.h>
#include <string.h>

enum { REQUEST_SLACK = 65536 };
#define BULK_MAX (UINT64_C(512) * 1024 * 1024)

static int prepare(weft_runtime *runtime, void *arg) {
    static const char hex[] = "0123456789abcdef";
    resp *self = (resp *)arg;
    uint64_t bits = weft_runtime_node(runtime);
    for (size_t i = 0; i + 1 < sizeof(self->run_id); i++) {
        self->run_id[i] = hex[bits >> 60];
        bits = bits * UINT64_C(6364136223846793005) + 1;
    }
    self->runtime = runtime;
    self->started_ms = resp_now_ms();
    self->limits = (parser_limits){.bulk_max = BULK_MAX, .request_max = BULK_MAX + REQUEST_SLACK};
    int rc = weft_capability_add(runtime, "resp", &self->capability);
    weft_type_def keys = key_type;
    keys.cookie = self;
    rc = rc < 0 ? rc : weft_type_register(runtime, &keys, &self->key);
    rc = rc < 0 ? rc : weft_type_register(runtime, &channel_type, &self->channel);
    return rc < 0 ? rc : weft_type_register(runtime, &walk_type, &self->walk);
}

/* A message holds what one argument may. */
static void configure(weft_config *config) {
    config->message_bytes_max = BULK_MAX + 2 * REQUEST_SLACK;
}

int main(int argc, char **argv) {
    resp *shared = aligned_alloc(alignof(resp), sizeof(*shared));
    if (shared == NULL) {
        return 1;
    }
    memset(shared, 0, sizeof(*shared));
    const server program = {.name = "resp",
                            .port = "6379",
                            .type = connection_type,
                            .stream = connection_stream,
                            .configure = configure,
                            .prepare = prepare,
                            .arg = shared};
    int status = server_main(&program, argc, argv);
    free(shared);
    return status;
}
