//! What goes on by itself: invites are met, keys of contacts are asked for, contacts are looked at again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use p2p_api::{ErrorKind, Result};
use p2p_identity::{InviteId, PeerId, Side};
use p2p_transport::{IncomingStream, our_peer_id};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::compat::FuturesAsyncReadCompatExt;
use tokio_util::sync::CancellationToken;

use super::meet::{self, Met};
use super::rows::{InviteRow, Stage};
use super::wire::{self, Reply};
use super::{Inner, blocking, meeting, now_s, refresh, writer_keys};

/// How often an invite is looked at in its first minute.
const SOON: Duration = Duration::from_secs(2);
/// How long that goes on.
const FRESH: Duration = Duration::from_secs(60);
/// The first pause after it; grows by half each time.
const LATER: Duration = Duration::from_secs(30);
/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(600);
/// Invites looked at at once.
const AT_ONCE: usize = 8;
/// Conversations with peers at once.
const CONVERSATIONS: usize = 16;
/// Conversations with one peer at once: no stranger keeps others from being met.
const CONVERSATIONS_OF_ONE: usize = 2;
/// How often contacts are looked at again, and what is old is forgotten.
const HOUSEKEEPING: Duration = Duration::from_secs(3600);
/// How soon after the start.
const FIRST_HOUSEKEEPING: Duration = Duration::from_secs(20);

/// Does it. Made with [`super::People::open`].
pub(crate) struct Keeper {
    inner: Arc<Inner>,
    rounds: HashMap<InviteId, Round>,
}

/// How it goes with one invite.
struct Round {
    begun: Instant,
    due: Instant,
    pause: Duration,
    is_running: bool,
    /// Something was found of the other side, or left for it, in this hour.
    left_hour: Option<u64>,
    /// The first hour to look at next time.
    since: u64,
    answer: Option<Reply>,
}

/// What a look at one invite came to.
#[derive(Default)]
struct Looked {
    left_hour: Option<u64>,
    answer: Option<Reply>,
}

impl Keeper {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        Self { inner, rounds: HashMap::new() }
    }

    /// Runs until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let incoming = self.inner.network.accept_streams(wire::PROTOCOL).await;
        let mut incoming = match incoming {
            Ok(incoming) => incoming,
            Err(error) => {
                tracing::warn!(%error, "nobody can meet this node");
                mpsc::channel(1).1
            }
        };
        let (mut looks, mut talks, mut chores) = (JoinSet::new(), JoinSet::new(), JoinSet::new());
        // When invited writers are asked for their keys again, and the pause until then.
        let mut letting = (Instant::now() + SOON, SOON);
        let mut talking: HashMap<PeerId, usize> = HashMap::new();
        let mut housekeeping = Instant::now() + FIRST_HOUSEKEEPING;
        let mut locked = self.inner.keys.locked();
        chores.spawn(start(self.inner.clone()));
        loop {
            let inner = self.inner.clone();
            let changed = inner.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let mut next = self.begin(&mut looks).min(housekeeping);
            if self.inner.rows().contacts().values().any(|row| !row.wanted.is_empty()) && chores.is_empty() {
                if letting.0 <= Instant::now() {
                    chores.spawn(writer_keys::let_in(self.inner.clone()));
                    let pause = (letting.1 + letting.1 / 2).min(MAX_PAUSE);
                    letting = (Instant::now() + pause, pause);
                }
                next = next.min(letting.0);
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep_until(next) => {}
                () = changed => letting = (Instant::now() + SOON, SOON),
                Ok(()) = locked.changed() => {
                    self.rounds.values_mut().for_each(|round| round.due = Instant::now());
                    if !*locked.borrow_and_update() {
                        chores.spawn(unlocked(self.inner.clone()));
                    }
                }
                Some(looked) = looks.join_next(), if !looks.is_empty() => {
                    if let Ok((id, looked)) = looked {
                        self.on_looked(id, looked);
                    }
                }
                Some(ended) = talks.join_next(), if !talks.is_empty() => {
                    if let Ok(peer) = ended {
                        talking.entry(peer).and_modify(|count| *count = count.saturating_sub(1));
                        talking.retain(|_, count| *count > 0);
                    }
                }
                Some(_) = chores.join_next(), if !chores.is_empty() => {}
                next = incoming.recv(), if talks.len() < CONVERSATIONS && !incoming.is_closed() => {
                    let Some(IncomingStream { peer, stream, .. }) = next else { continue };
                    let Some(peer) = our_peer_id(&peer) else { continue };
                    let count = talking.entry(peer).or_insert(0);
                    if *count >= CONVERSATIONS_OF_ONE {
                        continue;
                    }
                    *count += 1;
                    let inner = self.inner.clone();
                    talks.spawn(async move {
                        meet::serve(inner, peer, Box::new(stream.compat())).await;
                        peer
                    });
                }
            }
            if Instant::now() >= housekeeping {
                housekeeping = Instant::now() + HOUSEKEEPING;
                chores.spawn(keep_house(self.inner.clone()));
            }
        }
        looks.shutdown().await;
        talks.shutdown().await;
        chores.shutdown().await;
    }

    /// Begins what is due; when the next thing is.
    fn begin(&mut self, looks: &mut JoinSet<(InviteId, Result<Looked>)>) -> Instant {
        let open: Vec<(InviteId, InviteRow)> = {
            let rows = self.inner.rows();
            let needs = |row: &InviteRow| row.is_ours || row.stage == Stage::Accepting;
            let is_in_time = |row: &InviteRow| now_s() <= row.expires.saturating_add(3600);
            let open = rows.invites().iter().filter(|(_, row)| needs(row) && is_in_time(row));
            open.map(|(id, row)| (*id, row.clone())).collect()
        };
        self.rounds.retain(|id, round| round.is_running || open.iter().any(|(open, _)| open == id));
        let (now, mut next) = (Instant::now(), Instant::now() + HOUSEKEEPING);
        if self.inner.keys.is_locked() {
            return next;
        }
        for (id, row) in open {
            let since = row.created / 3600;
            let round = self.rounds.entry(id).or_insert_with(|| Round {
                begun: now,
                due: now,
                pause: LATER,
                is_running: false,
                left_hour: None,
                since: since.saturating_sub(1),
                answer: None,
            });
            if round.is_running {
                continue;
            }
            // A confirmation, or a new answer, is told at once.
            let is_answered = matches!(round.answer, Some(Reply::Wait)) && matches!(row.stage, Stage::Used { .. });
            if (round.due <= now || is_answered) && looks.len() < AT_ONCE {
                round.is_running = true;
                let (inner, left_hour, since) = (self.inner.clone(), round.left_hour, round.since);
                let answer = round.answer.clone().filter(|_| !is_answered);
                looks.spawn(async move {
                    let looked = look(&inner, id, row, left_hour, since, answer).await;
                    (id, looked)
                });
            } else {
                next = next.min(round.due.max(now + Duration::from_millis(50)));
            }
        }
        next
    }

    fn on_looked(&mut self, id: InviteId, looked: Result<Looked>) {
        let Some(round) = self.rounds.get_mut(&id) else { return };
        round.is_running = false;
        match looked {
            Ok(looked) => {
                round.left_hour = looked.left_hour;
                round.answer = looked.answer;
                round.since = meeting::this_hour().saturating_sub(1);
            }
            Err(error) => {
                tracing::debug!(%error, "an invite was not looked at");
                // Looked at again when it is due, not at once.
                round.answer = None;
            }
        }
        let pause = if round.begun.elapsed() < FRESH {
            SOON
        } else {
            let pause = round.pause;
            round.pause = (pause + pause / 2).min(MAX_PAUSE);
            pause
        };
        round.due = Instant::now() + pause;
    }
}

