//! The driver and its threads: moving stages, and ending all threads after a failure.

use super::*;
use crate::observe::{Counter, StageTimes, ThreadTimes};
use crate::record::CoreTime;

impl Driver {
    /// Lets the autopilot look at the costs, and carries out what it decides.
    pub(super) fn steer(&mut self) -> Result<(), JobError> {
        let Some(pilot) = &self.autopilot else { return Ok(()) };
        // Small batches would pay more for steering than for their records.
        if !self.batches.is_multiple_of(4) {
            return Ok(());
        }
        let now = self.laps.now().saturating_duration_since(self.shared.started);
        if !pilot.is_due(now) || !self.keeping.as_ref().is_none_or(|k| k.commits.is_idle()) {
            return Ok(());
        }
        let total = self.costs();
        let threads = self.core_times();
        let mut costs = total.since(&self.base);
        costs.threads = threads.since(&self.base_threads);
        let Some(pilot) = &mut self.autopilot else { return Ok(()) };
        let Some((placement, reason)) = pilot.look(now, costs) else {
            if pilot.has_looked_at(now) {
                (self.base, self.base_threads) = (total, threads);
            }
            return Ok(());
        };
        self.base = total;
        log::debug!("job {}: {}: {reason}", self.config.name, placement.describe());
        {
            let mut view = self.shared.live.lock();
            view.execution = placement.describe();
            view.decisions.push(PlacementDecision {
                at_s: now.as_secs_f64(),
                placement: placement.describe(),
                reason,
            });
        }
        self.place(&placement)?;
        self.base_threads = self.core_times();
        let now = self.elapsed();
        if let Some(pilot) = &mut self.autopilot {
            pilot.restart(now);
        }
        Ok(())
    }

    /// What the stages have cost since the job's start.
    fn costs(&self) -> Costs {
        let s = |c: &Counter| c.get() as f64 / 1e9;
        let work = |t: &StageTimes| s(&t.busy) - s(&t.queued);
        let helped = |s: &Inflow| s.helped.load(Ordering::Relaxed) as f64 / 1e9;
        let inside = |i: &Inflow| s(&i.counters.waited_inside);
        let helped_all = self.inflows.iter().map(helped).sum();
        Costs {
            sources: self.inflows.iter().map(|i| work(&i.counters.times) + inside(i) + helped(i)).collect(),
            waits: self.inflows.iter().map(inside).collect(),
            helped: helped_all,
            divisible: self.inflows.iter().map(|i| helped(i) > 0.0).collect(),
            process: work(&self.shared.process),
            sinks: self.outflows.iter().map(|o| work(&o.counters.times)).collect(),
            records: self.records,
            batches: self.batches,
            starved: self.inflows.iter().map(|i| s(&i.counters.times.waiting) - inside(i)).sum(),
            shared: (self.pool.busy().as_nanos() as f64 / 1e9 - helped_all).max(0.0),
            threads: Vec::new(),
        }
    }

    /// What the job's threads have had of the machine, the processor's first.
    pub(super) fn core_times(&self) -> CoreTimes {
        let sources = self.inflows.iter().filter_map(|s| match &s.place {
            SourcePlace::Away(thread) => Some(&thread.account),
            _ => None,
        });
        let sinks = self.outflows.iter().filter_map(|s| match &s.place {
            SinkPlace::Away(thread) => Some(&thread.account),
            _ => None,
        });
        let own = (self.laps.account().clone(), self.laps.core_time());
        let others = sources.chain(sinks).map(|t| (t.clone(), t.core_time()));
        CoreTimes(std::iter::once(own).chain(others).collect())
    }

    /// Puts decisions of operators into the statistics.
    pub(super) fn tell(&mut self, decisions: Vec<(String, Choice)>) {
        for (operator, Choice { what, why }) in decisions {
            log::debug!("job {}: operator {operator}: {what}: {why}", self.config.name);
            let at_s = self.elapsed().as_secs_f64();
            let placement = format!("operator {operator}: {what}");
            self.shared.live.lock().decisions.push(PlacementDecision { at_s, placement, reason: why });
        }
    }

