/* SPDX-License-Identifier: MIT
 *
 * What the tests of TLS share: certificates as files, and pairs of sessions. A pair is a client and
 * a server whose records go from one to the other through memory, in pieces as the test wants. A
 * piece is a block of its own that is freed as soon as the session says it needs more, so a
 * sanitizer sees when a session keeps a pointer into it.
 */
#ifndef WEFT_TESTS_UNIT_TLS_PAIR_H
#define WEFT_TESTS_UNIT_TLS_PAIR_H

#include "io/tls.h"
#include "support.h"
#include "tls_certs.h"

#include <sys/stat.h>

enum { FOLDER_BYTES = 128, PATH_BYTES = 256, PIECE_WHOLE = 0 };

/* ---- files --------------------------------------------------------------------------------- */

struct files {
    char folder[FOLDER_BYTES];
};

static inline const char *file_path(const struct files *files, const char *name, char *ret_path) {
    snprintf(ret_path, PATH_BYTES, "%s/%s", files->folder, name);
    return ret_path;
}

static inline void file_put(const struct files *files, const char *name, const char *text) {
    char path[2 * PATH_BYTES];
    snprintf(path, sizeof(path), "%s/%s", files->folder, name);
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert(fputs(text, file) >= 0);
    ck_assert_int_eq(fclose(file), 0);
}

static const struct {
    const char *name;
    const char *text;
} files_all[] = {
    {"authority.pem", pem_authority},
    {"stranger.pem", pem_stranger},
    {"server.pem", pem_server},
    {"server.key", key_server},
    {"client.pem", pem_client},
    {"client.key", key_client},
    {"rsa.pem", pem_rsa},
    {"rsa.key", key_rsa},
    {"expired.pem", pem_expired},
    {"expired.key", key_expired},
    {"future.pem", pem_future},
    {"future.key", key_future},
    {"foreign.pem", pem_foreign},
    {"foreign.key", key_foreign},
    {"chain.pem", pem_chain},
    {"chain.key", key_deep},
    {"namer.pem", pem_namer},
    {"loose.pem", pem_loose},
    {"loose.key", key_server},
    {"common.pem", pem_common},
    {"common.key", key_server},
    {"pss.pem", pem_pss},
    {"pss.key", key_pss},
};
enum { FILES_ALL = sizeof(files_all) / sizeof(files_all[0]) };

static inline struct files files_make(void) {
    struct files files;
    const char *place = getenv("TMPDIR");
    snprintf(files.folder, sizeof(files.folder), "%s/weft-tls-XXXXXX",
             place != NULL ? place : P_tmpdir);
    ck_assert_ptr_nonnull(mkdtemp(files.folder));
    for (uint32_t i = 0; i < FILES_ALL; i++) {
        file_put(&files, files_all[i].name, files_all[i].text);
    }
    return files;
}

static inline void files_remove(const struct files *files) {
    char path[2 * PATH_BYTES];
    for (uint32_t i = 0; i < FILES_ALL; i++) {
        snprintf(path, sizeof(path), "%s/%s", files->folder, files_all[i].name);
        (void)unlink(path); /* the test may have removed it */
    }
    snprintf(path, sizeof(path), "%s/%s", files->folder, "extra.pem");
    (void)unlink(path);         /* few tests make it */
    (void)rmdir(files->folder); /* a folder that stays is seen by people, not by the test */
}

/* ---- configurations ------------------------------------------------------------------------ */

/* Everything a test of TLS begins with. */
struct stage {
    struct rig rig;
    struct files files;
    char paths[3][PATH_BYTES]; /* of the options made last */
};

static inline struct stage stage_set(void) {
    struct stage stage;
    memset(&stage, 0, sizeof(stage));
    stage.rig = rig_start(1);
    stage.files = files_make();
    return stage;
}

static inline void stage_clear(struct stage *stage) {
    files_remove(&stage->files);
    rig_stop(&stage->rig);
}

