//! The driver and its sinks: delivery, pauses, dead letters, events.

use super::*;

impl Driver {
    /// Hands the outbox to the sinks.
    pub(super) fn deliver(&mut self) -> Result<(), JobError> {
        let mut outbox = std::mem::take(&mut self.outbox);
        for (k, parcel) in outbox.drain(..) {
            self.deliver_one(k, parcel)?;
        }
        self.outbox = outbox;
        Ok(())
    }

    pub(super) fn deliver_one(&mut self, k: usize, parcel: Parcel) -> Result<(), JobError> {
        let Some(outflow) = self.outflows.get_mut(k) else { return Ok(()) };
        outflow.counters.sent.add(parcel.batch().len() as u64);
        match &mut outflow.place {
            SinkPlace::Here(stage) => {
                stage.offer(parcel);
                self.advance_sink(k)?;
                Ok(())
            }
            SinkPlace::Away(_) => self.send(k, Message::Parcel(parcel)),
            SinkPlace::Nowhere => Err(JobError::Aborted),
        }
    }

    pub(super) fn send(&mut self, k: usize, message: Message) -> Result<(), JobError> {
        let Some(outflow) = self.outflows.get_mut(k) else { return Ok(()) };
        let SinkPlace::Away(thread) = &mut outflow.place else { return Ok(()) };
        let (shared, limit, name) = (&self.shared, self.config.stall_warning, &outflow.name);
        let mut warned = false;
        let sent = thread.edge.send(message, |waited| {
            if waited >= limit && !warned {
                warned = true;
                log::warn!("sink {name} has taken nothing for {waited:.0?}: it holds up the job");
            }
            !shared.is_cancelled()
        });
        match sent {
            Ok(waited) => {
                if waited {
                    outflow.counters.backpressure.add_time(self.laps.blocked());
                }
                Ok(())
            }
            Err(Closed) if self.shared.is_cancelled() => Err(JobError::Aborted),
            Err(Closed) => Err(match self.bring_sink_home(k) {
                Err(e) => e,
                Ok(()) => JobError::Aborted,
            }),
        }
    }

    pub(super) fn bring_sink_home(&mut self, k: usize) -> Result<(), JobError> {
        let Some(outflow) = self.outflows.get_mut(k) else { return Ok(()) };
        if let SinkPlace::Away(thread) = &outflow.place
            && !thread.thread.wait(&self.shared)
        {
            return Err(JobError::Aborted);
        }
        if let SinkPlace::Away(thread) = std::mem::replace(&mut outflow.place, SinkPlace::Nowhere) {
            let stage = thread.thread.join()?;
            self.laps.blocked();
            outflow.place = SinkPlace::Here(Box::new(stage));
        }
        Ok(())
    }

    /// Lets a sink that is here write what it was offered.
    pub(super) fn advance_sink(&mut self, k: usize) -> Result<Option<Duration>, JobError> {
        let Some(outflow) = self.outflows.get_mut(k) else { return Ok(None) };
        let SinkPlace::Here(stage) = &mut outflow.place else { return Ok(None) };
        let until = stage.advance(&self.pools, &mut self.laps)?;
        if stage.reports_latency {
            let latency = stage.last_latency;
            self.learn(usize::MAX, latency);
        }
        let Some(Outflow { place: SinkPlace::Here(stage), .. }) = self.outflows.get_mut(k) else {
            return Ok(until);
        };
        let letters = std::mem::take(&mut stage.letters);
        self.post(letters)?;
        Ok(until)
    }

    /// Continues sinks that asked for a pause.
    pub(super) fn advance_sinks(&mut self) -> Result<Option<Duration>, JobError> {
        let mut earliest = None;
        for k in 0..self.outflows.len() {
            let waiting = matches!(self.outflows.get(k), Some(Outflow { place: SinkPlace::Here(s), .. }) if !s.is_clear());
            if waiting && let Some(until) = self.advance_sink(k)? {
                earliest = Some(earliest.map_or(until, |e: Duration| e.min(until)));
            }
        }
        Ok(earliest)
    }

    /// Until when a sink that is here wants to be left alone.
    pub(super) fn sinks_paused(&self) -> Option<Duration> {
        self.outflows
            .iter()
            .filter_map(|s| match &s.place {
                SinkPlace::Here(stage) if !stage.is_clear() => Some(stage.paused_until()),
                _ => None,
            })
            .min()
    }

