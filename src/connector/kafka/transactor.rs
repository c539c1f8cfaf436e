//! The producer that all Kafka sinks of a transactional job share: one transaction an epoch, whoever writes in it.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use super::client::{
    Counts, Failed, KafkaClient, KafkaError, KafkaErrorKind, KafkaSink, KafkaTxn, Sent, SinkSettings,
};
use super::outbox::Outbox;
use crate::record::Clock;

/// How long dropping it may take.
const CLOSE: Duration = Duration::from_secs(5);

/// A producer with a transactional id, and where it stands.
pub(super) struct Transactor {
    pub(super) client: Arc<dyn KafkaClient>,
    pub(super) settings: SinkSettings,
    /// The largest batch that every topic takes.
    batch_bytes: Mutex<Option<usize>>,
    under_way: Mutex<UnderWay>,
}

/// What is behind the lock.
#[derive(Default)]
pub(super) struct UnderWay {
    sink: Option<Box<dyn KafkaSink>>,
    /// A transaction has begun.
    open: bool,
    /// Why it can't be committed.
    broken: Option<KafkaError>,
}

impl Transactor {
    pub(super) fn new(client: Arc<dyn KafkaClient>, settings: SinkSettings) -> Self {
        Self { client, batch_bytes: Mutex::new(settings.batch_bytes), settings, under_way: Mutex::default() }
    }

    /// Another topic is written, which takes batches of so many bytes: a producer that makes larger ones is replaced.
    pub(super) fn fits(&self, largest: usize) -> Result<(), KafkaError> {
        let mut batch_bytes = self.batch_bytes.lock();
        if batch_bytes.is_some_and(|b| b <= largest) {
            return Ok(());
        }
        *batch_bytes = Some(largest);
        drop(batch_bytes);
        self.renew().map(drop)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, UnderWay> {
        self.under_way.lock()
    }

    /// Aborts what is under way, unless somebody holds the producer for so long.
    ///
    /// # Errors
    /// As [`UnderWay::abort`].
    pub(super) fn abort_within(&self, patience: Duration) -> Result<(), KafkaError> {
        match self.under_way.try_lock_for(patience) {
            Some(mut under_way) => under_way.abort(),
            None => Ok(()),
        }
    }

    /// A new producer in place of the one there was. It fences its predecessor, whose open transaction is aborted, or committed
    /// if that was under way.
    pub(super) fn renew(&self) -> Result<MutexGuard<'_, UnderWay>, KafkaError> {
        let mut under_way = self.lock();
        if let Some(mut old) = under_way.sink.take() {
            // Nobody waits for what it holds.
            old.close(Duration::ZERO);
        }
        let settings = SinkSettings { batch_bytes: *self.batch_bytes.lock(), ..self.settings.clone() };
        let mut sink = self.client.sink(&settings)?;
        again(self.settings.connection.timeout, || txn(sink.as_mut())?.init())?;
        *under_way = UnderWay { sink: Some(sink), open: false, broken: None };
        Ok(under_way)
    }
}

impl Drop for Transactor {
    fn drop(&mut self) {
        if let Some(mut sink) = self.lock().sink.take() {
            sink.close(CLOSE);
        }
    }
}

/// Calls again while the result is not known, for about as long as given beyond the first call.
pub(super) fn again<T>(
    patience: Duration,
    mut call: impl FnMut() -> Result<T, KafkaError>,
) -> Result<T, KafkaError> {
    let until = Clock::System.monotonic() + patience;
    loop {
        match call() {
            Err(e) if e.kind == KafkaErrorKind::Retriable && Clock::System.monotonic() < until => {
                log::debug!("Kafka: {e}; trying again");
                std::thread::park_timeout(Duration::from_millis(1));
            }
            done => return done,
        }
    }
}

pub(super) fn txn(sink: &mut dyn KafkaSink) -> Result<&mut dyn KafkaTxn, KafkaError> {
    sink.txn().ok_or_else(|| KafkaError::new(KafkaErrorKind::Unsupported, "the client has no transactions"))
}

impl UnderWay {
    pub(super) fn sink(&mut self) -> Result<&mut dyn KafkaSink, KafkaError> {
        match &mut self.sink {
            Some(sink) => Ok(sink.as_mut()),
            None => Err(KafkaError::fatal("the producer of the job's transactions is closed")),
        }
    }

    /// Begins a transaction unless one is open.
    pub(super) fn begin(&mut self) -> Result<(), KafkaError> {
        if let Some(e) = &self.broken {
            return Err(e.clone());
        }
        if !self.open {
            txn(self.sink()?)?.begin()?;
            self.open = true;
        }
        Ok(())
    }

