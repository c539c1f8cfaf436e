//! Requests of our own, where the library has none or can't be trusted with them: which versions a broker speaks, and the
//! offsets of groups.

use std::io;
use std::net::TcpStream;
use std::time::Duration;

use crate::connector::kafka::client::{KafkaError, KafkaErrorKind, Part};
use crate::connector::kafka::wire::{API_VERSIONS, Answer, Body, FETCH, ask, connect, versions};

const OFFSET_COMMIT: i16 = 8;
const OFFSET_FETCH: i16 = 9;
const FIND_COORDINATOR: i16 = 10;

/// Answers that mean "not now": the coordinator loads, is not there, or is another one.
const NOT_NOW: [i16; 3] = [14, 15, 16];

/// Sees to it that a broker still speaks the versions that the library does.
///
/// # Errors
/// `Retriable` if it does not answer, `Unsupported` if it is too new.
pub(super) fn probe(address: &str, timeout: Duration) -> Result<(), KafkaError> {
    let said = |e: io::Error| KafkaError::retriable(format!("broker {address}: {e}"));
    let mut stream = connect(address, timeout).map_err(said)?;
    let answer = match ask(&mut stream, API_VERSIONS, 0, Body::default()) {
        Ok(answer) => answer,
        // Brokers before 0.10 hang up on what they do not know.
        Err(e) if matches!(e.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => {
            return Ok(());
        }
        Err(e) => return Err(said(e)),
    };
    match versions(&answer, FETCH).map_err(said)? {
        Some((least, _)) if least > 0 => Err(KafkaError::new(
            KafkaErrorKind::Unsupported,
            format!(
                "broker {address} speaks Fetch from version {least} on (Kafka 4), and the client 'kafka' speaks version 0: build \
                 with --features rdkafka"
            ),
        )),
        _ => Ok(()),
    }
}

/// A connection to the coordinator of a group.
fn coordinator(servers: &[String], group: &str, timeout: Duration) -> Result<TcpStream, KafkaError> {
    let mut last = KafkaError::retriable("no broker");
    for server in servers {
        let found = || -> io::Result<Result<String, i16>> {
            let mut stream = connect(server, timeout)?;
            let answer = ask(&mut stream, FIND_COORDINATOR, 0, Body::default().text(group))?;
            let mut answer = Answer(&answer);
            let code = answer.i16()?;
            answer.i32()?;
            let (host, port) = (answer.text()?, answer.i32()?);
            Ok(if code == 0 { Ok(format!("{host}:{port}")) } else { Err(code) })
        };
        last = match found() {
            Ok(Ok(address)) => {
                return connect(&address, timeout).map_err(|e| {
                    KafkaError::retriable(format!("coordinator {address} of group {group}: {e}"))
                });
            }
            Ok(Err(code)) => coded(&format!("coordinator of group {group}"), code),
            Err(e) => KafkaError::retriable(format!("broker {server}: {e}")),
        };
    }
    Err(last)
}

fn coded(what: &str, code: i16) -> KafkaError {
    match NOT_NOW.contains(&code) {
        true => KafkaError::retriable(format!("{what}: not available now (error {code})")),
        false => KafkaError::fatal(format!("{what}: error {code}")),
    }
}

fn by_topic(parts: &[(Part, i64)]) -> Vec<(&str, Vec<(i32, i64)>)> {
    let mut topics: Vec<(&str, Vec<(i32, i64)>)> = Vec::new();
    for (part, offset) in parts {
        match topics.iter_mut().find(|(t, _)| *t == &*part.topic) {
            Some((_, list)) => list.push((part.partition, *offset)),
            None => topics.push((&part.topic, vec![(part.partition, *offset)])),
        }
    }
    topics
}

/// Commits offsets of a group whose members assign their partitions by hand. Asks once: whoever calls may ask again.
pub(super) fn commit(
    servers: &[String],
    group: &str,
    offsets: &[(Part, i64)],
    timeout: Duration,
) -> Result<(), KafkaError> {
    let mut stream = coordinator(servers, group, timeout)?;
    let topics = by_topic(offsets);
    // No generation, no member.
    let mut body = Body::default().text(group).i32(-1).text("").i32(topics.len() as i32);
    for (topic, partitions) in topics {
        body = body.text(topic).i32(partitions.len() as i32);
        for (partition, offset) in partitions {
            body = body.i32(partition).i64(offset).i64(-1).text("");
        }
    }
    let what = format!("commit for group {group}");
    let said = |e: io::Error| KafkaError::retriable(format!("{what}: {e}"));
    let answer = ask(&mut stream, OFFSET_COMMIT, 1, body).map_err(said)?;
    let codes = || -> io::Result<Vec<i16>> {
        let mut answer = Answer(&answer);
        let mut codes = Vec::new();
        for _ in 0..answer.count()? {
            answer.text()?;
            for _ in 0..answer.count()? {
                answer.i32()?;
                codes.push(answer.i16()?);
            }
        }
        Ok(codes)
    };
    let codes = codes().map_err(said)?;
    match codes.iter().find(|c| **c != 0) {
        Some(code) => Err(coded(&what, *code)),
        None if codes.len() < offsets.len() => {
            Err(KafkaError::retriable(format!("{what}: partitions are missing in the answer")))
        }
        None => Ok(()),
    }
}

/// Offsets that a group has committed.
pub(super) fn committed(
    servers: &[String],
    group: &str,
    parts: &[Part],
    timeout: Duration,
) -> Result<Vec<Option<i64>>, KafkaError> {
    let mut stream = coordinator(servers, group, timeout)?;
    let asked: Vec<(Part, i64)> = parts.iter().map(|p| (p.clone(), 0)).collect();
    let topics = by_topic(&asked);
    let mut body = Body::default().text(group).i32(topics.len() as i32);
    for (topic, partitions) in topics {
        body = body.text(topic).i32(partitions.len() as i32);
        for (partition, _) in partitions {
            body = body.i32(partition);
        }
    }
    let what = format!("offsets of group {group}");
    let said = |e: io::Error| KafkaError::retriable(format!("{what}: {e}"));
    let answer = ask(&mut stream, OFFSET_FETCH, 1, body).map_err(said)?;
    let found = || -> io::Result<Vec<(String, i32, i64, i16)>> {
        let mut answer = Answer(&answer);
        let mut found = Vec::new();
        for _ in 0..answer.count()? {
            let topic = answer.text()?;
            for _ in 0..answer.count()? {
                let (partition, offset) = (answer.i32()?, answer.i64()?);
                answer.text()?;
                found.push((topic.to_owned(), partition, offset, answer.i16()?));
            }
        }
        Ok(found)
    };
    let found = found().map_err(said)?;
    if let Some((_, _, _, code)) = found.iter().find(|(.., code)| *code != 0) {
        return Err(coded(&what, *code));
    }
    let of = |p: &Part| {
        let mine = found.iter().find(|(t, partition, ..)| *t == *p.topic && *partition == p.partition);
        mine.map(|(_, _, offset, _)| *offset).filter(|o| *o >= 0)
    };
    Ok(parts.iter().map(of).collect())
}
