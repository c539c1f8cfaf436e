//! Members of groups: who gets what when members come, go and are taken for dead, and whose commits count.

use std::ops::ControlFlow;
use std::time::Duration;

use super::{
    Case, Cluster, PATIENCE, Sample, Verdict, case_if, connection, ensure, equal, parts, produce,
    sink_settings, source_settings, told,
};
use crate::connector::kafka::client::{Caps, Fetch, KafkaErrorKind, KafkaSource, Part};
use crate::connector::kafka::member::{Change, GroupToken, KafkaMember, MemberSettings};
use crate::record::Clock;

const fn can(caps: &Caps) -> bool {
    caps.groups
}
const fn can_fence(caps: &Caps) -> bool {
    caps.groups && caps.transactions
}

pub(super) const CASES: &[Case] = &[
    case_if("a member alone gets every partition, and each message once", can, alone),
    case_if("members divide the partitions: cooperative", can, |c| divide(c, "cooperative-sticky")),
    case_if("members divide the partitions: range", can, |c| divide(c, "range")),
    case_if("members divide the partitions: roundrobin", can, |c| divide(c, "roundrobin")),
    case_if("cooperative members give up only what moves, eager ones everything", can, revokes),
    case_if("what is given up behind a commit is read from there by the next", can, handed_over),
    case_if("a member that leaves gives its partitions to the others", can, leaves),
    case_if(
        "a static member that comes again finds its partitions, and nobody else is asked",
        can,
        comes_again,
    ),
    case_if("a member that was taken for dead has lost what it had, and comes again", can, lost),
    case_if("a transaction takes offsets under the token of a member", can_fence, token_counts),
    case_if("offsets under the token of an earlier generation are refused", can_fence, token_is_old),
    case_if("an owner who does not call stays a member, and reads on where it was", can, held_up),
];

/// A member with what it holds, as the connector holds it.
struct Member {
    member: Box<dyn KafkaMember>,
    asks: Box<dyn KafkaSource>,
    /// Partition and next offset; the index is the slot.
    lanes: Vec<Option<(Part, i64)>>,
    /// Partition and offset of each message.
    seen: Vec<(Part, i64)>,
    /// Partitions of each change that took any, by kind.
    revoked: Vec<usize>,
    lost: usize,
    /// Changes of any kind.
    changes: usize,
}

impl Member {
    fn settings(cluster: &dyn Cluster, group: &str, topic: &str, assignor: &'static str) -> MemberSettings {
        let caps = cluster.client().caps();
        let mut connection = connection(cluster);
        // Members hear of changes by their heartbeats.
        connection.native.push(("heartbeat.interval.ms".into(), "300".into()));
        MemberSettings {
            connection,
            group: group.to_owned(),
            static_id: None,
            topics: vec![topic.to_owned()],
            assignor,
            discovery_interval: Duration::from_secs(60),
            read_committed: caps.read_committed,
            headers: caps.headers,
            prefetch_bytes: 4 << 20,
            fetch: Fetch::Auto,
        }
    }

    fn join(cluster: &dyn Cluster, settings: &MemberSettings) -> Result<Self, String> {
        let mut asking = source_settings(cluster);
        asking.group = Some(settings.group.clone());
        Ok(Self {
            member: cluster.client().member(settings).map_err(told)?,
            asks: cluster.client().source(&asking).map_err(told)?,
            lanes: Vec::new(),
            seen: Vec::new(),
            revoked: Vec::new(),
            lost: 0,
            changes: 0,
        })
    }

    fn holds(&self) -> Vec<(Part, i64)> {
        let mut all: Vec<(Part, i64)> = self.lanes.iter().flatten().cloned().collect();
        all.sort();
        all
    }

    /// Takes the group's decisions and what messages there are. `commits`: before something is given up.
    fn step(&mut self, commits: bool) -> Verdict {
        let (lanes, seen) = (&mut self.lanes, &mut self.seen);
        let polled = self.member.poll(Duration::from_millis(20), &mut |message| {
            if let Some((part, next)) = lanes.get_mut(message.part).and_then(Option::as_mut) {
                seen.push((part.clone(), message.offset));
                *next = message.offset + 1;
            }
            ControlFlow::Continue(())
        });
        match polled {
            Err(e) if e.kind != KafkaErrorKind::Retriable => return Err(told(e)),
            _ => {}
        }
        while let Some(change) = self.member.take_change() {
            self.changes += 1;
            self.obey(change, commits)?;
        }
        Ok(())
    }

