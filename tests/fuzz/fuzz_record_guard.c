/* SPDX-License-Identifier: MIT
 *
 * Fuzz target (libFuzzer) for what is checked about a TLS peer's bytes before the library sees
 * them. The first byte says how the rest is split; the rest is the stream.
 *
 * Beside what the sanitizers see, each input checks: the answer does not depend on the split, a
 * fault stays, what was let through parses as records with the lengths a second, plain reading
 * finds, and the names of a ClientHello lie within it.
 *
 *   clang -fsanitize=fuzzer,address,undefined ... && ./fuzz_record_guard corpus/record_guard
 */
#include "io/record_guard.h"

#include <string.h>

enum { INPUT_BYTES_MAX = 1 << 17 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The stream in pieces of step bytes. */
static enum weft__record_fault check_split(const uint8_t *data, size_t size, size_t step,
                                           bool answered) {
    struct weft__record_guard guard;
    weft__record_guard_init(&guard);
    guard.answered = answered;
    enum weft__record_fault fault = WEFT__RECORD_GOOD;
    for (size_t at = 0; at < size; at += step) {
        size_t piece = size - at < step ? size - at : step;
        fault = weft__record_guard_check(&guard, data + at, piece);
        if (fault != WEFT__RECORD_GOOD) {
            weft_assert(weft__record_guard_check(&guard, data, 0) == fault);
            weft_assert(weft__record_guard_check(&guard, data, size) == fault);
            break;
        }
    }
    weft_assert(weft__record_fault_text(fault)[0] != '\0');
    return fault;
}

/* What the rules say, written once more. */
static bool is_header_good(const uint8_t *header, bool encrypted) {
    uint32_t length = header[3] * 256u + header[4];
    if (header[1] != 3 || (header[2] != 1 && header[2] != 3)) {
        return false;
    }
    if (header[0] == 20) {
        return length == 1;
    }
    if (header[0] == 21) {
        return length == 2 && !encrypted;
    }
    if (header[0] == 22) {
        return length > 0 && length <= 16384 && !encrypted;
    }
    return header[0] == 23 && length > 16 && length <= 16640;
}

static bool is_stream_good(const uint8_t *data, size_t size) {
    bool encrypted = false;
    for (size_t at = 0; at + 5 <= size;) {
        if (!is_header_good(data + at, encrypted)) {
            return false;
        }
        encrypted = encrypted || data[at] == 23;
        at += 5 + data[at + 3] * 256u + data[at + 4];
    }
    return true;
}

static void check_hello(const uint8_t *data, size_t size) {
    struct weft__hello_protocols protocols = {NULL, 0};
    if (weft__hello_find(data, size, &protocols) != WEFT__HELLO_OFFERS) {
        weft_assert(protocols.names == NULL);
        return;
    }
    weft_assert(protocols.size >= 2);
    weft_assert(protocols.names > data);
    weft_assert(protocols.names + protocols.size <= data + size);
    size_t at = 0;
    while (at < protocols.size) {
        weft_assert(protocols.names[at] > 0);
        at += 1 + (size_t)protocols.names[at];
    }
    weft_assert(at == protocols.size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1 || size > INPUT_BYTES_MAX) {
        return 0;
    }
    size_t step = data[0] == 0 ? 1 : data[0];
    data++;
    size--;
    size_t all = size == 0 ? 1 : size;
    enum weft__record_fault whole = check_split(data, size, all, false);
    weft_assert(check_split(data, size, step, false) == whole);
    weft_assert((whole == WEFT__RECORD_GOOD) == is_stream_good(data, size));
    weft_assert(whole != WEFT__RECORD_ALERT);
    /* For a server that has answered only a plain alert makes a difference. */
    enum weft__record_fault answered = check_split(data, size, all, true);
    weft_assert(check_split(data, size, step, true) == answered);
    weft_assert(answered == whole || answered == WEFT__RECORD_ALERT);
    check_hello(data, size);
    return 0;
}