    /// Moves stages to threads and back; the threads left over may share the work of large batches.
    pub(super) fn place(&mut self, placement: &Placement) -> Result<(), JobError> {
        self.core.lock().workers.set_lanes(lanes(self.config.threads, placement));
        for (i, away) in placement.sources.iter().enumerate() {
            let Some(inflow) = self.inflows.get_mut(i) else { continue };
            if inflow.ended.is_some() {
                continue;
            }
            match (&inflow.place, away) {
                (SourcePlace::Here(_), true) => {
                    if let SourcePlace::Here(stage) =
                        std::mem::replace(&mut inflow.place, SourcePlace::Nowhere)
                    {
                        inflow.place =
                            SourcePlace::Away(spawn_source(i, *stage, &self.config, &self.shared)?);
                    }
                }
                (SourcePlace::Away(thread), false) => {
                    // It comes back when its `Detach` arrives in band.
                    let _ = thread.control.send(Control::Detach);
                }
                _ => {}
            }
        }
        for (k, away) in placement.sinks.iter().enumerate() {
            let Some(outflow) = self.outflows.get_mut(k) else { continue };
            match (&outflow.place, away) {
                (SinkPlace::Here(_), true) => {
                    if let SinkPlace::Here(stage) = std::mem::replace(&mut outflow.place, SinkPlace::Nowhere)
                    {
                        let (config, shared, pools) = (&self.config, &self.shared, &self.pools);
                        let thread = spawn_sink(k, *stage, config, shared, pools, &self.event_sender)?;
                        outflow.place = SinkPlace::Away(thread);
                    }
                }
                (SinkPlace::Away(_), false) => {
                    self.send(k, Message::Detach)?;
                    self.bring_sink_home(k)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whoever decides whether its epochs count, for the end.
    pub(in crate::job) fn take_leader(&mut self) -> Option<Box<dyn Coordinator>> {
        self.keeping.as_mut()?.leader.take()
    }

    /// After a failure or cancel: ends all threads. Names of those that did not end in time.
    pub(in crate::job) fn abandon(mut self) -> Vec<String> {
        self.shared.cancel();
        let deadline = Instant::now() + self.config.shutdown_deadline;
        let mut left: Vec<(String, Box<dyn Fn() -> bool>)> = Vec::new();
        for inflow in &mut self.inflows {
            if let SourcePlace::Away(thread) = std::mem::replace(&mut inflow.place, SourcePlace::Nowhere) {
                let SourceThread { edge, thread, control, .. } = thread;
                drop((edge, control));
                left.push((thread.name, Box::new(move || thread.handle.is_finished())));
            }
        }
        for outflow in &mut self.outflows {
            if let SinkPlace::Away(thread) = std::mem::replace(&mut outflow.place, SinkPlace::Nowhere) {
                let SinkThread { edge, thread, .. } = thread;
                drop(edge);
                left.push((thread.name, Box::new(move || thread.handle.is_finished())));
            }
        }
        if let Some(thread) = self.keeping.take().and_then(|k| k.snapshots.into_thread()) {
            left.push((thread.name, Box::new(move || thread.handle.is_finished())));
        }
        self.laps.handed_over();
        loop {
            left.retain(|(_, finished)| !finished());
            if left.is_empty() || Instant::now() >= deadline {
                return left.into_iter().map(|(name, _)| name).collect();
            }
            std::thread::park_timeout(Duration::from_millis(1));
            self.laps.idle();
        }
    }
}

/// Threads and what they have had of the machine, as far as the system tells.
#[derive(Default)]
pub(super) struct CoreTimes(Vec<(Arc<ThreadTimes>, Option<CoreTime>)>);

impl CoreTimes {
    /// The same since an earlier look; empty if it is not known of all of them.
    fn since(&self, earlier: &Self) -> Vec<CoreTime> {
        let since = |(thread, now): &(Arc<ThreadTimes>, Option<CoreTime>)| {
            let known = earlier.0.iter().find(|(t, _)| Arc::ptr_eq(t, thread)).and_then(|(_, at)| *at);
            // One that has started anew has it all since then.
            let before = known.filter(|at| now.is_some_and(|now| now.ran >= at.ran));
            now.map(|now| now.since(before.unwrap_or_default()))
        };
        self.0.iter().map(since).collect::<Option<_>>().unwrap_or_default()
    }
}
