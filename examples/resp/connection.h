/* SPDX-License-Identifier: MIT
 *
 * A connection: an actor of a stream that reads requests, has them executed, and writes the replies
 * in the order of the requests. connection.c moves the bytes, request.c decides what a request
 * becomes, client.c answers what concerns the connection itself (HELLO, CLIENT, ...), subscribe.c
 * has its channels.
 *
 * What one client can make the server keep is bounded: requests under way and their bytes, what it
 * has sent and is not parsed yet, and the replies it does not read. When a bound is reached, nothing
 * is parsed and then nothing read until there is room again.
 */
#ifndef EXAMPLES_RESP_CONNECTION_H
#define EXAMPLES_RESP_CONNECTION_H

#include "command.h"
#include "resp.h"
#include "slots.h"

extern const weft_type_def connection_type;
extern const weft_stream_options connection_stream;

enum {
    OUTPUT_FIRST = 512,                  /* bytes of replies that need no memory of their own */
    OUTPUT_FLUSH = 16 * 1024,            /* so many are written at once */
    PUSHES_MAX = 32 * 1024 * 1024,       /* bytes a subscriber may leave unread */
    REQUEST_BYTES_MAX = 4 * 1024 * 1024, /* of requests under way */
    REPLY_BYTES_MAX = 4 * 1024 * 1024,   /* of their replies, as far as one can tell */
    REPLY_SIZE_LEAST = 16 * 1024,        /* larger replies make fewer requests go at a time */
};

/* What the REPLY to a call of the connection's is: in the token, above the number of the slot. */
enum answer_kind {
    ANSWER_REPLY,  /* in the protocol's form */
    ANSWER_NUMBER, /* an int64_t */
    ANSWER_CHANNEL /* a channel was joined or left */
};
enum { ANSWER_SHIFT = 56 };

typedef struct subscriptions {
    slice *names; /* owned */
    uint32_t count;
    uint32_t capacity;
    slice moving; /* what is being joined or left; owned */
    bool joins;
} subscriptions;

typedef struct connection {
    resp *shared;
    parser parser;
    slots slots;
    reply out; /* replies to write; its protocol is the client's */
    char out_first[OUTPUT_FIRST];
    /* what has come and is not parsed */
    char *input;
    size_t input_at; /* parsed up to here */
    size_t input_size;
    size_t input_capacity;
    /* flow */
    budget *budget;        /* of its long replies: the keys see to it */
    uint64_t reply_size;   /* what to expect of a reply */
    uint64_t pushed_bytes; /* since the stream is full */
    uint32_t parts_sent;   /* of the request that is being executed */
    bool waits;            /* for the slots to become empty: nothing is executed before */
    bool held_back;        /* a key has put a request off */
    bool stopped;          /* there is something left to execute */
    bool full;             /* the stream */
    bool paused;           /* nothing is read */
    bool ended;            /* the client sends no more */
    bool closing;          /* nothing is executed any more; closes after the last reply */
    bool closed;
    bool flush_sent; /* a message to itself that makes it write */
    /* the client */
    uint64_t id;
    int64_t since_ms;
    slice name; /* of CLIENT SETNAME; owned */
    subscriptions channels;
} connection;

/* ---- connection.c ---------------------------------------------------------------------------- */

/* May one more request go? */
bool connection_has_room(const connection *self);

/* ---- request.c ------------------------------------------------------------------------------- */

/* A reply that is known at once. It goes out directly when nothing is under way, or into a slot. */
typedef struct answer {
    reply *out; /* to write it to */
    reply own;
    enum slot_part part;
    char first[OUTPUT_FIRST];
} answer;
void answer_begin(connection *self, answer *local, enum slot_part part);
void answer_end(connection *self, answer *local);
/* The reply to a call that could not be made or was not answered. */
void answer_status(reply *out, int status);

/* Executes the parser's request, or what is left of it. False: not all of it could go; once more when
 * nothing is under way. */
bool request_execute(weft_ctx *ctx, connection *self);

/* ---- client.c -------------------------------------------------------------------------------- */

/* Commands that concern the connection and are answered at once. */
void client_execute(weft_ctx *ctx, connection *self, const command *which, reply *out);
void client_reset(weft_ctx *ctx, connection *self);

/* ---- subscribe.c ----------------------------------------------------------------------------- */

/* SUBSCRIBE and UNSUBSCRIBE, a channel at a time, so that no message comes before the reply that
 * says it would. False: as request_execute. */
bool subscribe_execute(weft_ctx *ctx, connection *self, bool joins);
/* The channel has answered. */
void subscribe_answered(connection *self, int status, reply *out);
/* Leaves all channels, without telling the client. */
void subscribe_leave(weft_ctx *ctx, connection *self);

#endif
