// SPDX-License-Identifier: MIT
//
// Workloads W1..W9 for Go: an actor is a goroutine with a channel as mailbox.
// Usage (see ./run):
//
//	bench <workload>                          local workloads
//	bench serve <tls|tcp> <port> <certdir>    W9 server process
//	bench w9    <tls|tcp> <port> <certdir>    W9 client process
package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
)

func out(w string, v float64, u string) { fmt.Printf("go %s %.6g %s\n", w, v, u) }
func secs(t time.Time) float64          { return time.Since(t).Seconds() }
func status(key string) float64 {
	b, _ := os.ReadFile("/proc/self/status")
	for _, l := range strings.Split(string(b), "\n") {
		if strings.HasPrefix(l, key+":") {
			n, _ := strconv.Atoi(strings.Fields(l)[1])
			return float64(n) * 1024
		}
	}
	return 0
}
func rnd(s *uint64) uint64 {
	*s ^= *s << 13
	*s ^= *s >> 7
	*s ^= *s << 17
	return *s
}
func pcts(w string, v []int64) {
	sort.Slice(v, func(i, j int) bool { return v[i] < v[j] })
	out(w+"_p50", float64(v[len(v)/2])/1e3, "us")
	out(w+"_p99", float64(v[len(v)*99/100])/1e3, "us")
}

// ---- actors
func pong(in, to chan int) {
	for n := range in {
		to <- n
	}
}
func ping(in, to chan int, n int, done chan bool) {
	for ; n > 0; n-- {
		to <- n
		<-in
	}
	close(to)
	done <- true
}
func sky(up chan int, num, size int) {
	if size == 1 {
		up <- num
		return
	}
	in := make(chan int)
	sub := size / 10
	for i := 0; i < 10; i++ {
		go sky(in, num+i*sub, sub)
	}
	sum := 0
	for i := 0; i < 10; i++ {
		sum += <-in
	}
	up <- sum
}

type req struct {
	d     int
	reply chan int
}

func counter(in chan req) {
	v := 0
	for r := range in {
		v += r.d
		r.reply <- v
	}
}
func newCounter(cap int) chan req {
	c := make(chan req, cap)
	go counter(c)
	return c
}

type table struct {
	s [64]struct {
		sync.Mutex
		m map[string]chan req
		_ [40]byte
	}
}

func (t *table) get(k string) chan req {
	h := uint32(2166136261)
	for i := 0; i < len(k); i++ {
		h = (h ^ uint32(k[i])) * 16777619
	}
	s := &t.s[h&63]
	s.Lock()
	c, ok := s.m[k]
	if !ok {
		c = newCounter(1)
		s.m[k] = c
	}
	s.Unlock()
	return c
}

type meet struct {
	col   int
	reply chan int
}

func creature(mall chan meet, col int, in, end chan int) {
	n := 0
	for {
		mall <- meet{col, in}
		c := <-in
		if c < 0 {
			end <- n
			return
		}
		col = (3 - col - c + 3) % 3
		n++
	}
}