/* identity: "server" for server.pem and server.key, "self:NAME" to generate, NULL: none. authority:
 * a file of the stage without its ending, or NULL. */
static inline weft_tls_options options_of(struct stage *stage, const char *identity,
                                          const char *authority) {
    weft_tls_options options = {.struct_size = WEFT_TLS_OPTIONS_INIT};
    char name[64];
    if (identity != NULL && strncmp(identity, "self:", 5) == 0) {
        options.self_name = identity + 5;
    } else if (identity != NULL) {
        snprintf(name, sizeof(name), "%s.pem", identity);
        options.cert_file = file_path(&stage->files, name, stage->paths[0]);
        snprintf(name, sizeof(name), "%s.key", identity);
        options.key_file = file_path(&stage->files, name, stage->paths[1]);
    }
    if (authority != NULL) {
        snprintf(name, sizeof(name), "%s.pem", authority);
        options.ca_file = file_path(&stage->files, name, stage->paths[2]);
    }
    return options;
}

static inline weft_tls *tls_of(struct stage *stage, const weft_tls_options *options) {
    weft_tls *tls = NULL;
    weft_tls_error error;
    int result = weft_tls_create(stage->rig.runtime, options, &tls, &error);
    ck_assert_msg(result == 0, "weft_tls_create: %s", error.text);
    ck_assert_ptr_nonnull(tls);
    return tls;
}

/* ---- pairs --------------------------------------------------------------------------------- */

struct wire {
    unsigned char *bytes;
    size_t size; /* put so far */
    size_t used; /* taken so far */
    size_t capacity;
};

static inline void wire_put(struct wire *wire, const void *data, size_t size) {
    if (wire->size + size > wire->capacity) {
        wire->capacity = 2 * (wire->size + size);
        wire->bytes = realloc(wire->bytes, wire->capacity);
        ck_assert_ptr_nonnull(wire->bytes);
    }
    memcpy(wire->bytes + wire->size, data, size);
    wire->size += size;
}

static inline size_t wire_left(const struct wire *wire) {
    return wire->size - wire->used;
}

struct party {
    struct weft__tls_session *session;
    struct wire sent; /* records for the other */
    struct wire got;  /* what was decrypted */
    int result;       /* of the handshake: 0 not yet, 1 established, negative: failed */
    int read_result;  /* 0, WEFT__TLS_END or the error */
    int emit_result;  /* what emit shall answer */
    uint32_t emits;
};

struct pair {
    struct party client;
    struct party server;
    size_t piece; /* largest piece, in bytes; PIECE_WHOLE: all there is */
    uint64_t seed;
};

static inline uint64_t pair_random(struct pair *pair) {
    pair->seed = pair->seed * 6364136223846793005u + 1442695040888963407u;
    return pair->seed >> 33;
}

static inline int party_emit(void *cookie, const void *data, size_t size) {
    struct party *party = cookie;
    party->emits++;
    if (party->emit_result < 0) {
        return party->emit_result;
    }
    wire_put(&party->sent, data, size);
    return 0;
}

static inline void party_open(struct party *party, weft_tls *tls, bool server, const char *name) {
    struct weft__tls_setup setup = {
        .tls = tls, .server = server, .name = name, .emit = party_emit, .cookie = party};
    ck_assert_int_eq(weft__tls_open(&setup, &party->session), 0);
}

/* Lets a party use what it was fed. */
static inline void party_drain(struct party *party) {
    unsigned char data[20000];
    if (party->result == 0) {
        party->result = weft__tls_handshake(party->session);
    }
    if (party->result != 1 || party->read_result != 0) {
        return;
    }
    for (;;) {
        int got = weft__tls_read(party->session, data, sizeof(data));
        if (got <= 0 && got != WEFT__TLS_END) {
            party->read_result = got;
            return;
        }
        if (got == WEFT__TLS_END) {
            party->read_result = WEFT__TLS_END;
            return;
        }
        wire_put(&party->got, data, (size_t)got);
    }
}

