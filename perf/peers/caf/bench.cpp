// SPDX-License-Identifier: MIT
//
// Workloads W1..W9 for the C++ Actor Framework 0.17.  Usage (see ./run):
//   bench <workload>          local workloads
//   bench serve <tls|tcp> <port> <certdir>     W9 server process
//   bench w9    <tls|tcp> <port> <certdir>     W9 client process
// With CAF_POLICY=sharing in the environment the scheduler uses work sharing
// instead of the default work stealing, and lines are labelled caf-sharing.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include <unistd.h>

#include "caf/all.hpp"
#include "caf/io/all.hpp"
#include "caf/openssl/all.hpp"

using namespace caf;
using i64 = int64_t;
using go_atom = atom_constant<atom("go")>;
using done_atom = atom_constant<atom("done")>;
using meet_atom = atom_constant<atom("meet")>;
using stop_atom = atom_constant<atom("stop")>;
using msg_atom = atom_constant<atom("msg")>;
using sync_atom = atom_constant<atom("sync")>;

static i64 now_ns() {
  using namespace std::chrono;
  return duration_cast<nanoseconds>(steady_clock::now().time_since_epoch()).count();
}
static double secs(i64 t0) { return (now_ns() - t0) / 1e9; }
static void out(const std::string& w, double v, const char* u) {
  static const char* p = std::getenv("CAF_POLICY");
  std::printf("%s%s %s %.6g %s\n", p ? "caf-" : "caf", p ? p : "", w.c_str(), v, u);
  std::fflush(stdout);
}
static i64 status(const char* key) {
  std::ifstream f("/proc/self/status");
  std::string l;
  while (std::getline(f, l))
    if (l.compare(0, std::strlen(key), key) == 0)
      return std::atoll(l.c_str() + std::strlen(key) + 1) * 1024;
  return 0;
}
static uint64_t rnd(uint64_t& s) {
  s ^= s << 13; s ^= s >> 7; s ^= s << 17;
  return s;
}
static void pcts(const std::string& w, std::vector<i64>& v) {
  std::sort(v.begin(), v.end());
  out(w + "_p50", v[v.size() / 2] / 1e3, "us");
  out(w + "_p99", v[v.size() * 99 / 100] / 1e3, "us");
}
static void wait_done(scoped_actor& self, int n) {
  for (int i = 0; i < n; ++i)
    self->receive([](done_atom) {});
}