    pub(super) fn flush_idle_sinks(&mut self) -> Result<(), JobError> {
        for outflow in &mut self.outflows {
            if let SinkPlace::Here(stage) = &mut outflow.place {
                stage.flush_if_due(&mut self.laps)?;
            }
        }
        Ok(())
    }

    pub(super) fn learn(&mut self, rows: usize, latency: Duration) {
        for inflow in &mut self.inflows {
            if let SourcePlace::Here(stage) = &mut inflow.place {
                stage.batching.learn(rows, latency);
            }
        }
    }

    pub(super) fn take_events(&mut self) -> Result<(), JobError> {
        // To look whether there is any needs no fence, to take one does.
        while !self.events.is_empty()
            && let Ok(event) = self.events.try_recv()
        {
            match event {
                SinkEvent::Durable { sink, epoch, position, received } => {
                    if let Some(s) = self.outflows.get(sink) {
                        expect_equal(&format!("sink {}", s.name), "sent = received", s.at_barrier, received)
                            .map_err(JobError::Ledger)?;
                    }
                    if let Some(keeping) = &mut self.keeping {
                        keeping.commits.durable(sink, epoch, position);
                    }
                }
                SinkEvent::Published { sink, epoch } => {
                    if let Some(keeping) = &mut self.keeping {
                        keeping.commits.published(sink, epoch);
                    }
                }
                SinkEvent::Letters { sink, letters } => {
                    if self.keeping.as_ref().is_some_and(|k| k.commits.is_before_barrier(sink)) {
                        self.post_now(letters)?;
                    } else {
                        self.post(letters)?;
                    }
                }
                SinkEvent::Latency { rows, latency } => self.learn(rows, latency),
            }
        }
        Ok(())
    }

    /// Sends dead letters to their queue, after its barrier.
    pub(super) fn post(&mut self, mut letters: Vec<DeadLetter>) -> Result<(), JobError> {
        if !letters.is_empty()
            && self.keeping.as_ref().is_some_and(|k| k.commits.is_syncing() && !k.letters_asked)
        {
            self.later_letters.append(&mut letters);
            return Ok(());
        }
        self.post_now(letters)
    }

    pub(super) fn post_now(&mut self, letters: Vec<DeadLetter>) -> Result<(), JobError> {
        let Some(k) = self.letter_box.filter(|_| !letters.is_empty()) else { return Ok(()) };
        self.letters_made += letters.len() as u64;
        let only = if let [one] = self.inflows.as_slice() { one.name.as_str() } else { "" };
        let records = letters
            .into_iter()
            .map(|mut l| {
                if l.source.is_empty() {
                    only.clone_into(&mut l.source);
                }
                l
            })
            .map(|l| Arc::new(l.into_record(&self.config.name, &self.letter_schema)))
            .collect();
        let mut batch = Batch::new(records);
        batch.set_home(u16::MAX);
        batch.set_bytes(batch.footprint());
        batch.set_born(Some(self.laps.now()));
        self.deliver_one(k, Parcel::Own(batch))
    }

    /// A sink's thread ends by itself only if it failed; without input nobody would send to it and find out.
    pub(super) fn look_after_sinks(&mut self) -> Result<(), JobError> {
        let gone = |s: &Outflow| matches!(&s.place, SinkPlace::Away(t) if t.thread.handle.is_finished());
        match self.outflows.iter().position(gone) {
            Some(k) => {
                self.bring_sink_home(k)?;
                Err(JobError::Aborted)
            }
            None => Ok(()),
        }
    }

    /// Waits until a sink has written everything, and has it here.
    pub(super) fn drain_sink(&mut self, k: usize) -> Result<(), JobError> {
        if matches!(self.outflows.get(k), Some(Outflow { place: SinkPlace::Away(_), .. })) {
            self.send(k, Message::Detach)?;
            self.bring_sink_home(k)?;
            self.take_events()?;
        }
        while let Some(until) = self.advance_sink(k)? {
            if self.shared.is_cancelled() {
                return Err(JobError::Aborted);
            }
            let left = until.saturating_sub(self.config.clock.monotonic());
            std::thread::park_timeout(left.min(TICK));
            self.laps.blocked();
        }
        Ok(())
    }
}
