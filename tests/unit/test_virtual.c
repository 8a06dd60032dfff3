/* SPDX-License-Identifier: MIT
 *
 * Virtual actors: addresses and messages. Which bytes are an id, what is the same actor and what
 * is another one, what a message carries, what is refused, and what the tables say. Life, races,
 * saving, limits and calls from outside have tests of their own: test_virtual_*.c.
 */
#include "tests/unit/virtual_support.h"

/* ---- finding the actor ----------------------------------------------------------------------- */

START_TEST(a_call_activates_and_later_calls_find_the_same_actor) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    ck_assert(!is_active(&vrig, "a"));
    struct view first = ask(&vrig, "a", TAG_SET, 7);
    ck_assert_uint_eq(first.birth, 1);
    ck_assert(is_active(&vrig, "a"));
    for (uint32_t i = 0; i < 200; i++) {
        weft_vrequest request = message(&vrig, "a", TAG_GET, NULL);
        weft_msg *reply = NULL;
        weft_pid pid = weft_pid_none();
        ck_assert_int_eq(weft_runtime_vcall(vrig.rig.runtime, &request, &reply, &pid), 0);
        struct view view = {0};
        memcpy(&view, weft_msg_data(reply), sizeof(view));
        weft_runtime_msg_release(vrig.rig.runtime, &reply);
        ck_assert_uint_eq(view.value, 7);
        ck_assert(weft_pid_equal(view.pid, first.pid));
        ck_assert(weft_pid_equal(view.pid, pid));
    }
    ck_assert_uint_eq(atomic_load(&world.inits), 1);
    ck_assert_uint_eq(vrig_count(&vrig), 1);
    vrig_stop(&vrig);
}
END_TEST

START_TEST(a_cast_activates_as_a_call_does) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    weft_pid pid = tell(&vrig, "a", TAG_SET, 7);
    eventually(atomic_load(&world.handled) == 1);
    struct view view = ask(&vrig, "a", TAG_GET, 0);
    ck_assert_uint_eq(view.value, 7);
    ck_assert(weft_pid_equal(view.pid, pid));
    weft_pid puppet = rig_spawn(&vrig.rig, NULL);
    uint64_t number = 9;
    weft_vrequest request = message(&vrig, "b", TAG_SET, &number);
    weft_pid other = puppet_tell(&vrig, puppet, &request);
    ck_assert(!weft_pid_equal(pid, other));
    ck_assert_uint_eq(ask(&vrig, "b", TAG_GET, 0).value, 9);
    ck_assert_uint_eq(atomic_load(&world.inits), 2);
    vrig_stop(&vrig);
}
END_TEST

START_TEST(the_pid_of_an_answer_is_not_asked_for_when_null) {
    struct vrig vrig = vrig_start(1);
    weft_pid puppet = rig_spawn(&vrig.rig, NULL);
    weft_vrequest request = message(&vrig, "a", TAG_GET, NULL);
    weft_msg *reply = NULL;
    ck_assert_int_eq(weft_runtime_vcast(vrig.rig.runtime, &request, NULL), 0);
    ck_assert_int_eq(weft_runtime_vcall(vrig.rig.runtime, &request, &reply, NULL), 0);
    weft_runtime_msg_release(vrig.rig.runtime, &reply);
    (void)puppet_tell(&vrig, puppet, &request);
    ck_assert_uint_eq(ask(&vrig, "a", TAG_GET, 0).handled, 4);
    vrig_stop(&vrig);
}
END_TEST

