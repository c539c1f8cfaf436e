//! Which work behind a source is done where its records are decoded: its first operator's, and the encoding of the sink behind that.

use std::sync::Arc;

use parking_lot::Mutex;

use super::TraceMode;
use super::core::{Core, Target};
use super::driver::OpenSource;
use super::sink_stage::SinkStage;
use crate::io::BatchEncoder;
use crate::plan::InputRef;
use crate::record::{Batch, Books, Prepare, Preparer};

/// Tells each source what its helpers may do.
pub(super) fn divide(sources: &mut [OpenSource], core: &Core, sinks: &[SinkStage], trace: TraceMode) {
    for (i, source) in sources.iter_mut().enumerate() {
        let mut way = core.only_target(InputRef::Source(i));
        let mut operator = None;
        if let Some(Target::Node { node, .. }) = way {
            operator = core.nodes.get(node).and_then(|n| n.operator.ahead());
            way = operator.as_ref().and_then(|_| core.only_target(InputRef::Node(node)));
        }
        // Trace context is put into records on their way to the sink.
        let encoder = match way {
            Some(Target::Sink(sink)) if trace == TraceMode::Off => {
                sinks.get(sink).and_then(SinkStage::encoder)
            }
            _ => None,
        };
        if operator.is_some() || encoder.is_some() {
            source.stage.prepared_by(Arc::new(Division { operator, encoder: encoder.map(Mutex::new) }));
        }
    }
}

/// What is done ahead for one source.
struct Division {
    operator: Option<Arc<dyn Prepare>>,
    /// Locked when a decoder is made, never for a batch.
    encoder: Option<Mutex<Box<dyn BatchEncoder>>>,
}

impl Prepare for Division {
    fn preparer(&self) -> Box<dyn Preparer> {
        Box::new(Share {
            operator: self.operator.as_ref().map(|o| o.preparer()),
            encoder: self.encoder.as_ref().and_then(|e| e.lock().fork()),
        })
    }
}

struct Share {
    operator: Option<Box<dyn Preparer>>,
    encoder: Option<Box<dyn BatchEncoder>>,
}

impl Preparer for Share {
    fn prepare(&mut self, batch: &mut Batch, books: &mut Books) {
        if let Some(operator) = &mut self.operator {
            operator.prepare(batch, books);
        }
        if let Some(encoder) = &mut self.encoder {
            books.is_encoded = encoder.encode(batch.records(), &mut books.encoded);
        }
    }
}
