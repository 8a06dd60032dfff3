// SPDX-License-Identifier: MIT
//
// Workloads W1..W9 for Rust tokio: an actor is a task with an unbounded mpsc
// channel as mailbox, a call carries a oneshot sender.  Usage (see ./run):
//   bench <workload>                           local workloads
//   bench serve <tls|tcp> <port> <certdir>     W9 server process
//   bench w9    <tls|tcp> <port> <certdir>     W9 client process
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, BufWriter};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{channel, unbounded_channel, Sender, UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;

type Tx<T> = UnboundedSender<T>;
type Rx<T> = UnboundedReceiver<T>;

fn out(w: &str, v: f64, u: &str) {
    let prec = if v < 1000.0 { 4 } else { 0 };
    println!("tokio {w} {v:.prec$} {u}");
}
fn status(key: &str) -> f64 {
    let s = std::fs::read_to_string("/proc/self/status").unwrap();
    let l = s.lines().find(|l| l.starts_with(key)).unwrap();
    l.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 1024.0
}
fn rnd(s: &mut u64) -> u64 {
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    *s
}
fn pcts(w: &str, mut v: Vec<u64>) {
    v.sort_unstable();
    out(&format!("{w}_p50"), v[v.len() / 2] as f64 / 1e3, "us");
    out(&format!("{w}_p99"), v[v.len() * 99 / 100] as f64 / 1e3, "us");
}
async fn wait_done(rx: &mut Rx<()>, n: usize) {
    for _ in 0..n {
        rx.recv().await;
    }
}

// ---- actors
fn spawn_pair(rounds: u64, done: Tx<()>) {
    let (atx, mut arx) = unbounded_channel::<u64>();
    let (btx, mut brx) = unbounded_channel::<u64>();
    tokio::spawn(async move {
        while let Some(n) = brx.recv().await {
            let _ = atx.send(n);
        }
    });
    tokio::spawn(async move {
        for n in 0..rounds {
            let _ = btx.send(n);
            arx.recv().await;
        }
        let _ = done.send(());
    });
}
fn sky(up: Tx<u64>, num: u64, size: u64) -> std::pin::Pin<Box<dyn std::future::Future<Output = ()> + Send>> {
    Box::pin(async move {
        if size == 1 {
            let _ = up.send(num);
            return;
        }
        let (tx, mut rx) = unbounded_channel();
        for i in 0..10 {
            tokio::spawn(sky(tx.clone(), num + i * (size / 10), size / 10));
        }
        let mut sum = 0;
        for _ in 0..10 {
            sum += rx.recv().await.unwrap();
        }
        let _ = up.send(sum);
    })
}
struct Req(u64, oneshot::Sender<u64>);
fn counter() -> Tx<Req> {
    let (tx, mut rx) = unbounded_channel::<Req>();
    tokio::spawn(async move {
        let mut v = 0;
        while let Some(Req(d, reply)) = rx.recv().await {
            v += d;
            let _ = reply.send(v);
        }
    });
    tx
}
async fn call(s: &Tx<Req>) -> u64 {
    let (tx, rx) = oneshot::channel();
    let _ = s.send(Req(1, tx));
    rx.await.unwrap()
}
struct Table(Vec<Mutex<HashMap<String, Tx<Req>>>>);
impl Table {
    fn get(&self, k: String) -> Tx<Req> {
        let h = k.bytes().fold(2166136261u32, |h, b| (h ^ b as u32).wrapping_mul(16777619));
        self.0[h as usize & 63].lock().unwrap().entry(k).or_insert_with(counter).clone()
    }
}

async fn local(w: &str) {
    let (dtx, mut drx) = unbounded_channel::<()>();
    match w {
        "w1" => {
            let n = 4000000;
            let t = Instant::now();
            spawn_pair(n, dtx);
            wait_done(&mut drx, 1).await;
            out("w1_pingpong", n as f64 / t.elapsed().as_secs_f64(), "roundtrips/s");
        }
        "w2" => {
            let (p, r) = (1000, 10000);
            let t = Instant::now();
            for _ in 0..p {
                spawn_pair(r, dtx.clone());
            }
            wait_done(&mut drx, p).await;
            out("w2_pairs", (2 * p) as f64 * r as f64 / t.elapsed().as_secs_f64(), "msgs/s");
        }
        "w3" => {
            let (p, m) = (8, 1000000);
            let t = Instant::now();
            let (tx, mut rx) = unbounded_channel::<u64>();
            for _ in 0..p {
                let tx = tx.clone();
                tokio::spawn(async move {
                    for i in 0..m {
                        let _ = tx.send(i);
                    }
                });
            }
            tokio::spawn(async move {
                for _ in 0..p * m {
                    rx.recv().await;
                }
                let _ = dtx.send(());
            });
            wait_done(&mut drx, 1).await;
            out("w3_fanin", (p * m) as f64 / t.elapsed().as_secs_f64(), "msgs/s");
        }
        "w4" | "w4mem" => {
            let n = 1000000;
            let mem = w == "w4mem";
            let mut keep = Vec::with_capacity(if mem { n } else { 0 });
            let b = status("VmRSS");
            let (ctx, mut crx) = unbounded_channel::<u64>();
            let t = Instant::now();
            let sp = tokio::spawn(async move {
                for i in 0..n as u64 {
                    let (tx, mut rx) = unbounded_channel::<u64>();
                    let ctx = ctx.clone();
                    tokio::spawn(async move {
                        while let Some(v) = rx.recv().await {
                            let _ = ctx.send(v);
                            if !mem {
                                break;
                            }
                        }
                    });
                    let _ = tx.send(i);
                    if mem {
                        keep.push(tx);
                    }
                }
                keep
            });
            tokio::spawn(async move {
                for _ in 0..n {
                    crx.recv().await;
                }
                let _ = dtx.send(());
            });
            wait_done(&mut drx, 1).await;
            if mem {
                out("w4_idle_rss", (status("VmRSS") - b) / n as f64, "bytes/actor");
                out("w4_idle_peak", (status("VmHWM") - b) / n as f64, "bytes/actor");
            } else {
                out("w4_spawn", n as f64 / t.elapsed().as_secs_f64(), "actors/s");
            }
            let _ = sp.await;
            std::process::exit(0);
        }
        "w5" => {
            let (tx, mut rx) = unbounded_channel();
            let t = Instant::now();
            tokio::spawn(sky(tx, 0, 1000000));
            if rx.recv().await == Some(499999500000) {
                out("w5_skynet", t.elapsed().as_secs_f64(), "s");
            }
        }
        "w6" => {
            let (k, h) = (10000, 10000000u64);
            let (first, mut rx) = unbounded_channel::<u64>();
            for i in 0..k {
                let (tx, nrx) = unbounded_channel();
                let next = if i == k - 1 { first.clone() } else { tx };
                let done = dtx.clone();
                tokio::spawn(async move {
                    while let Some(n) = rx.recv().await {
                        if n == 0 {
                            let _ = done.send(());
                        } else {
                            let _ = next.send(n - 1);
                        }
                    }
                });
                rx = nrx;
            }
            let t = Instant::now();
            let _ = first.send(h);
            wait_done(&mut drx, 1).await;
            out("w6_ring", h as f64 / t.elapsed().as_secs_f64(), "hops/s");
            std::process::exit(0);
        }
        "w7" => {
            let n = 3000000;
            let s = counter();
            let t = Instant::now();
            tokio::spawn(async move {
                for _ in 0..n {
                    call(&s).await;
                }
                let _ = dtx.send(());
            });
            wait_done(&mut drx, 1).await;
            out("w7_call_1x1", n as f64 / t.elapsed().as_secs_f64(), "calls/s");
        }
        "w7b" => {
            let (c, m) = (64usize, 50000usize);
            let srv: Arc<Vec<_>> = Arc::new((0..1000).map(|_| counter()).collect());
            let t = Instant::now();
            let hs: Vec<_> = (0..c)
                .map(|i| {
                    let srv = srv.clone();
                    tokio::spawn(async move {
                        let mut seed = (i * 7919 + 1) as u64;
                        let mut l = Vec::with_capacity(m);
                        for _ in 0..m {
                            let s = &srv[(rnd(&mut seed) % 1000) as usize];
                            let t = Instant::now();
                            call(s).await;
                            l.push(t.elapsed().as_nanos() as u64);
                        }
                        l
                    })
                })
                .collect();
            let mut all = Vec::new();
            for h in hs {
                all.push(h.await.unwrap());
            }
            out("w7_call_64x1000", (c * m) as f64 / t.elapsed().as_secs_f64(), "calls/s");
            pcts("w7_call_64x1000", all.concat());
        }
        "w8" => {
            let (n, c) = (1000000u64, 64u64);
            let (per, m) = (n / c, 5000000 / c);
            let tb = Arc::new(Table((0..64).map(|_| Mutex::new(HashMap::new())).collect()));
            let b = status("VmRSS");
            let t = Instant::now();
            for i in 0..c {
                let (tb, done) = (tb.clone(), dtx.clone());
                tokio::spawn(async move {
                    for k in i * per..(i + 1) * per {
                        let s = tb.get(format!("user:{k}"));
                        call(&s).await;
                    }
                    let _ = done.send(());
                });
            }
            wait_done(&mut drx, c as usize).await;
            out("w8_activate", (c * per) as f64 / t.elapsed().as_secs_f64(), "activations/s");
            out("w8_active_rss", (status("VmRSS") - b) / n as f64, "bytes/actor");
            let t = Instant::now();
            for i in 0..c {
                let (tb, done) = (tb.clone(), dtx.clone());
                tokio::spawn(async move {
                    let mut seed = i * 7919 + 1;
                    for _ in 0..m {
                        let s = tb.get(format!("user:{}", rnd(&mut seed) % (per * c)));
                        call(&s).await;
                    }
                    let _ = done.send(());
                });
            }
            wait_done(&mut drx, c as usize).await;
            out("w8_call", (c * m) as f64 / t.elapsed().as_secs_f64(), "calls/s");
            std::process::exit(0);
        }
        "x1" => {
            let (meetings, k) = (2000000u64, 100i64);
            let (mtx, mut mrx) = unbounded_channel::<(i64, Tx<i64>)>();
            let (etx, mut erx) = unbounded_channel::<u64>();
            let t = Instant::now();
            for i in 0..k {
                let (mtx, etx) = (mtx.clone(), etx.clone());
                tokio::spawn(async move {
                    let (tx, mut rx) = unbounded_channel::<i64>();
                    let (mut col, mut n) = (i % 3, 0);
                    loop {
                        let _ = mtx.send((col, tx.clone()));
                        let c = rx.recv().await.unwrap();
                        if c < 0 {
                            break;
                        }
                        col = (6 - col - c) % 3;
                        n += 1;
                    }
                    let _ = etx.send(n);
                });
            }
            tokio::spawn(async move {
                for _ in 0..meetings {
                    let a = mrx.recv().await.unwrap();
                    let b = mrx.recv().await.unwrap();
                    let _ = a.1.send(b.0);
                    let _ = b.1.send(a.0);
                }
                for _ in 0..k {
                    let _ = mrx.recv().await.unwrap().1.send(-1);
                }
            });
            let mut sum = 0;
            for _ in 0..k {
                sum += erx.recv().await.unwrap();
            }
            if sum == 2 * meetings {
                out("x1_chameneos", meetings as f64 / t.elapsed().as_secs_f64(), "meetings/s");
            }
        }
        _ => {}
    }
}

// ---- W9: frame = u32 payload length, u8 kind, u64 id, payload
const CALL: u8 = 0;
const CAST: u8 = 1;
const SYNC: u8 = 2;
const STOP: u8 = 3;
struct Frame(u8, u64, Vec<u8>);

async fn read_frame<R: AsyncRead + Unpin>(r: &mut R) -> std::io::Result<Frame> {
    let mut h = [0u8; 13];
    r.read_exact(&mut h).await?;
    let mut p = vec![0; u32::from_le_bytes(h[..4].try_into().unwrap()) as usize];
    r.read_exact(&mut p).await?;
    Ok(Frame(h[4], u64::from_le_bytes(h[5..].try_into().unwrap()), p))
}
// drains its mailbox into the connection, flushing when it runs empty
async fn writer<W: AsyncWrite + Unpin>(w: W, mut rx: tokio::sync::mpsc::Receiver<Frame>) {
    let mut w = BufWriter::with_capacity(65536, w);
    while let Some(mut f) = rx.recv().await {
        loop {
            let mut h = [0u8; 13];
            h[..4].copy_from_slice(&(f.2.len() as u32).to_le_bytes());
            h[4] = f.0;
            h[5..].copy_from_slice(&f.1.to_le_bytes());
            if w.write_all(&h).await.is_err() || w.write_all(&f.2).await.is_err() {
                return;
            }
            match rx.try_recv() {
                Ok(n) => f = n,
                Err(_) => break,
            }
        }
        let _ = w.flush().await;
    }
}
async fn serve_conn<S: AsyncRead + AsyncWrite + Send + 'static>(s: S) {
    let (r, w) = tokio::io::split(s);
    let (reply, rrx) = channel::<Frame>(1024);
    let (actor, mut arx) = channel::<Frame>(1024);
    tokio::spawn(writer(w, rrx));
    tokio::spawn(async move {
        let mut n = 0;
        while let Some(f) = arx.recv().await {
            match f.0 {
                CALL => { let _ = reply.send(f).await; }
                CAST => n += 1,
                SYNC => { let _ = reply.send(Frame(SYNC, n, vec![])).await; n = 0; }
                _ => std::process::exit(0),
            }
        }
    });
    let mut r = BufReader::with_capacity(65536, r);
    while let Ok(f) = read_frame(&mut r).await {
        let _ = actor.send(f).await;
    }
}
struct Conn {
    send: Sender<Frame>,
    pend: Mutex<(u64, HashMap<u64, oneshot::Sender<Vec<u8>>>)>,
}
impl Conn {
    async fn call(&self, p: &[u8]) {
        let (tx, rx) = oneshot::channel();
        let id = {
            let mut g = self.pend.lock().unwrap();
            g.0 += 1;
            let id = g.0;
            g.1.insert(id, tx);
            id
        };
        let _ = self.send.send(Frame(CALL, id, p.to_vec())).await;
        let _ = rx.await;
    }
}
async fn client_conn<S: AsyncRead + AsyncWrite + Send + 'static>(s: S, pre: &str) {
    let (r, w) = tokio::io::split(s);
    let (send, srx) = channel::<Frame>(1024);
    let (ctx, mut counts) = unbounded_channel::<u64>();
    tokio::spawn(writer(w, srx));
    let c = Arc::new(Conn { send, pend: Mutex::new((0, HashMap::new())) });
    let c2 = c.clone();
    tokio::spawn(async move {
        let mut r = BufReader::with_capacity(65536, r);
        while let Ok(f) = read_frame(&mut r).await {
            if f.0 == SYNC {
                let _ = ctx.send(f.1);
            } else if let Some(tx) = c2.pend.lock().unwrap().1.remove(&f.1) {
                let _ = tx.send(f.2);
            }
        }
    });
    let p = vec![b'x'; 64];
    let (pre, p1, c1) = (pre.to_string(), p.clone(), c.clone());
    tokio::spawn(async move {
        for _ in 0..2000 {
            c1.call(&p1).await;
        }
        let n = 50000;
        let mut lat = Vec::with_capacity(n);
        let t = Instant::now();
        for _ in 0..n {
            let t = Instant::now();
            c1.call(&p1).await;
            lat.push(t.elapsed().as_nanos() as u64);
        }
        out(&format!("{pre}_call1"), n as f64 / t.elapsed().as_secs_f64(), "calls/s");
        pcts(&format!("{pre}_call1"), lat);
        let (k, m) = (256, 2000);
        let t = Instant::now();
        let hs: Vec<_> = (0..k)
            .map(|_| {
                let (c, p) = (c1.clone(), p1.clone());
                tokio::spawn(async move {
                    for _ in 0..m {
                        c.call(&p).await;
                    }
                })
            })
            .collect();
        for h in hs {
            let _ = h.await;
        }
        out(&format!("{pre}_call256"), (k * m) as f64 / t.elapsed().as_secs_f64(), "calls/s");
        for (name, p, k) in [("oneway64", p1, 1000000u64), ("oneway64k", vec![b'x'; 65536], 8192)] {
            let t = Instant::now();
            for _ in 0..k {
                let _ = c1.send.send(Frame(CAST, 0, p.clone())).await;
            }
            let _ = c1.send.send(Frame(SYNC, 0, vec![])).await;
            if counts.recv().await != Some(k) {
                println!("# lost messages");
            }
            let v = k as f64 / t.elapsed().as_secs_f64();
            if p.len() == 64 {
                out(&format!("{pre}_{name}"), v, "msgs/s");
            } else {
                out(&format!("{pre}_{name}"), v * 65536.0 / 1e6, "MB/s");
            }
        }
        let _ = c1.send.send(Frame(STOP, 0, vec![])).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    })
    .await
    .unwrap();
}

