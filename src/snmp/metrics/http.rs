//! As much of HTTP/1.1 (RFC 9110, RFC 9112) as `/metrics` needs: one request a connection, of which nothing but the head
//! matters.
//!
//! A [`Connection`] never waits: it reads and writes what its socket takes, and is looked at again. It ends by itself: its
//! request has [`PATIENCE`] to come, its answer [`PATIENCE_WHOLE`] to go, and what is read after it is bounded.

use core::time::Duration;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Instant;

/// Longest line of a request, with its end: what is longer is answered by 414.
const LINE_OCTETS_MAX: usize = 4096;
/// Longest head of a request, with the empty line that ends it: what is longer is answered by 431.
const HEAD_OCTETS_MAX: usize = 8192;
/// A client has so long to send its request.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a reader may take for all of an answer.
const PATIENCE_WHOLE: Duration = Duration::from_secs(10);
/// How long a client that has its answer may go on sending its request, or leave the connection open.
const PATIENCE_AFTER: Duration = Duration::from_millis(500);
/// Empty lines before a request, in octets, at most.
const BLANK_OCTETS_MAX: usize = 64;
/// What is read after a request at a time, at most: others are looked at in between.
const DRAINED_OCTETS_MAX: usize = 65_536;

/// What may be done with metrics.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Method {
    Get,
    /// The answer to GET without its content.
    Head,
}

/// Why a request has no answer of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Refused {
    /// It is no request of HTTP/1.1, or has no `Host`, or more than one, or none that is valid (RFC 9112, 3.2).
    Malformed,
    /// Another method.
    Method,
    /// Its head did not come in time.
    Late,
    /// Its first line is too long.
    LongTarget,
    /// Its head is too long.
    LongHead,
    /// Another major version.
    Version,
}

impl Refused {
    pub(super) const fn status(self) -> &'static str {
        match self {
            Self::Malformed => "400 Bad Request",
            Self::Method => "405 Method Not Allowed",
            Self::Late => "408 Request Timeout",
            Self::LongTarget => "414 URI Too Long",
            Self::LongHead => "431 Request Header Fields Too Large",
            Self::Version => "505 HTTP Version Not Supported",
        }
    }

    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::Malformed => "This is no request of HTTP/1.1.\n",
            Self::Method => "Only GET and HEAD.\n",
            Self::Late => "The request did not come in time.\n",
            Self::LongTarget => "The first line is too long.\n",
            Self::LongHead => "The head is too long.\n",
            Self::Version => "Only HTTP/1.0 and 1.1.\n",
        }
    }
}

/// The method and the path of a request.
///
/// The target is a path or, as every server has to take it, a whole address (RFC 9112, 3.2.2); a query says nothing here.
pub(super) fn parse(head: &[u8]) -> Result<(Method, &str), Refused> {
    let head = core::str::from_utf8(head).map_err(|_| Refused::Malformed)?;
    let mut lines = head.lines();
    let mut words = lines.next().unwrap_or("").split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Refused::Malformed);
    };
    let wants_host = match version.strip_prefix("HTTP/").map(str::as_bytes) {
        Some(b"1.0") => false,
        Some([b'1', b'.', b'0'..=b'9']) => true,
        Some([b'0'..=b'9', b'.', b'0'..=b'9']) => return Err(Refused::Version),
        _ => return Err(Refused::Malformed),
    };
    let hosts = hosts(lines)?;
    if hosts > 1 || wants_host && hosts == 0 {
        return Err(Refused::Malformed);
    }
    let method = match method {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        _ if method.is_empty() || !method.bytes().all(is_of_token) => return Err(Refused::Malformed),
        _ => return Err(Refused::Method),
    };
    let whole =
        |scheme: &&&str| target.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme));
    let path = match ["http://", "https://"].iter().find(whole) {
        Some(scheme) => {
            let after = &target[scheme.len()..];
            let end = after.find(['/', '?']).unwrap_or(after.len());
            // An address without a host is none (RFC 9110, 4.2.1).
            if !is_host(&after[..end]) || after[..end].is_empty() {
                return Err(Refused::Malformed);
            }
            if end == after.len() { "/" } else { &after[end..] }
        }
        None if target.starts_with('/') => target,
        None => return Err(Refused::Malformed),
    };
    Ok((method, path.split('?').next().unwrap_or(path)))
}