/// Looks at one invite: goes to the other side, leaves what it needs, takes what it left.
async fn look(
    inner: &Arc<Inner>,
    id: InviteId,
    row: InviteRow,
    left_hour: Option<u64>,
    since: u64,
    answer: Option<Reply>,
) -> Result<Looked> {
    if row.is_ours {
        return look_as_inviter(inner, id, &row, left_hour, since, answer).await;
    }
    let Some((_, peer)) = row.inviter else { return Ok(Looked::default()) };
    if now_s() > row.expires.saturating_add(120) {
        blocking(inner, move |inner| inner.give_up(&id, "the other side was not met before the invite expired"))
            .await?;
        return Ok(Looked::default());
    }
    let direct = async {
        match meet::meet(inner, id, peer).await {
            Ok(Met::Done | Met::Wait) => {}
            Ok(Met::Refused(reason)) if !reason.may_pass() => {
                let _ = blocking(inner, move |inner| inner.give_up(&id, reason.sentence())).await;
            }
            Ok(Met::Refused(_)) => {}
            Err(error) => tracing::debug!(%error, "the inviter was not met"),
        }
    };
    let apart = async {
        let secret = inner.secret(&id)?;
        let hour = meeting::this_hour();
        let mut left = left_hour;
        if left != Some(hour) {
            let card = blocking(inner, move |inner| inner.card(&id, Side::Accepter)).await?;
            let reply = Reply::Yes(card.as_bytes().to_vec());
            left =
                (meeting::leave(inner, &secret, (Side::Accepter, None), &reply, row.expires).await > 0).then_some(hour);
        }
        if let Some(reason) = meeting::look_for_inviter(inner, id, since).await?
            && !reason.may_pass()
        {
            blocking(inner, move |inner| inner.give_up(&id, reason.sentence())).await?;
        }
        Ok::<_, p2p_api::ApiError>(left)
    };
    // The stream is there within a moment or not at all; what it brings is not held up by the DHT.
    tokio::pin!(apart);
    let ((), left) = tokio::join!(direct, apart);
    Ok(Looked { left_hour: left?, answer: None })
}

async fn look_as_inviter(
    inner: &Arc<Inner>,
    id: InviteId,
    row: &InviteRow,
    left_hour: Option<u64>,
    since: u64,
    answer: Option<Reply>,
) -> Result<Looked> {
    let hour = meeting::this_hour();
    // Who has been answered in this hour is not answered again.
    if let (Some(Reply::Yes(_)), Some(left)) = (&answer, left_hour)
        && left == hour
    {
        return Ok(Looked { left_hour, answer });
    }
    match meeting::look_for_accepter(inner, id, row, since).await {
        Ok(Some(found)) => Ok(Looked { left_hour: Some(hour), answer: Some(found) }),
        Ok(None) => Ok(Looked { left_hour, answer }),
        Err(error) if error.kind == ErrorKind::Locked => Ok(Looked { left_hour, answer }),
        Err(error) => Err(error),
    }
}

/// What waited for the keys goes on.
async fn unlocked(inner: Arc<Inner>) {
    inner.names.look_again().await;
    inner.certify_again().await;
}

/// What the start brings: a new transport key is certified.
async fn start(inner: Arc<Inner>) {
    inner.certify_again().await;
}

async fn keep_house(inner: Arc<Inner>) {
    if let Err(error) = blocking(&inner, Inner::sweep).await
        && error.kind != ErrorKind::Locked
    {
        tracing::warn!(%error, "old invites were not forgotten");
    }
    refresh::refresh(&inner).await;
}
