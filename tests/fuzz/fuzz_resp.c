/* SPDX-License-Identifier: MIT
 *
 * Fuzz target (libFuzzer) for the parser of examples/resp. The first byte says how the rest is split;
 * the rest is what a client sends.
 *
 * Beside what the sanitizers see, each input checks: requests, and the error at the end, do not
 * depend on the split nor on where the bytes lie; every argument lies within its request or is no
 * longer than it; limits hold; nothing moves backwards.
 *
 *   clang -fsanitize=fuzzer,address,undefined ... && ./fuzz_resp tests/fuzz/corpus/resp
 */
#include "core/defs.h"

#include "examples/resp/parser.h"

#include <stdlib.h>
#include <string.h>

enum { INPUT_BYTES_MAX = 1 << 17, BULK_MAX = 4096, REQUEST_MAX = 65536 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Everything that was read, in a form that can be compared. */
struct trace {
    uint64_t hash;
    uint64_t requests;
    size_t used; /* bytes of whole requests */
    char error[PARSER_ERROR_BYTES];
};

static void trace_add(struct trace *trace, const char *data, size_t size) {
    uint64_t hash = (trace->hash ^ size) * UINT64_C(0x100000001b3);
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ (unsigned char)data[i]) * UINT64_C(0x100000001b3);
    }
    trace->hash = hash;
}

static void check_request(struct trace *trace, const parser *parsed, size_t size) {
    weft_assert(parsed->used > 0);
    weft_assert(parsed->used <= size);
    weft_assert(parsed->count <= PARSER_ARGS_MAX);
    size_t sum = 0;
    for (uint32_t i = 0; i < parsed->count; i++) {
        sum += parsed->args[i].size;
        trace_add(trace, parsed->args[i].data, parsed->args[i].size);
    }
    weft_assert(sum <= parsed->used);
    trace_add(trace, (const char *)&parsed->count, sizeof(parsed->count));
    trace->requests++;
    trace->used += parsed->used;
}

/* The bytes in pieces of step, each time with a copy of what belongs to the request. */
static struct trace read_pieces(const char *data, size_t size, size_t step) {
    const parser_limits limits = {.bulk_max = BULK_MAX, .request_max = REQUEST_MAX};
    struct trace trace = {0};
    parser parsed;
    parser_init(&parsed, &limits);
    size_t shown = 0;
    enum parser_result result = PARSER_MORE;
    while (shown < size && result != PARSER_ERROR) {
        shown = size - shown < step ? size : shown + step;
        do {
            size_t part = shown - trace.used, before = parsed.used;
            char *copy = malloc(part + 1); /* anywhere else, and nothing readable behind it */
            weft_assert(copy != NULL);
            char *exact = realloc(copy, part > 0 ? part : 1);
            copy = exact != NULL ? exact : copy;
            memcpy(copy, data + trace.used, part);
            result = parser_step(&parsed, copy, part);
            weft_assert(parsed.used >= before);
            if (result == PARSER_REQUEST) {
                check_request(&trace, &parsed, part);
                parser_next(&parsed);
            }
            free(copy);
        } while (result == PARSER_REQUEST);
    }
    if (result == PARSER_ERROR) {
        weft_assert(strncmp(parsed.error, "ERR Protocol error: ", 20) == 0);
        weft_assert(strpbrk(parsed.error, "\r\n") == NULL);
        memcpy(trace.error, parsed.error, sizeof(trace.error));
    }
    parser_fini(&parsed);
    return trace;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1 || size > INPUT_BYTES_MAX) {
        return 0;
    }
    size_t step = data[0] == 0 ? 1 : data[0];
    const char *text = (const char *)data + 1;
    size--;
    /* Copies make this quadratic: long inputs only in few pieces. */
    step = size / step > 256 ? size / 256 + 1 : step;
    struct trace whole = read_pieces(text, size, size == 0 ? 1 : size);
    struct trace split = read_pieces(text, size, step);
    weft_assert(whole.hash == split.hash);
    weft_assert(whole.requests == split.requests);
    weft_assert(whole.used == split.used);
    weft_assert(strcmp(whole.error, split.error) == 0);
    return 0;
}
