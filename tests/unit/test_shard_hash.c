/* SPDX-License-Identifier: MIT
 *
 * The hashes of ids: the shard hash gives the values it has always given, bit for bit those of
 * Erlang where that is asked for; the table hash is not impressed by ids that were chosen against
 * the shard hash.
 */
#include "core/prng.h"
#include "shard/hash.h"
#include "tests/unit/hostile_ids.h"
#include "tests/unit/support.h"

enum { ID_MAX = 65535, HOSTILE_IDS = 20000, BUCKETS = 1024 };

/* Byte i of a patterned id of size bytes is (7 * i + size) mod 256. */
static const unsigned char *patterned(size_t size) {
    static unsigned char bytes[ID_MAX];
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (unsigned char)(7 * i + size);
    }
    return bytes;
}

static uint32_t shard_of_text(enum weft_shard_hash hash, const char *id, uint32_t shards) {
    return weft_shard_of(hash, id, strlen(id), shards);
}

static int compare_hashes(const void *left, const void *right) {
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

static void assert_distinct(uint64_t *hashes, size_t count) {
    qsort(hashes, count, sizeof(*hashes), compare_hashes);
    for (size_t i = 1; i < count; i++) {
        ck_assert_uint_ne(hashes[i - 1], hashes[i]);
    }
}

static void make_key(struct weft__hash_key *key, uint64_t seed) {
    struct weft__prng prng;
    weft__prng_init(&prng, seed, 0);
    for (size_t i = 0; i < sizeof(key->secret); i++) {
        key->secret[i] = (unsigned char)(weft__prng_next(&prng) >> 56);
    }
}

/* ---- shards -------------------------------------------------------------------------------- */

struct named_shard {
    const char *id;
    uint32_t shard; /* of 4096 */
};

/* From Erlang/OTP 25: erlang:phash2(Id, 4096). */
static const struct named_shard phash2_names[] = {
    {"", 3685},       {"game_1", 1467}, {"game_2", 2343},     {"game_3", 48},
    {"game_6", 3444}, {"game_20", 57},  {"player_123", 1187}, {"player_456", 2956},
};

/* From Erlang/OTP 25: erlang:phash2 of the patterned binary of that size, and a range. */
static const struct {
    uint32_t size;
    uint32_t shards;
    uint32_t shard;
} phash2_vectors[] = {
    {0, 4096, 3685},   {1, 1000, 586},   {2, 7, 5},   {3, 65536, 47509},     {4, 16384, 6569},
    {5, 4096, 997},    {6, 1000, 10},    {7, 7, 6},   {8, 65536, 21730},     {9, 16384, 6872},
    {10, 4096, 1957},  {11, 1000, 105},  {12, 7, 4},  {13, 65536, 53112},    {14, 16384, 7578},
    {15, 4096, 3048},  {16, 1000, 257},  {17, 7, 1},  {18, 65536, 10476},    {19, 16384, 2327},
    {20, 4096, 3835},  {21, 1000, 458},  {22, 7, 2},  {23, 65536, 9152},     {24, 16384, 10457},
    {25, 4096, 1631},  {31, 1000, 571},  {35, 7, 6},  {36, 65536, 44930},    {37, 16384, 9230},
    {47, 4096, 4089},  {48, 1000, 806},  {49, 7, 3},  {63, 65536, 34960},    {64, 16384, 16312},
    {65, 4096, 4079},  {95, 1000, 939},  {96, 7, 6},  {100, 65536, 45474},   {127, 16384, 11900},
    {128, 4096, 508},  {129, 1000, 138}, {143, 7, 2}, {144, 65536, 33303},   {145, 16384, 12340},
    {199, 4096, 1580}, {200, 1000, 66},  {239, 7, 2}, {240, 65536, 13533},   {241, 16384, 8813},
    {255, 4096, 11},   {256, 1000, 377}, {257, 7, 0}, {287, 65536, 54923},   {288, 16384, 3348},
    {289, 4096, 3083}, {299, 1000, 153}, {300, 7, 3}, {10000, 65536, 17259}, {17, 1, 0},
};

START_TEST(phash2_is_that_of_erlang) {
    for (size_t i = 0; i < sizeof(phash2_names) / sizeof(phash2_names[0]); i++) {
        uint32_t shard = shard_of_text(WEFT_SHARD_HASH_PHASH2, phash2_names[i].id, 4096);
        ck_assert_uint_eq(shard, phash2_names[i].shard);
    }
    for (size_t i = 0; i < sizeof(phash2_vectors) / sizeof(phash2_vectors[0]); i++) {
        const unsigned char *id = patterned(phash2_vectors[i].size);
        ck_assert_uint_eq(weft_shard_of(WEFT_SHARD_HASH_PHASH2, id, phash2_vectors[i].size,
                                        phash2_vectors[i].shards),
                          phash2_vectors[i].shard);
    }
}
END_TEST

static const struct named_shard xxh3_names[] = {
    {"", 1218},
    {"a", 3615},
    {"ab", 860},
    {"game_1", 3559},
    {"player_123", 326},
    {"user:1000", 3231},
    {"550e8400-e29b-41d4-a716-446655440000", 2755},
};

/* XXH3_64bits of patterned ids: at least one for each of the ways XXH3 takes by size. */
static const struct {
    uint32_t size;
    uint64_t hash;
} xxh3_vectors[] = {
    {0, UINT64_C(0x2d06800538d394c2)},     {1, UINT64_C(0xe12ef9d2eb86ceeb)},
    {2, UINT64_C(0x33b0814d4f061d86)},     {3, UINT64_C(0xa9088dda485b481c)},
    {4, UINT64_C(0x57648c318a7a307e)},     {5, UINT64_C(0x239bb6b88222271d)},
    {8, UINT64_C(0xb0fb3e3c3f94990a)},     {9, UINT64_C(0x8aca5cb309437c2e)},
    {12, UINT64_C(0xbb431ec91d8102e8)},    {16, UINT64_C(0x2bd926d88792965a)},
    {17, UINT64_C(0x621f018aad19b14a)},    {32, UINT64_C(0x8911535e799e4d99)},
    {64, UINT64_C(0x1b1bf114c7371f1b)},    {128, UINT64_C(0xe9549af9a74093e6)},
    {129, UINT64_C(0xb54ad1cd8a4c84b9)},   {200, UINT64_C(0x660156a92b43203f)},
    {240, UINT64_C(0x3e136902ec966624)},   {241, UINT64_C(0xbd7d29b6ba966d6a)},
    {256, UINT64_C(0xff5a1cefade75bb9)},   {300, UINT64_C(0x3820fcfd00b5a955)},
    {1024, UINT64_C(0xdc5acf0b043c445b)},  {10000, UINT64_C(0x70e90837a48aa18d)},
    {65535, UINT64_C(0x9bf7dcfd5f9fb1cb)},
};

START_TEST(the_default_is_xxh3_modulo_the_shards) {
    static const uint32_t counts[] = {1, 7, 1000, 4096, 16384, 65536, UINT32_MAX};
    for (size_t i = 0; i < sizeof(xxh3_names) / sizeof(xxh3_names[0]); i++) {
        const char *id = xxh3_names[i].id;
        ck_assert_uint_eq(shard_of_text(WEFT_SHARD_HASH_XXH3, id, 4096), xxh3_names[i].shard);
        ck_assert_uint_eq(shard_of_text(WEFT_SHARD_HASH_DEFAULT, id, 4096), xxh3_names[i].shard);
    }
    for (size_t i = 0; i < sizeof(xxh3_vectors) / sizeof(xxh3_vectors[0]); i++) {
        uint32_t size = xxh3_vectors[i].size;
        const unsigned char *id = patterned(size);
        for (size_t j = 0; j < sizeof(counts) / sizeof(counts[0]); j++) {
            ck_assert_uint_eq(weft_shard_of(WEFT_SHARD_HASH_XXH3, id, size, counts[j]),
                              xxh3_vectors[i].hash % counts[j]);
        }
    }
}
END_TEST

START_TEST(a_hash_does_not_depend_on_where_the_id_lies) {
    _Alignas(64) static unsigned char memory[512 + 64];
    for (uint32_t size = 0; size <= 300; size += 11) {
        for (uint32_t offset = 1; offset < 16; offset++) {
            memcpy(memory + offset, patterned(size), size);
            for (int hash = WEFT_SHARD_HASH_XXH3; hash <= WEFT_SHARD_HASH_PHASH2; hash++) {
                enum weft_shard_hash kind = (enum weft_shard_hash)hash;
                ck_assert_uint_eq(weft_shard_of(kind, memory + offset, size, 65536),
                                  weft_shard_of(kind, patterned(size), size, 65536));
            }
        }
    }
}
END_TEST

START_TEST(what_makes_no_sense_is_shard_0) {
    for (int hash = WEFT_SHARD_HASH_DEFAULT; hash <= WEFT_SHARD_HASH_PHASH2; hash++) {
        enum weft_shard_hash kind = (enum weft_shard_hash)hash;
        ck_assert_uint_eq(weft_shard_of(kind, "id", 2, 0), 0);
        ck_assert_uint_eq(weft_shard_of(kind, NULL, 2, 4096), 0);
        ck_assert_uint_eq(weft_shard_of(kind, NULL, 0, 4096), weft_shard_of(kind, "", 0, 4096));
    }
    ck_assert_uint_eq(weft_shard_of((enum weft_shard_hash)3, "id", 2, 4096), 0);
}
END_TEST

/* Ids as programs number them. 100,000 over 4096 shards: 24.4 each, with a deviation of 4.9. */
START_TEST(numbered_ids_spread_over_all_shards) {
    enum { SHARDS = 4096, IDS = 100000 };
    static uint32_t loads[SHARDS];
    memset(loads, 0, sizeof(loads));
    for (uint32_t i = 0; i < IDS; i++) {
        char id[32];
        int size = snprintf(id, sizeof(id), "user:%u", i);
        loads[weft_shard_of((enum weft_shard_hash)_i, id, (size_t)size, SHARDS)]++;
    }
    for (uint32_t i = 0; i < SHARDS; i++) {
        ck_assert_uint_gt(loads[i], 0);
        ck_assert_uint_lt(loads[i], 60);
    }
}
END_TEST

/* ---- tables -------------------------------------------------------------------------------- */

START_TEST(hostile_ids_are_one_to_the_shard_hash) {
    unsigned char first[HOSTILE_ID_BYTES];
    hostile_id(0, first);
    for (uint64_t i = 1; i < HOSTILE_IDS; i++) {
        unsigned char id[HOSTILE_ID_BYTES];
        hostile_id(i, id);
        ck_assert(memcmp(id, first, sizeof(id)) != 0);
        ck_assert_uint_eq(XXH3_64bits(id, sizeof(id)), XXH3_64bits(first, sizeof(first)));
    }
}
END_TEST

/* 20,000 in 1024 buckets: 19.5 each, with a deviation of 4.4. */
START_TEST(hostile_ids_spread_in_a_table) {
    static uint64_t hashes[HOSTILE_IDS];
    static uint32_t low_bits[BUCKETS];
    static uint32_t high_bits[BUCKETS];
    struct weft__hash_key key;
    make_key(&key, (uint64_t)_i);
    for (uint64_t i = 0; i < HOSTILE_IDS; i++) {
        unsigned char id[HOSTILE_ID_BYTES];
        hostile_id(i, id);
        hashes[i] = weft__table_hash(&key, id, sizeof(id), 1);
        low_bits[hashes[i] % BUCKETS]++;
        high_bits[hashes[i] >> 54]++;
    }
    for (uint32_t i = 0; i < BUCKETS; i++) {
        ck_assert_uint_lt(low_bits[i], 60);
        ck_assert_uint_lt(high_bits[i], 60);
    }
    assert_distinct(hashes, HOSTILE_IDS);
}
END_TEST

START_TEST(ids_of_one_shard_spread_in_a_table) {
    enum { SHARDS = 4096, FOUND = 1000, TABLE = 64 };
    uint32_t loads[TABLE] = {0};
    struct weft__hash_key key;
    make_key(&key, 7);
    uint32_t found = 0;
    for (uint64_t number = 0; found < FOUND; number++) {
        if (weft_shard_of(WEFT_SHARD_HASH_XXH3, &number, sizeof(number), SHARDS) == 0) {
            loads[weft__table_hash(&key, &number, sizeof(number), 1) % TABLE]++;
            found++;
        }
    }
    for (uint32_t i = 0; i < TABLE; i++) {
        ck_assert_uint_lt(loads[i], 48);
    }
}
END_TEST

START_TEST(one_id_has_another_hash_for_each_capability_and_type) {
    static uint64_t hashes[65536];
    struct weft__hash_key key;
    make_key(&key, 1);
    for (uint32_t low = 0; low < 65536; low++) {
        hashes[low] = weft__table_hash(&key, "player_123", 10, low * 65537);
    }
    assert_distinct(hashes, 65536);
}
END_TEST

START_TEST(the_key_decides_the_table_hash_at_every_size) {
    static const uint32_t sizes[] = {0, 1, 3, 4, 8, 9, 16, 17, 128, 129, 240, 241, 1024, ID_MAX};
    enum { KEYS = 64 };
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint64_t hashes[KEYS];
        for (uint64_t seed = 0; seed < KEYS; seed++) {
            struct weft__hash_key key;
            make_key(&key, seed);
            hashes[seed] = weft__table_hash(&key, patterned(sizes[i]), sizes[i], 1);
            ck_assert_uint_eq(hashes[seed],
                              weft__table_hash(&key, patterned(sizes[i]), sizes[i], 1));
        }
        assert_distinct(hashes, KEYS);
    }
    struct weft__hash_key key;
    make_key(&key, 0);
    ck_assert_uint_eq(weft__table_hash(&key, NULL, 0, 1), weft__table_hash(&key, "", 0, 1));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("shard_hash");
    TCase *shards = tcase_create("shards");
    tcase_add_test(shards, phash2_is_that_of_erlang);
    tcase_add_test(shards, the_default_is_xxh3_modulo_the_shards);
    tcase_add_test(shards, a_hash_does_not_depend_on_where_the_id_lies);
    tcase_add_test(shards, what_makes_no_sense_is_shard_0);
    tcase_add_loop_test(shards, numbered_ids_spread_over_all_shards, WEFT_SHARD_HASH_XXH3,
                        WEFT_SHARD_HASH_PHASH2 + 1);
    suite_add_tcase(suite, shards);
    TCase *tables = tcase_create("tables");
    tcase_add_test(tables, hostile_ids_are_one_to_the_shard_hash);
    tcase_add_loop_test(tables, hostile_ids_spread_in_a_table, 0, 4);
    tcase_add_test(tables, ids_of_one_shard_spread_in_a_table);
    tcase_add_test(tables, one_id_has_another_hash_for_each_capability_and_type);
    tcase_add_test(tables, the_key_decides_the_table_hash_at_every_size);
    suite_add_tcase(suite, tables);
    return run_suite(suite);
}
