//! Where a Kafka reader stands: the next offset of each partition, as the bytes of a [`Position`].
//!
//! Version byte, then for each partition in order: length of the topic's name (u16), name, partition (u32), offset (u64), all
//! big-endian. For one set of partitions later positions compare greater.

use std::sync::Arc;

use super::client::Part;
use crate::record::Position;

const VERSION: u8 = 1;

/// How many partitions the printable form names.
const SHOWN: usize = 4;

pub(super) fn encode(parts: &[(Part, i64)]) -> Position {
    let mut bytes = vec![VERSION];
    for (part, offset) in parts {
        let name = part.topic.as_bytes();
        bytes.extend_from_slice(&(name.len() as u16).to_be_bytes());
        bytes.extend_from_slice(name);
        bytes.extend_from_slice(&(part.partition as u32).to_be_bytes());
        bytes.extend_from_slice(&(*offset as u64).to_be_bytes());
    }
    let mut shown: Vec<String> = parts.iter().take(SHOWN).map(|(p, o)| format!("{p}@{o}")).collect();
    if parts.len() > SHOWN {
        shown.push(format!("and {} partitions more", parts.len() - SHOWN));
    }
    Position::new(bytes, shown.join(", "))
}

/// The partitions and offsets of a position; `None` if it is none of ours.
pub(super) fn decode(position: &Position) -> Option<Vec<(Part, i64)>> {
    let (version, mut rest) = position.bytes().split_first()?;
    if *version != VERSION {
        return None;
    }
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let name = take(&mut rest, 2).and_then(|b| Some(u16::from_be_bytes(b.try_into().ok()?)))?;
        let topic = std::str::from_utf8(take(&mut rest, usize::from(name))?).ok()?;
        let partition = u32::from_be_bytes(take(&mut rest, 4)?.try_into().ok()?);
        let offset = u64::from_be_bytes(take(&mut rest, 8)?.try_into().ok()?);
        let part = Part { topic: Arc::from(topic), partition: i32::try_from(partition).ok()? };
        parts.push((part, i64::try_from(offset).ok()?));
    }
    Some(parts)
}

fn take<'a>(rest: &mut &'a [u8], n: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(n)?;
    *rest = tail;
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(topic: &str, partition: i32, offset: i64) -> (Part, i64) {
        (Part { topic: topic.into(), partition }, offset)
    }

    #[test]
    fn positions_read_back_and_grow() {
        let parts = vec![part("a", 0, 5), part("a", 1, 0), part("bé", 300, 1 << 40)];
        let position = encode(&parts);
        assert_eq!(decode(&position), Some(parts.clone()));
        assert_eq!(position.to_string(), "a/0@5, a/1@0, bé/300@1099511627776");
        for i in 0..parts.len() {
            let mut later = parts.clone();
            later[i].1 += 1;
            assert!(encode(&later) > position, "{i}");
        }
    }

    #[test]
    fn what_is_cut_or_foreign_is_no_position() {
        let position = encode(&[part("abc", 1, 7)]);
        for n in 2..position.bytes().len() {
            assert_eq!(decode(&Position::new(&position.bytes()[..n], "")), None, "{n}");
        }
        assert_eq!(decode(&Position::new([9], "")), None);
        assert_eq!(decode(&Position::default()), None);
        let negative = [&[1, 0, 0][..], &[0; 4], &[0xff; 8]].concat();
        assert_eq!(decode(&Position::new(negative, "")), None);
    }
}
