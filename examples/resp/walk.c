/* SPDX-License-Identifier: MIT
 *
 * Walks over all keys: see walk.h.
 */
#include "walk.h"

#include "glob.h"
#include "key.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    SLICE_KEYS = 512,  /* looked at in one turn and asked at a time */
    HEAD_BYTES = 64,   /* room for the head of an array whose size is known last */
    WALKS_MAX = 3,     /* FLUSHALL tries again when it could not ask every key */
    TAG_GO_ON = 1 << 8 /* to itself */
};

/* A key that is asked whether it exists: its actor may be about to end. */
typedef struct candidate {
    size_t at; /* in names */
    size_t size;
} candidate;

typedef struct walk {
    resp *shared;
    weft_msg *job;
    weft_vcursor *cursor; /* NULL: at the end */
    reply found;          /* HEAD_BYTES, and then the keys */
    uint64_t count;       /* of found */
    uint32_t asked;       /* keys that have not answered yet */
    uint32_t candidate_count;
    reply names; /* of the candidates */
    candidate candidates[SLICE_KEYS];
    uint32_t walks;
    bool missed; /* some key could not be asked */
} walk;

int walk_call(weft_ctx *ctx, resp *self, enum walk_tag tag, const slice *pattern, uint64_t token) {
    weft_pid pid;
    slice all = {"*", 1};
    int rc = weft_spawn(ctx, self->walk, &self, sizeof(self), &pid);
    if (rc < 0) {
        return rc;
    }
    pattern = pattern != NULL ? pattern : &all;
    return weft_call(ctx, pid, tag, pattern->data, pattern->size, WEFT_TIMEOUT_NEVER, token);
}

/* ---- answers --------------------------------------------------------------------------------- */

static void free_found(void *data, size_t size, void *cookie) {
    (void)size;
    (void)cookie;
    free(data);
}

/* The keys, with the head that belongs before them. */
static int answer_found(weft_ctx *ctx, walk *self) {
    char first[HEAD_BYTES];
    reply head;
    weft_buf *buf = NULL;
    reply_init(&head, 2, first, sizeof(first));
    if (weft_msg_tag(self->job) == WALK_SCAN) {
        reply_array(&head, 2);
        reply_bulk(&head, "0", 1);
    }
    reply_array(&head, self->count);
    if (self->found.failed || self->names.failed || self->missed || head.failed ||
        head.size > HEAD_BYTES) {
        return weft_reply_error(ctx, &self->job, -ENOMEM);
    }
    size_t offset = HEAD_BYTES - head.size;
    memcpy(self->found.data + offset, head.data, head.size);
    int rc = weft_buf_wrap(self->shared->runtime, self->found.data, self->found.size, free_found,
                           NULL, &buf);
    if (rc < 0) {
        return weft_reply_error(ctx, &self->job, rc);
    }
    size_t size = self->found.size - offset;
    self->found = (reply){.protocol = 2}; /* the buffer has its memory now */
    rc = weft_reply_buf(ctx, &self->job, 0, buf, offset, size);
    weft_buf_unref(buf);
    return rc;
}

static int finish(weft_ctx *ctx, walk *self) {
    int rc = 0;
    if (weft_msg_tag(self->job) != WALK_FLUSH) {
        rc = answer_found(ctx, self);
    } else if (self->missed) {
        rc = weft_reply_error(ctx, &self->job, -ENOMEM);
    } else {
        rc = weft_reply(ctx, &self->job, 0, "+OK\r\n", 5);
    }
    (void)rc; /* nobody may wait any more */
    return WEFT_STOP;
}

/* ---- the walk -------------------------------------------------------------------------------- */

static bool ask(weft_ctx *ctx, walk *self, const slice *name, enum command_number number) {
    const key_request request = {.command = &commands[number], .key = *name, .protocol = 2};
    int rc = key_call(ctx, self->shared, &request, self->candidate_count);
    self->asked += rc == 0 ? 1 : 0;
    self->missed = self->missed || (rc < 0 && rc != WEFT_E_INACTIVE);
    return rc == 0;
}

