//! What stands on the wire between a client and a broker: requests, answers, and connections that wait for nothing for ever.
//!
//! Numbers are big-endian, texts and lists carry their length in front: the protocol's versions before the "flexible" ones
//! (<https://kafka.apache.org/protocol>).

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// Keys of requests.
pub(super) const FETCH: i16 = 1;
#[cfg(feature = "rdkafka")]
pub(super) const METADATA: i16 = 3;
pub(super) const API_VERSIONS: i16 = 18;

/// Largest answer to a small question that is believed.
const LARGEST: usize = 4 << 20;

/// A request's content.
#[derive(Default)]
pub(super) struct Body(pub(super) Vec<u8>);

impl Body {
    #[cfg(feature = "rdkafka")]
    pub(super) fn i8(mut self, n: i8) -> Self {
        self.0.extend_from_slice(&n.to_be_bytes());
        self
    }
    pub(super) fn i16(mut self, n: i16) -> Self {
        self.0.extend_from_slice(&n.to_be_bytes());
        self
    }
    pub(super) fn i32(mut self, n: i32) -> Self {
        self.0.extend_from_slice(&n.to_be_bytes());
        self
    }
    pub(super) fn i64(mut self, n: i64) -> Self {
        self.0.extend_from_slice(&n.to_be_bytes());
        self
    }
    pub(super) fn text(self, text: &str) -> Self {
        let mut this = self.i16(text.len() as i16);
        this.0.extend_from_slice(text.as_bytes());
        this
    }
}

/// Reads an answer; every step may find that it is cut off.
pub(super) struct Answer<'a>(pub(super) &'a [u8]);

impl<'a> Answer<'a> {
    pub(super) fn take(&mut self, n: usize) -> io::Result<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(n).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.0 = tail;
        Ok(head)
    }
    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| io::ErrorKind::UnexpectedEof.into())
    }
    pub(super) fn i16(&mut self) -> io::Result<i16> {
        Ok(i16::from_be_bytes(self.array()?))
    }
    pub(super) fn i32(&mut self) -> io::Result<i32> {
        Ok(i32::from_be_bytes(self.array()?))
    }
    pub(super) fn i64(&mut self) -> io::Result<i64> {
        Ok(i64::from_be_bytes(self.array()?))
    }
    /// A text; NULL is empty.
    pub(super) fn text(&mut self) -> io::Result<&'a str> {
        let n = usize::try_from(self.i16()?.max(0)).unwrap_or(0);
        std::str::from_utf8(self.take(n)?).map_err(|_| io::ErrorKind::InvalidData.into())
    }
    /// The length of a list; NULL is empty.
    pub(super) fn count(&mut self) -> io::Result<usize> {
        // Each element takes at least a byte.
        let n = usize::try_from(self.i32()?.max(0)).unwrap_or(0);
        if n <= self.0.len() { Ok(n) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

/// Connects within the time-out, which reads and writes have from then on.
pub(super) fn connect(address: &str, timeout: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for socket in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&socket, timeout) {
            Ok(stream) => {
                stream.set_read_timeout(Some(timeout))?;
                stream.set_write_timeout(Some(timeout))?;
                return Ok(stream);
            }
            Err(e) => last = e,
        }
    }
    Err(last)
}

/// By what name brokers know us.
pub(super) const CLIENT: &str = "millstream";

/// A request: its key, its version, a number that its answer repeats, and who asks.
#[derive(Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) key: i16,
    pub(super) version: i16,
    pub(super) number: i32,
    pub(super) client: &'a str,
}

/// Sends a request.
pub(super) fn send(stream: &mut TcpStream, request: Request<'_>, body: &[u8]) -> io::Result<()> {
    let Request { key, version, number, client } = request;
    let head = Body::default().i16(key).i16(version).i32(number).text(client);
    let size = (head.0.len() + body.len()) as i32;
    stream.write_all(&[&size.to_be_bytes()[..], &head.0, body].concat())
}

/// Reads the size of an answer and the number of its request; answers the size of what follows.
pub(super) fn announced(stream: &mut TcpStream, number: i32, largest: usize) -> io::Result<usize> {
    let mut head = [0; 8];
    stream.read_exact(&mut head)?;
    let mut head = Answer(&head);
    let size = usize::try_from(head.i32()?).unwrap_or(usize::MAX);
    if !(4..=largest).contains(&size) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "an answer of impossible size"));
    }
    if head.i32()? != number {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer to another question"));
    }
    Ok(size - 4)
}

/// Asks for little and waits for the answer.
pub(super) fn ask(stream: &mut TcpStream, key: i16, version: i16, body: Body) -> io::Result<Vec<u8>> {
    const NUMBER: i32 = -7;
    send(stream, Request { key, version, number: NUMBER, client: CLIENT }, &body.0)?;
    let mut answer = vec![0; announced(stream, NUMBER, LARGEST)?];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

/// The lowest and the highest version of a request in an answer to ApiVersions.
pub(super) fn versions(answer: &[u8], of: i16) -> io::Result<Option<(i16, i16)>> {
    let mut answer = Answer(answer);
    if answer.i16()? != 0 {
        return Ok(None);
    }
    for _ in 0..answer.count()? {
        let (key, least, most) = (answer.i16()?, answer.i16()?, answer.i16()?);
        if key == of {
            return Ok(Some((least, most)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_versions_of_a_request_are_found_and_a_cut_answer_is_an_error() {
        let answer = Body::default().i16(0).i32(2).i16(0).i16(3).i16(9).i16(1).i16(4).i16(17).0;
        assert_eq!(versions(&answer, FETCH).unwrap(), Some((4, 17)));
        for n in 0..answer.len() {
            assert!(versions(&answer[..n], FETCH).is_err(), "{n}");
        }
        assert_eq!(versions(&answer, API_VERSIONS).unwrap(), None);
        assert_eq!(versions(&Body::default().i16(35).0, FETCH).unwrap(), None);
    }
}
