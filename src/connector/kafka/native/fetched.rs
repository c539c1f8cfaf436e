//! Messages of librdkafka by the hundred, in place.
//!
//! An event for each message, which is all that the safe interface has, takes four looks at the clock, an allocation and three locks
//! for one message: as much time as decoding it (figures in `benches/README.md`). The library's `rd_kafka_consume_batch_queue` hands
//! over many at once. So what is fetched of the assigned partitions is led to a queue of its own; all else that the library has to say
//! stays in the consumer's queue and comes through the safe interface.
//!
//! This file and `produced` hold all that is unsafe in the crate. What it relies on is the library's documentation (`rdkafka.h`):
//! objects may be used on any thread; queues are counted and must be gone before their client is; a message taken from a queue is the
//! taker's until it is destroyed, with all that it points to, and holds no more than its own references. `tests/kafka/sanitize.sh` runs
//! the tests of this room under AddressSanitizer.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_void};
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::time::Duration;

use rdkafka::bindings as lib;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{IsError as _, KafkaError as RdError};

use super::Consumer;
use crate::connector::kafka::client::HeaderList;

/// How many messages are taken at once.
const ROOM: usize = 256;

/// A consumer and what is fetched for it.
pub(super) struct Fetching {
    /// Gone before `consumer` is (see `drop`).
    queue: NonNull<lib::rd_kafka_queue_t>,
    /// Messages that are ours; those before `given` are gone.
    taken: Vec<*mut lib::rd_kafka_message_t>,
    given: usize,
    consumer: Consumer,
}

// SAFETY: the queue and the messages belong to this value alone, and the library's functions may be called on any thread.
unsafe impl Send for Fetching {}

/// A message, or the library's word in place of one.
pub(super) struct Fetched<'a> {
    message: NonNull<lib::rd_kafka_message_t>,
    of: PhantomData<&'a mut Fetching>,
}

impl Fetching {
    /// `None`: the library has no memory.
    pub(super) fn new(consumer: Consumer) -> Option<Self> {
        // SAFETY: the client lives as long as `consumer`, which goes into the value that holds the queue.
        let queue = NonNull::new(unsafe { lib::rd_kafka_queue_new(consumer.client().native_ptr()) })?;
        Some(Self { queue, taken: Vec::with_capacity(ROOM), given: 0, consumer })
    }

    pub(super) fn consumer(&self) -> &Consumer {
        &self.consumer
    }

    /// From now on what is fetched of a partition comes here, until the library stops fetching it, as it does when it is assigned anew.
    /// What is fetched after that waits to be led here; only of a partition that never was it goes to the consumer's queue. False: the
    /// topic's name is none.
    pub(super) fn lead(&self, topic: &str, partition: i32) -> bool {
        let Ok(topic) = CString::new(topic) else { return false };
        let client = self.consumer.client().native_ptr();
        // SAFETY: the client lives, `topic` ends with a zero; the library copies it.
        let source = unsafe { lib::rd_kafka_queue_get_partition(client, topic.as_ptr(), partition) };
        if source.is_null() {
            return false;
        }
        // SAFETY: both queues are alive; forwarding counts its target, and `source` is our reference to give back.
        unsafe {
            lib::rd_kafka_queue_forward(source, self.queue.as_ptr());
            lib::rd_kafka_queue_destroy(source);
        }
        true
    }

    /// Everything that was taken is given.
    pub(super) fn is_empty(&self) -> bool {
        self.given == self.taken.len()
    }

    /// Takes what is there, instead of what was taken before; or waits for one message up to `wait`. False: nothing is there.
    pub(super) fn fill(&mut self, wait: Duration) -> bool {
        self.forget();
        // The library returns when it has as many as were asked for, or at the end of the time.
        let room = if wait.is_zero() { ROOM } else { 1 };
        let millis = wait.as_micros().div_ceil(1000).min(i32::MAX as u128) as i32;
        let into = self.taken.as_mut_ptr();
        // SAFETY: `taken` is empty and has room for `ROOM` pointers; the library writes at most `room` of them, and says how many.
        unsafe {
            let n = lib::rd_kafka_consume_batch_queue(self.queue.as_ptr(), millis, into, room);
            self.taken.set_len(usize::try_from(n).unwrap_or(0).min(room));
        }
        !self.taken.is_empty()
    }