START_TEST(what_an_actor_gets_is_an_ordinary_message) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    struct probe there = PROBE_INIT;
    struct probe here = PROBE_INIT;
    struct probe *where = &there;
    weft_pid puppet = rig_spawn(&vrig.rig, &here);
    weft_vrequest request = message_to(&vrig, "a", 1, 1234);
    request.type = vrig.rig.puppet;
    request.init_arg = &where;
    request.init_arg_size = sizeof(where);
    request.payload = "payload";
    request.payload_size = 7;
    weft_pid pid = puppet_tell(&vrig, puppet, &request);
    ck_assert(weft_pid_equal(pid, puppet_ask(&vrig, puppet, &request, 99)));
    struct seen reply = reply_at(&here, 0);
    ck_assert_uint_eq(reply.token, 99);
    ck_assert_int_eq(reply.status, WEFT_E_NOREPLY); /* a puppet answers nothing by itself */
    ck_assert_int_eq(weft_runtime_send(vrig.rig.runtime, pid, 5, "direct", 6), 0);
    settle(&vrig.rig, pid); /* a call by pid */
    ck_assert_uint_eq(probe_count(&there), 3);
    for (uint32_t i = 0; i < 2; i++) {
        struct seen seen = probe_at(&there, i);
        ck_assert_int_eq(seen.kind, i == 0 ? WEFT_MSG_USER : WEFT_MSG_REQUEST);
        ck_assert_uint_eq(seen.tag, 1234);
        ck_assert_uint_eq(seen.size, 7);
        ck_assert_mem_eq(seen.data, "payload", 7);
        ck_assert(weft_pid_equal(seen.sender, puppet));
    }
    ck_assert_uint_eq(probe_at(&there, 2).tag, 5);
    ck_assert_uint_eq(weft_load32_acquire(&there.inits), 1);
    rig_stop(&vrig.rig);
    ck_assert_uint_eq(weft_load32_acquire(&there.terminations), 1);
    ck_assert_int_eq((int)weft_load32_relaxed(&there.reason), WEFT_E_SHUTDOWN);
    probe_fini(&there);
    probe_fini(&here);
}
END_TEST

START_TEST(an_answer_has_its_token_tag_payload_and_sender) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    struct probe here = PROBE_INIT;
    weft_pid puppet = rig_spawn(&vrig.rig, &here);
    for (uint64_t i = 0; i < 100; i++) {
        char id[8];
        (void)snprintf(id, sizeof(id), "%u", (unsigned)(i % 7));
        weft_vrequest request = message(&vrig, id, TAG_SET, &i);
        (void)puppet_ask(&vrig, puppet, &request, UINT64_MAX - i);
    }
    eventually(probe_count(&here) == 100);
    uint64_t tokens = 0;
    for (uint32_t i = 0; i < 100; i++) {
        struct seen seen = reply_at(&here, i);
        struct view view = {0};
        memcpy(&view, seen.data, sizeof(seen.data)); /* all but its last field */
        ck_assert_int_eq(seen.status, 0);
        ck_assert_uint_eq(seen.tag, TAG_SET);
        ck_assert_uint_eq(view.value, UINT64_MAX - seen.token);
        ck_assert(weft_pid_equal(seen.sender, view.pid));
        tokens += seen.token;
    }
    ck_assert_uint_eq(tokens, 100 * UINT64_MAX - 4950);
    vrig_stop(&vrig);
    probe_fini(&here);
}
END_TEST

static void look_at_self(weft_ctx *ctx, void *arg) {
    weft_ventry *entry = arg;
    ck_assert_int_eq(weft_virtual_self(ctx, entry), 0);
    ck_assert(weft_pid_equal(entry->pid, weft_self(ctx)));
    ck_assert_uint_eq(entry->id_size, 4);
    ck_assert_mem_eq(entry->id, "self", 4);
    ck_assert_uint_eq(entry->shard, weft_shard_for(weft_runtime_of(ctx), "self", 4));
    ck_assert_uint_ge(entry->bytes, sizeof(struct cell));
    ck_assert_uint_lt(entry->idle_ns, 20 * S_NS);
    ck_assert_ptr_eq(entry->type, weft_type_of(ctx));
    ck_assert(weft_pid_is_none(weft_parent(ctx)));
}

static void look_at_nobody(weft_ctx *ctx, void *arg) {
    (void)arg;
    weft_ventry entry = {.struct_size = WEFT_VENTRY_INIT};
    ck_assert_int_eq(weft_virtual_self(ctx, &entry), -ENOENT);
    ck_assert_int_eq(weft_passivate(ctx), -ENOENT);
    ck_assert_int_eq(weft_keep_alive(ctx, true), -ENOENT);
    ck_assert_int_eq(weft_keep_alive(ctx, false), -ENOENT);
    ck_assert_int_eq(weft_account(ctx, 100), -ENOENT);
    ck_assert_int_eq(weft_forget(ctx), -ENOENT);
}

