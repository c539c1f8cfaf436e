//! Who polls for a member of a group whose owner is held up: brokers throw out a member that does not poll, so while a full
//! pipeline takes nothing, a thread polls in its place, with everything paused. How the two take turns; whose thread it is, and
//! what a poll is, is the client's.

use std::collections::VecDeque;
use std::time::Duration;

/// After so long without a poll of the owner the thread polls in its place.
const PATIENCE: Duration = Duration::from_secs(1);
/// Polls of one look: each brings a decision of the group, or a message that was on its way before the pause.
const POLLS: usize = 64;

/// A consumer as it is polled in place of its owner.
pub(super) trait Standby<M> {
    /// Pauses everything that it has; `false`: there is nothing, or it can't be done.
    fn pause(&self) -> bool;
    /// Polls without waiting; `None`: there is nothing more.
    fn poll(&self) -> Option<M>;
}

/// How owner and thread take turns.
#[derive(Debug)]
pub(super) struct Turns<M> {
    /// When the owner polled last, on the monotonic clock.
    last: Duration,
    /// Paused by the thread.
    paused: bool,
    /// What came while it polled.
    kept: VecDeque<M>,
}

impl<M> Turns<M> {
    /// The owner polled just now.
    pub(super) fn new(now: Duration) -> Self {
        Self { last: now, paused: false, kept: VecDeque::new() }
    }

    /// The thread's turn: if the owner is held up it polls, so that decisions arrive, and messages stay where they are.
    pub(super) fn look(&mut self, now: Duration, consumer: &dyn Standby<M>) {
        if now.saturating_sub(self.last) < PATIENCE {
            return;
        }
        if !self.paused {
            self.paused = consumer.pause();
        }
        for _ in 0..POLLS {
            match consumer.poll() {
                Some(message) => self.kept.push_back(message),
                None => break,
            }
        }
    }

    /// The owner's turn; `true`: it has to resume what was paused.
    pub(super) fn owner(&mut self, now: Duration) -> bool {
        self.last = now;
        std::mem::take(&mut self.paused)
    }

    /// The oldest message that came meanwhile.
    pub(super) fn kept(&mut self) -> Option<M> {
        self.kept.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    /// How long a member may be silent.
    const INTERVAL: Duration = Duration::from_secs(300);
    const LOOK: Duration = Duration::from_millis(250);

    /// A consumer with messages without end.
    #[derive(Default)]
    struct Mock {
        now: Cell<Duration>,
        polled: Cell<Duration>,
        paused: Cell<bool>,
        pauses: Cell<usize>,
        next: Cell<u64>,
        /// Messages that come after a pause all the same.
        on_their_way: RefCell<u64>,
    }

    impl Standby<u64> for Mock {
        fn pause(&self) -> bool {
            self.pauses.set(self.pauses.get() + 1);
            !self.paused.replace(true)
        }
        fn poll(&self) -> Option<u64> {
            assert!(self.now.get() - self.polled.get() < INTERVAL, "it was thrown out of the group");
            self.polled.set(self.now.get());
            let mut late = self.on_their_way.borrow_mut();
            if self.paused.get() && *late == 0 {
                return None;
            }
            *late = late.saturating_sub(1);
            Some(self.next.replace(self.next.get() + 1))
        }
    }

    /// So many looks of the thread, by the clock of the test.
    fn looks(turns: &mut Turns<u64>, mock: &Mock, n: u32) {
        for _ in 0..n {
            mock.now.set(mock.now.get() + LOOK);
            turns.look(mock.now.get(), mock);
        }
    }

    #[test]
    fn an_owner_that_is_held_up_stays_a_member_and_nothing_piles_up() {
        let mock = Mock { on_their_way: RefCell::new(3), ..Mock::default() };
        let mut turns = Turns::new(Duration::ZERO);
        let mut seen = Vec::new();
        for round in 1..=3 {
            // The owner polls and is then held up for an hour.
            looks(&mut turns, &mock, 4 * 3600);
            assert_eq!(mock.now.get() - mock.polled.get(), Duration::ZERO);
            assert_eq!(mock.pauses.get(), round, "paused once, however long it takes");
            assert!(turns.kept.len() <= 3, "{} messages are held", turns.kept.len());
            assert!(turns.owner(mock.now.get()), "the owner has to resume");
            mock.paused.set(false);
            seen.extend(std::iter::from_fn(|| turns.kept()));
            seen.extend((0..5).filter_map(|_| mock.poll()));
        }
        assert_eq!(seen, (0..seen.len() as u64).collect::<Vec<_>>());
        assert_eq!(seen.len(), 3 + 3 * 5);
    }

    #[test]
    fn while_the_owner_polls_the_thread_leaves_it_alone() {
        let mock = Mock::default();
        let mut turns = Turns::new(Duration::ZERO);
        for _ in 0..1000 {
            looks(&mut turns, &mock, 3);
            assert!(!turns.owner(mock.now.get()));
        }
        assert_eq!((mock.pauses.get(), mock.next.get()), (0, 0));
    }
}
