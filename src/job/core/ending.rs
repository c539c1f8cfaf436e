//! The end of a stream passes through the operators, depth first. Where one has more to emit than fits into memory it stops, so that
//! what there is can be delivered, and goes on from there.

use super::{Core, Target};
use crate::job::JobError;
use crate::operator::InputId;
use crate::plan::InputRef;

/// A step.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ending {
    /// Those behind it hear of its end, from that one on.
    Of(InputRef, usize),
    /// A node has heard of the end of an input.
    Node { node: usize, input: usize },
}

impl Core {
    pub(super) fn end_of(&mut self, of: InputRef) {
        if !self.lane_ended(of) {
            self.endings.push(Ending::Of(of, 0));
        }
    }

    /// Goes on with an end. Gives whether there is more, as [`end`](Self::end).
    pub(in crate::job) fn go_on_ending(&mut self) -> Result<bool, JobError> {
        while let Some(step) = self.endings.pop() {
            if self.ending_step(step)? {
                return Ok(true);
            }
        }
        self.pass_merged()?;
        Ok(false)
    }

    /// The end of `of` passes at once.
    pub(super) fn pass_end(&mut self, of: InputRef) -> Result<(), JobError> {
        let under_way = self.endings.len();
        self.endings.push(Ending::Of(of, 0));
        while self.endings.len() > under_way
            && let Some(step) = self.endings.pop()
        {
            self.ending_step(step)?;
        }
        Ok(())
    }

    /// Gives whether something was emitted, and there may be more of it.
    fn ending_step(&mut self, step: Ending) -> Result<bool, JobError> {
        match step {
            Ending::Of(of, at) => {
                let Some(&target) = self.targets(of).get(at) else { return Ok(false) };
                self.endings.push(Ending::Of(of, at + 1));
                if let Target::Node { node, input } = target {
                    self.raise(node, input, i64::MAX)?;
                    self.run(node, |op, out| op.on_end(InputId(input), out))?;
                    self.endings.push(Ending::Node { node, input });
                }
                Ok(false)
            }
            Ending::Node { node, input } => {
                let mut more = false;
                self.run(node, |op, out| more = op.emit_more(out))?;
                if more {
                    self.endings.push(step);
                    return Ok(true);
                }
                let Some(slot) = self.nodes.get_mut(node) else { return Ok(false) };
                if let Some(ended) = slot.ended.get_mut(input) {
                    *ended = true;
                }
                if slot.is_open() {
                    self.hand_on(node)?;
                } else {
                    self.end_of(InputRef::Node(node));
                }
                Ok(false)
            }
        }
    }
}
