//! The driver and its sources: where batches come from, here or from a thread.

use super::*;

impl Driver {
    pub(super) fn take_from(&mut self, i: usize, wait: Duration) -> Result<Taken, JobError> {
        let Some(inflow) = self.inflows.get_mut(i) else { return Ok(Taken::Nothing(None)) };
        let counters = &inflow.counters;
        match &mut inflow.place {
            SourcePlace::Here(stage) => {
                let polled = counting_copies(&counters.deep_copies, || stage.poll(wait, || true))?;
                let letters: Vec<_> = match stage.letters.is_empty() {
                    true => Vec::new(),
                    false => stage.letters.drain(..).collect(),
                };
                let Shifts { before, behind } = stage.take_shifts();
                let moved = !(before.is_empty() && behind.is_empty());
                match polled {
                    Polled::Batch(mut batch) => {
                        self.laps.read(counters);
                        batch.set_born(batch.born().or(Some(self.laps.now())));
                        counters.forwarded.add(batch.came() as u64);
                        self.post(letters)?;
                        self.shift(i, before)?;
                        self.process(i, batch)?;
                        self.shift(i, behind)?;
                        Ok(Taken::Something)
                    }
                    Polled::Idle(until) => {
                        counters.times.waiting.add_time(self.laps.waited());
                        let worked = !letters.is_empty() || moved;
                        self.post(letters)?;
                        self.shift(i, before)?;
                        self.shift(i, behind)?;
                        Ok(if worked { Taken::Something } else { Taken::Nothing(until) })
                    }
                    Polled::End => {
                        self.laps.read(counters);
                        let position = stage.position();
                        self.post(letters)?;
                        self.source_ended(i, position)?;
                        Ok(Taken::Something)
                    }
                }
            }
            SourcePlace::Away(thread) => {
                let received = match thread.edge.try_recv() {
                    Ok(None) if !wait.is_zero() => {
                        let received = thread.edge.recv(wait);
                        self.laps.waited();
                        received
                    }
                    received => received,
                };
                match received {
                    Ok(Some(message)) => self.take_message(i, message),
                    Ok(None) => Ok(Taken::Nothing(None)),
                    Err(Closed) => Err(self.source_died(i)),
                }
            }
            SourcePlace::Nowhere => Ok(Taken::Nothing(None)),
        }
    }

    pub(super) fn take_message(&mut self, i: usize, message: Message) -> Result<Taken, JobError> {
        match message {
            Message::Parcel(Parcel::Own(batch)) => {
                self.laps.handed_over();
                self.process(i, batch)?;
            }
            Message::Parcel(Parcel::Shared(_)) => {}
            Message::Letters(letters) => self.post(letters)?,
            Message::Shift(shift) => self.shift(i, vec![shift])?,
            Message::Barrier { epoch, position, count } => {
                self.check_arrived(i, count)?;
                if let Some(keeping) = &mut self.keeping {
                    keeping.commits.arrived(i, epoch, position);
                }
            }
            Message::End { position } => {
                self.bring_source_home(i)?;
                self.source_ended(i, position)?;
            }
            Message::Detach => self.bring_source_home(i)?,
            Message::Publish { .. } => {}
        }
        Ok(Taken::Something)
    }

    /// Everything that a reader's thread sent before its barrier must have arrived.
    pub(super) fn check_arrived(&self, i: usize, sent: u64) -> Result<(), JobError> {
        let arrived = self.core.lock().inlets.get(i).map_or(0, |s| s.arrived);
        let name = self.inflows.get(i).map_or("", |s| s.name.as_str());
        expect_equal(&format!("source {name}"), "forwarded = arrived at the processor", sent, arrived)
            .map_err(JobError::Ledger)
    }

    /// Joins a reader thread that said `End` or `Detach`.
    pub(super) fn bring_source_home(&mut self, i: usize) -> Result<(), JobError> {
        let Some(inflow) = self.inflows.get_mut(i) else { return Ok(()) };
        if let SourcePlace::Away(thread) = &inflow.place
            && !thread.thread.wait(&self.shared)
        {
            return Err(JobError::Aborted);
        }
        if let SourcePlace::Away(thread) = std::mem::replace(&mut inflow.place, SourcePlace::Nowhere) {
            let mut stage = thread.thread.join()?;
            stage.here = true;
            self.laps.waited();
            if inflow.stopping {
                // It may have left before it heard of the stop.
                stage.stop();
            }
            inflow.place = SourcePlace::Here(Box::new(stage));
        }
        Ok(())
    }

    /// The edge closed without `End`: the thread's own reason is the error.
    pub(super) fn source_died(&mut self, i: usize) -> JobError {
        match self.bring_source_home(i) {
            Err(e) => e,
            Ok(()) => JobError::Aborted,
        }
    }