    fn obey(&mut self, change: Change, commits: bool) -> Verdict {
        match change {
            Change::Assigned(parts) => {
                let from = self.asks.committed(&parts).map_err(told)?;
                let mut slots = Vec::new();
                for (part, from) in parts.into_iter().zip(from) {
                    let from = from.unwrap_or(0);
                    slots.push((self.lanes.len(), part.clone(), from));
                    self.lanes.push(Some((part, from)));
                }
                self.member.accept(&slots).map_err(told)
            }
            Change::Revoked(parts) => {
                self.revoked.push(parts.len());
                if commits {
                    self.commit()?;
                }
                self.drop_lanes(&parts);
                self.member.release(&parts).map_err(told)
            }
            Change::Lost(parts) => {
                self.lost += parts.len();
                self.drop_lanes(&parts);
                self.member.release(&parts).map_err(told)
            }
        }
    }

    fn drop_lanes(&mut self, parts: &[Part]) {
        for lane in &mut self.lanes {
            lane.take_if(|(part, _)| parts.contains(part));
        }
    }

    fn commit(&mut self) -> Verdict {
        self.member.commit(&self.holds()).map_err(told)
    }

    fn token(&self) -> Result<GroupToken, String> {
        self.member.token().ok_or_else(|| "a member has no token".into())
    }
}

/// Lets them take turns until `done`.
fn until(
    what: &str,
    members: &mut [&mut Member],
    commits: bool,
    mut done: impl FnMut(&[&mut Member]) -> bool,
) -> Verdict {
    let from = Clock::System.monotonic();
    while !done(members) {
        let holds: Vec<usize> = members.iter().map(|m| m.holds().len()).collect();
        ensure(Clock::System.monotonic() - from < PATIENCE, || {
            format!("in vain until {what}; they hold {holds:?}")
        })?;
        members.iter_mut().try_for_each(|m| m.step(commits))?;
    }
    Ok(())
}

/// Whether together they hold all, none of them more than `most`.
fn is_divided(members: &[&mut Member], all: usize, most: usize) -> bool {
    let counts: Vec<usize> = members.iter().map(|m| m.holds().len()).collect();
    counts.iter().sum::<usize>() == all && counts.iter().all(|n| *n <= most)
}

fn fill(cluster: &dyn Cluster, topic: &str, partitions: i32, each: i32) -> Verdict {
    let sample = |n: i32| Sample::of(n % partitions, n.to_string());
    produce(cluster, topic, &(0..partitions * each).map(sample).collect::<Vec<_>>())
}

/// What each offset of each partition was seen, in order.
fn once(members: &[&Member], topic: &str, partitions: i32, each: i64) -> Verdict {
    let mut seen: Vec<&(Part, i64)> = members.iter().flat_map(|m| &m.seen).collect();
    seen.sort();
    let wanted: Vec<(Part, i64)> =
        parts(topic, partitions).into_iter().flat_map(|p| (0..each).map(move |o| (p.clone(), o))).collect();
    equal("messages seen", &seen, &wanted.iter().collect())
}

const COOPERATIVE: &str = "cooperative-sticky";

fn alone(cluster: &dyn Cluster) -> Verdict {
    let topic = cluster.topic(3, &[])?;
    fill(cluster, &topic, 3, 20)?;
    let mut one =
        Member::join(cluster, &Member::settings(cluster, &format!("g-{topic}"), &topic, COOPERATIVE))?;
    until("all is read", &mut [&mut one], false, |m| m.iter().all(|m| m.seen.len() == 60))?;
    once(&[&one], &topic, 3, 20)?;
    one.token().map(drop)
}

fn divide(cluster: &dyn Cluster, assignor: &'static str) -> Verdict {
    let topic = cluster.topic(4, &[])?;
    let settings = Member::settings(cluster, &format!("g-{topic}"), &topic, assignor);
    let mut one = Member::join(cluster, &settings)?;
    until("one has all", &mut [&mut one], true, |m| is_divided(m, 4, 4))?;
    let mut two = Member::join(cluster, &settings)?;
    until("each has two", &mut [&mut one, &mut two], true, |m| is_divided(m, 4, 2))?;
    fill(cluster, &topic, 4, 5)?;
    until("all is read", &mut [&mut one, &mut two], true, |m| {
        m.iter().map(|m| m.seen.len()).sum::<usize>() >= 20
    })?;
    once(&[&one, &two], &topic, 4, 5)?;
    equal("losses", &(one.lost, two.lost), &(0, 0))
}

