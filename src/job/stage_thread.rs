//! Stages that have a thread of their own: the reader's and the writer's loop.
//!
//! | thread | receives from | sends to | ends when |
//! |---|---|---|---|
//! | `ms-read-i` | control channel (processor) | its edge | source ended, told to stop or detach, cancelled, edge closed |
//! | `ms-write-i` | its edge | event channel (processor) | `End`, `Detach`, cancelled, edge closed |
//!
//! Each thread owns its stage and gives it back through its join handle.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};

use super::edge::{EdgeReceiver, EdgeSender, TICK, edge};
use super::laps::Laps;
use super::message::{Message, Parcel};
use super::shared::Shared;
use super::sink_stage::SinkStage;
use super::source_stage::{Polled, Shifts, SourceStage, counting_copies};
use super::{DeadLetter, JobConfig, JobError};
use crate::observe::ThreadTimes;
use crate::record::{Pools, Position};

/// What the processor tells a reader thread. Not in band: it flows upward.
#[derive(Debug)]
pub(super) enum Control {
    /// Put a barrier behind what was read so far.
    Barrier(u64),
    /// Everything before the position is durable.
    Commit(Position),
    /// Read no more; end.
    Stop,
    /// Give the stage back.
    Detach,
}

/// What a writer thread tells the processor.
#[derive(Debug)]
pub(super) enum SinkEvent {
    /// Epoch `epoch` is durable; the sink stands at `position` and has received that many records.
    Durable { sink: usize, epoch: u64, position: Position, received: u64 },
    /// The sink has published epoch `epoch`.
    Published { sink: usize, epoch: u64 },
    /// Records that the sink refused.
    Letters { sink: usize, letters: Vec<DeadLetter> },
    /// Time from first read to written of a batch of that many rows.
    Latency { rows: usize, latency: Duration },
}

/// A source stage on its own thread.
pub(super) struct SourceThread {
    pub(super) edge: EdgeReceiver,
    pub(super) control: Sender<Control>,
    pub(super) thread: StageThread<SourceStage>,
    pub(super) account: Arc<ThreadTimes>,
}

/// A sink stage on its own thread.
pub(super) struct SinkThread {
    pub(super) edge: EdgeSender,
    pub(super) thread: StageThread<SinkStage>,
    pub(super) account: Arc<ThreadTimes>,
}

/// A running thread that gives its stage back.
pub(super) struct StageThread<S> {
    pub(super) name: String,
    pub(super) handle: JoinHandle<Result<S, JobError>>,
    /// Carries nothing; disconnects when the thread's body is over.
    over: Receiver<()>,
}

impl<S> StageThread<S> {
    pub(super) fn spawn(
        name: String,
        body: impl FnOnce() -> Result<S, JobError> + Send + 'static,
    ) -> Result<Self, JobError>
    where
        S: Send + 'static,
    {
        let (alive, over) = bounded::<()>(0);
        let handle = std::thread::Builder::new()
            .name(name.clone())
            .spawn(move || {
                let _alive = alive;
                body()
            })
            .map_err(|e| JobError::Config(format!("can't start thread {name}: {e}")))?;
        Ok(Self { name, handle, over })
    }
    /// Waits for the end of a thread that was told to end; `false` if the job was cancelled before. The thread may be inside
    /// foreign code that never returns.
    pub(super) fn wait(&self, shared: &Shared) -> bool {
        while self.over.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
            if shared.is_cancelled() {
                return false;
            }
        }
        true
    }
    /// Takes the stage of a thread that has ended back.
    pub(super) fn join(self) -> Result<S, JobError> {
        let name = self.name;
        self.handle.join().unwrap_or_else(|panic| {
            let message = panic_text(&*panic);
            Err(JobError::Panic { thread: name, message })
        })
    }
}

/// The message of a caught panic.
pub(super) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".into())
}