#[cfg(feature = "tls")]
mod tls {
    use super::*;
    use tokio_rustls::rustls::*;
    use tokio_rustls::{TlsAcceptor, TlsConnector};
    fn load(d: &str) -> (RootCertStore, Vec<Certificate>, PrivateKey) {
        let f = |n: &str| std::fs::read(format!("{d}/{n}")).unwrap();
        let mut r = RootCertStore::empty();
        r.add(&Certificate(f("ca.der"))).unwrap();
        (r, vec![Certificate(f("cert.der"))], PrivateKey(f("key.der")))
    }
    pub fn acceptor(d: &str) -> TlsAcceptor {
        let (r, c, k) = load(d);
        let cfg = ServerConfig::builder()
            .with_safe_defaults()
            .with_client_cert_verifier(server::AllowAnyAuthenticatedClient::new(r))
            .with_single_cert(c, k)
            .unwrap();
        TlsAcceptor::from(Arc::new(cfg))
    }
    pub async fn connect(d: &str, s: TcpStream) -> tokio_rustls::client::TlsStream<TcpStream> {
        let (r, c, k) = load(d);
        let cfg = ClientConfig::builder()
            .with_safe_defaults()
            .with_root_certificates(r)
            .with_single_cert(c, k)
            .unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(cfg)).connect(name, s).await.unwrap()
    }
}