func local(w string) {
	switch w {
	case "w1":
		n := 4000000
		a, b, done := make(chan int, 1), make(chan int, 1), make(chan bool)
		t := time.Now()
		go pong(b, a)
		go ping(a, b, n, done)
		<-done
		out("w1_pingpong", float64(n)/secs(t), "roundtrips/s")
	case "w2":
		p, r, done := 1000, 10000, make(chan bool)
		t := time.Now()
		for i := 0; i < p; i++ {
			a, b := make(chan int, 1), make(chan int, 1)
			go pong(b, a)
			go ping(a, b, r, done)
		}
		for i := 0; i < p; i++ {
			<-done
		}
		out("w2_pairs", float64(2*p*r)/secs(t), "msgs/s")
	case "w3":
		p, m, in := 8, 1000000, make(chan int, 1024)
		t := time.Now()
		for i := 0; i < p; i++ {
			go func() {
				for i := 0; i < m; i++ {
					in <- i
				}
			}()
		}
		for i := 0; i < p*m; i++ {
			<-in
		}
		out("w3_fanin", float64(p*m)/secs(t), "msgs/s")
	case "w4":
		n, coll := 1000000, make(chan int, 1024)
		t := time.Now()
		go func() {
			for i := 0; i < n; i++ {
				c := make(chan int, 1)
				go func() { coll <- <-c }()
				c <- i
			}
		}()
		for i := 0; i < n; i++ {
			<-coll
		}
		out("w4_spawn", float64(n)/secs(t), "actors/s")
	case "w4mem":
		n, coll := 1000000, make(chan int, 1024)
		keep := make([]chan int, n)
		runtime.GC()
		b := status("VmRSS")
		go func() {
			for i := 0; i < n; i++ {
				c := make(chan int, 1)
				go func() {
					for v := range c {
						coll <- v
					}
				}()
				keep[i] = c
				c <- i
			}
		}()
		for i := 0; i < n; i++ {
			<-coll
		}
		out("w4_idle_rss", (status("VmRSS")-b)/float64(n), "bytes/actor")
		out("w4_idle_peak", (status("VmHWM")-b)/float64(n), "bytes/actor")
		runtime.KeepAlive(keep)
	case "w5":
		t, c := time.Now(), make(chan int)
		go sky(c, 0, 1000000)
		if <-c == 499999500000 {
			out("w5_skynet", secs(t), "s")
		}
	case "w6":
		k, h, done := 10000, 10000000, make(chan bool)
		cs := make([]chan int, k)
		for i := range cs {
			cs[i] = make(chan int, 1)
		}
		for i := range cs {
			go func(in, next chan int) {
				for n := range in {
					if n == 0 {
						done <- true
						return
					}
					next <- n - 1
				}
			}(cs[i], cs[(i+1)%k])
		}
		t := time.Now()
		cs[0] <- h
		<-done
		out("w6_ring", float64(h)/secs(t), "hops/s")
	case "w7":
		n, s, done := 3000000, newCounter(1), make(chan bool)
		t := time.Now()
		go func() {
			r := make(chan int, 1)
			for i := 0; i < n; i++ {
				s <- req{1, r}
				<-r
			}
			done <- true
		}()
		<-done
		out("w7_call_1x1", float64(n)/secs(t), "calls/s")
	case "w7b":
		c, m, done := 64, 50000, make(chan bool)
		srv := make([]chan req, 1000)
		for i := range srv {
			srv[i] = newCounter(16)
		}
		lat := make([]int64, c*m)
		t := time.Now()
		for i := 0; i < c; i++ {
			go func(l []int64, seed uint64) {
				r := make(chan int, 1)
				for j := range l {
					s := srv[rnd(&seed)%1000]
					t := time.Now()
					s <- req{1, r}
					<-r
					l[j] = int64(time.Since(t))
				}
				done <- true
			}(lat[i*m:(i+1)*m], uint64(i*7919+1))
		}
		for i := 0; i < c; i++ {
			<-done
		}
		out("w7_call_64x1000", float64(c*m)/secs(t), "calls/s")
		pcts("w7_call_64x1000", lat)
	case "w8":
		n, c, done := 1000000, 64, make(chan bool)
		var tb table
		for i := range tb.s {
			tb.s[i].m = map[string]chan req{}
		}
		per, m := n/c, 5000000/c
		b := status("VmRSS")
		keyed := func(cnt int, key func() uint64) {
			r := make(chan int, 1)
			for j := 0; j < cnt; j++ {
				tb.get("user:"+strconv.FormatUint(key(), 10)) <- req{1, r}
				<-r
			}
			done <- true
		}
		t := time.Now()
		for i := 0; i < c; i++ {
			k := uint64(i*per) - 1
			go keyed(per, func() uint64 { k++; return k })
		}
		for i := 0; i < c; i++ {
			<-done
		}
		out("w8_activate", float64(c*per)/secs(t), "activations/s")
		out("w8_active_rss", (status("VmRSS")-b)/float64(n), "bytes/actor")
		t = time.Now()
		for i := 0; i < c; i++ {
			s := uint64(i*7919 + 1)
			go keyed(m, func() uint64 { return rnd(&s) % uint64(per*c) })
		}
		for i := 0; i < c; i++ {
			<-done
		}
		out("w8_call", float64(c*m)/secs(t), "calls/s")
	case "x1":
		meetings, k := 2000000, 100
		mall, end := make(chan meet, 128), make(chan int, 128)
		t := time.Now()
		for i := 0; i < k; i++ {
			go creature(mall, i%3, make(chan int, 1), end)
		}
		for i := 0; i < meetings; i++ {
			a := <-mall
			b := <-mall
			a.reply <- b.col
			b.reply <- a.col
		}
		for i := 0; i < k; i++ {
			(<-mall).reply <- -1
		}
		sum := 0
		for i := 0; i < k; i++ {
			sum += <-end
		}
		if sum == 2*meetings {
			out("x1_chameneos", float64(meetings)/secs(t), "meetings/s")
		}
	}
}

// ---- W9: frame = u32 payload length, u8 kind, u64 id, payload
const (
	call = iota
	cast
	syncReq
	stop
)

type frame struct {
	kind byte
	id   uint64
	p    []byte
}

func readFrame(r *bufio.Reader) (frame, error) {
	var h [13]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return frame{}, err
	}
	p := make([]byte, binary.LittleEndian.Uint32(h[:]))
	_, err := io.ReadFull(r, p)
	return frame{h[4], binary.LittleEndian.Uint64(h[5:]), p}, err
}

