//! Meeting when one is away: what each side leaves for the other one in the DHT, sealed, under keys that only the two know
//! (specs/overlay.md, 4.2). Each hour has its own key, so no node keeps all of it, and none sees who meets whom.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use p2p_api::{MAX_VALUE_SECONDS, Result};
use p2p_identity::{Card, IdentityId, InviteId, InviteSecret, Side};

use super::invites::Taken;
use super::rows::InviteRow;
use super::wire::{Reason, Reply};
use super::{Inner, blocking, now_s};
use crate::values::{self, Parsed};

/// How long one lookup may take.
const LOOKUP: Duration = Duration::from_secs(8);
/// What is left there lives no longer than this many hours.
const MAX_HOURS: u64 = MAX_VALUE_SECONDS / 3600;

pub(super) fn this_hour() -> u64 {
    now_s() / 3600
}

/// Where something is left: by which side, and for whom where the inviter leaves it.
type Spot<'a> = (Side, Option<&'a IdentityId>);

/// Leaves something for the other side in this hour; how many other nodes have it.
pub(super) async fn leave(
    inner: &Inner,
    secret: &InviteSecret,
    (side, accepter): Spot<'_>,
    reply: &Reply,
    expires: u64,
) -> usize {
    let key = secret.meeting_key(side, this_hour(), accepter);
    let at = values::key_of(&key.public(), "");
    let now = u64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_micros());
    let now = now.unwrap_or(u64::MAX);
    let until = expires.saturating_add(3600).min(now_s() + MAX_VALUE_SECONDS).saturating_mul(1_000_000);
    let value = values::make(&key, "", &secret.seal(side, &reply.encode()), now, until);
    let stored_on = inner.network.put_value(at.to_vec(), value).await.unwrap_or(0);
    inner.left().insert(secret.id(), u32::try_from(stored_on).unwrap_or(u32::MAX));
    stored_on
}

/// What the other side has left in an hour, newest first.
async fn find(inner: &Inner, secret: &InviteSecret, (side, accepter): Spot<'_>, hour: u64) -> Vec<Reply> {
    let at = values::key_of(&secret.meeting_key(side, hour, accepter).public(), "");
    let Ok(mut found) = inner.network.get_values(at.to_vec()).await else { return Vec::new() };
    let mut values = Vec::new();
    let deadline = tokio::time::Instant::now() + LOOKUP;
    while let Ok(Some(answer)) = tokio::time::timeout_at(deadline, found.recv()).await {
        let proven = Parsed::new(&answer.value).and_then(|value| value.proven(&at, SystemTime::now()));
        let Some(proven) = proven else { continue };
        if !values.iter().any(|(sequence, _)| *sequence == proven.sequence) {
            let opened = secret.open(side, &proven.value).and_then(|bytes| Reply::decode(&bytes));
            values.extend(opened.map(|reply| (proven.sequence, reply)));
        }
    }
    values.sort_by_key(|(sequence, _)| std::cmp::Reverse(*sequence));
    values.into_iter().map(|(_, reply)| reply).collect()
}

/// The inviter looks for who was there; `since` is the first hour to look at. Answers whom it finds.
pub(super) async fn look_for_accepter(
    inner: &Arc<Inner>,
    id: InviteId,
    row: &InviteRow,
    since: u64,
) -> Result<Option<Reply>> {
    let secret = inner.secret(&id)?;
    let first = since.max(this_hour().saturating_sub(MAX_HOURS));
    for hour in (first..=this_hour()).rev() {
        for reply in find(inner, &secret, (Side::Accepter, None), hour).await {
            let Reply::Yes(card) = reply else { continue };
            let Ok(theirs) = Card::read(&card, &id, Side::Accepter) else { continue };
            let who = theirs.identity();
            let answer = match blocking(inner, move |inner| inner.take_card(&id, &card)).await? {
                Taken::Done(card) => Reply::Yes(card.as_bytes().to_vec()),
                Taken::Wait => Reply::Wait,
                Taken::Refused(Reason::Bad) => continue,
                Taken::Refused(reason) => Reply::Refused(reason),
            };
            leave(inner, &secret, (Side::Inviter, Some(&who)), &answer, row.expires).await;
            return Ok(Some(answer));
        }
    }
    Ok(None)
}

/// The accepter looks for the inviter's answer; `since` is the first hour to look at.
pub(super) async fn look_for_inviter(inner: &Arc<Inner>, id: InviteId, since: u64) -> Result<Option<Reason>> {
    let secret = inner.secret(&id)?;
    let own = inner.own()?.0.id();
    let first = since.max(this_hour().saturating_sub(MAX_HOURS));
    for hour in (first..=this_hour()).rev() {
        for reply in find(inner, &secret, (Side::Inviter, Some(&own)), hour).await {
            match reply {
                Reply::Yes(card) => {
                    // Only who has the secret can have left it; whether it is the inviter, the card shows.
                    if blocking(inner, move |inner| inner.take_answer(&id, &card)).await.is_ok() {
                        return Ok(None);
                    }
                }
                Reply::Wait => return Ok(None),
                Reply::Refused(reason) => return Ok(Some(reason)),
            }
        }
    }
    Ok(None)
}
