//! The seam of shared groups: what the connector asks of a client that takes part in one.
//!
//! The brokers divide the partitions of the topics among the members and move them when members come and go. Nothing moves before
//! its owner has given it up, unless the owner is taken for dead: then it has *lost* it, and what it commits from then on is
//! refused by its token (KIP-447).

use std::any::Any;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use super::client::{Connection, Fetch, KafkaError, Message, Part, SourceSettings};

/// Who speaks for a group, in a form of the client's own: a member with the generation that it knows of.
pub type GroupToken = Arc<dyn Any + Send + Sync>;

/// How long a member may take to give up what was revoked, before it is taken from it.
pub const GIVE_UP_WITHIN: Duration = Duration::from_secs(30);

/// What the group has decided about this member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It gets these, in addition to what it has; may be empty.
    Assigned(Vec<Part>),
    /// It has to give these up; they stay its own until it has.
    Revoked(Vec<Part>),
    /// Others may have these already.
    Lost(Vec<Part>),
}

/// Settings of a member.
#[derive(Clone, Debug)]
pub struct MemberSettings {
    /// Where.
    pub connection: Connection,
    /// The group.
    pub group: String,
    /// Keeps its place for the session's time-out when it goes, under that name.
    pub static_id: Option<String>,
    /// The topics: names, or one regular expression that begins with `^`.
    pub topics: Vec<String>,
    /// `cooperative-sticky`, `range` or `roundrobin`.
    pub assignor: &'static str,
    /// How often new partitions and topics are looked for.
    pub discovery_interval: Duration,
    /// See committed transactions only.
    pub read_committed: bool,
    /// Messages carry headers.
    pub headers: bool,
    /// Bytes that are fetched ahead.
    pub prefetch_bytes: usize,
    /// By whom messages are fetched, where the client has a choice.
    pub fetch: Fetch,
}

impl MemberSettings {
    /// The same for the consumer beneath.
    pub fn source(&self) -> SourceSettings {
        SourceSettings {
            connection: self.connection.clone(),
            group: Some(self.group.clone()),
            read_committed: self.read_committed,
            headers: self.headers,
            prefetch_bytes: self.prefetch_bytes,
            accept_gaps: false,
            fetch: self.fetch,
        }
    }
}

/// A member of a group. Owned by one thread at a time; stays a member however long its owner does not call.
pub trait KafkaMember: Send {
    /// The oldest decision that was not taken yet. [`poll`](Self::poll) brings them.
    fn take_change(&mut self) -> Option<Change>;

    /// Takes what was assigned, each with a slot that names it in messages and the offset to begin with. Answers each
    /// `Assigned`, also an empty one.
    ///
    /// # Errors
    /// The client refuses.
    fn accept(&mut self, parts: &[(usize, Part, i64)]) -> Result<(), KafkaError>;

    /// Gives up what was revoked or lost.
    ///
    /// # Errors
    /// The client refuses.
    fn release(&mut self, parts: &[Part]) -> Result<(), KafkaError>;

    /// Gives messages until `take` breaks, nothing more is there, or the group has decided something; waits at most `wait` for
    /// the first. [`Message::part`] is the slot. Messages of one partition come in the order of their offsets, each once.
    ///
    /// # Errors
    /// After an error the client goes on behind the last message given, unless no retry helps.
    fn poll(
        &mut self,
        wait: Duration,
        take: &mut dyn FnMut(Message<'_>) -> ControlFlow<()>,
    ) -> Result<(), KafkaError>;

    /// Goes on at another offset of what is in that slot.
    ///
    /// # Errors
    /// The client refuses.
    fn seek(&mut self, part: &Part, offset: i64) -> Result<(), KafkaError>;

    /// Commits offsets as this member; returns when the broker has answered.
    ///
    /// # Errors
    /// It is no member any more, or the commit failed.
    fn commit(&mut self, offsets: &[(Part, i64)]) -> Result<(), KafkaError>;

    /// What a transaction shows to commit offsets of this group: as of the last decision. `None`: it has lost what it had.
    fn token(&self) -> Option<GroupToken>;

    /// Leaves the group. Never takes longer than `deadline`.
    fn close(&mut self, deadline: Duration);
}
