//! A decoder of inferred columns: a value that does not fit is reported with the way out.

use crate::codec::{Decoded, Decoder, Input, Origin};
use crate::record::{BatchBuilder, ErrorCode};

/// Adds to each type mismatch that the type was inferred, and from what.
pub(crate) struct Hinting(pub(crate) Box<dyn Decoder>);

const HINT: &str =
    "; the type was inferred from the first rows: raise sample_rows (-1 = all) or declare the column";

impl Decoder for Hinting {
    fn decode(&mut self, bytes: &[u8], input: Input, origin: Origin, out: &mut BatchBuilder) -> Decoded {
        let before = out.rejects().len();
        let done = self.0.decode(bytes, input, origin, out);
        for reject in out.rejects_mut().iter_mut().skip(before) {
            if reject.error.code == ErrorCode::TypeMismatch && reject.error.column.is_some() {
                reject.error.message.push_str(HINT);
            }
        }
        done
    }
    fn reset(&mut self, at_start: bool) {
        self.0.reset(at_start);
    }
    fn read_head(&mut self, head: &[u8]) {
        self.0.read_head(head);
    }
    fn failure(&self) -> Option<&str> {
        self.0.failure()
    }
    fn unfinished(&self) -> Option<Origin> {
        self.0.unfinished()
    }
    fn fork(&self) -> Option<Box<dyn Decoder>> {
        Some(Box::new(Self(self.0.fork()?)))
    }
    fn boundary(&self, bytes: &[u8]) -> Option<usize> {
        self.0.boundary(bytes)
    }
}