/// Moves a source stage to a thread of its own.
pub(super) fn spawn_source(
    index: usize,
    mut stage: SourceStage,
    config: &JobConfig,
    shared: &Arc<Shared>,
) -> Result<SourceThread, JobError> {
    stage.here = false;
    let (tx, rx) = edge(config.edge_batches(), config.channel_bytes);
    let (control, commands) = unbounded();
    let shared = shared.clone();
    let name = format!("ms-read-{index}");
    let account = shared.account(&name);
    let booked = account.clone();
    let thread = StageThread::spawn(name, move || read_loop(stage, &tx, &commands, &shared, booked))?;
    Ok(SourceThread { edge: rx, control, thread, account })
}

fn read_loop(
    mut stage: SourceStage,
    tx: &EdgeSender,
    commands: &Receiver<Control>,
    shared: &Shared,
    account: Arc<ThreadTimes>,
) -> Result<SourceStage, JobError> {
    let go_on = |_: Duration| !shared.is_cancelled();
    let counters = stage.counters.clone();
    let times = &counters.times;
    let mut laps = Laps::start(shared.stopwatch.clone(), account);
    let mut nap = Duration::from_micros(50);
    while !shared.is_cancelled() {
        while let Ok(command) = commands.try_recv() {
            match command {
                Control::Barrier(epoch) => {
                    if tx.send(barrier(&stage, epoch), go_on).is_err() {
                        return Ok(stage);
                    }
                }
                Control::Commit(position) => stage.commit(&position),
                Control::Stop => stage.stop(),
                Control::Detach => {
                    // If the edge is closed the processor is gone and nobody waits for the stage.
                    let _ = tx.send(Message::Detach, go_on);
                    return Ok(stage);
                }
            }
        }
        let since = laps.now();
        let polled = counting_copies(&counters.deep_copies, || stage.poll(TICK / 5, || tx.is_idle()))?;
        if !stage.letters.is_empty() {
            let letters = stage.letters.drain(..).collect();
            if tx.send(Message::Letters(letters), go_on).is_err() {
                return Ok(stage);
            }
        }
        let Shifts { before, behind } = stage.take_shifts();
        let tell = |shift| tx.send(Message::Shift(shift), go_on).is_err();
        if before.into_iter().any(tell) {
            return Ok(stage);
        }
        match polled {
            Polled::Batch(mut batch) => {
                laps.read(&counters);
                batch.set_born(batch.born().or(Some(laps.now())));
                counters.forwarded.add(batch.came() as u64);
                match tx.send(Message::Parcel(Parcel::Own(batch)), go_on) {
                    Ok(true) => times.blocked.add_time(laps.blocked()),
                    Ok(false) => {}
                    Err(_) => return Ok(stage),
                }
                nap = Duration::from_micros(50);
            }
            Polled::Idle(until) => {
                // A reader that honours `max_wait` has waited already; one that does not is asked ever more rarely.
                times.waiting.add_time(laps.waited());
                let quick = laps.now() - since < Duration::from_micros(100);
                let wait = match until {
                    Some(_) => Duration::from_millis(1),
                    None if quick => nap,
                    None => Duration::ZERO,
                };
                nap = (nap * 2).min(Duration::from_millis(5));
                if !wait.is_zero()
                    && let Ok(command) = commands.recv_timeout(wait)
                    && handle_while_idle(command, &mut stage, tx, shared)
                {
                    return Ok(stage);
                }
                if !wait.is_zero() {
                    times.waiting.add_time(if until.is_some() { laps.idle() } else { laps.waited() });
                }
            }
            Polled::End => {
                laps.read(&counters);
                let _ = tx.send(Message::End { position: stage.position() }, go_on);
                return Ok(stage);
            }
        }
        if behind.into_iter().any(tell) {
            return Ok(stage);
        }
    }
    Ok(stage)
}

fn barrier(stage: &SourceStage, epoch: u64) -> Message {
    Message::Barrier { epoch, position: stage.position(), count: stage.counters.forwarded.get() }
}