/// How many `Host` there are among these lines, which have to be header fields.
///
/// A line without a colon or with a name that is none is refused, as are one that goes on from the line before (RFC 9112,
/// 5.2), blanks before the colon (5.1) and a host that cannot be one (3.2). What the fields say matters to nobody else.
fn hosts<'a>(lines: impl Iterator<Item = &'a str>) -> Result<usize, Refused> {
    let mut hosts = 0;
    for line in lines {
        let (name, value) = line.split_once(':').ok_or(Refused::Malformed)?;
        let is_text = |c: char| c == '\t' || !c.is_control();
        if name.is_empty() || !name.bytes().all(is_of_token) || !value.chars().all(is_text) {
            return Err(Refused::Malformed);
        }
        if name.eq_ignore_ascii_case("host") {
            hosts += 1;
            if !is_host(value.trim_matches([' ', '\t'])) {
                return Err(Refused::Malformed);
            }
        }
    }
    Ok(hosts)
}

/// True for what methods and names of fields are made of (RFC 9110, 5.6.2).
fn is_of_token(c: u8) -> bool {
    c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c)
}

/// True for a host with or without a port (RFC 3986, 3.2.2), and for nothing, which is what a client sends for a target
/// without a host.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(Some((address, port))) if address.parse::<core::net::Ipv6Addr>().is_ok() => ("", port),
        Some(_) => return false,
        None => text.find(':').map_or((text, ""), |at| text.split_at(at)),
    };
    let is_of_name = |c: u8| c.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&c);
    let is_port = |port: &str| {
        port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.bytes().all(|c| c.is_ascii_digit()))
    };
    // A port alone is no host.
    let is_there = text.is_empty() || text.starts_with('[') || !host.is_empty();
    is_there && host.bytes().all(is_of_name) && is_port(port)
}

/// What a connection is at.
enum State {
    /// Its request comes.
    Asking,
    /// Its answer goes: from the place on that is told.
    Telling(Vec<u8>, usize),
    /// The answer has gone. What a closed socket has not read resets the connection, and the answer may be lost with it,
    /// so what comes after the head is still read.
    Draining,
}

/// What is to be done about a connection.
pub(super) enum Step {
    /// Its request is there, or why there will be none: [`Connection::answer`] it.
    Answer(Result<Vec<u8>, Refused>),
    /// Look at it later.
    Later,
    /// It is over.
    Over,
}

