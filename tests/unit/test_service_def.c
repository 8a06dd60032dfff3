/* SPDX-License-Identifier: MIT
 *
 * Definitions of services: bad ones, those of other versions, many operations, none; what is
 * logged; memory; virtual actors.
 */
#include "tests/unit/service_support.h"

/* ---- many operations ----------------------------------------------------------------------- */

enum { MANY = WEFT_OPERATIONS_MAX };

static weft_operation many[5000];

/* Tags of four kinds: in a row, far apart, the same low bits, at random. */
static uint32_t many_tag(int kind, uint32_t index) {
    switch (kind) {
    case 0:
        return index;
    case 1:
        return index * 1000003u;
    case 2:
        return index << 20;
    default:
        return (uint32_t)((index + 1) * UINT64_C(0x9e3779b97f4a7c15) >> 32);
    }
}

START_TEST(each_of_many_operations_is_found_and_nothing_else) {
    struct rig rig = rig_start(1);
    struct board board = {0};
    for (uint32_t i = 0; i < MANY; i++) {
        many[i] = (weft_operation){.tag = many_tag(_i, i), .call = call_echo};
    }
    many[MANY - 1] = (weft_operation){.tag = TAG_ECHO, .cast = cast_count};
    weft_type_def type_def = desk_type("many");
    weft_service_def def = desk_def(&type_def);
    def.operations = many;
    def.operation_count = MANY;
    const weft_type *type = NULL;
    ck_assert_int_eq(weft_service_register(rig.runtime, &def, &type), 0);
    uint32_t last = many[MANY - 1].tag;
    memset(many, 0xff, sizeof(many)); /* they were copied */
    weft_pid desk = desk_spawn(&rig, type, &board);
    (void)last;
    for (uint32_t i = 0; i < MANY - 1; i += _i == 0 ? 1 : 7) {
        ck_assert_int_eq(ask(&rig, desk, many_tag(_i, i), 1), 0);
    }
    if (_i == 0) {
        for (uint32_t tag = MANY - 1; tag < MANY + 100; tag++) {
            ck_assert_int_eq(ask(&rig, desk, tag, 1), -ENOSYS);
        }
    }
    rig_stop(&rig);
}
END_TEST

/* ---- bad definitions ----------------------------------------------------------------------- */

static int register_def(struct rig *rig, const weft_service_def *def) {
    const weft_type *type = NULL;
    int result = weft_service_register(rig->runtime, def, &type);
    ck_assert(result == 0 ? type != NULL : type == NULL);
    return result;
}

static int receive_nothing(weft_ctx *ctx, void *state, weft_msg *msg) {
    (void)ctx;
    (void)state;
    (void)msg;
    return WEFT_CONTINUE;
}

static int process_nothing(weft_ctx *ctx, void *state, const void *arg, size_t arg_size) {
    (void)ctx;
    (void)state;
    (void)arg;
    (void)arg_size;
    return WEFT_CONTINUE;
}