// writer drains its mailbox into the connection, flushing when it runs empty.
func writer(c net.Conn, in chan frame) {
	w := bufio.NewWriterSize(c, 65536)
	for f := range in {
		for more := true; more; {
			var h [13]byte
			binary.LittleEndian.PutUint32(h[:], uint32(len(f.p)))
			h[4] = f.kind
			binary.LittleEndian.PutUint64(h[5:], f.id)
			w.Write(h[:])
			w.Write(f.p)
			select {
			case f = <-in:
			default:
				more = false
			}
		}
		w.Flush()
	}
}

func tlsConf(d string) *tls.Config {
	cert, err := tls.LoadX509KeyPair(d+"/cert.pem", d+"/key.pem")
	ca, err2 := os.ReadFile(d + "/ca.pem")
	if err != nil || err2 != nil {
		panic("certificates")
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	return &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: pool, ClientCAs: pool,
		ClientAuth: tls.RequireAndVerifyClientCert, ServerName: "localhost"}
}

func serve(kind, port, dir string) {
	l, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		panic(err)
	}
	time.AfterFunc(120*time.Second, func() { os.Exit(0) })
	for {
		c, err := l.Accept()
		if err != nil {
			panic(err)
		}
		if kind == "tls" {
			c = tls.Server(c, tlsConf(dir))
		}
		reply, actor := make(chan frame, 1024), make(chan frame, 1024)
		go writer(c, reply)
		go func() { // the server actor
			n := uint64(0)
			for f := range actor {
				switch f.kind {
				case call:
					reply <- f
				case cast:
					n++
				case syncReq:
					reply <- frame{syncReq, n, nil}
					n = 0
				case stop:
					os.Exit(0)
				}
			}
		}()
		go func() {
			r := bufio.NewReaderSize(c, 65536)
			for {
				f, err := readFrame(r)
				if err != nil {
					return
				}
				actor <- f
			}
		}()
	}
}

func remote(kind, port, dir string) {
	pre := "w9_" + kind
	var c net.Conn
	var err error
	for i := 0; i < 50; i++ {
		if c, err = net.Dial("tcp", "127.0.0.1:"+port); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if kind == "tls" {
		c = tls.Client(c, tlsConf(dir))
	}
	send := make(chan frame, 1024)
	go writer(c, send)
	var mu sync.Mutex
	pend, next, counts := map[uint64]chan []byte{}, uint64(0), make(chan uint64, 1)
	go func() {
		r := bufio.NewReaderSize(c, 65536)
		for {
			f, err := readFrame(r)
			if err != nil {
				return
			}
			if f.kind == syncReq {
				counts <- f.id
				continue
			}
			mu.Lock()
			ch := pend[f.id]
			delete(pend, f.id)
			mu.Unlock()
			ch <- f.p
		}
	}()
	rcall := func(p []byte, ch chan []byte) {
		mu.Lock()
		next++
		id := next
		pend[id] = ch
		mu.Unlock()
		send <- frame{call, id, p}
		<-ch
	}
	p, ch := bytes.Repeat([]byte("x"), 64), make(chan []byte, 1)
	for i := 0; i < 2000; i++ {
		rcall(p, ch)
	}
	n := 50000
	lat := make([]int64, n)
	t := time.Now()
	for i := range lat {
		t := time.Now()
		rcall(p, ch)
		lat[i] = int64(time.Since(t))
	}
	out(pre+"_call1", float64(n)/secs(t), "calls/s")
	pcts(pre+"_call1", lat)
	k, m := 256, 2000
	var wg sync.WaitGroup
	t = time.Now()
	for i := 0; i < k; i++ {
		wg.Add(1)
		go func() {
			ch := make(chan []byte, 1)
			for j := 0; j < m; j++ {
				rcall(p, ch)
			}
			wg.Done()
		}()
	}
	wg.Wait()
	out(pre+"_call256", float64(k*m)/secs(t), "calls/s")
	stream := func(p []byte, k int) {
		for i := 0; i < k; i++ {
			send <- frame{cast, 0, p}
		}
		send <- frame{syncReq, 0, nil}
		if got := <-counts; got != uint64(k) {
			fmt.Println("# lost", uint64(k)-got)
		}
	}
	k = 1000000
	t = time.Now()
	stream(p, k)
	out(pre+"_oneway64", float64(k)/secs(t), "msgs/s")
	k = 8192
	t = time.Now()
	stream(bytes.Repeat([]byte("x"), 65536), k)
	out(pre+"_oneway64k", float64(k)*65536/secs(t)/1e6, "MB/s")
	send <- frame{stop, 0, nil}
	time.Sleep(200 * time.Millisecond)
}

func main() {
	a := os.Args
	switch a[1] {
	case "serve":
		serve(a[2], a[3], a[4])
	case "w9":
		remote(a[2], a[3], a[4])
	default:
		local(a[1])
	}
}
