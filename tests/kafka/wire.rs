//! A few requests of Kafka's protocol in the oldest version that brokers 3.9 and 4.x share: what tests need besides the client
//! under test.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const LEAVE_GROUP: i16 = 13;
const CREATE_TOPICS: i16 = 19;
const DELETE_RECORDS: i16 = 21;

struct Body(Vec<u8>);

impl Body {
    fn i8(mut self, n: i8) -> Self {
        self.0.extend(n.to_be_bytes());
        self
    }
    fn i16(mut self, n: i16) -> Self {
        self.0.extend(n.to_be_bytes());
        self
    }
    fn i32(mut self, n: i32) -> Self {
        self.0.extend(n.to_be_bytes());
        self
    }
    fn i64(mut self, n: i64) -> Self {
        self.0.extend(n.to_be_bytes());
        self
    }
    fn text(self, text: &str) -> Self {
        let mut this = self.i16(text.len() as i16);
        this.0.extend(text.as_bytes());
        this
    }
}

/// Sends a request and gives the answer behind its correlation number.
fn ask(address: &str, key: i16, version: i16, body: Body) -> Result<Vec<u8>, String> {
    let said = |e: std::io::Error| format!("{address}: {e}");
    let mut stream = TcpStream::connect(address).map_err(said)?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).map_err(said)?;
    let request = Body(Vec::new()).i16(key).i16(version).i32(1).text("test");
    let all = [request.0, body.0].concat();
    let sized = [&(all.len() as i32).to_be_bytes()[..], &all].concat();
    stream.write_all(&sized).map_err(said)?;
    let mut size = [0; 4];
    stream.read_exact(&mut size).map_err(said)?;
    let mut answer = vec![0; i32::from_be_bytes(size) as usize];
    stream.read_exact(&mut answer).map_err(said)?;
    answer.get(4..).map(<[u8]>::to_vec).ok_or_else(|| "no answer".into())
}

fn i16_at(answer: &[u8], at: usize) -> Result<i16, String> {
    let bytes = answer.get(at..at + 2).ok_or("an answer that is cut off")?;
    Ok(i16::from_be_bytes([bytes[0], bytes[1]]))
}

/// Makes a topic and waits until its partitions have leaders.
pub(crate) fn create_topic(
    address: &str,
    name: &str,
    partitions: usize,
    settings: &[(&str, &str)],
) -> Result<(), String> {
    let mut body =
        Body(Vec::new()).i32(1).text(name).i32(partitions as i32).i16(1).i32(0).i32(settings.len() as i32);
    for (setting, value) in settings {
        body = body.text(setting).text(value);
    }
    let answer = ask(address, CREATE_TOPICS, 2, body.i32(20_000).i8(0))?;
    // Throttle time, number of topics, name, error.
    match i16_at(&answer, 4 + 4 + 2 + name.len())? {
        0 => wait_for_leaders(address, name, partitions),
        code => Err(format!("topic {name} can't be made: error {code}")),
    }
}

/// Partitions without a leader would make the first requests of a client fail.
fn wait_for_leaders(address: &str, name: &str, partitions: usize) -> Result<(), String> {
    let from = Instant::now();
    while from.elapsed() < Duration::from_secs(60) {
        let answer = ask(address, 3, 1, Body(Vec::new()).i32(1).text(name))?;
        if leaders(&answer) == Some(partitions) {
            return Ok(());
        }
        std::thread::yield_now();
    }
    Err(format!("topic {name} gets no leaders"))
}

/// Number of partitions with a leader in an answer of metadata version 1 about one topic.
fn leaders(answer: &[u8]) -> Option<usize> {
    let mut at = 0;
    let mut take = |n: usize| {
        at += n;
        answer.get(at - n..at)
    };
    let i32_of = |b: &[u8]| Some(i32::from_be_bytes(b.try_into().ok()?));
    let i16_of = |b: &[u8]| Some(i16::from_be_bytes(b.try_into().ok()?));
    for _ in 0..i32_of(take(4)?)? {
        take(4)?;
        let host = i16_of(take(2)?)?;
        take(host as usize + 4)?;
        let rack = i16_of(take(2)?)?;
        take(rack.max(0) as usize)?;
    }
    take(4 + 4)?;
    if i16_of(take(2)?)? != 0 {
        return None;
    }
    let name = i16_of(take(2)?)?;
    take(name as usize + 1)?;
    let mut found = 0;
    for _ in 0..i32_of(take(4)?)? {
        let error = i16_of(take(2)?)?;
        take(4)?;
        found += usize::from(error == 0 && i32_of(take(4)?)? >= 0);
        for _ in 0..2 {
            let replicas = i32_of(take(4)?)?;
            take(4 * replicas as usize)?;
        }
    }
    Some(found)
}

/// Deletes what is before an offset.
pub(crate) fn delete_records(address: &str, topic: &str, partition: i32, offset: i64) -> Result<(), String> {
    let body = Body(Vec::new()).i32(1).text(topic).i32(1).i32(partition).i64(offset).i32(20_000);
    let answer = ask(address, DELETE_RECORDS, 1, body)?;
    // Throttle time, number of topics, name, number of partitions, partition, first offset, error.
    match i16_at(&answer, 4 + 4 + 2 + topic.len() + 4 + 4 + 8)? {
        0 => Ok(()),
        code => Err(format!("{topic}/{partition}: records can't be deleted: error {code}")),
    }
}

/// Takes a static member out of a group, as an administrator can: a request in its place, without its number.
pub(crate) fn expel(address: &str, group: &str, static_id: &str) -> Result<(), String> {
    let body = Body(Vec::new()).text(group).i32(1).text("").text(static_id);
    let answer = ask(address, LEAVE_GROUP, 3, body)?;
    // Throttle time, error; number of members, number and name of the one, error.
    let of_member = i16_at(&answer, 4 + 2 + 4).and_then(|id| {
        let at = 4 + 2 + 4 + 2 + id.max(0) as usize;
        i16_at(&answer, at + 2 + static_id.len())
    });
    match (i16_at(&answer, 4)?, of_member?) {
        (0, 0) => Ok(()),
        codes => Err(format!("{static_id} can't be taken out of {group}: errors {codes:?}")),
    }
}