/// Commands that arrive during a nap; `true` ends the thread.
fn handle_while_idle(command: Control, stage: &mut SourceStage, tx: &EdgeSender, shared: &Shared) -> bool {
    let go_on = |_: Duration| !shared.is_cancelled();
    match command {
        Control::Barrier(epoch) => tx.send(barrier(stage, epoch), go_on).is_err(),
        Control::Commit(position) => {
            stage.commit(&position);
            false
        }
        Control::Stop => {
            stage.stop();
            false
        }
        Control::Detach => {
            let _ = tx.send(Message::Detach, go_on);
            true
        }
    }
}

/// Moves a sink stage to a thread of its own.
pub(super) fn spawn_sink(
    index: usize,
    stage: SinkStage,
    config: &JobConfig,
    shared: &Arc<Shared>,
    pools: &Pools,
    events: &Sender<SinkEvent>,
) -> Result<SinkThread, JobError> {
    let (tx, rx) = edge(config.edge_batches(), config.channel_bytes);
    let (shared, pools, events) = (shared.clone(), pools.clone(), events.clone());
    let name = format!("ms-write-{index}");
    let account = shared.account(&name);
    let booked = account.clone();
    let thread =
        StageThread::spawn(name, move || write_loop(index, stage, &rx, &shared, &pools, &events, booked))?;
    Ok(SinkThread { edge: tx, thread, account })
}

fn write_loop(
    index: usize,
    mut stage: SinkStage,
    rx: &EdgeReceiver,
    shared: &Shared,
    pools: &Pools,
    events: &Sender<SinkEvent>,
    account: Arc<ThreadTimes>,
) -> Result<SinkStage, JobError> {
    let counters = stage.counters.clone();
    let times = &counters.times;
    let mut laps = Laps::start(shared.stopwatch.clone(), account);
    while !shared.is_cancelled() {
        let wait = if stage.has_unflushed() { stage.linger() } else { TICK };
        let received = match rx.try_recv() {
            Ok(None) => {
                let received = rx.recv(wait);
                times.waiting.add_time(laps.waited());
                received
            }
            received => received,
        };
        match received {
            Err(_) => return Ok(stage),
            Ok(None) => stage.flush_if_due(&mut laps)?,
            Ok(Some(Message::Parcel(parcel))) => {
                let rows = parcel.batch().len();
                stage.offer(parcel);
                while let Some(until) = stage.advance(pools, &mut laps)? {
                    if shared.is_cancelled() {
                        return Ok(stage);
                    }
                    stage.pause(until);
                    times.blocked.add_time(laps.blocked());
                }
                if !stage.letters.is_empty() {
                    let _ = events.send(SinkEvent::Letters {
                        sink: index,
                        letters: std::mem::take(&mut stage.letters),
                    });
                }
                if stage.reports_latency {
                    let _ = events.send(SinkEvent::Latency { rows, latency: stage.last_latency });
                }
            }
            Ok(Some(Message::Barrier { epoch, .. })) => {
                let position = stage.sync(epoch)?;
                laps.busy(times);
                if !stage.letters.is_empty() {
                    let _ = events.send(SinkEvent::Letters {
                        sink: index,
                        letters: std::mem::take(&mut stage.letters),
                    });
                }
                let received = counters.received.get();
                let _ = events.send(SinkEvent::Durable { sink: index, epoch, position, received });
            }
            Ok(Some(Message::Publish { epoch })) => {
                stage.publish(epoch)?;
                laps.busy(times);
                let _ = events.send(SinkEvent::Published { sink: index, epoch });
            }
            Ok(Some(Message::End { .. })) => {
                stage.finish()?;
                laps.busy(times);
                return Ok(stage);
            }
            Ok(Some(Message::Detach)) => return Ok(stage),
            Ok(Some(Message::Letters(_) | Message::Shift(_))) => {}
        }
    }
    Ok(stage)
}