    /// Notes what was not delivered: the transaction is lost with it.
    fn look(&mut self) -> Result<(), KafkaError> {
        if self.sink()?.counts().failed > 0
            && let Some(Failed { error, value, .. }) = self.sink()?.take_failed().into_iter().next()
        {
            let hint = match error.kind {
                KafkaErrorKind::Record => {
                    "; a message can't be left out of a transaction once it was sent: has max.message.bytes of the topic changed \
                     since the job began?"
                }
                _ => "",
            };
            let kind = match error.kind {
                KafkaErrorKind::Fenced => KafkaErrorKind::Fenced,
                _ => KafkaErrorKind::AbortTxn,
            };
            let message = format!("a message of {} bytes was not delivered: {error}{hint}", value.len());
            self.broken = Some(KafkaError::new(kind, message));
        }
        match &self.broken {
            Some(e) => Err(e.clone()),
            None => Ok(()),
        }
    }

    pub(super) fn send(
        &mut self,
        topic: &Arc<str>,
        outbox: &Outbox,
        from: usize,
    ) -> Result<Sent, KafkaError> {
        self.begin()?;
        let sent = self.sink()?.send(topic, outbox, from);
        if sent.is_err() {
            self.look()?;
        }
        sent
    }

    pub(super) fn flush(&mut self, deadline: Duration) -> Result<(), KafkaError> {
        let flushed = self.sink()?.flush(deadline);
        self.look()?;
        flushed
    }

    /// Commits what was sent. An error that is `Retriable` leaves the result unknown.
    pub(super) fn commit(&mut self, patience: Duration) -> Result<(), KafkaError> {
        let sink = self.sink()?;
        again(patience, || txn(sink)?.commit())?;
        self.open = false;
        Ok(())
    }

    /// Throws away what was sent, if that is possible still.
    ///
    /// # Errors
    /// `Fenced`: another producer has taken over. Nothing else tells it from an outage to a producer that was away for long: its
    /// messages have timed out.
    pub(super) fn abort(&mut self) -> Result<(), KafkaError> {
        if !std::mem::take(&mut self.open) {
            return Ok(());
        }
        let aborted = self.sink().and_then(|sink| txn(sink)?.abort());
        self.broken.get_or_insert_with(|| {
            KafkaError::new(KafkaErrorKind::AbortTxn, "the job's transaction was aborted")
        });
        match aborted {
            Err(e) if e.kind == KafkaErrorKind::Fenced => {
                self.broken = Some(e.clone());
                Err(e)
            }
            Err(e) => {
                log::debug!("Kafka: {e}; the brokers will abort the transaction");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }
}

/// What a writer has of the shared producer: it answers for its own messages only.
pub(super) struct Share {
    transactor: Arc<Transactor>,
    accepted: u64,
    acked: u64,
}

impl Share {
    pub(super) fn new(transactor: Arc<Transactor>) -> Self {
        Self { transactor, accepted: 0, acked: 0 }
    }
}

impl KafkaSink for Share {
    fn partitions(&mut self, topic: &str) -> Result<Option<i32>, KafkaError> {
        self.transactor.lock().sink()?.partitions(topic)
    }
    fn topics(&mut self) -> Result<Vec<String>, KafkaError> {
        self.transactor.lock().sink()?.topics()
    }
    fn create_topic(
        &mut self,
        name: &str,
        partitions: i32,
        settings: &[(&str, &str)],
    ) -> Result<(), KafkaError> {
        self.transactor.lock().sink()?.create_topic(name, partitions, settings)
    }
    fn send(&mut self, topic: &Arc<str>, outbox: &Outbox, from: usize) -> Result<Sent, KafkaError> {
        let sent = self.transactor.lock().send(topic, outbox, from)?;
        self.accepted += sent.accepted as u64;
        Ok(sent)
    }
    fn nudge(&mut self) -> Result<(), KafkaError> {
        let mut under_way = self.transactor.lock();
        under_way.sink()?.nudge()?;
        under_way.look()
    }
    fn flush(&mut self, deadline: Duration) -> Result<(), KafkaError> {
        // Those of other writers go with them: one transaction has all.
        self.transactor.lock().flush(deadline)?;
        self.acked = self.accepted;
        Ok(())
    }
    fn take_failed(&mut self) -> Vec<Failed> {
        Vec::new()
    }
    fn counts(&self) -> Counts {
        Counts { accepted: self.accepted, acked: self.acked, failed: 0 }
    }
    fn txn(&mut self) -> Option<&mut dyn KafkaTxn> {
        None
    }
    fn close(&mut self, _deadline: Duration) {}
}