    /// The next of what was taken.
    pub(super) fn next(&mut self) -> Option<Fetched<'_>> {
        let message = NonNull::new(*self.taken.get(self.given)?);
        self.given += 1;
        message.map(|message| Fetched { message, of: PhantomData })
    }

    /// Throws away what was taken and not given.
    pub(super) fn forget(&mut self) {
        while self.next().is_some() {}
        self.taken.clear();
        self.given = 0;
    }
}

impl Drop for Fetching {
    fn drop(&mut self) {
        self.forget();
        // SAFETY: the last use of our reference; the client lives until `consumer` is dropped, behind this.
        unsafe { lib::rd_kafka_queue_destroy(self.queue.as_ptr()) };
    }
}

impl Fetched<'_> {
    fn raw(&self) -> &lib::rd_kafka_message_t {
        // SAFETY: the message is ours until it is destroyed, which `drop` does.
        unsafe { self.message.as_ref() }
    }

    /// What the library says in place of a message.
    pub(super) fn error(&self) -> Option<RdError> {
        match self.raw().err {
            code if !code.is_error() => None,
            lib::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__PARTITION_EOF => {
                Some(RdError::PartitionEOF(self.partition()))
            }
            code => Some(RdError::MessageConsumption(code.into())),
        }
    }

    pub(super) fn partition(&self) -> i32 {
        self.raw().partition
    }

    pub(super) fn offset(&self) -> i64 {
        self.raw().offset
    }

    /// Milliseconds since 1970.
    pub(super) fn timestamp(&self) -> Option<i64> {
        let mut kind = lib::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is ours, `kind` a place to write to.
        let millis = unsafe { lib::rd_kafka_message_timestamp(self.message.as_ptr(), &mut kind) };
        let known = kind != lib::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        (known && millis != -1).then_some(millis)
    }

    pub(super) fn key(&self) -> Option<&[u8]> {
        // SAFETY: key and length belong together, and live as long as the message.
        unsafe { bytes(self.raw().key, self.raw().key_len) }
    }

    pub(super) fn value(&self) -> Option<&[u8]> {
        // SAFETY: payload and length belong together, and live as long as the message.
        unsafe { bytes(self.raw().payload, self.raw().len) }
    }

    pub(super) fn headers(&self) -> Option<Headers<'_>> {
        // SAFETY: the message is ours, and lives as long as `self`.
        unsafe { Headers::of(self.message.as_ptr()) }
    }
}

impl Drop for Fetched<'_> {
    fn drop(&mut self) {
        // SAFETY: the message is ours, and nothing that was lent of it outlives it.
        unsafe { lib::rd_kafka_message_destroy(self.message.as_ptr()) };
    }
}

/// Headers of a message.
pub(super) struct Headers<'a> {
    /// `None`: the library can't read them.
    list: Option<NonNull<lib::rd_kafka_headers_t>>,
    of: PhantomData<&'a ()>,
}

impl Headers<'_> {
    /// Those of a message, if it has any.
    ///
    /// # Safety
    /// The message lives for `'_`, and nobody changes it.
    pub(super) unsafe fn of(message: *const lib::rd_kafka_message_t) -> Option<Self> {
        let mut list = std::ptr::null_mut();
        // SAFETY: as the caller promises; what is written to `list` lives as long as the message.
        let code = unsafe { lib::rd_kafka_message_headers(message, &mut list) };
        match code {
            lib::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__NOENT => None,
            code => Some(Headers { list: NonNull::new(list).filter(|_| !code.is_error()), of: PhantomData }),
        }
    }
}