START_TEST(bad_definitions_are_invalid) {
    struct rig rig = rig_start(1);
    weft_type_def type_def = desk_type("bad");
    const weft_service_def good = desk_def(&type_def);
    const weft_type *type = NULL;
    ck_assert_int_eq(weft_service_register(NULL, &good, &type), -EINVAL);
    ck_assert_int_eq(weft_service_register(rig.runtime, NULL, &type), -EINVAL);
    ck_assert_int_eq(weft_service_register(rig.runtime, &good, NULL), -EINVAL);
    weft_service_def def = good;
    def.struct_size = 0;
    ck_assert_int_eq(register_def(&rig, &def), -EINVAL);
    def.struct_size = SIZE_MAX;
    ck_assert_int_eq(register_def(&rig, &def), -E2BIG);
    def = good;
    def.type = NULL;
    ck_assert_int_eq(register_def(&rig, &def), -EINVAL);
    def = good;
    def.operations = NULL;
    ck_assert_int_eq(register_def(&rig, &def), -EINVAL);
    def = good;
    for (uint32_t i = 0; i < 5000; i++) {
        many[i] = (weft_operation){.tag = i, .call = call_echo};
    }
    def.operations = many;
    def.operation_count = WEFT_OPERATIONS_MAX + 1;
    ck_assert_int_eq(register_def(&rig, &def), -EINVAL);
    def.operation_count = 5000;
    ck_assert_int_eq(register_def(&rig, &def), -EINVAL);
    def.operation_count = UINT32_MAX;
    ck_assert_int_eq(register_def(&rig, &def), -EINVAL);
    def = good;
    type_def.receive = receive_nothing;
    ck_assert_int_eq(register_def(&rig, &def), -EINVAL);
    type_def.receive = NULL;
    type_def.process = process_nothing;
    ck_assert_int_eq(register_def(&rig, &def), -EINVAL);
    type_def.process = NULL;
    type_def.name = "";
    ck_assert_int_eq(register_def(&rig, &def), -EINVAL);
    type_def.name = "bad";
    type_def.mailbox_policy = 9;
    ck_assert_int_eq(register_def(&rig, &def), -EINVAL);
    type_def.mailbox_policy = 0;
    ck_assert_int_eq(register_def(&rig, &def), 0);
    ck_assert_int_eq(register_def(&rig, &def), -EEXIST);
    rig_stop(&rig);
}
END_TEST

START_TEST(bad_operations_are_invalid) {
    struct rig rig = rig_start(1);
    weft_type_def type_def = desk_type("bad");
    weft_service_def def = desk_def(&type_def);
    weft_operation operations[2] = {{.tag = 1, .call = call_echo}, {.tag = 2, .call = call_echo}};
    def.operations = operations;
    def.operation_count = 2;
    operations[1].tag = 1; /* twice among the calls */
    ck_assert_int_eq(register_def(&rig, &def), -EINVAL);
    operations[0] = (weft_operation){.tag = 1, .cast = cast_count};
    operations[1] = (weft_operation){.tag = 1, .cast = cast_count};
    ck_assert_int_eq(register_def(&rig, &def), -EINVAL);
    operations[1] = (weft_operation){.tag = 2};
    ck_assert_int_eq(register_def(&rig, &def), -EINVAL); /* neither */
    operations[1] = (weft_operation){.tag = 2, .call = call_echo, .cast = cast_count};
    ck_assert_int_eq(register_def(&rig, &def), -EINVAL); /* both */
    operations[1] = (weft_operation){.tag = 2, .call = call_echo, .size_min = 9, .size_max = 8};
    ck_assert_int_eq(register_def(&rig, &def), -EINVAL);
    operations[1] =
        (weft_operation){.tag = 2, .call = call_echo, .size_min = (size_t)UINT32_MAX + 1};
    ck_assert_int_eq(register_def(&rig, &def), -EINVAL); /* no message is so large */
    operations[1] = (weft_operation){.tag = 1, .call = call_echo, .size_max = SIZE_MAX};
    ck_assert_int_eq(register_def(&rig, &def), 0); /* once among each */
    rig_stop(&rig);
}
END_TEST

/* What a program of a later version would pass. */
struct later_def {
    weft_service_def def;
    uint64_t news;
};

START_TEST(a_definition_of_another_version_is_taken_if_it_asks_for_nothing_unknown) {
    struct rig rig = rig_start(1);
    weft_type_def type_def = desk_type("later");
    struct later_def later = {.def = desk_def(&type_def), .news = 1};
    later.def.struct_size = sizeof(later);
    ck_assert_int_eq(register_def(&rig, &later.def), -E2BIG);
    later.news = 0;
    ck_assert_int_eq(register_def(&rig, &later.def), 0);
    weft_type_def older = desk_type("older"); /* the type's own version is its own matter */
    older.struct_size = offsetof(weft_type_def, idle_ns);
    weft_service_def def = desk_def(&older);
    ck_assert_int_eq(register_def(&rig, &def), 0);
    rig_stop(&rig);
}
END_TEST