// ---- actors
behavior pong(event_based_actor*) {
  return {[](i64 n) { return n; }};
}
behavior ping(event_based_actor* self, actor peer, actor boss, i64 n0) {
  return {[=](go_atom) { self->send(peer, n0); },
          [=](i64 n) {
            if (n > 1)
              self->send(peer, n - 1);
            else
              self->send(boss, done_atom::value);
          }};
}
struct count_state { i64 n = 0; };
behavior consumer(stateful_actor<count_state>* self, actor boss, i64 total) {
  return {[=](i64) {
    if (++self->state.n == total)
      self->send(boss, done_atom::value);
  }};
}
behavior producer(event_based_actor* self, actor c, i64 m) {
  return {[=](go_atom) {
    for (i64 i = 0; i < m; ++i)
      self->send(c, i);
    self->quit();
  }};
}
behavior child(event_based_actor* self, actor coll, bool stay) {
  return {[=](i64 n) {
    self->send(coll, n);
    if (!stay)
      self->quit();
  }};
}
behavior spawner(event_based_actor* self, actor coll, i64 n, std::vector<actor>* keep) {
  return {[=](go_atom) {
    for (i64 i = 0; i < n; ++i) {
      auto a = self->spawn(child, coll, keep != nullptr);
      self->send(a, i);
      if (keep)
        keep->push_back(a);
    }
    self->quit();
  }};
}
struct sky_state { i64 n = 0, sum = 0; };
behavior sky(stateful_actor<sky_state>* self, actor up, i64 num, i64 size) {
  if (size == 1) {
    self->send(up, num);
    self->quit();
    return {};
  }
  i64 sub = size / 10;
  for (i64 i = 0; i < 10; ++i)
    self->spawn(sky, actor_cast<actor>(self), num + i * sub, sub);
  return {[=](i64 x) {
    self->state.sum += x;
    if (++self->state.n == 10) {
      self->send(up, self->state.sum);
      self->quit();
    }
  }};
}
behavior ring(event_based_actor* self, actor next, actor boss) {
  struct box { actor next; };
  auto b = std::make_shared<box>(box{next});
  return {[=](actor n) { b->next = n; },
          [=](i64 h) {
            if (h == 0)
              self->send(boss, done_atom::value);
            else
              self->send(b->next, h - 1);
          }};
}
struct counter_state { i64 v = 0; };
behavior counter(stateful_actor<counter_state>* self) {
  return {[=](i64 d) { return self->state.v += d; }};
}
struct client_state {
  std::vector<i64>* lat = nullptr;
  uint64_t seed;
  i64 left;
  void step(event_based_actor* self, const std::vector<actor>& srv, actor boss) {
    if (left-- == 0) {
      self->send(boss, done_atom::value);
      return;
    }
    auto& s = srv.size() == 1 ? srv[0] : srv[rnd(seed) % srv.size()];
    i64 t = lat ? now_ns() : 0;
    self->request(s, infinite, i64{1}).then([=, &srv](i64) {
      if (lat)
        lat->push_back(now_ns() - t);
      step(self, srv, boss);
    });
  }
};
behavior client(stateful_actor<client_state>* self, const std::vector<actor>* srv, actor boss,
                i64 n, uint64_t seed, std::vector<i64>* lat) {
  self->state.lat = lat;
  self->state.seed = seed;
  self->state.left = n;
  return {[=](go_atom) { self->state.step(self, *srv, boss); }};
}
// W8: 64-way sharded table from string key to actor handle
struct table {
  struct shard { std::mutex m; std::unordered_map<std::string, actor> map; } s[64];
  template <class S> actor get(S& sys, const std::string& k) {
    auto& h = s[std::hash<std::string>{}(k) & 63];
    std::lock_guard<std::mutex> g(h.m);
    auto i = h.map.find(k);
    if (i != h.map.end())
      return i->second;
    actor a = sys.spawn(counter);
    h.map.emplace(k, a);
    return a;
  }
};
struct keyed_state {
  bool seq;
  uint64_t next, max;
  i64 left;
  void step(event_based_actor* self, table* t, actor boss) {
    if (left-- == 0) {
      self->send(boss, done_atom::value);
      return;
    }
    uint64_t k = seq ? next++ : rnd(next) % max;
    actor a = t->get(self->system(), "user:" + std::to_string(k));
    self->request(a, infinite, i64{1}).then([=](i64) { step(self, t, boss); });
  }
};
behavior keyed_client(stateful_actor<keyed_state>* self, table* t, actor boss, bool seq,
                      uint64_t start, uint64_t max, i64 n) {
  self->state = keyed_state{seq, start, max, n};
  return {[=](go_atom) { self->state.step(self, t, boss); }};
}
// X1 chameneos
struct mall_state { i64 left; actor first; i64 col = 0; i64 sum = 0; int alive; };
behavior mall(stateful_actor<mall_state>* self, actor boss, i64 meetings, int k) {
  self->state.left = meetings;
  self->state.alive = k;
  return {[=](meet_atom, i64 c) {
            auto& s = self->state;
            auto who = actor_cast<actor>(self->current_sender());
            if (s.left == 0) {
              self->send(who, stop_atom::value);
            } else if (!s.first) {
              s.first = who;
              s.col = c;
            } else {
              self->send(who, s.col);
              self->send(s.first, c);
              s.first = nullptr;
              --s.left;
            }
          },
          [=](stop_atom, i64 n) {
            auto& s = self->state;
            s.sum += n;
            if (--s.alive == 0) {
              if (s.sum != 2 * meetings)
                std::printf("# chameneos sum wrong\n");
              self->send(boss, done_atom::value);
            }
          }};
}
struct creature_state { i64 col, n = 0; };
behavior creature(stateful_actor<creature_state>* self, actor m, i64 col) {
  self->state.col = col;
  return {[=](go_atom) { self->send(m, meet_atom::value, self->state.col); },
          [=](i64 c2) {
            self->state.col = (3 - self->state.col - c2 + 3) % 3;
            ++self->state.n;
            self->send(m, meet_atom::value, self->state.col);
          },
          [=](stop_atom) {
            self->send(m, stop_atom::value, self->state.n);
            self->quit();
          }};
}
// W9
behavior echo(stateful_actor<count_state>* self) {
  return {[](std::string& s) { return std::move(s); },
          [=](msg_atom, const std::string&) { ++self->state.n; },
          [=](sync_atom) {
            i64 n = self->state.n;
            self->state.n = 0;
            return n;
          },
          [](stop_atom) { _exit(0); }};
}
struct rc_state {
  i64 left;
  void step(event_based_actor* self, actor s, const std::string& p, actor boss, std::vector<i64>* lat) {
    if (left-- == 0) {
      self->send(boss, done_atom::value);
      return;
    }
    i64 t = lat ? now_ns() : 0;
    self->request(s, infinite, p).then([=, &p](const std::string&) {
      if (lat)
        lat->push_back(now_ns() - t);
      step(self, s, p, boss, lat);
    });
  }
};
behavior rclient(stateful_actor<rc_state>* self, actor s, const std::string* p, actor boss, i64 n,
                 std::vector<i64>* lat) {
  self->state.left = n;
  return {[=](go_atom) { self->state.step(self, s, *p, boss, lat); }};
}

