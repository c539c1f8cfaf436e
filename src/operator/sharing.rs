//! Whether the work of a large batch is shared among threads: decided by what a record costs, and kept while it is faster.

use super::Choice;

/// Batches with fewer records are not worth a look.
const SMALLEST: usize = 64;
/// Work of a batch that is worth waking other threads for: some ten times what that costs.
const WORTH_SHARING_NS: f64 = 200_000.0;
/// How much faster it must be to be kept.
const WORTH_KEEPING: f64 = 1.1;
/// Batches worked on together before they are judged.
const TRIAL: u32 = 16;
/// The same where it is so much slower: the other threads hardly get a core.
const SHORT_TRIAL: u32 = 4;
const GIVE_UP: f64 = 1.5;
/// Every so many batches one is worked on alone and measured: while nothing is shared, on trial, and later. Groups that fill make
/// records dearer, so only batches of the same time can be compared.
const LOOK_ALONE: u64 = 8;
const LOOK_ON_TRIAL: u64 = 4;
const LOOK_LATER: u64 = 32;
/// Batches until sharing is tried again after it did not pay; doubled each time.
const SULK: u64 = 512;

/// What a record costs lately, in ns.
#[derive(Debug, Default)]
struct Cost {
    ns: f64,
    records: f64,
    batches: u32,
}

impl Cost {
    fn add(&mut self, records: usize, ns: f64) {
        // What is older counts less and less.
        self.ns = self.ns * 0.8 + ns;
        self.records = self.records * 0.8 + records as f64;
        self.batches = self.batches.saturating_add(1);
    }
    fn of_a_record(&self) -> f64 {
        self.ns / self.records.max(1.0)
    }
}

/// Watches the batches of one operator.
#[derive(Debug)]
pub(super) struct Sharing {
    shards: usize,
    forced: bool,
    batches: u64,
    on: bool,
    alone: Cost,
    together: Cost,
    not_before: u64,
    sulk: u32,
}

/// How a batch is to be worked on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) share: bool,
    /// Its time is wanted.
    pub(super) measure: bool,
}

impl Sharing {
    /// For so many shards. `forced`: whoever asked for them wants to see them used.
    pub(super) fn new(shards: usize, forced: bool) -> Self {
        Self {
            shards,
            forced,
            batches: 0,
            on: false,
            alone: Cost::default(),
            together: Cost::default(),
            not_before: 0,
            sulk: 0,
        }
    }

    /// How to work on the next batch.
    pub(super) fn next(&mut self, records: usize) -> Way {
        if self.shards < 2 || (self.forced && records < 2) || (!self.forced && records < SMALLEST) {
            return Way { share: false, measure: false };
        }
        if self.forced {
            return Way { share: true, measure: false };
        }
        self.batches += 1;
        if self.on {
            let look = if self.together.batches < TRIAL { LOOK_ON_TRIAL } else { LOOK_LATER };
            return Way { share: !self.batches.is_multiple_of(look), measure: true };
        }
        // The first batch makes groups and fetches code, and tells nothing of the others.
        let second = self.batches == 2;
        Way { share: false, measure: second || (self.batches > 2 && self.batches % LOOK_ALONE == 1) }
    }

    /// What a measured batch took; gives a change of mind.
    pub(super) fn took(&mut self, records: usize, shared: bool, ns: f64) -> Option<Choice> {
        if shared { &mut self.together } else { &mut self.alone }.add(records, ns);
        let (alone, together) = (self.alone.of_a_record(), self.together.of_a_record());
        if !self.on {
            let batch = alone * records as f64;
            if batch < WORTH_SHARING_NS || self.batches < self.not_before {
                return None;
            }
            (self.on, self.alone, self.together) = (true, Cost::default(), Cost::default());
            let why = format!("a record costs {alone:.0} ns, a batch {:.0} µs", batch / 1e3);
            return Some(Choice { what: format!("{} shards side by side", self.shards), why });
        }
        let enough = if together > GIVE_UP * alone { SHORT_TRIAL } else { TRIAL };
        let known = self.alone.batches > 0 && self.together.batches >= enough;
        if !known || together * WORTH_KEEPING <= alone {
            return None;
        }
        (self.on, self.alone) = (false, Cost::default());
        self.not_before = self.batches + (SULK << self.sulk.min(10));
        self.sulk += 1;
        let why = format!(
            "{} shards side by side brought {:.2} times the speed of one thread",
            self.shards,
            alone / together
        );
        Some(Choice { what: "one thread".into(), why })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Batches of 1,000 records until it changes its mind; how many, and what it says.
    fn until(sharing: &mut Sharing, alone: f64, together: f64) -> Option<(usize, Choice)> {
        (0..5000).find_map(|n| {
            let way = sharing.next(1000);
            let ns = 1000.0 * if way.share { together } else { alone };
            let said = way.measure.then(|| sharing.took(1000, way.share, ns)).flatten();
            said.map(|s| (n, s))
        })
    }

    #[test]
    fn cheap_batches_are_not_shared() {
        assert_eq!(until(&mut Sharing::new(2, false), 150.0, 80.0), None);
        let mut small = Sharing::new(2, false);
        assert!(!(0..1000).any(|_| small.next(63) != Way { share: false, measure: false }));
    }

    #[test]
    fn costly_batches_are_shared_as_long_as_it_pays() {
        let mut sharing = Sharing::new(2, false);
        let (n, said) = until(&mut sharing, 900.0, 500.0).unwrap();
        assert_eq!(
            (n, &*said.what, &*said.why),
            (1, "2 shards side by side", "a record costs 900 ns, a batch 900 µs")
        );
        assert_eq!(until(&mut sharing, 900.0, 500.0), None);
        // The other core has become busy.
        let (_, said) = until(&mut sharing, 900.0, 880.0).unwrap();
        assert_eq!(said.what, "one thread");
        assert!(said.why.contains("brought 1.0"), "{}", said.why);
        // It tries again, each time later.
        let (first, _) = until(&mut sharing, 900.0, 900.0).unwrap();
        until(&mut sharing, 900.0, 900.0).unwrap();
        let (second, _) = until(&mut sharing, 900.0, 900.0).unwrap();
        assert!((500..550).contains(&first) && second > first + 200, "{first} {second}");
    }

    #[test]
    fn what_was_asked_for_is_done() {
        let mut sharing = Sharing::new(3, true);
        assert!(sharing.next(7).share && !sharing.next(1).share);
        assert!(!Sharing::new(1, true).next(1000).share);
    }
}
