/* SPDX-License-Identifier: MIT
 *
 * A main for a fuzz target where there is no libFuzzer: runs every file of a corpus through it
 * once. Usage: replay_<name> FOLDER
 */
#define _GNU_SOURCE 1

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { PATH_BYTES_MAX = 4096, INPUT_BYTES_MAX = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Not every target has one. */
__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv);

/* 1 when the file was run, 0 when it is a folder, -1 on an error. */
static int replay(const char *path) {
    FILE *file = fopen(path, "rb");
    uint8_t *data = malloc(INPUT_BYTES_MAX);
    int result = -1;
    if (file != NULL && data != NULL) {
        size_t size = fread(data, 1, INPUT_BYTES_MAX, file);
        result = ferror(file) ? 0 : 1;
        if (result == 1) {
            /* A copy of its own size, so that a sanitizer sees a read behind the end. */
            uint8_t *copy = realloc(data, size > 0 ? size : 1);
            data = copy != NULL ? copy : data;
            (void)LLVMFuzzerTestOneInput(data, size); /* always 0 */
        }
    }
    free(data);
    if (file != NULL) {
        (void)fclose(file); /* only read */
    }
    return result;
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
        return 2;
    }
    if (LLVMFuzzerInitialize != NULL && LLVMFuzzerInitialize(&argc, &argv) != 0) {
        return 1;
    }
    DIR *folder = opendir(argv[1]);
    uint32_t count = 0;
    int status = folder == NULL ? -1 : 0;
    for (struct dirent *entry; status >= 0 && (entry = readdir(folder)) != NULL;) {
        char path[PATH_BYTES_MAX];
        snprintf(path, sizeof(path), "%s/%s", argv[1], entry->d_name);
        status = replay(path);
        count += status == 1;
    }
    if (folder != NULL) {
        (void)closedir(folder); /* only read */
    }
    printf("%u inputs\n", count);
    return status >= 0 && count > 0 ? 0 : 1;
}