START_TEST(an_actor_knows_its_address) {
    struct vrig vrig = vrig_start(1);
    weft_ventry entry = {.struct_size = WEFT_VENTRY_INIT};
    act_in(&vrig, "self", look_at_self, &entry);
    ck_assert_ptr_eq(entry.capability, vrig.chat);
    ck_assert_ptr_eq(entry.type, vrig.cell);
    weft_ventry again = {.struct_size = WEFT_VENTRY_INIT};
    act_in(&vrig, "self", look_at_self, &again);
    ck_assert_ptr_eq(entry.id, again.id); /* as long as the actor */
    vrig_stop(&vrig);
}
END_TEST

START_TEST(an_actor_that_was_spawned_is_no_virtual_one) {
    struct vrig vrig = vrig_start(1);
    weft_pid puppet = rig_spawn(&vrig.rig, NULL);
    act(&vrig.rig, puppet, look_at_nobody, NULL);
    settle(&vrig.rig, puppet);                                     /* it is still there */
    weft_pid spawned = rig_spawn_type(&vrig.rig, vrig.cell, NULL); /* of a type that also is */
    act(&vrig.rig, spawned, look_at_nobody, NULL);
    ck_assert_uint_eq(vrig_count(&vrig), 0);
    char id[8];
    weft_ventry entry = {.struct_size = WEFT_VENTRY_INIT};
    ck_assert_int_eq(weft_virtual_key(vrig.rig.runtime, spawned, id, sizeof(id), &entry),
                     WEFT_E_NOPROC);
    ck_assert_int_eq(weft_runtime_passivate(vrig.rig.runtime, spawned), WEFT_E_NOPROC);
    ck_assert_int_eq(weft_runtime_passivate(vrig.rig.runtime, puppet), WEFT_E_NOPROC);
    ck_assert_int_eq(weft_runtime_passivate(vrig.rig.runtime, weft_pid_none()), WEFT_E_NOPROC);
    settle(&vrig.rig, spawned);
    vrig_stop(&vrig);
}
END_TEST

/* ---- ids ------------------------------------------------------------------------------------- */

static const size_t id_sizes[] = {0,  1,  2,   7,   8,   15,  16,   17,    22,    23,   24,
                                  25, 26, 127, 128, 129, 255, 1000, 10000, 65534, 65535};
enum { ID_SIZES = sizeof(id_sizes) / sizeof(id_sizes[0]) };

/* The first n bytes of one string: each is the beginning of the next. */
START_TEST(ids_of_every_size_are_actors_of_their_own) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    static unsigned char id[WEFT_ID_MAX + 1];
    memset(id, 'i', sizeof(id));
    for (uint64_t round = 0; round < 3; round++) {
        for (uint64_t i = 0; i < ID_SIZES; i++) {
            uint64_t number = i + 1;
            weft_vrequest request =
                message_to(&vrig, id_sizes[i] == 0 ? NULL : id, id_sizes[i], TAG_ADD);
            request.payload = &number;
            request.payload_size = sizeof(number);
            struct view view = {0};
            ck_assert_int_eq(try_request(&vrig, &request, &view), 0);
            ck_assert_uint_eq(view.value, (round + 1) * number);
            weft_pid pid;
            ck_assert_int_eq(
                weft_virtual_get(vrig.rig.runtime, vrig.chat, vrig.cell, id, id_sizes[i], &pid), 0);
            ck_assert(weft_pid_equal(pid, view.pid));
            static unsigned char copy[WEFT_ID_MAX];
            weft_ventry entry = {.struct_size = WEFT_VENTRY_INIT};
            ck_assert_int_eq(weft_virtual_key(vrig.rig.runtime, pid, copy, sizeof(copy), &entry),
                             0);
            ck_assert_uint_eq(entry.id_size, id_sizes[i]);
            ck_assert(entry.id_size == 0 || entry.id == copy);
            ck_assert_mem_eq(copy, id, id_sizes[i]);
        }
    }
    ck_assert_uint_eq(vrig_count(&vrig), ID_SIZES);
    vrig_stop(&vrig);
}
END_TEST

START_TEST(an_empty_id_may_have_a_pointer) {
    struct vrig vrig = vrig_start(1);
    weft_vrequest request = message_to(&vrig, NULL, 0, TAG_GET);
    struct view null = {0};
    struct view empty = {0};
    ck_assert_int_eq(try_request(&vrig, &request, &null), 0);
    request.id = "x";
    ck_assert_int_eq(try_request(&vrig, &request, &empty), 0);
    ck_assert(weft_pid_equal(null.pid, empty.pid));
    vrig_stop(&vrig);
}
END_TEST

