/* SPDX-License-Identifier: MIT
 *
 * What the server says about itself: INFO, CONFIG, COMMAND, DBSIZE, the answer to HELLO.
 */
#ifndef EXAMPLES_RESP_SERVER_INFO_H
#define EXAMPLES_RESP_SERVER_INFO_H

#include "connection.h"

/* The version of Redis whose commands these are. */
#define SERVER_INFO_VERSION "7.0.15"

/* False: it is none of these commands. */
bool server_info_execute(weft_ctx *ctx, connection *self, const command *which, reply *out);
void server_info_hello(uint64_t client_id, reply *out);
/* Answers a HELP: what there is of this command's subcommands. lines ends with a NULL. */
void server_info_help(const parser *request, const char *const *lines, reply *out);
/* A subcommand there is not. */
void server_info_unknown(const slice *name, const slice *word, reply *out);

#endif