    pub(super) fn source_ended(&mut self, i: usize, position: Position) -> Result<(), JobError> {
        let Some(inflow) = self.inflows.get_mut(i) else { return Ok(()) };
        if inflow.ended.is_some() {
            return Ok(());
        }
        let pauses = inflow.stopping || inflow.pauses && self.keeping.is_some();
        inflow.paused = pauses && !self.core.lock().inlets.get(i).is_some_and(|s| s.done);
        let paused = inflow.paused;
        inflow.ended = Some(position.clone());
        if let Some(keeping) = &mut self.keeping
            && !keeping.commits.is_idle()
        {
            let epoch = keeping.commits.epoch();
            keeping.commits.arrived(i, epoch, position);
        }
        if paused && std::mem::take(&mut self.natural_end) {
            self.produced = self.core.lock().produced();
        }
        if paused && self.keeps_at_end() {
            return Ok(());
        }
        let now = self.wall.at(self.laps.now(), &self.config);
        let mut begun = false;
        loop {
            let mut core = self.core.lock();
            core.lock_acquisitions += 1;
            let more = if begun { core.go_on_ending()? } else { core.end(i, now)? };
            begun = true;
            self.timer = core.next_timer();
            self.wanted.clone_from(&core.wanted);
            std::mem::swap(&mut core.outbox, &mut self.outbox);
            let letters = std::mem::take(&mut core.letters);
            drop(core);
            self.post(letters)?;
            self.deliver()?;
            if !more {
                return Ok(());
            }
            if self.shared.is_cancelled() {
                return Err(JobError::Aborted);
            }
        }
    }

    /// Parts of a source come or go.
    fn shift(&mut self, i: usize, shifts: Vec<Shift>) -> Result<(), JobError> {
        if shifts.is_empty() {
            return Ok(());
        }
        let mut core = self.core.lock();
        core.lock_acquisitions += 1;
        shifts.into_iter().try_for_each(|shift| core.shift(i, shift))?;
        self.timer = core.next_timer();
        drop(core);
        self.deliver()
    }

    /// Runs one batch, which has just been read or received, through the operators – the one place where the engine lock is taken per batch – and delivers the results.
    pub(super) fn process(&mut self, i: usize, batch: Batch) -> Result<(), JobError> {
        let now = self.wall.at(self.laps.now(), &self.config);
        self.records += batch.came() as u64;
        self.bytes += batch.came_bytes() as u64;
        self.batches += 1;
        let mut core = self.core.lock();
        core.push(i, batch, now)?;
        std::mem::swap(&mut core.outbox, &mut self.outbox);
        let letters = if core.letters.is_empty() { Vec::new() } else { std::mem::take(&mut core.letters) };
        let done = core.inlets.get(i).is_some_and(|s| s.done);
        self.timer = core.next_timer();
        self.wanted.clone_from(&core.wanted);
        let decisions = std::mem::take(&mut core.decisions);
        drop(core);
        self.laps.busy(&self.shared.process);
        self.tell(decisions);
        if done {
            self.stop_sources_that_are_done();
        }
        self.post(letters)?;
        self.deliver()
    }

    /// Calls the operators whose time has come. Says whether there was one.
    pub(super) fn fire_timers(&mut self) -> Result<bool, JobError> {
        let Some(due) = self.timer else { return Ok(false) };
        let now = self.config.clock.now_micros();
        if now < due {
            return Ok(false);
        }
        let mut core = self.core.lock();
        core.lock_acquisitions += 1;
        core.fire_timers(now)?;
        self.timer = core.next_timer();
        self.wanted.clone_from(&core.wanted);
        std::mem::swap(&mut core.outbox, &mut self.outbox);
        let letters = std::mem::take(&mut core.letters);
        drop(core);
        self.timers += u64::from(!self.outbox.is_empty());
        self.post(letters)?;
        self.deliver()?;
        Ok(true)
    }

    pub(super) fn stop_sources_that_are_done(&mut self) {
        let done: Vec<bool> = self.core.lock().inlets.iter().map(|s| s.done).collect();
        for (i, done) in done.into_iter().enumerate() {
            if done {
                self.stop_source(i);
            }
        }
    }

    pub(super) fn stop_source(&mut self, i: usize) {
        let Some(inflow) = self.inflows.get_mut(i) else { return };
        if inflow.stopping {
            return;
        }
        inflow.stopping = true;
        match &mut inflow.place {
            SourcePlace::Here(stage) => stage.stop(),
            SourcePlace::Away(thread) => {
                // A thread that is gone already has ended.
                let _ = thread.control.send(Control::Stop);
            }
            SourcePlace::Nowhere => {}
        }
    }
}