/* Sizes on both sides of what a record may hold in place. */
START_TEST(ids_that_differ_in_one_byte_are_different_whatever_the_byte) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    static const size_t sizes[] = {1, 23, 24, 25, 40, 300};
    unsigned char id[300];
    memset(id, 0, sizeof(id));
    for (uint32_t round = 0; round < 2; round++) {
        for (uint32_t s = 0; s < 6; s++) {
            for (uint32_t byte = 0; byte < 256; byte++) {
                id[sizes[s] - 1] = (unsigned char)byte;
                weft_vrequest request = message_to(&vrig, id, sizes[s], TAG_ADD);
                uint64_t number = 1000 * s + byte + 1;
                request.payload = &number;
                request.payload_size = sizeof(number);
                struct view view = {0};
                ck_assert_int_eq(try_request(&vrig, &request, &view), 0);
                ck_assert_uint_eq(view.value, number * (round + 1));
            }
            id[sizes[s] - 1] = 0;
        }
    }
    for (uint32_t byte = 1; byte < 256; byte++) { /* in the first byte, too */
        id[0] = (unsigned char)byte;
        weft_vrequest request = message_to(&vrig, id, 40, TAG_GET);
        struct view view = {0};
        ck_assert_int_eq(try_request(&vrig, &request, &view), 0);
        ck_assert_uint_eq(view.value, 0);
    }
    ck_assert_uint_eq(vrig_count(&vrig), 6 * 256 + 255);
    vrig_stop(&vrig);
}
END_TEST

START_TEST(the_same_id_elsewhere_is_another_actor_of_the_same_shard) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    weft_type_def def = cell_def("other");
    const weft_capability *capabilities[] = {vrig.chat, vrig_capability(&vrig, "game")};
    const weft_type *types[] = {vrig.cell, rig_type(&vrig.rig, &def)};
    for (uint32_t round = 1; round <= 2; round++) {
        for (uint32_t i = 0; i < 4; i++) {
            uint64_t number = i + 1;
            weft_vrequest request = message(&vrig, "same", TAG_ADD, &number);
            request.capability = capabilities[i / 2];
            request.type = types[i % 2];
            struct view view = {0};
            ck_assert_int_eq(try_request(&vrig, &request, &view), 0);
            ck_assert_uint_eq(view.value, number * round);
            ck_assert_uint_eq(view.birth, number);
            weft_ventry entry = {.struct_size = WEFT_VENTRY_INIT};
            char id[8];
            ck_assert_int_eq(weft_virtual_key(vrig.rig.runtime, view.pid, id, 8, &entry), 0);
            ck_assert_ptr_eq(entry.capability, request.capability);
            ck_assert_ptr_eq(entry.type, request.type);
            ck_assert_uint_eq(entry.shard, weft_shard_for(vrig.rig.runtime, "same", 4));
        }
    }
    ck_assert_uint_eq(vrig_count(&vrig), 4);
    ck_assert_uint_eq(weft_virtual_count(vrig.rig.runtime, types[0]), 2);
    ck_assert_uint_eq(weft_virtual_count(vrig.rig.runtime, types[1]), 2);
    ck_assert_uint_eq(weft_virtual_count(vrig.rig.runtime, vrig.rig.puppet), 0);
    vrig_stop(&vrig);
}
END_TEST

/* ---- what a message carries ------------------------------------------------------------------ */

static int check_fill(weft_ctx *ctx, struct probe *probe, weft_msg *msg) {
    (void)ctx;
    const unsigned char *data = weft_msg_data(msg);
    for (size_t i = 0; i < weft_msg_size(msg); i++) {
        ck_assert_uint_eq(data[i], (unsigned char)i);
    }
    const void **address = probe->user;
    *address = data;
    return WEFT_CONTINUE;
}

struct witness {
    struct probe probe;
    struct probe *self;
    const void *data; /* where the last payload was */
};

static weft_vrequest to_witness(struct vrig *vrig, struct witness *witness) {
    *witness = (struct witness){.probe = PROBE_INIT};
    witness->self = &witness->probe;
    witness->probe.handler = check_fill;
    witness->probe.user = &witness->data;
    weft_vrequest request = message_to(vrig, "witness", 7, 1);
    request.type = vrig->rig.puppet;
    request.init_arg = &witness->self;
    request.init_arg_size = sizeof(witness->self);
    return request;
}