fn revokes(cluster: &dyn Cluster) -> Verdict {
    for (assignor, wanted) in [(COOPERATIVE, 2), ("range", 4)] {
        let topic = cluster.topic(4, &[])?;
        let settings = Member::settings(cluster, &format!("g-{topic}"), &topic, assignor);
        let mut one = Member::join(cluster, &settings)?;
        until("one has all", &mut [&mut one], true, |m| is_divided(m, 4, 4))?;
        let mut two = Member::join(cluster, &settings)?;
        until("each has two", &mut [&mut one, &mut two], true, |m| is_divided(m, 4, 2))?;
        equal(&format!("{assignor}: partitions given up"), &one.revoked, &vec![wanted])?;
    }
    Ok(())
}

fn handed_over(cluster: &dyn Cluster) -> Verdict {
    for assignor in [COOPERATIVE, "range"] {
        let topic = cluster.topic(4, &[])?;
        fill(cluster, &topic, 4, 10)?;
        let settings = Member::settings(cluster, &format!("g-{topic}"), &topic, assignor);
        let mut one = Member::join(cluster, &settings)?;
        until("one has begun", &mut [&mut one], true, |m| m.iter().all(|m| m.seen.len() > 10))?;
        let mut two = Member::join(cluster, &settings)?;
        until("each has two", &mut [&mut one, &mut two], true, |m| is_divided(m, 4, 2))?;
        until("all is read", &mut [&mut one, &mut two], true, |m| {
            m.iter().map(|m| m.seen.len()).sum::<usize>() >= 40
        })?;
        once(&[&one, &two], &topic, 4, 10).map_err(|e| format!("{assignor}: {e}"))?;
    }
    Ok(())
}

fn leaves(cluster: &dyn Cluster) -> Verdict {
    let topic = cluster.topic(4, &[])?;
    let settings = Member::settings(cluster, &format!("g-{topic}"), &topic, COOPERATIVE);
    let (mut one, mut two) = (Member::join(cluster, &settings)?, Member::join(cluster, &settings)?);
    until("each has two", &mut [&mut one, &mut two], true, |m| is_divided(m, 4, 2))?;
    fill(cluster, &topic, 4, 5)?;
    until("all is read", &mut [&mut one, &mut two], true, |m| {
        m.iter().map(|m| m.seen.len()).sum::<usize>() >= 20
    })?;
    one.commit()?;
    one.member.close(PATIENCE);
    until("two has all", &mut [&mut two], true, |m| is_divided(m, 4, 4))?;
    // It goes on where the other had committed.
    equal("its next offsets", &two.holds(), &parts(&topic, 4).into_iter().map(|p| (p, 5)).collect())
}

fn comes_again(cluster: &dyn Cluster) -> Verdict {
    let topic = cluster.topic(4, &[])?;
    let settings = Member::settings(cluster, &format!("g-{topic}"), &topic, COOPERATIVE);
    let named =
        |name: &str| MemberSettings { static_id: Some(format!("{topic}-{name}")), ..settings.clone() };
    let (mut one, mut two) = (Member::join(cluster, &named("one"))?, Member::join(cluster, &named("two"))?);
    until("each has two", &mut [&mut one, &mut two], true, |m| is_divided(m, 4, 2))?;
    let held = |m: &Member| m.holds().into_iter().map(|(p, _)| p).collect::<Vec<_>>();
    let (before, changes) = (held(&one), two.changes);
    one.member.close(PATIENCE);
    drop(one);
    let mut again = Member::join(cluster, &named("one"))?;
    until("it has two again", &mut [&mut again, &mut two], true, |m| is_divided(m, 4, 2))?;
    equal("partitions of who came again", &held(&again), &before)?;
    equal("changes that the other was told", &two.changes, &changes)
}

fn lost(cluster: &dyn Cluster) -> Verdict {
    let topic = cluster.topic(2, &[])?;
    let group = format!("g-{topic}");
    let mut settings = Member::settings(cluster, &group, &topic, COOPERATIVE);
    settings.static_id = Some(format!("{topic}-one"));
    let mut one = Member::join(cluster, &settings)?;
    until("one has all", &mut [&mut one], true, |m| is_divided(m, 2, 2))?;
    cluster.expel(&group, settings.static_id.as_deref().unwrap_or_default())?;
    until("it is told", &mut [&mut one], false, |m| m.iter().all(|m| m.lost > 0))?;
    equal("partitions lost", &one.lost, &2)?;
    until("it has them again", &mut [&mut one], false, |m| is_divided(m, 2, 2))?;
    one.token().map(drop)
}

