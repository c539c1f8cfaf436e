//! The thread that owns a client of the library: callers wait for its answer no longer than they want to.
//!
//! The library's calls can block for minutes (connects without time-out, two minutes for a read), so a caller that has lost
//! patience leaves the thread behind; it ends with the call it is in. A client whose connection failed, or that panicked, is
//! thrown away, and the next call makes a new one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use kafka::client::KafkaClient;

use super::{breaks_connection, sorted, wire};
use crate::connector::kafka::client::{Connection, KafkaError};

type Task = Box<dyn FnOnce(&mut Session) + Send>;

/// What the thread has: a client, as long as it is sound.
pub(super) struct Session {
    servers: Vec<String>,
    timeout: Duration,
    compression: kafka::client::Compression,
    client: Option<KafkaClient>,
}

impl Session {
    /// Carries out one call of the library.
    pub(super) fn with<T>(
        &mut self,
        what: &str,
        call: impl FnOnce(&mut KafkaClient) -> Result<T, kafka::Error>,
    ) -> Result<T, KafkaError> {
        let mut client = match self.client.take() {
            Some(client) => client,
            None => self.connect()?,
        };
        match catch_unwind(AssertUnwindSafe(|| call(&mut client))) {
            Ok(Ok(done)) => {
                self.client = Some(client);
                Ok(done)
            }
            Ok(Err(error)) => {
                if !breaks_connection(&error) {
                    self.client = Some(client);
                }
                Err(sorted(what, &error))
            }
            Err(_) => Err(KafkaError::retriable(format!("{what}: the client library panicked"))),
        }
    }

    /// A new client that knows the topics.
    fn connect(&self) -> Result<KafkaClient, KafkaError> {
        let mut last = KafkaError::retriable("no broker is named");
        let mut there = Vec::new();
        for server in &self.servers {
            match wire::probe(server, self.timeout) {
                Ok(()) => there.push(server.clone()),
                Err(e) if e.kind == crate::connector::kafka::client::KafkaErrorKind::Unsupported => {
                    return Err(e);
                }
                Err(e) => last = e,
            }
        }
        if there.is_empty() {
            return Err(last);
        }
        let mut client = KafkaClient::new(there);
        client.set_client_id("millstream".into());
        client.set_compression(self.compression);
        client.set_fetch_min_bytes(1);
        client.set_fetch_crc_validation(true);
        let made = catch_unwind(AssertUnwindSafe(|| client.load_metadata_all().map(|()| client)));
        match made {
            Ok(Ok(client)) => Ok(client),
            Ok(Err(e)) => Err(sorted(&format!("brokers {}", self.servers.join(",")), &e)),
            Err(_) => Err(KafkaError::retriable("the client library panicked while it connected")),
        }
    }

    /// Leaders may have moved: asks again.
    pub(super) fn refresh(&mut self) -> Result<(), KafkaError> {
        self.with("topics", KafkaClient::load_metadata_all)
    }
}

/// The caller's end.
pub(super) struct Owner {
    servers: Vec<String>,
    timeout: Duration,
    compression: kafka::client::Compression,
    tasks: Option<Sender<Task>>,
}

impl Owner {
    pub(super) fn new(connection: &Connection, compression: kafka::client::Compression) -> Self {
        Self {
            servers: connection.servers.split(',').map(str::to_owned).collect(),
            timeout: connection.timeout,
            compression,
            tasks: None,
        }
    }

    pub(super) fn servers(&self) -> &[String] {
        &self.servers
    }

    fn tasks(&mut self) -> Result<Sender<Task>, KafkaError> {
        if let Some(tasks) = &self.tasks {
            return Ok(tasks.clone());
        }
        let (tasks, queue) = bounded::<Task>(4);
        let mut session = Session {
            servers: self.servers.clone(),
            timeout: self.timeout,
            compression: self.compression,
            client: None,
        };
        std::thread::Builder::new()
            .name("ms-kafka-own".into())
            .spawn(move || queue.into_iter().for_each(|task| task(&mut session)))
            .map_err(|e| KafkaError::fatal(format!("no thread for a Kafka client: {e}")))?;
        self.tasks = Some(tasks.clone());
        Ok(tasks)
    }

    /// Gives the thread something to do; its answer comes through the receiver.
    pub(super) fn post<T: Send + 'static>(
        &mut self,
        task: impl FnOnce(&mut Session) -> T + Send + 'static,
    ) -> Result<Receiver<T>, KafkaError> {
        let (answer, wait) = bounded(1);
        let boxed: Task = Box::new(move |session| {
            // Nobody waits any more if this fails.
            let _ = answer.send(task(session));
        });
        let sent = self.tasks()?.send_timeout(boxed, self.timeout);
        if sent.is_err() {
            self.leave();
            return Err(KafkaError::retriable("the client library is stuck in a call and is left behind"));
        }
        Ok(wait)
    }

    /// Has the thread do something and waits for it, as long as a broker may take to answer.
    pub(super) fn call<T: Send + 'static>(
        &mut self,
        task: impl FnOnce(&mut Session) -> Result<T, KafkaError> + Send + 'static,
    ) -> Result<T, KafkaError> {
        let wait = self.post(task)?;
        match wait.recv_timeout(self.timeout) {
            Ok(answer) => answer,
            Err(_) => {
                self.leave();
                Err(KafkaError::retriable(format!(
                    "brokers {}: no answer within {:?}",
                    self.servers.join(","),
                    self.timeout
                )))
            }
        }
    }

    /// Gives the thread up: it ends with the call it is in, and the next task finds a new one.
    pub(super) fn leave(&mut self) {
        self.tasks = None;
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }
}