START_TEST(payloads_of_every_size_arrive) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    static struct witness witness;
    weft_vrequest request = to_witness(&vrig, &witness);
    static const size_t sizes[] = {0, 1, 16, 31, 32, 33, 63, 200, 224, 225, 5000, 1000000};
    static unsigned char bytes[1000000];
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (unsigned char)i;
    }
    for (uint32_t i = 0; i < 12; i++) {
        request.payload = sizes[i] == 0 ? NULL : bytes;
        request.payload_size = sizes[i];
        ck_assert_int_eq(weft_runtime_vcast(vrig.rig.runtime, &request, NULL), 0);
        weft_msg *reply = NULL;
        ck_assert_int_eq(weft_runtime_vcall(vrig.rig.runtime, &request, &reply, NULL),
                         WEFT_E_NOREPLY);
        ck_assert_uint_eq(probe_at(&witness.probe, 2 * i).size, sizes[i]);
        ck_assert_uint_eq(probe_at(&witness.probe, 2 * i + 1).size, sizes[i]);
    }
    rig_stop(&vrig.rig);
    probe_fini(&witness.probe);
}
END_TEST

START_TEST(a_payload_in_a_buffer_is_not_copied) {
    struct vrig vrig = vrig_start(1);
    static struct witness witness;
    weft_vrequest request = to_witness(&vrig, &witness);
    weft_buf *buf = NULL;
    ck_assert_int_eq(weft_buf_create(vrig.rig.runtime, 5000, &buf), 0);
    unsigned char *bytes = weft_buf_data(buf);
    for (size_t i = 0; i < 5000; i++) {
        bytes[i] = (unsigned char)(i - 100);
    }
    request.payload = bytes + 100;
    request.payload_size = 3000;
    request.payload_buf = buf;
    ck_assert_int_eq(weft_runtime_vcast(vrig.rig.runtime, &request, NULL), 0);
    weft_msg *reply = NULL;
    ck_assert_int_eq(weft_runtime_vcall(vrig.rig.runtime, &request, &reply, NULL), WEFT_E_NOREPLY);
    ck_assert_uint_eq(probe_count(&witness.probe), 2);
    ck_assert_uint_eq(probe_at(&witness.probe, 1).size, 3000);
    ck_assert_ptr_eq(witness.data, bytes + 100);
    weft_buf_unref(buf);
    rig_stop(&vrig.rig);
    probe_fini(&witness.probe);
}
END_TEST

START_TEST(a_request_is_only_looked_at_during_the_call) {
    struct vrig vrig = vrig_start(2);
    weft_vrequest gate = message(&vrig, "gate", TAG_GATE, NULL);
    ck_assert_int_eq(weft_runtime_vcast(vrig.rig.runtime, &gate, NULL), 0);
    eventually(atomic_load(&world.inside) == 1);
    uint64_t number;
    char id[32];
    char arg[32];
    for (uint32_t i = 0; i < 100; i++) {
        number = 1000 + i;
        (void)snprintf(id, sizeof(id), "an id that is rather long %u", i);
        (void)snprintf(arg, sizeof(arg), "%08u", i);
        weft_vrequest request = message(&vrig, id, TAG_SET, &number);
        request.init_arg = arg;
        request.init_arg_size = 8;
        ck_assert_int_eq(weft_runtime_vcast(vrig.rig.runtime, &request, NULL), 0);
        memset(&request, 0x5a, sizeof(request));
        memset(id, 0x5a, sizeof(id));
        memset(arg, 0x5a, sizeof(arg));
        number = 0;
    }
    atomic_store(&world.gate, 1);
    for (uint32_t i = 0; i < 100; i++) {
        (void)snprintf(id, sizeof(id), "an id that is rather long %u", i);
        (void)snprintf(arg, sizeof(arg), "%08u", i);
        struct view view = ask(&vrig, id, TAG_GET, 0);
        ck_assert_uint_eq(view.value, 1000 + i);
        ck_assert_mem_eq(&view.arg, arg, 8);
    }
    vrig_stop(&vrig);
}
END_TEST

/* ---- refusals -------------------------------------------------------------------------------- */