/* Feeds a piece of a wire. */
static inline void party_take(struct party *party, struct wire *wire, size_t size) {
    unsigned char *piece = malloc(size);
    ck_assert_ptr_nonnull(piece);
    memcpy(piece, wire->bytes + wire->used, size);
    wire->used += size;
    int result = weft__tls_feed(party->session, piece, size);
    if (result != 0 && party->result == 0) {
        party->result = result;
    }
    if (result != 0 && party->read_result == 0) {
        party->read_result = result;
    }
    party_drain(party);
    memset(piece, 0xdd, size);
    free(piece);
}

static inline size_t pair_piece(struct pair *pair, size_t left) {
    size_t most = pair->piece == PIECE_WHOLE || pair->piece > left ? left : pair->piece;
    return pair->piece == PIECE_WHOLE || most == 1 ? most : 1 + pair_random(pair) % most;
}

/* Passes records on until there are none. */
static inline void pair_run(struct pair *pair) {
    while (wire_left(&pair->client.sent) > 0 || wire_left(&pair->server.sent) > 0) {
        size_t left = wire_left(&pair->client.sent);
        if (left > 0) {
            party_take(&pair->server, &pair->client.sent, pair_piece(pair, left));
        }
        left = wire_left(&pair->server.sent);
        if (left > 0) {
            party_take(&pair->client, &pair->server.sent, pair_piece(pair, left));
        }
    }
}

static inline void pair_open(struct pair *pair, weft_tls *client, weft_tls *server,
                             const char *name) {
    size_t piece = pair->piece;
    memset(pair, 0, sizeof(*pair));
    pair->piece = piece;
    pair->seed = 42;
    party_open(&pair->client, client, false, name);
    party_open(&pair->server, server, true, NULL);
}

/* Opens, and runs the handshake to its end or failure. */
static inline void pair_meet(struct pair *pair, weft_tls *client, weft_tls *server,
                             const char *name) {
    pair_open(pair, client, server, name);
    party_drain(&pair->client);
    pair_run(pair);
}

static inline void party_close(struct party *party) {
    weft__tls_close(&party->session);
    ck_assert_ptr_null(party->session);
    free(party->sent.bytes);
    free(party->got.bytes);
    memset(party, 0, sizeof(*party));
}

static inline void pair_close(struct pair *pair) {
    party_close(&pair->client);
    party_close(&pair->server);
}

static inline weft_tls_error party_error(const struct party *party) {
    weft_tls_error error;
    weft__tls_error(party->session, &error);
    return error;
}

static inline weft_tls_info party_info(const struct party *party) {
    weft_tls_info info = {.struct_size = WEFT_TLS_INFO_INIT};
    ck_assert_int_eq(weft__tls_inspect(party->session, &info), 0);
    return info;
}

/* Bytes that differ from place to place. */
static inline void fill(unsigned char *data, size_t size, uint32_t seed) {
    uint32_t state = seed * 2654435761u + 1;
    for (size_t i = 0; i < size; i++) {
        state = state * 1664525u + 1013904223u;
        data[i] = (unsigned char)(state >> 24);
    }
}

/* Writes size bytes on one side and sees them come out on the other. */
static inline void pair_transfer(struct pair *pair, struct party *from, struct party *to,
                                 size_t size) {
    unsigned char *data = malloc(size);
    ck_assert_ptr_nonnull(data);
    fill(data, size, (uint32_t)size + from->emits);
    size_t before = to->got.size;
    ck_assert_int_eq(weft__tls_write(from->session, data, size), 0);
    pair_run(pair);
    ck_assert_uint_eq(to->got.size - before, size);
    ck_assert_mem_eq(to->got.bytes + before, data, size);
    free(data);
}

#endif
