/* SPDX-License-Identifier: MIT
 *
 * The API from C++17: every public header, actors with C++ state (constructed in init, destroyed
 * in a cleanup, so also when they are killed), lambdas as callbacks, calls and timers.
 */
#include <weft/sim.h>
#include <weft/weft.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <vector>

namespace {

[[noreturn]] void fail(const char *what, int line) {
    std::fprintf(stderr, "cpp.cc:%d: %s\n", line, what);
    std::exit(EXIT_FAILURE);
}

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fail(#condition, __LINE__);                                                            \
        }                                                                                          \
    } while (0)

std::atomic<int> alive{0};

/* State with a destructor that matters. */
class Store {
  public:
    Store() {
        alive.fetch_add(1);
    }
    ~Store() {
        alive.fetch_sub(1);
    }
    Store(const Store &) = delete;
    Store &operator=(const Store &) = delete;

    int receive(weft_ctx *ctx, weft_msg *msg) {
        switch (weft_msg_kind(msg)) {
        case WEFT_MSG_USER:
            values_[weft_msg_tag(msg)].assign(static_cast<const char *>(weft_msg_data(msg)),
                                              weft_msg_size(msg));
            return WEFT_CONTINUE;
        case WEFT_MSG_REQUEST: {
            const std::string &value = values_[weft_msg_tag(msg)];
            int result = weft_reply(ctx, &msg, 0, value.data(), value.size());
            return result == WEFT_E_NOPROC ? WEFT_CONTINUE : result;
        }
        default:
            return WEFT_CONTINUE;
        }
    }

  private:
    std::map<std::uint32_t, std::string> values_;
};

/* No exception may leave a callback: std::bad_alloc becomes a reason to end. */
int init(weft_ctx *ctx, void *state, const void *, std::size_t) {
    try {
        Store *store = new (state) Store();
        int result = weft_defer(
            ctx, [](void *arg) { static_cast<Store *>(arg)->~Store(); }, store);
        if (result != 0) {
            store->~Store();
        }
        return result;
    } catch (...) {
        return -12; /* ENOMEM */
    }
}

weft_type_def store_def() {
    weft_type_def def = weft_type_def();
    def.struct_size = WEFT_TYPE_DEF_INIT;
    def.name = "store";
    def.state_size = sizeof(Store);
    def.init = init;
    def.receive = [](weft_ctx *ctx, void *state, weft_msg *msg) {
        return static_cast<Store *>(state)->receive(ctx, msg);
    };
    return def;
}

struct Destroyer {
    void operator()(weft_runtime *runtime) const {
        CHECK(weft_runtime_stop(runtime, UINT64_C(10000000000)) == 0);
        CHECK(weft_runtime_destroy(&runtime) == 0);
    }
};
using Runtime = std::unique_ptr<weft_runtime, Destroyer>;

Runtime start() {
    weft_config config = weft_config();
    config.struct_size = WEFT_CONFIG_INIT;
    config.schedulers = 2;
    weft_runtime *runtime = nullptr;
    CHECK(weft_runtime_create(&config, &runtime) == 0);
    CHECK(weft_runtime_start(runtime) == 0);
    return Runtime(runtime);
}

void use(weft_runtime *runtime) {
    const weft_type *type = nullptr;
    const weft_type_def def = store_def();
    CHECK(weft_type_register(runtime, &def, &type) == 0);
    CHECK(weft_type_find(runtime, "store") == type);
    std::vector<weft_pid> pids(100);
    for (weft_pid &pid : pids) {
        CHECK(weft_runtime_spawn(runtime, type, nullptr, &pid) == 0);
        const std::string text(300, static_cast<char>('a' + pid.slot % 26));
        CHECK(weft_runtime_send(runtime, pid, 7, text.data(), text.size()) == 0);
    }
    for (const weft_pid &pid : pids) {
        weft_msg *reply = nullptr;
        CHECK(weft_runtime_call(runtime, pid, 7, nullptr, 0, WEFT_TIMEOUT_DEFAULT, &reply) == 0);
        CHECK(weft_msg_size(reply) == 300);
        CHECK(*static_cast<const char *>(weft_msg_data(reply)) ==
              static_cast<char>('a' + pid.slot % 26));
        weft_runtime_msg_release(runtime, &reply);
        CHECK(reply == nullptr);
    }
    CHECK(alive.load() == 100);
    CHECK(weft_runtime_kill_actor(runtime, pids[0]) == 0);
    CHECK(weft_runtime_stop_actor(runtime, pids[1], 0) == 0);
    CHECK(weft_pid_compare(pids[0], pids[1]) != 0);
    CHECK(std::strcmp(weft_strerror(WEFT_E_NOPROC), "") != 0);
}

} // namespace

int main() {
    {
        const Runtime runtime = start();
        use(runtime.get());
    }
    CHECK(alive.load() == 0);
    return EXIT_SUCCESS;
}