impl HeaderList for Headers<'_> {
    fn each(&self, each: &mut dyn FnMut(&str, Option<&[u8]>)) -> Result<(), String> {
        let list = self.list.ok_or("headers that can't be read")?.as_ptr();
        for i in 0.. {
            let (mut name, mut value, mut size): (*const c_char, *const c_void, usize) =
                (std::ptr::null(), std::ptr::null(), 0);
            // SAFETY: the list lives as long as its message, the three are places to write to. What is written points into the
            // list; a name ends with a zero.
            let (name, value) = unsafe {
                let code = lib::rd_kafka_header_get_all(list, i, &mut name, &mut value, &mut size);
                if code.is_error() || name.is_null() {
                    break;
                }
                (CStr::from_ptr(name), bytes(value.cast_mut(), size))
            };
            each(name.to_str().map_err(|_| "a name that is not UTF-8")?, value);
        }
        Ok(())
    }
}

/// Bytes of the library; none where it has a null pointer.
///
/// # Safety
/// `from` is null or points to `len` bytes that live and do not change for `'a`.
pub(super) unsafe fn bytes<'a>(from: *mut c_void, len: usize) -> Option<&'a [u8]> {
    // SAFETY: as the caller promises.
    NonNull::new(from.cast::<u8>()).map(|at| unsafe { std::slice::from_raw_parts(at.as_ptr(), len) })
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Fetching {
        /// How much waits where what is fetched of a partition goes.
        pub(in super::super) fn waiting(&self, topic: &str, partition: i32) -> usize {
            let topic = CString::new(topic).unwrap();
            let client = self.consumer.client().native_ptr();
            // SAFETY: as in `lead`; the reference is given back.
            unsafe {
                let source = lib::rd_kafka_queue_get_partition(client, topic.as_ptr(), partition);
                assert!(!source.is_null());
                let n = lib::rd_kafka_queue_length(source);
                lib::rd_kafka_queue_destroy(source);
                n
            }
        }

        /// Leads a partition to the consumer's queue, as the library does with one that was never led.
        pub(in super::super) fn mislead(&self, topic: &str, partition: i32) {
            let topic = CString::new(topic).unwrap();
            let client = self.consumer.client().native_ptr();
            // SAFETY: as in `lead`; both references are given back.
            unsafe {
                let source = lib::rd_kafka_queue_get_partition(client, topic.as_ptr(), partition);
                let queue = lib::rd_kafka_queue_get_consumer(client);
                assert!(!source.is_null() && !queue.is_null());
                lib::rd_kafka_queue_forward(source, queue);
                lib::rd_kafka_queue_destroy(queue);
                lib::rd_kafka_queue_destroy(source);
            }
        }
    }

    /// The library refuses no name, so one that is no text can be in a topic.
    #[test]
    fn headers_end_at_a_name_that_is_no_text() {
        // SAFETY: the list lives until the end; names and values come with their lengths and are copied.
        unsafe {
            let list = lib::rd_kafka_headers_new(1);
            for (name, value) in [(&b"a"[..], &b"1"[..]), (b"b\xff", b"2"), (b"c", b"3")] {
                let (name, size) = (name.as_ptr().cast(), name.len() as isize);
                lib::rd_kafka_header_add(list, name, size, value.as_ptr().cast(), value.len() as isize);
            }
            let mut seen = Vec::new();
            let headers = Headers { list: NonNull::new(list), of: PhantomData };
            let ended =
                headers.each(&mut |name, value| seen.push((name.to_owned(), value.map(<[u8]>::to_vec))));
            assert_eq!(ended, Err("a name that is not UTF-8".to_owned()));
            assert_eq!(seen, [("a".to_owned(), Some(b"1".to_vec()))]);
            lib::rd_kafka_headers_destroy(list);
        }
        let broken = Headers { list: None, of: PhantomData };
        assert!(broken.each(&mut |_, _| {}).is_err());
    }
}