struct config : actor_system_config {
  config(bool tls, const std::string& d) {
    set("scheduler.max-threads", 2u);
    if (const char* p = std::getenv("CAF_POLICY"))
      set("scheduler.policy", atom_from_string(p));
    if (!d.empty()) {
      load<io::middleman>();
      if (tls) {
        load<openssl::manager>();
        openssl_certificate = d + "/cert.pem";
        openssl_key = d + "/key.pem";
        openssl_cafile = d + "/ca.pem";
      }
    }
  }
};

static void local(actor_system& sys, const std::string& w) {
  scoped_actor self{sys};
  actor me = actor_cast<actor>(self);
  if (w == "w1") {
    i64 n = 4000000;
    auto b = sys.spawn(pong);
    auto a = sys.spawn(ping, b, me, n);
    i64 t0 = now_ns();
    self->send(a, go_atom::value);
    wait_done(self, 1);
    out("w1_pingpong", n / secs(t0), "roundtrips/s");
  } else if (w == "w2") {
    i64 p = 1000, r = 10000;
    std::vector<actor> v;
    for (i64 i = 0; i < p; ++i)
      v.push_back(sys.spawn(ping, sys.spawn(pong), me, r));
    i64 t0 = now_ns();
    for (auto& a : v)
      self->send(a, go_atom::value);
    wait_done(self, p);
    out("w2_pairs", 2 * p * r / secs(t0), "msgs/s");
  } else if (w == "w3") {
    i64 p = 8, m = 1000000;
    i64 t0 = now_ns();
    auto c = sys.spawn(consumer, me, p * m);
    for (i64 i = 0; i < p; ++i)
      self->send(sys.spawn(producer, c, m), go_atom::value);
    wait_done(self, 1);
    out("w3_fanin", p * m / secs(t0), "msgs/s");
  } else if (w == "w4" || w == "w4mem") {
    i64 n = 1000000;
    bool mem = w == "w4mem";
    std::vector<actor> keep;
    i64 b = status("VmRSS");
    i64 t0 = now_ns();
    auto c = sys.spawn(consumer, me, n);
    self->send(sys.spawn(spawner, c, n, mem ? &keep : nullptr), go_atom::value);
    wait_done(self, 1);
    if (!mem) {
      out("w4_spawn", n / secs(t0), "actors/s");
    } else {
      out("w4_idle_rss", (status("VmRSS") - b) / double(n), "bytes/actor");
      out("w4_idle_peak", (status("VmHWM") - b) / double(n), "bytes/actor");
      _exit(0);
    }
  } else if (w == "w5") {
    i64 t0 = now_ns(), sum = 0;
    sys.spawn(sky, me, i64{0}, i64{1000000});
    self->receive([&](i64 s) { sum = s; });
    double t = secs(t0);
    if (sum == 499999500000)
      out("w5_skynet", t, "s");
  } else if (w == "w6") {
    i64 k = 10000, h = 10000000;
    std::vector<actor> v;
    v.push_back(sys.spawn(ring, actor{}, me));
    for (i64 i = 1; i < k; ++i)
      v.push_back(sys.spawn(ring, v.back(), me));
    self->send(v[0], v.back());
    i64 t0 = now_ns();
    self->send(v[0], h);
    wait_done(self, 1);
    out("w6_ring", h / secs(t0), "hops/s");
    _exit(0);
  } else if (w == "w7") {
    i64 n = 2000000;
    std::vector<actor> srv{sys.spawn(counter)};
    i64 t0 = now_ns();
    self->send(sys.spawn(client, &srv, me, n, uint64_t{1}, nullptr), go_atom::value);
    wait_done(self, 1);
    out("w7_call_1x1", n / secs(t0), "calls/s");
    n = 200000;
    t0 = now_ns();
    for (i64 i = 0; i < n; ++i)
      self->request(srv[0], infinite, i64{1}).receive([](i64) {}, [](const error&) {});
    out("w7_call_1x1_blocking", n / secs(t0), "calls/s");
  } else if (w == "w7b") {
    i64 c = 64, m = 50000;
    std::vector<actor> srv;
    for (int i = 0; i < 1000; ++i)
      srv.push_back(sys.spawn(counter));
    std::vector<std::vector<i64>> lat(c);
    std::vector<actor> cl;
    for (i64 i = 0; i < c; ++i) {
      lat[i].reserve(m);
      cl.push_back(sys.spawn(client, &srv, me, m, uint64_t(i * 7919 + 1), &lat[i]));
    }
    i64 t0 = now_ns();
    for (auto& a : cl)
      self->send(a, go_atom::value);
    wait_done(self, c);
    out("w7_call_64x1000", c * m / secs(t0), "calls/s");
    std::vector<i64> all;
    for (auto& l : lat)
      all.insert(all.end(), l.begin(), l.end());
    pcts("w7_call_64x1000", all);
  } else if (w == "w8") {
    i64 n = 1000000, c = 64, per = n / c, m = 5000000 / c;
    table t;
    i64 b = status("VmRSS");
    i64 t0 = now_ns();
    for (i64 i = 0; i < c; ++i)
      self->send(sys.spawn(keyed_client, &t, me, true, uint64_t(i * per), uint64_t(n), per), go_atom::value);
    wait_done(self, c);
    out("w8_activate", c * per / secs(t0), "activations/s");
    out("w8_active_rss", (status("VmRSS") - b) / double(n), "bytes/actor");
    t0 = now_ns();
    for (i64 i = 0; i < c; ++i)
      self->send(sys.spawn(keyed_client, &t, me, false, uint64_t(i * 7919 + 1), uint64_t(per * c), m), go_atom::value);
    wait_done(self, c);
    out("w8_call", c * m / secs(t0), "calls/s");
    _exit(0);
  } else if (w == "x1") {
    i64 meetings = 2000000;
    int k = 100;
    auto m = sys.spawn(mall, me, meetings, k);
    std::vector<actor> v;
    for (int i = 0; i < k; ++i)
      v.push_back(sys.spawn(creature, m, i64{i % 3}));
    i64 t0 = now_ns();
    for (auto& a : v)
      self->send(a, go_atom::value);
    wait_done(self, 1);
    out("x1_chameneos", meetings / secs(t0), "meetings/s");
  }
}