/// Commits an offset in a transaction under a token.
fn offset_under(
    cluster: &dyn Cluster,
    group: &str,
    part: &Part,
    offset: i64,
    token: &GroupToken,
) -> Result<(), KafkaErrorKind> {
    let mut settings = sink_settings(cluster);
    settings.transactional_id = Some(format!("id-{}-{offset}", part.topic));
    let mut sink = cluster.client().sink(&settings).map_err(|e| e.kind)?;
    let Some(txn) = sink.txn() else { return Err(KafkaErrorKind::Unsupported) };
    txn.init().map_err(|e| e.kind)?;
    txn.begin().map_err(|e| e.kind)?;
    let sent =
        txn.send_offsets(group, &[(part.clone(), offset)], "", Some(token)).and_then(|()| txn.commit());
    sink.close(PATIENCE);
    sent.map_err(|e| e.kind)
}

fn token_counts(cluster: &dyn Cluster) -> Verdict {
    let topic = cluster.topic(2, &[])?;
    let group = format!("g-{topic}");
    let mut one = Member::join(cluster, &Member::settings(cluster, &group, &topic, COOPERATIVE))?;
    until("one has all", &mut [&mut one], true, |m| is_divided(m, 2, 2))?;
    let part = Part { topic: topic.as_str().into(), partition: 1 };
    equal("offsets under its token", &offset_under(cluster, &group, &part, 7, &one.token()?), &Ok(()))?;
    let committed = one.asks.committed(std::slice::from_ref(&part)).map_err(told)?;
    equal("what the group has committed", &committed, &vec![Some(7)])
}

fn token_is_old(cluster: &dyn Cluster) -> Verdict {
    let topic = cluster.topic(2, &[])?;
    let group = format!("g-{topic}");
    let settings = Member::settings(cluster, &group, &topic, COOPERATIVE);
    let mut one = Member::join(cluster, &settings)?;
    until("one has all", &mut [&mut one], true, |m| is_divided(m, 2, 2))?;
    let old = one.token()?;
    let mut two = Member::join(cluster, &settings)?;
    until("each has one", &mut [&mut one, &mut two], true, |m| is_divided(m, 2, 1))?;
    let part = Part { topic: topic.as_str().into(), partition: 0 };
    let before = one.asks.committed(std::slice::from_ref(&part)).map_err(told)?;
    equal(
        "offsets under the old token",
        &offset_under(cluster, &group, &part, 9, &old),
        &Err(KafkaErrorKind::Moved),
    )?;
    let behind = one.asks.committed(std::slice::from_ref(&part)).map_err(told)?;
    equal("what the group has committed", &behind, &before)?;
    // Whoever holds it now may.
    let holder = if one.holds().iter().any(|(p, _)| *p == part) { &one } else { &two };
    equal("offsets under the new one", &offset_under(cluster, &group, &part, 11, &holder.token()?), &Ok(()))
}

/// For longer than a member may be silent, its owner calls nothing; another one looks on.
fn held_up(cluster: &dyn Cluster) -> Verdict {
    let topic = cluster.topic(2, &[])?;
    let mut settings = Member::settings(cluster, &format!("g-{topic}"), &topic, COOPERATIVE);
    for (name, value) in [("session.timeout.ms", "6000"), ("max.poll.interval.ms", "6000")] {
        settings.connection.native.push((name.to_owned(), value.to_owned()));
    }
    let (mut one, mut two) = (Member::join(cluster, &settings)?, Member::join(cluster, &settings)?);
    until("each has one", &mut [&mut one, &mut two], true, |m| is_divided(m, 2, 1))?;
    fill(cluster, &topic, 2, 10)?;
    let (changes, from) = (two.changes, Clock::System.monotonic());
    let silent = cluster.silence();
    while Clock::System.monotonic() - from < silent {
        two.step(true)?;
    }
    fill(cluster, &topic, 2, 10)?;
    until("all is read", &mut [&mut one, &mut two], true, |m| {
        m.iter().map(|m| m.seen.len()).sum::<usize>() >= 40
    })?;
    once(&[&one, &two], &topic, 2, 20)?;
    equal("partitions lost", &one.lost, &0)?;
    equal("changes that the other was told", &two.changes, &changes)
}
