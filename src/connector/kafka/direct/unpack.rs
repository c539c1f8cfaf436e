//! Packed batches: gzip, snappy, lz4 and zstd.

use std::io::{self, Read};

/// Largest content of a batch that is believed: brokers take a megabyte, packed, unless they are told otherwise.
const LARGEST: usize = 256 << 20;
/// How the Java client's snappy begins: blocks with their lengths in front. librdkafka writes one block without.
const BLOCKS: &[u8] = b"\x82SNAPPY\0";

/// How the records of a batch are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Codec {
    /// By the attributes of a batch; `None`: unknown.
    pub(super) fn of(attributes: i16) -> Option<Self> {
        Some(match attributes & 7 {
            0 => Self::None,
            1 => Self::Gzip,
            2 => Self::Snappy,
            3 => Self::Lz4,
            4 => Self::Zstd,
            _ => return None,
        })
    }

    /// Puts the content of `packed` into `into`, in place of what was there.
    ///
    /// # Errors
    /// It is not packed like this, or holds too much.
    pub(super) fn unpack(self, packed: &[u8], into: &mut Vec<u8>) -> io::Result<()> {
        into.clear();
        match self {
            Self::None => into.extend_from_slice(packed),
            Self::Gzip => all(flate2::read::MultiGzDecoder::new(packed), into)?,
            Self::Snappy => snappy(packed, into)?,
            Self::Lz4 => all(lz4_flex::frame::FrameDecoder::new(packed), into)?,
            Self::Zstd => all(zstd::stream::read::Decoder::new(packed)?, into)?,
        }
        Ok(())
    }
}

fn too_much() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a batch of more than 256 MiB")
}

fn all(packed: impl Read, into: &mut Vec<u8>) -> io::Result<()> {
    packed.take(LARGEST as u64 + 1).read_to_end(into)?;
    if into.len() > LARGEST { Err(too_much()) } else { Ok(()) }
}

fn snappy(packed: &[u8], into: &mut Vec<u8>) -> io::Result<()> {
    let Some(rest) = packed.strip_prefix(BLOCKS) else { return block(packed, into) };
    // Two versions that nobody has changed.
    let mut rest = rest.get(8..).ok_or(io::ErrorKind::UnexpectedEof)?;
    while let Some((size, behind)) = rest.split_first_chunk() {
        let size = usize::try_from(i32::from_be_bytes(*size)).map_err(|_| io::ErrorKind::InvalidData)?;
        let (packed, behind) = behind.split_at_checked(size).ok_or(io::ErrorKind::UnexpectedEof)?;
        block(packed, into)?;
        rest = behind;
    }
    if rest.is_empty() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn block(packed: &[u8], into: &mut Vec<u8>) -> io::Result<()> {
    let from = into.len();
    let size = snap::raw::decompress_len(packed)?;
    if from + size > LARGEST {
        return Err(too_much());
    }
    into.resize(from + size, 0);
    let Some(place) = into.get_mut(from..) else { return Ok(()) };
    let n = snap::raw::Decoder::new().decompress(packed, place)?;
    into.truncate(from + n);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn packed(codec: Codec, content: &[u8]) -> Vec<u8> {
        match codec {
            Codec::None => content.to_vec(),
            Codec::Gzip => {
                let mut w = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                w.write_all(content).unwrap();
                w.finish().unwrap()
            }
            Codec::Snappy => snap::raw::Encoder::new().compress_vec(content).unwrap(),
            Codec::Lz4 => {
                let mut w = lz4_flex::frame::FrameEncoder::new(Vec::new());
                w.write_all(content).unwrap();
                w.finish().unwrap()
            }
            Codec::Zstd => zstd::encode_all(content, 1).unwrap(),
        }
    }

    const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    #[test]
    fn what_is_packed_comes_out_and_what_is_cut_is_an_error() {
        let content: Vec<u8> = (0..200_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        let mut into = b"of before".to_vec();
        for (number, codec) in ALL.into_iter().enumerate() {
            assert_eq!(Codec::of(number as i16 | 0x30), Some(codec));
            let packed = packed(codec, &content);
            codec.unpack(&packed, &mut into).unwrap();
            assert!(into == content, "{codec:?}");
            if codec != Codec::None {
                assert!(codec.unpack(&packed[..packed.len() / 2], &mut into).is_err(), "{codec:?}");
                assert!(codec.unpack(b"nothing of the kind", &mut into).is_err(), "{codec:?}");
            }
        }
        assert_eq!((5..8).map(Codec::of).collect::<Vec<_>>(), [None; 3]);
    }

    #[test]
    fn snappy_in_blocks_is_one_content() {
        let mut blocks = [BLOCKS, &[0, 0, 0, 1, 0, 0, 0, 1]].concat();
        for part in [&b"first, "[..], b"second"] {
            let packed = packed(Codec::Snappy, part);
            blocks.extend_from_slice(&(packed.len() as i32).to_be_bytes());
            blocks.extend_from_slice(&packed);
        }
        let mut into = Vec::new();
        Codec::Snappy.unpack(&blocks, &mut into).unwrap();
        assert_eq!(into, b"first, second");
        for cut in BLOCKS.len() + 9..blocks.len() - 1 {
            let all = Codec::Snappy.unpack(&blocks[..cut], &mut into);
            // A whole number of blocks is a content of its own.
            assert!(all.is_err() || into == b"first, ", "{cut}");
        }
    }

    #[test]
    fn a_bomb_is_an_error() {
        let mut zeros = Vec::new();
        let bomb = zstd::encode_all(io::repeat(0).take(LARGEST as u64 + 1), 1).unwrap();
        assert!(Codec::Zstd.unpack(&bomb, &mut zeros).is_err());
        // A length that no block of this size has.
        assert!(Codec::Snappy.unpack(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0], &mut zeros).is_err());
    }
}
