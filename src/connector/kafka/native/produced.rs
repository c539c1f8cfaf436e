//! Messages for librdkafka by the run, and its acknowledgements by the event.
//!
//! The safe interface hands messages over one by one: for each a copy of the topic's name, which the library looks up under a lock, a
//! call with a list of arguments to parse, and three looks at the clock. It takes acknowledgements one by one, too, and waits for them
//! without rest: a wait of a millisecond asks again and again until it is over. The library's `rd_kafka_produce_batch` takes a run of
//! messages for one partition, and `rd_kafka_queue_poll` sleeps until something comes (figures in `benches/README.md`).
//!
//! A run is for one partition on purpose: the library then looks at topic and partition before it takes the first message, and refuses
//! all of them. Where each message names its partition, what it refuses for that is lost to it: never freed, and always under way.
//! The only other reason to refuse one message and take the next is its size, so large ones are no part of runs.
//!
//! What is unsafe here relies on the library's documentation (`rdkafka.h`): objects may be used on any thread; queues and topics are
//! counted and must be gone before their client is; `RD_KAFKA_MSG_F_COPY` copies key and value before the call returns; messages of an
//! event belong to it. `tests/kafka/sanitize.sh` runs the tests of this room under AddressSanitizer.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char};
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::bindings as lib;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{IsError as _, KafkaError as RdError, RDKafkaErrorCode as Code};
use rdkafka::message::{Header, OwnedHeaders, OwnedMessage, Timestamp};
use rdkafka::producer::{BaseProducer, Producer as _};

use super::fetched::{Headers, bytes};
use super::sink::Context;
use crate::connector::kafka::client::HeaderList as _;
use crate::connector::kafka::outbox::Outbox;

/// How many messages a run has at most, and how many events are taken at once.
const ROOM: usize = 256;
/// What the library counts for a message beside key, value and headers when it compares it with `message.max.bytes`, and some more.
const OVERHEAD: usize = 128;

/// A producer, and what hands messages over to it.
pub(super) struct Producing {
    /// The client's main queue. Gone before `producer` is (see `drop`), as are the topics.
    queue: NonNull<lib::rd_kafka_queue_t>,
    topics: Vec<(Arc<str>, NonNull<lib::rd_kafka_topic_t>)>,
    /// Empty between calls.
    run: Vec<lib::rd_kafka_message_t>,
    /// Bytes of key and value that the library refuses for no message.
    small: usize,
    producer: BaseProducer<Context>,
}

// SAFETY: queue and topics belong to this value alone, the library's functions may be called on any thread, and `run` is empty.
unsafe impl Send for Producing {}

impl Producing {
    /// `largest` is the producer's `message.max.bytes`. `None`: the library has no memory.
    pub(super) fn new(producer: BaseProducer<Context>, largest: usize) -> Option<Self> {
        // SAFETY: the client lives as long as `producer`, which goes into the value that holds the queue.
        let queue = NonNull::new(unsafe { lib::rd_kafka_queue_get_main(producer.client().native_ptr()) })?;
        let small = largest.saturating_sub(OVERHEAD);
        Some(Self { queue, topics: Vec::new(), run: Vec::with_capacity(ROOM), small, producer })
    }

    pub(super) fn producer(&self) -> &BaseProducer<Context> {
        &self.producer
    }

    /// The library's object for a topic. `None`: no broker has a topic of that name.
    fn topic(&mut self, name: &Arc<str>) -> Option<NonNull<lib::rd_kafka_topic_t>> {
        if let Some((_, topic)) = self.topics.iter().find(|(known, _)| known == name) {
            return Some(*topic);
        }
        let text = CString::new(&**name).ok()?;
        // SAFETY: the client lives, `text` ends with a zero; the library copies it, and takes no settings from a null pointer.
        let topic = NonNull::new(unsafe {
            lib::rd_kafka_topic_new(self.producer.client().native_ptr(), text.as_ptr(), std::ptr::null_mut())
        })?;
        self.topics.push((name.clone(), topic));
        Some(topic)
    }

    /// Hands over the messages from `from` on that make a run, with numbers from `seq` on. Says how many were taken, and why not the
    /// next one. `None`: the message at `from` can be no part of a run.
    pub(super) fn send(
        &mut self,
        topic: &Arc<str>,
        outbox: &Outbox,
        from: usize,
        seq: usize,
    ) -> Option<(usize, Option<RdError>)> {
        let partition = outbox.get(from)?.partition();
        let topic = self.topic(topic)?;
        self.run.clear();
        while self.run.len() < ROOM
            && let Some(message) = outbox.get(from + self.run.len())
            && message.partition() == partition
            && message.is_plain()
            && message.size() <= self.small
        {
            let part = |bytes: Option<&[u8]>| {
                bytes.map_or((std::ptr::null_mut(), 0), |b| (b.as_ptr().cast_mut().cast(), b.len()))
            };
            let ((key, key_len), (payload, len)) = (part(message.key()), part(message.value()));
            self.run.push(lib::rd_kafka_message_t {
                err: lib::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR,
                rkt: std::ptr::null_mut(),
                partition,
                payload,
                len,
                key,
                key_len,
                offset: 0,
                _private: std::ptr::without_provenance_mut(seq.wrapping_add(self.run.len())),
            });
        }
        if self.run.is_empty() {
            return None;
        }
        // SAFETY: the topic is alive; `run` has that many messages, whose keys and values are in `outbox` or null with a length of 0.
        // The library copies those, which it does not write to, and writes to `err` of each message.
        let taken = unsafe {
            let (run, n) = (self.run.as_mut_ptr(), self.run.len() as i32);
            lib::rd_kafka_produce_batch(topic.as_ptr(), partition, lib::RD_KAFKA_MSG_F_COPY, run, n)
        };
        let taken = usize::try_from(taken).unwrap_or(0);
        let refused = self.run.iter().map(|m| m.err).enumerate().find(|(_, err)| err.is_error());
        self.run.clear();
        let refused = refused.map(|(at, err)| {
            // One behind it was taken: nobody could say any more which ones.
            let code = if at == taken { err.into() } else { Code::Inconsistent };
            RdError::MessageProduction(code)
        });
        Some((taken, refused))
    }

