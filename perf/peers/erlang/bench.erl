%% SPDX-License-Identifier: MIT
%%
%% Local and remote workloads W1..W9 for Erlang/OTP.  Usage (see ./run):
%%   erl +P 4000000 -noshell -run bench main <workload>
-module(bench).
-behaviour(gen_server).
-export([main/1, serve/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).
-export([pong/0, ping/3, producer/2, consumer/3, child/1, idle/1, sky/4, ring/1,
         client/6, act_client/4, cl_remote/4, sink/1, chameneo/3, mall/4]).

-define(PEER, "erlang").

main([W | Args]) ->
    put(args, Args),
    case catch run(W) of
        {'EXIT', R} -> io:format("# ~s failed: ~p~n", [W, R]), halt(1);
        _ -> halt(0)
    end.

out(W, V, U) -> io:format("~s ~s ~.6g ~s~n", [?PEER, W, float(V), U]).
now_ns() -> erlang:monotonic_time(nanosecond).
secs(T0) -> (now_ns() - T0) / 1.0e9.

status(Key) ->
    {ok, B} = file:read_file("/proc/self/status"),
    {match, [N]} = re:run(B, Key ++ ":\\s+(\\d+)", [{capture, all_but_first, list}]),
    list_to_integer(N) * 1024.

%% ---- W1
run("w1") ->
    N = 4000000,
    B = spawn(?MODULE, pong, []),
    T0 = now_ns(),
    A = self(),
    spawn(?MODULE, ping, [A, B, N]),
    receive done -> ok end,
    out("w1_pingpong", N / secs(T0), "roundtrips/s");
%% ---- W2
run("w2") ->
    P = 1000, R = 10000, Me = self(),
    Pairs = [{spawn(fun() -> receive {go, B} -> ping(Me, B, R) end end), spawn(?MODULE, pong, [])}
             || _ <- lists:seq(1, P)],
    T0 = now_ns(),
    [A ! {go, B} || {A, B} <- Pairs],
    [receive done -> ok end || _ <- Pairs],
    out("w2_pairs", 2 * P * R / secs(T0), "msgs/s");
%% ---- W3
run("w3") ->
    P = 8, M = 1000000,
    T0 = now_ns(),
    C = spawn(?MODULE, consumer, [self(), P * M, 0]),
    [spawn(?MODULE, producer, [C, M]) || _ <- lists:seq(1, P)],
    receive done -> ok end,
    out("w3_fanin", P * M / secs(T0), "msgs/s");
%% ---- W4
run("w4") ->
    N = 1000000,
    T0 = now_ns(),
    C = spawn(?MODULE, consumer, [self(), N, 0]),
    spawn(fun() -> spawn_n(N, C, child) end),
    receive done -> ok end,
    out("w4_spawn", N / secs(T0), "actors/s");
run("w4mem") ->
    N = 1000000,
    erlang:garbage_collect(),
    B = status("VmRSS"),
    C = spawn(?MODULE, consumer, [self(), N, 0]),
    spawn(fun() -> spawn_n(N, C, idle) end),
    receive done -> ok end,
    out("w4_idle_rss", (status("VmRSS") - B) / N, "bytes/actor"),
    out("w4_idle_peak", (status("VmHWM") - B) / N, "bytes/actor");
%% ---- W5
run("w5") ->
    T0 = now_ns(),
    Me = self(),
    spawn(?MODULE, sky, [Me, 0, 1000000, 10]),
    receive 499999500000 -> ok end,
    out("w5_skynet", secs(T0), "s");
%% ---- W6
run("w6") ->
    K = 10000, H = 10000000, Me = self(),
    First = spawn(fun() -> receive {next, P} -> ring(P) end end),
    Last = lists:foldl(fun(_, Prev) -> spawn(?MODULE, ring, [Prev]) end, First, lists:seq(2, K)),
    First ! {next, Last},
    T0 = now_ns(),
    First ! {Me, H},
    receive done -> ok end,
    out("w6_ring", H / secs(T0), "hops/s");
%% ---- W7
run("w7") ->
    N = 3000000,
    {ok, S} = gen_server:start(?MODULE, 0, []),
    Me = self(),
    T0 = now_ns(),
    spawn(fun() -> calls(S, N), Me ! done end),
    receive done -> ok end,
    out("w7_call_1x1", N / secs(T0), "calls/s");
run("w7b") ->
    C = 64, M = 50000, Me = self(),
    Srv = list_to_tuple([begin {ok, S} = gen_server:start(?MODULE, 0, []), S end
                         || _ <- lists:seq(1, 1000)]),
    T0 = now_ns(),
    [begin A = atomics:new(M, []),
           spawn(?MODULE, client, [Me, Srv, A, I * 7919 + 1, M, M]) end || I <- lists:seq(1, C)],
    As = [receive {done, A} -> A end || _ <- lists:seq(1, C)],
    Sec = secs(T0),
    out("w7_call_64x1000", C * M / Sec, "calls/s"),
    {P50, P99} = pcts([atomics:get(A, I) || A <- As, I <- lists:seq(1, M)]),
    out("w7_call_64x1000_p50", P50 / 1000, "us"),
    out("w7_call_64x1000_p99", P99 / 1000, "us");
%% ---- W8
run("w8") ->
    N = 1000000, C = 64, Me = self(),
    T = ets:new(t, [set, public, {read_concurrency, true}, {write_concurrency, true}]),
    B = status("VmRSS"),
    T0 = now_ns(),
    Per = N div C,
    [spawn(?MODULE, act_client, [Me, T, {seq, I * Per}, Per]) || I <- lists:seq(0, C - 1)],
    [receive done -> ok end || _ <- lists:seq(1, C)],
    out("w8_activate", Per * C / secs(T0), "activations/s"),
    out("w8_active_rss", (status("VmRSS") - B) / N, "bytes/actor"),
    M = 5000000 div C,
    T1 = now_ns(),
    [spawn(?MODULE, act_client, [Me, T, {rnd, I * 7919 + 1, Per * C}, M]) || I <- lists:seq(1, C)],
    [receive done -> ok end || _ <- lists:seq(1, C)],
    out("w8_call", M * C / secs(T1), "calls/s");
%% ---- W9: args are label, server node
run("w9") ->
    [Lab, NodeS] = get(args),
    Node = list_to_atom(NodeS), Me = self(),
    connect(Node, 50),
    S = {echo, Node}, P = binary:copy(<<"x">>, 64),
    [gen_server:call(S, P) || _ <- lists:seq(1, 2000)],
    N = 50000,
    A = atomics:new(N, []),
    T0 = now_ns(),
    cl_remote(S, P, A, N),
    out("w9_" ++ Lab ++ "_call1", N / secs(T0), "calls/s"),
    {P50, P99} = pcts([atomics:get(A, I) || I <- lists:seq(1, N)]),
    out("w9_" ++ Lab ++ "_call1_p50", P50 / 1000, "us"),
    out("w9_" ++ Lab ++ "_call1_p99", P99 / 1000, "us"),
    C = 256, M = 2000,
    T1 = now_ns(),
    [spawn(fun() -> rcalls(S, P, M), Me ! done end) || _ <- lists:seq(1, C)],
    [receive done -> ok end || _ <- lists:seq(1, C)],
    out("w9_" ++ Lab ++ "_call256", C * M / secs(T1), "calls/s"),
    K = 1000000,
    T2 = now_ns(),
    stream({sink, Node}, P, K),
    out("w9_" ++ Lab ++ "_oneway64", K / secs(T2), "msgs/s"),
    L = 8192,
    T3 = now_ns(),
    stream({sink, Node}, binary:copy(<<"x">>, 65536), L),
    out("w9_" ++ Lab ++ "_oneway64k", L * 65536 / secs(T3) / 1.0e6, "MB/s"),
    rpc:cast(Node, erlang, halt, [0]),
    timer:sleep(200);
%% ---- X1 chameneos: 100 creatures, 1 mall, 2M meetings
run("x1") ->
    Meet = 2000000, K = 100,
    T0 = now_ns(),
    M = spawn(?MODULE, mall, [self(), Meet, none, K]),
    [spawn(?MODULE, chameneo, [M, I rem 3, 0]) || I <- lists:seq(1, K)],
    receive {sum, Sum} -> Sum = 2 * Meet end,
    out("x1_chameneos", Meet / secs(T0), "meetings/s").

%% ---- actors
pong() -> receive {From, N} -> From ! N, pong() end.
ping(Me, _, 0) -> Me ! done;
ping(Me, B, N) -> B ! {self(), N}, receive N -> ping(Me, B, N - 1) end.

producer(_, 0) -> ok;
producer(C, M) -> C ! M, producer(C, M - 1).
consumer(Me, N, N) -> Me ! done;
consumer(Me, N, I) -> receive _ -> consumer(Me, N, I + 1) end.

spawn_n(0, _, _) -> ok;
spawn_n(N, C, F) -> spawn(?MODULE, F, [C]) ! N, spawn_n(N - 1, C, F).
child(C) -> receive N -> C ! N end.
idle(C) -> receive N -> C ! N, idle(C) end.

sky(Up, Num, 1, _) -> Up ! Num;
sky(Up, Num, Size, Div) ->
    Me = self(), Sub = Size div Div,
    [spawn(?MODULE, sky, [Me, Num + I * Sub, Sub, Div]) || I <- lists:seq(0, Div - 1)],
    Up ! sum(Div, 0).
sum(0, S) -> S;
sum(N, S) -> receive X -> sum(N - 1, S + X) end.

ring(Next) ->
    receive {Me, 0} -> Me ! done; {Me, H} -> Next ! {Me, H - 1}, ring(Next) end.

calls(_, 0) -> ok;
calls(S, N) -> _ = gen_server:call(S, 1), calls(S, N - 1).
rcalls(_, _, 0) -> ok;
rcalls(S, P, N) -> P = gen_server:call(S, P, infinity), rcalls(S, P, N - 1).

client(Me, _, A, _, _, 0) -> Me ! {done, A};
client(Me, Srv, A, R0, M, N) ->
    R = rand:mwc59(R0),
    S = element(1 + (R rem 1000), Srv),
    T = now_ns(),
    _ = gen_server:call(S, 1, infinity),
    atomics:put(A, N, now_ns() - T),
    client(Me, Srv, A, R, M, N - 1).

act_client(Me, _, _, 0) -> Me ! done;
act_client(Me, T, {seq, K}, N) ->
    _ = keyed_call(T, K), act_client(Me, T, {seq, K + 1}, N - 1);
act_client(Me, T, {rnd, R0, Max}, N) ->
    R = rand:mwc59(R0),
    _ = keyed_call(T, R rem Max), act_client(Me, T, {rnd, R, Max}, N - 1).

keyed_call(T, K) ->
    Key = <<"user:", (integer_to_binary(K))/binary>>,
    Pid = case ets:lookup(T, Key) of
              [{_, P}] -> P;
              [] ->
                  {ok, P} = gen_server:start(?MODULE, 0, []),
                  case ets:insert_new(T, {Key, P}) of
                      true -> P;
                      false -> gen_server:stop(P), [{_, P2}] = ets:lookup(T, Key), P2
                  end
          end,
    gen_server:call(Pid, 1, infinity).

cl_remote(_, _, _, 0) -> ok;
cl_remote(S, P, A, N) ->
    T = now_ns(),
    P = gen_server:call(S, P, infinity),
    atomics:put(A, N, now_ns() - T),
    cl_remote(S, P, A, N - 1).

stream(Dst, P, K) ->
    stream1(Dst, P, K),
    Dst ! {done, self()},
    receive {count, K} -> ok end.
stream1(_, _, 0) -> ok;
stream1(Dst, P, K) -> Dst ! P, stream1(Dst, P, K - 1).

sink(N) ->
    receive
        {done, From} -> From ! {count, N}, sink(0);
        _ -> sink(N + 1)
    end.

connect(_, 0) -> exit(no_connection);
connect(N, I) ->
    case net_kernel:connect_node(N) of true -> ok; _ -> timer:sleep(100), connect(N, I - 1) end.

serve(_) ->
    register(sink, spawn(?MODULE, sink, [0])),
    {ok, _} = gen_server:start({local, echo}, ?MODULE, echo, []),
    timer:sleep(120000),
    halt(0).

chameneo(Mall, Col, N) ->
    Mall ! {self(), Col},
    receive
        {meet, C2} -> chameneo(Mall, (3 - Col - C2) rem 3, N + 1);
        {stop, To} -> To ! {n, N}
    end.
mall(Me, 0, none, K) -> mall_end(Me, K, K, 0);
mall(Me, 0, {P, _}, K) -> P ! {stop, self()}, mall_end(Me, K - 1, K, 0);
mall(Me, M, none, K) -> receive {P, C} -> mall(Me, M, {P, C}, K) end;
mall(Me, M, {P1, C1}, K) ->
    receive {P, C} -> P ! {meet, C1}, P1 ! {meet, C}, mall(Me, M - 1, none, K) end.
mall_end(Me, _, 0, S) -> Me ! {sum, S};
mall_end(Me, A, K, S) ->
    receive
        {n, N} -> mall_end(Me, A, K - 1, S + N);
        {P, _} when is_pid(P) -> P ! {stop, self()}, mall_end(Me, A - 1, K, S)
    end.

pcts(L) ->
    S = list_to_tuple(lists:sort(L)), N = tuple_size(S),
    {element(1 + N div 2, S), element(1 + (N * 99) div 100, S)}.

%% ---- gen_server: a counter (integer state) or an echo (state 'echo')
init(S) -> {ok, S}.
handle_call(P, _, echo) -> {reply, P, echo};
handle_call(D, _, S) -> {reply, S + D, S + D}.
handle_cast(_, S) -> {noreply, S}.
handle_info(_, S) -> {noreply, S}.