/// A connection, and what has come of its request.
pub(super) struct Connection {
    stream: TcpStream,
    head: Vec<u8>,
    /// Octets of empty lines before it.
    blank: usize,
    state: State,
    /// When it came into its state.
    begun: Instant,
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, head: Vec::new(), blank: 0, state: State::Asking, begun: Instant::now() })
    }

    /// True where its answer is on its way.
    pub(super) fn is_telling(&self) -> bool {
        matches!(self.state, State::Telling(..))
    }

    /// Does what can be done without waiting.
    pub(super) fn step(&mut self) -> io::Result<Step> {
        match &mut self.state {
            State::Asking => {
                let head = self.head()?;
                Ok(head.map_or(Step::Later, Step::Answer))
            }
            State::Telling(octets, sent) => {
                if self.begun.elapsed() > PATIENCE_WHOLE {
                    return Err(ErrorKind::TimedOut.into());
                }
                while *sent < octets.len() {
                    match self.stream.write(&octets[*sent..]) {
                        Ok(0) => return Err(ErrorKind::WriteZero.into()),
                        Ok(n) => *sent += n,
                        Err(error) if is_passing(error.kind()) => return Ok(Step::Later),
                        Err(error) => return Err(error),
                    }
                }
                self.stream.shutdown(Shutdown::Write)?;
                (self.state, self.begun) = (State::Draining, Instant::now());
                self.drain()
            }
            State::Draining => self.drain(),
        }
    }

    /// Begins to send an answer.
    pub(super) fn answer(&mut self, octets: Vec<u8>) {
        (self.state, self.begun) = (State::Telling(octets, 0), Instant::now());
        self.head = Vec::new();
    }

    fn drain(&mut self) -> io::Result<Step> {
        let mut part = [0; 4096];
        let mut octets = 0;
        while octets < DRAINED_OCTETS_MAX {
            match self.stream.read(&mut part) {
                Ok(0) => return Ok(Step::Over),
                Ok(n) => octets += n,
                Err(error) if is_passing(error.kind()) => break,
                Err(error) => return Err(error),
            }
        }
        let is_over = self.begun.elapsed() > PATIENCE_AFTER;
        Ok(if is_over { Step::Over } else { Step::Later })
    }

    /// The head of the request, when all of it has come, without the empty line that ends it; or what is wrong with it.
    fn head(&mut self) -> io::Result<Option<Result<Vec<u8>, Refused>>> {
        let mut part = [0; 1024];
        loop {
            let blank = blank(&self.head);
            self.head.drain(..blank);
            self.blank += blank;
            if self.blank > BLANK_OCTETS_MAX {
                return Ok(Some(Err(Refused::Malformed)));
            }
            if let Some(found) = head(&self.head) {
                return Ok(Some(found.map(<[u8]>::to_vec)));
            }
            if self.begun.elapsed() > PATIENCE {
                // Who has said nothing asks for nothing.
                return if self.head.is_empty() {
                    Err(ErrorKind::TimedOut.into())
                } else {
                    Ok(Some(Err(Refused::Late)))
                };
            }
            // An octet beyond the bound is enough to know that it is one.
            let room = (HEAD_OCTETS_MAX + 1).saturating_sub(self.head.len()).min(part.len());
            match self.stream.read(&mut part[..room]) {
                Ok(0) if self.head.is_empty() => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(0) => return Ok(Some(Err(Refused::Malformed))),
                Ok(octets) => self.head.extend_from_slice(&part[..octets]),
                Err(error) if is_passing(error.kind()) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Empty lines before a request, which say nothing (RFC 9112, 2.2).
fn blank(octets: &[u8]) -> usize {
    let mut at = 0;
    loop {
        at += match &octets[at..] {
            [b'\n', ..] => 1,
            [b'\r', b'\n', ..] => 2,
            _ => return at,
        };
    }
}

/// The head up to the empty line that ends it, which may be long [`HEAD_OCTETS_MAX`] with that line, or that it is too long;
/// `None` as long as neither is known. Lines may end without a carriage return (RFC 9112, 2.2).
fn head(octets: &[u8]) -> Option<Result<&[u8], Refused>> {
    let line = octets.iter().position(|octet| *octet == b'\n').map(|at| at + 1);
    if line.unwrap_or(octets.len()) > LINE_OCTETS_MAX {
        return Some(Err(Refused::LongTarget));
    }
    let mut ends = octets.iter().enumerate().filter(|(_, octet)| **octet == b'\n').map(|(at, _)| at + 1);
    let found = ends.find_map(|at| match &octets[at..] {
        [b'\n', ..] => Some((at, at + 1)),
        [b'\r', b'\n', ..] => Some((at, at + 2)),
        _ => None,
    });
    match found {
        Some((end, whole)) if whole <= HEAD_OCTETS_MAX => Some(Ok(&octets[..end])),
        None if octets.len() <= HEAD_OCTETS_MAX => None,
        _ => Some(Err(Refused::LongHead)),
    }
}

/// True for what a later call may not meet again.
pub(super) fn is_passing(error: ErrorKind) -> bool {
    matches!(
        error,
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted | ErrorKind::ConnectionAborted
    )
}

#[cfg(test)]
mod tests {
    use core::net::SocketAddr;
    use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use std::net::TcpListener;
    use std::sync::Arc;

    use super::super::Exposition;
    use super::*;
    use crate::counters::{Counters, LinkRow, Volume, Volumes};
    use crate::units::UnixMillis;

    #[test]
    fn requests_of_all_forms() {
        let host = "Host: a\r\n";
        for (line, fields, expected) in [
            ("GET /metrics HTTP/1.1", host, Ok((Method::Get, "/metrics"))),
            ("GET /metrics?a=/b&c HTTP/1.1", host, Ok((Method::Get, "/metrics"))),
            ("GET /metrics HTTP/1.0", "", Ok((Method::Get, "/metrics"))),
            ("HEAD /metrics HTTP/1.1", "hOST:a\r\n", Ok((Method::Head, "/metrics"))),
            ("GET http://[::1]:9655/metrics HTTP/1.1", host, Ok((Method::Get, "/metrics"))),
            ("GET HTTP://a/metrics?x HTTP/1.0", "", Ok((Method::Get, "/metrics"))),
            ("GET http://a HTTP/1.0", "", Ok((Method::Get, "/"))),
            ("GET http://a?x=/metrics HTTP/1.0", "", Ok((Method::Get, ""))),
            ("GET /metrics/ HTTP/1.0", "", Ok((Method::Get, "/metrics/"))),
            ("POST /metrics HTTP/1.1", host, Err(Refused::Method)),
            ("get /metrics HTTP/1.0", "", Err(Refused::Method)),
            ("OPTIONS * HTTP/1.0", "", Err(Refused::Method)),
            ("GET /metrics HTTP/1.1", "", Err(Refused::Malformed)),
            ("GET /metrics HTTP/1.1", "Host: a\r\nHost: b\r\n", Err(Refused::Malformed)),
            ("GET /metrics HTTP/2.0", host, Err(Refused::Version)),
            ("GET /metrics", host, Err(Refused::Malformed)),
            ("GET metrics HTTP/1.0", "", Err(Refused::Malformed)),
            ("GET  /metrics HTTP/1.0", "", Err(Refused::Malformed)),
            ("", "", Err(Refused::Malformed)),
        ] {
            let head = format!("{line}\r\n{fields}");
            assert_eq!(parse(head.as_bytes()), expected, "{head}");
        }
        assert_eq!(parse(b"GET /\xff HTTP/1.0"), Err(Refused::Malformed));
        assert_eq!(head(b"GET / HTTP/1.0\r\n\r\nmore"), Some(Ok(&b"GET / HTTP/1.0\r\n"[..])));
        assert_eq!(head(b"GET / HTTP/1.0\n\n"), Some(Ok(&b"GET / HTTP/1.0\n"[..])));
        assert_eq!(head(b"GET / HTTP/1.0\r\nHost: a\r\n"), None);
    }

    /// RFC 9112, 3.2 and 5; RFC 9110, 4.2.1.
    #[test]
    fn header_fields_and_hosts_are_what_the_rfcs_say() {
        let with = |fields: &str| parse(format!("GET / HTTP/1.1\r\n{fields}\r\n").as_bytes()).is_ok();
        for host in
            ["a", "a.example:9655", "192.0.2.1:80", "[2001:db8::1]", "[::1]:9655", "a:", "", "a_b", "%41"]
        {
            assert!(with(&format!("Host: {host}")), "{host}");
            assert!(with(&format!("Accept: */*, x;q=\"a:b\"\r\nhost:\t{host} ")), "{host}");
        }
        for host in
            ["a b", "a/b", "u@a", "a:b", "a:1:2", ":80", "[::1", "[a]", "[::1]x", "::1", "a\"", "a\u{e4}"]
        {
            assert!(!with(&format!("Host: {host}")), "{host}");
            assert!(parse(format!("GET / HTTP/1.0\r\nHost: {host}\r\n").as_bytes()).is_err(), "{host}");
        }
        for fields in [
            "Host: a\r\nno colon",
            "Host: a\r\n folded: x",
            "Host: a\r\n\tfolded",
            "Host : a",
            ": a\r\nHost: a",
            "Host: a\r\nX: \0",
        ] {
            assert!(!with(fields), "{fields:?}");
        }
        for target in
            ["http://", "http:///metrics", "https://?x", "http://:80/", "http://a b/", "http://u@a/"]
        {
            let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n");
            assert_eq!(parse(head.as_bytes()), Err(Refused::Malformed), "{target}");
        }
        assert_eq!(parse(b"G(T / HTTP/1.0\r\n"), Err(Refused::Malformed), "no token");
    }

    /// To the octet.
    #[test]
    fn heads_are_bounded() {
        // 17 octets of the first line, 3 and 2 of the field around its content, 2 of the end: 24.
        let of = |content: usize| format!("GET /m HTTP/1.0\r\nA: {}\r\n\r\n", "x".repeat(content));
        assert_eq!(of(0).len(), 24);
        assert!(matches!(head(of(8192 - 24).as_bytes()), Some(Ok(head)) if head.len() == 8190));
        assert_eq!(head(of(8193 - 24).as_bytes()), Some(Err(Refused::LongHead)));
        // Without its end it may still be one; with 8192 octets, too, and with more not.
        assert_eq!(head(&of(9000).as_bytes()[..8192]), None);
        assert_eq!(head(&of(9000).as_bytes()[..8193]), Some(Err(Refused::LongHead)));
        // A line with 4, 9 and 2 octets around its target.
        let line = |target: usize| format!("GET /{} HTTP/1.0\r\n\r\n", "x".repeat(target - 1));
        assert!(matches!(head(line(4096 - 15).as_bytes()), Some(Ok(_))));
        assert_eq!(head(line(4097 - 15).as_bytes()), Some(Err(Refused::LongTarget)));
        assert_eq!(head(&line(5000).as_bytes()[..4096]), None);
        assert_eq!(head(&line(5000).as_bytes()[..4097]), Some(Err(Refused::LongTarget)));
        for (octets, expected) in
            [(&b"\r\n\n\r\nGET"[..], 5), (b"\r", 0), (b"\r\n\r", 2), (b"", 0), (b"\rG", 0)]
        {
            assert_eq!(blank(octets), expected, "{octets:?}");
        }
    }

    /// What comes back for these octets.
    fn said(address: SocketAddr, octets: &[u8]) -> (String, String) {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(octets).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    /// A server of these on a thread, and how to stop it.
    fn serve(counters: Counters) -> (SocketAddr, Arc<AtomicBool>, std::thread::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let server = std::thread::spawn(move || {
            let mut exposition = Exposition::new(Arc::new(counters));
            exposition.run(&listener, &stopped, || UnixMillis(1_000)).unwrap();
        });
        (address, stop, server)
    }

    /// Who was refused and stays, and who does not read an answer, keep nobody waiting.
    #[test]
    fn nobody_is_kept_waiting_by_others() {
        let counters = Counters::new(1, 0);
        // A large answer, of more than sockets take by themselves: 5000 links with a kilobyte in each line of theirs.
        let link =
            |id| LinkRow { id, name: "x".repeat(1000), kind: String::new(), volume: Volume::default() };
        let links = (1..=5_000).map(link).collect();
        counters.volumes.store(Arc::new(Volumes { links, customers: Vec::new() }));
        let (address, stop, server) = serve(counters);
        let mut slow = TcpStream::connect(address).unwrap();
        slow.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
        let mut first = [0; 12];
        slow.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        let refused: Vec<TcpStream> = (0..20)
            .map(|_| {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.write_all(b"GET /other HTTP/1.0\r\n\r\n").unwrap();
                stream.write_all(b"more that is never over").unwrap();
                stream
            })
            .collect();
        // Not a whole scrape, which has to be written first: what is quickly told.
        let begun = Instant::now();
        let (head, _) = said(address, b"HEAD /none HTTP/1.0\r\n\r\n");
        let elapsed = begun.elapsed();
        assert!(head.starts_with("HTTP/1.1 404"), "{head}");
        // 20 of 100 ms each were two seconds, and the slow reader ten.
        assert!(elapsed < Duration::from_millis(1000), "{elapsed:?}");
        drop((refused, slow));
        stop.store(true, Relaxed);
        server.join().unwrap();
    }

    #[test]
    fn answers_over_a_socket() {
        let (address, stop, server) = serve(Counters::new(1, 0));
        let ask = |text: &str| said(address, text.as_bytes());
        let (head, body) = ask("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\nConnection: close"), "{head}");
        assert!(head.contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{head}");
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
        assert!(body.contains("\nfluxoscope_processors 1\n"), "{body}");
        let same = (head.clone(), body);
        assert_eq!(ask("GET /metrics HTTP/1.0\r\n\r\n"), same);
        assert_eq!(ask("GET /metrics HTTP/1.0\n\n"), same);
        assert_eq!(ask("GET http://b:9655/metrics?name=x HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n"), same);
        // The same head, with the length that GET would have, and nothing after it.
        assert_eq!(ask("HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n"), (head, String::new()));
        let status = |text: &str| ask(text).0.lines().next().unwrap_or_default().to_owned();
        assert_eq!(status("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), "HTTP/1.1 404 Not Found");
        let (head, body) = ask("HEAD /other HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 404") && body.is_empty(), "{head}{body}");
        // With content of which the server wants nothing.
        let content = "x".repeat(10_000);
        let post = format!("POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n{content}");
        let (head, body) = ask(&post);
        assert!(head.starts_with("HTTP/1.1 405 Method Not Allowed\r\nAllow: GET, HEAD\r\n"), "{head}");
        assert_eq!(body, "Only GET and HEAD.\n");
        assert_eq!(status("GET /metrics HTTP/1.1\r\n\r\n"), "HTTP/1.1 400 Bad Request");
        assert_eq!(status("GET /metrics HTTP/3.0\r\n\r\n"), "HTTP/1.1 505 HTTP Version Not Supported");
        assert_eq!(status("\r\n\nGET /metrics HTTP/1.0\r\n\r\n"), "HTTP/1.1 200 OK");
        let long = |octets| "x".repeat(octets);
        assert_eq!(status(&format!("GET /{} HTTP/1.0\r\n\r\n", long(5000))), "HTTP/1.1 414 URI Too Long");
        let fields = format!("GET /metrics HTTP/1.0\r\nA: {}\r\n\r\n", long(20_000));
        assert_eq!(status(&fields), "HTTP/1.1 431 Request Header Fields Too Large");
        // A head that does not end, though its sender is there.
        assert_eq!(status("GET /metrics HTTP/1.0\r\nA: b\r\n"), "HTTP/1.1 408 Request Timeout");
        assert_eq!(status(&"\n".repeat(65)), "HTTP/1.1 400 Bad Request");
        // In pieces, with somebody silent before it.
        let silent = TcpStream::connect(address).unwrap();
        let mut slow = TcpStream::connect(address).unwrap();
        for piece in ["GET /met", "rics HTTP/1.0\r", "\n\r", "\n"] {
            slow.write_all(piece.as_bytes()).unwrap();
            slow.flush().unwrap();
        }
        let mut text = String::new();
        slow.read_to_string(&mut text).unwrap();
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        drop(silent);
        stop.store(true, Relaxed);
        server.join().unwrap();
    }
}
