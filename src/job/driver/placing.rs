//! The driver and its threads: moving stages, and ending all threads after a failure.

use super::*;

impl Driver {
    /// Lets the autopilot look at the costs, and carries out what it decides.
    pub(super) fn steer(&mut self) -> Result<(), JobError> {
        let Some(pilot) = &mut self.autopilot else { return Ok(()) };
        // Small batches would pay more for steering than for their records.
        if !self.batches.is_multiple_of(4) {
            return Ok(());
        }
        let now = self.laps.now().saturating_duration_since(self.shared.started);
        if !pilot.is_due(now) || !self.keeping.as_ref().is_none_or(|k| k.commits.is_idle()) {
            return Ok(());
        }
        let helped = |s: &Inflow| s.helped.load(Ordering::Relaxed) as f64 / 1e9;
        let inside = |s: &Inflow| s.counters.waited_inside.get() as f64 / 1e9;
        let busy = |s: &Inflow| s.counters.times.busy.get() as f64 / 1e9 + inside(s) + helped(s);
        let total = Costs {
            sources: self.inflows.iter().map(busy).collect(),
            waits: self.inflows.iter().map(inside).collect(),
            helped: self.inflows.iter().map(helped).sum(),
            process: self.shared.process.get() as f64 / 1e9,
            sinks: self.outflows.iter().map(|s| s.counters.times.busy.get() as f64 / 1e9).collect(),
            records: self.records,
            batches: self.batches,
            starved: self
                .inflows
                .iter()
                .map(|s| s.counters.times.waiting.get() as f64 / 1e9 - inside(s))
                .sum(),
        };
        let since = |a: &[f64], b: &[f64]| -> Vec<f64> {
            a.iter().enumerate().map(|(i, x)| x - b.get(i).copied().unwrap_or(0.0)).collect()
        };
        let costs = Costs {
            sources: since(&total.sources, &self.base.sources),
            waits: since(&total.waits, &self.base.waits),
            helped: total.helped - self.base.helped,
            process: total.process - self.base.process,
            sinks: since(&total.sinks, &self.base.sinks),
            records: total.records - self.base.records,
            batches: total.batches - self.base.batches,
            starved: total.starved - self.base.starved,
        };
        let Some((placement, reason)) = pilot.look(now, costs) else {
            if pilot.has_looked_at(now) {
                self.base = total;
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
        let now = self.elapsed();
        if let Some(pilot) = &mut self.autopilot {
            pilot.restart(now);
        }
        Ok(())
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
        self.core.lock().workers.set_lanes((self.config.threads + 1).saturating_sub(placement.threads()));
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

    /// After a failure or cancel: ends all threads. Names of those that did not end in time.
    pub(in crate::job) fn abandon(mut self) -> Vec<String> {
        self.shared.cancel();
        let deadline = Instant::now() + self.config.shutdown_deadline;
        let mut left: Vec<(String, Box<dyn Fn() -> bool>)> = Vec::new();
        for inflow in &mut self.inflows {
            if let SourcePlace::Away(thread) = std::mem::replace(&mut inflow.place, SourcePlace::Nowhere) {
                let SourceThread { edge, thread, control } = thread;
                drop((edge, control));
                left.push((thread.name, Box::new(move || thread.handle.is_finished())));
            }
        }
        for outflow in &mut self.outflows {
            if let SinkPlace::Away(thread) = std::mem::replace(&mut outflow.place, SinkPlace::Nowhere) {
                let SinkThread { edge, thread } = thread;
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