/* All five ways to send answer the same. */
static void every_way_answers(struct vrig *vrig, weft_pid puppet, const weft_vrequest *request,
                              int result) {
    weft_pid before = {.node = 1, .slot = 2, .gen = 3};
    weft_pid pid = before;
    weft_msg *reply = NULL;
    weft_runtime *runtime = vrig->rig.runtime;
    ck_assert_int_eq(weft_runtime_vcast(runtime, request, &pid), result);
    ck_assert_int_eq(weft_runtime_vcall(runtime, request, &reply, &pid), result);
    ck_assert_ptr_null(reply);
    weft_cq *queue = NULL;
    ck_assert_int_eq(weft_cq_create(runtime, 4, &queue), 0);
    ck_assert_int_eq(weft_cq_vcall(queue, request, 1, &pid), result);
    ck_assert_uint_eq(weft_cq_deadline(queue), UINT64_MAX);
    weft_cq_destroy(&queue);
    struct asking asking = {.request = *request, .token = 5, .pid = before};
    act(&vrig->rig, puppet, puppet_ask_job, &asking);
    ck_assert_int_eq(asking.result, result);
    act(&vrig->rig, puppet, puppet_tell_job, &asking);
    ck_assert_int_eq(asking.result, result);
    ck_assert(weft_pid_equal(asking.pid, before)); /* untouched */
    ck_assert(weft_pid_equal(pid, before));
}

START_TEST(a_bad_request_is_refused_and_activates_nobody) {
    struct vrig vrig = vrig_start(1);
    struct probe probe = PROBE_INIT;
    weft_pid puppet = rig_spawn(&vrig.rig, &probe);
    static unsigned char large[WEFT_ID_MAX + 1];
    uint64_t number = 1;
    weft_vrequest good = message(&vrig, "a", TAG_SET, &number);
    weft_vrequest bad[9];
    for (uint32_t i = 0; i < 9; i++) {
        bad[i] = good;
    }
    bad[0].struct_size = 0;
    bad[1].capability = NULL;
    bad[2].type = NULL;
    bad[3].id = NULL;
    bad[4].id = large;
    bad[4].id_size = WEFT_ID_MAX + 1;
    bad[5].payload = NULL;
    bad[6].init_arg_size = 1;
    bad[7].init_arg = large;
    bad[7].init_arg_size = WEFT_ID_MAX + 1;
    bad[8].flags = UINT32_C(1) << 31;
    for (uint32_t i = 0; i < 9; i++) {
        every_way_answers(&vrig, puppet, &bad[i], -EINVAL);
    }
    weft_msg *reply = NULL;
    ck_assert_int_eq(weft_runtime_vcast(vrig.rig.runtime, NULL, NULL), -EINVAL);
    ck_assert_int_eq(weft_runtime_vcall(vrig.rig.runtime, NULL, &reply, NULL), -EINVAL);
    ck_assert_int_eq(weft_runtime_vcall(vrig.rig.runtime, &good, NULL, NULL), -EINVAL);
    settle(&vrig.rig, puppet);
    ck_assert_uint_eq(probe_count(&probe), 0); /* no REPLY follows an error */
    ck_assert_uint_eq(atomic_load(&world.inits), 0);
    ck_assert_uint_eq(vrig_count(&vrig), 0);
    vrig_stop(&vrig);
    probe_fini(&probe);
}
END_TEST

START_TEST(a_payload_outside_of_its_buffer_is_refused) {
    struct vrig vrig = vrig_start(1);
    weft_pid puppet = rig_spawn(&vrig.rig, NULL);
    weft_buf *buf = NULL;
    ck_assert_int_eq(weft_buf_create(vrig.rig.runtime, 100, &buf), 0);
    weft_vrequest request = message(&vrig, "a", TAG_GET, NULL);
    request.payload_buf = buf;
    request.payload = (unsigned char *)weft_buf_data(buf) + 50;
    request.payload_size = 51; /* beyond its end */
    every_way_answers(&vrig, puppet, &request, -EINVAL);
    request.payload = "elsewhere";
    request.payload_size = 9;
    every_way_answers(&vrig, puppet, &request, -EINVAL);
    weft_buf_unref(buf);
    ck_assert_uint_eq(vrig_count(&vrig), 0);
    vrig_stop(&vrig);
}
END_TEST

