/* SPDX-License-Identifier: MIT
 *
 * What the servers here have in common: options, a runtime, TLS, a listener, and a clean end.
 *
 *   NAME [--port N] [--address A] [--tls [--cert FILE --key FILE] [--ca FILE]] [--config FILE]
 *
 * With --tls and no --cert a certificate is made and its fingerprint said; with --ca clients must
 * have a certificate of that CA. SIGHUP reads the files again. SIGTERM and SIGINT end the program:
 * status 0. 1: something failed, 2: wrong options.
 */
#ifndef SERVER_H
#define SERVER_H

#include <weft/weft.h>

typedef struct server {
    const char *name;
    const char *port;           /* when none is given */
    weft_type_def type;         /* of the connections */
    weft_stream_options stream; /* theirs, too */
    /* Both may be NULL. Before files and variables are read: defaults of the program's own. */
    void (*configure)(weft_config *config);
    /* Before it listens: registers more types, ... 0, or what is wrong. */
    int (*prepare)(weft_runtime *runtime, void *arg);
    void *arg; /* for prepare; when set, this pointer is also the argument of connections' init */
} server;

int server_main(const server *self, int argc, char **argv);

#endif