static void remote(actor_system& sys, bool tls, uint16_t port) {
  scoped_actor self{sys};
  actor me = actor_cast<actor>(self), srv;
  std::string pre = tls ? "w9_tls" : "w9_tcp";
  for (int i = 0; i < 50; ++i) {
    auto r = tls ? openssl::remote_actor(sys, "127.0.0.1", port)
                 : sys.middleman().remote_actor("127.0.0.1", port);
    if (r) { srv = *r; break; }
    if (i == 49) { std::printf("# %s\n", sys.render(r.error()).c_str()); std::fflush(stdout); _exit(1); }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  std::string p(64, 'x'), big(65536, 'x');
  self->send(sys.spawn(rclient, srv, &p, me, i64{2000}, nullptr), go_atom::value);
  wait_done(self, 1);
  i64 n = 50000;
  std::vector<i64> lat;
  lat.reserve(n);
  i64 t0 = now_ns();
  self->send(sys.spawn(rclient, srv, &p, me, n, &lat), go_atom::value);
  wait_done(self, 1);
  out(pre + "_call1", n / secs(t0), "calls/s");
  pcts(pre + "_call1", lat);
  i64 c = 256, m = 2000;
  t0 = now_ns();
  for (i64 i = 0; i < c; ++i)
    self->send(sys.spawn(rclient, srv, &p, me, m, nullptr), go_atom::value);
  wait_done(self, c);
  out(pre + "_call256", c * m / secs(t0), "calls/s");
  auto stream = [&](const std::string& s, i64 k) {
    for (i64 i = 0; i < k; ++i)
      self->send(srv, msg_atom::value, s);
    self->request(srv, infinite, sync_atom::value)
      .receive([=](i64 got) { if (got != k) std::printf("# lost %ld\n", long(k - got)); }, [](const error&) {});
  };
  i64 k = 1000000;
  t0 = now_ns();
  stream(p, k);
  out(pre + "_oneway64", k / secs(t0), "msgs/s");
  k = 8192;
  t0 = now_ns();
  stream(big, k);
  out(pre + "_oneway64k", k * 65536.0 / secs(t0) / 1e6, "MB/s");
  self->send(srv, stop_atom::value);
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  _exit(0);
}

int main(int argc, char** argv) {
  std::string w = argc > 1 ? argv[1] : "";
  bool net = argc > 4;
  bool tls = net && std::string(argv[2]) == "tls";
  config cfg{tls, net ? argv[4] : ""};
  actor_system sys{cfg};
  if (w == "serve") {
    uint16_t port = uint16_t(std::atoi(argv[3]));
    auto a = sys.spawn(echo);
    auto r = tls ? openssl::publish(a, port, "127.0.0.1") : sys.middleman().publish(a, port, "127.0.0.1");
    if (!r) { std::printf("# %s\n", sys.render(r.error()).c_str()); std::fflush(stdout); _exit(1); }
    std::this_thread::sleep_for(std::chrono::seconds(120));
    _exit(0);
  } else if (w == "w9") {
    remote(sys, tls, uint16_t(std::atoi(argv[3])));
  } else {
    local(sys, w);
    _exit(0);
  }
}