    /// Takes what the library has to say, and comes to an end though it says ever more; waits up to `wait` for the first of it, in
    /// steps of a millisecond.
    pub(super) fn poll(&self, wait: Duration) {
        let mut millis = wait.as_micros().div_ceil(1000).min(i32::MAX as u128) as i32;
        for _ in 0..ROOM {
            // SAFETY: the queue is alive. An event is ours, until it is destroyed here.
            let event = unsafe { lib::rd_kafka_queue_poll(self.queue.as_ptr(), millis) };
            let Some(event) = NonNull::new(event) else { return };
            millis = 0;
            // SAFETY: the event is ours, and nothing of it is used behind this.
            unsafe {
                self.hear(event.as_ptr());
                lib::rd_kafka_event_destroy(event.as_ptr());
            }
        }
    }

    /// # Safety
    /// The event is alive, and the caller's.
    unsafe fn hear(&self, event: *mut lib::rd_kafka_event_t) {
        let context = self.producer.context();
        // SAFETY: as the caller promises; each function is for events of its kind, and gives texts that live as long as the event.
        unsafe {
            match lib::rd_kafka_event_type(event) {
                lib::RD_KAFKA_EVENT_DR => self.delivered(event),
                lib::RD_KAFKA_EVENT_LOG => {
                    let (mut facility, mut message, mut level) = (std::ptr::null(), std::ptr::null(), 0);
                    if lib::rd_kafka_event_log(event, &mut facility, &mut message, &mut level) == 0 {
                        let level = level_of(level);
                        context.log(level, text(facility).trim(), text(message).trim());
                    }
                }
                lib::RD_KAFKA_EVENT_ERROR => {
                    let error = RdError::Global(lib::rd_kafka_event_error(event).into());
                    context.error(error, text(lib::rd_kafka_event_error_string(event)).trim());
                }
                lib::RD_KAFKA_EVENT_STATS => {
                    context.stats_raw(text(lib::rd_kafka_event_stats(event)).as_bytes());
                }
                _ => {}
            }
        }
    }

    /// # Safety
    /// The event is alive, the caller's, and reports deliveries.
    unsafe fn delivered(&self, event: *mut lib::rd_kafka_event_t) {
        let mut acked = 0;
        // SAFETY: the event's messages live as long as it, and nobody else looks at them.
        unsafe {
            while let Some(mut message) = NonNull::new(lib::rd_kafka_event_message_next(event).cast_mut()) {
                let message = message.as_mut();
                match message.err.is_error() {
                    false => acked += 1,
                    true => {
                        let (error, seq) =
                            (RdError::MessageProduction(message.err.into()), message._private.addr());
                        self.producer.context().failed(seq, error, detached(message));
                    }
                }
            }
        }
        self.producer.context().acked(acked);
    }
}

impl Drop for Producing {
    fn drop(&mut self) {
        // SAFETY: the last use of our references; the client lives until `producer` is dropped, behind this.
        unsafe {
            for (_, topic) in self.topics.drain(..) {
                lib::rd_kafka_topic_destroy(topic.as_ptr());
            }
            lib::rd_kafka_queue_destroy(self.queue.as_ptr());
        }
    }
}

/// A message of our own with the content of one of the library's.
///
/// # Safety
/// The message is one of an event of deliveries, which is alive.
unsafe fn detached(message: &mut lib::rd_kafka_message_t) -> OwnedMessage {
    // SAFETY: lengths belong to their pointers, all of which live as long as the message; the name of a topic ends with a zero.
    unsafe {
        // The library tells no time of a message that has failed.
        let failed =
            std::mem::replace(&mut message.err, lib::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR);
        let millis = lib::rd_kafka_message_timestamp(message, std::ptr::null_mut());
        message.err = failed;
        let headers = Headers::of(message).map(|list| {
            let mut headers = OwnedHeaders::new();
            let whole = list.each(&mut |key, value| {
                headers = std::mem::take(&mut headers).insert(Header { key, value });
            });
            debug_assert!(whole.is_ok(), "names of headers are text");
            headers
        });
        let topic = match message.rkt.is_null() {
            true => String::new(),
            false => text(lib::rd_kafka_topic_name(message.rkt)),
        };
        OwnedMessage::new(
            bytes(message.payload, message.len).map(<[u8]>::to_vec),
            bytes(message.key, message.key_len).map(<[u8]>::to_vec),
            topic,
            if millis == -1 { Timestamp::NotAvailable } else { Timestamp::CreateTime(millis) },
            message.partition,
            message.offset,
            headers,
        )
    }
}

/// A level of `syslog`.
fn level_of(level: i32) -> RDKafkaLogLevel {
    use RDKafkaLogLevel::{Alert, Critical, Debug, Emerg, Error, Info, Notice, Warning};
    let levels = [Emerg, Alert, Critical, Error, Warning, Notice, Info];
    usize::try_from(level).ok().and_then(|at| levels.get(at)).copied().unwrap_or(Debug)
}

/// A copy of a text of the library; of none the empty one.
///
/// # Safety
/// `from` is null or points to a text that ends with a zero.
unsafe fn text(from: *const c_char) -> String {
    match from.is_null() {
        true => String::new(),
        // SAFETY: as the caller promises.
        false => unsafe { CStr::from_ptr(from) }.to_string_lossy().into_owned(),
    }
}
