/* SPDX-License-Identifier: MIT
 *
 * Fuzz target (libFuzzer) for configuration: the same bytes as an INI file, read through a memory
 * file, and as arguments of weft_config_set: the first byte picks a key and the rest is its value,
 * and everything up to the first '=' is a key and the rest its value.
 *
 * Beside what the sanitizers see, each input checks: an answer is 0 or WEFT_E_CONFIG; an error
 * tells one line and changes nothing; what was accepted resolves, and prints as text that sets the
 * same value again.
 *
 *   clang -fsanitize=fuzzer,address,undefined ... && ./fuzz_config tests/fuzz/corpus/config
 */
#define _GNU_SOURCE 1

#include "core/config.h"
#include "core/defs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    ERROR_BYTES = 512,
    PATH_BYTES = 64,
    INPUT_BYTES_MAX = 1 << 16,
};

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One file for all inputs, since making one takes longer than reading it. */
static int file = -1;
static char file_path[PATH_BYTES];

/* Takes the caller's own WEFT_* variables out of the way. */
int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    char **entry = environ;
    while (*entry != NULL) {
        char name[128];
        size_t length = strcspn(*entry, "=");
        bool ours = strncmp(*entry, "WEFT_", 5) == 0 && length < sizeof(name);
        if (!ours) {
            entry++;
            continue;
        }
        memcpy(name, *entry, length);
        name[length] = '\0';
        weft_assert(unsetenv(name) == 0); /* moves the later entries down: look here again */
    }
    file = memfd_create("fuzz_config", MFD_CLOEXEC);
    weft_assert(file >= 0);
    snprintf(file_path, sizeof(file_path), "/proc/self/fd/%d", file);
    return 0;
}

static weft_config config_init(void) {
    weft_config config;
    memset(&config, 0, sizeof(config));
    config.struct_size = WEFT_CONFIG_INIT;
    return config;
}

/* What must hold after any call that may change config. */
static void check(int result, const weft_config *config, const char *error) {
    if (result < 0) {
        weft_config empty = config_init();
        weft_assert(result == WEFT_E_CONFIG);
        weft_assert(memcmp(config, &empty, sizeof(empty)) == 0);
        weft_assert(error[0] != '\0');
        weft_assert(strpbrk(error, "\n\r\t\x1b\x7f") == NULL);
        return;
    }
    weft_assert(error[0] == '\0');
    weft_config resolved = *config;
    weft_config again = *config;
    weft_assert(weft_config_resolve(&resolved, NULL, 0) == 0);
    for (uint32_t i = 0; i < WEFT__CONFIG_KEYS; i++) {
        char text[2 * WEFT_CONFIG_TEXT_BYTES];
        int length = weft__config_format(config, i, text, sizeof(text));
        weft_assert(length == (int)strlen(text));
        weft_assert(weft_config_set(&again, weft__config_name(i), text, NULL, 0) == 0);
    }
    weft_assert(weft_config_resolve(&again, NULL, 0) == 0);
    weft_assert(memcmp(&again, &resolved, sizeof(again)) == 0);
}

static void try_file(const uint8_t *data, size_t size) {
    char error[ERROR_BYTES];
    weft_config config = config_init();
    weft_assert(ftruncate(file, 0) == 0);
    weft_assert(pwrite(file, data, size, 0) == (ssize_t)size);
    int result = weft_config_load(&config, file_path, error, sizeof(error));
    check(result, &config, error);
}

static void try_set(const char *key, const char *value) {
    char error[ERROR_BYTES];
    weft_config config = config_init();
    int result = weft_config_set(&config, key, value, error, sizeof(error));
    check(result, &config, error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0 || size > INPUT_BYTES_MAX) {
        return 0;
    }
    try_file(data, size);
    char *text = malloc(size + 1);
    weft_assert(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    try_set(weft__config_name(data[0] % WEFT__CONFIG_KEYS), text + 1);
    char *equals = strchr(text, '=');
    if (equals != NULL) {
        *equals = '\0';
        try_set(text, equals + 1);
    }
    free(text);
    return 0;
}