static void visit(weft_ctx *ctx, walk *self, const slice *name) {
    if (weft_msg_tag(self->job) == WALK_FLUSH) {
        (void)ask(ctx, self, name, COMMAND_DEL); /* what failed is noted */
        return;
    }
    slice pattern = {weft_msg_data(self->job), weft_msg_size(self->job)};
    if (glob_matches(&pattern, name, false) && ask(ctx, self, name, COMMAND_EXISTS)) {
        self->candidates[self->candidate_count++] = (candidate){self->names.size, name->size};
        reply_raw(&self->names, name->data, name->size);
    }
}

/* A key has answered: to DEL, or to EXISTS with how many there are. */
static void answered(walk *self, const weft_msg *msg) {
    uint64_t index = weft_msg_token(msg);
    self->asked--;
    self->missed = self->missed || weft_msg_status(msg) < 0;
    if (weft_msg_tag(self->job) == WALK_FLUSH || weft_msg_size(msg) < 2 ||
        memcmp(weft_msg_data(msg), ":1", 2) != 0 || self->names.failed) {
        return;
    }
    const candidate *key = &self->candidates[index];
    reply_bulk(&self->found, self->names.data + key->at, key->size);
    self->count++;
}

static int begin(walk *self) {
    self->walks++;
    self->missed = false;
    return weft_vcursor_create(self->shared->runtime, self->shared->key, &self->cursor);
}

static int go_on(weft_ctx *ctx, walk *self) {
    weft_ventry entry = {.struct_size = WEFT_VENTRY_INIT};
    int rc = 1;
    self->candidate_count = 0;
    self->names.size = 0;
    for (uint32_t i = 0; i < SLICE_KEYS && rc == 1; i++) {
        rc = weft_vcursor_next(self->cursor, &entry);
        if (rc == 1) {
            slice name = {entry.id, entry.id_size};
            visit(ctx, self, &name);
        }
    }
    self->missed = self->missed || rc < 0;
    if (rc != 1) {
        weft_vcursor_destroy(&self->cursor);
    }
    return self->asked > 0 ? WEFT_CONTINUE /* their answers come */
                           : weft_send(ctx, weft_self(ctx), TAG_GO_ON, NULL, 0);
}

/* A slice is over and every key that was asked has answered. */
static int next(weft_ctx *ctx, walk *self) {
    if (self->cursor == NULL) {
        bool again = weft_msg_tag(self->job) == WALK_FLUSH && self->missed;
        if (!again || self->walks == WALKS_MAX || begin(self) < 0) {
            return finish(ctx, self);
        }
    }
    return go_on(ctx, self);
}

static int begin_job(weft_ctx *ctx, walk *self, weft_msg *msg) {
    self->job = weft_msg_take(ctx, msg);
    reply_init(&self->found, 2, NULL, 0);
    reply_init(&self->names, 2, NULL, 0);
    if (reply_reserve(&self->found, HEAD_BYTES) == NULL) {
        return -ENOMEM; /* the request is answered when this actor has ended */
    }
    self->found.size = HEAD_BYTES;
    int rc = begin(self);
    return rc < 0 ? rc : go_on(ctx, self);
}

static int walk_receive(weft_ctx *ctx, void *state, weft_msg *msg) {
    walk *self = (walk *)state;
    switch (weft_msg_kind(msg)) {
    case WEFT_MSG_REQUEST:
        return self->job == NULL ? begin_job(ctx, self, msg) : WEFT_CONTINUE;
    case WEFT_MSG_REPLY:
        answered(self, msg);
        return self->asked == 0 ? next(ctx, self) : WEFT_CONTINUE;
    case WEFT_MSG_USER:
        return self->job != NULL && self->asked == 0 ? next(ctx, self) : WEFT_CONTINUE;
    default:
        return WEFT_CONTINUE;
    }
}

static int walk_init(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    walk *self = (walk *)state;
    (void)ctx;
    if (arg_size != sizeof(self->shared)) {
        return -EINVAL;
    }
    memcpy(&self->shared, arg, sizeof(self->shared));
    return WEFT_CONTINUE;
}

static void walk_terminate(weft_ctx *ctx, void *state, int reason) {
    walk *self = (walk *)state;
    (void)ctx;
    (void)reason;
    weft_vcursor_destroy(&self->cursor);
    reply_free(&self->found);
    reply_free(&self->names);
}

const weft_type_def walk_type = {.struct_size = WEFT_TYPE_DEF_INIT,
                                 .name = "resp.walk",
                                 .state_size = sizeof(walk),
                                 .init = walk_init,
                                 .receive = walk_receive,
                                 .terminate = walk_terminate};