async fn serve(kind: &str, port: &str, dir: &str) {
    let l = TcpListener::bind(format!("127.0.0.1:{port}")).await.unwrap();
    tokio::spawn(async {
        tokio::time::sleep(Duration::from_secs(120)).await;
        std::process::exit(0);
    });
    let _ = (kind, dir);
    loop {
        let (s, _) = l.accept().await.unwrap();
        let _ = s.set_nodelay(true);
        #[cfg(feature = "tls")]
        if kind == "tls" {
            let a = tls::acceptor(dir);
            tokio::spawn(async move { serve_conn(a.accept(s).await.unwrap()).await });
            continue;
        }
        tokio::spawn(serve_conn(s));
    }
}
async fn remote(kind: &str, port: &str, dir: &str) {
    let _ = dir;
    let mut tries = 0;
    let s = loop {
        match TcpStream::connect(format!("127.0.0.1:{port}")).await {
            Ok(s) => break s,
            Err(_) if tries < 50 => tries += 1,
            Err(e) => panic!("{e}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let _ = s.set_nodelay(true);
    #[cfg(feature = "tls")]
    if kind == "tls" {
        return client_conn(tls::connect(dir, s).await, "w9_tls").await;
    }
    client_conn(s, &format!("w9_{kind}")).await;
}

fn main() {
    let a: Vec<String> = std::env::args().collect();
    let rt = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    rt.block_on(async {
        match a[1].as_str() {
            "serve" => serve(&a[2], &a[3], &a[4]).await,
            "w9" => remote(&a[2], &a[3], &a[4]).await,
            w => {
                let w = w.to_string();
                tokio::spawn(async move { local(&w).await }).await.unwrap()
            }
        }
    });
    std::process::exit(0);
}
