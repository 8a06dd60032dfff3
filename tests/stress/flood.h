/* SPDX-License-Identifier: MIT
 *
 * What the two halves of the flood program share. flood.c is the server and decides what happens;
 * flood_client.c are processes that hold the other ends of its connections, each with descriptors
 * of its own, so that one limit does not have to be enough for both ends. The server gives orders,
 * all clients follow one at the same time, and each reports when it is done.
 *
 * The processes are forked before the runtime exists, and die with the server.
 */
#ifndef WEFT_TESTS_STRESS_FLOOD_H
#define WEFT_TESTS_STRESS_FLOOD_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

enum {
    CLIENTS = 4,
    TIME_MAX_S = 500, /* of every process: whatever hangs ends then */
};
#define S_NS UINT64_C(1000000000)

#define REQUIRE(condition, ...)                                                                    \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition);                        \
            fprintf(stderr, __VA_ARGS__);                                                          \
            fputc('\n', stderr);                                                                   \
            exit(EXIT_FAILURE);                                                                    \
        }                                                                                          \
    } while (0)

enum client_verb {
    CLIENT_CONNECT = 1, /* count more connections; those that have answered are asked meanwhile */
    CLIENT_NOTICE = 2,  /* finds and lets go of those that were refused, without sending */
    CLIENT_ASK = 3,     /* every connection that is held must answer */
    CLIENT_CLOSE = 4,   /* the last count of those that are held, or CLIENT_ALL */
    CLIENT_RESET = 5,   /* makes count connections that are reset at every stage of their lives */
};

#define CLIENT_ALL UINT32_MAX

struct client_order {
    uint32_t verb;  /* enum client_verb */
    uint32_t count; /* of all clients together */
    uint16_t echo;  /* ports */
    uint16_t writer;
};

/* Totals since the beginning, of one client or of all. */
struct client_report {
    uint32_t held;    /* connections that are open as far as is known */
    uint32_t refused; /* connections that ended with an error or an end before they were used */
};

struct client {
    pid_t pid;
    int link; /* a socket: orders one way, reports the other */
};

/* Forks CLIENTS processes, which can hold capacity connections together. Before the program has
 * any other thread. */
void clients_start(struct client *clients, uint32_t capacity);
/* All follow the order, each does its share of it; the sum of what they report. */
struct client_report clients_order(const struct client *clients, const struct client_order *order);
/* Ends them, and requires that each of them was content. */
void clients_end(struct client *clients);

void nap(uint64_t ns);

#endif