START_TEST(a_service_without_operations_has_other_alone) {
    struct rig rig = rig_start(1);
    struct board board = {0};
    weft_type_def type_def = desk_type("none");
    weft_service_def def = desk_def(&type_def);
    def.operations = NULL;
    def.operation_count = 0;
    const weft_type *type = NULL;
    ck_assert_int_eq(weft_service_register(rig.runtime, &def, &type), 0);
    weft_pid desk = desk_spawn(&rig, type, &board);
    ck_assert_int_eq(ask(&rig, desk, TAG_ECHO, 0), -ENOSYS);
    ck_assert_int_eq(ask(&rig, desk, 0, 0), -ENOSYS);
    cast(&rig, desk, 0, NULL, 0);
    ck_assert_int_eq(ask(&rig, desk, 0, 0), -ENOSYS);
    ck_assert_uint_eq(rig_stats(&rig).messages_dead, 1);
    rig_stop(&rig);
}
END_TEST

/* ---- the log, and virtual actors ----------------------------------------------------------- */

struct heard {
    pthread_mutex_t lock;
    uint32_t refused;
    char line[512];
};

static void hear(void *cookie, enum weft_log_level level, const weft_log_event *event) {
    struct heard *heard = cookie;
    if (strcmp(event->name, "service.refused") != 0) {
        return;
    }
    pthread_mutex_lock(&heard->lock);
    heard->refused++;
    ck_assert_int_eq(level, WEFT_LOG_DEBUG);
    (void)weft_log_format(level, event, heard->line, sizeof(heard->line));
    pthread_mutex_unlock(&heard->lock);
}

START_TEST(what_is_refused_is_logged_for_who_wants_it) {
    struct heard heard = {.lock = PTHREAD_MUTEX_INITIALIZER};
    weft_config config = rig_config(1);
    config.log = (weft_log_hook){.cookie = &heard, .cb = hear};
    config.log_level = _i == 0 ? WEFT_LOG_DEBUG : WEFT_LOG_INFO;
    struct rig rig = rig_start_with(&config);
    struct board board = {0};
    weft_pid desk = desk_spawn(&rig, desk_register(&rig), &board);
    ck_assert_int_eq(ask(&rig, desk, TAG_SIZED, 100), -EBADMSG);
    if (_i == 0) {
        ck_assert_uint_eq(heard.refused, 1);
        ck_assert_ptr_nonnull(strstr(heard.line, "type=desk"));
        ck_assert_ptr_nonnull(strstr(heard.line, "operation=sized"));
        ck_assert_ptr_nonnull(strstr(heard.line, "size=100"));
    }
    ck_assert_int_eq(ask(&rig, desk, TAG_UNKNOWN, 1), -ENOSYS);
    ck_assert_uint_eq(heard.refused, _i == 0 ? 2 : 0);
    rig_stop(&rig);
}
END_TEST

/* A virtual actor has no argument of a test's own: it answers and counts nothing. */
static int call_plain(weft_ctx *ctx, void *state, weft_msg *request) {
    uint64_t *calls = state;
    *calls += 1;
    (void)weft_reply(ctx, &request, 0, calls, sizeof(*calls));
    return WEFT_CONTINUE;
}

START_TEST(a_service_may_be_a_virtual_actor) {
    struct rig rig = rig_start(2);
    const weft_operation operation = {.tag = 1, .call = call_plain};
    weft_type_def type_def = {
        .struct_size = WEFT_TYPE_DEF_INIT, .name = "account", .state_size = sizeof(uint64_t)};
    weft_service_def def = {.struct_size = WEFT_SERVICE_DEF_INIT,
                            .type = &type_def,
                            .operations = &operation,
                            .operation_count = 1};
    const weft_type *type = NULL;
    ck_assert_int_eq(weft_service_register(rig.runtime, &def, &type), 0);
    const weft_capability *capability = NULL;
    ck_assert_int_eq(weft_capability_add(rig.runtime, "bank", &capability), 0);
    weft_vrequest request = {.struct_size = WEFT_VREQUEST_INIT,
                             .capability = capability,
                             .type = type,
                             .id = "a",
                             .id_size = 1,
                             .tag = 2};
    ck_assert_int_eq(weft_runtime_vcall(rig.runtime, &request, &(weft_msg *){NULL}, NULL), -ENOSYS);
    request.tag = 1;
    for (uint64_t i = 1; i <= 3; i++) {
        weft_msg *reply = NULL;
        ck_assert_int_eq(weft_runtime_vcall(rig.runtime, &request, &reply, NULL), 0);
        uint64_t calls;
        memcpy(&calls, weft_msg_data(reply), sizeof(calls));
        ck_assert_uint_eq(calls, i);
        weft_runtime_msg_release(rig.runtime, &reply);
    }
    rig_stop(&rig);
}
END_TEST

