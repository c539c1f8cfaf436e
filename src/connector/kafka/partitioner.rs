//! Which partition a message goes to: as Apache's Java client chooses, so that both agree on where a key lives.

/// MurmurHash2 (Austin Appleby), 32 bits, with the seed of Apache's Java client.
pub(super) fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut h: u32 = 0x9747_b28c ^ data.len() as u32;
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (i, byte) in rest.iter().enumerate() {
            h ^= u32::from(*byte) << (8 * i);
        }
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}

/// Spreads the messages of one topic over its partitions: by key, or, where there is none, one partition after another.
#[derive(Debug)]
pub(super) struct Partitioner {
    partitions: i32,
    next: i32,
}

impl Partitioner {
    /// For a topic of that many partitions, at least one.
    pub(super) fn new(partitions: i32) -> Self {
        Self { partitions: partitions.max(1), next: 0 }
    }
    /// The partition of a key.
    pub(super) fn of_key(&self, key: &[u8]) -> i32 {
        let positive = (murmur2(key) & 0x7fff_ffff) as i32;
        positive % self.partitions
    }
    /// The partition of messages without a key, until the next [`turn`](Self::turn): batches stay together.
    pub(super) fn of_none(&self) -> i32 {
        self.next
    }
    /// Messages without a key go to the next partition from here on.
    pub(super) fn turn(&mut self) {
        self.next = (self.next + 1) % self.partitions;
    }
    /// Whether there is such a partition.
    pub(super) fn has(&self, partition: i32) -> bool {
        (0..self.partitions).contains(&partition)
    }
    /// How many there are.
    pub(super) fn partitions(&self) -> i32 {
        self.partitions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of `UtilsTest.testMurmur2` in Apache Kafka.
    #[test]
    fn hashes_are_those_of_the_java_client() {
        for (text, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(text.as_bytes()) as i32, hash, "{text}");
        }
    }

    #[test]
    fn keys_keep_their_partition_and_messages_without_one_take_turns() {
        let mut p = Partitioner::new(3);
        assert_eq!(p.of_key(b"foobar"), (-790_332_482_i32 & 0x7fff_ffff) % 3);
        let turns: Vec<i32> = (0..4)
            .map(|_| {
                let at = p.of_none();
                p.turn();
                at
            })
            .collect();
        assert_eq!(turns, [0, 1, 2, 0]);
        assert!(p.has(2) && !p.has(3) && !p.has(-1));
    }
}