START_TEST(a_payload_above_the_limit_is_refused) {
    weft_config config = rig_config(1);
    config.message_bytes_max = 4096;
    weft_type_def def = cell_def("cell");
    struct vrig vrig = vrig_start_config(&config, &def);
    weft_pid puppet = rig_spawn(&vrig.rig, NULL);
    static unsigned char bytes[4097];
    static unsigned char id[WEFT_ID_MAX]; /* an id is no payload */
    weft_vrequest request = message_to(&vrig, id, sizeof(id), TAG_GET);
    request.payload = bytes;
    request.payload_size = 4097;
    every_way_answers(&vrig, puppet, &request, -EMSGSIZE);
    ck_assert_uint_eq(atomic_load(&world.inits), 0);
    ck_assert_uint_eq(vrig_count(&vrig), 0);
    request.payload_size = 4096;
    ck_assert_int_eq(try_request(&vrig, &request, NULL), 0);
    vrig_stop(&vrig);
}
END_TEST

START_TEST(only_if_active_does_not_activate) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    struct probe probe = PROBE_INIT;
    weft_pid puppet = rig_spawn(&vrig.rig, &probe);
    uint64_t number = 3;
    weft_vrequest request = message(&vrig, "a", TAG_ADD, &number);
    request.flags = WEFT_ONLY_IF_ACTIVE;
    every_way_answers(&vrig, puppet, &request, WEFT_E_INACTIVE);
    ck_assert_uint_eq(atomic_load(&world.inits), 0);
    ck_assert_uint_eq(vrig_count(&vrig), 0);
    ck_assert_uint_eq(probe_count(&probe), 0);
    weft_pid pid = tell(&vrig, "a", TAG_SET, 1);
    ck_assert_int_eq(try_request(&vrig, &request, NULL), 0); /* entered: so it is active */
    ck_assert_int_eq(weft_runtime_vcast(vrig.rig.runtime, &request, NULL), 0);
    ck_assert(weft_pid_equal(puppet_tell(&vrig, puppet, &request), pid));
    ck_assert(weft_pid_equal(puppet_ask(&vrig, puppet, &request, 1), pid));
    ck_assert_int_eq(reply_at(&probe, 0).status, 0);
    ck_assert_uint_eq(ask(&vrig, "a", TAG_STOP, 0).value, 13);
    weft_ventry entry = {.struct_size = WEFT_VENTRY_INIT}; /* while it ends it is still there */
    eventually(weft_virtual_key(vrig.rig.runtime, pid, NULL, 0, &entry) == WEFT_E_NOPROC);
    every_way_answers(&vrig, puppet, &request, WEFT_E_INACTIVE);
    ck_assert_uint_eq(atomic_load(&world.inits), 1);
    vrig_stop(&vrig);
    probe_fini(&probe);
}
END_TEST

START_TEST(a_full_mailbox_refuses_and_tells_when_it_has_room) {
    weft_type_def def = cell_def("cell");
    def.mailbox_max = 10;
    struct vrig vrig = vrig_start_def(2, &def);
    struct probe probe = PROBE_INIT;
    weft_pid puppet = rig_spawn(&vrig.rig, &probe);
    weft_pid pid = tell(&vrig, "a", TAG_GATE, 0);
    eventually(atomic_load(&world.inside) == 1);
    uint64_t number = 1;
    weft_vrequest request = message(&vrig, "a", TAG_ADD, &number);
    uint64_t sent = 0;
    while (weft_runtime_vcast(vrig.rig.runtime, &request, NULL) == 0) {
        ck_assert_uint_lt(++sent, 200);
    }
    every_way_answers(&vrig, puppet, &request, -EBUSY);
    ck_assert_uint_eq(probe_count(&probe), 0);
    atomic_store(&world.gate, 1);
    eventually(probe_count_kind(&probe, WEFT_MSG_READY) == 1);
    ck_assert(weft_pid_equal(probe_at(&probe, 0).sender, pid));
    struct view view = ask(&vrig, "a", TAG_GET, 0);
    ck_assert_uint_eq(view.value, sent); /* what was accepted, and nothing else */
    ck_assert(weft_pid_equal(view.pid, pid));
    ck_assert_uint_eq(probe_count(&probe), 1);
    vrig_stop(&vrig);
    probe_fini(&probe);
}
END_TEST