/* ---- memory -------------------------------------------------------------------------------- */

struct memory {
    uint64_t fail_at; /* from 1; 0: none */
    weft_atomic_u64 requests;
    weft_atomic_u64 blocks;
};

static void *memory_alloc(void *cookie, size_t size, const char *tag) {
    struct memory *memory = cookie;
    (void)tag;
    if (weft_add64_acq_rel(&memory->requests, 1) + 1 == memory->fail_at) {
        return NULL;
    }
    (void)weft_add64_acq_rel(&memory->blocks, 1);
    return malloc(size);
}

static void memory_free(void *cookie, void *block, size_t size, const char *tag) {
    struct memory *memory = cookie;
    (void)size;
    (void)tag;
    (void)weft_add64_acq_rel(&memory->blocks, UINT64_MAX);
    free(block);
}

static int memory_commit(void *cookie, size_t size, const char *tag) {
    (void)cookie;
    (void)size;
    (void)tag;
    return 0;
}

START_TEST(a_registration_without_memory_leaves_nothing) {
    struct memory memory = {0};
    weft_config config = rig_config(1);
    config.allocator = (weft_allocator){
        .cookie = &memory, .alloc = memory_alloc, .free = memory_free, .commit = memory_commit};
    weft_runtime *runtime = NULL;
    ck_assert_int_eq(weft_runtime_create(&config, &runtime), 0);
    weft_type_def type_def = desk_type("desk");
    weft_service_def def = desk_def(&type_def);
    const weft_type *type = NULL;
    uint64_t failures = 0;
    int result = -ENOMEM;
    while (result != 0) { /* the n-th request fails, until none does */
        uint64_t blocks = weft_load64_relaxed(&memory.blocks);
        weft_store64_relaxed(&memory.requests, 0);
        memory.fail_at = failures + 1;
        result = weft_service_register(runtime, &def, &type);
        ck_assert(result == 0 || (result == -ENOMEM && type == NULL));
        failures += result == 0 ? 0 : 1;
        ck_assert(result == 0 || weft_load64_relaxed(&memory.blocks) == blocks);
    }
    ck_assert_uint_eq(failures, 2);
    memory.fail_at = 0;
    ck_assert_int_eq(weft_runtime_destroy(&runtime), 0);
    ck_assert_uint_eq(weft_load64_relaxed(&memory.blocks), 0);
}
END_TEST

static Suite *service_def_suite(void) {
    Suite *suite = suite_create("service_def");
    TCase *definition = tcase_create("definition");
    tcase_add_loop_test(definition, each_of_many_operations_is_found_and_nothing_else, 0, 4);
    tcase_add_test(definition, bad_definitions_are_invalid);
    tcase_add_test(definition, bad_operations_are_invalid);
    tcase_add_test(definition,
                   a_definition_of_another_version_is_taken_if_it_asks_for_nothing_unknown);
    tcase_add_test(definition, a_service_without_operations_has_other_alone);
    tcase_add_loop_test(definition, what_is_refused_is_logged_for_who_wants_it, 0, 2);
    tcase_add_test(definition, a_service_may_be_a_virtual_actor);
    tcase_add_test(definition, a_registration_without_memory_leaves_nothing);
    suite_add_tcase(suite, definition);
    return suite;
}

int main(void) {
    return run_suite(service_def_suite());
}
