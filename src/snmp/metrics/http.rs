//! As much of HTTP/1.1 (RFC 9110, RFC 9112) as `/metrics` needs: one request a connection, of which nothing but the head
//! matters.

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use core::time::Duration;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Instant;

/// Longest head of a request.
const HEAD_OCTETS_MAX: usize = 8192;
/// A client has so long to send its request, and to take the answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a reader may take for all of an answer: others wait meanwhile.
const PATIENCE_WHOLE: Duration = Duration::from_secs(10);
/// How long a client whose request was refused may go on sending it.
const PATIENCE_REFUSED: Duration = Duration::from_millis(100);

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
    /// It is no request of HTTP/1.1, or has no `Host` (RFC 9112, 3.2).
    Malformed,
    /// Another method.
    Method,
    /// Another major version.
    Version,
}

impl Refused {
    pub(super) const fn status(self) -> &'static str {
        match self {
            Self::Malformed => "400 Bad Request",
            Self::Method => "405 Method Not Allowed",
            Self::Version => "505 HTTP Version Not Supported",
        }
    }

    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::Malformed => "This is no request of HTTP/1.1.\n",
            Self::Method => "Only GET and HEAD.\n",
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
    match version.strip_prefix("HTTP/").map(str::as_bytes) {
        Some(b"1.0") => {}
        Some([b'1', b'.', b'0'..=b'9']) => {
            let is_host =
                |line: &str| line.split_once(':').is_some_and(|(name, _)| name.eq_ignore_ascii_case("host"));
            if lines.filter(|line| is_host(line)).count() != 1 {
                return Err(Refused::Malformed);
            }
        }
        Some([b'0'..=b'9', b'.', b'0'..=b'9']) => return Err(Refused::Version),
        _ => return Err(Refused::Malformed),
    }
    let method = match method {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        _ => return Err(Refused::Method),
    };
    let whole = |target: &str, scheme: &str| {
        target.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme))
    };
    let after =
        ["http://", "https://"].iter().find(|scheme| whole(target, scheme)).map(|scheme| scheme.len());
    let path = match after {
        Some(after) => target[after..].find(['/', '?']).map_or("/", |at| &target[after + at..]),
        None if target.starts_with('/') => target,
        None => return Err(Refused::Malformed),
    };
    Ok((method, path.split('?').next().unwrap_or(path)))
}

/// Sends an answer and ends the connection.
pub(super) fn answer(
    mut stream: &TcpStream,
    octets: &[u8],
    is_whole: bool,
    stop: &AtomicBool,
) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write(stream, octets, stop)?;
    stream.shutdown(Shutdown::Write)?;
    if !is_whole {
        // What a closed socket has not read resets the connection, and the answer may be lost with it.
        let begun = Instant::now();
        let mut part = [0; 1024];
        while let Some(left) = PATIENCE_REFUSED.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) {
            stream.set_read_timeout(Some(left))?;
            if stream.read(&mut part)? == 0 {
                break;
            }
        }
    }
    Ok(())
}

/// Writes an answer, as long as the reader is not too slow and nobody wants to stop.
fn write(mut stream: &TcpStream, mut octets: &[u8], stop: &AtomicBool) -> io::Result<()> {
    let begun = Instant::now();
    while !octets.is_empty() {
        if begun.elapsed() > PATIENCE_WHOLE || stop.load(Relaxed) {
            return Err(ErrorKind::TimedOut.into());
        }
        match stream.write(octets) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(n) => octets = &octets[n..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A connection, and what has come of its request.
pub(super) struct Request {
    pub(super) stream: TcpStream,
    head: Vec<u8>,
    begun: Instant,
}

impl Request {
    pub(super) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, head: Vec::new(), begun: Instant::now() })
    }

    /// The head of the request, when all of it has come: without the empty line that ends it.
    pub(super) fn head(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut part = [0; 1024];
        loop {
            if let Some(end) = end(&self.head) {
                self.head.truncate(end);
                return Ok(Some(core::mem::take(&mut self.head)));
            }
            if self.begun.elapsed() > PATIENCE || self.head.len() > HEAD_OCTETS_MAX {
                return Err(ErrorKind::InvalidData.into());
            }
            match self.stream.read(&mut part) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(octets) => self.head.extend_from_slice(&part[..octets]),
                Err(error) if is_passing(error.kind()) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }
}

/// The length of the head, up to the empty line that ends it. Lines may end without a carriage return (RFC 9112, 2.2).
fn end(octets: &[u8]) -> Option<usize> {
    let mut ends = octets.iter().enumerate().filter(|(_, octet)| **octet == b'\n').map(|(at, _)| at + 1);
    ends.find(|&at| octets[at..].starts_with(b"\n") || octets[at..].starts_with(b"\r\n"))
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
    use std::net::TcpListener;
    use std::sync::Arc;

    use super::super::Exposition;
    use super::*;
    use crate::counters::Counters;
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
        assert_eq!(end(b"GET / HTTP/1.0\r\n\r\nmore"), Some(16));
        assert_eq!(end(b"GET / HTTP/1.0\n\n"), Some(15));
        assert_eq!(end(b"GET / HTTP/1.0\r\nHost: a\r\n"), None);
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

    #[test]
    fn answers_over_a_socket() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let server = std::thread::spawn(move || {
            let mut exposition = Exposition::new(Arc::new(Counters::new(1, 0)));
            exposition.run(&listener, &stopped, || UnixMillis(1_000)).unwrap();
        });
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
        assert_eq!(status("\r\n\r\n"), "HTTP/1.1 400 Bad Request");
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