START_TEST(a_call_that_is_not_answered_times_out_in_time) {
    struct vrig vrig = vrig_start(schedulers_of(_i));
    struct probe probe = PROBE_INIT;
    weft_pid puppet = rig_spawn(&vrig.rig, &probe);
    weft_vrequest request = message(&vrig, "a", TAG_HOLD, NULL);
    request.timeout_ns = 60 * MS_NS;
    uint64_t before_ns = clock_ns();
    struct asking asking = {.request = request, .token = 4};
    act(&vrig.rig, puppet, puppet_ask_job, &asking);
    ck_assert_int_eq(asking.result, 0);
    ck_assert_int_eq(try_request(&vrig, &request, NULL), -ETIMEDOUT);
    ck_assert_uint_ge(clock_ns(), before_ns + 60 * MS_NS);
    struct seen seen = reply_at(&probe, 0);
    ck_assert_int_eq(seen.status, -ETIMEDOUT);
    ck_assert_uint_eq(seen.token, 4);
    ck_assert_uint_ge(seen.at_ns, asking.at_ns + 60 * MS_NS);
    ck_assert_uint_lt(seen.at_ns, before_ns + SOON_NS);
    request.tag = TAG_IGNORE;
    request.timeout_ns = SOON_NS;
    ck_assert_int_eq(try_request(&vrig, &request, NULL), WEFT_E_NOREPLY);
    (void)ask(&vrig, "a", TAG_LET_GO, 0); /* too late for both */
    settle(&vrig.rig, puppet);
    ck_assert_uint_eq(probe_count(&probe), 1);
    vrig_stop(&vrig);
    probe_fini(&probe);
}
END_TEST

static Suite *virtual_suite(void) {
    Suite *suite = suite_create("virtual");
    TCase *find = tcase_create("find");
    TCase *carry = tcase_create("carry");
    TCase *refuse = tcase_create("refuse");
    tcase_set_timeout(find, 180);
    tcase_set_timeout(carry, 180);
    tcase_set_timeout(refuse, 180);
    tcase_add_loop_test(find, a_call_activates_and_later_calls_find_the_same_actor, 0,
                        SCHEDULER_CASES);
    tcase_add_loop_test(find, a_cast_activates_as_a_call_does, 0, SCHEDULER_CASES);
    tcase_add_test(find, the_pid_of_an_answer_is_not_asked_for_when_null);
    tcase_add_loop_test(find, what_an_actor_gets_is_an_ordinary_message, 0, SCHEDULER_CASES);
    tcase_add_loop_test(find, an_answer_has_its_token_tag_payload_and_sender, 0, SCHEDULER_CASES);
    tcase_add_test(find, an_actor_knows_its_address);
    tcase_add_test(find, an_actor_that_was_spawned_is_no_virtual_one);
    tcase_add_loop_test(find, ids_of_every_size_are_actors_of_their_own, 0, SCHEDULER_CASES);
    tcase_add_test(find, an_empty_id_may_have_a_pointer);
    tcase_add_loop_test(find, ids_that_differ_in_one_byte_are_different_whatever_the_byte, 0,
                        SCHEDULER_CASES);
    tcase_add_loop_test(find, the_same_id_elsewhere_is_another_actor_of_the_same_shard, 0,
                        SCHEDULER_CASES);
    tcase_add_loop_test(carry, payloads_of_every_size_arrive, 0, SCHEDULER_CASES);
    tcase_add_test(carry, a_payload_in_a_buffer_is_not_copied);
    tcase_add_test(carry, a_request_is_only_looked_at_during_the_call);
    tcase_add_test(refuse, a_bad_request_is_refused_and_activates_nobody);
    tcase_add_test(refuse, a_payload_outside_of_its_buffer_is_refused);
    tcase_add_test(refuse, a_payload_above_the_limit_is_refused);
    tcase_add_loop_test(refuse, only_if_active_does_not_activate, 0, SCHEDULER_CASES);
    tcase_add_test(refuse, a_full_mailbox_refuses_and_tells_when_it_has_room);
    tcase_add_loop_test(refuse, a_call_that_is_not_answered_times_out_in_time, 0, SCHEDULER_CASES);
    suite_add_tcase(suite, find);
    suite_add_tcase(suite, carry);
    suite_add_tcase(suite, refuse);
    return suite;
}

int main(void) {
    return run_suite(virtual_suite());
}
